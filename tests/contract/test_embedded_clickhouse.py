"""The embedded ClickHouse, asked by raw HTTP and by clickhouse-connect: what a ClickHouse server would answer."""

import gzip
import http.client
import io
import json
import os
import signal
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import clickhouse_connect
import cramjam
import pyarrow as pa
import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError
from pydantic import SecretStr

from clickhouse.cityhash import city_hash_128
from clickhouse.client import connect
from clickhouse.embedded_encoding import from_blocks, to_blocks
from clickhouse.embedded_native import for_revision
from streams.embedded import answers
from streams.errors import SpendError, Unreachable
from streams.ports import free_port
from streams.settings import Settings

pytestmark = pytest.mark.stack

PASSWORD = "correct horse"


@dataclass
class Reply:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


@dataclass
class Embedded:
    """An embedded server of its own, as a process."""

    path: Path
    port: int = field(default_factory=free_port)
    options: tuple[str, ...] = ()
    password: str = ""

    def __post_init__(self) -> None:
        command = [sys.executable, "-m", "clickhouse.embedded_server", "--port", str(self.port), "--path"]
        env = os.environ | {"SPEND_CLICKHOUSE_PASSWORD": self.password}
        self.process = subprocess.Popen(
            [*command, str(self.path), *self.options], env=env, stderr=subprocess.PIPE, text=True
        )

    def wait_ready(self) -> "Embedded":
        while not answers(f"http://127.0.0.1:{self.port}/ping"):
            assert self.process.poll() is None, self.process.stderr and self.process.stderr.read()
            time.sleep(0.02)
        return self

    def end(self, number: signal.Signals = signal.SIGKILL) -> int:
        self.process.send_signal(number)
        return self.process.wait(20)

    def request(
        self,
        body: bytes | Iterator[bytes] = b"",
        method: str = "POST",
        path: str = "/",
        headers: dict[str, str] | None = None,
        **url: str,
    ) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        own = {"X-ClickHouse-Key": self.password} if self.password and headers is None else {}
        try:
            connection.request(
                method,
                f"{path}?{urlencode(url)}" if url else path,
                body,
                own | (headers or {}),
                encode_chunked=not isinstance(body, bytes),
            )
            response = connection.getresponse()
            return Reply(response.status, response.headers, response.read())
        finally:
            connection.close()

    def raw(self, statement: bytes, **url: str) -> bytes:
        reply = self.request(statement, **url)
        assert reply.status == 200, reply.text
        return reply.body

    def sql(self, statement: str, **url: str) -> str:
        return self.raw(statement.encode(), **url).decode().removesuffix("\n")

    def refused(self, statement: str, **url: str) -> tuple[int, str]:
        """(HTTP status, ClickHouse's error code) of a statement that must fail."""
        reply = self.request(statement.encode(), **url)
        assert reply.status != 200, reply.text
        return reply.status, reply.headers["X-ClickHouse-Exception-Code"]

    @property
    def settings(self) -> Settings:
        return Settings(clickhouse_url=f"http://127.0.0.1:{self.port}", clickhouse_password=SecretStr(self.password))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    made = Embedded(tmp_path_factory.mktemp("clickhouse")).wait_ready()
    yield made
    assert made.end(signal.SIGTERM) == 0


@pytest.fixture
def start() -> Iterator[Callable[..., Embedded]]:
    """Starts servers of a test's own, which do not outlive it."""
    with ExitStack() as started:

        def begin(path: Path, **options: Any) -> Embedded:
            server = Embedded(path, **options)
            started.callback(server.end)
            return server

        yield begin


@pytest.fixture
def table(server: Embedded) -> Iterator[str]:
    server.sql(
        "CREATE TABLE t (a Int32, b String) ENGINE = MergeTree ORDER BY a "
        "SETTINGS non_replicated_deduplication_window = 100"
    )
    yield "t"
    server.sql("DROP TABLE t")


@pytest.fixture
def client(server: Embedded) -> Iterator[Client]:
    made = connect(server.settings)
    yield made
    made.close()


# --- asking


def test_ping_and_the_root_answer_ok(server: Embedded) -> None:
    for path in ("/ping", "/", "/replicas_status"):
        reply = server.request(method="GET", path=path)
        assert (reply.status, reply.text) == (200, "Ok.\n")
    assert server.request(method="OPTIONS").status == 204
    assert server.request(method="GET", path="/nothing").status == 404


def test_a_statement_is_read_from_the_url_from_the_body_and_from_both(server: Embedded) -> None:
    assert server.request(method="GET", query="SELECT 1 + 1").text == "2\n"
    assert server.sql("SELECT 1 + 1") == "2"
    assert server.sql("1 + 1", query="SELECT") == "2"


