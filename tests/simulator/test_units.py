from __future__ import annotations

import contextlib
import hashlib
import random
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulator.hostdriver import blocks, unit_stream
from unitkit import called, deflated, made, thumb
from vectorfile import Vector, load

from protocol.bulk import TransferState
from protocol.unit import UnitHeader, UnitKind
from protocol.values import SECTOR_SIZE, Slot
from svcport.simulator.calls import in_call_form, out_of_call_form
from svcport.simulator.slots import check
from svcport.simulator.units import Dictionary, Held, Piece, UnitDecoder, UnitError

A, B = Slot.A, Slot.B
CODE = thumb(3, 11 * SECTOR_SIZE + 700)
BOTH = pytest.mark.parametrize("small", [False, True], ids=["zlib", "small"])


@dataclass
class Memory:
    """Both slots; behind an image lies whatever was there before."""

    base: bytes = b""
    new: bytes = b""

    def mapped(self, slot: Slot, offset: int, size: int) -> bytes:
        return (self.new if slot is A else self.base)[offset : offset + size].ljust(size, b"\xa5")


def received(stream: bytes, image: bytes, base: bytes, *, small: bool, cut: int = 999) -> bytes:
    """What a slot holds after a whole image went in."""
    flash = Memory(base)
    count = -(-len(image) // SECTOR_SIZE)
    decoder = UnitDecoder(range(count), Held(flash, A, len(base)), small=small)
    for part in blocks(stream, cut):
        for sector, content in decoder.feed(part):
            assert len(flash.new) == sector * SECTOR_SIZE
            flash.new += content
    assert decoder.due is None
    return flash.new


@BOTH
@given(
    st.one_of(st.integers(0, 9000).map(lambda size: CODE[size:]), st.binary(max_size=9000)),
    st.integers(0, 3),
)
@settings(max_examples=15)
def test_an_image_comes_out_as_it_went_in(small: bool, image: bytes, number: int) -> None:
    base = [b"", CODE, CODE[:9000], CODE[500:] + b"x"][number]
    sectors = range(-(-len(image) // SECTOR_SIZE))
    stream = unit_stream(image, sectors, base)
    whole = image.ljust(len(sectors) * SECTOR_SIZE, b"\xff")
    assert received(stream, image, base, small=small) == whole


VECTORS = [vector for vector in load("upload/units.txt") if vector["expect"] == "ok"]


@BOTH
@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_a_unit_vector_gives_its_sector(vector: Vector, small: bool) -> None:
    held = Held(Memory(base=made(5000), new=made(10 * SECTOR_SIZE)), A, 5000)
    decoder = UnitDecoder([int(vector["sector"])], held, small=small)
    ((_sector, content),) = decoder.feed(bytes.fromhex(vector["unit"]))
    assert hashlib.sha256(content).hexdigest() == vector["sector.sha256"]


@given(st.binary(max_size=SECTOR_SIZE), st.integers(0, 111))
def test_the_call_form_of_a_sector_is_undone_by_the_lock(content: bytes, sector: int) -> None:
    address = sector * SECTOR_SIZE
    form = in_call_form(content, address)
    assert form == called(content, 1, address)
    assert out_of_call_form(form, address) == content


def test_a_call_form_is_that_of_a_sector() -> None:
    with pytest.raises(ValueError, match="no sector"):
        in_call_form(bytes(4), 2)
    with pytest.raises(ValueError, match="no sector"):
        out_of_call_form(bytes(4097), 0)


@pytest.mark.parametrize("calls", [False, True])
@given(st.integers(0, 12_288), st.integers(0, 12_288))
def test_any_part_of_a_dictionary_can_be_read_alone(calls: bool, offset: int, size: int) -> None:
    flash = Memory(base=CODE, new=thumb(9, 2 * SECTOR_SIZE))
    pieces = (Piece(A, 0, 2 * SECTOR_SIZE, 2 * SECTOR_SIZE), Piece(B, 256, 8192, 8301))
    dictionary = Dictionary(flash, pieces, calls)
    new, base = flash.new, CODE[:8301]
    if calls:
        new, base = called(new), called(base)
    whole = new + base[256:]
    assert dictionary.size == SECTOR_SIZE * 4
    size = min(size, 2 * SECTOR_SIZE + 8045 - offset) if offset < 2 * SECTOR_SIZE + 8045 else 0
    assert dictionary.read(offset, max(0, size)) == whole[offset : offset + max(0, size)]


def unit(sector: int, kind: int, payload: bytes, content: bytes) -> bytes:
    checked = check(content.ljust(SECTOR_SIZE, b"\xff"))
    return UnitHeader(sector, UnitKind(kind), len(payload), checked).build() + payload


NONE, FIRST, LAST, BEHIND = b"\xff\xff", b"\0\0", b"\0\x1f", b"\0\x20"
"""Numbers of spans; the base has 8192 bytes, so that 31 is its last."""

GOOD = deflated(b"content")


@BOTH
@pytest.mark.parametrize(
    ("stream", "state"),
    [
        pytest.param(unit(0, 2, b"\0", b""), TransferState.UNIT_MALFORMED, id="half-a-span"),
        pytest.param(unit(0, 2, b"", b""), TransferState.UNIT_MALFORMED, id="no-span"),
        pytest.param(unit(0, 2, NONE, b""), TransferState.UNIT_MALFORMED, id="no-stream"),
        pytest.param(unit(0, 2, BEHIND + GOOD, b""), TransferState.UNIT_MALFORMED, id="behind"),
        pytest.param(unit(0, 3, BEHIND + GOOD, b""), TransferState.UNIT_MALFORMED, id="behind-3"),
        pytest.param(unit(0, 4, BEHIND, b""), TransferState.UNIT_MALFORMED, id="behind-copy"),
        pytest.param(unit(0, 4, NONE, b""), TransferState.UNIT_MALFORMED, id="copy-of-nothing"),
        pytest.param(unit(0, 4, FIRST + b"x", b""), TransferState.UNIT_MALFORMED, id="copy-more"),
        pytest.param(unit(0, 4, FIRST, b"x"), TransferState.UNIT_DIGEST, id="copy-of-another"),
        pytest.param(
            unit(0, 2, FIRST + deflated(bytes(4097)), b""), TransferState.UNIT_MALFORMED, id="long"
        ),
        pytest.param(
            unit(0, 3, FIRST + deflated(bytes(9000)), b""),
            TransferState.UNIT_MALFORMED,
            id="long-3",
        ),
        pytest.param(
            unit(0, 2, NONE + deflated(CODE[:99], CODE[:8192]), CODE[:99]),
            TransferState.UNIT_MALFORMED,
            id="beyond-the-dictionary",
        ),
        pytest.param(unit(0, 5 - 1, LAST, b"x"), TransferState.UNIT_DIGEST, id="short-copy"),
        pytest.param(unit(1, 2, NONE + GOOD, b"content"), TransferState.UNIT_ORDER, id="order"),
        pytest.param(unit(111, 0, b"x", b"x"), TransferState.UNIT_ORDER, id="not-asked-for"),
        pytest.param(unit(0xFFFF, 0, b"x", b"x"), TransferState.UNIT_ORDER, id="out-of-range"),
        pytest.param(unit(0, 5, b"\0\0\0", b""), TransferState.UNIT_MALFORMED, id="half-an-offset"),
        pytest.param(
            unit(0, 5, bytes(4) + deflated(bytes(4097)), b""),
            TransferState.UNIT_MALFORMED,
            id="long-5",
        ),
        pytest.param(
            unit(0, 5, b"\0\0\x1f\xfe" + deflated(b"abc"), b""),
            TransferState.UNIT_MALFORMED,
            id="difference-behind",
        ),
        pytest.param(
            unit(0, 5, b"\xff" * 4 + deflated(b"abc"), b""), TransferState.UNIT_MALFORMED, id="far"
        ),
        pytest.param(b"\0\0\6\0\0" + bytes(8), TransferState.UNIT_MALFORMED, id="kind-6"),
    ],
)
def test_a_unit_that_is_none_is_refused_by_name(
    stream: bytes, state: TransferState, small: bool
) -> None:
    held = Held(Memory(base=CODE[:8192]), A, 8192)
    decoder = UnitDecoder([0, 3], held, small=small)
    with pytest.raises(UnitError) as caught:
        list(decoder.feed(stream))
    assert (caught.value.state, caught.value.sector) == (state, 0)


@BOTH
def test_a_base_of_another_bit_does_not_give_the_check(small: bool) -> None:
    image = CODE[:4090] + b"another word, and no copy"
    stream = unit_stream(image, [0], CODE)
    other = bytearray(CODE)
    assert received(stream, image[:SECTOR_SIZE], CODE, small=small) == image[:SECTOR_SIZE]
    other[2000] ^= 4
    decoder = UnitDecoder([0], Held(Memory(bytes(other)), A, len(other)), small=small)
    with pytest.raises(UnitError) as caught:
        list(decoder.feed(stream))
    assert caught.value.state is TransferState.UNIT_DIGEST


def test_without_a_base_a_span_is_malformed() -> None:
    for held in (None, Held(Memory(), A, 0)):
        for kind in (2, 3, 4, 5):
            head = FIRST if kind < 5 else bytes(4)
            with pytest.raises(UnitError) as caught:
                list(UnitDecoder([0], held).feed(unit(0, kind, head + GOOD, b"content")))
            assert caught.value.state is TransferState.UNIT_MALFORMED


@BOTH
@given(st.binary(max_size=200), st.sampled_from(list(UnitKind)))
def test_any_payload_gives_a_sector_or_the_one_error(
    small: bool, payload: bytes, kind: UnitKind
) -> None:
    held = Held(Memory(base=CODE, new=CODE[:SECTOR_SIZE]), A, len(CODE))
    decoder = UnitDecoder([1], held, small=small)
    with contextlib.suppress(UnitError):
        for _sector, content in decoder.feed(unit(1, kind, payload, payload)):
            assert len(content) == SECTOR_SIZE


@given(st.randoms(use_true_random=False), st.sampled_from([UnitKind.DICTIONARY, UnitKind.CALLS]))
@settings(max_examples=20)
def test_both_inflaters_take_and_refuse_the_same(dice: random.Random, kind: UnitKind) -> None:
    payload = bytearray(FIRST + deflated(CODE[2000:4000], CODE[:8192]))
    for _flip in range(dice.randrange(3)):
        payload[dice.randrange(len(payload))] ^= 1 << dice.randrange(8)
    ends = []
    for small in (False, True):
        decoder = UnitDecoder([0], Held(Memory(base=CODE), A, len(CODE)), small=small)
        try:
            ends.append(list(decoder.feed(unit(0, kind, bytes(payload), CODE[2000:4000]))))
        except UnitError as error:
            ends.append(error.state)
    assert ends[0] == ends[1]
