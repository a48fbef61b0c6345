from __future__ import annotations

import random
from itertools import pairwise
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from realfirmware import smpclient_sdist

from images import FileSigner, Image, sector_digests
from svcport.errors import Reason, RefusedError
from svcport.lab.releases import (
    BAD,
    FIXED,
    FOREIGN,
    GOOD,
    MODEL,
    PAYLOAD_LIMIT,
    RELEASES,
    UNAPPROVED,
    change,
    make_releases,
    read_payload,
)

SIGNER = FileSigner(ec.generate_private_key(ec.SECP256R1()))


def test_the_releases_are_those_of_the_contract() -> None:
    made = make_releases("seed", SIGNER)
    facts = {
        release.short_version: (signed.image.security_counter, release.model)
        for release, signed in made.items()
    }
    other = facts.pop(FOREIGN.short_version)
    assert facts == {
        "2.3.1": (3, MODEL),
        "2.4.0": (3, MODEL),
        "2.4.1": (3, MODEL),
        "2.5.0": (4, MODEL),
    }
    assert other[1] != MODEL
    for release, signed in made.items():
        assert signed.image.version == release.version
        assert signed.image.metadata is not None
        assert signed.image.metadata.covers(release.model, "B", "2026-31")
    assert [release for release in RELEASES if release.approved] == [FIXED]
    assert [release for release in RELEASES if release.withdrawn] == [BAD]
    assert not UNAPPROVED.published


def test_each_release_is_a_few_dozen_scattered_changes_from_the_one_before() -> None:
    made = make_releases("seed", SIGNER)
    chain = [made[release].image.data for release in (GOOD, BAD, FIXED, UNAPPROVED)]
    for before, after in pairwise(chain):
        count = len(sector_digests(after))
        changed = sum(
            a != b for a, b in zip(sector_digests(before), sector_digests(after), strict=True)
        )
        assert count / 4 < changed < count * 3 / 4
        differing = sum(a != b for a, b in zip(before, after, strict=False))
        assert differing < len(after) / 50


def test_an_inserted_instruction_moves_code_only_up_to_the_padding() -> None:
    functions = [random.Random(n).randbytes(500).replace(b"\0", b"\1") for n in range(40)]
    payload = b"".join(function + bytes(12) for function in functions)
    changed = change(payload, "seed")
    assert len(changed) == len(payload)
    for start in range(512, len(payload), 512):
        # Whatever moved inside a function, the next one begins where it did, but for a constant.
        assert (
            sum(a != b for a, b in zip(changed[start : start + 8], payload[start:], strict=False))
            < 3
        )


def test_changes_follow_from_the_seed() -> None:
    payload = random.Random(1).randbytes(50_000)
    assert change(payload, "a") == change(payload, "a") != change(payload, "b")


def test_a_given_payload_is_the_first_release_and_the_others_are_made_from_it() -> None:
    real = next(smpclient_sdist().glob("examples/duts/nrf52840dk_nrf52840/ble/a_smp_dut.bin"))
    made = make_releases("seed", SIGNER, [real])
    code = Image.parse(real.read_bytes()).payload
    assert Image.parse(made[GOOD].image.data).payload == code
    for before, after in ((GOOD, BAD), (BAD, FIXED), (FIXED, UNAPPROVED)):
        pair = (made[before].image.data, made[after].image.data)
        differing = sum(a != b for a, b in zip(*pair, strict=False))
        assert 200 < differing < len(code) / 40


def test_several_given_payloads_are_releases_in_their_order() -> None:
    folder = smpclient_sdist() / "examples" / "duts" / "nrf52840dk_nrf52840"
    files = [folder / "ble" / "a_smp_dut.bin", folder / "usb" / "mcuboot_a_128_8_1024.bin"]
    made = make_releases("seed", SIGNER, files)
    for release, path in zip((GOOD, BAD), files, strict=True):
        code = Image.parse(path.read_bytes()).payload
        assert Image.parse(made[release].image.data).payload == code
    assert len(made[FIXED].image.data) == pytest.approx(len(made[BAD].image.data), abs=8)


def test_intel_hex_and_raw_binaries_are_taken(tmp_path: Path) -> None:
    raw = random.Random(2).randbytes(8192)
    (tmp_path / "raw.bin").write_bytes(raw)
    assert read_payload(tmp_path / "raw.bin") == raw
    lines = []
    for at in range(0, len(raw), 16):
        record = bytes([16, at >> 8, at & 0xFF, 0]) + raw[at : at + 16]
        lines.append(":" + (record + bytes([-sum(record) & 0xFF])).hex().upper())
    (tmp_path / "raw.hex").write_text("\n".join([*lines, ":00000001FF"]) + "\n")
    assert read_payload(tmp_path / "raw.hex") == raw


@pytest.mark.parametrize(
    "content",
    [
        b"",
        bytes(100),
        bytes(PAYLOAD_LIMIT + 1),
        bytes(5 * 1024 * 1024),
        b":00000001FE\n",
        bytes.fromhex("3db8f396") + bytes(8192),
    ],
    ids=["empty", "small", "big", "huge", "hex", "image"],
)
def test_what_is_no_firmware_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "firmware.bin"
    path.write_bytes(content)
    with pytest.raises(RefusedError, match="firmware") as caught:
        make_releases("seed", SIGNER, [path])
    assert caught.value.reason is Reason.USAGE


def test_a_missing_file_and_too_many_files_are_refused(tmp_path: Path) -> None:
    for files in ([tmp_path / "none"], [tmp_path / "none"] * 6):
        with pytest.raises(RefusedError) as caught:
            make_releases("seed", SIGNER, files)
        assert caught.value.reason is Reason.USAGE
