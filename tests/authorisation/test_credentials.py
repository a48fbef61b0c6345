from __future__ import annotations

import hashlib
import os
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from authority_kit import (
    ISSUER,
    NOW,
    ROOT,
    T0,
    TECHNICIAN,
    TECHNICIAN_OPS,
    Maker,
    said,
    seed_key,
    statement,
)

from protocol.objects import EpochStatement
from protocol.scope import serial_range
from protocol.sealed import Realm, SubjectKey
from protocol.values import Op, Role
from svcport.authorisation.credentials import Certificates, Credential
from svcport.authorisation.keys import keyplace
from svcport.authorisation.keys.keyfile import KeyFileSigner, write_key_file
from svcport.errors import Reason, RefusedError
from svcport.home import Home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def test_a_credential_says_who_and_what(home: Home) -> None:
    credential = Maker().credential(home)
    assert (credential.holder, credential.role) == ("Ada Field", Role.TECHNICIAN)
    assert credential.valid_until == NOW + timedelta(days=1)
    assert credential.effective_ops == TECHNICIAN_OPS
    assert credential.standing(NOW, None) == ()
    assert credential.technician_bytes == Maker().technician_certificate().build()
    assert credential.issuer_bytes == Maker().issuer_certificate().build()


def test_a_nameless_holder_is_called_by_key_id(home: Home) -> None:
    assert Maker(name=None).credential(home).holder == TECHNICIAN.subject.key_id.hex()


def test_a_credential_ends_with_the_first_of_its_certificates(home: Home) -> None:
    assert Maker(issuer_not_after=T0 + 5).credential(home).valid_until == NOW + timedelta(seconds=5)


def test_a_certificate_without_end_does_not_overflow(home: Home) -> None:
    forever = (1 << 64) - 1
    credential = Maker(not_after=forever, issuer_not_after=forever).credential(home)
    assert credential.valid_until.year == 9999


OWN = (serial_range("SL2-000123", "SL2-000123"),)


@pytest.mark.parametrize(
    ("changes", "left"),
    [
        ({"ops": Op.INFO | Op.UPDATE}, Op.INFO | Op.UPDATE),
        ({"issuer_ops": Op.INFO | Op.ERASE}, Op.INFO),
        ({"role": Role.OWNER, "ops": Op.INFO | Op.UPDATE, "scope": OWN}, Op.INFO | Op.UPDATE),
    ],
)
def test_effective_operations_are_what_all_parties_allow(
    home: Home, changes: dict[str, Any], left: Op
) -> None:
    assert Maker().but(**changes).credential(home).effective_ops == left


