"""Bodies on the wire: HTTP's Content-Encoding and ClickHouse's own compressed blocks, both ways, piece by piece."""

import bz2
import lzma
import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

import cramjam

from clickhouse.cityhash import city_hash_128

OUTGOING = ("zstd", "lz4", "br", "gzip", "deflate")  # in the order they are preferred
_BLOCK = 1 << 20  # bytes in a compressed block of ClickHouse's own
_LZ4, _ZSTD, _NONE = 0x82, 0x90, 0x02


class BadEncoding(ValueError):
    """A body that cannot be decoded, or an encoding that is not known."""


class _Decoder(Protocol):
    def decompress(self, data: bytes, /) -> bytes: ...


def decoded(pieces: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    """The body without its Content-Encoding.

    Raises:
        BadEncoding: the encoding is not known, or the bytes are not of it.
    """
    decoder: Any
    match encoding:
        case "" | "identity":
            yield from pieces
            return
        case "gzip" | "x-gzip":
            decoder = zlib.decompressobj(wbits=31)
        case "deflate":
            decoder = zlib.decompressobj()
        case "bz2":
            decoder = bz2.BZ2Decompressor()
        case "xz":
            decoder = lzma.LZMADecompressor()
        case "lz4" | "zstd" | "br":
            yield _whole(b"".join(pieces), encoding)
            return
        case _:
            raise BadEncoding(
                f"Unknown Content-Encoding {encoding!r}: gzip, deflate, lz4, zstd, br, bz2 and xz are read"
            )
    try:
        for piece in pieces:
            if data := decoder.decompress(piece):
                yield data
    except (zlib.error, OSError, lzma.LZMAError) as error:
        raise BadEncoding(f"The body is not {encoding}: {error}") from error
    if not decoder.eof:
        raise BadEncoding(f"The {encoding} body ends too early")


def _whole(data: bytes, encoding: str) -> bytes:
    module = {"lz4": cramjam.lz4, "zstd": cramjam.zstd, "br": cramjam.brotli}[encoding]
    try:
        return bytes(module.decompress(data))
    except cramjam.DecompressionError as error:
        raise BadEncoding(f"The body is not {encoding}: {error}") from error


def chosen(accepted: str) -> str:
    """The encoding to answer with, of those in an Accept-Encoding header; '' for none."""
    offered = {part.partition(";")[0].strip().lower() for part in accepted.split(",")}
    return next((encoding for encoding in OUTGOING if encoding in offered), "")


def encoded(pieces: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    """The pieces under Content-Encoding `encoding`, one of OUTGOING or ''."""
    compressor: Any
    match encoding:
        case "":
            yield from pieces
            return
        case "gzip":
            compressor = zlib.compressobj(3, wbits=31)
        case "deflate":
            compressor = zlib.compressobj(3)
        case "lz4":
            compressor = cramjam.lz4.Compressor(level=1)
        case "zstd":
            compressor = cramjam.zstd.Compressor(1)
        case "br":
            compressor = cramjam.brotli.Compressor(3)
    if encoding in ("gzip", "deflate"):
        for piece in pieces:
            if data := compressor.compress(piece):
                yield data
        yield compressor.flush()
    else:
        for piece in pieces:
            compressor.compress(piece)
            if data := bytes(compressor.flush()):
                yield data
        yield bytes(compressor.finish())


def from_blocks(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """ClickHouse's compressed blocks (`decompress=1`) to plain bytes.

    A block: 16 bytes of checksum, a byte of method, the compressed size with these 9 bytes and the plain size (both
    little-endian, 4 bytes), the data.

    Raises:
        BadEncoding: not such blocks, or a checksum that does not fit.
    """
    held = b""
    for piece in pieces:
        held += piece
        at = 0
        while len(held) - at >= 25:
            method, size, plain_size = struct.unpack_from("<BII", held, at + 16)
            if not 9 <= size <= 1 << 30 or plain_size > 1 << 30:
                raise BadEncoding("The body is not of ClickHouse's compressed blocks")
            if len(held) - at < 16 + size:
                break
            block = held[at + 16 : at + 16 + size]
            if city_hash_128(block) != held[at : at + 16]:
                raise BadEncoding("A compressed block's checksum does not fit")
            yield _plain(method, block[9:], plain_size)
            at += 16 + size
        held = held[at:]
    if held:
        raise BadEncoding("The compressed body ends too early")


def _plain(method: int, data: bytes, plain_size: int) -> bytes:
    try:
        if method == _LZ4:
            return bytes(cramjam.lz4.decompress_block(data, output_len=plain_size))
        if method == _ZSTD:
            return bytes(cramjam.zstd.decompress(data))
    except cramjam.DecompressionError as error:
        raise BadEncoding(f"A compressed block does not decompress: {error}") from error
    if method == _NONE:
        return data
    raise BadEncoding(f"Unknown compression method {method:#x} of a block")


def to_blocks(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Plain bytes to ClickHouse's compressed blocks (`compress=1`), LZ4."""
    for piece in pieces:
        for at in range(0, len(piece), _BLOCK):
            plain = piece[at : at + _BLOCK]
            data = bytes(cramjam.lz4.compress_block(plain, store_size=False))
            block = struct.pack("<BII", _LZ4, len(data) + 9, len(plain)) + data
            yield city_hash_128(block) + block
