"""Zephyr and TF-M builds for real boards, judged with the keys that their own bootloaders carry."""

from __future__ import annotations

from pathlib import Path

import pytest
from realfirmware import smpclient_sdist
from unitkit import rebuilt

from images import (
    BadSignatureError,
    FileSigner,
    HashMismatchError,
    Image,
    KeyKind,
    PublicKey,
    TrustStore,
    UnsignedImageError,
    UntrustedSignerError,
    Version,
    encode_units,
    firmware_bytes,
    parse_hex,
    sector_count,
    sector_digests,
    sign,
    verify,
)
from protocol.unit import UNIT_HEADER_SIZE

EC_KEY_HASH = "e30466f6b8470c1f29070b17f1e2d3e94d445e3f608087fdc711e4382bb538b6"
RSA_KEY_HASH = "fc5701dc6135e1323847bdc40f04d2e5bee5833b23c29f93593d00018cfa9994"


@pytest.fixture(scope="session")
def sdist() -> Path:
    return smpclient_sdist()


@pytest.fixture(scope="session")
def duts(sdist: Path) -> dict[str, bytes]:
    folder = sdist / "examples" / "duts"
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*.bin"))
    }


def embedded_key(bootloader: bytes, head: str, size: int) -> PublicKey:
    """Find the one public key in a bootloader by the DER that every such key begins with."""
    start = bootloader.index(bytes.fromhex(head))
    return PublicKey.from_der(bootloader[start : start + size])


@pytest.fixture(scope="session")
def bootloader_keys(sdist: Path) -> TrustStore:
    folder = sdist / "examples" / "duts"
    nordic = parse_hex((folder / "nrf52840dk_nrf52840/ble/a_smp_dut.merged.hex").read_bytes())
    nxp = parse_hex((folder / "mimxrt1060_evkb/usb/mcuboot.hex").read_bytes())
    return TrustStore(
        [
            embedded_key(nordic.data, "3059301306072a8648ce3d0201", 91),
            embedded_key(nxp.data, "3082010a0282010100", 270),
        ]
    )


def test_bootloaders_name_their_keys_as_the_images_do(bootloader_keys: TrustStore) -> None:
    hashes = [(key.kind, key.key_hash().hex()) for key in bootloader_keys]
    assert hashes == [(KeyKind.P256, EC_KEY_HASH), (KeyKind.RSA2048, RSA_KEY_HASH)]


def test_every_signed_image_verifies_with_the_key_of_its_bootloader(
    duts: dict[str, bytes], bootloader_keys: TrustStore
) -> None:
    assert len(duts) == 15
    for name, data in duts.items():
        image = verify(data, bootloader_keys, hash_name="sha256")
        rsa = "mimxrt" in name or "nrf52832" in name
        assert image.signer == (RSA_KEY_HASH if rsa else EC_KEY_HASH), name
        assert image.data == data
        assert image.version == Version(0, 0, 0)


def test_real_images_are_refused_when_damaged_or_not_trusted(
    duts: dict[str, bytes], bootloader_keys: TrustStore, p256: FileSigner
) -> None:
    for data in duts.values():
        with pytest.raises(UntrustedSignerError):
            verify(data, TrustStore([p256.public]))
        middle = len(data) // 2
        flipped = data[:middle] + bytes([data[middle] ^ 4]) + data[middle + 1 :]
        with pytest.raises(HashMismatchError):
            verify(flipped, bootloader_keys)
        with pytest.raises(BadSignatureError):
            verify(data[:-1] + bytes([data[-1] ^ 4]), bootloader_keys)


def test_a_whole_slot_of_tfm_verifies_with_counter_record_and_dependency(
    sdist: Path, bootloader_keys: TrustStore
) -> None:
    (path,) = (sdist / "tests" / "fixtures").rglob("tfm_s_signed.bin")
    data = path.read_bytes()
    image = verify(data, bootloader_keys)
    assert image.security_counter == 1
    assert image.features == ("boot-record", "dependencies")
    assert len(data) == 0x80000
    assert Image.parse(data).trailing == len(data) - image.size


def test_hex_and_binary_of_one_build_are_one_image(
    sdist: Path, bootloader_keys: TrustStore
) -> None:
    (path,) = (sdist / "tests" / "fixtures").rglob("hello_world.signed.hex")
    from_hex = verify(firmware_bytes(path.read_bytes()), bootloader_keys)
    from_bin = verify(path.with_suffix(".bin").read_bytes(), bootloader_keys)
    # Each was signed for itself, and RSA-PSS signatures are salted: only they differ.
    assert from_hex.digest == from_bin.digest
    assert from_hex.size == from_bin.size


def test_hash_only_builds_are_read_and_refused_as_unsigned(
    sdist: Path, bootloader_keys: TrustStore
) -> None:
    paths = sorted((sdist / "tests" / "fixtures" / "smp-server").glob("*.signed.bin"))
    assert paths
    for path in paths:
        image = Image.parse(path.read_bytes())
        assert "unsigned" in image.features
        assert ("ram-load" in image.features) == ("mps2" in path.name)
        with pytest.raises(UnsignedImageError):
            verify(path.read_bytes(), bootloader_keys)


def test_real_payloads_signed_again_verify_and_keep_their_payload(
    duts: dict[str, bytes], p256: FileSigner
) -> None:
    for data in duts.values():
        old = Image.parse(data)
        new = sign(
            old.payload,
            p256,
            version=Version(2, 4, 1),
            security_counter=3,
            header_size=old.header.header_size,
        )
        verify(new, TrustStore([p256.public]), hash_name="sha256")
        assert Image.parse(new).payload == old.payload


NRF52840 = "nrf52840dk_nrf52840/ble/a_smp_dut.bin"


@pytest.mark.parametrize(
    ("base", "times"),
    [
        pytest.param(None, 1.42, id="no base"),
        pytest.param("adafruit_feather_nrf52840/ble/a_smp_dut.bin", 11, id="for another board"),
        pytest.param("nrf52840dk_nrf52840/ble/b_smp_dut.bin", 190, id="with another constant"),
        pytest.param("nrf52dk_nrf52832/ble/a_smp_dut.bin", 3.3, id="for an older chip"),
    ],
)
def test_units_of_real_firmware_are_the_image_in_few_bytes(
    duts: dict[str, bytes], base: str | None, times: float
) -> None:
    image, held = duts[NRF52840], duts[base] if base else b""
    units = list(encode_units(image, range(sector_count(len(image))), held))
    assert rebuilt(units, held) == image
    assert tuple(unit.check for unit in units) == sector_digests(image)
    assert len(image) > times * sum(UNIT_HEADER_SIZE + len(unit.payload) for unit in units)
