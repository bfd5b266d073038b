"""Every panel of every dashboard over a year of a big organisation: how long its query takes, the slowest first."""

import json
import re
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from clickhouse_connect.driver.client import Client

from benchmarks import panel_rows
from benchmarks.figures import Figure, Section
from benchmarks.machine import cpu_seconds
from clickhouse.client import connect, connect_reader
from clickhouse.migrate import up
from grafana.build import FOLDER
from grafana.macros import TimeRange
from grafana.panel_query import Chosen, resolve
from streams.settings import Settings
from streams.supervisor import Stack, on_free_ports

RANGES = (30, 91, 182, 365)  # days
SHOWN = (30, 365)  # ranges that have a section of their own
WANTED_SECONDS = 1.0
_POINTS = 1_000
_SLOWEST = 15  # the slowest; the others are told as they are measured
_PATIENCE_SECONDS = 60

# What is chosen on a page: first what a person sees at first, then what has no rollup with everything else.
CHOSEN: dict[str, dict[str, Chosen]] = {
    "spend-explorer": {
        "": {"tag_key": "feature"},
        " by user": {"group_by": "user", "tag_key": "feature"},
        " by tag": {"group_by": "tag", "tag_key": "feature"},
        " by user of a provider": {"group_by": "user", "tag_key": "feature", "provider": ["provider-1"]},
    },
    "spend-member": {
        " of all spend": {"dimension": "global", "member": ""},
        " of a workload": {"dimension": "workload", "member": "workload-1"},
        " of a user": {"dimension": "user", "member": "user-1"},
    },
    "spend-change": {
        " of all spend": {"dimension": "global", "member": ""},
        " of a customer": {"dimension": "customer", "member": "customer-1"},
        " of a user": {"dimension": "user", "member": "user-1"},
    },
}


@dataclass(frozen=True)
class _Measured:
    """Seconds of a panel's query, wall clock and processor."""

    name: str
    seconds: float
    processor: float


def measure(tell: Callable[[str], None]) -> Iterator[Section]:
    """Make the rows, ask every panel, yield a section for the shortest and the longest range, and one of the growth.

    Raises:
        SpendError: the database ended.
    """
    with tempfile.TemporaryDirectory(prefix="spendstream-bench-") as folder:
        settings = on_free_ports(Settings(state_dir=Path(folder)))
        with Stack(settings, parts=("clickhouse",), tell=tell) as stack:
            conf = stack.settings
            client = connect(conf)
            up(client, conf, lambda: None)
            client.database = conf.clickhouse_database
            end = datetime.now(UTC)
            panel_rows.fill(client, end, tell)
            _settle(client)
            reader = connect_reader(conf, _PATIENCE_SECONDS)
            found: dict[int, list[_Measured]] = {}
            for days in RANGES:
                found[days] = list(_measured(reader, stack.pid("clickhouse"), end, days, tell))
                if days in SHOWN:
                    yield _section(days, found[days])
            yield _growth(found)


def _settle(client: Client) -> None:
    """Wait for merges that the inserts began."""
    until = time.monotonic() + _PATIENCE_SECONDS
    while client.query("SELECT count() FROM system.merges").result_rows[0][0] and time.monotonic() < until:
        time.sleep(0.5)


def _measured(
    reader: Client, process: int, end: datetime, days: int, tell: Callable[[str], None]
) -> Iterator[_Measured]:
    span = TimeRange(int((end - timedelta(days=days)).timestamp() * 1000), int(end.timestamp() * 1000))
    for path in sorted(FOLDER.glob("*.json")):
        board: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        asked: set[str] = set()
        for what, chosen in CHOSEN.get(board["uid"], {"": {}}).items():
            for panel in board["panels"]:
                if "targets" not in panel:
                    continue
                sql = resolve(board, panel["id"], "A", span, {"tz": "UTC", **chosen}, max_data_points=_POINTS)
                if sql in asked:
                    continue
                asked.add(sql)
                found = _ask(reader, process, f"{board['title']}{what}: {_plain(panel['title'])}", sql)
                tell(f"{days} days, {found.name}: {found.seconds:.2f} s, {found.processor:.2f} s of processor time")
                yield found


def _plain(title: str) -> str:
    """A title without the names of variables in it."""
    return re.sub(r"\$\{[^}]*\}", "…", title)


def _ask(reader: Client, process: int, name: str, sql: str) -> _Measured:
    began, used = time.perf_counter(), cpu_seconds(process)
    reader.raw_query(sql, fmt="JSONCompact")
    return _Measured(name, time.perf_counter() - began, cpu_seconds(process) - used)


def _section(days: int, measured: list[_Measured]) -> Section:
    measured.sort(key=lambda each: -each.seconds)
    section = Section(
        f"Panels of the dashboards over {days} days",
        f"A year of an invented organisation: {panel_rows.CALLS:,} calls in {panel_rows.USAGE_ROWS:,} rows of "
        f"usage_15m and {panel_rows.MEMBER_ROWS:,} of members_15m, {panel_rows.RAW_ROWS:,} raw calls of the last "
        f"{panel_rows.RAW_DAYS} days (what reads raw calls reads no more than these, whatever the range), "
        f"{panel_rows.MEMBERS['customer']} customers, {panel_rows.MEMBERS['workload']} workloads, "
        f"{panel_rows.MEMBERS['model']} models, {panel_rows.MANY['user']:,} users, {panel_rows.STATUSES:,} states of "
        "budgets. Each asked once, as the reader, one query at a time, the embedded engine; processor time is that of "
        "the whole server.",
    )
    for each in measured[:_SLOWEST]:
        section.figures.append(
            Figure(
                each.name,
                f"{each.seconds:.2f} s, {each.processor:.2f} s of processor time",
                "",
                f"under {WANTED_SECONDS:g} s",
                each.seconds < WANTED_SECONDS,
            )
        )
    within = sum(each.seconds < WANTED_SECONDS for each in measured)
    section.figures.append(Figure(f"queries under {WANTED_SECONDS:g} s", f"{within} of {len(measured)}"))
    section.figures.append(Figure("half of them take at most", f"{measured[len(measured) // 2].seconds:.2f} s"))
    return section


def _growth(found: dict[int, list[_Measured]]) -> Section:
    """All panels together, a row a range."""
    section = Section(
        "Growth: months of data in a question",
        "The same panels and rows as above, all panels together: seconds of a query. Raw calls are there for "
        f"{panel_rows.RAW_DAYS} days alone.",
        headings=("days", "median", "90th percentile", "slowest", f"under {WANTED_SECONDS:g} s"),
    )
    for days, measured in found.items():
        seconds = sorted(each.seconds for each in measured)
        tenth = statistics.quantiles(seconds, n=10)[-1]
        within = sum(each < WANTED_SECONDS for each in seconds)
        times = (f"{value:.2f} s" for value in (statistics.median(seconds), tenth, seconds[-1]))
        section.rows.append((f"{days}", *times, f"{within} of {len(seconds)}"))
    return section
