from __future__ import annotations

from pathlib import Path

import pytest
from fieldkit import Field, make_field
from peoplekit import BEGINS, ENDS, Office

from protocol.refusal import Refusal, RefusalCode
from protocol.values import Role
from svcport.authorisation.tickets import ticket_file
from svcport.errors import Outcome, Reason, RefusedError
from svcport.locks.errors import LockRefusedError
from svcport.locks.service_port import ServicePortLock
from svcport.operations.progress import Silent
from svcport.operations.visit import visit
from svcport.operations.workplace import Target


@pytest.fixture
def field(tmp_path: Path) -> Field:
    return make_field(tmp_path)


@pytest.fixture
def office(field: Field) -> Office:
    return Office(field.lab)


def test_a_time_statement_raises_the_locks_floor(field: Field, office: Office) -> None:
    with field.installation() as inst, visit(inst, Target("P0"), Silent()) as stay:
        before = stay.snapshot.time_floor
        statement = office.time(stay.lock.nonce(), before + 5000).build()
        issuer = office.vendor.issuer_certificate().build()
        assert stay.lock.put_time(statement, issuer).time_floor == before + 5000
        assert stay.look().time_floor == before + 5000
        with pytest.raises(LockRefusedError) as caught:
            stay.lock.put_time(statement, issuer)
        assert caught.value.refusal.code is RefusalCode.STATEMENT_OLD


def test_a_session_whose_credential_ended_by_the_time_it_brings_ends_and_says_so(
    field: Field, office: Office, tmp_path: Path
) -> None:
    ada = office.enrol(field, tmp_path / "ada", Role.TECHNICIAN).field
    nonce = bytes.fromhex(ada.identify().members()["nonce"])
    statement = office.time(nonce, ENDS + 10)
    path = tmp_path / "time.svc"
    path.write_bytes(ticket_file(statement, office.vendor.issuer_certificate()))
    with pytest.raises(RefusedError) as ended:
        ada.identify(tickets=(path,))
    assert ended.value.reason is Reason.CREDENTIAL_EXPIRED
    assert "the lock ended the session" in ended.value.message
    with pytest.raises(LockRefusedError) as caught:
        ada.identify()
    assert caught.value.reason is Reason.CREDENTIAL_EXPIRED


def test_a_time_that_the_lock_does_not_take_is_a_warning(
    field: Field, office: Office, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_lock: ServicePortLock, _statement: bytes, _issuer: bytes) -> None:
        raise LockRefusedError(Refusal(RefusalCode.STATEMENT_INVALID), "take the time")

    nonce = bytes.fromhex(field.identify().members()["nonce"])
    stored = field.home.tickets / "time.svc"
    stored.write_bytes(
        ticket_file(office.time(nonce, BEGINS + 60), office.vendor.issuer_certificate())
    )
    monkeypatch.setattr(ServicePortLock, "put_time", refuse)
    report = field.identify()
    assert report.outcome is Outcome.OK
    [warning] = report.members()["warnings"]
    assert warning["reason"] == "lock-refused"
    assert "statement-invalid" in warning["message"]
    assert stored.exists()
