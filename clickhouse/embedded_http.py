"""ClickHouse's HTTP interface over the embedded engine: the wire. What a request means is `embedded_query`'s."""

import json
import logging
import os
import secrets
import sys
import threading
import uuid
from collections.abc import Iterable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import chain
from urllib.parse import urlsplit

from clickhouse.embedded_encoding import BadEncoding, chosen, encoded, to_blocks
from clickhouse.embedded_engine import Counters, Engine, EngineError
from clickhouse.embedded_query import Answer, Sessions, answer, http_status
from clickhouse.embedded_request import BadRequest, Request, read_body, read_request
from clickhouse.embedded_users import User, authenticate

log = logging.getLogger("clickhouse.embedded")

_HELD = 1 << 20  # a result up to this many bytes is sent whole, with its length and its final counters
_IDLE_SECONDS = 600.0  # how long a connection is kept without a request


class EmbeddedServer(ThreadingHTTPServer):
    """HTTP on 127.0.0.1 over one engine; a thread per connection."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, engine: Engine, users: Iterable[User]) -> None:
        self.engine = engine
        self.users: Mapping[str, User] = {user.name: user for user in users}
        self.sessions = Sessions(engine)
        self.version, self.timezone, self.display_name = self._describe()
        self._in_flight = 0
        self._idle = threading.Condition()
        super().__init__(("127.0.0.1", port), _Handler)

    def _describe(self) -> tuple[str, str, str]:
        connection = self.engine.connection()
        try:
            found = connection.query("SELECT version(), timezone(), displayName()", "TabSeparated", Counters())
        finally:
            connection.close()
        version, timezone, display_name = found.decode().rstrip("\n").split("\t")
        return version, timezone, display_name

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is no news; anything else is."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            log.exception("A connection failed in the server itself")

    def begin(self) -> None:
        """A request is in flight."""
        with self._idle:
            self._in_flight += 1

    def end(self) -> None:
        """A request is answered."""
        with self._idle:
            self._in_flight -= 1
            self._idle.notify_all()

    def wait_idle(self, seconds: float) -> bool:
        """Wait until no request is in flight; False when some still is."""
        with self._idle:
            return self._idle.wait_for(lambda: self._in_flight == 0, seconds)


class _Handler(BaseHTTPRequestHandler):
    server: EmbeddedServer
    protocol_version = "HTTP/1.1"
    server_version = "spendstream-embedded"
    sys_version = ""
    disable_nagle_algorithm = True  # head and body are separate writes
    wbufsize = 1 << 16
    timeout = _IDLE_SECONDS

    def do_GET(self) -> None:
        self._respond(may_write=False)

    do_HEAD = do_GET

    def do_POST(self) -> None:
        self._respond(may_write=True)

    def do_OPTIONS(self) -> None:
        self._send(204, {"Allow": "GET, HEAD, POST, OPTIONS", "Content-Length": "0"}, [])

    def log_message(self, format: str, *args: object) -> None:
        """Requests are not logged: their URLs hold statements."""

    def _respond(self, *, may_write: bool) -> None:
        path = urlsplit(self.path).path
        if path in ("/ping", "/replicas_status") or (path == "/" and "?" not in self.path and not may_write):
            self._text(200, "Ok.\n")
            return
        body = read_body(self.rfile, self.headers)
        self.server.begin()
        try:
            self._query(body, may_write=may_write)
        except (ConnectionError, TimeoutError):
            self.close_connection = True
        except (BadRequest, BadEncoding) as error:
            self._refuse(EngineError(36, f"Code: 36. DB::Exception: {error}. (BAD_ARGUMENTS)"), body)
        except EngineError as error:
            self._refuse(error, body)
        except Exception:
            log.exception("A request failed in the server itself")
            self._refuse(EngineError(49, "Code: 49. DB::Exception: The embedded server failed. (LOGICAL_ERROR)"), body)
        finally:
            self.server.end()

    def _query(self, body: Iterator[bytes], *, may_write: bool) -> None:
        foreign = urlsplit(self.headers.get("Origin", "")).hostname
        if foreign not in (None, "127.0.0.1", "localhost", "::1"):
            # A page of another site could otherwise make a browser write here.
            raise EngineError(497, "Code: 497. DB::Exception: Requests of other web sites are refused. (ACCESS_DENIED)")
        request = read_request(self.path, self.headers, body)
        if request.path != "/":
            self._drain(body)
            self._text(404, f"There is no handle {request.path}\n\nUse / or /ping.\n")
            return
        user = authenticate(self.server.users, self.headers, request.parameters)
        query_id = request.parameters.get("query_id") or str(uuid.uuid4())
        default_format = self.headers.get("X-ClickHouse-Format") or "TabSeparated"
        if database := self.headers.get("X-ClickHouse-Database"):
            request.parameters.setdefault("database", database)
        with self.server.sessions.connection(request, user) as connection:
            result = answer(connection, request, user, may_write=may_write, default_format=default_format)
            self._drain(body)
            self._send_result(result, request, query_id)

    def _send_result(self, result: Answer, request: Request, query_id: str) -> None:
        compresses = request.flag("enable_http_compression")
        encoding = chosen(self.headers.get("Accept-Encoding", "")) if compresses else ""
        blocks, whole = request.flag("compress"), request.flag("wait_end_of_query")
        held: list[bytes] = []
        size = 0
        complete = True
        for piece in result.pieces:
            held.append(piece)
            size += len(piece)
            if size > _HELD and not whole:
                complete = False
                break
        tag = secrets.token_hex(8)
        headers = {
            "Content-Type": result.content_type,
            "X-ClickHouse-Server-Display-Name": self.server.display_name,
            "X-ClickHouse-Query-Id": query_id,
            "X-ClickHouse-Format": result.format,
            "X-ClickHouse-Timezone": self.server.timezone,
            "X-ClickHouse-Summary": summary(result.counters),
            "X-ClickHouse-Exception-Tag": tag,
        }
        if encoding:
            headers["Content-Encoding"] = encoding
        if complete:
            plain = to_blocks(held) if blocks else iter(held)
            data = b"".join(encoded(plain, encoding))
            self._send(200, headers | {"Content-Length": str(len(data))}, [data])
            return
        pieces: Iterator[bytes] = chain(held, self._with_failure(result.pieces, tag))
        if blocks:
            pieces = to_blocks(pieces)
        self._send(200, headers | {"Transfer-Encoding": "chunked"}, _chunked(encoded(pieces, encoding)))
        if not self.close_connection:
            self.wfile.write(b"0\r\n\r\n")

    def _with_failure(self, pieces: Iterator[bytes], tag: str) -> Iterator[bytes]:
        # 200 is already sent: as in ClickHouse, the failure is the last thing in the body, and the body has no end.
        try:
            yield from pieces
        except EngineError as error:
            self.close_connection = True
            message = f"{error}\n".encode()
            yield b"\r\n__exception__\r\n%s\r\n%s%d %s\r\n__exception__\r\n" % (
                tag.encode(),
                message,
                len(message),
                tag.encode(),
            )

    def _refuse(self, error: EngineError, body: Iterator[bytes]) -> None:
        text = str(error)
        if "(version " not in text:
            text = f"{text} (version {self.server.version})"
        try:
            self._drain(body)
            headers = {"X-ClickHouse-Exception-Code": str(error.code)}
            if error.code == 516:
                headers["WWW-Authenticate"] = 'Basic realm="ClickHouse server HTTP API"'
            self._text(http_status(error.code), text + "\n", headers)
        except (ConnectionError, TimeoutError):
            self.close_connection = True
        if error.code == 236 and "fatal error" in text:
            # The engine crashed in one of its threads and refuses all work: let whoever watches this process see it.
            log.critical("The database engine crashed")
            os._exit(70)

    def _drain(self, body: Iterator[bytes]) -> None:
        # An answer sent while the client still writes would be lost with the connection.
        try:
            for _ in body:
                pass
        except BadRequest:
            self.close_connection = True

    def _text(self, status: int, text: str, headers: dict[str, str] | None = None) -> None:
        data = text.encode("utf-8", "replace")
        own = {"Content-Type": "text/plain; charset=UTF-8", "Content-Length": str(len(data))}
        self._send(status, own | (headers or {}), [data])

    def _send(self, status: int, headers: dict[str, str], pieces: Iterable[bytes]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value.encode("ascii", "replace").decode().replace("\r", " ").replace("\n", " "))
        self.end_headers()
        if self.command != "HEAD":
            for piece in pieces:
                self.wfile.write(piece)


def _chunked(pieces: Iterable[bytes]) -> Iterator[bytes]:
    for piece in pieces:
        if piece:
            yield b"%x\r\n" % len(piece)
            yield piece
            yield b"\r\n"


def summary(counters: Counters) -> str:
    """X-ClickHouse-Summary: numbers as strings, as ClickHouse writes them."""
    return json.dumps(
        {
            "read_rows": str(counters.read_rows),
            "read_bytes": str(counters.read_bytes),
            "written_rows": str(counters.written_rows),
            "written_bytes": str(counters.written_bytes),
            "result_rows": str(counters.result_rows),
            "result_bytes": str(counters.result_bytes),
            "elapsed_ns": str(round(counters.seconds * 1e9)),
        },
        separators=(",", ":"),
    )
