"""A malicious depot worker: a genuine station, its key, its ledger, and papers he makes himself."""

from __future__ import annotations

import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
from clirunner import svcport
from fieldkit import Field, copy_home, make_field
from security.kit import another_host, durable
from simulator.actkit import BAD, FIXED, GOOD, begin_refused, make_host, receipts
from simulator.hostdriver import Host, RefusedByLock, refused
from simulator.trainer import (
    DEPOT,
    ISSUER,
    REALM,
    STRANGER,
    TECHNICIAN,
    Key,
    Paper,
    digest,
    issuer_certificate,
    paper,
    technician_certificate,
)

from protocol.acts import Begin, Rollback
from protocol.objects import Entry, EntryKind, TicketMode, nonce_hash
from protocol.queries import Slots
from protocol.refusal import RefusalCode
from protocol.scope import ScopeItem, ScopeKind, serial_range
from protocol.sealed import Sealed
from protocol.statements import LockNonce
from protocol.values import ZERO_DIGEST, ActResult, Op, Role
from svcport.audit.crosscheck.check import cross_check
from svcport.audit.crosscheck.holes import HoleCode
from svcport.audit.proofs.publish import export_log
from svcport.audit.view import LedgerView
from svcport.errors import Outcome, Reason, RecordsError

# Papers of his own


def restore_refused(order: Paper, *, role: Role = Role.TECHNICIAN) -> RefusalCode:
    host = make_host()
    host.technician_cert = technician_certificate(role=role)
    host.login()
    return begin_refused(host, FIXED, Op.RESTORE, order)


def made_by(key: Key, issuer: bytes) -> Paper:
    return replace(paper(Op.RESTORE, digest(FIXED), by=key), issuer=issuer)


OTHER_MODEL = (ScopeItem(ScopeKind.MODEL, b"XX-9"),)
MADE = Op(0xFFFF)


@pytest.mark.parametrize(
    ("order", "code"),
    [
        (made_by(TECHNICIAN, technician_certificate(ops=MADE)), RefusalCode.TICKET_INVALID),
        (
            made_by(DEPOT, technician_certificate(role=Role.DEPOT, subject=DEPOT.subject)),
            RefusalCode.TICKET_INVALID,
        ),
        (made_by(DEPOT, issuer_certificate()), RefusalCode.TICKET_INVALID),
        (
            made_by(DEPOT, issuer_certificate(DEPOT, subject=DEPOT.subject)),
            RefusalCode.TICKET_INVALID,
        ),
        (made_by(ISSUER, issuer_certificate(ISSUER)), RefusalCode.TICKET_INVALID),
        (made_by(DEPOT, issuer_certificate(subject=DEPOT.subject)), RefusalCode.TICKET_INVALID),
        (made_by(ISSUER, issuer_certificate(ticket_class=0)), RefusalCode.TICKET_INVALID),
        (made_by(ISSUER, issuer_certificate(ticket_class=1)), RefusalCode.TICKET_INVALID),
        (made_by(ISSUER, issuer_certificate(ops=Op.INFO | Op.UPDATE)), RefusalCode.NOT_ALLOWED),
        (made_by(ISSUER, issuer_certificate(scope=OTHER_MODEL)), RefusalCode.OUT_OF_SCOPE),
        (
            made_by(ISSUER, issuer_certificate(scope=(serial_range("TR-000005", "TR-000009"),))),
            RefusalCode.OUT_OF_SCOPE,
        ),
    ],
    ids=[
        "technician signs it",
        "depot signs it",
        "another's certificate beside it",
        "own root",
        "issuer as root",
        "counter ticket by another issuer",
        "issuer without any ticket class",
        "issuer for nonce tickets",
        "issuer without the operation",
        "issuer of another model",
        "issuer of other locks",
    ],
)
def test_a_ticket_that_no_issuer_may_give_is_refused(order: Paper, code: RefusalCode) -> None:
    assert restore_refused(order) is code


