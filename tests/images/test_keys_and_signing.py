from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa, x25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given
from hypothesis import strategies as st
from imagecraft import PAYLOAD
from imgtool import keys as imgtool_keys

from images import (
    BadSignatureError,
    FileSigner,
    Image,
    InvalidKeyError,
    KeyKind,
    LockMetadata,
    MalformedImageError,
    PublicKey,
    TrustStore,
    Version,
    sign,
    verify,
)

VERSION = Version(1, 2, 3)


@pytest.mark.parametrize("kind", KeyKind)
def test_a_key_file_gives_the_same_key_in_every_form(
    kind: KeyKind, key_files: dict[KeyKind, Path], signers: dict[KeyKind, FileSigner]
) -> None:
    public = FileSigner.from_pem(key_files[kind].read_bytes(), name="release").public
    assert public == signers[kind].public
    assert (public.kind, public.name) == (kind, "release")
    assert PublicKey.from_pem(public.to_pem()) == public
    assert PublicKey.from_der(public.der) == public


@pytest.mark.parametrize("kind", KeyKind)
def test_key_hashes_are_those_of_imgtool(
    kind: KeyKind, key_files: dict[KeyKind, Path], signers: dict[KeyKind, FileSigner]
) -> None:
    theirs = imgtool_keys.load(str(key_files[kind])).get_public_bytes()
    for name in ("sha256", "sha384", "sha512"):
        assert signers[kind].public.key_hash(name) == hashlib.new(name, theirs).digest()


def test_rsa_keys_are_read_from_pkcs1_too(signers: dict[KeyKind, FileSigner]) -> None:
    public = signers[KeyKind.RSA2048].public
    key = signers[KeyKind.RSA2048]._key.public_key()
    assert PublicKey.from_der(key.public_bytes(Encoding.DER, PublicFormat.PKCS1)) == public
    assert PublicKey.from_pem(key.public_bytes(Encoding.PEM, PublicFormat.PKCS1)) == public
    assert public.mcuboot_der == key.public_bytes(Encoding.DER, PublicFormat.PKCS1)


def unsuitable() -> list[object]:
    return [
        rsa.generate_private_key(65537, 1024),  # noqa: S505  too small is the point
        ec.generate_private_key(ec.SECP256K1()),
        ec.generate_private_key(ec.SECP521R1()),
        ed448.Ed448PrivateKey.generate(),
        x25519.X25519PrivateKey.generate(),
    ]


@pytest.mark.parametrize("number", range(5))
def test_keys_that_mcuboot_does_not_verify_are_refused(number: int) -> None:
    key = unsuitable()[number]
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    with pytest.raises(InvalidKeyError):
        FileSigner.from_pem(private)
    with pytest.raises(InvalidKeyError, match="must be one of rsa-2048"):
        PublicKey.from_pem(public)


@given(st.binary(max_size=120))
def test_any_bytes_are_no_key(data: bytes) -> None:
    for read in (PublicKey.from_pem, PublicKey.from_der, FileSigner.from_pem):
        with pytest.raises(InvalidKeyError):
            read(data)


def test_a_private_key_is_no_public_key(key_files: dict[KeyKind, Path]) -> None:
    with pytest.raises(InvalidKeyError):
        PublicKey.from_pem(key_files[KeyKind.P256].read_bytes())


def test_a_passphrase_is_needed_where_there_is_one(p256: FileSigner) -> None:
    pem = p256._key.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"open sesame")
    )
    assert FileSigner.from_pem(pem, b"open sesame").public == p256.public
    for passphrase in (None, b"", b"wrong"):
        with pytest.raises(InvalidKeyError, match="private key cannot be read"):
            FileSigner.from_pem(pem, passphrase)


def test_a_passphrase_for_a_plain_key_is_refused(key_files: dict[KeyKind, Path]) -> None:
    with pytest.raises(InvalidKeyError):
        FileSigner.from_pem(key_files[KeyKind.P256].read_bytes(), b"needless")


