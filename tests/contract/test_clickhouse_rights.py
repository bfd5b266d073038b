"""The users of deploy/clickhouse/users.d: the engine itself judges, by the grants of the files, what each may do."""

import asyncio
import re
import ssl
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree

import pytest
import trustme
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError
from pydantic import SecretStr

from clickhouse import migrate
from clickhouse.client import connect
from clickhouse.embedded_access import LIMITS
from streams.errors import Unreachable
from streams.settings import Settings
from streams.supervisor import Stack, on_free_ports
from tests.chaos.traffic import until
from tests.contract import clickhouse_users
from tests.contract.test_kafka_rights import answers

pytestmark = pytest.mark.stack

USERS = sorted(clickhouse_users.grants())
DENIED = 497
# A right, and a statement that needs it on a table of the user's database.
STATEMENTS = {
    "SELECT": "SELECT * FROM {} LIMIT 0",
    "INSERT": "INSERT INTO {} FORMAT JSONEachRow",
    "ALTER": "ALTER TABLE {} DELETE WHERE 1",
    "TRUNCATE": "TRUNCATE TABLE {}",
    "OPTIMIZE": "OPTIMIZE TABLE {}",
    "DROP": "DROP TABLE {}",
}
NOBODYS = (
    "SELECT * FROM other.secrets",
    "INSERT INTO other.secrets VALUES ('x')",
    "DROP TABLE other.secrets",
    "CREATE TABLE other.more (a Int8) ENGINE = Memory",
    "CREATE DATABASE more",
    "CREATE USER more",
    "GRANT ALL ON *.* TO spend_reader",
    "SELECT * FROM system.users",
    "SELECT * FROM system.grants",
    "SELECT * FROM file('/etc/passwd', 'LineAsString')",
    "INSERT INTO FUNCTION file('/tmp/x', 'CSV', 'a Int8') VALUES (1)",
    "SELECT * FROM url('http://127.0.0.1:1', 'LineAsString')",
    "SELECT * FROM remote('127.0.0.1', 'system.one')",
    "SYSTEM SHUTDOWN",
    "SYSTEM FLUSH LOGS",
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A server with the users, the tables as spend_admin makes them, and a database of somebody else's."""
    home = tmp_path_factory.mktemp("users")
    with Stack(on_free_ports(Settings(state_dir=home)), parts=()) as stack:
        port = stack.settings.clickhouse_url.rpartition(":")[2]
        script = str(Path(clickhouse_users.__file__))
        stack.spawn("clickhouse", sys.executable, script, port, str(home / "clickhouse"))
        until(lambda: answers(f"http://127.0.0.1:{port}/ping"), "ClickHouse")
        operator = connect(signed_in(stack.settings, "spend_admin"))
        migrate.up(operator, stack.settings, lambda: None)
        migrate.down(operator, stack.settings, lambda: None, count=len(migrate.migrations()))
        migrate.up(operator, stack.settings, lambda: None)
        client = connect(signed_in(stack.settings, clickhouse_users.OWNER))
        client.command("CREATE DATABASE other")
        client.command("CREATE TABLE other.secrets (a String) ENGINE = MergeTree ORDER BY a")
        yield stack.settings


def signed_in(settings: Settings, user: str) -> Settings:
    password = SecretStr(clickhouse_users.password(user))
    return settings.model_copy(update={"clickhouse_user": user, "clickhouse_password": password})


def refused(client: Client, statement: str) -> bool:
    try:
        client.command(statement)
    except ClickHouseError as exc:
        assert getattr(exc, "code", None) == DENIED, exc
        return True
    return False


def granted(user: str, table: str) -> set[str]:
    """The rights of a user on a table, as its file says them."""
    found = set()
    for grant in clickhouse_users.grants()[user]:
        rights, on = re.fullmatch(r"GRANT (.+) ON (\S+)", grant).groups()  # type: ignore[union-attr]
        if on in ("spend.*", f"spend.{table}"):
            found |= set(STATEMENTS) if rights == "ALL" else set(rights.split(", "))
    return found


@pytest.mark.parametrize("user", USERS)
def test_a_user_may_do_what_its_file_says_and_is_refused_everything_else(server: Settings, user: str) -> None:
    admin, client = connect(signed_in(server, "spend_admin")), connect(signed_in(server, user))
    tables = [name for (name,) in admin.query("SELECT name FROM system.tables WHERE database = 'spend'").result_rows]
    assert len(tables) > 10
    for table in tables:
        may = granted(user, table)
        for right, statement in STATEMENTS.items():
            if right in may and right not in ("SELECT", "INSERT"):
                continue  # the migrations have shown that it can
            if right == "INSERT" and table in ("organisation", "usage_15m_view", "members_15m_view"):
                continue  # nobody inserts into a view
            assert refused(client, statement.format(f"spend.{table}")) == (right not in may), (table, right)
    assert [each for each in NOBODYS if not refused(client, each)] == []


def test_the_windows_and_the_reader_only_read_and_the_sink_removes_nothing() -> None:
    for user in ("spend_api", "spend_reader"):
        assert all(re.match(r"GRANT SELECT ON spend\.", grant) for grant in clickhouse_users.grants()[user])
    assert {grant.partition(" ON ")[0] for grant in clickhouse_users.grants()["spend_sink"]} == {
        "GRANT INSERT",
        "GRANT INSERT, SELECT",
        "GRANT SELECT",  # of what a replica lacks
    }


@pytest.mark.parametrize("user", USERS)
def test_a_deployed_user_has_a_password_from_the_environment_and_limits_of_its_own(user: str) -> None:
    [root] = [
        root
        for file in clickhouse_users.FILES.glob("*.xml")
        if (root := ElementTree.parse(file).getroot()).find(f"users/{user}") is not None
    ]
    password = root.find(f"users/{user}/password")
    assert password is not None and not password.text
    assert password.attrib == {"from_env": f"SPEND_{user.removeprefix('spend_').upper()}_PASSWORD"}
    assert root.findtext(f"users/{user}/profile") == root.findtext(f"users/{user}/quota") == user
    assert root.find(f"profiles/{user}") is not None
    if user != "spend_admin":
        assert int(root.findtext(f"quotas/{user}/interval/queries") or 0) >= 3000
        assert root.findtext(f"quotas/{user}/interval/duration") == "60"
        assert int(root.findtext(f"profiles/{user}/max_memory_usage") or 0) >= LIMITS["max_memory_usage"]


def test_https_is_spoken_with_a_server_of_the_authority_that_is_set_and_no_other(
    server: Settings, tmp_path: Path
) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(ca_file := tmp_path / "ca.pem"))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    with tls_before(int(server.clickhouse_url.rpartition(":")[2]), tls) as port:
        own = signed_in(server, "spend_api").model_copy(update={"clickhouse_url": f"https://127.0.0.1:{port}"})
        assert connect(own.model_copy(update={"clickhouse_ca_file": ca_file})).command("SELECT 1") == 1
        with pytest.raises(Unreachable):
            connect(own, 2)


@contextmanager
def tls_before(port: int, tls: ssl.SSLContext) -> Iterator[int]:
    """A port that speaks TLS and hands on to another."""

    async def copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while data := await source.read(1 << 16):
            target.write(data)
        target.close()

    async def hand_on(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        behind, before = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(copy(source, before), copy(behind, target))

    loop = asyncio.new_event_loop()
    listening = loop.run_until_complete(asyncio.start_server(hand_on, "127.0.0.1", 0, ssl=tls))
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield listening.sockets[0].getsockname()[1]
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
