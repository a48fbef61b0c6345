from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from images import LockMetadata, MalformedImageError, Tlv, TlvType

ITEM = st.text(
    st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters=","),
    min_size=1,
    max_size=32,
)
METADATA = st.builds(
    LockMetadata,
    ITEM,
    st.lists(ITEM, min_size=1, max_size=64, unique=True).map(tuple),
    st.lists(ITEM, max_size=64, unique=True).map(tuple),
)


@given(METADATA)
def test_metadata_survives_its_tlvs(metadata: LockMetadata) -> None:
    assert LockMetadata.from_tlvs(metadata.to_tlvs()) == metadata


@given(st.binary(max_size=40), st.binary(max_size=40), st.none() | st.binary(max_size=40))
def test_any_values_are_metadata_that_rebuilds_them_or_malformed(
    model: bytes, hardware: bytes, batches: bytes | None
) -> None:
    tlvs = [Tlv(TlvType.LOCK_MODEL, model), Tlv(TlvType.LOCK_HARDWARE, hardware)]
    if batches is not None:
        tlvs.append(Tlv(TlvType.LOCK_BATCHES, batches))
    try:
        metadata = LockMetadata.from_tlvs(tlvs)
    except MalformedImageError:
        return
    assert metadata is not None
    assert metadata.to_tlvs() == tuple(tlvs)


def test_metadata_has_its_place_on_the_wire() -> None:
    assert LockMetadata("LK-200", ("A", "B"), ("2611",)).to_tlvs() == (
        Tlv(0x00A0, b"LK-200"),
        Tlv(0x00A1, b"A,B"),
        Tlv(0x00A2, b"2611"),
    )
    assert len(LockMetadata("LK-200", ("A",)).to_tlvs()) == 2
    assert LockMetadata.from_tlvs([Tlv(TlvType.SEC_CNT, bytes(4))]) is None


def test_metadata_covers_the_locks_it_names_and_no_others() -> None:
    metadata = LockMetadata("LK-200", ("A", "B"), ("2611", "2612"))
    assert metadata.covers("LK-200", "B", "2612")
    assert not metadata.covers("LK-201", "B", "2612")
    assert not metadata.covers("LK-200", "C", "2612")
    assert not metadata.covers("LK-200", "B", "2613")
    assert not metadata.covers("lk-200", "B", "2612")
    assert not metadata.covers("LK-200", "A,B", "2612")


def test_without_batches_every_batch_is_covered() -> None:
    metadata = LockMetadata("LK-200", ("A",))
    assert metadata.covers("LK-200", "A", "2613")
    assert metadata.covers("LK-200", "A", "")
    assert not metadata.covers("LK-200", "B", "2613")


@pytest.mark.parametrize(
    ("model", "hardware", "batches"),
    [
        ("", ("A",), ()),
        ("x" * 33, ("A",), ()),
        ("LK-200", (), ()),
        ("LK-200", ("A", "A"), ()),
        ("LK-200", ("A,B",), ()),
        ("LK-200", ("A",), ("",)),
        ("LK-200", ("A",), ("ü",)),
        ("LK-200", ("A",), tuple(str(number) for number in range(65))),
    ],
)
def test_metadata_that_could_not_be_read_back_is_not_made(
    model: str, hardware: tuple[str, ...], batches: tuple[str, ...]
) -> None:
    with pytest.raises(MalformedImageError):
        LockMetadata(model, hardware, batches)
