"""Pure Ed25519 signatures, and what the proof that verify() gives is worth."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import pickle
from collections.abc import Callable, Sequence

import pytest
from imagecraft import craft, entries

from images import (
    BadSignatureError,
    FileSigner,
    HashMismatchError,
    Image,
    ImageError,
    KeyKind,
    MalformedImageError,
    Tlv,
    TlvType,
    TrustStore,
    UnsupportedImageError,
    VerifiedImage,
    verify,
)


def pure_tail(
    signer: FileSigner, signed: bytes, mark: bytes = b"\x01"
) -> Callable[[list[Tlv]], Sequence[Tlv]]:
    def tail(tlvs: list[Tlv]) -> Sequence[Tlv]:
        return [
            tlvs[0],
            Tlv(TlvType.SIG_PURE, mark),
            tlvs[1],
            Tlv(TlvType.ED25519, signer.sign(signed)),
        ]

    return tail


@pytest.fixture
def ed25519(signers: dict[KeyKind, FileSigner]) -> FileSigner:
    return signers[KeyKind.ED25519]


def test_a_pure_signature_is_over_the_bytes(ed25519: FileSigner, trust: TrustStore) -> None:
    signed = Image.parse(craft(ed25519)).signed_bytes
    data = craft(ed25519, hash_name="sha512", tail=pure_tail(ed25519, signed))
    assert verify(data, trust, pure=True).features == ("pure-signature",)
    digest = hashlib.sha512(signed).digest()
    over_digest = craft(ed25519, hash_name="sha512", tail=pure_tail(ed25519, digest))
    with pytest.raises(BadSignatureError):
        verify(over_digest, trust, pure=True)


@pytest.mark.parametrize("mark", [b"\x00", b"\x02", b"", b"\x01\x01"])
def test_a_pure_mark_other_than_one_is_refused(
    mark: bytes, ed25519: FileSigner, trust: TrustStore
) -> None:
    signed = Image.parse(craft(ed25519)).signed_bytes
    data = craft(ed25519, hash_name="sha512", tail=pure_tail(ed25519, signed, mark))
    with pytest.raises(MalformedImageError, match="SIG_PURE is"):
        verify(data, trust, pure=True)


def test_two_pure_marks_are_refused(ed25519: FileSigner, trust: TrustStore) -> None:
    signed = Image.parse(craft(ed25519)).signed_bytes
    tail = pure_tail(ed25519, signed)
    extra = Tlv(TlvType.SIG_PURE, b"\x01")
    data = craft(ed25519, hash_name="sha512", tail=lambda tlvs: [*tail(tlvs), extra])
    with pytest.raises(MalformedImageError, match="SIG_PURE appears 2 times"):
        verify(data, trust, pure=True)


def test_a_pure_image_still_needs_its_hash_right(ed25519: FileSigner, trust: TrustStore) -> None:
    signed = Image.parse(craft(ed25519)).signed_bytes
    tail = pure_tail(ed25519, signed)

    def wrong(tlvs: list[Tlv]) -> Sequence[Tlv]:
        return [Tlv(TlvType.SHA512, bytes(64)), *tail(tlvs)[1:]]

    with pytest.raises(HashMismatchError):
        verify(craft(ed25519, hash_name="sha512", tail=wrong), trust, pure=True)


def test_a_pure_image_uses_sha512(ed25519: FileSigner, trust: TrustStore) -> None:
    signed = Image.parse(craft(ed25519)).signed_bytes
    with pytest.raises(UnsupportedImageError) as refused:
        verify(craft(ed25519, tail=pure_tail(ed25519, signed)), trust, pure=True)
    assert refused.value.feature == "sha256"


@pytest.mark.parametrize("kind", KeyKind)
def test_no_demand_makes_another_hash_right_for_a_pure_image(
    kind: KeyKind, signers: dict[KeyKind, FileSigner], trust: TrustStore
) -> None:
    name = kind.hash_names[0]
    mark = Tlv(TlvType.SIG_PURE, b"\x01")
    data = craft(signers[kind], tail=lambda tlvs: [*tlvs, mark])
    with pytest.raises(UnsupportedImageError) as refused:
        verify(data, trust, pure=True, hash_name=name)
    assert refused.value.feature == name


def test_only_ed25519_signs_pure(p256: FileSigner, trust: TrustStore) -> None:
    mark = Tlv(TlvType.SIG_PURE, b"\x01")
    data = craft(p256)
    made = entries(p256, Image.parse(data).signed_bytes, "sha256")
    sha512 = Tlv(TlvType.SHA512, hashlib.sha512(Image.parse(data).signed_bytes).digest())
    name = Tlv(TlvType.KEYHASH, p256.public.key_hash("sha512"))
    with pytest.raises(BadSignatureError, match="hash is sha512, an ecdsa-p256 key signs sha256"):
        verify(craft(p256, tail=lambda _: [sha512, mark, name, made[2]]), trust, pure=True)


def test_only_verify_makes_a_verified_image(p256: FileSigner, trust: TrustStore) -> None:
    image = verify(craft(p256), trust)
    fields = {field.name: getattr(image, field.name) for field in dataclasses.fields(image)}
    with pytest.raises(TypeError, match=r"only images\.verify"):
        VerifiedImage(**fields)
    with pytest.raises(TypeError, match=r"only images\.verify"):
        VerifiedImage(**fields, proof=object())
    with pytest.raises(TypeError, match=r"only images\.verify"):
        dataclasses.replace(image, data=b"other")
    with pytest.raises(dataclasses.FrozenInstanceError):
        image.data = b"other"  # type: ignore[misc]


def test_a_verified_image_cannot_be_written_down(p256: FileSigner, trust: TrustStore) -> None:
    image = verify(craft(p256), trust)
    with pytest.raises(TypeError, match="verify its data again"):
        pickle.dumps(image)
    with pytest.raises(TypeError, match="verify its data again"):
        copy.copy(image)


def test_a_buffer_changed_later_does_not_change_the_proof(
    p256: FileSigner, trust: TrustStore
) -> None:
    data = craft(p256)
    buffer = bytearray(data)
    image = verify(buffer, trust)  # type: ignore[arg-type]
    buffer[40] ^= 0xFF
    assert image.data == data
    assert type(image.data) is bytes


def test_every_error_has_a_reason_that_scripts_know() -> None:
    known = {"image-malformed", "image-hash", "image-signature", "image-signer"}
    todo: list[type[ImageError]] = [ImageError]
    while todo:
        error = todo.pop()
        assert error.reason in known
        todo += error.__subclasses__()
