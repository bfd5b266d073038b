"""The ClickHouse engine inside this process (chDB): connections, statements, errors. Knows nothing of HTTP.

Each request gets a connection of its own, so that its settings, database and temporary tables are its own; opening one
costs under a millisecond. Connections run side by side and release the interpreter's lock while the engine works.
"""

import fcntl
import json
import logging
import os
import re
import struct
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clickhouse import dangling_tokens
from streams.errors import SpendError

log = logging.getLogger("clickhouse.embedded")

# Formats whose results may be sent block by block: no header, no footer, so blocks can follow each other.
_JOINABLE = frozenset({"Native", "JSONEachRow", "CSV", "TabSeparated", "TSV", "TSVRaw", "TabSeparatedRaw", "RowBinary"})
_ARROW_END = b"\xff\xff\xff\xff\x00\x00\x00\x00"
_ERROR = re.compile(r"Code: (\d+)\. DB::Exception: ")


class EngineError(Exception):
    """The engine refused or failed. `code` is ClickHouse's error code, the message is ClickHouse's text."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code

    @classmethod
    def of(cls, error: Exception) -> "EngineError":
        """From what chDB raises, whose message is `Code: n. DB::Exception: ...`."""
        text = str(error)
        found = _ERROR.search(text)
        return cls(int(found.group(1)) if found else 1002, text)


@dataclass
class Counters:
    """What a statement did, as X-ClickHouse-Summary reports it. Rows, and bytes uncompressed."""

    read_rows: int = 0
    read_bytes: int = 0
    written_rows: int = 0
    written_bytes: int = 0
    result_rows: int = 0
    result_bytes: int = 0
    seconds: float = field(default=0.0)


def quoted(text: str) -> str:
    """`text` as a string literal of ClickHouse SQL."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


