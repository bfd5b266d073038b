"""The embedded ClickHouse with the users of deploy/clickhouse/users.d, each with the grants of its file, word by word.

    python tests/contract/clickhouse_users.py PORT PATH

The engine signs nobody in and knows one user. Here that user may do nothing; each file's grants are a role of its own,
and the connection of whoever signs in takes on that role alone, so that the engine itself judges every statement. What
the files say of limits and quotas stays out of it. OWNER may do everything, for a test to prepare what it needs.
"""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree

from clickhouse.embedded_engine import Connection, Counters, Engine
from clickhouse.embedded_http import EmbeddedServer
from clickhouse.embedded_query import Sessions
from clickhouse.embedded_request import Request
from clickhouse.embedded_users import User

OWNER = "owner"
FILES = Path(__file__).parents[2] / "deploy" / "clickhouse" / "users.d"
_CONFIG = "<clickhouse><users_config>{}</users_config></clickhouse>"
_USERS = """<clickhouse>
    <profiles><default/></profiles>
    <quotas><default/></quotas>
    <roles>{roles}</roles>
    <users><default>
        <password/><networks><ip>::/0</ip></networks><profile>default</profile><quota>default</quota>
        <grants>{grants}</grants>
    </default></users>
</clickhouse>
"""


def grants() -> dict[str, list[str]]:
    """The grants of each user that deploy/ has."""
    users = [user for file in sorted(FILES.glob("*.xml")) for user in ElementTree.parse(file).getroot().find("users")]
    return {user.tag: [str(query.text) for query in user.findall("grants/query")] for user in users}


def password(user: str) -> str:
    return f"password-of-{user}"


def configure(folder: Path) -> Path:
    """The engine's configuration, written into `folder`."""

    def queries(texts: list[str]) -> str:
        return "".join(f"<query>{text}</query>" for text in texts)

    of = {**grants(), OWNER: ["GRANT ALL ON *.*"]}
    roles = "".join(f"<{user}><grants>{queries(texts)}</grants></{user}>" for user, texts in of.items())
    users, config = folder / "users.xml", folder / "config.xml"
    users.write_text(_USERS.format(roles=roles, grants=queries([f"GRANT {user}" for user in of])))
    config.write_text(_CONFIG.format(users))
    return config


class RoleSessions(Sessions):
    @contextmanager
    def connection(self, request: Request, user: User) -> Iterator[Connection]:
        with super().connection(request, user) as connection:
            connection.query(f"SET ROLE {user.name}", "Null", Counters())
            yield connection


def main(port: int, path: Path) -> None:
    os.environ["TZ"] = "UTC"
    time.tzset()
    engine = Engine(path, configure)
    server = EmbeddedServer(port, engine, [User(name, password(name)) for name in (*grants(), OWNER)])
    server.sessions = RoleSessions(engine)
    server.serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
