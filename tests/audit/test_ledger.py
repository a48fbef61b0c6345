from __future__ import annotations

import dataclasses
import stat
import sys
import threading
from datetime import datetime
from pathlib import Path

import pytest
from audit.world import (
    DIGEST,
    NOW,
    TECHNICIAN,
    FakeLock,
    act,
    intend,
    issuer_certificate,
    key,
    make_ledger,
    meet,
    technician_certificate,
)

from protocol.errors import MalformedObjectError, SignatureError
from protocol.objects import Entry, EntryKind, TimeStatement
from protocol.sealed import Realm, Sealed
from protocol.values import Head, Op
from svcport.audit.checkpoint import Checkpoint
from svcport.audit.ledger import Ledger
from svcport.audit.merkle import leaf_hash
from svcport.audit.view import LedgerView
from svcport.errors import FailedError, Reason, RefusedError


def test_an_act_is_recorded_as_intent_and_result_and_then_closed(ledger_folder: Path) -> None:
    with make_ledger(ledger_folder) as ledger:
        lock = meet(ledger, "A1")
        intent = intend(ledger, lock)
        (pending,) = ledger.open_intents("A1")
        assert (pending.index, pending.intent_hash, pending.serial) == (0, intent.digest, "A1")
        assert (pending.op, pending.image_digest) == (Op.RESTORE, DIGEST)
        assert (pending.session, pending.lock_head) == (bytes(32), Head(0, lock.chain))
        assert pending.sealed == intent.build()
        receipt = lock.receipt(intent.digest)
        index, result = ledger.record_result(intent=intent, receipt=receipt, now=NOW)
        assert (index, ledger.size, ledger.open_intents()) == (1, 2, ())
        body = Entry.read(result)
        assert (body.kind, body.receipt, body.intent_hash) == (
            EntryKind.RESULT,
            receipt,
            intent.digest,
        )
        assert (body.case_id, body.host_time) == ("C-17", int(NOW.timestamp()))
        assert ledger.receipts("A1") == {1: receipt}
        assert ledger.head("A1") == lock.head


def test_a_ledger_keeps_its_name_and_its_entries_over_a_restart(ledger_folder: Path) -> None:
    with make_ledger(ledger_folder) as ledger:
        act(ledger, meet(ledger, "A1"))
        before = (ledger.origin, ledger.vkey, list(ledger.entries()), ledger.last_checkpoint())
    with Ledger.open(ledger_folder, Realm.TRAINING, create=False) as ledger:
        assert before == (
            ledger.origin,
            ledger.vkey,
            list(ledger.entries()),
            ledger.last_checkpoint(),
        )
        key_id = ledger.station.subject.key_id.hex()
        assert ledger.origin == f"training.svcport.station/{key_id}"
        assert ledger.vkey.startswith(ledger.origin + "+")
        assert [entry.index for entry in ledger.entries(1)] == [1]
        assert all(leaf_hash(entry.data) == entry.leaf_hash for entry in ledger.entries())


def test_a_production_ledger_has_no_training_in_its_name(ledger_folder: Path) -> None:
    with make_ledger(ledger_folder, Realm.PRODUCTION) as ledger:
        assert ledger.origin.startswith("svcport.station/")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no mode bits")
def test_the_station_key_is_its_owners_only(ledger_folder: Path) -> None:
    make_ledger(ledger_folder).close()
    assert stat.S_IMODE((ledger_folder / "station.pem").stat().st_mode) == 0o600
    assert not (ledger_folder / "station.pem.new").exists()


