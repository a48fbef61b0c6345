from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fieldkit import Field, make_field
from peoplekit import BEGINS, ENDS, Office, Person

from images import verify
from protocol.refusal import Refusal, RefusalCode
from protocol.scope import serial_range
from protocol.sealed import Sealed
from protocol.values import Op, Role
from svcport.authorisation.credentials import store_credential
from svcport.authorisation.keys.keyfile import KeyFileSigner, key_file_bytes
from svcport.authorisation.trust import Trust
from svcport.catalogue.client import Catalogue
from svcport.errors import (
    Outcome,
    Reason,
    RecordsError,
    RefusedError,
    SvcportError,
    UnknownOutcomeError,
)
from svcport.locks.errors import LockRefusedError
from svcport.locks.service_port import ServicePortLock
from svcport.operations.report import Report


@pytest.fixture
def field(tmp_path: Path) -> Field:
    return make_field(tmp_path)


@pytest.fixture
def office(field: Field) -> Office:
    return Office(field.lab)


@pytest.fixture
def depot(field: Field, office: Office, tmp_path: Path) -> Person:
    return office.enrol(field, tmp_path / "depot", Role.DEPOT)


@pytest.fixture
def owner(field: Field, office: Office, tmp_path: Path) -> Person:
    return office.enrol(field, tmp_path / "owner", Role.OWNER)


def digest_of(field: Field, version: str) -> bytes:
    with field.installation() as inst:
        return verify(field.image(version).read_bytes(), inst.image_trust).digest


def keep_epoch(field: Field, statement: Sealed) -> None:
    dataclasses.replace(Trust.load(field.home), epoch=statement).write(field.home)


def refused(call: Callable[[], Report]) -> RefusedError:
    with pytest.raises(RefusedError) as caught:
        call()
    return caught.value


def state(field: Field) -> object:
    return field.board.core.state


def unchanged(before: object, field: Field) -> bool:
    """Nothing but what any session leaves: time, collected receipts."""
    was, now = before, field.board.core.state
    same = ("boot", "act", "tickets", "nonce", "security_counter", "head")
    return all(getattr(was, name) == getattr(now, name) for name in same)


# EPOCH


def test_every_visit_brings_the_lock_the_newest_epoch_this_home_knows(
    field: Field, office: Office
) -> None:
    assert state(field).epoch.number == 0  # type: ignore[attr-defined]
    field.identify()
    assert state(field).epoch.number == 1  # type: ignore[attr-defined]
    keep_epoch(field, office.epoch(5))
    field.logs()
    assert state(field).epoch.number == 5  # type: ignore[attr-defined]


def test_a_lock_that_has_the_epoch_is_not_sent_it_again(field: Field) -> None:
    def asked() -> int:
        before = len(field.cable.written)
        field.logs()
        return len(field.cable.written) - before

    first, second, third = asked(), asked(), asked()
    assert first > second == third


