"""Months made anew from rows that are right: built in a table beside, then put in place of the old in one atomic step.

A view's own SELECT gives the rows of its target, its source restricted to a month, so that a rollup added by a later
migration is rebuilt without a line here.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from uuid import uuid4

from clickhouse_connect.driver.client import Client

from streams.errors import SpendError

_BESIDE = "repair_month"
_GROUP_ON_DISK = {"max_bytes_before_external_group_by": 1 << 30}
_MONTHLY = "toYYYYMM(time)"


@dataclass(frozen=True)
class Rollup:
    """The target of a materialized view over `usage`.

    Attributes:
        table: its name.
        select: the view's SELECT.
        keys, sums: columns that tell rows apart, and columns that are added up.
        columns: the columns of the SELECT, in its order.
    """

    table: str
    select: str
    keys: list[str]
    sums: list[str]
    columns: list[str]


def like(table: str, name: str) -> str:
    """The statement that makes an empty table as another one is, on the server that answers alone.

    With an id of its own: a replicated table's path in Keeper is made of it, and outside of ON CLUSTER it must be said.
    """
    return f"CREATE TABLE {name} UUID '{uuid4()}' AS {table}"


class Months:
    """The months of a database's tables, all partitioned by `toYYYYMM(time)`.

    Args:
        client: ClickHouse, its database chosen.
        cut: raw rows from this instant on are all kept, those before may have expired; the start of a UTC day.
    """

    def __init__(self, client: Client, cut: datetime) -> None:
        self._client = client
        self._cut = f"toDateTime('{cut:%Y-%m-%d %H:%M:%S}', 'UTC')"

    def with_rows(self) -> list[int]:
        """Months (yyyymm) that have raw rows which cannot have expired."""
        found = self._client.query(
            f"SELECT DISTINCT {_MONTHLY} AS month FROM usage WHERE time >= {self._cut} ORDER BY 1"
        )
        return [month for (month,) in found.result_rows]

    def doubled(self) -> dict[int, int]:
        """By month, the raw rows beyond the first of their coordinates. Copies of a row have its time: neighbours."""
        found = self._client.query(
            f"""
            SELECT month, sum(copies - 1) FROM
            (
                SELECT {_MONTHLY} AS month, count() AS copies FROM usage
                GROUP BY time, source_partition, source_offset, log_id
            )
            WHERE copies > 1 GROUP BY month ORDER BY month
            """,
            settings={**_GROUP_ON_DISK, "optimize_aggregation_in_order": 1},
        )
        return {month: int(rows) for month, rows in found.result_rows}

    def keep_one_of_each(self, month: int) -> None:
        """Replace the raw rows of a month by one of each coordinates."""
        # inserted_at is kept as well, which a plain * would leave out
        columns = ", ".join(self._columns("usage"))
        self._build_beside("usage")
        days = self._client.query(f"SELECT DISTINCT toDate(time) FROM usage WHERE {_MONTHLY} = {month} ORDER BY 1")
        for (day,) in days.result_rows:  # by day, for the memory that LIMIT BY takes
            self._client.command(
                f"INSERT INTO {_BESIDE} ({columns}) SELECT {columns} FROM usage "
                f"WHERE {_MONTHLY} = {month} AND toDate(time) = '{day}' "
                "LIMIT 1 BY log_id, source_partition, source_offset",
                settings={"insert_allow_materialized_columns": 1},
            )
        self._put_in_place("usage", month)

    def rollups(self) -> list[Rollup]:
        """The targets of all views over `usage`.

        Raises:
            SpendError: one of them cannot be rebuilt month by month, or is a view's source itself.
        """
        found = self._client.query(
            """
            SELECT name, as_select, create_table_query FROM system.tables
            WHERE database = currentDatabase() AND engine = 'MaterializedView' AND name IN
                (SELECT arrayJoin(dependencies_table) FROM system.tables
                 WHERE database = currentDatabase() AND name = 'usage')
            ORDER BY name
            """
        )
        return [self._rollup(*row) for row in found.result_rows]

    def _rollup(self, view: str, select: str, ddl: str) -> Rollup:
        target = re.search(r" TO (?:`?\w+`?\.)?`?(\w+)`?", ddl)
        described = self._client.query(
            "SELECT partition_key, length(dependencies_table) FROM system.tables "
            "WHERE database = currentDatabase() AND name = {table:String}",
            parameters={"table": target[1] if target else ""},
        ).result_rows
        if target is None or described != [(_MONTHLY, 0)]:
            raise SpendError(
                f"view {view}: `spendstream repair` rebuilds tables that are partitioned by {_MONTHLY} and are no "
                "view's source; drop this view, repair, and make it again"
            )
        types = self._columns(target[1])
        sums = [name for name, kind in types.items() if kind.startswith("SimpleAggregateFunction(sum,")]
        keys = [name for name in types if name not in sums]
        return Rollup(target[1], select, keys, sums, list(self._columns(view)))

    def differing(self, rollup: Rollup, month: int) -> int:
        """Keys of a month whose sums are not those of the raw rows."""
        keys, sums = ", ".join(rollup.keys), ", ".join(rollup.sums)
        found = self._client.query(
            f"""
            SELECT count() FROM
            (
                SELECT 1 FROM
                (
                    SELECT {keys}, {sums} FROM {rollup.table} WHERE {_MONTHLY} = {month} AND time >= {self._cut}
                    UNION ALL
                    SELECT {keys}, {", ".join(f"-{name}" for name in rollup.sums)} FROM ({rollup.select})
                )
                GROUP BY {keys} HAVING {" OR ".join(f"sum({name}) != 0" for name in rollup.sums)}
            )
            {self._restricted(month)}
            """,
            settings=_GROUP_ON_DISK,
        )
        return int(found.result_rows[0][0])

    def rebuild(self, rollup: Rollup, month: int) -> int:
        """Make a month anew from its raw rows. Times of which no raw row is left stay as they were.

        Returns:
            Rows kept although raw rows of their time should be there: nothing says whether they are right.
        """
        self._build_beside(rollup.table)
        self._client.command(
            f"INSERT INTO {_BESIDE} ({', '.join(rollup.columns)}) {rollup.select} {self._restricted(month)}"
        )
        columns = ", ".join([*rollup.keys, *rollup.sums])
        kept = f"FROM {rollup.table} WHERE {_MONTHLY} = {month} AND time NOT IN (SELECT time FROM {_BESIDE})"
        unexplained = self._client.query(f"SELECT count() {kept} AND time >= {self._cut}").result_rows[0][0]
        self._client.command(f"INSERT INTO {_BESIDE} ({columns}) SELECT {columns} {kept}")
        self._put_in_place(rollup.table, month)
        return int(unexplained)

    def clear(self) -> None:
        """Drop what a run that was cut short left."""
        self._client.command(f"DROP TABLE IF EXISTS {_BESIDE} SYNC")

    def _restricted(self, month: int) -> str:
        condition = f"{_MONTHLY} = {month} AND time >= {self._cut}".replace("'", "\\'")
        return f"SETTINGS additional_table_filters = {{'{self._client.database}.usage': '{condition}'}}"

    def _build_beside(self, table: str) -> None:
        self.clear()
        self._client.command(like(table, _BESIDE))
        # two equal blocks of one SELECT are no repeat
        for window in ("non_replicated_deduplication_window", "replicated_deduplication_window"):
            self._client.command(f"ALTER TABLE {_BESIDE} MODIFY SETTING {window} = 0")

    def _put_in_place(self, table: str, month: int) -> None:
        self._client.command(f"ALTER TABLE {table} REPLACE PARTITION {month} FROM {_BESIDE}")
        self.clear()

    def _columns(self, table: str) -> dict[str, str]:
        found = self._client.query(
            "SELECT name, type FROM system.columns WHERE database = currentDatabase() AND table = {table:String} "
            "ORDER BY position",
            parameters={"table": table},
        )
        return {name: kind for name, kind in found.result_rows}