def test_a_folder_without_a_ledger_is_not_set_up(tmp_path: Path) -> None:
    for opening in (
        lambda: Ledger.open(tmp_path, Realm.TRAINING, create=False),
        lambda: LedgerView.open_for_audit(tmp_path),
    ):
        with pytest.raises(RefusedError) as caught:
            opening()
        assert caught.value.reason is Reason.NOT_SET_UP
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("realm", list(Realm))
def test_training_and_real_work_never_share_a_ledger(ledger_folder: Path, realm: Realm) -> None:
    other = Realm.PRODUCTION if realm is Realm.TRAINING else Realm.TRAINING
    with make_ledger(ledger_folder, realm) as ledger:
        stranger = FakeLock("A1", other)
        note = Entry(origin=ledger.origin, kind=EntryKind.NOTE, host_time=1, note="x")
        for attempt in (
            lambda: ledger.remember_certificate(stranger.certificate),
            lambda: ledger.append(note.seal(other, ledger.station)),
        ):
            with pytest.raises(RefusedError) as caught:
                attempt()
            assert caught.value.reason is Reason.LOCK_IDENTITY
        intent = intend(ledger, meet(ledger, "A1"))
        with pytest.raises(FailedError, match="a receipt of") as invalid:
            ledger.record_result(intent=intent, receipt=stranger.receipt(intent.digest), now=NOW)
        assert invalid.value.reason is Reason.RECEIPT_INVALID
        assert ledger.size == 1
    with pytest.raises(RefusedError) as refused:
        Ledger.open(ledger_folder, other, create=True)
    assert refused.value.reason is Reason.LOCK_IDENTITY
    Ledger.open(ledger_folder, realm, create=False).close()


def test_the_checkpoint_is_signed_over_every_entry(ledger_folder: Path) -> None:
    with make_ledger(ledger_folder) as ledger:
        assert ledger.last_checkpoint() is None
        empty = Checkpoint.open(ledger.checkpoint(NOW), ledger.verifier)
        assert empty.size == 0
        lock = meet(ledger, "A1")
        for count in range(1, 6):
            act(ledger, lock)
            note = ledger.last_checkpoint()
            assert note is not None
            checkpoint = Checkpoint.open(note, ledger.verifier)
            assert (checkpoint.origin, checkpoint.size) == (ledger.origin, 2 * count)


def test_a_result_without_a_receipt_closes_and_a_note_leaves_open(ledger_folder: Path) -> None:
    with make_ledger(ledger_folder) as ledger:
        lock = meet(ledger, "A1")
        first = intend(ledger, lock)
        ledger.record_note(text="no answer to BEGIN", now=NOW, serial="A1", intent=first)
        assert [one.index for one in ledger.open_intents("A1")] == [0]
        ledger.record_result(intent=first, receipt=None, now=NOW, note="refused: battery-low")
        assert ledger.open_intents() == ()
        second = intend(ledger, lock, session=bytes([2] * 32))
        ledger.record_result(intent=second, receipt=lock.refusal(second.digest), now=NOW)
        assert ledger.open_intents() == ()
        assert ledger.receipts("A1") == {}


def test_open_intents_are_told_apart_by_lock(ledger_folder: Path) -> None:
    with make_ledger(ledger_folder) as ledger:
        locks = [meet(ledger, serial) for serial in ("A1", "B2")]
        intents = [intend(ledger, lock) for lock in locks]
        assert [one.serial for one in ledger.open_intents()] == ["A1", "B2"]
        assert [one.index for one in ledger.open_intents("B2")] == [1]
        assert ledger.is_open(intents[0].digest)
        ledger.record_recovered(serial="A1", intent_hash=intents[0].digest, now=NOW)
        assert [one.serial for one in ledger.open_intents()] == ["B2"]
        assert not ledger.is_open(intents[0].digest)


def test_a_recovered_receipt_closes_the_intent_it_answers(ledger_folder: Path) -> None:
    with make_ledger(ledger_folder) as ledger:
        lock = meet(ledger, "A1")
        intent = intend(ledger, lock)
        foreign = lock.receipt(bytes(32))
        ours = lock.receipt(intent.digest)
        assert ledger.missing("A1", lock.head) == (1, 2)
        ledger.record_recovered(serial="A1", receipt=foreign, now=NOW)
        assert ledger.missing("A1", lock.head) == (2,)
        assert len(ledger.open_intents()) == 1
        ledger.record_recovered(serial="A1", receipt=ours, now=NOW)
        assert ledger.missing("A1", lock.head) == ()
        assert ledger.open_intents() == ()
        assert ledger.head("A1") == lock.head


