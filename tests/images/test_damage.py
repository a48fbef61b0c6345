"""Whatever the bytes, verify() gives a proof or an ImageError, and a damaged image no proof."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from imagecraft import PAYLOAD, craft, generate

from images import (
    FileSigner,
    Image,
    ImageError,
    KeyKind,
    LockMetadata,
    MalformedImageError,
    Tlv,
    TlvType,
    TrustStore,
    Version,
    sign,
    verify,
)
from images.header import HEADER_SIZE, Header
from images.tlv import PROTECTED_MAGIC, UNPROTECTED_MAGIC, build_area

METADATA = LockMetadata("LK-200", ("A", "B"), ("2611",))
KEY = generate(KeyKind.P256)
TRUST = TrustStore([KEY.public])
IMAGE = sign(
    PAYLOAD,
    KEY,
    version=Version(2, 3, 1),
    security_counter=3,
    metadata=METADATA,
    header_size=HEADER_SIZE,
)


def refused(data: bytes, trust: TrustStore) -> bool:
    try:
        verify(data, trust)
    except ImageError:
        return True
    return False


@pytest.mark.parametrize("kind", KeyKind)
def test_every_flip_of_one_bit_or_byte_is_refused(
    kind: KeyKind, signers: dict[KeyKind, FileSigner], trust: TrustStore
) -> None:
    # No byte up to the end of the last TLV is harmless; those behind it are not part of the image.
    image = sign(
        PAYLOAD,
        signers[kind],
        version=Version(2, 3, 1),
        security_counter=3,
        metadata=METADATA,
        header_size=40,
    )
    quick = kind in (KeyKind.P256, KeyKind.ED25519)
    masks = (1, 2, 4, 8, 16, 32, 64, 128, 255) if quick else (1, 128, 255)
    accepted = [
        (offset, mask)
        for offset in range(len(image))
        for mask in masks
        if not refused(image[:offset] + bytes([image[offset] ^ mask]) + image[offset + 1 :], trust)
    ]
    assert accepted == []


def test_every_value_of_every_header_byte_but_the_right_one_is_refused() -> None:
    accepted = [
        (offset, value)
        for offset in range(HEADER_SIZE)
        for value in range(256)
        if value != IMAGE[offset]
        and not refused(IMAGE[:offset] + bytes([value]) + IMAGE[offset + 1 :], TRUST)
    ]
    assert accepted == []


@pytest.mark.parametrize("kind", KeyKind)
def test_every_truncation_is_refused(
    kind: KeyKind, signers: dict[KeyKind, FileSigner], trust: TrustStore
) -> None:
    image = craft(signers[kind], protected=METADATA.to_tlvs())
    assert not refused(image, trust)
    assert [size for size in range(len(image)) if not refused(image[:size], trust)] == []


def test_bytes_behind_the_last_tlv_change_nothing() -> None:
    plain = verify(IMAGE, TRUST)
    padded = verify(IMAGE + b"\xff" * 100 + b"trailer", TRUST)
    assert padded == plain
    assert Image.parse(IMAGE + bytes(107)).trailing == 107


@pytest.mark.parametrize("repeat", [2, 0])
def test_every_part_left_out_or_doubled_is_refused(repeat: int) -> None:
    accepted = []
    for size in (1, 2, 4, 8, 16, 32):
        for start in range(len(IMAGE) - size):
            part = IMAGE[start : start + size]
            data = IMAGE[:start] + part * repeat + IMAGE[start + size :]
            # Doubling the last of several equal bytes is only something behind the image.
            if not data.startswith(IMAGE) and not refused(data, TRUST):
                accepted.append((start, size))
    assert accepted == []


def rebuilt(image: Image) -> bytes:
    padding = image.data[HEADER_SIZE : image.header.header_size]
    has_area = image.header.protected_size > 0
    protected = build_area(PROTECTED_MAGIC, image.protected) if has_area else b""
    return (
        image.header.build()
        + padding
        + image.payload
        + protected
        + build_area(UNPROTECTED_MAGIC, image.unprotected)
    )


def parses_whole_or_is_refused(data: bytes) -> None:
    try:
        image = Image.parse(data)
    except MalformedImageError:
        return
    assert rebuilt(image) == image.data
    assert image.data == data[: len(data) - image.trailing]
    assert image.features == tuple(sorted(set(image.features)))


@given(st.binary(max_size=200))
def test_any_bytes_parse_to_what_rebuilds_them_or_are_malformed(data: bytes) -> None:
    parses_whole_or_is_refused(data)


SMALL = st.integers(0, 80)


@st.composite
def nearly_images(draw: st.DrawFn) -> bytes:
    """Headers and areas that mostly fit together, so that the walk is reached."""
    tlvs = st.builds(
        Tlv,
        st.one_of(st.sampled_from(list(TlvType)), st.integers(0, 0xFFFF)),
        st.binary(max_size=70),
    )
    payload = draw(st.binary(max_size=8))
    protected = draw(st.lists(tlvs, max_size=4))
    area = build_area(PROTECTED_MAGIC, protected) if protected else b""
    header = Header(
        load_addr=draw(st.sampled_from([0, 0x20000000])),
        header_size=32,
        protected_size=draw(st.one_of(st.just(len(area)), SMALL)),
        image_size=draw(st.one_of(st.just(len(payload)), SMALL)),
        flags=draw(st.one_of(st.just(0), st.integers(0, 0xFFFFFFFF))),
        version=Version(1, 2, 3),
        pad=draw(st.sampled_from([0, 0, 1])),
    )
    tail = build_area(UNPROTECTED_MAGIC, draw(st.lists(tlvs, max_size=4)))
    return header.build() + payload + area + tail + draw(st.binary(max_size=8))


@given(nearly_images())
def test_nearly_sound_images_parse_to_what_rebuilds_them_or_are_malformed(data: bytes) -> None:
    parses_whole_or_is_refused(data)


@given(st.one_of(st.binary(max_size=200), nearly_images()), st.booleans())
def test_no_bytes_make_verify_raise_anything_but_an_image_error(data: bytes, pure: bool) -> None:
    with pytest.raises(ImageError):
        verify(data, TRUST, pure=pure)


@given(st.integers(0, len(IMAGE) - 1), st.integers(0, 40), st.binary(max_size=40), st.booleans())
def test_no_splice_into_a_signed_image_is_accepted_as_another(
    start: int, size: int, instead: bytes, pure: bool
) -> None:
    data = IMAGE[:start] + instead + IMAGE[start + size :]
    try:
        image = verify(data, TRUST, pure=pure)
    except ImageError:
        return
    assert image.data == IMAGE


def test_an_area_full_of_tiny_entries_is_refused_in_good_time() -> None:
    # 16,000 empty entries: what grows with the square of their number would be felt here.
    crowd = [Tlv(0x01B7, b"")] * 16_000
    with pytest.raises(MalformedImageError, match="appears 16000 times"):
        verify(craft(KEY, protected=crowd), TRUST)
