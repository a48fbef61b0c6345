from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from clirunner import svcport
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
)
from keykit import KINDS, PIN, SoftHsm, bundle_without_key, secret, soft_hsm
from lab.kit import running

from svcport.authorisation.keys.imagekeys import open_image_key
from svcport.authorisation.keys.references import TokenKey, parse_reference
from svcport.authorisation.keys.signers import open_signer
from svcport.cli import options
from svcport.cli.options import secret_source
from svcport.errors import Reason, RefusedError
from svcport.lab.folder import LabFolder

SEED = "key options"


@pytest.fixture
def hsm(tmp_path: Path) -> Iterator[SoftHsm]:
    with soft_hsm(tmp_path / "hsm") as ready:
        ready.token("bench", *KINDS)
        yield ready


@pytest.fixture
def pin_file(tmp_path: Path) -> Path:
    path = tmp_path / "pin"
    path.write_text(f"{PIN}\n")
    return path


@pytest.fixture(autouse=True)
def nobody_keeps_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    keep(monkeypatch, {})


def keep(monkeypatch: pytest.MonkeyPatch, kept: dict[str, str]) -> None:
    """A desktop's keyring with this content."""
    keyring = pytest.importorskip("keyring")

    def get_password(service: str, name: str) -> str | None:
        assert service == "svcport"
        return kept.get(name)

    monkeypatch.setattr(keyring, "get_password", get_password)


def given(path: Path, text: str) -> int:
    path.write_text(text)
    return os.open(path, os.O_RDONLY)


def test_pins_and_passphrases_come_from_their_own_descriptors(tmp_path: Path) -> None:
    pins, passphrases = given(tmp_path / "a", "1111\n2222\n"), given(tmp_path / "b", "open\n")
    try:
        ask = secret_source(passphrases, pins)
        assert ask is not None
        assert ask("PIN of token one") == b"1111"
        assert ask("passphrase of a.key") == b"open"
        assert ask("passphrase of b.key") == b"open"
        assert ask("PIN of token two") == b"2222"
        assert ask("PIN of token one") == b"1111"
        with pytest.raises(RefusedError, match="--pin-fd") as caught:
            ask("PIN of token three")
        assert caught.value.reason is Reason.SIGNER_LOCKED
    finally:
        os.close(pins)
        os.close(passphrases)


