"""What the audit asks of ClickHouse: raw rows by coordinates, and raw rows against each rollup."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from clickhouse_connect.driver.client import Client

from schemas.priced import COSTS
from streams.audit.compare import Actual
from streams.oracle.judge import NULL
from streams.oracle.price import STATUS

ROLLUPS = ("usage_15m", "members_15m")
EXAMPLES = 10
_ATTEMPTS = 10  # while events arrive, an insert may lie between the raw table and its views at the moment of asking
_PAUSE_SECONDS = 0.5
_SORT_ON_DISK = {"max_bytes_before_external_group_by": 1 << 30}

# measures that are not the sum of the raw column of the same name
_MEASURES = {
    "calls": "toInt64(1)",
    "errors": "toInt64(isNotNull(error_type))",
    "timed_calls": "toInt64(isNotNull(duration_ms))",
    "partial_calls": "toInt64(pricing_status = 'partial')",
    "unpriced_calls": "toInt64(pricing_status = 'unpriced')",
}
_MEMBERS = """arrayConcat(
    [('user', toString(ifNull(user, ''))), ('workflow', toString(ifNull(workflow, ''))),
     ('agent', toString(ifNull(agent, ''))), ('api_key_id', toString(ifNull(api_key_id, ''))),
     ('release', toString(ifNull(release, '')))],
    arrayMap((k, v) -> (concat('tags.', toString(k)), toString(v)), mapKeys(tags), mapValues(tags)))"""


@dataclass(frozen=True)
class Unaudited:
    """Raw rows whose records are not in the log any more.

    Attributes:
        rows: how many.
        duplicated: rows beyond the first of their coordinates.
        costs: sums of `COSTS`, picodollars.
    """

    rows: int
    duplicated: int
    costs: list[int]


@dataclass(frozen=True)
class Rollup:
    """A rollup against all raw rows of the time that raw rows are kept.

    Attributes:
        table: its name.
        calls, raw_calls: sums of calls there, and of what the raw rows say they should be.
        costs, raw_costs: likewise of `COSTS`; of the total only where the rollup has no components; picodollars.
        differing: keys (time and dimensions) with another figure.
        examples: some of them in words.
    """

    table: str
    calls: int
    raw_calls: int
    costs: dict[str, int]
    raw_costs: dict[str, int]
    differing: int
    examples: list[str]


class Tables:
    """The tables of one database.

    Args:
        client: ClickHouse.
        database: its name.
    """

    def __init__(self, client: Client, database: str) -> None:
        self._client = client
        self._database = database

    def mark(self, log_id: str, partition: int) -> int:
        """The last source offset of a partition that a sink has inserted; -1 before the first."""
        [[mark, rows]] = self._rows(
            f"SELECT max(mark), count() FROM {self._database}.progress "
            "WHERE log_id = {log:String} AND source_partition = {partition:Int32}",
            log=log_id,
            partition=partition,
        )
        return int(mark) if rows else -1

    def raw(self, log_id: str, partition: int, start: int, stop: int, version: str) -> Actual:
        """Raw rows of source offsets `start` up to, not including, `stop`; `version`: the oracle's rates."""
        table = self._client.query_arrow(
            f"""
            SELECT source_offset, toUnixTimestamp64Micro(time) AS time_us, input_tokens, output_tokens,
                   toString(pricing_status) AS status, price_version = {{version:String}} AS current,
                   {", ".join(COSTS)}
            FROM {self._database}.usage
            WHERE log_id = {{log:String}} AND source_partition = {{partition:Int32}}
              AND source_offset >= {{start:Int64}} AND source_offset < {{stop:Int64}}
            ORDER BY source_offset
            """,
            parameters={"log": log_id, "partition": partition, "start": start, "stop": stop, "version": version},
            use_strings=True,
        ).combine_chunks()
        columns = {name: _flat(table.column(name)) for name in table.column_names}
        status = pc.index_in(columns["status"], value_set=pa.array(list(STATUS)))
        values = [columns["time_us"], columns["input_tokens"], columns["output_tokens"], status]
        return Actual(
            offsets=_whole(columns["source_offset"]),
            values=np.column_stack([*map(_whole, values), *(_picos(columns[name]) for name in COSTS)]),
            current=_whole(columns["current"]) == 1,
        )

    def identities(self, log_id: str, partition: int, start: int, stop: int) -> Iterator[tuple[str, str, int]]:
        """(source, id, offset) of the raw rows of a stretch, in offset order."""
        with self._client.query_row_block_stream(
            f"""
            SELECT toString(source), id, source_offset FROM {self._database}.usage
            WHERE log_id = {{log:String}} AND source_partition = {{partition:Int32}}
              AND source_offset >= {{start:Int64}} AND source_offset < {{stop:Int64}}
            ORDER BY source_offset
            """,
            parameters={"log": log_id, "partition": partition, "start": start, "stop": stop},
        ) as blocks:
            for block in blocks:
                yield from block

    def other_logs(self, log_id: str) -> dict[str, Unaudited]:
        """Rows of logs other than `log_id`, by log."""
        where = "log_id != {log:String}"
        logs = self._rows(f"SELECT DISTINCT toString(log_id) FROM {self._database}.usage WHERE {where}", log=log_id)
        return {other: self.unaudited("log_id = {log:String}", log=other) for [other] in sorted(logs)}

    def before(self, log_id: str, partition: int, start: int) -> Unaudited:
        """Rows of a partition whose records lie before the log's first offset."""
        return self.unaudited(
            "log_id = {log:String} AND source_partition = {partition:Int32} AND source_offset < {start:Int64}",
            log=log_id,
            partition=partition,
            start=start,
        )

    def unaudited(self, where: str, **parameters: object) -> Unaudited:
        """Rows that fulfil a condition, their repeats and costs."""
        sums = ", ".join(f"toString(ifNull(sum({name}), 0))" for name in COSTS)
        [[rows, coordinates, *costs]] = self._rows(
            f"SELECT count(), uniqExact(log_id, source_partition, source_offset), {sums} "
            f"FROM {self._database}.usage WHERE {where}",
            **parameters,
        )
        return Unaudited(int(rows), int(rows) - int(coordinates), [picos(cost) for cost in costs])

    def kept_since(self, raw_retention_days: int) -> datetime:
        """Raw rows of this time and later are all there; naive UTC, at a quarter of an hour."""
        [[since]] = self._rows(
            "SELECT toString(toStartOfFifteenMinutes(toDateTime(now('UTC'), 'UTC') - toIntervalDay({days:UInt32}) "
            "+ toIntervalMinute(15)))",
            days=raw_retention_days,
        )
        return datetime.fromisoformat(since)

    def rollup(self, table: str, since: datetime) -> Rollup:
        """Compare a rollup with the raw rows it was made from, month by month."""
        found = Rollup(table, 0, 0, {}, {}, 0, [])
        for month in self._months(table, since):
            for attempt in range(_ATTEMPTS):
                part = self._rollup_of_month(table, month, since)
                if not part.differing:
                    break
                if attempt < _ATTEMPTS - 1:
                    time.sleep(_PAUSE_SECONDS)
            found = Rollup(
                table,
                found.calls + part.calls,
                found.raw_calls + part.raw_calls,
                {name: found.costs.get(name, 0) + cost for name, cost in part.costs.items()},
                {name: found.raw_costs.get(name, 0) + cost for name, cost in part.raw_costs.items()},
                found.differing + part.differing,
                (found.examples + part.examples)[:EXAMPLES],
            )
        return found

    def _months(self, table: str, since: datetime) -> list[date]:
        return [
            date.fromisoformat(month)
            for [month] in self._rows(
                f"""
                SELECT DISTINCT toString(toStartOfMonth(time)) AS month FROM (
                    SELECT DISTINCT toDate(time) AS time FROM {self._database}.usage
                    UNION DISTINCT SELECT DISTINCT toDate(time) AS time FROM {self._database}.{table}
                ) WHERE time >= toDate({{since:String}}) ORDER BY month
                """,
                since=str(since.date()),
            )
        ]

    def _rollup_of_month(self, table: str, month: date, since: datetime) -> Rollup:
        keys, measures = self._columns(table)
        costs = [name for name in measures if name in COSTS]
        start = max(since, datetime(month.year, month.month, 1))
        stop = datetime(month.year + month.month // 12, month.month % 12 + 1, 1)
        parameters = {"start": str(start), "stop": str(stop)}
        grouped = self._grouped(table, keys, measures)
        wrong = " OR ".join(f"raw_{name} != its_{name}" for name in measures)
        figures = ", ".join(f"toString(sum(its_{name})), toString(sum(raw_{name}))" for name in ("calls", *costs))
        [[differing, *sums]] = self._rows(
            f"""
            SELECT countIf({wrong}), {figures} FROM ({grouped})
            """,
            **parameters,
        )
        examples = []
        if differing:
            names = ", ".join(f"toString(k_{key})" for key in keys)
            told = ", ".join(f"toString(raw_{name}), toString(its_{name})" for name in ("calls", "cost_total"))
            query = f"SELECT {names}, {told} FROM ({grouped}) WHERE {wrong} ORDER BY k_time LIMIT {EXAMPLES}"
            for row in self._rows(query, **parameters):
                place = ", ".join(f"{key} {value}" for key, value in zip(keys, row, strict=False) if value)
                calls, its_calls, cost, its_cost = row[len(keys) :]
                examples.append(
                    f"{table}: {place}: {its_calls} calls and {its_cost}, its raw rows have {calls} and {cost}"
                )
        calls, raw_calls, *pairs = sums
        return Rollup(
            table,
            int(calls),
            int(raw_calls),
            {name: picos(its) for name, its in zip(costs, pairs[::2], strict=True)},
            {name: picos(raw) for name, raw in zip(costs, pairs[1::2], strict=True)},
            int(differing),
            examples,
        )

    def _columns(self, table: str) -> tuple[list[str], list[str]]:
        """Key columns and summed columns of a rollup."""
        rows = self._rows(
            "SELECT name, type FROM system.columns WHERE database = {database:String} AND table = {table:String} "
            "ORDER BY position",
            database=self._database,
            table=table,
        )
        keys = [name for name, kind in rows if not kind.startswith("SimpleAggregateFunction")]
        return keys, [name for name, kind in rows if kind.startswith("SimpleAggregateFunction(sum")]

    def _grouped(self, table: str, keys: list[str], measures: list[str]) -> str:
        """A query of each key's sums: `raw_x` from the raw rows, `its_x` the rollup's own, both in one statement."""
        source = {"time": "toStartOfFifteenMinutes(time)"}
        join = ""
        if "member" in keys:
            source |= {"dimension": "entry.1", "member": "entry.2"}
            join = f"ARRAY JOIN {_MEMBERS} AS entry"
        raw_keys = [f"{source.get(key, f"toString(ifNull({key}, ''))")} AS k_{key}" for key in keys]
        its_keys = [f"{key if key == 'time' else f'toString({key})'} AS k_{key}" for key in keys]
        raw, its = [], []
        for name in measures:
            kind = "toDecimal128({}, 12)" if name in COSTS else "toInt128({})"
            zero = kind.format(0)
            raw += [f"{kind.format(_MEASURES.get(name, f'ifNull({name}, 0)'))} AS r_{name}", f"{zero} AS i_{name}"]
            its += [f"{zero} AS r_{name}", f"{kind.format(name)} AS i_{name}"]
        sums = ", ".join(f"sum(r_{name}) AS raw_{name}, sum(i_{name}) AS its_{name}" for name in measures)
        within = "time >= toDateTime({start:String}, 'UTC') AND time < toDateTime({stop:String}, 'UTC')"
        return f"""
            SELECT {", ".join(f"k_{key}" for key in keys)}, {sums} FROM (
                SELECT {", ".join([*raw_keys, *raw])} FROM {self._database}.usage {join} WHERE {within}
                UNION ALL
                SELECT {", ".join([*its_keys, *its])} FROM {self._database}.{table} WHERE {within}
            ) GROUP BY {", ".join(f"k_{key}" for key in keys)}
        """

    def _rows(self, query: str, **parameters: object) -> list[list]:
        return [
            list(row) for row in self._client.query(query, parameters=parameters, settings=_SORT_ON_DISK).result_rows
        ]


def picos(dollars: str) -> int:
    """A decimal number of dollars as picodollars, exactly."""
    whole, _, fraction = dollars.lstrip("-").partition(".")
    amount = int(whole) * 10**12 + int((fraction + "0" * 12)[:12])
    return -amount if dollars.startswith("-") else amount


def _flat(column: pa.ChunkedArray) -> pa.Array:
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)


def _whole(column: pa.Array) -> np.ndarray:
    """Whole numbers as int64, `NULL` where there is none."""
    return np.asarray(pc.fill_null(column.cast(pa.int64()), NULL))


def _picos(column: pa.Array) -> np.ndarray:
    """decimal128(38, 12) dollars as int64 picodollars, `NULL` where there is none; what int64 cannot hold is -1."""
    words = np.frombuffer(column.buffers()[1], dtype=np.int64, count=2 * len(column), offset=16 * column.offset)
    low, high = words[::2], words[1::2]
    values = np.where(high == low >> 63, low, -1)
    return np.where(np.asarray(column.is_null()), NULL, values)
