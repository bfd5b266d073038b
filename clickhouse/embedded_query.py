"""From a request to its answer: sessions, rights, settings, then the engine. Knows no sockets."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain

from clickhouse.embedded_access import confine
from clickhouse.embedded_engine import Connection, Counters, Engine, EngineError
from clickhouse.embedded_native import UnknownLayout, for_revision
from clickhouse.embedded_request import ExternalTable, Request
from clickhouse.embedded_statement import Statement, read_statement
from clickhouse.embedded_users import User

_READ_KINDS = ("READ_ONLY", "UNKNOWN")  # what does not parse is the engine's to refuse
_CONTENT_TYPES = (
    ("JSONEachRow", "application/x-ndjson; charset=UTF-8"),
    ("JSONCompactEachRow", "application/x-ndjson; charset=UTF-8"),
    ("JSONStringsEachRow", "application/x-ndjson; charset=UTF-8"),
    ("JSON", "application/json; charset=UTF-8"),
    ("TabSeparated", "text/tab-separated-values; charset=UTF-8"),
    ("TSV", "text/tab-separated-values; charset=UTF-8"),
    ("CSVWithNames", "text/csv; charset=UTF-8; header=present"),
    ("CSV", "text/csv; charset=UTF-8; header=absent"),
    ("ArrowStream", "application/vnd.apache.arrow.stream"),
    ("XML", "application/xml; charset=UTF-8"),
    ("Pretty", "text/plain; charset=UTF-8"),
    ("Vertical", "text/plain; charset=UTF-8"),
)
# HTTP status by ClickHouse's error code, as its server chooses it; any other code is 500.
_STATUS = {
    **dict.fromkeys((194,), 401),  # REQUIRED_PASSWORD
    **dict.fromkeys((192, 193, 497, 511, 512, 516), 403),
    **dict.fromkeys((6, 8, 15, 16, 25, 26, 27, 36, 38, 41, 43, 44, 53, 62, 72, 117, 168, 177, 220, 321, 376, 427), 400),
    **dict.fromkeys((46, 47, 50, 56, 60, 63, 73, 78, 81, 115, 336), 404),
    159: 408,  # TIMEOUT_EXCEEDED
    48: 501,  # NOT_IMPLEMENTED
    **dict.fromkeys((76, 209, 439), 503),
}


def http_status(code: int) -> int:
    """The HTTP status for ClickHouse's error `code`."""
    return _STATUS.get(code, 500)


def content_type(output_format: str) -> str:
    """The Content-Type of a result in `output_format`."""
    return next((kind for start, kind in _CONTENT_TYPES if output_format.startswith(start)), "application/octet-stream")


@dataclass
class Answer:
    """A result on its way: its pieces are drawn from the engine as they are read; `counters` fill meanwhile."""

    format: str
    pieces: Iterator[bytes]
    counters: Counters

    @property
    def content_type(self) -> str:
        return content_type(self.format)


def answer(connection: Connection, request: Request, user: User, *, may_write: bool, default_format: str) -> Answer:
    """Run a request's statement. An INSERT is complete when this returns; a SELECT's first rows come with `pieces`.

    Raises:
        EngineError: the engine refused, or the user or the HTTP method may not do this.
    """
    statement = read_statement(request.text)
    if not statement.verb:
        raise EngineError(62, "Code: 62. DB::Exception: Syntax error: Empty query. (SYNTAX_ERROR)")
    if statement.touches_files:
        raise EngineError(
            358, "Code: 358. DB::Exception: Files of the server cannot be named. (INTO_OUTFILE_NOT_ALLOWED)"
        )
    if user.reads_only:
        if statement.names_file_function:
            raise EngineError(497, f"Code: 497. DB::Exception: {user.name}: file() is refused. (ACCESS_DENIED)")
        confine(connection)
    if database := request.parameters.get("database"):
        connection.use(database)
    connection.set(request.settings)
    output_format = request.parameters.get("default_format") or default_format
    counters = Counters()
    if statement.data_at is not None and statement.format is not None:
        _check_rights("MUTATING", user, may_write)
        data = chain((request.text[statement.data_at :],), request.rest)
        connection.insert(_text(statement.text), statement.format, data, counters)
        return Answer(output_format, iter(()), counters)
    sql = _text(b"".join((statement.text, *request.rest)))
    kind, count = connection.classify(sql)
    if count > 1:
        raise EngineError(62, "Code: 62. DB::Exception: Syntax error: Multi-statements are not allowed. (SYNTAX_ERROR)")
    _check_rights(kind, user, may_write)
    for table in request.tables:
        _create(connection, table)
    pieces = _run(connection, statement, sql, output_format, counters)
    output_format = statement.format or output_format
    if output_format == "Native":
        pieces = _for_client(pieces, request.parameters.get("client_protocol_version", "0"))
    return Answer(output_format, pieces, counters)


