"""The settings under which the sink inserts a block: one block, one insert, one token (DESIGN 3, rule 5).

An insert that the server cuts in two, buffers with others or does not deduplicate in the views would be counted wrong
when it is repeated, and servers' defaults differ between versions; so all that matters is said with every insert.
"""

# Tokens that every table remembers; an insert takes one for each month that its block touches.
TOKEN_WINDOW = 100_000

# The whole block is one insert block, whatever its size.
INSERT_SETTINGS: dict[str, str] = {
    "async_insert": "0",  # no buffer in the server: an answer means the parts are there
    "wait_end_of_query": "1",  # answer after the views too; an error after half the work must not look like success
    "insert_deduplicate": "1",
    "deduplicate_blocks_in_dependent_materialized_views": "1",
    "max_insert_block_size": "10000000",  # rows; far above SPEND_BLOCK_EVENTS at its greatest
    "min_insert_block_size_rows": "10000000",
    "min_insert_block_size_bytes": "0",
    "min_insert_block_size_rows_for_materialized_views": "0",
    "min_insert_block_size_bytes_for_materialized_views": "0",
    "max_partitions_per_insert_block": "0",  # late events may belong to many months
    "max_insert_threads": "1",
    "parallel_view_processing": "0",
    "optimize_on_insert": "0",  # merges add a rollup's rows up; doing it in the insert too took a third of its time
}

# Inserts of the other topics' copies (clickhouse/copy_topics.py): a version says which row counts; no token is needed.
COPY_SETTINGS: dict[str, str] = {
    "async_insert": "0",
    "wait_end_of_query": "1",
    "insert_deduplicate": "0",
    "max_partitions_per_insert_block": "0",  # late events change days of many months
    "optimize_on_insert": "1",  # of a window that came several times, one row is written
}


def insert_settings(token: str) -> dict[str, str]:
    """Settings of one insert of a block, under its token: `<priced log id>:<partition>:<block offset>`."""
    return {**INSERT_SETTINGS, "insert_deduplication_token": token}
