from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unitkit import decoded, rebuilt, thumb

from images import (
    SECTOR_SIZE,
    Unit,
    UnitEncoder,
    UnitKind,
    encode_units,
    sector_count,
    sector_digests,
)

NOISE = random.Random(7).randbytes(3 * SECTOR_SIZE + 100)
TEXT = b"the same words again and again, " * 500
CODE = thumb(3, 12 * SECTOR_SIZE + 700)


def check(content: bytes) -> bytes:
    return hashlib.sha256(content + b"\xff" * (4096 - len(content))).digest()[:8]


def moved(code: bytes, at: int, count: int) -> bytes:
    """Code with something put in: what follows has another address."""
    return code[:at] + random.Random(count).randbytes(count) + code[at:]


IMAGES = st.one_of(
    st.binary(max_size=300),
    st.integers(0, 3 * SECTOR_SIZE + 100).map(lambda size: NOISE[:size]),
    st.integers(0, 3 * SECTOR_SIZE + 100).map(lambda size: TEXT[:size]),
    st.integers(0, len(CODE)).map(lambda size: CODE[:size]),
    st.tuples(st.integers(0, 20_000), st.integers(1, 9000)).map(lambda a: moved(CODE, *a)),
)


@given(IMAGES, st.one_of(st.just(b""), IMAGES))
def test_units_of_all_sectors_are_the_image_whatever_the_base(image: bytes, base: bytes) -> None:
    units = list(encode_units(image, range(sector_count(len(image))), base))
    assert rebuilt(units, base) == image
    assert [unit.sector for unit in units] == list(range(sector_count(len(image))))
    assert tuple(unit.check for unit in units) == sector_digests(image)


def kinds(image: bytes, base: bytes = b"") -> Counter[UnitKind]:
    return Counter(unit.kind for unit in encode_units(image, range(sector_count(len(image))), base))


def test_every_kind_is_taken_where_it_is_smallest() -> None:
    assert kinds(NOISE) == {UnitKind.RAW: 4}
    assert kinds(TEXT)[UnitKind.DICTIONARY] == 3
    assert kinds(CODE)[UnitKind.CALLS] > 9
    assert kinds(CODE, CODE) == {UnitKind.COPY: 13}
    changed = bytearray(CODE)
    changed[5000] ^= 1
    assert kinds(bytes(changed), CODE) == {UnitKind.COPY: 12, UnitKind.DICTIONARY: 1}


def test_code_whose_addresses_moved_goes_as_its_difference() -> None:
    image = bytearray(CODE)
    for at in range(0, len(image) - 2, 50):
        image[at] = image[at] + 7 & 0xFF
    assert kinds(bytes(image), CODE)[UnitKind.DIFFERENCE] > 9
    (unit,) = encode_units(bytes(image), [3], CODE)
    assert len(unit.payload) < 100


def test_code_that_moved_far_is_found_in_the_base() -> None:
    image = moved(CODE, 100, 9000)
    sectors = range(4, sector_count(len(image)))
    units = list(encode_units(image, sectors, CODE))
    assert {unit.kind for unit in units} <= {UnitKind.DICTIONARY, UnitKind.DIFFERENCE}
    assert sum(len(unit.payload) for unit in units) < 100 * len(units)


def test_a_sector_alone_is_encoded_as_in_a_run() -> None:
    encoder = UnitEncoder(CODE, NOISE)
    run = list(encode_units(CODE, range(sector_count(len(CODE))), NOISE))
    assert [encoder.unit(sector) for sector in reversed(range(len(run)))] == run[::-1]


def test_a_unit_made_raw_depends_on_nothing() -> None:
    encoder = UnitEncoder(CODE, CODE)
    unit = encoder.raw(12)
    assert (unit.kind, unit.payload) == (UnitKind.RAW, CODE[12 * SECTOR_SIZE :])
    assert unit.check == encoder.unit(12).check
    with pytest.raises(ValueError, match="must be 0 to 12"):
        encoder.raw(13)


def test_a_sector_behind_the_end_of_a_short_base_has_its_last_span() -> None:
    (unit,) = encode_units(CODE, [12], CODE[:9000])
    assert decoded(unit, CODE[: 12 * SECTOR_SIZE], CODE[:9000]) == CODE[12 * SECTOR_SIZE :]


@pytest.mark.parametrize(
    ("size", "count"), [(0, 0), (1, 1), (4095, 1), (4096, 1), (4097, 2), (262_144, 64)]
)
def test_sectors_are_counted_from_the_start_of_the_slot(size: int, count: int) -> None:
    assert sector_count(size) == count
    assert len(sector_digests(bytes(size))) == count


def test_the_smaller_kind_is_taken_and_raw_at_a_tie() -> None:
    noise, text = NOISE[:SECTOR_SIZE], TEXT[:SECTOR_SIZE]
    deflated, raw = encode_units(text + noise, [0, 1])
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
    assert [(kind.name, kind.value) for kind in UnitKind] == [
        ("RAW", 0),
        ("DEFLATE", 1),
        ("DICTIONARY", 2),
        ("CALLS", 3),
        ("COPY", 4),
        ("DIFFERENCE", 5),
    ]


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
