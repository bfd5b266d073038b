"""Raw rows against the windows that the stream kept: each member's minutes, quarters of an hour and days.

The windows worker and the sink read the same blocks, each at its own pace, so either side is waited for. A window to
which calls go on coming meanwhile has no moment at which both sides are at rest: it is counted as changing, and not
compared.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from schemas.windows import LEVELS
from streams.audit.tables import Tables, dollars
from streams.audit.window_sums import EXAMPLES, Comparison, Part
from streams.settings import Settings
from streams.spend.dimensions import DIMENSIONS, GLOBAL

_SETTLED = 3  # times that differences are the same again until they are believed
_PAUSE_SECONDS = 0.5
_WHOLE = ("day", GLOBAL)  # it holds every call: with it equal, windows are not behind


@dataclass(frozen=True)
class Windows:
    """What the comparison found.

    Attributes:
        since: by level, the first start that was compared; UTC.
        parts: every level and dimension; none when there are no windows to compare.
        note: why there are none; empty otherwise.
    """

    since: dict[str, datetime]
    parts: list[Part]
    note: str = ""

    @property
    def ok(self) -> bool:
        """Whether no window differs from its raw rows."""
        return not any(part.differing for part in self.parts)

    @property
    def examples(self) -> list[str]:
        """Some of the differences in words."""
        return [example for part in self.parts for example in part.examples][:EXAMPLES]

    def count(self, level: str) -> int:
        """Windows of a level."""
        return sum(part.windows for part in self.parts if part.level == level)

    @property
    def totals_only(self) -> list[str]:
        """Dimensions with members beyond their cap."""
        return sorted({part.dimension for part in self.parts if part.totals_only})

    def to_json(self) -> dict[str, Any]:
        """For machines; money and its differences are strings of US dollars."""
        return {
            "ok": self.ok,
            "note": self.note,
            "dimensions": len(DIMENSIONS) if self.parts else 0,
            "totals_only": self.totals_only,
            "differing": sum(part.differing for part in self.parts),
            "changing": sum(part.changing for part in self.parts),
            "levels": {level: self._level(level) for level in LEVELS if self.parts},
            "where": [
                {
                    "level": part.level,
                    "dimension": part.dimension,
                    "windows": part.windows,
                    "differing": part.differing,
                    "calls_windows_minus_raw": part.calls - part.raw_calls,
                    "cost_windows_minus_raw": dollars(part.cost - part.raw_cost),
                }
                for part in self.parts
                if part.differing
            ],
        }

    def _level(self, level: str) -> dict[str, Any]:
        [whole] = [part for part in self.parts if (part.level, part.dimension) == (level, GLOBAL)]
        return {
            "since": self.since[level].isoformat(),
            "windows": self.count(level),
            "calls": whole.calls,
            "raw_calls": whole.raw_calls,
            "cost": dollars(whole.cost),
            "raw_cost": dollars(whole.raw_cost),
            "cost_windows_minus_raw": dollars(whole.cost - whole.raw_cost),
        }


def compare_windows(
    tables: Tables,
    log_id: str,
    settings: Settings,
    *,
    worker_ran: bool,
    wait_seconds: float,
    tell: Callable[[int, int], None],
) -> Windows:
    """Compare a log's windows with its raw rows.

    Args:
        tables: ClickHouse.
        log_id: the log of spend.usage.
        settings: time zone and retention.
        worker_ran: whether a windows worker has published anything; without one an empty table is no difference.
        wait_seconds: how long to wait for the side that is behind.
        tell: is told how many of how many parts are compared.
    """
    there = tables.rows(
        "SELECT total_rows FROM system.tables WHERE database = {database:String} AND name = 'windows'",
        database=tables.database,
    )
    if not there:
        return Windows({}, [], "no windows: there is no table of them (`spendstream migrate up`)")
    if not there[0][0] and not worker_ran:
        return Windows({}, [], "no windows: no windows worker has run")
    comparison = Comparison(tables, log_id, settings)
    keys = [(level, dimension) for level in LEVELS for dimension in DIMENSIONS]
    first = comparison.part(*_WHOLE)
    parts = {_WHOLE: first}

    def is_live() -> bool:
        return parts[_WHOLE].raw_calls != first.raw_calls

    def unequal() -> list[tuple[str, str]]:
        # While calls go on coming, some windows are changing at any moment: only the others are waited for.
        return [key for key, part in parts.items() if part.differing or (part.changing and not is_live())]

    deadline = time.monotonic() + wait_seconds
    while unequal() and time.monotonic() < deadline:
        time.sleep(_PAUSE_SECONDS)
        parts[_WHOLE] = comparison.part(*_WHOLE)
    for number, key in enumerate(keys):
        tell(number, len(keys))
        if key != _WHOLE:
            parts[key] = comparison.part(*key)
    same = 0
    while (wrong := unequal()) and time.monotonic() < deadline:
        if same == _SETTLED and not parts[_WHOLE].differing:
            break
        time.sleep(_PAUSE_SECONDS)
        again = {key: comparison.part(*key) for key in {_WHOLE, *wrong}}
        same = same + 1 if all(again[key].gap == parts[key].gap for key in wrong) else 0
        parts |= again
    tell(len(keys), len(keys))
    if not is_live():
        parts = {key: part.at_rest() for key, part in parts.items()}
    return Windows(comparison.since, [comparison.told(parts[key]) for key in keys])