def _run(
    connection: Connection, statement: Statement, sql: str, output_format: str, counters: Counters
) -> Iterator[bytes]:
    if statement.selects:
        return connection.stream(sql, statement.format or output_format, counters)
    return iter((connection.query(sql, output_format, counters),))


def _for_client(pieces: Iterator[bytes], revision: str) -> Iterator[bytes]:
    try:
        yield from for_revision(pieces, int(revision))
    except UnknownLayout as error:
        raise EngineError(48, f"Code: 48. DB::Exception: {error}. (NOT_IMPLEMENTED)") from error
    except ValueError as error:
        raise EngineError(
            36, "Code: 36. DB::Exception: client_protocol_version is no number. (BAD_ARGUMENTS)"
        ) from error


def _check_rights(kind: str, user: User, may_write: bool) -> None:
    if kind in _READ_KINDS:
        return
    if user.reads_only:
        raise EngineError(
            164, f"Code: 164. DB::Exception: {user.name}: Cannot execute query in readonly mode. (READONLY)"
        )
    if not may_write:
        raise EngineError(
            164,
            "Code: 164. DB::Exception: Cannot execute query in readonly mode. For queries over HTTP, method GET "
            "implies readonly. You should use method POST for modifying queries. (READONLY)",
        )


def _create(connection: Connection, table: ExternalTable) -> None:
    connection.query(f"CREATE OR REPLACE TEMPORARY TABLE `{table.name}` ({table.structure})", "Null", Counters())
    connection.insert(f"INSERT INTO `{table.name}`", table.format, (table.data,), Counters())


def _text(query: bytes) -> str:
    try:
        return query.decode()
    except UnicodeDecodeError as error:
        raise EngineError(
            62, "Code: 62. DB::Exception: Syntax error: the query is not UTF-8. (SYNTAX_ERROR)"
        ) from error


@dataclass
class _Session:
    connection: Connection
    lock: threading.Lock
    seconds: float
    used: float


class Sessions:
    """Connections that outlive a request, by `session_id`: temporary tables and SET last as long as the session."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._sessions: dict[tuple[str, str], _Session] = {}
        self._guard = threading.Lock()

    @contextmanager
    def connection(self, request: Request, user: User) -> Iterator[Connection]:
        """The connection for a request: its session's, else a fresh one. A request's own settings end with it.

        Raises:
            EngineError: 373 when the session is in use, 372 when `session_check` finds none.
        """
        name = request.parameters.get("session_id", "")
        if not name or user.reads_only or "readonly" in request.settings:  # readonly could not be taken back
            fresh = self._engine.connection()
            try:
                yield fresh
            finally:
                fresh.close()
            return
        session = self._open((user.name, name), request.parameters)
        try:
            before = session.connection.values(request.settings)
            database = session.connection.database() if "database" in request.parameters else ""
            try:
                yield session.connection
            finally:
                session.connection.settle()
                session.connection.set(before)
                if database:
                    session.connection.use(database)
        finally:
            session.used = time.monotonic()
            session.lock.release()

    def _open(self, key: tuple[str, str], parameters: dict[str, str]) -> _Session:
        now = time.monotonic()
        with self._guard:
            self._close_expired(now)
            session = self._sessions.get(key)
            if session is None:
                if parameters.get("session_check") == "1":
                    raise EngineError(372, "Code: 372. DB::Exception: Session not found. (SESSION_NOT_FOUND)")
                seconds = float(parameters.get("session_timeout") or 60)
                session = self._sessions[key] = _Session(self._engine.connection(), threading.Lock(), seconds, now)
            if not session.lock.acquire(blocking=False):
                raise EngineError(
                    373,
                    f"Code: 373. DB::Exception: Session {key[1]} is locked by a concurrent client. (SESSION_IS_LOCKED)",
                )
            return session

    def _close_expired(self, now: float) -> None:
        for key, session in list(self._sessions.items()):
            if now - session.used > session.seconds and not session.lock.locked():
                del self._sessions[key]
                session.connection.close()

    def close(self) -> None:
        """Close all sessions that are not in use."""
        with self._guard:
            self._close_expired(float("inf"))
