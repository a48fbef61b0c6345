"""What verify() demands of hash, key and signature: one image each, right but for that."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from imagecraft import HASH_TYPES, craft

from images import (
    BadSignatureError,
    FileSigner,
    HashMismatchError,
    Image,
    KeyKind,
    MalformedImageError,
    Tlv,
    TlvType,
    TrustStore,
    UnsignedImageError,
    UnsupportedImageError,
    UntrustedSignerError,
    verify,
)


def patched(data: bytes, offset: int, value: bytes) -> bytes:
    return data[:offset] + value + data[offset + len(value) :]


def test_an_image_without_hash_is_refused(p256: FileSigner, trust: TrustStore) -> None:
    with pytest.raises(MalformedImageError, match="0 hash tlvs"):
        verify(craft(p256, tail=lambda tlvs: tlvs[1:]), trust)


@pytest.mark.parametrize("name", ["sha256", "sha384", "sha512"])
def test_a_second_hash_is_refused_even_if_both_are_right(
    name: str, p256: FileSigner, trust: TrustStore
) -> None:
    signed = Image.parse(craft(p256)).signed_bytes
    second = Tlv(HASH_TYPES[name], hashlib.new(name, signed).digest())
    with pytest.raises(MalformedImageError, match="2 hash tlvs"):
        verify(craft(p256, tail=lambda tlvs: [*tlvs, second]), trust)


@pytest.mark.parametrize("size", [31, 33, 0])
def test_a_hash_of_another_size_is_refused(size: int, p256: FileSigner, trust: TrustStore) -> None:
    def resized(tlvs: list[Tlv]) -> Sequence[Tlv]:
        return [Tlv(tlvs[0].kind, tlvs[0].value.ljust(33, b"\0")[:size]), *tlvs[1:]]

    with pytest.raises(MalformedImageError, match=f"SHA256 has {size} bytes"):
        verify(craft(p256, tail=resized), trust)


def test_a_wrong_hash_is_refused_though_the_signature_is_right(
    p256: FileSigner, trust: TrustStore
) -> None:
    data = craft(p256)
    right = Image.parse(data).digest
    wrong = bytes(32)
    with pytest.raises(HashMismatchError) as refused:
        verify(craft(p256, tail=lambda tlvs: [Tlv(tlvs[0].kind, wrong), *tlvs[1:]]), trust)
    assert (refused.value.stated, refused.value.computed) == (wrong, right)
    assert refused.value.reason == "image-hash"


def test_a_changed_payload_is_a_wrong_hash(p256: FileSigner, trust: TrustStore) -> None:
    with pytest.raises(HashMismatchError):
        verify(patched(craft(p256), 40, b"\xaa"), trust)


def test_header_padding_is_hashed(p256: FileSigner, trust: TrustStore) -> None:
    with pytest.raises(HashMismatchError):
        verify(patched(craft(p256, header_size=64), 50, b"\xaa"), trust)


def test_a_demanded_hash_is_held_to(signers: dict[KeyKind, FileSigner], trust: TrustStore) -> None:
    data = craft(signers[KeyKind.ED25519], hash_name="sha512")
    assert verify(data, trust).hash_name == "sha512"
    assert verify(data, trust, hash_name="sha512").hash_name == "sha512"
    with pytest.raises(UnsupportedImageError) as refused:
        verify(data, trust, hash_name="sha256")
    assert refused.value.feature == "sha512"


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (KeyKind.RSA2048, "sha384"),
        (KeyKind.P256, "sha384"),
        (KeyKind.P256, "sha512"),
        (KeyKind.P384, "sha256"),
        (KeyKind.ED25519, "sha384"),
    ],
)
def test_a_hash_that_does_not_go_with_the_key_is_refused(
    kind: KeyKind, name: str, signers: dict[KeyKind, FileSigner], trust: TrustStore
) -> None:
    signer = signers[kind]

    def rehashed(tlvs: list[Tlv]) -> Sequence[Tlv]:
        digest = Tlv(HASH_TYPES[name], hashlib.new(name, signed).digest())
        return [digest, Tlv(TlvType.KEYHASH, signer.public.key_hash(name)), tlvs[2]]

    signed = Image.parse(craft(signer)).signed_bytes
    with pytest.raises(BadSignatureError, match=f"hash is {name}, an {kind} key signs"):
        verify(craft(signer, tail=rehashed), trust)


def test_an_unsigned_image_is_refused(p256: FileSigner, trust: TrustStore) -> None:
    with pytest.raises(UnsignedImageError, match="not signed") as refused:
        verify(craft(p256, tail=lambda tlvs: tlvs[:1]), trust)
    assert refused.value.reason == "image-signature"


def test_a_key_hash_without_signature_is_refused(p256: FileSigner, trust: TrustStore) -> None:
    with pytest.raises(UnsignedImageError):
        verify(craft(p256, tail=lambda tlvs: tlvs[:2]), trust)


def test_a_signature_by_an_unknown_key_is_refused(stranger: FileSigner, trust: TrustStore) -> None:
    with pytest.raises(UntrustedSignerError) as refused:
        verify(craft(stranger), trust)
    assert refused.value.signers == (stranger.public.key_hash().hex(),)
    assert refused.value.reason == "image-signer"


def test_nothing_is_accepted_without_trusted_keys(p256: FileSigner) -> None:
    with pytest.raises(UntrustedSignerError):
        verify(craft(p256), TrustStore())


def test_another_keys_signature_under_a_trusted_key_hash_is_refused(
    p256: FileSigner, stranger: FileSigner, trust: TrustStore
) -> None:
    def swapped(tlvs: list[Tlv]) -> Sequence[Tlv]:
        return [tlvs[0], Tlv(TlvType.KEYHASH, p256.public.key_hash()), tlvs[2]]

    with pytest.raises(BadSignatureError, match="was not made by key") as refused:
        verify(craft(stranger, tail=swapped), trust)
    assert refused.value.signer == p256.public.key_hash().hex()


def test_a_signature_in_front_of_its_key_hash_is_refused(
    p256: FileSigner, trust: TrustStore
) -> None:
    with pytest.raises(BadSignatureError, match="must follow the key hash"):
        verify(craft(p256, tail=lambda tlvs: [tlvs[0], tlvs[2], tlvs[1]]), trust)


def test_a_signature_without_key_hash_is_refused(p256: FileSigner, trust: TrustStore) -> None:
    with pytest.raises(BadSignatureError, match="must follow the key hash"):
        verify(craft(p256, tail=lambda tlvs: [tlvs[0], tlvs[2]]), trust)


def test_two_key_hashes_in_front_of_one_signature_are_refused(
    p256: FileSigner, trust: TrustStore
) -> None:
    with pytest.raises(BadSignatureError, match="must follow the key hash"):
        verify(craft(p256, tail=lambda tlvs: [tlvs[0], tlvs[1], tlvs[1], tlvs[2]]), trust)


@pytest.mark.parametrize("size", [0, 4, 31, 33])
def test_a_key_hash_of_another_size_is_refused(
    size: int, p256: FileSigner, trust: TrustStore
) -> None:
    # MCUboot compares as many bytes as the image gives, so that none at all match every key.
    def resized(tlvs: list[Tlv]) -> Sequence[Tlv]:
        return [tlvs[0], Tlv(TlvType.KEYHASH, tlvs[1].value.ljust(33, b"\0")[:size]), tlvs[2]]

    with pytest.raises(MalformedImageError, match=f"KEYHASH has {size} bytes"):
        verify(craft(p256, tail=resized), trust)


def test_the_hash_may_stand_behind_the_signature(p256: FileSigner, trust: TrustStore) -> None:
    assert verify(craft(p256, tail=lambda tlvs: [tlvs[1], tlvs[2], tlvs[0]]), trust).signed


@pytest.mark.parametrize("kind", [TlvType.RSA2048_PSS, TlvType.RSA3072_PSS, TlvType.ED25519])
def test_a_signature_tlv_of_another_kind_than_the_key_is_refused(
    kind: TlvType, p256: FileSigner, trust: TrustStore
) -> None:
    sizes = {TlvType.RSA2048_PSS: 256, TlvType.RSA3072_PSS: 384, TlvType.ED25519: 64}
    other = Tlv(kind, bytes(sizes[kind]))
    with pytest.raises(BadSignatureError, match="an ecdsa-p256 key makes ECDSA_SIG"):
        verify(craft(p256, tail=lambda tlvs: [*tlvs[:2], other]), trust)


def second_pair(signer: FileSigner) -> Callable[[list[Tlv]], Sequence[Tlv]]:
    def tail(tlvs: list[Tlv]) -> Sequence[Tlv]:
        digest = tlvs[0].value
        return [
            *tlvs,
            Tlv(TlvType.KEYHASH, signer.public.key_hash()),
            Tlv(signer.public.kind.signature_type, signer.sign(digest)),
        ]

    return tail


def test_of_two_signatures_one_may_be_by_an_unknown_key(
    p256: FileSigner, stranger: FileSigner, trust: TrustStore
) -> None:
    for first, second in ((p256, stranger), (stranger, p256)):
        image = verify(craft(first, tail=second_pair(second)), trust)
        assert image.signer == p256.public.key_hash().hex()


def test_of_two_trusted_signatures_the_last_names_the_signer(
    p256: FileSigner, signers: dict[KeyKind, FileSigner], trust: TrustStore
) -> None:
    rsa = signers[KeyKind.RSA2048]
    image = verify(craft(p256, tail=second_pair(rsa)), trust)
    assert image.signer == rsa.public.key_hash().hex()


@pytest.mark.parametrize("broken", [2, 4])
def test_of_two_trusted_signatures_both_must_be_right(
    broken: int, p256: FileSigner, signers: dict[KeyKind, FileSigner], trust: TrustStore
) -> None:
    def tail(tlvs: list[Tlv]) -> Sequence[Tlv]:
        pairs = list(second_pair(signers[KeyKind.RSA2048])(tlvs))
        value = pairs[broken].value
        pairs[broken] = Tlv(pairs[broken].kind, value[:-1] + bytes([value[-1] ^ 1]))
        return pairs

    with pytest.raises(BadSignatureError):
        verify(craft(p256, tail=tail), trust)


def test_two_signatures_by_one_key_are_refused(p256: FileSigner, trust: TrustStore) -> None:
    with pytest.raises(BadSignatureError, match="the same key"):
        verify(craft(p256, tail=second_pair(p256)), trust)


@pytest.mark.parametrize("salt", [0, 20, 31, 33, 222])
def test_rsa_signatures_have_thirty_two_bytes_of_salt(
    salt: int, signers: dict[KeyKind, FileSigner], trust: TrustStore
) -> None:
    signer = signers[KeyKind.RSA2048]

    def salted(tlvs: list[Tlv]) -> Sequence[Tlv]:
        pss = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=salt)
        value = signer._key.sign(tlvs[0].value, pss, Prehashed(hashes.SHA256()))
        return [*tlvs[:2], Tlv(TlvType.RSA2048_PSS, value)]

    with pytest.raises(BadSignatureError):
        verify(craft(signer, tail=salted), trust)


def test_rsa_masks_are_made_with_sha256(
    signers: dict[KeyKind, FileSigner], trust: TrustStore
) -> None:
    signer = signers[KeyKind.RSA2048]

    def masked(tlvs: list[Tlv]) -> Sequence[Tlv]:
        pss = padding.PSS(mgf=padding.MGF1(hashes.SHA384()), salt_length=32)
        value = signer._key.sign(tlvs[0].value, pss, Prehashed(hashes.SHA256()))
        return [*tlvs[:2], Tlv(TlvType.RSA2048_PSS, value)]

    with pytest.raises(BadSignatureError):
        verify(craft(signer, tail=masked), trust)


def test_rsa_pkcs1_signatures_are_refused(
    signers: dict[KeyKind, FileSigner], trust: TrustStore
) -> None:
    signer = signers[KeyKind.RSA2048]

    def pkcs1(tlvs: list[Tlv]) -> Sequence[Tlv]:
        value = signer._key.sign(tlvs[0].value, padding.PKCS1v15(), Prehashed(hashes.SHA256()))
        return [*tlvs[:2], Tlv(TlvType.RSA2048_PSS, value)]

    with pytest.raises(BadSignatureError):
        verify(craft(signer, tail=pkcs1), trust)


DER_EDITS: dict[str, Callable[[bytes], bytes]] = {
    "long form of the length": lambda der: b"\x30\x81" + der[1:],
    "a zero in front of r": lambda der: bytes([0x30, der[1] + 1, 0x02, der[3] + 1, 0]) + der[4:],
    "a byte inside the sequence": lambda der: bytes([0x30, der[1] + 1]) + der[2:] + b"\x00",
    "a set and no sequence": lambda der: b"\x31" + der[1:],
    "a last byte missing": lambda der: der[:-1],
    "padding that is not zero": lambda der: der.ljust(71, b"\x00") + b"\x01",
    "padding over the longest signature": lambda der: der.ljust(73, b"\x00"),
    "nothing": lambda _: b"",
    "one byte": lambda _: b"\x30",
    "an empty sequence": lambda _: b"\x30\x00",
    "r and s side by side": lambda _: bytes(64),
}


@pytest.mark.parametrize("edit", DER_EDITS)
def test_ecdsa_signatures_are_strict_der(edit: str, p256: FileSigner, trust: TrustStore) -> None:
    def edited(tlvs: list[Tlv]) -> Sequence[Tlv]:
        der = p256.sign(tlvs[0].value)
        while len(der) > 70:  # room for the edits below the longest signature
            der = p256.sign(tlvs[0].value)
        assert p256.public.accepts(der, tlvs[0].value)
        return [*tlvs[:2], Tlv(tlvs[2].kind, DER_EDITS[edit](der))]

    with pytest.raises(BadSignatureError):
        verify(craft(p256, tail=edited), trust)


@pytest.mark.parametrize("kind", [KeyKind.P256, KeyKind.P384])
def test_zeros_behind_an_ecdsa_signature_are_tolerated(
    kind: KeyKind, signers: dict[KeyKind, FileSigner], trust: TrustStore
) -> None:
    def padded(tlvs: list[Tlv]) -> Sequence[Tlv]:
        value = tlvs[2].value.ljust(kind.max_signature_size, b"\0")
        return [*tlvs[:2], Tlv(tlvs[2].kind, value)]

    assert verify(craft(signers[kind], tail=padded), trust).signed


def test_an_ecdsa_signature_over_the_image_hashed_twice_is_refused(
    p256: FileSigner, trust: TrustStore
) -> None:
    def rehashed(tlvs: list[Tlv]) -> Sequence[Tlv]:
        value = p256._key.sign(tlvs[0].value, ec.ECDSA(hashes.SHA256()))
        return [*tlvs[:2], Tlv(tlvs[2].kind, value)]

    with pytest.raises(BadSignatureError):
        verify(craft(p256, tail=rehashed), trust)