def test_a_depots_nonce_ticket_is_good_for_one_visit_only() -> None:
    """What a depot may give is bound to what the lock said in that session."""
    host = make_host()
    host.login()
    nonce = host.call(LockNonce()).nonce
    issuer = issuer_certificate(subject=DEPOT.subject, ticket_class=1)
    order = replace(
        paper(
            Op.RESTORE,
            digest(FIXED),
            None,
            by=DEPOT,
            mode=TicketMode.NONCE,
            nonce_hash=nonce_hash(nonce),
        ),
        issuer=issuer,
    )
    host.send_image(FIXED, Op.RESTORE, order)
    host.begin(GOOD, Op.RESTORE, paper(Op.RESTORE, digest(GOOD)))
    assert begin_refused(host, FIXED, Op.RESTORE, order) is RefusalCode.TICKET_USED


def test_a_depot_cannot_restore_on_a_ticket_prepared_for_the_field() -> None:
    order = paper(Op.RESTORE, digest(FIXED))
    assert restore_refused(order, role=Role.DEPOT) is RefusalCode.TICKET_INVALID


def test_every_ticketed_act_names_its_ticket_in_the_locks_own_receipt() -> None:
    host = make_host()
    order = paper(Op.RESTORE, digest(FIXED))
    host.install(FIXED, Op.RESTORE, order)
    [receipt] = receipts(host)
    assert (receipt.ticket_id, receipt.op, receipt.result) == (
        order.id,
        Op.RESTORE,
        ActResult.DONE,
    )
    assert receipt.intent_key == TECHNICIAN.subject.key_id


# An operation without a record


def begin_with(host: Host, intent: bytes) -> RefusalCode:
    target = host.call(Slots()).target
    before = durable(host)
    request = Begin(intent, b"", b"", target, len(FIXED), ZERO_DIGEST, bytes(14))
    code = refused(host, request)
    assert durable(host) == before
    return code


def test_no_act_begins_without_an_intent() -> None:
    host = make_host()
    host.login()
    assert begin_with(host, b"") is RefusalCode.INTENT_INVALID
    order = paper(Op.ROLLBACK, digest(GOOD))
    code = refused(host, Rollback(b"", order.ticket, order.issuer))
    assert code is RefusalCode.INTENT_INVALID


def test_no_act_begins_on_an_intent_that_this_technician_did_not_sign() -> None:
    host = make_host()
    host.login()
    entry = Entry.read(Sealed.parse(host.intent(Op.UPDATE, digest(FIXED))))
    for signer in (STRANGER, ISSUER, DEPOT):
        foreign = entry.seal(REALM, signer).build()
        assert begin_with(host, foreign) is RefusalCode.INTENT_INVALID
    note = replace(entry, kind=EntryKind.NOTE).seal(REALM, TECHNICIAN).build()
    assert begin_with(host, note) is RefusalCode.INTENT_INVALID


def test_no_act_begins_on_the_intent_of_another_session() -> None:
    host = make_host()
    host.login()
    kept = host.intent(Op.UPDATE, digest(FIXED))
    again = another_host(host)
    again.login()
    assert begin_with(again, kept) is RefusalCode.INTENT_INVALID


def test_an_act_leaves_a_number_in_the_lock_whatever_the_host_writes_down() -> None:
    host = make_host()
    host.login()
    host.begin(FIXED)
    host.begin(BAD)  # the first act ends here, unrecorded by anybody
    seqs = [receipt.seq for receipt in receipts(host)]
    assert seqs == [1]
    assert host.login().head.seq == 1


# The log


@pytest.fixture
def field(tmp_path: Path) -> Field:
    """A station that has restored one lock; `before` is its home as it was, `export` its log."""
    field = make_field(tmp_path)
    field.identify()
    shutil.copytree(field.home.root, tmp_path / "before")
    assert field.restore().outcome is Outcome.OK
    return field


def change(field: Field, statement: str) -> None:
    link = sqlite3.connect(field.home.ledger / "ledger.sqlite", isolation_level=None)
    assert link.execute(statement).rowcount != 0
    link.close()


