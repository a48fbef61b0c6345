from __future__ import annotations

from pathlib import Path

import pytest
from imagecraft import craft
from realfirmware import smpclient_sdist

from images import (
    BadSignatureError,
    FileSigner,
    HashMismatchError,
    Image,
    ImageError,
    TlvType,
    TrustStore,
    UnsignedImageError,
    UntrustedSignerError,
    verify,
)
from images.tlv import Tlv


def without_signature(entries: list[Tlv]) -> list[Tlv]:
    return entries[:1]


def without_key(entries: list[Tlv]) -> list[Tlv]:
    return [entry for entry in entries if entry.kind != TlvType.KEYHASH]


def test_an_image_without_a_signature_is_taken_where_that_is_allowed_and_says_so(
    p256: FileSigner, trust: TrustStore
) -> None:
    data = craft(p256, tail=without_signature)
    with pytest.raises(UnsignedImageError):
        verify(data, trust)
    image = verify(data, trust, unsigned=True)
    assert (image.signed, image.signer) == (False, "")
    assert verify(craft(p256), trust, unsigned=True).signed


def test_a_signature_that_is_there_must_hold_all_the_same(
    p256: FileSigner, stranger: FileSigner, trust: TrustStore
) -> None:
    with pytest.raises(UntrustedSignerError):
        verify(craft(stranger), trust, unsigned=True)
    with pytest.raises(BadSignatureError):
        verify(craft(p256, tail=without_key), trust, unsigned=True)
    with pytest.raises(UntrustedSignerError):
        verify(craft(p256), TrustStore(), unsigned=True)


def test_a_flipped_payload_bit_is_found_by_the_hash_alone(
    p256: FileSigner, trust: TrustStore
) -> None:
    data = bytearray(craft(p256, tail=without_signature))
    data[40] ^= 1
    with pytest.raises(HashMismatchError):
        verify(bytes(data), trust, unsigned=True)


def test_real_hash_only_builds_of_mcuboot_are_taken(trust: TrustStore) -> None:
    fixtures: Path = smpclient_sdist() / "tests" / "fixtures" / "smp-server"
    paths = sorted(fixtures.glob("*.signed.bin"))
    assert len(paths) > 5
    for path in paths:
        image = verify(path.read_bytes(), trust, unsigned=True)
        assert not image.signed
        assert image.digest == Image.parse(path.read_bytes()).digest


def test_every_flip_of_one_bit_in_an_unsigned_image_is_refused(
    p256: FileSigner, trust: TrustStore
) -> None:
    whole = craft(p256, tail=without_signature)
    for bit in range(8 * len(whole)):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ImageError):
            verify(bytes(damaged), trust, unsigned=True)
