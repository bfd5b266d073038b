"""What the embedded ClickHouse reads and writes on the wire, without a socket and without the engine."""

import bz2
import gzip
import io
import lzma
import zlib
from email.message import Message

import cramjam
import pytest

from clickhouse.embedded_encoding import OUTGOING, BadEncoding, chosen, decoded, encoded, from_blocks, to_blocks
from clickhouse.embedded_native import UnknownLayout, for_revision, kind_of
from clickhouse.embedded_request import BadRequest, read_body, read_request
from clickhouse.embedded_statement import read_statement

TEXT = b"tokens and dollars, " * 5_000


def headers(**values: str) -> Message:
    message = Message()
    for name, value in values.items():
        message[name.replace("_", "-")] = value
    return message


@pytest.mark.parametrize(
    ("text", "head", "format_name", "data"),
    [
        (b"INSERT INTO t FORMAT CSV\n1,2\n", b"INSERT INTO t ", "CSV", b"1,2\n"),
        (b"insert into t (a, b) format TSV 1\t2", b"insert into t (a, b) ", "TSV", b"1\t2"),
        (b"INSERT INTO t FORMAT Native\n\n\x01", b"INSERT INTO t ", "Native", b"\n\x01"),
        (b"INSERT INTO t VALUES (1, 'FORMAT')", b"INSERT INTO t ", "Values", b" (1, 'FORMAT')"),
        (b"INSERT INTO `FORMAT` FORMAT CSV\n1", b"INSERT INTO `FORMAT` ", "CSV", b"1"),
        (b"INSERT INTO db.values (format) VALUES (1)", b"INSERT INTO db.values (format) ", "Values", b" (1)"),
        (b"/* FORMAT CSV */ INSERT -- VALUES\nINTO t FORMAT CSV 1", None, "CSV", b"1"),
        (b"INSERT INTO t SETTINGS insert_deduplication_token='FORMAT x' FORMAT CSV\n", None, "CSV", b""),
    ],
)
def test_an_insert_ends_where_its_data_begins(text: bytes, head: bytes | None, format_name: str, data: bytes) -> None:
    statement = read_statement(text)
    assert statement.data_at is not None
    assert (statement.verb, statement.format, text[statement.data_at :]) == ("INSERT", format_name, data)
    assert head is None or statement.text == head


@pytest.mark.parametrize(
    ("text", "verb", "format_name"),
    [
        (b"SELECT 1", "SELECT", None),
        (b"SELECT 1 FORMAT JSON", "SELECT", "JSON"),
        (b"(SELECT 1) FORMAT CSV SETTINGS max_threads = 1", "SELECT", "CSV"),
        (b"SELECT 'FORMAT CSV'", "SELECT", None),
        (b"SELECT format FROM t", "SELECT", None),
        (b"SELECT format('{}', 1) AS format FORMAT TSV;", "SELECT", "TSV"),
        (b"WITH 1 AS x SELECT x -- FORMAT CSV", "WITH", None),
        (b"INSERT INTO t SELECT 1", "INSERT", None),
        (b"", "", None),
        (b" -- nothing\n", "", None),
    ],
)
def test_a_statement_without_data_tells_its_verb_and_format(text: bytes, verb: str, format_name: str | None) -> None:
    statement = read_statement(text)
    assert (statement.verb, statement.format, statement.data_at) == (verb, format_name, None)


@pytest.mark.parametrize("text", [b"SELECT 1 INTO OUTFILE '/x'", b"INSERT INTO t FROM INFILE '/etc/passwd' FORMAT CSV"])
def test_files_of_the_server_are_noticed(text: bytes) -> None:
    statement = read_statement(text)
    assert statement.touches_files
    assert statement.data_at is None