class Connection:
    """One client's view of the engine: its settings, its database, its temporary tables. For one thread at a time."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle
        self._streaming: Any = None  # the engine's handle of a result that is not drawn to its end

    def set(self, values: dict[str, str]) -> None:
        """Set settings and, under `param_name`, the values of `{name:Type}`; the values in ClickHouse's text form."""
        if values:
            for name in values:
                if not re.fullmatch(r"\w+", name):
                    raise EngineError(115, f"Code: 115. DB::Exception: Unknown setting '{name}'. (UNKNOWN_SETTING)")
            self._call(self._handle.query, "SET " + ", ".join(f"{k} = {quoted(v)}" for k, v in values.items()), "Null")

    def use(self, database: str) -> None:
        """Make `database` the one of names without a database."""
        self._call(self._handle.query, "USE `" + database.replace("\\", "\\\\").replace("`", "\\`") + "`", "Null")

    def values(self, names: Iterable[str]) -> dict[str, str]:
        """The present values of those settings; names that are no settings are left out."""
        listed = ", ".join(quoted(name) for name in names)
        if not listed:
            return {}
        sql = f"SELECT name, value FROM system.settings WHERE name IN ({listed}) FORMAT JSONCompactEachRow"
        return dict(json.loads(row) for row in self.query(sql, "Null", Counters()).splitlines())

    def database(self) -> str:
        """The database of names without one."""
        return self.query("SELECT currentDatabase() FORMAT TSVRaw", "Null", Counters()).decode().removesuffix("\n")

    def classify(self, sql: str) -> tuple[str, int]:
        """(READ_ONLY, MUTATING, CONTROL, ... or UNKNOWN; number of statements) of `sql`, without running it."""
        found = self._handle.classify_query(sql)
        return found["query_class"].name, found["statement_count"]

    def query(self, sql: str, output_format: str, counters: Counters) -> bytes:
        """Run `sql` and return its whole result in `output_format`."""
        result = self._call(self._handle.query, sql, output_format)
        counters.read_rows += result.storage_rows_read() or result.rows_read()
        counters.read_bytes += result.storage_bytes_read() or result.bytes_read()
        counters.result_rows += result.rows_read()
        counters.written_rows += result.rows_written()
        counters.written_bytes += result.bytes_written()
        counters.seconds += result.elapsed()
        return result.bytes()

    def stream(self, sql: str, output_format: str, counters: Counters) -> Iterator[bytes]:
        """Run the SELECT `sql` and yield its result in pieces; whole at once in a format that cannot be cut."""
        if output_format not in _JOINABLE and output_format != "ArrowStream":
            yield self.query(sql, output_format, counters)
            return
        result = self._streaming = self._call(self._handle.send_query, sql, output_format)
        held = b""
        try:
            while True:
                piece = self._call(self._handle.streaming_fetch_result, result)
                if piece is None or len(piece) == 0:
                    self._streaming = None
                    break
                counters.result_rows += piece.rows_read()
                counters.read_rows = max(counters.read_rows, piece.storage_rows_read(), counters.result_rows)
                counters.read_bytes = max(counters.read_bytes, piece.storage_bytes_read())
                data = piece.bytes()
                if output_format == "ArrowStream":
                    data, held = _continued_arrow(data, first=not held), _ARROW_END
                yield data
        finally:
            if self._streaming is result:
                self.settle()
        if output_format == "ArrowStream":
            # An empty result still has a schema, which only a whole query writes.
            yield held or self.query(sql, output_format, counters)

    def insert(self, head: str, input_format: str, pieces: Iterable[bytes], counters: Counters) -> None:
        """Run the INSERT `head` (up to before FORMAT) with data in `input_format`; nothing is written on an error.

        By way of a file: the engine's streaming insert (`send_insert`) says nothing of an error that comes once the
        data is read, such as a violated constraint, a failing view or a full disk (chDB 4.4).
        """
        with tempfile.NamedTemporaryFile(prefix="insert-") as file:
            for piece in pieces:
                file.write(piece)
            file.flush()
            source = f"{head} FROM INFILE {quoted(file.name)} COMPRESSION 'none' FORMAT {input_format}"
            result = self._call(self._handle.query, source, "Null")
        counters.read_rows = counters.written_rows = counters.result_rows = result.rows_written()
        counters.read_bytes = counters.written_bytes = counters.result_bytes = result.bytes_written()
        counters.seconds = result.elapsed()

    def settle(self) -> None:
        """End a stream that is still open. Whoever closes the connection does this first: afterwards it would crash."""
        result, self._streaming = self._streaming, None
        if result is not None:
            self._handle.streaming_cancel_query(result)

    def close(self) -> None:
        """Give the connection back; its temporary tables are gone."""
        self.settle()
        self._handle.close()

    @staticmethod
    def _call(function: Any, *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except RuntimeError as error:
            raise EngineError.of(error) from None


class Engine:
    """The one engine of this process over the files in `path`, which no other process may hold."""

    def __init__(self, path: Path, configure: Callable[[Path], Path]) -> None:
        """Open the files in `path`, made when missing; `configure` writes the engine's configuration there.

        Raises:
            SpendError: the path cannot be written or another process holds it, or the extra `embedded` is missing.
        """
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._lock = _hold(path)
            config = configure(path)
        except OSError as exc:
            raise SpendError(f"The folder {path} cannot be used ({exc.strerror}): see SPEND_STATE_DIR") from exc
        try:
            from chdb import _chdb
        except ImportError as exc:
            raise SpendError("chDB is not installed: pip install 'spendstream[embedded]'") from exc
        for token in dangling_tokens.mend(path):
            log.warning("taken out, its part was never stored: insert token of %s", token)
        self._connect: Callable[[str], Any] = vars(_chdb)["connect"]
        self._path = str(path)
        self._root = self._connect(
            f"{self._path}?config-file={config}"
        )  # keeps the engine open while no request is there

    def connection(self) -> Connection:
        """A new connection, with default settings, in database `default`."""
        return Connection(self._connect(self._path))

    def close(self) -> None:
        """Close the engine and give the path back."""
        self._root.close()
        os.close(self._lock)


def _hold(path: Path) -> int:
    # A lock of the kernel: it ends with its process, however that dies, so a stale one cannot exist.
    lock = os.open(path / "spendstream.lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as exc:
        holder = os.read(lock, 32).decode(errors="replace").strip() or "unknown"
        os.close(lock)
        raise SpendError(
            f"The database files in {path} are in use by another process (pid {holder}): "
            "stop it, or choose another folder with SPEND_STATE_DIR"
        ) from exc
    os.ftruncate(lock, 0)
    os.write(lock, str(os.getpid()).encode())
    return lock


def _continued_arrow(stream: bytes, *, first: bool) -> bytes:
    # The engine writes each block as a complete Arrow stream: schema, batches, end mark. Later ones give their batches.
    begin = 0 if first else 8 + struct.unpack_from("<i", stream, 4)[0]
    return stream[begin : -len(_ARROW_END)] if stream.endswith(_ARROW_END) else stream[begin:]
