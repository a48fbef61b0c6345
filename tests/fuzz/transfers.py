"""Harnesses of transfer units as a lock takes them: kinds, dictionaries, its own inflater."""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterator
from functools import cache

import vectorfile
from fuzz.harness import Harness, NotTakenError, split

from images import encode_units
from protocol.errors import MalformedMessageError
from protocol.unit import UNIT_HEADER_SIZE, UnitHeader, UnitKind
from protocol.values import SECTOR_SIZE, Slot
from svcport.simulator.calls import in_call_form, out_of_call_form
from svcport.simulator.units import Held, UnitDecoder, UnitError

SECTORS = (0, 1, 261)
_CALL = b"\x12\xf0\x34\xf8"


@cache
def _base() -> bytes:
    """Something like code: repeats, calls, and bytes that nothing packs."""
    dice = random.Random(7)
    parts = (_CALL + dice.randbytes(2) * 3 if n % 3 else dice.randbytes(12) for n in range(2000))
    return b"".join(parts)[:18_000]


class _Flash:
    """Both slots hold the base."""

    def mapped(self, _slot: Slot, offset: int, size: int) -> bytes:
        """As the CPU sees it."""
        return _base()[offset : offset + size].ljust(size, b"\xff")


def _held() -> Held:
    return Held(_Flash(), Slot.A, len(_base()))


def _unit(data: bytes) -> bytes:
    """A kind, a sector, a payload: the small inflater and zlib make the same of it."""
    head, payload = split(data, 2)
    kinds = tuple(UnitKind)
    if len(payload) > SECTOR_SIZE or head[0] >= len(kinds):
        raise NotTakenError
    made = []
    for small in (False, True):
        decoder = UnitDecoder([], _held(), small=small)
        try:
            made.append(decoder._content(kinds[head[0]], head[1] % 5, payload))
        except UnitError as error:
            made.append(bytes([error.state]))
    assert made[0] == made[1]
    if len(made[0]) == 1:
        raise NotTakenError
    return made[0]


def _check_unit(_data: bytes, content: bytes) -> None:
    assert len(content) <= SECTOR_SIZE


def _calls(data: bytes) -> bytes:
    head, content = split(data, 1)
    if len(content) > SECTOR_SIZE:
        raise NotTakenError
    return in_call_form(content, head[0] % 112 * SECTOR_SIZE)


def _check_calls(data: bytes, form: bytes) -> None:
    head, content = split(data, 1)
    assert len(form) == len(content)
    assert out_of_call_form(form, head[0] % 112 * SECTOR_SIZE) == content


def _units(data: bytes) -> list[tuple[int, bytes]]:
    """A stream of units in one piece and in many."""
    whole = list(UnitDecoder(SECTORS, _held()).feed(data))
    decoder = UnitDecoder(SECTORS, _held(), small=True)
    pieces = [one for at in range(0, len(data), 9) for one in decoder.feed(data[at : at + 9])]
    assert pieces == whole
    if not whole:
        raise NotTakenError
    return whole


def _check_units(_data: bytes, taken: list[tuple[int, bytes]]) -> None:
    assert [sector for sector, _ in taken] == list(SECTORS[: len(taken)])
    assert all(len(content) == SECTOR_SIZE for _, content in taken)


def _payloads() -> Iterator[bytes]:
    for vector in vectorfile.load("upload/units.txt"):
        if "unit" not in vector:
            continue
        unit = bytes.fromhex(vector["unit"])
        try:
            head = UnitHeader.parse(unit[:UNIT_HEADER_SIZE])
        except MalformedMessageError:
            continue
        if len(unit) < 1500:
            yield bytes([head.kind, head.sector % 5]) + unit[UNIT_HEADER_SIZE:]
    image = bytearray(_base())
    image[5000:5040] = image[9000:9300] = bytes(300)
    for unit_made in encode_units(bytes(image), range(5), _base()):
        if len(unit_made.payload) < 1500:
            yield bytes([unit_made.kind, unit_made.sector]) + unit_made.payload
    for level, strategy in (
        (9, zlib.Z_FIXED),
        (9, zlib.Z_HUFFMAN_ONLY),
        (0, zlib.Z_DEFAULT_STRATEGY),
    ):
        packer = zlib.compressobj(level, zlib.DEFLATED, -15, 9, strategy)
        yield b"\x01\x00" + packer.compress(b"abcabcabd" * 9) + packer.flush()


def _call_seeds() -> Iterator[bytes]:
    yield b"\x00" + _CALL * 3 + b"\x00\xbf" + _CALL
    yield b"\x6f" + b"\xff\xf7\xff\xff" * 2 + b"x"


def _streams() -> Iterator[bytes]:
    units = [bytes.fromhex(v["unit"]) for v in vectorfile.load("upload/units.txt") if "unit" in v]
    units = [unit for unit in units if len(unit) < 1000]
    yield b"".join(units[:3])
    yield from units


_UNIT = (UnitError,)
HARNESSES = (
    Harness("unit", "one unit, check right", _unit, (), _check_unit, _payloads, 3000),
    Harness("unit-stream", "units of a transfer", _units, _UNIT, _check_units, _streams, 2000),
    Harness("call-form", "the call form", _calls, (), _check_calls, _call_seeds, 1000),
)
