-- Planned activity, a row for each key of spend.planned, so that it outlives a broker that starts empty. FINAL leaves out
-- what was withdrawn.
CREATE TABLE IF NOT EXISTS $database.planned $on_cluster
(
    id String,
    value String,
    removed UInt8,
    version UInt64
)
ENGINE = ${replicated}ReplacingMergeTree(version, removed)
ORDER BY id
SETTINGS $durability;
