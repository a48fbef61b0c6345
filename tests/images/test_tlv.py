from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from images import MalformedImageError, Tlv, TlvType
from images.tlv import PROTECTED_MAGIC, TYPE_ANY, build_area, read_entries, read_info

TLVS = st.lists(st.builds(Tlv, st.integers(0, TYPE_ANY - 1), st.binary(max_size=20)), max_size=5)


@given(TLVS, st.binary(max_size=8), st.binary(max_size=8))
def test_entries_survive_their_area_wherever_it_lies(
    tlvs: list[Tlv], before: bytes, behind: bytes
) -> None:
    area = build_area(PROTECTED_MAGIC, tlvs)
    data = before + area + behind
    info = read_info(data, len(before))
    assert (info.magic, info.total) == (PROTECTED_MAGIC, len(area))
    end = len(before) + info.total
    assert read_entries(data, len(before) + 4, end) == tuple(tlvs)


def test_an_area_has_the_layout_of_mcuboot() -> None:
    area = build_area(PROTECTED_MAGIC, [Tlv(0x0150, b"\x07\x00\x00\x00")])
    assert area == bytes.fromhex("0869 0c00 5001 0400 07000000")


@given(st.binary(max_size=60))
def test_any_bytes_are_entries_that_rebuild_them_or_malformed(data: bytes) -> None:
    try:
        tlvs = read_entries(data, 0, len(data))
    except MalformedImageError:
        return
    assert build_area(PROTECTED_MAGIC, tlvs)[4:] == data


@pytest.mark.parametrize("sizes", [[0x10000], [0xFFFF - 7], [0x8000, 0x8000]])
def test_an_area_that_outgrows_its_length_is_not_built(sizes: list[int]) -> None:
    with pytest.raises(MalformedImageError, match="at most 65535 fit"):
        build_area(PROTECTED_MAGIC, [Tlv(0x1B7, bytes(size)) for size in sizes])


def test_the_largest_area_is_built() -> None:
    assert len(build_area(PROTECTED_MAGIC, [Tlv(0x1B7, bytes(0xFFFF - 8))])) == 0xFFFF


def test_types_without_a_name_are_told_in_hex() -> None:
    assert Tlv(TlvType.SEC_CNT, b"").name == "SEC_CNT"
    assert Tlv(0x1B7, b"").name == "0x01b7"
