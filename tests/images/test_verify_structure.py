"""What verify() demands of header and areas, and what it refuses by name."""

from __future__ import annotations

import hashlib

import pytest
from imagecraft import PAYLOAD, craft

from images import (
    FileSigner,
    Flag,
    Image,
    LockMetadata,
    MalformedImageError,
    Tlv,
    TlvType,
    TrustStore,
    UnsupportedImageError,
    Version,
    verify,
)

COUNTER = Tlv(TlvType.SEC_CNT, bytes([7, 0, 0, 0]))
MODEL = Tlv(TlvType.LOCK_MODEL, b"LK-200")
HARDWARE = Tlv(TlvType.LOCK_HARDWARE, b"A,B")
BATCHES = Tlv(TlvType.LOCK_BATCHES, b"2611,2612")
METADATA = (MODEL, HARDWARE, BATCHES)


def patched(data: bytes, offset: int, value: bytes) -> bytes:
    return data[:offset] + value + data[offset + len(value) :]


def test_a_sound_image_verifies(p256: FileSigner, trust: TrustStore) -> None:
    data = craft(p256, protected=[COUNTER, *METADATA])
    image = verify(data + b"slot padding", trust)
    assert image.data == data
    assert image.size == len(data)
    assert image.version == Version(1, 2, 3, 4)
    assert image.security_counter == 7
    assert image.metadata == LockMetadata("LK-200", ("A", "B"), ("2611", "2612"))
    assert image.signer == p256.public.key_hash().hex()
    assert image.digest == hashlib.sha256(Image.parse(data).signed_bytes).digest()
    assert image.features == ()
    assert image.load_addr is None


def test_an_empty_file_is_refused(trust: TrustStore) -> None:
    with pytest.raises(MalformedImageError, match="file has 0 bytes"):
        verify(b"", trust)


def test_another_magic_is_refused(p256: FileSigner, trust: TrustStore) -> None:
    with pytest.raises(MalformedImageError, match="magic is 0x96f3b83e") as refused:
        verify(patched(craft(p256), 0, b"\x3e"), trust)
    assert refused.value.offset == 0
    assert refused.value.reason == "image-malformed"


def test_the_first_image_format_is_named(p256: FileSigner, trust: TrustStore) -> None:
    with pytest.raises(MalformedImageError, match=r"before MCUboot 1\.0"):
        verify(patched(craft(p256), 0, b"\x3c"), trust)


def test_a_header_smaller_than_itself_is_refused(p256: FileSigner, trust: TrustStore) -> None:
    with pytest.raises(MalformedImageError, match="header size is 31"):
        verify(patched(craft(p256), 8, b"\x1f"), trust)


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x80000000, 10_000])
def test_a_payload_longer_than_the_file_is_refused(
    size: int, p256: FileSigner, trust: TrustStore
) -> None:
    with pytest.raises(MalformedImageError, match="tlv info needs 4 bytes"):
        verify(patched(craft(p256), 12, size.to_bytes(4, "little")), trust)


@pytest.mark.parametrize("delta", [-1, 1])
def test_a_protected_size_other_than_the_header_says_is_refused(
    delta: int, p256: FileSigner, trust: TrustStore
) -> None:
    data = craft(p256, protected=[COUNTER], protected_size=12 + delta)
    with pytest.raises(MalformedImageError, match="protected area is 12 bytes"):
        verify(data, trust)


def test_a_protected_size_without_an_area_is_refused(p256: FileSigner, trust: TrustStore) -> None:
    with pytest.raises(MalformedImageError, match="protected area is 0 bytes"):
        verify(craft(p256, protected_size=12), trust)


def test_a_protected_area_that_the_header_denies_is_refused(
    p256: FileSigner, trust: TrustStore
) -> None:
    with pytest.raises(MalformedImageError, match="the header says 0"):
        verify(craft(p256, protected=[COUNTER], protected_size=0), trust)


def test_a_second_protected_area_is_refused(p256: FileSigner, trust: TrustStore) -> None:
    data = craft(p256, protected=[COUNTER])
    offset = 32 + len(PAYLOAD) + 12
    with pytest.raises(MalformedImageError, match="tlv magic is 0x6908"):
        verify(patched(data, offset, b"\x08\x69"), trust)


@pytest.mark.parametrize("total", [0, 3, 0xFFFF])
def test_an_area_of_impossible_size_is_refused(
    total: int, p256: FileSigner, trust: TrustStore
) -> None:
    data = patched(craft(p256), 32 + len(PAYLOAD) + 2, total.to_bytes(2, "little"))
    with pytest.raises(MalformedImageError, match=f"tlv area is {total} bytes"):
        verify(data, trust)


def test_an_entry_that_leaves_the_protected_area_is_refused(
    p256: FileSigner, trust: TrustStore
) -> None:
    # MCUboot of 2026 hands such a value to callers that walk both areas at once.
    data = patched(craft(p256, protected=[COUNTER]), 32 + len(PAYLOAD) + 6, b"\x05")
    with pytest.raises(MalformedImageError, match="tlv value is 5 bytes, its area has 4 left"):
        verify(data, trust)