def audit_verify(field: Field, *words: str | Path) -> tuple[int, str]:
    ran = svcport("--home", field.home.root, "--json", "audit", "verify", *words)
    return ran.code, str(ran.report)


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM entries WHERE entry_index = (SELECT max(entry_index) FROM entries)",
        "DELETE FROM entries WHERE entry_index = 0",
        "UPDATE entries SET data = zeroblob(length(data)) WHERE entry_index = 0",
        "UPDATE entries SET data = (SELECT data FROM entries WHERE entry_index = 1)"
        " WHERE entry_index = 0",
        "DELETE FROM nodes",
        "UPDATE logs SET size = size - 1",
    ],
)
def test_a_deleted_or_rewritten_entry_is_found_and_the_station_stops(
    field: Field, statement: str
) -> None:
    change(field, statement)
    code, report = audit_verify(field)
    assert code in {1, 7}
    assert "entry" in report or "ledger" in report
    with pytest.raises(RecordsError) as caught:
        field.restore()
    assert caught.value.reason is Reason.LEDGER_DAMAGED


def export(folder: Path, out: Path) -> Path:
    with LedgerView.open_for_audit(folder) as view:
        export_log(view, out)
    return out


def roll_back(field: Field) -> None:
    """The worker puts yesterday's ledger back: every signature in it is genuine."""
    shutil.rmtree(field.home.ledger)
    shutil.copytree(field.home.root.parent / "before" / "ledger", field.home.ledger)


def test_a_ledger_put_back_to_yesterday_is_found_by_the_next_contact_with_the_lock(
    field: Field,
) -> None:
    roll_back(field)
    assert audit_verify(field)[0] == 0  # by itself it is sound
    found = field.reconcile().members()
    assert [(one["seq"], one["result"]) for one in found["recovered"]] == [(1, "done")]
    assert audit_verify(field)[0] == 0


def test_a_ledger_put_back_to_yesterday_is_found_by_whoever_kept_a_checkpoint(
    field: Field, tmp_path: Path
) -> None:
    kept = export(field.home.ledger, tmp_path / "kept") / "checkpoint"
    assert audit_verify(field, "--against", kept)[0] == 0
    roll_back(field)
    code, report = audit_verify(field, "--against", kept)
    assert code == 1
    assert "truncated-tail" in report


def test_a_history_that_went_on_differently_is_a_fork(field: Field, tmp_path: Path) -> None:
    kept = export(field.home.ledger, tmp_path / "kept") / "checkpoint"
    roll_back(field)
    field.reconcile()
    field.restore(version="2.3.1")
    field.restore(version="2.4.1")
    assert _entries(field) > _size(kept)
    code, report = audit_verify(field, "--against", kept)
    assert code == 1
    assert "fork" in report


def _entries(field: Field) -> int:
    with LedgerView.open_for_audit(field.home.ledger) as view:
        return view.size


def _size(checkpoint: Path) -> int:
    return int(checkpoint.read_text().splitlines()[1])


def test_a_hidden_station_is_found_by_the_locks_numbers(field: Field, tmp_path: Path) -> None:
    """The second act was done with a ledger that is never handed in."""
    hidden = copy_home(field.home, tmp_path / "hidden")
    shutil.rmtree(hidden.ledger)
    genuine, field.home = field.home, hidden
    field.restore(version="2.3.1")
    field.home = genuine
    field.restore()
    out = export(field.home.ledger, tmp_path / "out")
    holes = {hole.code for hole in cross_check([out]).holes}
    # what was done is known from the lock; who wanted it is not, and that is named
    assert HoleCode.HIDDEN_STATION in holes


def test_a_ledger_thrown_away_leaves_receipts_whose_intents_are_missed(
    field: Field, tmp_path: Path
) -> None:
    shutil.rmtree(field.home.ledger)
    field.reconcile()
    holes = {hole.code for hole in cross_check([export(field.home.ledger, tmp_path / "o")]).holes}
    assert holes == {HoleCode.HIDDEN_STATION}


def test_a_foreign_intent_is_not_executed_though_the_ledger_holds_it() -> None:
    host = make_host()
    host.login()
    host.technician = STRANGER
    with pytest.raises(RefusedByLock) as caught:
        host.begin(FIXED)
    assert caught.value.code is RefusalCode.INTENT_INVALID