@pytest.mark.parametrize("encoding", OUTGOING)
def test_a_body_survives_its_encoding_in_pieces(encoding: str) -> None:
    pieces = [TEXT[at : at + 999] for at in range(0, len(TEXT), 999)]
    sent = list(encoded(pieces, encoding))
    assert b"".join(decoded(iter(sent), encoding)) == TEXT


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", gzip.compress(TEXT)),
        ("deflate", zlib.compress(TEXT)),
        ("bz2", bz2.compress(TEXT)),
        ("xz", lzma.compress(TEXT)),
        ("zstd", bytes(cramjam.zstd.compress(TEXT))),
        ("br", bytes(cramjam.brotli.compress(TEXT))),
        ("lz4", bytes(cramjam.lz4.compress(TEXT))),
    ],
)
def test_a_body_that_is_cut_short_is_refused(encoding: str, body: bytes) -> None:
    assert b"".join(decoded(iter((body,)), encoding)) == TEXT
    with pytest.raises(BadEncoding):
        b"".join(decoded(iter((body[: len(body) // 2],)), encoding))


def test_an_unknown_encoding_is_refused_by_name() -> None:
    with pytest.raises(BadEncoding, match="'snappy'"):
        list(decoded(iter((b"",)), "snappy"))


def test_the_best_encoding_that_the_client_takes_is_chosen() -> None:
    assert chosen("gzip, deflate, br;q=1.0, zstd") == "zstd"
    assert chosen("gzip;q=1") == "gzip"
    assert chosen("snappy") == chosen("") == ""


@pytest.mark.parametrize("size", [0, 1, 24, 1 << 20, (1 << 20) + 1])
def test_compressed_blocks_survive_any_cut(size: int) -> None:
    plain = (TEXT * 12)[:size]
    sent = b"".join(to_blocks([plain]))
    for cut in (1, 17, 1000, len(sent) + 1):
        if size > 1000 and cut < 1000:
            continue
        pieces = [sent[at : at + cut] for at in range(0, len(sent), cut)]
        assert b"".join(from_blocks(pieces)) == plain


def test_a_flipped_bit_in_a_compressed_block_is_noticed() -> None:
    sent = bytearray(b"".join(to_blocks([TEXT])))
    sent[40] ^= 1
    with pytest.raises(BadEncoding, match="checksum"):
        list(from_blocks([bytes(sent)]))


def test_a_compressed_block_that_is_cut_short_is_refused() -> None:
    with pytest.raises(BadEncoding, match="too early"):
        list(from_blocks([b"".join(to_blocks([TEXT]))[:-1]]))


def test_the_url_and_the_body_are_one_text() -> None:
    request = read_request("/?query=SELECT+1%2C&max_threads=3&param_x=7", headers(), iter((b"2",)))
    assert request.text == b"SELECT 1,\n2"
    assert request.settings == {"max_threads": "3", "param_x": "7"}


def test_data_of_an_insert_is_not_read_before_it_is_wanted() -> None:
    pieces = iter([b"x" * (1 << 18), b"y", b"z"])
    request = read_request("/?query=INSERT+INTO+t+FORMAT+CSV", headers(), pieces)
    assert len(request.text) == len(b"INSERT INTO t FORMAT CSV\n") + (1 << 18)
    assert list(request.rest) == [b"y", b"z"]


def test_a_multipart_body_brings_fields_and_tables() -> None:
    body = (
        b'--x\r\nContent-Disposition: form-data; name="query"\r\n\r\nSELECT * FROM ids\r\n'
        b'--x\r\nContent-Disposition: form-data; name="ids"; filename="ids.tsv"\r\n\r\n1\t\x00\n\r\n--x--\r\n'
    )
    form = headers(Content_Type="multipart/form-data; boundary=x")
    request = read_request("/?ids_structure=a+Int32,b+String&ids_format=TSV", form, iter((body,)))
    (table,) = request.tables
    assert request.text == b"SELECT * FROM ids"
    assert (table.name, table.format, table.structure, table.data) == ("ids", "TSV", "a Int32,b String", b"1\t\x00\n")
    assert request.settings == {}


def test_a_chunked_body_is_read_to_its_end_and_no_further() -> None:
    stream = io.BufferedReader(io.BytesIO(b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\nGET /"))
    assert b"".join(read_body(stream, headers(Transfer_Encoding="chunked"))) == b"abcde"
    assert stream.read() == b"GET /"


@pytest.mark.parametrize(
    ("sent", "fields"),
    [
        (b"3\r\nab", {"Transfer_Encoding": "chunked"}),
        (b"zz\r\n", {"Transfer_Encoding": "chunked"}),
        (b"abc", {"Content_Length": "4"}),
        (b"abc", {"Content_Length": "many"}),
    ],
)
def test_a_body_that_ends_early_is_refused(sent: bytes, fields: dict[str, str]) -> None:
    with pytest.raises(BadRequest):
        list(read_body(io.BufferedReader(io.BytesIO(sent)), headers(**fields)))


def test_a_native_block_gains_its_info_and_a_flag_a_column() -> None:
    block = b"\x02\x01" + b"\x01a\x06String\x02hi" + b"\x01b\x05UInt8\x07"
    info = b"\x01\x00\x02\xff\xff\xff\xff\x00"
    expected = info + b"\x02\x01" + b"\x01a\x06String\x00\x02hi" + b"\x01b\x05UInt8\x00\x07"
    assert list(for_revision([block + block], 54454)) == [expected * 2]
    assert list(for_revision([block], 54453)) == [block]


@pytest.mark.parametrize("name", ["JSON", "Dynamic", "Variant(UInt8, String)", "AggregateFunction(uniq, String)"])
def test_a_type_that_cannot_be_stepped_over_is_refused_by_name(name: str) -> None:
    with pytest.raises(UnknownLayout, match="cannot be written for the type"):
        kind_of(name)
