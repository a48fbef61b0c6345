from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from clirunner import Ran, svcport
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from imagecraft import PAYLOAD, craft
from intelhex import IntelHex
from realfirmware import smpclient_sdist

from images import FileSigner, Image

MEMBERS = ["file", "version", "digest", "signer", "security_counter", "model"]


class Desk:
    """A folder with a vendor's key and an image signed with it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        private = ec.generate_private_key(ec.SECP256R1())
        self.signer = FileSigner(private)
        pem, pkcs8 = Encoding.PEM, PrivateFormat.PKCS8
        self.key = self.file("key.pem", private.private_bytes(pem, pkcs8, NoEncryption()))
        locked = private.private_bytes(pem, pkcs8, BestAvailableEncryption(b"secret"))
        self.locked_key = self.file("locked.pem", locked)
        public = private.public_key().public_bytes(pem, PublicFormat.SubjectPublicKeyInfo)
        self.public = self.file("pub.pem", public)
        self.image = self.file("image.bin", craft(self.signer))
        self.home = folder / "home"

    def file(self, name: str, data: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(data)
        return path

    def verify(self, *files: Path) -> Ran:
        return svcport(
            "image", "verify", *files, "--key", self.public, "--home", self.home, "--json"
        )


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_an_image_that_holds_exits_0_with_the_members_of_the_contract(desk: Desk) -> None:
    ran = desk.verify(desk.image)
    assert ran.code == 0
    report = ran.report
    assert report["outcome"] == "ok"
    assert [name for name in report if name in MEMBERS] == MEMBERS
    assert report["version"] == "1.2.3+4"
    assert report["digest"] == Image.parse(craft(desk.signer)).digest.hex()  # type: ignore[union-attr]
    assert report["signer"] == desk.signer.public.key_hash().hex()


def test_many_files_give_one_line_each_in_order_and_the_highest_code(desk: Desk) -> None:
    data = desk.image.read_bytes()
    damaged = desk.file("damaged.bin", data[:40] + b"\x55" + data[41:])
    text = desk.file("readme.txt", b"not an image at all, but long enough for a header")
    missing = desk.folder / "missing.bin"
    ran = desk.verify(desk.image, damaged, text, missing)
    assert [Path(one["file"]).name for one in ran.reports] == [
        "image.bin", "damaged.bin", "readme.txt", "missing.bin",
    ]  # fmt: skip
    assert [one.get("reason") for one in ran.reports] == [
        None, "image-hash", "image-malformed", "storage",
    ]  # fmt: skip
    assert [one["outcome"] for one in ran.reports] == ["ok", "differs", "differs", "failed"]
    assert ran.code == 4


def test_a_bad_image_exits_1_and_never_pretends_to_know_its_members(desk: Desk) -> None:
    ran = desk.verify(desk.file("short.bin", desk.image.read_bytes()[:20]))
    assert (ran.code, ran.report["reason"]) == (1, "image-malformed")
    assert all(ran.report[name] is None for name in MEMBERS[1:])


def test_without_any_key_the_signer_is_unknown_and_the_hint_says_how_to_name_one(
    desk: Desk,
) -> None:
    ran = svcport("image", "verify", desk.image, "--home", desk.home, "--json")
    assert (ran.code, ran.report["reason"]) == (1, "image-signer")
    assert "--key" in ran.report["hint"]


def test_a_key_file_that_is_none_is_refused_by_name(desk: Desk) -> None:
    ran = svcport("image", "verify", desk.image, "--key", desk.image, "--json")
    assert (ran.code, ran.report["reason"]) == (3, "image-signer")
    assert "image.bin" in ran.report["message"]


def test_inspect_tells_what_an_image_is_even_if_no_lock_would_take_it(desk: Desk) -> None:
    ran = svcport("image", "inspect", desk.image, "--home", desk.home, "--json")
    assert (ran.code, ran.report["outcome"]) == (0, "ok")
    assert ran.report["problem"]["reason"] == "image-signer"
    assert ran.report["payload_size"] == len(PAYLOAD)


def test_inspect_of_something_else_is_refused(desk: Desk) -> None:
    ran = svcport("image", "inspect", desk.key, "--home", desk.home, "--json")
    assert (ran.code, ran.report["reason"]) == (3, "image-malformed")


def test_people_see_the_file_with_every_line_that_is_about_it(desk: Desk) -> None:
    text = desk.file("readme.txt", b"x" * 100)
    ran = svcport("image", "verify", desk.image, text, "--key", desk.public)
    assert f"{desk.image}: image of version 1.2.3+4 holds" in ran.out
    assert ran.err.startswith(f"no: {text}: image magic")


def test_intel_hex_is_read_like_the_image_it_holds(desk: Desk) -> None:
    hexfile = IntelHex()
    hexfile.frombytes(desk.image.read_bytes(), offset=0xC200)
    hexfile.write_hex_file(str(desk.folder / "image.hex"))
    assert desk.verify(desk.folder / "image.hex").code == 0


@pytest.mark.parametrize("at", [0, 9, 33, 60, -80, -40, -1])
def test_a_flipped_bit_never_passes(desk: Desk, at: int) -> None:
    data = bytearray(desk.image.read_bytes())
    data[at] ^= 1
    assert desk.verify(desk.file("flipped.bin", bytes(data))).code == 1


def sign(desk: Desk, payload: Path, *words: str | Path, key: Path | None = None) -> Ran:
    out = desk.folder / "signed.bin"
    line = ["image", "sign", payload, "-o", out, "--key", key or desk.key, "--version", "2.4.1"]
    return svcport(*line, *words, "--json")


def test_a_signed_image_verifies_here_and_with_imgtool(desk: Desk) -> None:
    payload = desk.file("firmware", bytes(range(256)) * 40)
    locks = ["--model", "SL", "--hardware", "A", "--hardware", "B", "--batch", "26-31"]
    ran = sign(desk, payload, "--security-counter", "3", *locks)
    assert ran.code == 0
    signed = desk.folder / "signed.bin"
    seen = desk.verify(signed).report
    assert seen["digest"] == ran.report["digest"]
    assert (seen["version"], seen["security_counter"]) == ("2.4.1+0", 3)
    assert (seen["model"], seen["hardware"], seen["batches"]) == ("SL", ["A", "B"], ["26-31"])
    command = [sys.executable, "-m", "imgtool.main", "verify", "-k", str(desk.public), str(signed)]
    assert "validated" in subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_several_values_may_follow_one_option(desk: Desk) -> None:
    payload = desk.file("firmware", b"x" * 100)
    assert (
        sign(desk, payload, "--model", "SL", "--hardware", "A", "B", "--batch", "1", "2").code == 0
    )
    seen = desk.verify(desk.folder / "signed.bin").report
    assert (seen["hardware"], seen["batches"]) == (["A", "B"], ["1", "2"])


def test_room_that_the_linker_left_for_the_header_is_used_for_it(desk: Desk) -> None:
    body = b"\x01" + bytes(599)
    sign(desk, desk.file("plain", body))
    plain = (desk.folder / "signed.bin").read_bytes()
    sign(desk, desk.file("roomy", bytes(512) + body))
    roomy = (desk.folder / "signed.bin").read_bytes()
    assert Image.parse(plain).signed_bytes == Image.parse(roomy).signed_bytes


@pytest.mark.parametrize(
    ("words", "code", "reason"),
    [
        (["--version", "2.4"], 3, "image-malformed"),
        (["--model", "SL"], 2, "usage"),
        (["--hardware", "A"], 2, "usage"),
        (["--batch", "1"], 2, "usage"),
        (["--model", "a b", "--hardware", "A"], 3, "image-malformed"),
        (["--security-counter", "-1"], 2, "usage"),
    ],
)
def test_a_wish_that_cannot_be_fulfilled_writes_nothing(
    desk: Desk, words: list[str], code: int, reason: str
) -> None:
    ran = sign(desk, desk.file("firmware", b"x" * 100), *words)
    assert (ran.code, ran.report["reason"]) == (code, reason)
    assert not (desk.folder / "signed.bin").exists()


def test_signing_an_image_again_is_refused_with_what_to_sign_instead(desk: Desk) -> None:
    ran = sign(desk, desk.image)
    assert (ran.code, ran.report["reason"]) == (3, "image-malformed")
    assert "linker" in ran.report["hint"]


def test_a_locked_key_needs_its_passphrase(desk: Desk, tmp_path: Path) -> None:
    payload = desk.file("firmware", b"x" * 100)
    ran = sign(desk, payload, key=desk.locked_key)
    assert (ran.code, ran.report["reason"]) == (3, "signer-locked")
    for text, code in ((b"secret\n", 0), (b"wrong\n", 3)):
        with desk.file("passphrase", text).open("rb") as file:
            ran = sign(desk, payload, "--passphrase-fd", str(file.fileno()), key=desk.locked_key)
        assert ran.code == code
    assert "secret" not in ran.out + ran.err


def test_a_folder_that_is_not_there_is_made_for_the_output(desk: Desk) -> None:
    payload = desk.file("firmware", b"x" * 100)
    assert sign(desk, payload, "-o", desk.folder / "new" / "signed.bin").code == 0


def test_real_firmware_is_inspected_and_its_hash_holds() -> None:
    files = sorted((smpclient_sdist() / "examples" / "duts").rglob("*.bin"))
    ran = svcport("image", "inspect", *files, "--json")
    assert len(ran.reports) == len(files) > 3
    problems = {json.dumps(one.get("problem")) for one in ran.reports if one["outcome"] == "ok"}
    assert all("image-signer" in one for one in problems)


def test_a_damaged_home_is_no_verdict_on_an_image(tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "credential").mkdir(parents=True)
    (home / "credential" / "technician.svc").write_bytes(b"a certificate")
    (tmp_path / "image.bin").write_bytes(b"an image")
    ran = svcport("image", "verify", tmp_path / "image.bin", "--home", home, "--json")
    assert (ran.code, ran.report["reason"]) == (3, "not-set-up")
