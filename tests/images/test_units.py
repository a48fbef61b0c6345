from __future__ import annotations

import hashlib
import random
import zlib
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from images import SECTOR_SIZE, Unit, UnitKind, encode_units, sector_count, sector_digests


def decoded(unit: Unit) -> bytes:
    """Decode as a lock would, with nothing of the encoder."""
    if unit.kind is UnitKind.RAW:
        return unit.payload
    inflate = zlib.decompressobj(wbits=-15)
    content = inflate.decompress(unit.payload) + inflate.flush()
    assert inflate.eof
    assert inflate.unused_data == b""
    return content


def check(content: bytes) -> bytes:
    return hashlib.sha256(content + b"\xff" * (4096 - len(content))).digest()[:8]


NOISE = random.Random(7).randbytes(3 * SECTOR_SIZE + 100)
TEXT = b"the same words again and again, " * 500
IMAGES = st.one_of(
    st.binary(max_size=300),
    st.integers(0, 3 * SECTOR_SIZE + 100).map(lambda size: NOISE[:size]),
    st.integers(0, 3 * SECTOR_SIZE + 100).map(lambda size: TEXT[:size]),
)


@given(IMAGES)
def test_units_of_all_sectors_are_the_image(image: bytes) -> None:
    units = list(encode_units(image, range(sector_count(len(image)))))
    assert b"".join(decoded(unit) for unit in units) == image
    assert [unit.sector for unit in units] == list(range(sector_count(len(image))))
    assert tuple(unit.check for unit in units) == sector_digests(image)
    assert all(unit.check == check(decoded(unit)) for unit in units)
    assert all(len(unit.payload) <= SECTOR_SIZE for unit in units)


@pytest.mark.parametrize(
    ("size", "count"), [(0, 0), (1, 1), (4095, 1), (4096, 1), (4097, 2), (262_144, 64)]
)
def test_sectors_are_counted_from_the_start_of_the_slot(size: int, count: int) -> None:
    assert sector_count(size) == count
    assert len(sector_digests(bytes(size))) == count


def test_the_smaller_kind_is_taken_and_raw_at_a_tie() -> None:
    noise, text = NOISE[:SECTOR_SIZE], TEXT[:SECTOR_SIZE]
    raw, deflated = encode_units(noise + text, [0, 1])
    assert (raw.kind, raw.payload) == (UnitKind.RAW, noise)
    assert deflated.kind is UnitKind.DEFLATE
    assert len(deflated.payload) < 100
    (single,) = encode_units(b"abc", [0])
    assert single == Unit(0, UnitKind.RAW, b"abc", check(b"abc"))


def test_the_last_sector_carries_only_what_the_image_has() -> None:
    image = NOISE[: SECTOR_SIZE + 100]
    (last,) = encode_units(image, [1])
    assert last.payload == image[SECTOR_SIZE:]
    assert last.check == hashlib.sha256(image[SECTOR_SIZE:] + b"\xff" * 3996).digest()[:8]


def test_kinds_have_their_numbers_on_the_wire() -> None:
    assert [(kind.name, kind.value) for kind in UnitKind] == [("RAW", 0), ("DEFLATE", 1)]


def test_a_unit_is_made_when_it_is_asked_for() -> None:
    asked = []

    def sectors() -> Iterator[int]:
        for sector in range(3):
            asked.append(sector)
            yield sector

    units = encode_units(NOISE, sectors())
    assert asked == []
    next(units)
    assert asked == [0]
    next(units)
    assert asked == [0, 1]


@pytest.mark.parametrize("sectors", [[4], [-1], [0, 0], [2, 1]])
def test_sectors_out_of_the_image_or_out_of_order_are_refused(sectors: list[int]) -> None:
    with pytest.raises(ValueError, match="must be"):
        list(encode_units(NOISE, sectors))


def test_an_image_of_nothing_has_no_sectors() -> None:
    assert list(encode_units(b"", [])) == []
    assert sector_digests(b"") == ()
