"""What a windows worker begins with: empty states as the settings want them, and what ClickHouse knows of earlier logs.

An embedded broker is empty after each start, and a budget's period is not: the days that earlier logs saw are read from
ClickHouse, and so are the ids of the alerts that were told. On a broker that keeps its topics there are none.
"""

import logging
import time
from collections.abc import Sequence
from datetime import UTC, date, datetime
from functools import cached_property, lru_cache
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from clickhouse.client import connect
from streams.errors import SpendError, Unreachable
from streams.explain_change import QUERY_SECONDS, asking, explain_change
from streams.partitioner import partitions_of
from streams.settings import Settings
from streams.spend.anomaly import DETECTORS, Finding
from streams.spend.budget_book import BudgetBook, Days, Member
from streams.spend.closing import Closing
from streams.spend.explained import Explained
from streams.spend.merging import Merging
from streams.spend.totals import member_key
from streams.spend.watch import Watch
from streams.spend.windows import Retention, Windows

log = logging.getLogger("spendstream.windows")


def new_merging(settings: Settings, partition: int, sources: int, partitions: int) -> Merging:
    """The empty state of a partition of spend.totals, which has `partitions`; `sources`: those of spend.usage."""
    windows = Windows(
        partition,
        ZoneInfo(settings.timezone),
        Retention(settings.minute_hours * 3_600, settings.quarter_days * 86_400),
        -(-settings.members // partitions),
    )
    most = settings.anomaly_members // partitions
    watched = tuple(settings.anomaly_dimensions.split(","))
    return Merging(
        windows,
        tuple(Closing(detector.window_seconds) for detector in DETECTORS),
        tuple(Watch(detector, most, settings.alerts_per_hour) for detector in DETECTORS),
        sources,
        watched,
    )


def new_book(settings: Settings, partition: int, partitions: int) -> BudgetBook:
    """The empty book of a partition's budgets."""
    return BudgetBook(ZoneInfo(settings.timezone), lambda *key: _place(key, partitions) == partition)


@lru_cache(200_000)  # a hash takes longer than all else about a budget
def _place(member: Member, partitions: int) -> int:
    return int(partitions_of([member_key(*member)], partitions)[0])


class Earlier:
    """What ClickHouse holds of logs before this one.

    Raises, when asked:
        Unreachable: ClickHouse does not answer.
    """

    def __init__(self, settings: Settings, log_id: str) -> None:
        self._settings, self._log_id = settings, log_id

    def days(self, partition: int, partitions: int) -> dict[Member, Days]:
        """Picodollars a day of the partition's members, by days of SPEND_TIMEZONE.

        A log whose days began at another zone's midnights is summed up from its quarters of an hour, which are kept for
        SPEND_RAW_RETENTION_DAYS and lack what came more than SPEND_QUARTER_DAYS late.
        """
        found: dict[Member, Days] = {}
        for member, day, picos in self._days:
            if _place(member, partitions) == partition:
                found.setdefault(member, {})[day] = picos
        return found

    @cached_property
    def _days(self) -> list[tuple[Member, date, int]]:
        of_this_zone = (
            "SELECT log_id FROM windows WHERE level != 'minute' AND log_id != {log:String} GROUP BY log_id HAVING "
            "hasAll(groupUniqArrayIf(start, level = 'day'), groupUniqArray(toStartOfDay(start, {zone:String})))"
        )
        rows = self._rows(
            "SELECT dimension, member, toDate(start, {zone:String}) AS day, "
            "toString(toInt256(sum(cost_total) * 1000000000000)) FROM windows FINAL "
            f"WHERE log_id != {{log:String}} AND level = if(log_id IN ({of_this_zone}), 'day', 'quarter_hour') "
            "GROUP BY dimension, member, day"
        )
        return [((dimension, member), day, int(picos)) for dimension, member, day, picos in rows]

    @cached_property
    def until(self) -> int:
        """The latest event, seconds since 1970; 0: there are no earlier logs."""
        rows = self._rows(
            "SELECT toUnixTimestamp(max(event_time_max)) FROM progress FINAL WHERE log_id != {log:String}"
        )
        return int(rows[0][0])

    @cached_property
    def alerts(self) -> set[str]:
        """Ids of alerts that last beyond a log: of budgets, and of models without a price."""
        rows = self._rows(
            "SELECT DISTINCT id FROM alerts WHERE log_id != {log:String} "
            "AND (startsWith(id, 'budget/') OR startsWith(id, 'unpriced/'))"
        )
        return {alert for (alert,) in rows}

    def _rows(self, sql: str) -> Sequence[Sequence[Any]]:
        try:
            client = connect(self._settings)
            client.database = self._settings.clickhouse_database
            parameters = {"log": self._log_id, "zone": self._settings.timezone}
            return client.query(sql, parameters=parameters).result_rows
        except (ClickHouseError, OSError) as exc:
            raise Unreachable(
                f"ClickHouse at {self._settings.clickhouse_url}: {str(exc).splitlines()[0][:200]}. A windows worker "
                "asks it at its start what earlier logs have spent"
            ) from exc


class Reasons:
    """Why a member's spend is unusual, asked of ClickHouse; without an answer the alert leaves all the same."""

    def __init__(self, settings: Settings, log_id: str, merging: Merging) -> None:
        self._settings, self._log_id, self._merging = settings, log_id, merging
        self._client: Client | None = None

    def __call__(self, dimension: str, member: str, finding: Finding, began: float) -> Explained:
        """The members and causes behind a finding; `began`: as `explain_change` has it."""
        if self._client is None and time.monotonic() < began + QUERY_SECONDS:
            try:
                self._client = asking(self._settings)
            except SpendError as exc:
                log.warning("an alert leaves without its causes: %s", exc)
        since, until = (datetime.fromtimestamp(at, UTC) for at in (finding.since, finding.until))
        return explain_change(
            self._client,
            self._settings,
            self._log_id,
            dimension,
            member,
            since=since,
            until=until,
            expected=finding.expected,
            actual=finding.actual,
            window_seconds=finding.window_seconds,
            began=began,
            rows_cost=self._cost_seen(dimension, member, finding),
        )

    def _cost_seen(self, dimension: str, member: str, finding: Finding) -> int | None:
        """What the stream saw of the member while it was unusual; None where the minutes are gone."""
        windows = self._merging.windows
        if finding.since < self._merging.watermark - windows.retention.minute:
            return None
        picos = 0
        for frame in windows.minutes(finding.since, finding.until):
            mine = frame.filter(
                (pl.col("dimension") == dimension)
                & (pl.col("member") == member)
                & pl.col("start").is_between(finding.since, finding.until, closed="left")
            )
            picos += sum(mine["cost_total"].to_physical().to_list())
        return picos
