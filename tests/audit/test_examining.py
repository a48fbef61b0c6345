from __future__ import annotations

import os
import signal
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
from audit.world import (
    DIGEST,
    ENTRIES,
    ISSUER,
    NOW,
    TECHNICIAN,
    fill,
    issuer_certificate,
    make_ledger,
    meet,
    sql,
)

from protocol.objects import IssuerCertificate, TechnicianCertificate
from protocol.scope import EVERYTHING, ScopeItem, ScopeKind, serial_range
from protocol.sealed import Realm, Sealed
from protocol.values import Op, Role
from svcport.audit import examining
from svcport.audit.ledger import Ledger
from svcport.audit.verify import LedgerVerdict, verify_ledger
from svcport.audit.view import LedgerView

NOW_S = int(NOW.timestamp())


def judged(folder: Path, workers: int) -> LedgerVerdict:
    with LedgerView.open_for_audit(folder) as view:
        return verify_ledger(view, workers=workers)


def test_workers_come_to_the_same_verdict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("verify", "rows"):
        monkeypatch.setattr(f"svcport.audit.{module}.BATCH", 2)
    fill(tmp_path)
    assert judged(tmp_path, 2) == judged(tmp_path, 0)
    sql(tmp_path, "UPDATE entries SET data = zeroblob(90) WHERE entry_index = 1")
    sql(tmp_path, "DELETE FROM entries WHERE entry_index IN (4, 5)")
    found = judged(tmp_path, 2)
    assert found == judged(tmp_path, 0)
    assert {1, 4} <= {problem.index for problem in found.problems}


def test_progress_ends_at_the_last_entry(filled: Path) -> None:
    told: list[tuple[int, int]] = []
    with LedgerView.open_for_audit(filled) as view:
        verify_ledger(view, progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (ENTRIES, ENTRIES)


def _die(_assignment: object, _rows: object) -> examining.Answer:
    os.kill(os.getpid(), signal.SIGTERM)
    return {}


def test_workers_that_die_cost_time_and_no_entry(
    filled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(examining, "_work", _die)
    verdict = judged(filled, 1)
    assert (verdict.problems, verdict.entries) == ((), ENTRIES)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no masks of signals")
def test_a_worker_is_deaf_to_ctrl_c_from_its_first_moment_and_its_maker_is_not() -> None:
    with examining.worker_pool(1) as pool:
        masked = pool.submit(signal.pthread_sigmask, signal.SIG_BLOCK, ()).result(timeout=30)
    assert signal.SIGINT in masked
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_a_long_ledger_is_dealt_out_and_a_short_one_is_not(
    filled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []

    def pool(workers: int) -> ProcessPoolExecutor:
        made.append(workers)
        return ProcessPoolExecutor(1)

    monkeypatch.setattr("svcport.audit.verify.cores", lambda: 3)
    monkeypatch.setattr(examining, "worker_pool", pool)
    with LedgerView.open_for_audit(filled) as view:
        verify_ledger(view)
        assert made == []
        monkeypatch.setattr("svcport.audit.verify.POOL_FROM", ENTRIES)
        monkeypatch.setattr(examining, "_work", examining._work)
        verify_ledger(view)
    assert made == [3]


def certificate(**changes: object) -> Sealed:
    fields = {
        "subject": TECHNICIAN.subject,
        "role": Role.TECHNICIAN,
        "ops": Op(0x3F),
        "scope": EVERYTHING,
        "epoch": 1,
        "not_before": NOW_S - 100,
        "not_after": NOW_S + 100,
        "serial": bytes(8),
    }
    return TechnicianCertificate(**(fields | changes)).seal(Realm.TRAINING, ISSUER)  # type: ignore[arg-type]


def intend(ledger: Ledger, technician: Sealed, **changes: object) -> None:
    lock = meet(ledger, "A1")
    ledger.remember_certificate(technician)
    values = {
        "signer": TECHNICIAN,
        "op": Op.UPDATE,
        "serial": lock.serial,
        "now": NOW,
        "technician_hash": technician.digest,
        "image_digest": DIGEST,
        "lock_head": lock.head,
        "case_id": "C-17",
    }
    ledger.record_intent(**(values | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"not_after": NOW_S - 1}, "technician's certificate expired 2026-11-22T23:29:59Z"),
        ({"not_after": 2**64 - 1, "not_before": NOW_S + 1}, "is good since 2026-11-22T23:30:01Z"),
        ({"ops": Op.INFO | Op.RESTORE}, "certificate does not allow update"),
        ({"scope": (serial_range("B1", "B9"),)}, "serial_range does not cover it"),
        ({"scope": (ScopeItem(ScopeKind.CASE, b"C-99"),)}, "case does not cover it"),
    ],
)
def test_an_intent_that_was_not_the_technicians_to_sign_is_named(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    with make_ledger(tmp_path) as ledger:
        intend(ledger, certificate(**changes))
        verdict = verify_ledger(ledger)
    assert [(one.index, str(one.code)) for one in verdict.problems] == [(0, "intent-unauthorised")]
    assert message in verdict.problems[0].message
    assert not verdict.is_damaged


def test_a_role_and_the_issuer_bound_an_intent_too(tmp_path: Path) -> None:
    with make_ledger(tmp_path) as ledger:
        intend(ledger, certificate(role=Role.OWNER), op=Op.OVERRIDE)
        intend(ledger, certificate(ops=Op(0xFF)), op=Op.ERASE)
        messages = [problem.message for problem in verify_ledger(ledger).problems]
    assert messages == [
        "the role owner does not allow override",
        "the role technician does not allow erase",
    ]
    with Ledger.open(tmp_path / "other", Realm.TRAINING, create=True) as ledger:
        old = IssuerCertificate(
            subject=ISSUER.subject,
            ops=Op.INFO,
            epoch=1,
            not_before=0,
            not_after=NOW_S - 1,
            ticket_class=0,
        )
        ledger.remember_certificate(old.seal(Realm.TRAINING, ISSUER))
        intend(ledger, certificate())
        found = [problem.message for problem in verify_ledger(ledger).problems]
        assert len(found) == 2
        assert all("issuer's certificate" in message for message in found)
        ledger.remember_certificate(issuer_certificate())  # renewed: one that allows is enough
    assert judged(tmp_path / "other", 0).problems == ()


def test_what_the_certificates_allow_is_no_problem(tmp_path: Path) -> None:
    scope = (serial_range("B1", "B9"), serial_range("A1", "A1"), ScopeItem(ScopeKind.CASE, b"C-17"))
    with make_ledger(tmp_path) as ledger:
        intend(ledger, certificate(scope=scope, not_before=NOW_S, not_after=NOW_S))
        assert verify_ledger(ledger).problems == ()