@pytest.mark.parametrize("kind", KeyKind)
def test_what_is_signed_verifies_and_tells_what_went_in(
    kind: KeyKind, signers: dict[KeyKind, FileSigner], trust: TrustStore
) -> None:
    metadata = LockMetadata("LK-200", ("A", "B"), ("2611",))
    data = sign(
        PAYLOAD, signers[kind], version=VERSION, security_counter=0xFFFFFFFF, metadata=metadata
    )
    image = verify(data, trust)
    assert image.data == data
    assert (image.version, image.security_counter) == (VERSION, 0xFFFFFFFF)
    assert image.metadata == metadata
    assert image.hash_name == ("sha384" if kind is KeyKind.P384 else "sha256")
    assert Image.parse(data).payload == PAYLOAD
    assert data[32:512] == b"\xff" * 480


def test_without_counter_and_metadata_there_is_no_protected_area(
    p256: FileSigner, trust: TrustStore
) -> None:
    data = sign(PAYLOAD, p256, version=VERSION)
    assert Image.parse(data).header.protected_size == 0
    image = verify(data, trust)
    assert (image.security_counter, image.metadata) == (None, None)


def test_a_security_counter_of_zero_is_not_none(p256: FileSigner, trust: TrustStore) -> None:
    assert (
        verify(sign(PAYLOAD, p256, version=VERSION, security_counter=0), trust).security_counter
        == 0
    )


def test_ed25519_signs_sha512_images_too(
    signers: dict[KeyKind, FileSigner], trust: TrustStore
) -> None:
    data = sign(PAYLOAD, signers[KeyKind.ED25519], version=VERSION, hash_name="sha512")
    assert len(verify(data, trust, hash_name="sha512").digest) == 64


def test_a_hash_that_does_not_go_with_the_key_is_not_signed(p256: FileSigner) -> None:
    with pytest.raises(InvalidKeyError, match="an ecdsa-p256 key signs sha256"):
        sign(PAYLOAD, p256, version=VERSION, hash_name="sha512")


@pytest.mark.parametrize(
    "options",
    [
        {"payload": b""},
        {"header_size": 31},
        {"header_size": 0x10000},
        {"header_size": -1},
        {"security_counter": -1},
        {"security_counter": 1 << 32},
        {"load_addr": 1 << 32},
        {"load_addr": -1},
    ],
)
def test_what_does_not_fit_is_not_signed(options: dict[str, object], p256: FileSigner) -> None:
    with pytest.raises(MalformedImageError):
        sign(**({"payload": PAYLOAD, "key": p256, "version": VERSION} | options))


def test_an_image_is_not_signed_into_another(p256: FileSigner) -> None:
    once = sign(PAYLOAD, p256, version=VERSION)
    with pytest.raises(MalformedImageError, match="an image already") as refused:
        sign(once, p256, version=VERSION)
    assert refused.value.__notes__


class Token:
    """A token in its wrong mood: it answers, but with something other than the signature."""

    def __init__(self, signer: FileSigner, answer: bytes) -> None:
        self.public = signer.public
        self.answer = answer

    def sign(self, digest: bytes) -> bytes:
        assert digest
        return self.answer


@pytest.mark.parametrize("answer", [b"", bytes(64), b"\x30\x06\x02\x01\x01\x02\x01\x01"])
def test_a_signer_that_signs_wrong_is_found_out(answer: bytes, p256: FileSigner) -> None:
    with pytest.raises(BadSignatureError):
        sign(PAYLOAD, Token(p256, answer), version=VERSION)


def test_a_trust_store_finds_keys_by_the_hashes_that_images_use(
    signers: dict[KeyKind, FileSigner], stranger: FileSigner
) -> None:
    keys = [signer.public for signer in signers.values()]
    trust = TrustStore(iter([*keys, keys[0]]))
    assert len(trust) == len(KeyKind)
    assert list(trust) == keys
    assert keys[2] in trust
    assert stranger.public not in trust
    for key in keys:
        for name in key.kind.hash_names:
            assert trust.find(key.key_hash(name)) == key
    assert trust.find(stranger.public.key_hash()) is None
    assert trust.find(keys[0].key_hash()[:16]) is None
    assert trust.find(b"") is None


def test_nothing_of_a_private_key_is_in_its_repr(p256: FileSigner) -> None:
    secret = p256._key.private_numbers().private_value
    shown = repr(p256) + str(p256)
    assert "ecdsa-p256" in shown
    assert str(secret) not in shown
    assert f"{secret:x}" not in shown