def test_a_keyring_is_asked_by_the_name_of_the_secret(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    keep(monkeypatch, {"PIN of token one": "1111"})
    ask = secret_source(None, None)
    assert ask is not None
    assert ask("PIN of token one") == b"1111"
    with pytest.raises(RefusedError, match="none was given"):
        ask("passphrase of a.key")
    descriptor = given(tmp_path / "a", "3333\n")
    try:
        ask = secret_source(None, descriptor)
        assert ask is not None
        assert ask("PIN of token one") == b"3333", "what is given outranks what is kept"
    finally:
        os.close(descriptor)


def test_a_keyring_that_fails_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    keyring = pytest.importorskip("keyring")

    def fail(_service: str, _name: str) -> str:
        raise keyring.errors.NoKeyringError

    monkeypatch.setattr(keyring, "get_password", fail)
    ask = secret_source(None, None)
    assert ask is not None
    with pytest.raises(RefusedError, match="none was given"):
        ask("PIN of token one")


def test_without_terminal_descriptor_and_keyring_nobody_is_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(options.importlib.util, "find_spec", lambda _name: None)
    assert secret_source(None, None) is None


def public_pem(reference: str) -> bytes:
    where = parse_reference(reference)
    assert isinstance(where, TokenKey)
    key = load_der_public_key(open_image_key(where, secret).public.der)
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_signed_on_a_token_is_accepted_by_us_and_by_imgtool(
    tmp_path: Path, hsm: SoftHsm, pin_file: Path, kind: str
) -> None:
    key, output, public = hsm.reference("bench", object=kind), tmp_path / "o", tmp_path / "k.pem"
    (tmp_path / "payload").write_bytes(bytes(range(256)) * 20)
    with pin_file.open("rb") as pin:
        ran = svcport(
            "image", "sign", tmp_path / "payload", "-o", output, "--key", key, "--version",
            "2.4.1", "--security-counter", "3", "--pin-fd", str(pin.fileno()), "--json",
        )  # fmt: skip
    assert ran.code == 0, ran.err
    public.write_bytes(public_pem(key))
    verified = svcport("image", "verify", output, "--key", public, "--json")
    assert (verified.code, verified.report["security_counter"]) == (0, 3)
    imgtool = Path(sys.executable).with_name("imgtool")
    done = subprocess.run([imgtool, "verify", "-k", public, output], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Image version: 2.4.1" in done.stdout


def test_an_image_is_not_signed_with_a_wrong_pin_or_by_an_agent(
    tmp_path: Path, hsm: SoftHsm, pin_file: Path
) -> None:
    (tmp_path / "payload").write_bytes(bytes(5000))
    pin_file.write_text("0000\n")
    common = ("image", "sign", tmp_path / "payload", "-o", tmp_path / "o", "--version", "1.0.0")
    with pin_file.open("rb") as pin:
        key = hsm.reference("bench", object="p256")
        ran = svcport(*common, "--key", key, "--pin-fd", str(pin.fileno()), "--json")
    assert (ran.code, ran.report["reason"]) == (3, "signer-locked")
    assert ran.report["pin_tries_left"] is None
    assert "0000" not in ran.out + ran.err
    ran = svcport(*common, "--key", "ssh-agent:ada", "--json")
    assert (ran.code, ran.report["reason"]) == (2, "usage")
    assert not (tmp_path / "o").exists()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    """The port of the one lock of a lab."""
    assert svcport("lab", "init", tmp_path / "L", "--seed", SEED).code == 0
    with running(tmp_path / "L") as ports:
        [port] = ports.values()
        yield port


@pytest.mark.timeout(180)
@pytest.mark.skipif(os.name != "posix", reason="only POSIX hands descriptors on")
def test_a_visit_by_commands_with_the_key_on_a_token(
    tmp_path: Path, hsm: SoftHsm, served: str, pin_file: Path
) -> None:
    key = hsm.reference("bench", object="p256")
    lab, subject = LabFolder(tmp_path / "L"), open_signer(key, secret).subject
    bundle = bundle_without_key(lab, SEED, datetime.now(UTC), tmp_path / "bundle", subject)

    def run(*words: str, pin: Path | None = pin_file) -> tuple[int, dict[str, Any]]:
        command = [sys.executable, "-m", "svcport", "--home", str(tmp_path / "home"), *words]
        if pin is None:
            done = subprocess.run(
                [*command, "--json"], capture_output=True, stdin=subprocess.DEVNULL
            )
        else:
            with pin.open("rb") as file:
                number = file.fileno()
                done = subprocess.run(
                    [*command, "--pin-fd", str(number), "--json"],
                    capture_output=True,
                    pass_fds=[number],
                    stdin=subprocess.DEVNULL,
                )
        assert PIN.encode() not in done.stdout + done.stderr
        return done.returncode, json.loads(done.stdout)

    def signer(pin: Path | None) -> str:
        code, report = run("doctor", pin=pin)
        [check] = [check for check in report["checks"] if check["name"] == "signer"]
        assert code == 0
        return f"{check['result']}: {check['detail']}"

    wrong = tmp_path / "wrong"
    wrong.write_text("0000\n")
    assert run("setup", "--from", str(bundle), "--key", key)[0] == 0
    assert signer(pin_file) == f"pass: key {subject.key_id.hex()} signs"
    assert signer(wrong).startswith("fail: signer-locked: the PIN of token bench is wrong")
    assert signer(None).startswith("fail: signer-locked: ")
    code, report = run("restore", "--port", served, pin=wrong)
    assert (code, report["reason"]) == (3, "signer-locked")
    assert "PIN of token bench is wrong" in report["message"]
    code, report = run("restore", "--port", served)
    assert (code, report["after"]["version"]) == (0, "2.4.1+0")
    code, report = run("audit", "verify", pin=None)
    assert (code, report["outcome"]) == (0, "ok")
    hsm.pull()
    code, report = run("identify", "--port", served)
    assert (code, report["reason"]) == (3, "signer-locked")
    assert signer(pin_file).startswith("fail: signer-locked: ")