def test_one_connection_serves_one_request_after_another(server: Embedded) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    for statement, status in ((b"SELECT 1", 200), (b"SELECT nothing", 404), (b"SELECT 2", 200)):
        connection.request("POST", "/", statement)
        response = connection.getresponse()
        response.read()
        assert response.status == status
    connection.close()


def test_a_reply_says_who_answered_and_what_was_done(server: Embedded) -> None:
    reply = server.request(b"SELECT number FROM numbers(3)", query_id="mine")
    summary = json.loads(reply.headers["X-ClickHouse-Summary"])
    assert reply.headers["X-ClickHouse-Query-Id"] == "mine"
    assert reply.headers["X-ClickHouse-Timezone"] == "UTC"
    assert reply.headers["X-ClickHouse-Format"] == "TabSeparated"
    assert reply.headers["X-ClickHouse-Server-Display-Name"]
    assert (summary["read_rows"], summary["result_rows"], summary["written_rows"]) == ("3", "3", "0")


@pytest.mark.parametrize(
    ("asked", "statement", "given"),
    [
        (({}, {}), "SELECT 1 AS x", ("TabSeparated", "1\n")),
        (({"default_format": "JSONEachRow"}, {}), "SELECT 1 AS x", ("JSONEachRow", '{"x":1}\n')),
        (({}, {"X-ClickHouse-Format": "CSVWithNames"}), "SELECT 1 AS x", ("CSVWithNames", '"x"\n1\n')),
        (({"default_format": "CSV"}, {}), "SELECT 1 AS x FORMAT TSVWithNames", ("TSVWithNames", "x\n1\n")),
        (({"default_format": "CSV"}, {}), "EXISTS TABLE system.one", ("CSV", "1\n")),
    ],
)
def test_the_format_is_the_statements_else_the_urls_else_the_headers(
    server: Embedded, asked: tuple[dict[str, str], dict[str, str]], statement: str, given: tuple[str, str]
) -> None:
    url, headers = asked
    reply = server.request(statement.encode(), headers=headers, **url)
    assert (reply.headers["X-ClickHouse-Format"], reply.text) == given


def test_parameters_are_bound_by_type(server: Embedded) -> None:
    statement = "SELECT {n:UInt8} + 1, {s:String}, {list:Array(String)}, {none:Nullable(Int8)}"
    found = server.sql(statement, param_n="41", param_s="it's", param_list="['a','b']", param_none="\\N")
    assert found == "42\tit\\'s\t['a','b']\t\\N"
    assert server.refused("SELECT {n:UInt8}") == (500, "456")


def test_a_setting_in_the_url_holds_for_that_statement_alone(server: Embedded) -> None:
    assert server.sql("SELECT getSetting('max_threads')", max_threads="7") == "7"
    assert server.sql("SELECT getSetting('max_threads')") != "7"
    assert server.refused("SELECT 1", no_such_setting="1") == (404, "115")


def test_the_database_of_names_without_one_is_the_urls(server: Embedded) -> None:
    assert server.sql("SELECT currentDatabase()", database="system") == "system"
    assert server.request(b"SELECT currentDatabase()", headers={"X-ClickHouse-Database": "system"}).text == "system\n"
    assert server.refused("SELECT 1", database="no`such") == (404, "81")


@pytest.mark.parametrize(
    ("statement", "status", "code"),
    [
        ("SELEC 1", 400, "62"),
        ("", 400, "62"),
        ("SELECT 1; SELECT 2", 400, "62"),
        ("SELECT * FROM nothing", 404, "60"),
        ("SELECT nothing", 404, "47"),
        ("SELECT noSuchFunction()", 404, "46"),
        ("INSERT INTO nothing FORMAT CSV 1", 404, "60"),
        ("SELECT 1 FORMAT Nothing", 404, "73"),
        ("SELECT toInt8('x')", 400, "6"),
        ("SELECT throwIf(1)", 500, "395"),
        ("SELECT sleep(3) SETTINGS max_execution_time = 0.1", 408, "159"),
        ("SELECT 1 INTO OUTFILE '/tmp/never'", 500, "358"),
    ],
)
def test_a_failure_has_clickhouses_code_and_status(server: Embedded, statement: str, status: int, code: str) -> None:
    reply = server.request(statement.encode())
    assert (reply.status, reply.headers["X-ClickHouse-Exception-Code"]) == (status, code)
    assert reply.text.startswith(f"Code: {code}. DB::Exception: ")
    assert "(version 26." in reply.text


# --- who may what


def test_get_may_read_only(server: Embedded, table: str) -> None:
    reply = server.request(method="GET", query=f"DROP TABLE {table}")
    assert (reply.status, reply.headers["X-ClickHouse-Exception-Code"]) == (500, "164")
    assert server.request(method="GET", query=f"INSERT INTO {table} VALUES (1, 'x')").status == 500
    assert server.sql(f"SELECT count() FROM {table}") == "0"


