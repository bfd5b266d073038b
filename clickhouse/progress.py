"""How far the sink is: one row a partition of spend.priced, in ClickHouse beside the rows it speaks of.

Progress is written after the inserts it covers, at most once a second; what lies behind it is inserted again under its
tokens. The counts are sums over all blocks of the partition up to `block_offset`, so a repeat changes nothing.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from clickhouse_connect.driver.client import Client

from clickhouse.replicas import lacking
from streams.blocks import Block
from streams.errors import Unreachable


@dataclass(frozen=True)
class Progress:
    """Sums over the blocks of one partition, from the first to `block_offset`."""

    block_log_id: str
    log_id: str
    partition: int
    block_offset: int = -1
    mark: int | None = None  # None: nothing yet, the log's first block may begin anywhere
    blocks: int = 0
    tokens: int = 0  # of their inserts: one for each month that a block's rows touch
    rows: int = 0
    duplicates: int = 0
    dead_letters: Mapping[str, int] = field(default_factory=dict)
    misrouted: int = 0
    event_time_max: int = 0  # microseconds since 1970

    def after(self, block_offset: int, block: Block | None, mark: int) -> "Progress":
        """Progress once a block, trimmed, has been inserted; None when all of it was a repeat."""
        if block is None:
            return replace(self, block_offset=block_offset, mark=mark, blocks=self.blocks + 1)
        header = block.header
        dead = dict(self.dead_letters)
        for reason, offsets in header.dead_letters.items():
            dead[reason] = dead.get(reason, 0) + len(offsets)
        return replace(
            self,
            block_offset=block_offset,
            mark=mark,
            blocks=self.blocks + 1,
            tokens=self.tokens + block.months,
            rows=self.rows + header.rows,
            duplicates=self.duplicates + len(header.duplicates),
            dead_letters=dead,
            misrouted=self.misrouted + header.misrouted,
            event_time_max=max(self.event_time_max, header.event_time_max),
        )


def read_progress(client: Client, block_log_id: str, log_id: str, partition: int) -> tuple[Progress, int | None]:
    """The latest progress of a partition, and how many tokens the inserts of all sinks have taken since it was written.

    None when none was written: how many they took since then is not known.

    Raises:
        Unreachable: a replica answered that is behind the others.
    """
    lacks, written, *columns = client.query(
        f"""
        WITH (priced_log_id = {{block_log:String}} AND log_id = {{log:String}}
              AND source_partition = {{partition:Int32}}) AS own
        SELECT {lacking("progress")}, countIf(own), anyIf(block_offset, own), anyIf(mark, own), anyIf(blocks, own),
               anyIf(tokens, own), anyIf(rows, own), anyIf(duplicates, own), anyIf(dead_letters, own),
               anyIf(misrouted, own), toUnixTimestamp64Micro(anyIf(event_time_max, own)),
               sum(tokens) - anyIf(all_tokens, own)
        FROM progress FINAL
        """,
        parameters={"block_log": block_log_id, "log": log_id, "partition": partition},
    ).result_rows[0]
    _require_all(lacks)
    start = Progress(block_log_id, log_id, partition)
    if not written:
        return start, None
    offset, mark, blocks, tokens, rows, duplicates, dead, misrouted, event_time, since = columns
    progress = replace(
        start,
        block_offset=offset,
        mark=mark if offset >= 0 else None,
        blocks=blocks,
        tokens=tokens,
        rows=rows,
        duplicates=duplicates,
        dead_letters=dict(dead),
        misrouted=misrouted,
        event_time_max=event_time,
    )
    return progress, int(since)


def was_inserted_otherwise(client: Client, block_log_id: str, log_id: str) -> bool:
    """Whether events of this log were inserted from another priced log: their tokens would not be known again."""
    [(lacks, found)] = client.query(
        f"SELECT {lacking('progress')}, count() FROM progress "
        "WHERE log_id = {log:String} AND priced_log_id != {block_log:String} AND block_offset >= 0",
        parameters={"block_log": block_log_id, "log": log_id},
    ).result_rows
    _require_all(lacks)
    return bool(found)


def _require_all(lacks: int) -> None:
    if lacks:
        raise Unreachable("the replica of ClickHouse that answers is behind the others: it has yet to fetch progress")


def write_progress(client: Client, progress: Progress, now: datetime) -> None:
    """Add a progress row; the greatest block offset counts."""
    row = {
        "priced_log_id": progress.block_log_id,
        "log_id": progress.log_id,
        "source_partition": progress.partition,
        "block_offset": progress.block_offset,
        "mark": -1 if progress.mark is None else progress.mark,
        "blocks": progress.blocks,
        "tokens": progress.tokens,
        "rows": progress.rows,
        "duplicates": progress.duplicates,
        "dead_letters": dict(progress.dead_letters),
        "misrouted": progress.misrouted,
        "event_time_max": progress.event_time_max,
        "recorded_at": now.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3],
    }
    columns = ", ".join(row)
    values = {name: json.dumps(v) if isinstance(v, dict) else v for name, v in row.items()}
    client.command(
        f"""
        INSERT INTO progress ({columns}, all_blocks, all_tokens)
        SELECT {{priced_log_id:String}}, {{log_id:String}}, {{source_partition:Int32}}, {{block_offset:Int64}},
               {{mark:Int64}}, {{blocks:UInt64}}, {{tokens:UInt64}}, {{rows:UInt64}}, {{duplicates:UInt64}},
               CAST(JSONExtract({{dead_letters:String}}, 'Map(String, UInt64)'),
                    'Map(LowCardinality(String), UInt64)'),
               {{misrouted:UInt64}}, fromUnixTimestamp64Micro({{event_time_max:Int64}}, 'UTC'),
               toDateTime64({{recorded_at:String}}, 3, 'UTC'), sum(before.blocks), sum(before.tokens)
        FROM progress AS before FINAL
        """,
        parameters=values,
    )