def test_the_stations_own_key_signs_where_there_is_no_technician(ledger_folder: Path) -> None:
    with Ledger.open(ledger_folder, Realm.TRAINING, create=True) as ledger:
        _, intent = ledger.record_intent(
            signer=ledger.station, op=Op.UPDATE, serial=None, now=NOW, image_digest=DIGEST
        )
        assert ledger.open_intents()[0].serial is None
        ledger.record_result(intent=intent, receipt=None, now=NOW, note="unauthenticated-port")
        assert ledger.open_intents() == ()


def test_a_long_or_strange_note_is_shortened_and_not_refused(ledger_folder: Path) -> None:
    with make_ledger(ledger_folder) as ledger:
        _, sealed = ledger.record_note(
            text="T\N{LATIN SMALL LETTER U WITH DIAERESIS}r\n" * 99, now=NOW
        )
        note = Entry.read(sealed).note
        assert note is not None
        assert len(note) == 96
        assert note.startswith("T?r?T?r?")


def test_a_time_without_a_zone_is_refused(ledger_folder: Path) -> None:
    with make_ledger(ledger_folder) as ledger, pytest.raises(ValueError, match="no zone"):
        ledger.record_note(text="x", now=datetime(2026, 1, 1))  # noqa: DTZ001 - the point


def test_heads_of_a_gapped_run_stop_at_the_gap(ledger_folder: Path) -> None:
    with make_ledger(ledger_folder) as ledger:
        lock = meet(ledger, "A1")
        heads, receipts = [lock.head], []
        for _ in range(70):
            receipts.append(lock.receipt(DIGEST))
            heads.append(lock.head)
        for seq in (1, 2, 4, 70):
            ledger.record_recovered(serial="A1", receipt=receipts[seq - 1], now=NOW)
        assert ledger.head("A1") == heads[2]
        assert ledger.missing("A1", heads[70]) == (*range(7, 70),)
        assert ledger.covers("A1", heads[0], heads[2])
        assert ledger.covers("A1", heads[3], heads[4])
        assert ledger.covers("A1", heads[5], heads[5])
        assert not ledger.covers("A1", heads[1], heads[4])
        assert not ledger.covers("A1", heads[2], heads[1])
        assert not ledger.covers("A1", heads[0], Head(2, DIGEST))
        assert not ledger.covers("A1", heads[0], Head(2**64 - 1, DIGEST))


@pytest.mark.parametrize(
    "stated",
    [Head(1, DIGEST), Head(2, DIGEST), Head(0, DIGEST), None],
    ids=["behind", "other chain", "forgot all", "forgot one"],
)
def test_a_lock_that_contradicts_the_ledger_is_a_gap(
    ledger_folder: Path, stated: Head | None
) -> None:
    with make_ledger(ledger_folder) as ledger:
        lock = meet(ledger, "A1")
        act(ledger, lock)
        earlier = lock.head
        act(ledger, lock)
        ledger.check_head("A1", lock.head)
        with pytest.raises(FailedError) as caught:
            ledger.missing("A1", stated or earlier)
        assert caught.value.reason is Reason.LEDGER_GAP


def test_an_unmet_lock_must_start_at_the_start_of_its_chain(ledger_folder: Path) -> None:
    with make_ledger(ledger_folder) as ledger:
        lock = FakeLock("A1")
        ledger.check_head("A1", lock.head)
        assert ledger.head("A1") == lock.head
        assert len(ledger.missing("A1", Head(2**64 - 1, DIGEST))) == 64
        with pytest.raises(FailedError):
            ledger.check_head("A1", Head(0, DIGEST))