@pytest.fixture
def readable(server: Embedded, table: str) -> Iterator[str]:
    """A row in the database that a reader may read; `t` is in another one."""
    server.sql("CREATE DATABASE spend")
    server.sql("CREATE TABLE spend.seen ENGINE = MergeTree ORDER BY a AS SELECT 7 AS a")
    yield "spend.seen"
    server.sql("DROP DATABASE spend")


READER = "spend_reader"


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO spend.seen VALUES (1)",
        "CREATE TABLE spend.other (a Int8) ENGINE = Memory",
        "CREATE TEMPORARY TABLE other (a Int8)",
        "DROP TABLE spend.seen",
        "TRUNCATE TABLE spend.seen",
        "ALTER TABLE spend.seen DELETE WHERE 1",
        "OPTIMIZE TABLE spend.seen",
        "SET readonly = 0",
        "SET ROLE writer",
        "SELECT 1 SETTINGS readonly = 0",
        "SELECT 1 SETTINGS max_memory_usage = 2000000001",
        "SELECT 1 SETTINGS max_execution_time = 121",
        "SELECT sum(number) FROM numbers(1000000000000) SETTINGS max_execution_time = 1",
        "SELECT * FROM numbers(100001)",
        "SELECT * FROM default.t",
        "SELECT 7 IN default.t",
        "SELECT * FROM merge('default', '^t$')",
        "SELECT * FROM mergeTreeIndex(default, t)",
        "EXPLAIN SELECT * FROM default.t",
        "DESCRIBE TABLE default.t",
        "SELECT count() FROM file('/etc/passwd', 'LineAsString')",
        "SELECT file('/etc/passwd')",
        "SELECT `file`('/etc/passwd')",
        "SELECT \"file\" /* */ ('/etc/passwd')",
        "SELECT `fi\\x6ce`('/etc/passwd')",
        "SELECT * APPLY file FROM (SELECT '/etc/passwd')",
        "SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString')",
        "SELECT * FROM s3('http://127.0.0.1:1/bucket/x', 'LineAsString')",
        "SELECT * FROM remote('127.0.0.1:1', 'default', 't')",
        "SELECT * FROM executable('cat', 'TSV', 'a Int8')",
        "SELECT * FROM spend.seen INTO OUTFILE '/tmp/seen'",
        "INSERT INTO FUNCTION url('http://127.0.0.1:1/', 'CSV', 'a Int8') SELECT 1",
        "BACKUP TABLE spend.seen TO File('seen')",
        "SYSTEM FLUSH LOGS",
        "KILL QUERY WHERE 1",
        "SELECT 1; DROP TABLE spend.seen",
    ],
)
def test_a_reader_may_not(server: Embedded, readable: str, statement: str) -> None:
    server.refused(statement, user=READER)
    server.refused(statement, user=READER, readonly="0", session_id="elevated")
    server.refused(statement, user=READER, profile="default", role="writer")
    assert server.sql(f"SELECT a FROM {readable}") == "7"


def test_a_reader_may_bring_no_table(server: Embedded, readable: str) -> None:
    boundary = "edge"
    part = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="brought"; filename="x"\r\n\r\n1\r\n--{boundary}--\r\n'
    )
    reply = server.request(
        part.encode(),
        headers={"Content-Type": f"multipart/form-data; boundary={boundary}"},
        query="SELECT * FROM brought",
        brought_structure="a String) AS SELECT file('/etc/passwd') AS a --",
        user=READER,
    )
    assert reply.headers["X-ClickHouse-Exception-Code"] == "497", reply.text


def test_a_reader_may_read_describe_and_choose_settings(server: Embedded, readable: str) -> None:
    url = {"user": READER, "database": "spend"}
    assert server.sql("SELECT a FROM seen", **url, max_execution_time="5") == "7"
    assert server.sql("SELECT a FROM seen SETTINGS max_threads = 1", **url) == "7"
    assert server.sql("SELECT 'file', a AS `of a file` FROM seen", **url) == "file\t7"
    assert "UInt8" in server.sql("DESCRIBE TABLE seen", **url)
    assert server.sql("SHOW TABLES", **url) == "seen"


def test_a_reader_leaves_the_writer_its_rights(server: Embedded, readable: str) -> None:
    assert server.sql(f"SELECT a FROM {readable}", user=READER) == "7"
    server.sql(f"INSERT INTO {readable} VALUES (8)")
    assert server.sql(f"SELECT sum(a) FROM {readable}") == "15"
    assert server.sql("SELECT getSetting('readonly')") == "0"


