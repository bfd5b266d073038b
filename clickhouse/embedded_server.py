"""The embedded database: the ClickHouse engine (chDB) behind ClickHouse's HTTP interface, a process of its own.

    python -m clickhouse.embedded_server --port 8123 --path .spend/clickhouse

Listens on 127.0.0.1 only. `/ping` answers as soon as queries can. SIGTERM ends it after the requests in flight.
What it speaks, and where it differs from a real ClickHouse server, stands in docs/decisions/0003-embedded.md.
"""

import argparse
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from types import FrameType

from clickhouse.embedded_access import write_access
from clickhouse.embedded_engine import Engine
from clickhouse.embedded_http import EmbeddedServer
from clickhouse.embedded_users import User
from streams.errors import SpendError
from streams.settings import settings

log = logging.getLogger("clickhouse.embedded")

_STOP_SECONDS = 20.0  # how long SIGTERM waits for requests in flight


def serve(port: int, path: Path, users: Iterable[User], database: str) -> None:
    """Serve until SIGTERM or SIGINT; `database` is the one that users who only read may read.

    Raises:
        SpendError: the path is held by another process, or the port is taken.
    """
    os.environ["TZ"] = "UTC"  # the engine's time zone: days without a zone are the same on every machine
    time.tzset()
    engine = Engine(path, lambda folder: write_access(folder, database))
    try:
        server = EmbeddedServer(port, engine, users)
    except OSError as error:
        raise SpendError(
            f"Port {port} of 127.0.0.1 cannot be used ({error.strerror}): set another with SPEND_CLICKHOUSE_URL"
        ) from error

    def stop(_signal: int, _frame: FrameType | None) -> None:
        # shutdown() waits for the serving loop, which is this very thread.
        threading.Thread(target=server.shutdown, daemon=True).start()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    log.warning("ClickHouse %s listens on 127.0.0.1:%d", server.version, server.server_port)
    server.serve_forever(poll_interval=0.1)
    server.socket.close()
    if not server.wait_idle(_STOP_SECONDS):
        log.warning("Requests were still in flight after %.0f s", _STOP_SECONDS)
    server.sessions.close()
    engine.close()


def main() -> int:
    """The process. Returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m clickhouse.embedded_server", description=__doc__)
    parser.add_argument("--port", type=int, required=True, help="port on 127.0.0.1")
    parser.add_argument("--path", type=Path, required=True, help="folder of the database files")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        own = settings()
        if own.reader_user == own.clickhouse_user:
            raise SpendError("SPEND_READER_USER must be another user than SPEND_CLICKHOUSE_USER: it may only read")
        users = (
            User(own.clickhouse_user, own.clickhouse_password.get_secret_value()),
            User(own.reader_user, own.reader_password.get_secret_value(), reads_only=True),
        )
        serve(options.port, options.path.absolute(), users, own.clickhouse_database)
    except SpendError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
