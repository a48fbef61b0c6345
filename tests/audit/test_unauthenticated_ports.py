from __future__ import annotations

from pathlib import Path

import pytest
from audit.world import DIGEST, MANUFACTURER, NOW, ROOT, issuer_certificate, key

from protocol.errors import SignatureError
from protocol.objects import Entry, EntryKind, TechnicianCertificate
from protocol.scope import ScopeItem, ScopeKind
from protocol.sealed import Realm, Sealed, Signer
from protocol.values import Op, Role
from svcport.audit.ledger import Ledger
from svcport.audit.verify import LedgerVerdict, verify_ledger
from svcport.audit.view import LedgerView

ASSURANCE = "unauthenticated-port"


def begin(ledger: Ledger, signer: Signer, technician_hash: bytes | None = None) -> Sealed:
    _index, intent = ledger.record_intent(
        signer=signer,
        technician_hash=technician_hash,
        op=Op.RESTORE,
        serial="A1234",
        now=NOW,
        image_digest=DIGEST,
        assurance=ASSURANCE,
    )
    return intent


def verdict(folder: Path) -> LedgerVerdict:
    with LedgerView.open_for_audit(folder) as view:
        return verify_ledger(view, manufacturer=MANUFACTURER.subject, roots=[ROOT.subject])


def bodies(ledger: Ledger) -> list[Entry]:
    return [Entry.read(Sealed.parse(stored.data)) for stored in ledger.entries()]


def test_a_station_without_a_vendor_records_acts_that_verify_and_say_what_they_lack(
    tmp_path: Path,
) -> None:
    with Ledger.open(tmp_path, Realm.PRODUCTION, create=True) as ledger:
        intent = begin(ledger, ledger.station)
        assert [one.serial for one in ledger.open_intents()] == ["A1234"]
        ledger.record_note(text="unknown: silence", now=NOW, intent=intent)
        ledger.record_result(intent=intent, receipt=None, now=NOW, note="runs", checkpoint=True)
        assert ledger.open_intents() == ()
        assert [(body.kind, body.assurance) for body in bodies(ledger)] == [
            (EntryKind.INTENT, ASSURANCE),
            (EntryKind.NOTE, ASSURANCE),
            (EntryKind.RESULT, ASSURANCE),
        ]
    assert verdict(tmp_path).problems == ()


def test_nobody_else_signs_for_the_station(tmp_path: Path) -> None:
    with (
        Ledger.open(tmp_path, Realm.PRODUCTION, create=True) as ledger,
        pytest.raises(SignatureError),
    ):
        begin(ledger, key("stranger"))


@pytest.mark.parametrize(("assurance", "problems"), [(ASSURANCE, 0), (None, 1)])
def test_no_certificate_allows_or_forbids_anything_at_a_port_that_asks_nobody(
    tmp_path: Path, assurance: str | None, problems: int
) -> None:
    owner = TechnicianCertificate(
        subject=key("owner").subject,
        role=Role.OWNER,
        ops=Op.INFO,
        scope=(ScopeItem(ScopeKind.SERIAL_RANGE, b"B1".ljust(16, b"\0") * 2),),
        epoch=1,
        not_before=0,
        not_after=1,
        serial=bytes(8),
    ).seal(Realm.TRAINING, key("issuer"))
    with Ledger.open(tmp_path, Realm.TRAINING, create=True) as ledger:
        ledger.remember_certificate(issuer_certificate())
        ledger.remember_certificate(owner)
        ledger.record_intent(
            signer=key("owner"),
            technician_hash=owner.digest,
            op=Op.RESTORE,
            serial="A1234",
            now=NOW,
            assurance=assurance,
        )
    found = verdict(tmp_path).problems
    assert bool(found) == bool(problems)