def test_loading_a_training_credential_costs_two_verified_signatures_and_no_more(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    maker = Maker()
    maker.write(home)
    verified: list[SubjectKey] = []
    original = SubjectKey.verify

    def counting(self: SubjectKey, signature: bytes, message: bytes) -> None:
        verified.append(self)
        original(self, signature, message)

    def refuse(*_arguments: object) -> bytes:
        raise AssertionError("signed, or asked for a passphrase")

    monkeypatch.setattr(SubjectKey, "verify", counting)
    monkeypatch.setattr(KeyFileSigner, "sign", refuse)
    Credential.load(home, maker.trust, refuse)
    assert verified == [ROOT.subject, ISSUER.subject]


def test_certificates_are_read_without_the_passphrase(home: Home) -> None:
    maker = Maker()
    maker.write(home, b"secret")
    assert Certificates.load(home, maker.trust).holder == "Ada Field"
    with pytest.raises(RefusedError) as caught:
        Credential.load(home, maker.trust)
    assert caught.value.reason is Reason.SIGNER_LOCKED
    assert (
        Credential.load(home, maker.trust, lambda _name: b"secret").signer.subject
        == TECHNICIAN.subject
    )


@pytest.mark.parametrize("realm", Realm)
def test_auth_is_signed_over_domain_handshake_and_certificate(home: Home, realm: Realm) -> None:
    credential = Maker(realm=realm).credential(home)
    handshake = bytes(range(32))
    signature = credential.auth_signature(realm, handshake)
    domain = {
        Realm.PRODUCTION: b"svcport-auth-v1\0",
        Realm.TRAINING: b"svcport-training-auth-v1\0",
    }[realm]
    hashed = hashlib.sha256(credential.technician_bytes).digest()
    TECHNICIAN.subject.verify(signature, domain + handshake + hashed)


EXPIRED, REVOKED = Reason.CREDENTIAL_EXPIRED, Reason.REVOKED
SKEW = 300


@pytest.mark.parametrize(
    ("changes", "said_by_root", "reasons"),
    [
        ({"not_after": T0}, None, []),
        ({"not_after": T0 - 1}, None, [EXPIRED]),
        ({"issuer_not_after": T0 - 1}, None, [EXPIRED]),
        ({"not_before": T0 + SKEW}, None, []),
        ({"not_before": T0 + SKEW + 1}, None, [EXPIRED]),
        ({"issuer_not_before": T0 + SKEW + 1}, None, [EXPIRED]),
        ({}, statement(min_epoch=4), []),
        ({"epoch": 3}, statement(min_epoch=4), [REVOKED]),
        ({"issuer_epoch": 3}, statement(min_epoch=4), [REVOKED]),
        ({}, statement(revoked=(bytes(8),)), []),
        ({}, statement(revoked=(bytes(8), TECHNICIAN.subject.key_id)), [REVOKED]),
        ({}, statement(revoked=(ISSUER.subject.key_id,)), [REVOKED]),
        ({"not_after": T0 + 5}, statement(issued_at=T0 + 5), []),
        ({"not_after": T0 + 5}, statement(issued_at=T0 + 6), [EXPIRED]),
    ],
)
def test_standing_names_each_thing_that_is_wrong(
    home: Home, changes: dict[str, Any], said_by_root: Any, reasons: list[Reason]
) -> None:
    credential = Maker().but(**changes).credential(home)
    epoch: EpochStatement | None = None if said_by_root is None else said(said_by_root)
    assert [r.reason for r in credential.standing(NOW, epoch)] == reasons


def test_standing_names_all_that_is_wrong(home: Home) -> None:
    credential = Maker(not_after=T0 - 1, issuer_not_after=T0 - 1, epoch=1).credential(home)
    found = credential.standing(NOW, said(statement()))
    assert [r.reason for r in found] == [REVOKED, EXPIRED, EXPIRED]
    assert "2026-" in found[1].message


def test_a_naive_moment_is_a_wrong_call(home: Home) -> None:
    with pytest.raises(RuntimeError, match="time zone"):
        Maker().credential(home).standing(datetime(2026, 1, 1), None)  # noqa: DTZ001


def refused(home: Home, maker: Maker) -> RefusedError:
    with pytest.raises(RefusedError) as caught:
        Credential.load(home, maker.trust)
    return caught.value


@pytest.mark.parametrize("name", ["issuer.svc", "technician.svc", "technician.key"])
def test_a_missing_file_is_not_set_up(home: Home, name: str) -> None:
    Maker().write(home)
    (home.credential / name).unlink()
    error = refused(home, Maker())
    assert error.reason is Reason.NOT_SET_UP
    assert name in error.message


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("issuer.svc", b"", "damaged"),
        ("technician.svc", b"SVC1", "damaged"),
        ("issuer.svc", Maker().issuer_certificate(signer=ISSUER).build(), "issuer's certificate"),
        ("issuer.svc", Maker().technician_certificate(signer=ROOT).build(), "wanted ISSUER"),
        ("issuer.svc", Maker(realm=Realm.TRAINING).issuer_certificate().build(), "training"),
        ("technician.svc", Maker().technician_certificate(signer=ROOT).build(), "technician's"),
        ("technician.svc", Maker().ticket().sealed.build(), "wanted TECHNICIAN"),
        (
            "technician.svc",
            Maker(realm=Realm.TRAINING).technician_certificate().build(),
            "training",
        ),
        ("technician.svc", Maker().technician_certificate(subject=ROOT.subject).build(), "names"),
    ],
)
def test_a_chain_that_does_not_hold_is_not_set_up(
    home: Home, name: str, content: bytes, words: str
) -> None:
    Maker().write(home)
    (home.credential / name).write_bytes(content)
    error = refused(home, Maker())
    assert error.reason is Reason.NOT_SET_UP
    assert words in error.message


def test_a_key_that_is_not_the_certificates_is_not_set_up(home: Home) -> None:
    Maker().write(home)
    write_key_file(home.credential / "technician.key", seed_key(99))
    assert refused(home, Maker()).reason is Reason.NOT_SET_UP


def test_what_unlocks_must_be_what_was_shown(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    Maker().write(home)
    monkeypatch.setattr(keyplace, "open_signer", lambda *_: ISSUER)
    assert "the certificate names" in refused(home, Maker()).message


@pytest.mark.skipif(os.name != "posix", reason="only POSIX has modes")
def test_a_key_that_others_may_read_is_signer_locked(home: Home) -> None:
    Maker().write(home)
    (home.credential / "technician.key").chmod(0o644)
    assert refused(home, Maker()).reason is Reason.SIGNER_LOCKED
