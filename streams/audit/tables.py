"""What the audit asks of ClickHouse: raw rows by their coordinates."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from clickhouse_connect.driver.client import Client

from schemas.priced import COSTS
from streams.audit.compare import Actual
from streams.oracle.judge import ABSENT, BETWEEN, FIELDS, NULL
from streams.oracle.price import STATUS

_GROUP_ON_DISK = {"max_bytes_before_external_group_by": 1 << 30}


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


class Tables:
    """The tables of one database.

    Args:
        client: ClickHouse.
        database: its name.
    """

    def __init__(self, client: Client, database: str) -> None:
        self._client = client
        self.database = database

    def mark(self, log_id: str, partition: int) -> int:
        """The last source offset of a partition that a sink has inserted; -1 before the first."""
        [[mark, rows]] = self.rows(
            f"SELECT max(mark), count() FROM {self.database}.progress "
            "WHERE log_id = {log:String} AND source_partition = {partition:Int32}",
            log=log_id,
            partition=partition,
        )
        return int(mark) if rows else -1

    def raw(self, log_id: str, partition: int, start: int, stop: int, version: str) -> Actual:
        """Raw rows of source offsets `start` up to, not including, `stop`; `version`: the oracle's rates."""
        texts = ", ".join(f"ifNull(toString({name}), char({ord(ABSENT)}))" for name in ("model", *FIELDS))
        text = f"arrayStringConcat([{texts}], char({ord(BETWEEN)}))"  # as the oracle puts it
        table = self._client.query_arrow(
            f"""
            SELECT source_offset, toUnixTimestamp64Micro(time) AS time_us, input_tokens, output_tokens,
                   reinterpretAsInt64(substring(MD5({text}), 1, 8)) AS fields,
                   toString(pricing_status) AS status, price_version = {{version:String}} AS current,
                   {", ".join(COSTS)}
            FROM {self.database}.usage
            WHERE log_id = {{log:String}} AND source_partition = {{partition:Int32}}
              AND source_offset >= {{start:Int64}} AND source_offset < {{stop:Int64}}
            ORDER BY source_offset
            """,
            parameters={"log": log_id, "partition": partition, "start": start, "stop": stop, "version": version},
            use_strings=True,
        ).combine_chunks()
        columns = {name: _flat(table.column(name)) for name in table.column_names}
        status = pc.index_in(columns["status"], value_set=pa.array(list(STATUS)))
        values = [columns["time_us"], columns["input_tokens"], columns["output_tokens"], columns["fields"], status]
        return Actual(
            offsets=_whole(columns["source_offset"]),
            values=np.column_stack([*map(_whole, values), *(_picos(columns[name]) for name in COSTS)]),
            current=_whole(columns["current"]) == 1,
        )

    def identities(self, log_id: str, partition: int, start: int, stop: int) -> Iterator[tuple[str, str, int]]:
        """(source, id, offset) of the raw rows of a stretch, in offset order."""
        with self._client.query_row_block_stream(
            f"""
            SELECT toString(source), id, source_offset FROM {self.database}.usage
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
        logs = self.rows(f"SELECT DISTINCT toString(log_id) FROM {self.database}.usage WHERE {where}", log=log_id)
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
        [[rows, coordinates, *costs]] = self.rows(
            f"SELECT count(), uniqExact(log_id, source_partition, source_offset), {sums} "
            f"FROM {self.database}.usage WHERE {where}",
            **parameters,
        )
        return Unaudited(int(rows), int(rows) - int(coordinates), [picos(cost) for cost in costs])

    def kept_since(self, raw_retention_days: int) -> datetime:
        """Raw rows of this time and later are all there; naive UTC, at a quarter of an hour."""
        [[since]] = self.rows(
            "SELECT toString(toStartOfFifteenMinutes(toDateTime(now('UTC'), 'UTC') - toIntervalDay({days:UInt32}) "
            "+ toIntervalMinute(15)))",
            days=raw_retention_days,
        )
        return datetime.fromisoformat(since)

    def rows(self, query: str, **parameters: object) -> list[list]:
        """The rows of any query."""
        return [
            list(row) for row in self._client.query(query, parameters=parameters, settings=_GROUP_ON_DISK).result_rows
        ]


def picos(dollars: str) -> int:
    """A decimal number of dollars as picodollars, exactly."""
    whole, _, fraction = dollars.lstrip("-").partition(".")
    amount = int(whole) * 10**12 + int((fraction + "0" * 12)[:12])
    return -amount if dollars.startswith("-") else amount


def dollars(picos: int) -> str:
    """Picodollars as US dollars with twelve decimals."""
    return f"{Decimal(picos).scaleb(-12):.12f}"


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
