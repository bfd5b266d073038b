"""What a cluster asks for on top, where SPEND_CLICKHOUSE_CLUSTER names one: docs/decisions/0019-deploy.md says why.

A replica answers from the parts that it has. One that is behind, or was added a minute ago, would say that nothing was
inserted yet, and blocks whose tokens are forgotten by now would count twice. So whoever decides by such an answer asks
in the same query what the replica lacks; another query may be answered by another replica.
"""

from clickhouse_connect.driver.client import Client

from streams.errors import SpendError

# Said with every statement: most replicas have an insert before it is acknowledged, so that losing the one that took it
# loses nothing. Several may be on the way at once: partitions do not wait for each other.
WRITE_SETTINGS: dict[str, str] = {
    "insert_quorum": "auto",
    "insert_quorum_parallel": "1",
    "insert_quorum_timeout": "60000",  # milliseconds; then the insert is repeated under its token
}


def lacking(table: str) -> str:
    """SQL, a scalar: 1 when the replica that answers lacks something of a table that others have, 0 when it does not.

    The table is of the current database; one that is not replicated lacks nothing.
    """
    return f"""(
        SELECT count() FROM system.replicas
        WHERE database = currentDatabase() AND table = '{table}'
          AND (is_readonly OR is_session_expired OR inserts_in_queue > 0 OR log_pointer <= log_max_index)
    )"""


def catch_up(client: Client, *tables: str) -> None:
    """Wait until the replica has what others have of these replicated tables."""
    for table in tables:
        client.command(f"SYSTEM SYNC REPLICA {table}")


def require_one_shard(client: Client, cluster: str) -> None:
    """Make sure that a token which one server knows is known to all.

    Raises:
        SpendError: the cluster has several shards, or is not known.
    """
    shards = client.query(
        "SELECT uniqExact(shard_num) FROM system.clusters WHERE cluster = {cluster:String}",
        parameters={"cluster": cluster},
    ).result_rows[0][0]
    if not shards:
        raise SpendError(
            f"SPEND_CLICKHOUSE_CLUSTER: this ClickHouse knows no cluster {cluster!r}; "
            "SELECT DISTINCT cluster FROM system.clusters names those that it knows"
        )
    if shards > 1:
        raise SpendError(
            f"SPEND_CLICKHOUSE_CLUSTER: cluster {cluster!r} has {shards} shards, and none knows another's tokens: a "
            "repeated block would count twice. Name a cluster whose servers are all replicas of one shard"
        )