def test_the_password_counts_wherever_it_is_given(start: Callable[..., Embedded], tmp_path: Path) -> None:
    server = start(tmp_path, password=PASSWORD).wait_ready()
    basic = "Basic ZGVmYXVsdDpjb3JyZWN0IGhvcnNl"  # default:correct horse
    for headers in ({"X-ClickHouse-User": "default", "X-ClickHouse-Key": PASSWORD}, {"Authorization": basic}):
        assert server.request(b"SELECT 1", headers=headers).text == "1\n"
    assert server.request(b"SELECT 1", headers={}, user="default", password=PASSWORD).text == "1\n"
    for url in ({}, {"password": "wrong"}, {"user": "nobody", "password": PASSWORD}):
        reply = server.request(b"SELECT 1", headers={}, **url)
        assert (reply.status, reply.headers["X-ClickHouse-Exception-Code"]) == (403, "516")
    assert connect(server.settings).command("SELECT 1") == 1
    wrong = server.settings.model_copy(update={"clickhouse_password": SecretStr("hunter2")})
    with pytest.raises(Unreachable, match="SPEND_CLICKHOUSE_PASSWORD") as refusal:
        connect(wrong)
    assert "hunter2" not in str(refusal.value)
    assert refusal.value.__suppress_context__


def test_pages_of_other_web_sites_are_refused(server: Embedded) -> None:
    assert server.request(b"SELECT 1", headers={"Origin": "http://evil.example"}).status == 403
    assert server.request(b"SELECT 1", headers={"Origin": "http://127.0.0.1:3000"}).status == 200


# --- inserting

ROWS = "SELECT toInt32(number) AS a, toString(number * 7) AS b FROM numbers(1000)"
FORMATS = [
    "CSV",
    "TabSeparated",
    "JSONEachRow",
    "Native",
    "RowBinary",
    "ArrowStream",
    "Parquet",
    "Values",
    "JSONCompactEachRow",
]


@pytest.mark.parametrize("format_name", FORMATS)
def test_what_a_format_gives_it_takes(server: Embedded, table: str, format_name: str) -> None:
    data = server.raw(f"{ROWS} FORMAT {format_name}".encode())
    separate = server.request(data, query=f"INSERT INTO {table} FORMAT {format_name}", insert_deduplication_token="0")
    assert (separate.status, separate.body) == (200, b"")
    assert json.loads(separate.headers["X-ClickHouse-Summary"])["written_rows"] == "1000"
    together = server.request(
        f"INSERT INTO {table} (a, b) FORMAT {format_name}\n".encode() + data, insert_deduplication_token="1"
    )
    assert together.status == 200, together.text
    in_chunks = server.request(
        (data[at : at + 777] for at in range(0, len(data), 777)), query=f"INSERT INTO {table} FORMAT {format_name}"
    )
    assert in_chunks.status == 200, in_chunks.text
    wanted = server.sql(f"SELECT 3 * count(), 3 * sum(a), sum(cityHash64(a, b)) * 3 FROM ({ROWS})")
    assert server.sql(f"SELECT count(), sum(a), sum(cityHash64(a, b)) FROM {table}") == wanted


@pytest.mark.parametrize(
    ("encoding", "compress"),
    [
        ("gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("lz4", lambda data: bytes(cramjam.lz4.compress(data))),
        ("zstd", lambda data: bytes(cramjam.zstd.compress(data))),
        ("br", lambda data: bytes(cramjam.brotli.compress(data))),
    ],
)
def test_a_compressed_body_is_inserted(
    server: Embedded, table: str, encoding: str, compress: Callable[[bytes], bytes]
) -> None:
    data = compress(b"1,x\n2,y\n")
    reply = server.request(data, query=f"INSERT INTO {table} FORMAT CSV", headers={"Content-Encoding": encoding})
    assert reply.status == 200, reply.text
    assert server.sql(f"SELECT sum(a), count() FROM {table}") == "3\t2"


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "lz4", "zstd", "br"])
def test_a_reply_is_compressed_when_both_want_it(server: Embedded, encoding: str) -> None:
    statement = b"SELECT number FROM numbers(400000)"
    plain = server.request(statement, headers={"Accept-Encoding": encoding})
    assert plain.headers["Content-Encoding"] is None
    packed = server.request(statement, headers={"Accept-Encoding": encoding}, enable_http_compression="1")
    assert packed.headers["Content-Encoding"] == encoding
    assert len(packed.body) < len(plain.body)


def test_clickhouses_own_compressed_blocks_go_both_ways(server: Embedded, table: str) -> None:
    body = b"".join(to_blocks([b"1,x\n", b"2,y\n"]))
    assert server.request(body, query=f"INSERT INTO {table} FORMAT CSV", decompress="1").status == 200
    reply = server.request(f"SELECT a FROM {table} ORDER BY a".encode(), compress="1")
    assert b"".join(from_blocks([reply.body])) == b"1\n2\n"


