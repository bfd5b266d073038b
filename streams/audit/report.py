"""What an audit found, for people and for machines."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from schemas.priced import COSTS
from streams.audit.compare import Tally
from streams.audit.rollups import Rollup
from streams.audit.tables import Unaudited, dollars
from streams.audit.windows import Windows
from streams.oracle.price import PARTIAL, UNPRICED


@dataclass
class Partition:
    """One partition of the log.

    Attributes:
        number: which.
        start, end: the audited offsets, from `start` up to, not including, `end`.
        records: records between them.
        pending: of these, decided or not, those that no sink has inserted in the time that the audit waits.
        duplicates: repeats that the oracle drops.
        dead_letters: by reason, as the oracle finds them.
        undecided: offsets whose duplicate or dead letter in the blocks of spend.priced is not the oracle's.
        tally: accepted events against raw rows.
        before: raw rows whose records are older than the log's first offset.
    """

    number: int
    start: int
    end: int
    records: int = 0
    pending: int = 0
    duplicates: int = 0
    dead_letters: Counter[str] = field(default_factory=Counter)
    undecided: int = 0
    tally: Tally = field(default_factory=Tally)
    before: Unaudited | None = None


@dataclass
class Report:
    """An audit's findings; `ok` when everything is equal.

    Attributes:
        log_id: the log of spend.usage.
        price_version: the rates that the oracle used.
        partitions: the log's partitions.
        gone: by log id, raw rows whose log is gone: only their sums against the rollups can be checked.
        newer: raw rows that came after the audit began to read.
        rollups: each rollup against all raw rows.
        kept_since: raw rows before this may have been dropped for their age, and are not compared with the rollups.
        windows: what the stream kept against the raw rows; None where it was not looked at.
    """

    log_id: str
    price_version: str
    partitions: list[Partition]
    gone: dict[str, Unaudited]
    rollups: list[Rollup]
    kept_since: str
    windows: Windows | None = None

    @property
    def tally(self) -> Tally:
        """All partitions together."""
        whole = Tally()
        for partition in self.partitions:
            whole.add(partition.tally)
        return whole

    @property
    def unaudited(self) -> list[Unaudited]:
        """Raw rows whose records are gone: other logs, and what expired of this one."""
        return [*self.gone.values(), *(p.before for p in self.partitions if p.before is not None)]

    @property
    def duplicated(self) -> int:
        """Raw rows beyond the first of their coordinates, whether their log is still there or not."""
        return self.tally.duplicated + sum(part.duplicated for part in self.unaudited)

    @property
    def ok(self) -> bool:
        """Whether nothing differs."""
        tally = self.tally
        return not (
            tally.lost
            or tally.unexpected
            or tally.differing
            or tally.raw != tally.oracle
            or self.duplicated
            or any(p.pending or p.undecided for p in self.partitions)
            or any(r.differing or r.calls != r.raw_calls or r.costs != r.raw_costs for r in self.rollups)
            or (self.windows is not None and not self.windows.ok)
        )

    def to_json(self) -> dict[str, Any]:
        """For machines; money and its differences are strings of US dollars."""
        tally = self.tally
        dead: Counter[str] = Counter()
        for partition in self.partitions:
            dead += partition.dead_letters
        main = self.rollups[0]
        gone = [sum(part.costs[i] for part in self.unaudited) for i in range(len(COSTS))]
        return {
            "ok": self.ok,
            "log_id": self.log_id,
            "price_version": self.price_version,
            "events": sum(p.records for p in self.partitions),
            "accepted": tally.accepted,
            "lost": tally.lost,
            "duplicated": self.duplicated,
            "unexpected": tally.unexpected,
            "differing": tally.differing,
            "pending": sum(p.pending for p in self.partitions),
            "undecided": sum(p.undecided for p in self.partitions),
            "dropped_duplicates": sum(p.duplicates for p in self.partitions),
            "dead_letters": sum(dead.values()),
            "dead_letters_by_reason": dict(sorted(dead.items())),
            "unpriced": tally.status[UNPRICED],
            "partial": tally.status[PARTIAL],
            "priced_under_another_version": tally.repriced,
            "expired": tally.expired,
            "cost": {
                "oracle": dollars(tally.oracle[-1]),
                "raw": dollars(tally.raw[-1]),
                "rollup": dollars(main.costs.get("cost_total", 0)),
                "all_raw": dollars(main.raw_costs.get("cost_total", 0)),
                "log_gone": dollars(gone[-1]),
            },
            "components": {
                name: {"oracle": dollars(ours), "raw": dollars(raw), "rollup": dollars(main.costs.get(name, 0))}
                for name, ours, raw in zip(COSTS, tally.oracle, tally.raw, strict=True)
            },
            "differences": {
                "raw_minus_oracle": dollars(tally.raw[-1] - tally.oracle[-1]),
                "rollup_minus_raw": dollars(main.costs.get("cost_total", 0) - main.raw_costs.get("cost_total", 0)),
                "events_raw_minus_oracle": tally.duplicated + tally.unexpected - tally.lost,
                "calls_rollup_minus_raw": main.calls - main.raw_calls,
            },
            "partitions": [
                {
                    "partition": p.number,
                    "start": p.start,
                    "end": p.end,
                    "events": p.records,
                    "accepted": p.tally.accepted,
                    "lost": p.tally.lost,
                    "duplicated": p.tally.duplicated,
                    "dropped_duplicates": p.duplicates,
                    "dead_letters": dict(sorted(p.dead_letters.items())),
                    "pending": p.pending,
                    "cost": {"oracle": dollars(p.tally.oracle[-1]), "raw": dollars(p.tally.raw[-1])},
                    "rows_before_the_log": p.before.rows if p.before else 0,
                }
                for p in self.partitions
            ],
            "logs_gone": {
                log: {"rows": part.rows, "duplicated": part.duplicated, "cost": dollars(part.costs[-1])}
                for log, part in self.gone.items()
            },
            "rollups": [
                {
                    "table": r.table,
                    "since": self.kept_since,
                    "calls": r.calls,
                    "raw_calls": r.raw_calls,
                    "cost": dollars(r.costs.get("cost_total", 0)),
                    "raw_cost": dollars(r.raw_costs.get("cost_total", 0)),
                    "differing": r.differing,
                }
                for r in self.rollups
            ],
            **({"windows": self.windows.to_json()} if self.windows is not None else {}),
            "where": [
                {"day": day, "provider": provider, "model": model, "what": what, "rows": rows}
                for (day, provider, model, what), rows in tally.where.most_common(20)
            ],
            "examples": [
                *tally.examples,
                *(example for r in self.rollups for example in r.examples),
                *(self.windows.examples if self.windows is not None else ()),
            ],
        }
