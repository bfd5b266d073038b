"""What the embedded engine lets its one user do: everything as a writer; as a reader, no more than a reader may.

The engine knows one user and no sign-in. Its own rights are the reader's; a role gives the rest, and a connection that
is made to read puts the role down (`confine`). So the engine itself judges every table, table function and statement,
by the grants that `deploy/clickhouse/users.d/reader.xml` gives the reader of a real server.
"""

from pathlib import Path

from clickhouse.embedded_engine import Connection, Counters

# What a reader has unless it asks for less; MOST is how much more it may ask for. Bytes, seconds, rows.
LIMITS = {"max_memory_usage": 2_000_000_000, "max_execution_time": 30, "max_result_rows": 100_000}
MOST = {"max_memory_usage": 2_000_000_000, "max_execution_time": 120, "max_result_rows": 1_000_000}

_CONFIG = """<clickhouse>
    <users_config>{users}</users_config>
    <backups><allowed_path>{backups}</allowed_path></backups>
</clickhouse>
"""
_USERS = """<clickhouse>
    <profiles><default/><reader><constraints>{constraints}</constraints></reader></profiles>
    <quotas><default/></quotas>
    <roles><writer><grants><query>GRANT ALL ON *.*</query></grants></writer></roles>
    <users>
        <default>
            <password/>
            <networks><ip>::/0</ip></networks>
            <profile>default</profile>
            <quota>default</quota>
            <grants><query>GRANT SELECT ON `{database}`.*</query><query>GRANT writer</query></grants>
        </default>
    </users>
</clickhouse>
"""


def write_access(folder: Path, database: str) -> Path:
    """Write the engine's configuration into `folder`, for a reader of `database`; the file to start it with.

    `BACKUP ... TO File('name')` writes to `backups` beside `folder`, so that whoever removes one keeps the other.
    """
    constraints = "".join(f"<{name}><max>{most}</max></{name}>" for name, most in MOST.items())
    users, config = folder / "users.xml", folder / "config.xml"
    users.write_text(_USERS.format(constraints=constraints, database=database), encoding="utf-8")
    config.write_text(_CONFIG.format(users=users, backups=folder.parent / "backups"), encoding="utf-8")
    return config


def confine(connection: Connection) -> None:
    """Make `connection` a reader's, for as long as it is open: `readonly = 2` lets it choose other settings."""
    connection.query("SET ROLE NONE", "Null", Counters())
    connection.set({"profile": "reader"})  # its constraints; what a profile sets the engine does not take over
    connection.set({name: str(value) for name, value in LIMITS.items()} | {"readonly": "2"})
