from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from issuerkit import SERIAL, Vendor
from keykit import KINDS, PIN, SoftHsm, soft_hsm

from svcport.errors import Outcome


@pytest.fixture
def hsm(tmp_path: Path) -> Iterator[SoftHsm]:
    with soft_hsm(tmp_path / "hsm") as ready:
        yield ready


@contextmanager
def pin() -> Iterator[tuple[str, str]]:
    """`--pin-fd N`, of which one PIN can be read."""
    reading, writing = os.pipe()
    os.write(writing, PIN.encode() + b"\n")
    os.close(writing)
    try:
        yield "--pin-fd", str(reading)
    finally:
        os.close(reading)


def ticket_alone(vendor: Vendor, text: str = "") -> tuple[int, str]:
    """Code and reason of a ticket command in a process of its own: no login is left from before."""
    words = ["--lock", SERIAL, "--op", "override", "--holder", "11" * 8, "-o", "t.svc"]
    home = ["--home", str(vendor.root / "office"), "--json", "issuer", "ticket"]
    secret = ["--pin-fd", "0"] if text else []
    done = subprocess.run(
        [sys.executable, "-m", "svcport", *home, str(vendor.folder), *words, *secret],
        input=f"{text}\n",
        capture_output=True,
        text=True,
        cwd=vendor.root,
        timeout=60,
    )
    return done.returncode, json.loads(done.stdout)["reason"]


@pytest.mark.parametrize("kind", KINDS)
def test_an_issuer_whose_key_is_on_a_token_issues_what_a_lock_takes(
    hsm: SoftHsm, tmp_path: Path, kind: str
) -> None:
    hsm.token("depot", kind)
    reference = hsm.reference("depot", object=kind)
    vendor = Vendor(tmp_path)
    with pin() as fd:
        assert vendor.init("--issuer-key", reference, *fd).code == 0
    assert not (vendor.folder / "keys" / "issuer.key").exists()
    public = vendor.person()
    with pin() as fd:
        assert vendor.credential("--for", public, "--role", "technician", *fd).code == 0
    words = ("--op", "rollback", "--image", vendor.image("2.3.1"), "--holder", public)
    with pin() as fd:
        ran = vendor.ticket(*words, *fd)
    assert ran.code == 0, ran.out
    field = vendor.field("--key", public.with_suffix(""))
    assert field.rollback(tickets=(tmp_path / "t.svc",)).outcome is Outcome.OK


def test_a_wrong_pin_or_none_signs_nothing_and_takes_no_counter(
    hsm: SoftHsm, tmp_path: Path
) -> None:
    hsm.token("depot", "ed25519")
    vendor = Vendor(tmp_path)
    with pin() as fd:
        assert vendor.init("--issuer-key", hsm.reference("depot", object="ed25519"), *fd).code == 0
    entries = vendor.issuer("log").report["entries"]
    assert ticket_alone(vendor) == (3, "signer-locked")
    assert ticket_alone(vendor, "000000") == (3, "signer-locked")
    hsm.pull()
    assert ticket_alone(vendor, PIN) == (3, "signer-locked")
    assert vendor.issuer("log").report["entries"] == entries


def test_a_root_on_a_token_states_epochs_and_renews_issuers(hsm: SoftHsm, tmp_path: Path) -> None:
    hsm.token("root", "p256")
    vendor = Vendor(tmp_path)
    with pin() as fd:
        assert vendor.init("--root-key", hsm.reference("root", object="p256"), *fd).code == 0
    with pin() as fd:
        assert vendor.issuer("epoch", "--min-epoch", "2", *fd).report["number"] == 2
    with pin() as fd:
        assert vendor.issuer("credential", "--role", "issuer", *fd).report["epoch"] == 2