def test_a_stump_of_an_entry_at_the_end_of_an_area_is_refused(
    p256: FileSigner, trust: TrustStore
) -> None:
    data = craft(p256)
    offset = 32 + len(PAYLOAD) + 2
    total = int.from_bytes(data[offset : offset + 2], "little") + 3
    with pytest.raises(MalformedImageError, match="tlv entry needs 4 bytes, 3 are left"):
        verify(patched(data, offset, total.to_bytes(2, "little")) + bytes(3), trust)


def test_the_wildcard_type_is_refused(p256: FileSigner, trust: TrustStore) -> None:
    with pytest.raises(MalformedImageError, match="0xffff is reserved"):
        verify(craft(p256, protected=[Tlv(0xFFFF, b"")]), trust)


@pytest.mark.parametrize("bit", [bit for bit in range(32) if not (0xF3D >> bit) & 1])
def test_an_unknown_flag_is_refused(bit: int, p256: FileSigner, trust: TrustStore) -> None:
    with pytest.raises(MalformedImageError, match="are not known"):
        verify(craft(p256, flags=1 << bit), trust)


@pytest.mark.parametrize(
    "flags",
    [
        Flag.ENCRYPTED_AES128 | Flag.ENCRYPTED_AES256,
        Flag.COMPRESSED_LZMA1 | Flag.COMPRESSED_LZMA2,
        Flag.RAM_LOAD | Flag.ROM_FIXED,
    ],
)
def test_flags_that_exclude_each_other_are_refused(
    flags: Flag, p256: FileSigner, trust: TrustStore
) -> None:
    with pytest.raises(MalformedImageError, match="exclude each other"):
        verify(craft(p256, flags=flags), trust)


def test_a_load_address_without_its_flag_is_refused(p256: FileSigner, trust: TrustStore) -> None:
    with pytest.raises(MalformedImageError, match="load address is 0x20000000"):
        verify(craft(p256, load_addr=0x20000000), trust)


def test_a_reserved_word_that_is_not_zero_is_refused(p256: FileSigner, trust: TrustStore) -> None:
    with pytest.raises(MalformedImageError, match="reserved word is 0x00000001"):
        verify(craft(p256, pad=1), trust)


def test_an_image_without_payload_is_refused(p256: FileSigner, trust: TrustStore) -> None:
    with pytest.raises(MalformedImageError, match="payload is empty"):
        verify(craft(p256, payload=b""), trust)


def test_the_slot_size_counts_to_the_last_tlv(p256: FileSigner, trust: TrustStore) -> None:
    data = craft(p256)
    assert verify(data + bytes(100), trust, max_size=len(data)).size == len(data)
    with pytest.raises(MalformedImageError, match=f"at most {len(data) - 1} fit"):
        verify(data, trust, max_size=len(data) - 1)


@pytest.mark.parametrize(
    ("flag", "feature"),
    [
        (Flag.PIC, "position-independent"),
        (Flag.ENCRYPTED_AES128, "encrypted-aes128"),
        (Flag.ENCRYPTED_AES256, "encrypted-aes256"),
        (Flag.NON_BOOTABLE, "non-bootable"),
        (Flag.COMPRESSED_LZMA1, "compressed-lzma1"),
        (Flag.COMPRESSED_LZMA2, "compressed-lzma2"),
        (Flag.COMPRESSED_ARM_THUMB, "compressed-arm-thumb"),
    ],
)
def test_a_flag_that_a_lock_cannot_honour_is_refused_by_name(
    flag: Flag, feature: str, p256: FileSigner, trust: TrustStore
) -> None:
    with pytest.raises(UnsupportedImageError) as refused:
        verify(craft(p256, flags=flag), trust)
    assert refused.value.feature == feature


@pytest.mark.parametrize(
    ("kind", "feature"),
    [
        (TlvType.ENC_RSA2048, "encrypted-key"),
        (TlvType.ENC_KW, "encrypted-key"),
        (TlvType.ENC_EC256, "encrypted-key"),
        (TlvType.ENC_X25519, "encrypted-key"),
        (TlvType.ENC_X25519_SHA512, "encrypted-key"),
        (TlvType.PUBKEY, "full-public-key"),
        (TlvType.ECDSA224, "ecdsa-p224"),
        (TlvType.SIG_PURE, "pure-signature"),
    ],
)
def test_an_unprotected_tlv_that_a_lock_cannot_honour_is_refused_by_name(
    kind: TlvType, feature: str, p256: FileSigner, trust: TrustStore
) -> None:
    with pytest.raises(UnsupportedImageError) as refused:
        verify(craft(p256, tail=lambda tlvs: [*tlvs, Tlv(kind, b"\x01")]), trust)
    assert refused.value.feature == feature


@pytest.mark.parametrize(
    "kind",
    [TlvType.DECOMP_SIZE, TlvType.DECOMP_SHA, TlvType.DECOMP_SIGNATURE, TlvType.COMP_DEC_SIZE],
)
def test_a_description_of_a_compressed_payload_is_refused(
    kind: TlvType, p256: FileSigner, trust: TrustStore
) -> None:
    with pytest.raises(UnsupportedImageError) as refused:
        verify(craft(p256, protected=[Tlv(kind, bytes(4))]), trust)
    assert refused.value.feature == "compressed-original"
