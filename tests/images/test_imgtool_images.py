from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, x25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from images import (
    FileSigner,
    Image,
    KeyKind,
    LockMetadata,
    MalformedImageError,
    TrustStore,
    UnsignedImageError,
    UnsupportedImageError,
    VerifiedImage,
    Version,
    firmware_bytes,
    sign,
    verify,
)

Imgtool = Callable[..., str]
Make = Callable[..., bytes]

PAYLOAD = b"\x00\x20\x00\x20" + bytes(range(256)) * 12 + b"tail"


@pytest.fixture
def make(imgtool: Imgtool, key_files: dict[KeyKind, Path], tmp_path: Path) -> Make:
    """Run `imgtool sign` on the payload with the given options, and give the image."""

    def run(kind: KeyKind | None, *options: object, suffix: str = "bin") -> bytes:
        source, target = tmp_path / "payload.bin", tmp_path / f"image.{suffix}"
        source.write_bytes(PAYLOAD)
        key = () if kind is None else ("-k", key_files[kind])
        common = ("-v", "1.2.3+4", "-H", 512, "--pad-header", "-S", 0x10000)
        imgtool("sign", *key, *common, *options, source, target)
        return target.read_bytes()

    return run


ACCEPTED = {
    "rsa-2048": (KeyKind.RSA2048, [], "sha256"),
    "rsa-3072": (KeyKind.RSA3072, [], "sha256"),
    "ecdsa-p256": (KeyKind.P256, [], "sha256"),
    "ecdsa-p256 padded": (KeyKind.P256, ["--pad-sig"], "sha256"),
    "ecdsa-p384": (KeyKind.P384, [], "sha384"),
    "ecdsa-p384 padded": (KeyKind.P384, ["--pad-sig"], "sha384"),
    "ed25519": (KeyKind.ED25519, [], "sha256"),
    "ed25519 sha512": (KeyKind.ED25519, ["--sha", 512], "sha512"),
    "dependencies": (KeyKind.P256, ["-d", "(1,1.2.3+0),(2,4.5.6+7)"], "sha256"),
    "boot record": (KeyKind.P256, ["--boot-record", "APP"], "sha256"),
    "vendor and class id": (KeyKind.P256, ["--vid", "example.com", "--cid", "lock"], "sha256"),
    "foreign vendor tlv": (KeyKind.P256, ["--custom-tlv", "0x01b7", "0x0102"], "sha256"),
    "slot padded": (KeyKind.P256, ["--pad", "--confirm", "--align", 8], "sha256"),
    "ram load": (KeyKind.P256, ["-L", 0x20240000], "sha256"),
    "rom fixed": (KeyKind.P256, ["-F", 0x8010000], "sha256"),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_every_kind_of_imgtool_image_verifies(name: str, make: Make, trust: TrustStore) -> None:
    kind, options, hash_name = ACCEPTED[name]
    data = make(kind, *options)
    image = verify(data, trust)
    assert isinstance(image, VerifiedImage)
    assert image.version == Version(1, 2, 3, 4)
    assert image.hash_name == hash_name
    assert image.digest == Image.parse(data).digest
    assert image.data == data[: image.size]
    assert image.signed
    assert Image.parse(data).payload == PAYLOAD


def test_counter_and_lock_metadata_come_from_imgtools_options(
    make: Make, trust: TrustStore
) -> None:
    data = make(
        KeyKind.P256,
        *("-s", 7, "--custom-tlv", "0x00A0", "LK-200"),
        *("--custom-tlv", "0x00A1", "A,B", "--custom-tlv", "0x00A2", "2611,2612"),
    )
    image = verify(data, trust)
    assert image.security_counter == 7
    assert image.metadata == LockMetadata("LK-200", ("A", "B"), ("2611", "2612"))


def test_addresses_are_told(make: Make, trust: TrustStore) -> None:
    assert verify(make(KeyKind.P256), trust).load_addr is None
    ram = verify(make(KeyKind.P256, "-L", 0x20240000), trust)
    rom = verify(make(KeyKind.P256, "-F", 0x8010000), trust)
    assert (ram.load_addr, ram.features) == (0x20240000, ("ram-load",))
    assert (rom.load_addr, rom.features) == (0x8010000, ("rom-fixed",))


def test_a_padded_slot_is_trimmed_to_the_image(make: Make, trust: TrustStore) -> None:
    data = make(KeyKind.P256, "--pad")
    assert len(data) == 0x10000
    assert verify(data, trust, max_size=4096).size == len(data) - Image.parse(data).trailing


def test_hex_output_is_the_same_image(make: Make, trust: TrustStore) -> None:
    data = firmware_bytes(make(KeyKind.ED25519, "-x", 0xC000, suffix="hex"))
    assert verify(data, trust).data == make(KeyKind.ED25519)


def test_pure_ed25519_verifies_only_when_asked_for(make: Make, trust: TrustStore) -> None:
    pure, digest = make(KeyKind.ED25519, "--pure"), make(KeyKind.ED25519)
    assert verify(pure, trust, pure=True).hash_name == "sha512"
    assert Image.parse(pure).pure
    with pytest.raises(UnsupportedImageError) as refused:
        verify(pure, trust)
    assert refused.value.feature == "pure-signature"
    with pytest.raises(UnsupportedImageError) as refused:
        verify(digest, trust, pure=True)
    assert refused.value.feature == "digest-signature"


@pytest.fixture
def encryption_key(tmp_path: Path) -> Callable[[str], Path]:
    def write(curve: str) -> Path:
        key = (
            ec.generate_private_key(ec.SECP256R1()).public_key()
            if curve == "p256"
            else x25519.X25519PrivateKey.generate().public_key()
        )
        path = tmp_path / "encryption.pem"
        path.write_bytes(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
        return path

    return write


@pytest.mark.parametrize(
    ("kind", "curve", "options", "feature"),
    [
        (KeyKind.P256, "p256", [], "encrypted-aes128"),
        (KeyKind.P256, "p256", ["--encrypt-keylen", 256], "encrypted-aes256"),
        (KeyKind.P256, "p256", ["--clear"], "encrypted-aes128"),
        (KeyKind.ED25519, "x25519", [], "encrypted-aes128"),
        (KeyKind.ED25519, "x25519", ["--hmac-sha", 512], "encrypted-aes128"),
    ],
)
def test_encrypted_images_are_inspected_and_refused_by_name(
    kind: KeyKind,
    curve: str,
    options: list[object],
    feature: str,
    make: Make,
    trust: TrustStore,
    encryption_key: Callable[[str], Path],
) -> None:
    data = make(kind, "-E", encryption_key(curve), *options)
    image = Image.parse(data)
    assert image.encrypted
    assert image.version == Version(1, 2, 3, 4)
    assert {feature, "encrypted-key"} <= set(image.features)
    with pytest.raises(UnsupportedImageError) as refused:
        verify(data, trust)
    assert refused.value.feature == feature
    assert refused.value.reason == "image-malformed"


@pytest.mark.parametrize(
    ("options", "feature"),
    [
        (["--compression", "lzma2"], "compressed-lzma2"),
        (["--compression", "lzma2armthumb"], "compressed-lzma2"),
        (["--non-bootable"], "non-bootable"),
        (["--public-key-format", "full"], "full-public-key"),
    ],
)
def test_what_a_plain_lock_cannot_take_is_refused_by_name(
    options: list[str], feature: str, make: Make, trust: TrustStore
) -> None:
    data = make(KeyKind.P256, *options)
    assert feature in Image.parse(data).features
    assert Image.parse(data).compressed == feature.startswith("compressed")
    with pytest.raises(UnsupportedImageError) as refused:
        verify(data, trust)
    assert refused.value.feature == feature


@pytest.mark.parametrize("sha", ["256", "384", "512"])
def test_an_unsigned_image_is_refused_whatever_its_hash(
    sha: str, make: Make, trust: TrustStore
) -> None:
    data = make(None, "--sha", sha)
    assert Image.parse(data).hash_name == f"sha{sha}"
    with pytest.raises(UnsignedImageError) as refused:
        verify(data, trust)
    assert refused.value.reason == "image-signature"


def test_a_big_endian_image_is_refused(make: Make, trust: TrustStore) -> None:
    with pytest.raises(MalformedImageError, match="magic"):
        verify(make(KeyKind.P256, "-e", "big"), trust)


@pytest.mark.parametrize("kind", KeyKind)
def test_imgtool_verifies_and_reads_what_we_sign(
    kind: KeyKind, signers: dict[KeyKind, FileSigner], imgtool: Imgtool, tmp_path: Path
) -> None:
    metadata = LockMetadata("LK-200", ("A", "B"), ("2611",))
    data = sign(
        PAYLOAD,
        signers[kind],
        version=Version(2, 3, 1, 9),
        security_counter=3,
        metadata=metadata,
    )
    image, key = tmp_path / "image.bin", tmp_path / "public.pem"
    image.write_bytes(data)
    key.write_bytes(signers[kind].public.to_pem())
    output = imgtool("verify", "-k", key, image)
    assert "Image was correctly validated" in output
    assert "Image version: 2.3.1+9" in output
    assert (
        f"Image digest: {verify(data, TrustStore([signers[kind].public])).digest.hex()}" in output
    )
    dump = tmp_path / "dump.json"
    imgtool("dumpinfo", "-f", "json", "-o", dump, image)
    header = json.loads(dump.read_text())["header"]
    assert (header["hdr_size"], header["img_size"]) == (512, len(PAYLOAD))


def test_what_we_sign_is_what_imgtool_makes(make: Make, signers: dict[KeyKind, FileSigner]) -> None:
    # Ed25519 signatures are the same each time, so whole files can be compared.
    theirs = make(
        KeyKind.ED25519,
        *("-s", 3, "--custom-tlv", "0x00A0", "LK-200", "--custom-tlv", "0x00A1", "A,B"),
    )
    ours = sign(
        PAYLOAD,
        signers[KeyKind.ED25519],
        version=Version(1, 2, 3, 4),
        security_counter=3,
        metadata=LockMetadata("LK-200", ("A", "B")),
    )
    assert ours == theirs


def test_a_ram_load_image_is_what_imgtool_makes(
    make: Make, signers: dict[KeyKind, FileSigner]
) -> None:
    ours = sign(
        PAYLOAD, signers[KeyKind.ED25519], version=Version(1, 2, 3, 4), load_addr=0x20240000
    )
    assert ours == make(KeyKind.ED25519, "-L", 0x20240000)
