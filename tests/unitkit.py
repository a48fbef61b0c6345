"""Units read back by the letter of protocol/README, with zlib and nothing of either half's code."""

from __future__ import annotations

import hashlib
import random
import zlib
from collections.abc import Iterable
from functools import lru_cache

from images import Unit, UnitKind

SECTOR = 4096
NO_SPAN = 0xFFFF


def inflated(payload: bytes, dictionary: bytes) -> bytes:
    inflate = zlib.decompressobj(-15, zdict=dictionary)
    content = inflate.decompress(payload) + inflate.flush()
    assert inflate.eof
    assert inflate.unused_data == b""
    return content


def deflated(content: bytes, dictionary: bytes = b"", level: int = 9) -> bytes:
    squeezer = zlib.compressobj(level, zlib.DEFLATED, -15, 9, zdict=dictionary)
    return squeezer.compress(content) + squeezer.flush()


@lru_cache
def called(data: bytes, sign: int = 1, address: int = 0) -> bytes:
    """What a slot holds from `address` on, in call form; with -1 back out of it."""
    out = bytearray(data)
    for at in range(0, len(data) - 3, 2):
        first, second = (int.from_bytes(data[p : p + 2], "little") for p in (at, at + 2))
        if first >> 11 == 0b11110 and second >> 11 == 0b11111 and (at + 2) % SECTOR:
            target = ((first & 0x7FF) << 11) + (second & 0x7FF) + sign * (address + at + 4) // 2
            target %= 1 << 22
            out[at : at + 2] = (0xF000 + (target >> 11)).to_bytes(2, "little")
            out[at + 2 : at + 4] = (0xF800 + (target & 0x7FF)).to_bytes(2, "little")
    return bytes(out)


def decoded(unit: Unit, before: bytes, base: bytes) -> bytes:
    """The sector's content; `before` is the new image up to it."""
    if unit.kind is UnitKind.RAW:
        return unit.payload
    if unit.kind is UnitKind.DEFLATE:
        return inflated(unit.payload, b"")
    if unit.kind is UnitKind.DIFFERENCE:
        added = inflated(unit.payload[4:], b"")
        like = base[int.from_bytes(unit.payload[:4], "big") :][: len(added)]
        return bytes((one + other) % 256 for one, other in zip(added, like, strict=True))
    number, rest = int.from_bytes(unit.payload[:2], "big"), unit.payload[2:]
    start = unit.sector * SECTOR
    if unit.kind is UnitKind.COPY:
        assert rest == b""
        return base[number * 256 :][:SECTOR]
    first = max(0, start - (32_768 if number == NO_SPAN else 24_576))
    before = before[first:start]
    if unit.kind is UnitKind.CALLS:
        before, base = called(before, 1, first), called(base)
    if number != NO_SPAN:
        assert number * 256 < len(base)
        before += base[number * 256 :][:8192]
    content = inflated(rest, before)
    return called(content, -1, start) if unit.kind is UnitKind.CALLS else content


def rebuilt(units: Iterable[Unit], base: bytes) -> bytes:
    """The image that a run of all its units stands for."""
    image = b""
    for unit in units:
        content = decoded(unit, image, base)
        whole = content.ljust(SECTOR, b"\xff")
        assert unit.check == hashlib.sha256(whole).digest()[:8]
        assert len(unit.payload) <= SECTOR
        image += content
    return image


def made(size: int) -> bytes:
    """The bytes that the heading of tests/vectors/upload/units.txt describes."""
    out = bytearray()
    for number in range(-(-size // 4)):
        word = bytearray((2654435761 * number & 0xFFFFFFFF).to_bytes(4, "big"))
        if number % 5 == 0:
            word[1], word[3] = 0xF0, 0xF8
        out += word
    return bytes(out[:size])


def thumb(seed: int, size: int) -> bytes:
    """Bytes with the habits of Thumb code: few words, and calls to a few addresses."""
    dice = random.Random(seed)
    words = [dice.randbytes(2) for _ in range(150)]
    targets = [dice.randrange(size // 2 + 1) for _ in range(20)]
    out = bytearray()
    while len(out) < size:
        if dice.random() < 0.15:
            distance = (dice.choice(targets) - len(out) // 2 - 2) % (1 << 22)
            out += (0xF000 | distance >> 11).to_bytes(2, "little")
            out += (0xF800 | distance & 0x7FF).to_bytes(2, "little")
        else:
            out += dice.choice(words)
    return bytes(out[:size])
