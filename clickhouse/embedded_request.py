"""A request of ClickHouse's HTTP interface, read from the wire: parameters, settings, the query's text and its data."""

import email.parser
import email.policy
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.message import Message
from io import BufferedIOBase
from urllib.parse import parse_qsl, urlsplit

from clickhouse.embedded_encoding import decoded, from_blocks

PIECE = 1 << 20  # bytes read from a body at a time
_QUERY_BYTES = 1 << 18  # ClickHouse's max_query_size: an INSERT's data begins before this
# Parameters of the interface itself; every other one is a setting, or a bound parameter when it begins with `param_`.
_OWN = frozenset(
    {
        *("query", "database", "default_format", "user", "password", "quota_key", "role", "stacktrace"),
        *("session_id", "session_timeout", "session_check", "query_id", "wait_end_of_query", "buffer_size"),
        *("compress", "decompress", "client_protocol_version", "close_session"),
    }
)
_TABLE_PARAMETER = re.compile(r"(\w+)_(format|structure|types)")


class BadRequest(ValueError):
    """A request that HTTP or the interface does not allow."""


@dataclass
class ExternalTable:
    """A table that comes with the query, in a part of a multipart body."""

    name: str
    data: bytes
    format: str = "TabSeparated"
    structure: str = ""


@dataclass
class Request:
    """One request. `text` starts with the statement; for an INSERT its data may begin inside and go on in `rest`."""

    path: str
    parameters: dict[str, str]
    settings: dict[str, str]
    text: bytes
    rest: Iterator[bytes]
    tables: list[ExternalTable] = field(default_factory=list)

    def flag(self, name: str) -> bool:
        """A parameter that is 1 or true."""
        return self.parameters.get(name, "").lower() in ("1", "true")


def read_request(target: str, headers: Message, body: Iterator[bytes]) -> Request:
    """Read a request whose body comes in pieces, not further than needed to hold its statement.

    Raises:
        BadRequest: multipart that cannot be read.
        BadEncoding: a compressed body that cannot be read.
    """
    url = urlsplit(target)
    parameters = dict(parse_qsl(url.query, keep_blank_values=True, encoding="utf-8", errors="surrogateescape"))
    tables: list[ExternalTable] = []
    plain = decoded(body, headers.get("Content-Encoding", "").strip().lower())
    if headers.get("Content-Type", "").lower().startswith("multipart/form-data"):
        fields, tables = _read_multipart(headers["Content-Type"], b"".join(plain))
        parameters |= fields
        plain = iter(())
        _describe(tables, parameters)
    elif parameters.get("decompress", "") in ("1", "true"):
        plain = from_blocks(plain)
    text = parameters.get("query", "").encode("utf-8", "surrogateescape")
    if start := _first(plain):
        text = text + b"\n" + start if text else start
    settings = {k: v for k, v in parameters.items() if k not in _OWN}
    return Request(url.path, parameters, settings, text, plain, tables)


def _first(pieces: Iterator[bytes]) -> bytes:
    held = b""
    for piece in pieces:
        held = held + piece if held else piece
        if len(held) >= _QUERY_BYTES:
            break
    return held


def read_body(stream: BufferedIOBase, headers: Message) -> Iterator[bytes]:
    """A body in pieces as it comes, by its length or in chunks.

    Raises:
        BadRequest: the connection ended early or the framing is wrong.
    """
    if "chunked" in headers.get("Transfer-Encoding", "").lower():
        yield from _chunks(stream)
        return
    try:
        left = int(headers.get("Content-Length") or 0)
    except ValueError as error:
        raise BadRequest("Content-Length is not a number") from error
    while left > 0:
        piece = stream.read(min(left, PIECE))
        if not piece:
            raise BadRequest("The body ends before its Content-Length")
        left -= len(piece)
        yield piece


def _chunks(stream: BufferedIOBase) -> Iterator[bytes]:
    while True:
        try:
            size = int(stream.readline(1024).split(b";")[0], 16)
        except ValueError as error:
            raise BadRequest("The chunked body is broken or ends too early") from error
        if size == 0:
            while stream.readline(1 << 16).strip():
                pass  # trailers
            return
        data = stream.read(size)
        if len(data) < size or stream.readline(8).strip():
            raise BadRequest("The chunked body is broken or ends too early")
        yield data


def _read_multipart(content_type: str, body: bytes) -> tuple[dict[str, str], list[ExternalTable]]:
    head = f"Content-Type: {content_type}\r\n\r\n".encode("latin-1")
    message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + body)
    if not message.is_multipart():
        raise BadRequest("The multipart body cannot be read")
    fields: dict[str, str] = {}
    tables: list[ExternalTable] = []
    for part in message.iter_parts():
        name = part.get_param("name", header="content-disposition")
        data = part.get_payload(decode=True)
        if not isinstance(name, str) or not isinstance(data, bytes):
            raise BadRequest("A part of the multipart body has no name")
        if part.get_filename() is None:
            fields[name] = data.decode("utf-8", "surrogateescape")
        else:
            tables.append(ExternalTable(name, data))
    return fields, tables


def _describe(tables: list[ExternalTable], parameters: dict[str, str]) -> None:
    by_name = {table.name: table for table in tables}
    for key in list(parameters):
        found = _TABLE_PARAMETER.fullmatch(key)
        table = by_name.get(found.group(1)) if found else None
        if found is None or table is None:
            continue
        value = parameters.pop(key)
        if found.group(2) == "format":
            table.format = value
        elif found.group(2) == "structure":
            table.structure = value
        else:
            table.structure = ", ".join(f"_{n} {kind}" for n, kind in enumerate(value.split(","), 1))