def test_nothing_enters_that_would_not_verify_later(ledger_folder: Path) -> None:
    with make_ledger(ledger_folder) as ledger:
        lock = meet(ledger, "A1")
        intent = intend(ledger, lock)
        body = Entry.read(intent)
        forged = dataclasses.replace(intent, signature=bytes(64))
        note = Entry(origin=ledger.origin, kind=EntryKind.NOTE, host_time=1, note="x")
        with pytest.raises(SignatureError):
            ledger.append(forged)
        with pytest.raises(SignatureError):
            ledger.append(body.seal(ledger.realm, key("someone")))
        with pytest.raises(SignatureError):
            ledger.append(note.seal(ledger.realm, TECHNICIAN))
        unknown = dataclasses.replace(body, technician_hash=bytes(32))
        with pytest.raises(RuntimeError, match="remember the technician's certificate"):
            ledger.append(unknown.seal(ledger.realm, TECHNICIAN))
        assert ledger.size == 1


@pytest.mark.parametrize(
    "change",
    [
        {"origin": "svcport.station/0000000000000000"},
        {"kind": EntryKind.RESULT},
        {"kind": EntryKind.RECOVERED},
        {"kind": EntryKind.IMPORT},
        {"kind": EntryKind.INTENT},
        {"receipt": bytes(100)},
    ],
)
def test_an_entry_that_lacks_what_its_kind_needs_is_refused(
    ledger_folder: Path, change: dict[str, object]
) -> None:
    with make_ledger(ledger_folder) as ledger:
        note = Entry(origin=ledger.origin, kind=EntryKind.NOTE, host_time=1, note="x")
        wrong = dataclasses.replace(note, **change)  # type: ignore[arg-type]
        with pytest.raises(MalformedObjectError):
            ledger.append(wrong.seal(ledger.realm, ledger.station))
        with pytest.raises(MalformedObjectError):
            ledger.append(technician_certificate())
        assert ledger.size == 0


def test_a_receipt_that_is_not_the_locks_is_refused(ledger_folder: Path) -> None:
    with make_ledger(ledger_folder) as ledger:
        lock, other = meet(ledger, "A1"), meet(ledger, "B2")
        stranger = FakeLock("C3")
        intent = intend(ledger, lock)
        good = Sealed.parse(lock.receipt(intent.digest))
        for receipt in (
            b"",
            good.build()[:-1],
            dataclasses.replace(good, signature=bytes(64)).build(),
            other.receipt(intent.digest),
            stranger.receipt(intent.digest),
            lock.receipt(bytes(32)),
            issuer_certificate().build(),
        ):
            with pytest.raises(FailedError) as caught:
                ledger.record_result(intent=intent, receipt=receipt, now=NOW)
            assert caught.value.reason is Reason.RECEIPT_INVALID
        for serial, receipt in (("C3", stranger.receipt(DIGEST)), ("A1", b"junk")):
            with pytest.raises(FailedError) as caught:
                ledger.record_recovered(serial=serial, receipt=receipt, now=NOW)
            assert caught.value.reason is Reason.RECEIPT_INVALID
        lock.seq = 2**63 - 1
        with pytest.raises(FailedError, match="receipt number"):
            ledger.record_result(intent=intent, receipt=lock.receipt(intent.digest), now=NOW)
        assert ledger.size == 1
        ledger.record_result(intent=intent, receipt=good.build(), now=NOW)


def test_only_certificates_are_remembered(ledger_folder: Path) -> None:
    with make_ledger(ledger_folder) as ledger:
        statement = TimeStatement(unix_time=1, nonce_hash=bytes(32))
        with pytest.raises(ValueError, match="TIME is no certificate"):
            ledger.remember_certificate(statement.seal(Realm.TRAINING, TECHNICIAN))
        ledger.remember_certificate(technician_certificate())


def test_threads_of_one_process_share_a_ledger(ledger_folder: Path) -> None:
    with make_ledger(ledger_folder) as ledger:
        locks = [meet(ledger, f"L{number}") for number in range(8)]

        def work(lock: FakeLock) -> None:
            for _ in range(5):
                act(ledger, lock)

        threads = [threading.Thread(target=work, args=(lock,)) for lock in locks]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert ledger.size == 80
        assert ledger.open_intents() == ()
        assert all(ledger.head(lock.serial) == lock.head for lock in locks)
        note = ledger.last_checkpoint()
        assert note is not None
        assert Checkpoint.open(note, ledger.verifier).size == 80