def test_the_checksum_of_blocks_is_the_engines(server: Embedded, table: str) -> None:
    server.sql(f"INSERT INTO {table} SELECT number, repeat('x', number % 300) FROM numbers(100000)")
    server.sql(f"INSERT INTO {table} VALUES (1, '')")
    checked = 0
    for file in server.path.rglob("*.bin"):
        data, at = file.read_bytes(), 0
        while at < len(data):
            (size,) = struct.unpack_from("<I", data, at + 17)
            assert city_hash_128(data[at + 16 : at + 16 + size]) == data[at : at + 16], file
            at += 16 + size
            checked += 1
    assert checked > 5


@pytest.mark.parametrize(
    ("data", "url", "headers"),
    [
        (b"1,x\nno number,y\n", {}, {}),
        (gzip.compress(b"1,x\n2,y\n", mtime=0)[:-4], {}, {"Content-Encoding": "gzip"}),
        (b"neither", {}, {"Content-Encoding": "zstd"}),
        (b"1,x\n", {"decompress": "1"}, {}),
    ],
)
def test_nothing_is_written_of_a_broken_body(
    server: Embedded, table: str, data: bytes, url: dict[str, str], headers: dict[str, str]
) -> None:
    reply = server.request(data, query=f"INSERT INTO {table} FORMAT CSV", headers=headers, **url)
    assert reply.status == 400, reply.text
    assert server.sql(f"SELECT count() FROM {table}") == "0"


