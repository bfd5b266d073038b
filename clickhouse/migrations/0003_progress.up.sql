-- How far the sink is, per priced log and partition: block_offset is the last block whose insert was acknowledged, mark
-- the last source offset decided up to it. The counts add up all blocks of that partition up to block_offset; all_blocks
-- those of all partitions as the row was written: how many tokens ago that was.
CREATE TABLE IF NOT EXISTS $database.progress $on_cluster
(
    priced_log_id String,
    log_id String,
    source_partition Int32,
    block_offset Int64,
    mark Int64,
    blocks UInt64,
    all_blocks UInt64,
    rows UInt64,
    duplicates UInt64,
    dead_letters Map(LowCardinality(String), UInt64),
    misrouted UInt64,
    event_time_max DateTime64(6, 'UTC'),
    recorded_at DateTime64(3, 'UTC')
)
ENGINE = ${replicated}ReplacingMergeTree(block_offset)
ORDER BY (priced_log_id, log_id, source_partition)
SETTINGS $durability;
