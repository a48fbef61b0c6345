"""What verify() demands of each TLV: area, size, number. One image each, right but for that."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from imagecraft import craft

from images import (
    FileSigner,
    Image,
    KeyKind,
    MalformedImageError,
    Tlv,
    TlvType,
    TrustStore,
    verify,
)

COUNTER = Tlv(TlvType.SEC_CNT, bytes([7, 0, 0, 0]))
MODEL = Tlv(TlvType.LOCK_MODEL, b"LK-200")
HARDWARE = Tlv(TlvType.LOCK_HARDWARE, b"A,B")
BATCHES = Tlv(TlvType.LOCK_BATCHES, b"2611,2612")
METADATA = (MODEL, HARDWARE, BATCHES)


@pytest.mark.parametrize(
    "tlv",
    [
        COUNTER,
        MODEL,
        Tlv(TlvType.BOOT_RECORD, b"\xa0"),
        Tlv(0xA7, b"x"),
        Tlv(0x1000, b""),
        Tlv(0, b""),
    ],
)
def test_what_must_be_protected_is_refused_outside(
    tlv: Tlv, p256: FileSigner, trust: TrustStore
) -> None:
    with pytest.raises(MalformedImageError, match="stands outside the protected area"):
        verify(craft(p256, tail=lambda tlvs: [*tlvs, tlv]), trust)


def test_tlv_types_are_sixteen_bits_wide(p256: FileSigner, trust: TrustStore) -> None:
    # 0x0110 is no SHA-256, though its low byte says so; imgtool reads the low byte alone.
    def widened(tlvs: list[Tlv]) -> Sequence[Tlv]:
        return [Tlv(0x0110, tlvs[0].value), *tlvs[1:]]

    with pytest.raises(MalformedImageError, match="tlv 0x0110 stands outside"):
        verify(craft(p256, tail=widened), trust)


@pytest.mark.parametrize(
    "kind",
    [TlvType.KEYHASH, TlvType.SHA256, TlvType.SHA512, TlvType.ECDSA_SIG, TlvType.RSA2048_PSS],
)
def test_what_makes_up_the_signature_is_refused_inside(
    kind: TlvType, p256: FileSigner, trust: TrustStore
) -> None:
    with pytest.raises(MalformedImageError, match="stands in the protected area"):
        verify(craft(p256, protected=[Tlv(kind, bytes(32))]), trust)


@pytest.mark.parametrize(
    "tlv",
    [
        COUNTER,
        MODEL,
        HARDWARE,
        BATCHES,
        Tlv(TlvType.BOOT_RECORD, b"\xa0"),
        Tlv(TlvType.UUID_VID, bytes(16)),
        Tlv(TlvType.UUID_CID, bytes(16)),
        Tlv(0x01B7, b"vendor"),
    ],
)
def test_a_protected_tlv_that_appears_twice_is_refused(
    tlv: Tlv, p256: FileSigner, trust: TrustStore
) -> None:
    others = [other for other in METADATA if other.kind != tlv.kind]
    verify(craft(p256, protected=[*others, tlv]), trust)
    with pytest.raises(MalformedImageError, match="at most 1 may"):
        verify(craft(p256, protected=[*others, tlv, tlv]), trust)


def test_dependencies_may_repeat(p256: FileSigner, trust: TrustStore) -> None:
    dependency = Tlv(TlvType.DEPENDENCY, bytes(12))
    image = verify(craft(p256, protected=[dependency, dependency]), trust)
    assert image.features == ("dependencies",)


@pytest.mark.parametrize("size", [0, 3, 5])
def test_a_security_counter_of_another_size_is_refused(
    size: int, p256: FileSigner, trust: TrustStore
) -> None:
    with pytest.raises(MalformedImageError, match=f"security counter has {size} bytes"):
        verify(craft(p256, protected=[Tlv(TlvType.SEC_CNT, bytes(size))]), trust)


@pytest.mark.parametrize(
    ("kind", "size"),
    [(TlvType.DEPENDENCY, 11), (TlvType.UUID_VID, 15), (TlvType.UUID_CID, 17)],
)
def test_a_protected_tlv_of_another_size_is_refused(
    kind: TlvType, size: int, p256: FileSigner, trust: TrustStore
) -> None:
    with pytest.raises(MalformedImageError, match=f"has {size} bytes, must have"):
        verify(craft(p256, protected=[Tlv(kind, bytes(size))]), trust)


@pytest.mark.parametrize("kind", [KeyKind.RSA2048, KeyKind.RSA3072, KeyKind.ED25519])
@pytest.mark.parametrize("delta", [-1, 1])
def test_a_signature_of_fixed_size_has_that_size(
    kind: KeyKind, delta: int, signers: dict[KeyKind, FileSigner], trust: TrustStore
) -> None:
    def resized(tlvs: list[Tlv]) -> Sequence[Tlv]:
        value = tlvs[2].value[:-1] if delta < 0 else tlvs[2].value + b"\x00"
        return [*tlvs[:2], Tlv(tlvs[2].kind, value)]

    with pytest.raises(MalformedImageError, match=f"must have {kind.max_signature_size}"):
        verify(craft(signers[kind], tail=resized), trust)


@pytest.mark.parametrize(
    "protected",
    [
        [HARDWARE],
        [MODEL],
        [MODEL, HARDWARE, Tlv(TlvType.LOCK_BATCHES, b"")],
        [Tlv(TlvType.LOCK_MODEL, b""), HARDWARE],
        [Tlv(TlvType.LOCK_MODEL, b"LK 200"), HARDWARE],
        [Tlv(TlvType.LOCK_MODEL, b"LK,200"), HARDWARE],
        [Tlv(TlvType.LOCK_MODEL, b"LK\x00"), HARDWARE],
        [Tlv(TlvType.LOCK_MODEL, b"LK\n"), HARDWARE],
        [Tlv(TlvType.LOCK_MODEL, "Lök".encode()), HARDWARE],
        [Tlv(TlvType.LOCK_MODEL, b"x" * 33), HARDWARE],
        [MODEL, Tlv(TlvType.LOCK_HARDWARE, b"A,,B")],
        [MODEL, Tlv(TlvType.LOCK_HARDWARE, b"A,B,A")],
        [MODEL, Tlv(TlvType.LOCK_HARDWARE, b",".join(b"%d" % n for n in range(65)))],
    ],
)
def test_lock_metadata_is_whole_and_well_formed_or_refused(
    protected: list[Tlv], p256: FileSigner, trust: TrustStore
) -> None:
    with pytest.raises(MalformedImageError):
        verify(craft(p256, protected=protected), trust)


@pytest.mark.parametrize("tlv", [COUNTER, MODEL, HARDWARE, BATCHES])
def test_what_reports_tell_of_an_image_is_there_once_even_for_inspection(
    tlv: Tlv, p256: FileSigner
) -> None:
    others = [other for other in METADATA if other.kind != tlv.kind]
    assert Image.parse(craft(p256, protected=[*others, tlv])).metadata is not None
    with pytest.raises(MalformedImageError, match="at most 1 may"):
        Image.parse(craft(p256, protected=[*others, tlv, tlv]))
