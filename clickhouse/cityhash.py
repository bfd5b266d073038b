"""CityHash128 of CityHash 1.0.2 (Geoff Pike, Jyrki Alakuijala), the checksum of ClickHouse's compressed blocks.

Later versions of CityHash give other values. About 8 MB/s: only clients that ask for such blocks pay for it.
"""

import struct

_M = (1 << 64) - 1
_K0, _K1, _K2, _K3 = 0xC3A5C85C97CB3127, 0xB492B66FBE98F273, 0x9AE16A3B2F90404F, 0xC949D7C7509E6557
_MUL = 0x9DDFEA08EB382D69


def city_hash_128(data: bytes) -> bytes:
    """16 bytes, low half first, little-endian, as ClickHouse writes them before a compressed block."""
    size = len(data)
    if size >= 16:
        low, high = _seeded(data[16:], _word(data, 0) ^ _K3, _word(data, 8))
    elif size >= 8:
        low, high = _seeded(b"", _word(data, 0) ^ (size * _K0 & _M), _word(data, size - 8) ^ _K1)
    else:
        low, high = _seeded(data, _K0, _K1)
    return struct.pack("<QQ", low, high)


def _seeded(data: bytes, x: int, y: int) -> tuple[int, int]:
    size = len(data)
    if size < 128:
        return _murmur(data, x, y)
    z = size * _K1 & _M
    v0 = (_rotate(y ^ _K1, 49) * _K1 + _word(data, 0)) & _M
    v1 = (_rotate(v0, 42) * _K1 + _word(data, 8)) & _M
    w0 = (_rotate((y + z) & _M, 35) * _K1 + x) & _M
    w1 = _rotate((x + _word(data, 88)) & _M, 53) * _K1 & _M
    rounds = size // 128 * 2  # the rest of fewer than 128 bytes is hashed from the end, below
    for words in struct.iter_unpack("<8Q", memoryview(data)[: rounds * 64]):
        x = _rotate((x + y + v0 + words[2]) & _M, 37) * _K1 & _M
        y = _rotate((y + v1 + words[6]) & _M, 42) * _K1 & _M
        x ^= w1
        y ^= v0
        z = _rotate(z ^ w0, 33)
        v0, v1 = _weak(words[:4], v1 * _K1, x + w0)
        w0, w1 = _weak(words[4:], z + w1, y)
        z, x = x, z
    y = (y + _rotate(w0, 37) * _K0 + z) & _M
    x = (x + _rotate((v0 + z) & _M, 49) * _K0) & _M
    at = size
    for _ in range((size % 128 + 31) // 32):
        at -= 32
        words = struct.unpack_from("<4Q", data, at)
        y = (_rotate((y - x) & _M, 42) * _K0 + v1) & _M
        w0 = (w0 + words[2]) & _M
        x = (_rotate(x, 49) * _K0 + w0) & _M
        w0 = (w0 + v0) & _M
        v0, v1 = _weak(words, v0, v1)
    x = _pair(x, v0)
    y = _pair(y, w0)
    return (_pair((x + v1) & _M, w1) + y) & _M, _pair((x + w1) & _M, (y + v1) & _M)


def _murmur(data: bytes, a: int, b: int) -> tuple[int, int]:
    size = len(data)
    if size <= 16:
        a = _mix(a * _K1 & _M) * _K1 & _M
        c = (b * _K1 + _short(data)) & _M
        d = _mix((a + (_word(data, 0) if size >= 8 else c)) & _M)
    else:
        c = _pair((_word(data, size - 8) + _K1) & _M, a)
        d = _pair((b + size) & _M, (c + _word(data, size - 16)) & _M)
        a = (a + d) & _M
        for at in range(0, size - 16, 16):
            a = (a ^ _mix(_word(data, at) * _K1 & _M) * _K1 & _M) * _K1 & _M
            b ^= a
            c = (c ^ _mix(_word(data, at + 8) * _K1 & _M) * _K1 & _M) * _K1 & _M
            d ^= c
    a = _pair(a, c)
    b = _pair(d, b)
    return a ^ b, _pair(b, a)


def _short(data: bytes) -> int:
    size = len(data)
    if size > 8:
        a, b = _word(data, 0), _word(data, size - 8)
        return _pair(a, _rotate((b + size) & _M, size)) ^ b
    if size >= 4:
        first, last = struct.unpack_from("<I", data)[0], struct.unpack_from("<I", data, size - 4)[0]
        return _pair(size + (first << 3), last)
    if size > 0:
        y = data[0] + (data[size >> 1] << 8)
        z = size + (data[-1] << 2)
        return _mix((y * _K2 ^ z * _K3) & _M) * _K2 & _M
    return _K2


def _weak(words: tuple[int, ...], a: int, b: int) -> tuple[int, int]:
    w, x, y, z = words
    a = (a + w) & _M
    b = _rotate((b + a + z) & _M, 21)
    c = a
    a = (a + x + y) & _M
    b += _rotate(a, 44)
    return (a + z) & _M, (b + c) & _M


def _pair(u: int, v: int) -> int:
    a = (u ^ v) * _MUL & _M
    a ^= a >> 47
    b = (v ^ a) * _MUL & _M
    b ^= b >> 47
    return b * _MUL & _M


def _rotate(value: int, by: int) -> int:
    return (value >> by | value << (64 - by)) & _M


def _mix(value: int) -> int:
    return value ^ value >> 47


def _word(data: bytes, at: int) -> int:
    found: int = struct.unpack_from("<Q", data, at)[0]
    return found