def test_nothing_is_written_of_an_arrow_block_that_is_cut_short(server: Embedded, table: str) -> None:
    data = server.request(f"{ROWS} FORMAT ArrowStream".encode()).body
    assert server.request(data[: len(data) // 2], query=f"INSERT INTO {table} FORMAT ArrowStream").status == 500
    assert server.sql(f"SELECT count() FROM {table}") == "0"


def test_nothing_is_written_when_the_client_goes_away(server: Embedded, table: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    connection.putrequest("POST", "/?" + urlencode({"query": f"INSERT INTO {table} FORMAT CSV"}))
    connection.putheader("Content-Length", "1000000")
    connection.endheaders(b"1,x\n2,y\n")
    time.sleep(0.1)
    connection.close()
    time.sleep(0.2)
    assert server.sql(f"SELECT count() FROM {table}") == "0"


def test_an_insert_with_the_same_token_counts_once(server: Embedded, table: str) -> None:
    for token in ("log:0:7", "log:0:7", "log:0:8", "log:0:7"):
        reply = server.request(b"1,x\n2,y\n", query=f"INSERT INTO {table} FORMAT CSV", insert_deduplication_token=token)
        assert reply.status == 200, reply.text
    assert server.sql(f"SELECT count() FROM {table}") == "4"


def test_one_arrow_block_is_one_part_however_it_arrives(server: Embedded, table: str) -> None:
    batch = pa.record_batch({"a": pa.array(range(200_000), pa.int32()), "b": [str(n) for n in range(200_000)]})
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, batch.schema, options=pa.ipc.IpcWriteOptions(compression="lz4")) as writer:
        writer.write_batch(batch)
    data = sink.getvalue()
    for size in (len(data), 50_000):
        pieces = (data[at : at + size] for at in range(0, len(data), size))
        assert server.request(pieces, query=f"INSERT INTO {table} FORMAT ArrowStream").status == 200
        assert server.sql("SELECT rows FROM system.parts WHERE table = 't' AND active") == "200000"
        server.sql(f"TRUNCATE TABLE {table}")


# --- sessions


def test_a_session_keeps_its_temporary_tables_and_settings(server: Embedded) -> None:
    server.sql("CREATE TEMPORARY TABLE mine (a Int8)", session_id="one")
    server.sql("INSERT INTO mine VALUES (5)", session_id="one")
    server.sql("SET max_threads = 3", session_id="one")
    assert server.sql("SELECT a, getSetting('max_threads') FROM mine", session_id="one") == "5\t3"
    assert server.refused("SELECT a FROM mine", session_id="two") == (404, "60")
    assert server.refused("SELECT a FROM mine") == (404, "60")
    assert server.refused("SELECT 1", session_id="three", session_check="1") == (500, "372")


def test_a_setting_in_the_url_does_not_stay_in_the_session(server: Embedded) -> None:
    server.sql("SET max_threads = 3", session_id="four")
    assert server.sql("SELECT getSetting('max_threads')", session_id="four", max_threads="7", database="system") == "7"
    server.refused("SELECT nothing", session_id="four", max_threads="8")
    assert server.sql("SELECT getSetting('max_threads'), currentDatabase()", session_id="four") == "3\tdefault"


def test_a_session_serves_one_request_at_a_time(server: Embedded) -> None:
    slow = threading.Thread(target=server.sql, args=("SELECT sleep(0.5)",), kwargs={"session_id": "five"})
    slow.start()
    time.sleep(0.2)
    assert server.refused("SELECT 1", session_id="five") == (500, "373")
    slow.join()
    assert server.sql("SELECT 1", session_id="five") == "1"


def test_a_session_that_is_not_used_ends(server: Embedded) -> None:
    server.sql("CREATE TEMPORARY TABLE mine (a Int8)", session_id="six", session_timeout="0.2")
    time.sleep(0.3)
    assert server.refused("SELECT a FROM mine", session_id="six") == (404, "60")


# --- large and slow


def test_a_large_result_arrives_while_it_is_made(server: Embedded) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    began = time.monotonic()
    rows = "SELECT number, sleepEachRow(0.00002) FROM numbers(50000)"
    connection.request("POST", "/?max_block_size=5000", f"SELECT repeat('x', 100), * FROM ({rows})")
    response = connection.getresponse()
    first = time.monotonic() - began
    lines = response.read().count(b"\n")
    whole = time.monotonic() - began
    connection.close()
    assert response.headers["Transfer-Encoding"] == "chunked"
    assert lines == 50_000
    assert first < 0.7 * whole


@pytest.mark.parametrize("format_name", ["Native", "ArrowStream", "JSONEachRow", "JSON", "CSVWithNames"])
def test_a_large_result_is_one_well_formed_whole(server: Embedded, format_name: str) -> None:
    statement = f"SELECT number, toString(number) AS s FROM numbers(300000) FORMAT {format_name}"
    data = server.request(statement.encode(), max_block_size="7000").body
    assert len(data) > 1 << 20
    if format_name == "JSON":
        assert len(json.loads(data)["data"]) == 300_000
    elif format_name in ("CSVWithNames", "JSONEachRow"):
        assert len(data.splitlines()) == 300_000 + (format_name == "CSVWithNames")
    elif format_name == "ArrowStream":
        found = pa.ipc.open_stream(data).read_all()
        assert found.column("number").to_pylist() == list(range(300_000))
    else:
        server.sql("CREATE TABLE back (number UInt64, s String) ENGINE = Memory")
        assert server.request(data, query="INSERT INTO back FORMAT Native").status == 200
        assert (
            server.sql("SELECT count(), sum(number), uniqExact(s) FROM back")
            == f"300000\t{300_000 * 299_999 // 2}\t300000"
        )
        server.sql("DROP TABLE back")


def test_an_empty_arrow_result_has_its_schema(server: Embedded) -> None:
    data = server.request(b"SELECT toInt32(1) AS a, 'x' AS b WHERE 0 FORMAT ArrowStream").body
    assert pa.ipc.open_stream(data).read_all().schema.names == ["a", "b"]


def test_a_failure_after_the_first_rows_ends_the_body_unfinished(server: Embedded) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.request(
        "POST", "/", "SELECT number, throwIf(number = 3000000) FROM numbers(9000000) SETTINGS max_threads = 1"
    )
    response = connection.getresponse()
    assert response.status == 200
    with pytest.raises(http.client.IncompleteRead) as cut:
        response.read()
    tag = response.headers["X-ClickHouse-Exception-Tag"]
    assert cut.value.partial.endswith(f"{tag}\r\n__exception__\r\n".encode())
    assert b"Code: 395" in cut.value.partial[-2000:]
    connection.close()
    whole = server.request(b"SELECT throwIf(number = 3000000) FROM numbers(9000000)", wait_end_of_query="1")
    assert (whole.status, whole.headers["X-ClickHouse-Exception-Code"]) == (500, "395")


def test_a_query_ends_when_its_client_goes_away(server: Embedded) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.request("POST", "/", "SELECT number AS gone FROM system.numbers")
    connection.getresponse().read(1 << 20)
    connection.close()
    still = "SELECT count() FROM system.processes WHERE query LIKE '%AS gone%' AND query NOT LIKE '%processes%'"
    end = time.monotonic() + 5
    while server.sql(still) != "0":
        assert time.monotonic() < end, "the query is still there"
        time.sleep(0.05)


def test_reading_does_not_wait_for_an_insert_or_a_slow_query(server: Embedded, table: str) -> None:
    slow = threading.Thread(target=server.sql, args=("SELECT sleep(1.5)",))
    slow.start()
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    connection.putrequest("POST", "/?" + urlencode({"query": f"INSERT INTO {table} FORMAT CSV"}))
    connection.putheader("Content-Length", "8")
    connection.endheaders(b"1,x\n")
    time.sleep(0.1)
    began = time.monotonic()
    assert server.sql(f"SELECT count() FROM {table}") == "0"
    assert server.request(b"7,z\n", query=f"INSERT INTO {table} FORMAT CSV").status == 200
    assert time.monotonic() - began < 1.0
    connection.send(b"2,y\n")
    assert connection.getresponse().status == 200
    connection.close()
    slow.join()
    assert server.sql(f"SELECT sum(a) FROM {table}") == "10"


# --- clickhouse-connect


def test_clickhouse_connect_writes_and_reads_money_to_the_last_digit(client: Client) -> None:
    client.command("CREATE TABLE money (id String, cost Nullable(Decimal(38, 12))) ENGINE = MergeTree ORDER BY id")
    costs = [Decimal("0.000000000001"), Decimal("99999999999999999999999999.999999999999"), None]
    client.insert("money", [[str(n), cost] for n, cost in enumerate(costs)], column_names=["id", "cost"])
    assert client.query("SELECT cost FROM money ORDER BY id").result_columns[0] == costs
    client.insert_arrow("money", pa.table({"id": ["9"], "cost": pa.array([Decimal("1.5")], pa.decimal128(38, 12))}))
    assert client.query_arrow("SELECT sum(cost) AS s FROM money WHERE id > '1'").column("s").to_pylist() == [
        Decimal("1.5")
    ]
    assert client.raw_insert("money", ["id", "cost"], b"10,2.25\n", fmt="CSV").written_rows == 1
    assert client.command("SELECT count() FROM money") == 5
    client.command("DROP TABLE money")


@pytest.mark.parametrize("compress", [False, "gzip", "lz4", "zstd"])
def test_clickhouse_connect_streams_and_fails_under_any_compression(server: Embedded, compress: str | bool) -> None:
    client = clickhouse_connect.get_client(host="127.0.0.1", port=server.port, compress=compress)
    with client.query_row_block_stream("SELECT number FROM numbers(200000)") as blocks:
        assert sum(len(block) for block in blocks) == 200_000
    client.command("CREATE TEMPORARY TABLE many (n Int64, s String)")
    client.insert("many", [[n, "é" * (n % 5)] for n in range(50_000)], column_names=["n", "s"])
    assert client.query("SELECT sum(n), sum(lengthUTF8(s)) FROM many").result_rows == [(50_000 * 49_999 // 2, 100_000)]
    assert client.query("SELECT {v:String}", parameters={"v": "it's\ta"}).result_rows == [("it's\ta",)]
    with pytest.raises(DatabaseError, match="code: 395"):
        client.query("SELECT number, throwIf(number = 3000000) FROM numbers(9000000) SETTINGS max_threads = 1")
    client.close()


def test_clickhouse_connect_sends_tables_and_forms_with_a_query(server: Embedded) -> None:
    client = clickhouse_connect.get_client(host="127.0.0.1", port=server.port, form_encode_query_params=True)
    from clickhouse_connect.driver.external import ExternalData

    ids = ExternalData(file_name="ids", data=b"1,x\n2,y\n", fmt="CSV", structure=["a Int32", "b String"])
    found = client.query("SELECT b, {more:String} FROM ids WHERE a = 2", parameters={"more": "z"}, external_data=ids)
    assert found.result_rows == [("y", "z")]
    client.close()


def test_threads_share_one_client(client: Client) -> None:
    found: list[int] = []

    def ask() -> None:
        found.extend(client.query("SELECT sum(number) FROM numbers(1000)").first_row[0] for _ in range(5))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [499_500] * 20


# --- clickhouse-go (Grafana) over HTTP asks for Native of a newer revision


def test_native_of_a_newer_revision_is_the_engines_native_with_info_and_flags(server: Embedded) -> None:
    columns = [
        *("number", "toString(number)", "repeat('x', 200)", "toLowCardinality(toString(number % 5))"),
        *(
            "CAST(if(number % 2, toString(number % 3), NULL), 'LowCardinality(Nullable(String))')",
            "if(number % 3, number, NULL)",
        ),
        *(
            "range(number % 4)",
            "map('k', number, 'l', 2)",
            "[toLowCardinality('a'), toString(number)]",
            "(number, 'x', [1])",
        ),
        *(
            "toDecimal128(number, 12)",
            "toDecimal32(1, 2)",
            "toDateTime64(number, 6, 'UTC')",
            "toDateTime(number, 'UTC')",
        ),
        *(
            "toDate(number)",
            "toUUID('61f0c404-5cb3-11e7-907b-a6006ad3dba0')",
            "tuple()",
            "toIPv4('1.2.3.4')",
            "toIPv6('::1')",
            "toFixedString('ab', 2)",
            "number = 1",
        ),
        *("CAST('a', 'Enum8(\\'a\\' = 1, \\'b,)\\' = 2)')", "toIntervalDay(1)", "NULL", "[]", "1.5", "toInt256(1)"),
        "CAST((1, 'y'), 'Tuple(`odd (name` UInt8, b String)')",
    ]
    named = ", ".join(f"{column} AS c{n}" for n, column in enumerate(columns))
    statement = f"SELECT {named} FROM numbers(500) SETTINGS max_block_size = 100, max_threads = 1".encode()
    plain = server.raw(statement, default_format="Native")
    newer = server.raw(statement, default_format="Native", client_protocol_version="54460")
    assert newer == b"".join(for_revision([plain], 54460))
    blocks, flags = plain.count(b"\x02c0"), plain.count(b"\x02c0") * len(columns)
    assert len(newer) - len(plain) == 8 * blocks + flags
    unknown = server.request(b"SELECT uniqState(1)", default_format="Native", client_protocol_version="54460")
    assert (unknown.status, unknown.headers["X-ClickHouse-Exception-Code"]) == (501, "48")


# --- the process


def test_acknowledged_rows_and_tokens_survive_sigkill(start: Callable[..., Embedded], tmp_path: Path) -> None:
    server = start(tmp_path).wait_ready()
    server.sql(
        "CREATE TABLE kept (a Int32) ENGINE = MergeTree ORDER BY a "
        "SETTINGS non_replicated_deduplication_window = 1000, fsync_after_insert = 1, fsync_part_directory = 1"
    )
    server.sql(
        "CREATE MATERIALIZED VIEW sums ENGINE = SummingMergeTree ORDER BY k "
        "SETTINGS non_replicated_deduplication_window = 1000 AS SELECT 1 AS k, a FROM kept"
    )

    def insert(token: str) -> None:
        url = {"insert_deduplication_token": token, "deduplicate_blocks_in_dependent_materialized_views": "1"}
        assert server.request(b"1\n2\n", query="INSERT INTO kept FORMAT CSV", **url).status == 200

    for kill in range(3):
        for n in range(5):
            insert(f"log:0:{kill}-{n}")
        server.end(signal.SIGKILL)
        server = start(tmp_path).wait_ready()  # over what the killed one left, its lock file too
        inserts = 5 * (kill + 1)
        for _ in ("as it was left", "the last one again"):
            assert server.sql("SELECT count(), sum(a) FROM kept") == f"{2 * inserts}\t{3 * inserts}"
            assert server.sql("SELECT sum(a) FROM sums") == str(3 * inserts)
            insert(f"log:0:{kill}-4")
    assert server.end(signal.SIGTERM) == 0


def test_sigterm_lets_a_running_query_finish(start: Callable[..., Embedded], tmp_path: Path) -> None:
    server = start(tmp_path).wait_ready()
    replies: list[Reply] = []
    asking = threading.Thread(target=lambda: replies.append(server.request(b"SELECT sleep(1), 'done'")))
    asking.start()
    time.sleep(0.4)
    assert server.end(signal.SIGTERM) == 0
    asking.join()
    assert replies[0].text == "0\tdone\n"


def test_a_folder_in_use_and_a_port_in_use_are_said_in_one_line(
    server: Embedded, start: Callable[..., Embedded], tmp_path: Path
) -> None:
    for second, setting in (
        (start(server.path), "SPEND_STATE_DIR"),
        (start(tmp_path, port=server.port), "SPEND_CLICKHOUSE_URL"),
    ):
        _, said = second.process.communicate(timeout=20)
        assert second.process.returncode == 2
        assert setting in said.splitlines()[-1]
        assert "Traceback" not in said


@pytest.mark.parametrize(
    ("url", "error", "says"),
    [
        ("http://127.0.0.1:1", Unreachable, "does not answer at http://127.0.0.1:1"),
        ("http://127.0.0.1:x", SpendError, "port is not a number"),
        ("http://me:secret@127.0.0.1:8123", SpendError, "SPEND_CLICKHOUSE_USER"),
        ("tcp://127.0.0.1:9000", SpendError, "must look like http://"),
    ],
)
def test_a_wrong_address_is_said_in_one_line(url: str, error: type[SpendError], says: str) -> None:
    with pytest.raises(error, match=says) as raised:
        connect(Settings(clickhouse_url=url))
    assert "SPEND_CLICKHOUSE_URL" in str(raised.value)
    assert "secret" not in str(raised.value)


def test_an_insert_that_the_table_refuses_is_an_error(server: Embedded) -> None:
    client = connect(server.settings)
    client.command("CREATE TABLE refuses (n Int64, CONSTRAINT small CHECK n < 3) ENGINE = MergeTree ORDER BY n")
    with pytest.raises(DatabaseError, match="small"):
        client.raw_insert("refuses", insert_block=b'{"n": 1}\n{"n": 7}\n', fmt="JSONEachRow")
    assert client.query("SELECT count() FROM refuses").result_rows == [(0,)]