def test_the_catalogues_newer_epoch_is_kept_in_the_home_and_brought(
    field: Field, office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer = office.epoch(7).build()
    monkeypatch.setattr(Catalogue, "epoch", lambda _catalogue: newer)
    field.identify()
    assert state(field).epoch.number == 7  # type: ignore[attr-defined]
    kept = Trust.load(field.home).epoch
    assert kept is not None
    assert kept.build() == newer
    monkeypatch.setattr(Catalogue, "epoch", lambda _catalogue: b"nonsense")
    assert field.identify().outcome is Outcome.OK


def test_a_session_that_its_own_epoch_revokes_ends_and_says_so(
    field: Field, office: Office, tmp_path: Path
) -> None:
    thief = office.enrol(field, tmp_path / "stolen", Role.TECHNICIAN)
    keep_epoch(thief.field, office.epoch(3, revoked=[thief.key.subject.key_id]))
    before = state(field)
    error = refused(thief.field.restore)
    assert error.reason is Reason.REVOKED
    assert "EPOCH statement 3" in error.message
    assert unchanged(before, field)
    with pytest.raises(SvcportError) as again:
        thief.field.identify()
    assert (again.value.reason, again.value.outcome) == (Reason.REVOKED, Outcome.REFUSED)
    assert field.restore().outcome is Outcome.OK


def test_an_honest_technician_carries_the_revocation_that_stops_a_stolen_laptop(
    field: Field, office: Office, tmp_path: Path
) -> None:
    thief = office.enrol(field, tmp_path / "stolen", Role.TECHNICIAN)
    assert thief.field.identify().outcome is Outcome.OK
    keep_epoch(field, office.epoch(3, revoked=[thief.key.subject.key_id]))
    field.identify()
    with pytest.raises(LockRefusedError) as caught:
        thief.field.restore()
    assert caught.value.reason is Reason.REVOKED
    assert "refuses to open a session" in caught.value.message


def test_an_epoch_that_the_lock_does_not_take_is_a_warning(
    field: Field, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_lock: ServicePortLock, _statement: bytes) -> None:
        raise LockRefusedError(Refusal(RefusalCode.STATEMENT_INVALID), "take the EPOCH")

    monkeypatch.setattr(ServicePortLock, "put_epoch", refuse)
    report = field.restore()
    assert report.outcome is Outcome.OK
    [warning] = report.members()["warnings"]
    assert warning["reason"] == "lock-refused"
    assert "statement-invalid" in warning["message"]


# Time


def test_a_clock_that_stands_before_the_newest_entry_changes_nothing(field: Field) -> None:
    field.restore()
    before = state(field)
    field.now -= timedelta(hours=1)
    for call in (field.identify, field.restore, field.reconcile):
        error = refused(call)
        assert error.reason is Reason.CREDENTIAL_EXPIRED
        assert "clock went back" in error.message
        assert "newest entry" in error.message
    assert unchanged(before, field)


def test_a_lock_is_asked_while_records_are_opened_and_changed_only_if_they_hold(
    field: Field, office: Office
) -> None:
    field.identify()  # makes the records
    keep_epoch(field, office.epoch(3))
    written = len(field.cable.written)
    (field.home.ledger / "ledger.sqlite").write_bytes(b"not a database" * 999)
    before = state(field)
    with pytest.raises(RecordsError):
        field.restore()
    assert not field.named_nobody(written)
    assert state(field).epoch == before.epoch  # type: ignore[attr-defined]
    assert unchanged(before, field)


def test_a_clock_that_stands_before_the_newest_epoch_starts_nothing(
    field: Field, office: Office
) -> None:
    field.now -= timedelta(days=1, minutes=10)
    error = refused(field.identify)
    assert "EPOCH" in error.message
    assert error.reason is Reason.CREDENTIAL_EXPIRED
    assert field.named_nobody()


def test_a_minute_of_another_computers_clock_is_borne(field: Field) -> None:
    field.restore()
    field.now -= timedelta(minutes=4)
    assert field.identify().outcome is Outcome.OK


@pytest.mark.parametrize(
    ("dates", "words"),
    [
        ({"not_before": BEGINS + 10 * 86_400, "not_after": ENDS + 10 * 86_400}, "begins at"),
        ({"not_after": BEGINS + 60}, "ended at"),
    ],
)
def test_a_certificate_of_the_future_or_the_past_starts_nothing(
    field: Field, office: Office, tmp_path: Path, dates: dict[str, int], words: str
) -> None:
    late = office.enrol(field, tmp_path / "late", Role.TECHNICIAN, **dates)
    error = refused(late.field.identify)
    assert error.reason is Reason.CREDENTIAL_EXPIRED
    assert words in error.message
    assert "technician's certificate" in error.message
    assert field.named_nobody()


# Nonce tickets, and depots


def test_a_depot_restores_any_version_with_a_ticket_for_the_locks_nonce(
    field: Field, depot: Person
) -> None:
    good = digest_of(field, "2.3.1")
    nonce = bytes.fromhex(depot.field.identify().members()["nonce"])
    depot.give(Op.RESTORE, good, nonce=nonce)
    assert depot.field.restore(version="2.3.1").outcome is Outcome.OK
    assert depot.field.identify().members()["nonce"] != nonce.hex()
    assert depot.field.verify().outcome is Outcome.OK


def test_a_nonce_ticket_is_used_up_and_named_so(field: Field, depot: Person) -> None:
    nonce = bytes.fromhex(depot.field.identify().members()["nonce"])
    for version in ("2.3.1", "2.5.0"):
        depot.give(Op.RESTORE, digest_of(field, version), nonce=nonce)
    depot.field.restore(version="2.3.1")
    before = state(field)
    error = refused(lambda: depot.field.restore(image=field.image("2.5.0")))
    assert error.reason is Reason.PERMIT_USED
    assert unchanged(before, field)


def test_a_nonce_ticket_continues_the_act_that_it_opened(field: Field, depot: Person) -> None:
    nonce = bytes.fromhex(depot.field.identify().members()["nonce"])
    depot.give(Op.RESTORE, digest_of(field, "2.5.0"), nonce=nonce)
    depot.field.pull_while_sending()
    with pytest.raises(SvcportError):
        depot.field.restore(image=field.image("2.5.0"))
    assert state(field).nonce != nonce  # type: ignore[attr-defined]
    field.cable.cut_after = None
    assert depot.field.restore(image=field.image("2.5.0")).outcome is Outcome.OK


def test_a_depot_with_a_counter_ticket_for_a_restore_is_told_why_not(
    field: Field, depot: Person
) -> None:
    depot.give(Op.RESTORE, digest_of(field, "2.3.1"))
    before = state(field)
    error = refused(lambda: depot.field.restore(version="2.3.1"))
    assert error.reason is Reason.NO_PERMIT
    assert "nonce" in error.message
    assert unchanged(before, field)


def test_a_depot_updates_freely_and_rolls_back_with_a_counter_ticket(
    field: Field, depot: Person
) -> None:
    depot.give(Op.ROLLBACK, digest_of(field, "2.3.1"))
    assert depot.field.rollback().outcome is Outcome.OK
    assert depot.field.restore().outcome is Outcome.OK


# Owners


def test_an_owner_verifies_reads_the_log_and_restores_what_the_catalogue_approves(
    field: Field, owner: Person
) -> None:
    assert owner.field.identify().outcome is Outcome.OK
    assert owner.field.logs().members()["events"]
    assert owner.field.verify().outcome is Outcome.DIFFERS
    assert owner.field.diagnose().outcome is Outcome.OK
    owner.give(Op.UPDATE, digest_of(field, "2.4.1"))
    report = owner.field.restore()
    assert report.outcome is Outcome.OK
    assert report.members()["after"]["version"] == "2.4.1+0"
    assert owner.field.verify().outcome is Outcome.OK
    assert owner.field.restore().outcome is Outcome.NOTHING_TO_DO


def test_an_owner_brings_a_dead_lock_back(tmp_path: Path) -> None:
    dead = make_field(tmp_path, "dead")
    owner = Office(dead.lab).enrol(dead, tmp_path / "owner", Role.OWNER)
    owner.give(Op.UPDATE, digest_of(dead, "2.4.1"))
    assert owner.field.restore().outcome is Outcome.OK


def test_an_owner_without_a_self_service_ticket_is_told_whom_to_ask(
    field: Field, owner: Person
) -> None:
    before = state(field)
    error = refused(owner.field.restore)
    assert error.reason is Reason.NO_PERMIT
    assert "no ticket for update" in error.message
    assert "ask the issuer" in error.hint
    assert unchanged(before, field)


@pytest.mark.parametrize(
    "what",
    [
        lambda field: field.rollback(),
        lambda field: field.restore(version="2.3.1"),
        lambda field: field.restore(image=field.image("2.5.0")),
        lambda field: field.restore(image=field.image("2.3.1")),
    ],
)
def test_an_owner_may_nothing_else_whatever_tickets_there_are(
    field: Field, owner: Person, what: Callable[[Field], Report]
) -> None:
    for version in ("2.3.1", "2.4.1", "2.5.0"):
        for op in (Op.UPDATE, Op.ROLLBACK, Op.RESTORE):
            owner.give(op, digest_of(field, version))
    before = state(field)
    error = refused(lambda: what(owner.field))
    assert error.reason is Reason.NO_PERMIT
    assert "role owner does not allow" in error.message
    assert "svcport restore" in error.hint
    assert unchanged(before, field)


def test_an_owners_ticket_for_another_lock_is_named(field: Field, owner: Person) -> None:
    owner.give(Op.UPDATE, digest_of(field, "2.4.1"), serial="TR-999999")
    [path] = owner.field.home.tickets.glob("*.svc")
    error = refused(lambda: owner.field.restore(tickets=(path,)))
    assert error.reason is Reason.PERMIT_LOCK


def test_an_owner_at_another_lock_is_refused_before_being_named_to_it(
    field: Field, office: Office, owner: Person
) -> None:
    key = KeyFileSigner.of(owner_key := Ed25519PrivateKey.generate())
    scope = (serial_range("TR-999999", "TR-999999"),)
    store_credential(
        owner.field.home,
        office.vendor.issuer_certificate(),
        office.certificate(key, Role.OWNER, scope),
        key_file_bytes(owner_key),
    )
    error = refused(owner.field.identify)
    assert error.reason is Reason.NO_PERMIT
    assert "TR-999999" in error.message
    assert "TR-100001" in error.message
    assert field.board.core.state.auth_failures == 0


def test_an_owner_cannot_confirm_a_technicians_restore(
    field: Field, owner: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    field.rollback()

    def cut(_lock: ServicePortLock) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(ServicePortLock, "self_test", cut)
        patched.setattr("svcport.operations.plan._restore_op", lambda *_: Op.RESTORE)
        with pytest.raises(UnknownOutcomeError):
            field.restore()
    owner.give(Op.UPDATE, digest_of(field, "2.4.1"))
    error = refused(owner.field.restore)
    assert error.reason is Reason.NO_PERMIT
    assert "on trial" in error.message
    assert field.restore(version="2.4.1").outcome is Outcome.OK


def test_a_lock_that_makes_everybody_wait_is_waited_for(
    field: Field, office: Office, tmp_path: Path
) -> None:
    thief = office.enrol(field, tmp_path / "stolen", Role.TECHNICIAN)
    keep_epoch(field, office.epoch(3, revoked=[thief.key.subject.key_id]))
    field.identify()
    for _ in range(3):
        with pytest.raises(LockRefusedError):
            thief.field.identify()
    began = field.cable.clock.now()
    assert field.identify().outcome is Outcome.OK
    assert 1 <= field.cable.clock.now() - began <= 10
