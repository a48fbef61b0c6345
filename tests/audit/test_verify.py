from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from audit.world import (
    DIGEST,
    ENTRIES,
    ISSUER,
    MANUFACTURER,
    NOW,
    ROOT,
    FakeLock,
    intend,
    issuer_certificate,
    make_ledger,
    meet,
    sql,
    technician_certificate,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.sealed import Realm
from svcport.audit.certificates import Keyring
from svcport.audit.checking import Examined, Examiner
from svcport.audit.ledger import Ledger
from svcport.audit.problems import Problem, ProblemCode
from svcport.audit.rows import RawRow, StoredEntry
from svcport.audit.verify import LedgerVerdict, verify_ledger
from svcport.audit.view import LedgerView
from svcport.errors import Reason, RecordsError, RefusedError


def verify(folder: Path) -> LedgerVerdict:
    with LedgerView.open_for_audit(folder) as view:
        return verify_ledger(view, manufacturer=MANUFACTURER.subject, roots=[ROOT.subject])


_SET = {
    "data": "UPDATE entries SET data = ? WHERE entry_index = ?",
    "leaf_hash": "UPDATE entries SET leaf_hash = ? WHERE entry_index = ?",
}


def named(verdict: LedgerVerdict) -> set[tuple[int | None, str]]:
    return {(problem.index, problem.code.value) for problem in verdict.problems}


def test_a_sound_ledger_has_no_problem_and_lists_what_is_open(filled: Path) -> None:
    verdict = verify(filled)
    assert verdict.problems == ()
    assert (verdict.entries, verdict.receipts, verdict.locks) == (ENTRIES, 3, 2)
    assert [(one.index, one.serial) for one in verdict.open_intents] == [(6, "B2")]
    assert verdict.origin.startswith("training.svcport.station/")
    assert verdict.vkey.startswith(verdict.origin)
    assert not verdict.is_damaged


def test_an_empty_ledger_is_sound(tmp_path: Path) -> None:
    make_ledger(tmp_path).close()
    assert (verify(tmp_path).problems, verify(tmp_path).entries) == ((), 0)


def test_verification_goes_on_over_many_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("verify", "rows"):
        monkeypatch.setattr(f"svcport.audit.{module}.BATCH", 8)
    with make_ledger(tmp_path) as ledger:
        lock = meet(ledger, "A1")
        for number in range(1, 51):
            ledger.record_recovered(serial="A1", receipt=lock.receipt(DIGEST), now=NOW)
            if number == 30:
                ledger.checkpoint(NOW)
        assert [entry.index for entry in ledger.entries(5)] == list(range(5, 50))
    verdict = verify(tmp_path)
    assert (verdict.problems, verdict.entries, verdict.receipts) == ((), 50, 50)
    sql(tmp_path, "DELETE FROM entries WHERE entry_index BETWEEN 13 AND 45")
    gaps = {place for place, code in named(verify(tmp_path)) if code == "entry-missing"}
    assert gaps == {13, 14, 15, 16}  # the last one speaks for all up to 45
    with LedgerView.open_for_audit(tmp_path) as view, pytest.raises(RecordsError, match="entry 13"):
        list(view.entries())


def test_every_flipped_byte_of_every_kind_of_entry_is_found(filled: Path) -> None:
    with LedgerView.open_for_audit(filled) as view:
        keyring = Keyring(view.store, view.realm)
        examiner = Examiner(view.realm, view.origin, view.verifier.subject, keyring)
        for entry in (*view.entries(),)[4:]:
            assert _examined(examiner, entry, entry.data).problems == ()
            for position in range(len(entry.data)):
                flipped = bytearray(entry.data)
                flipped[position] ^= 1 << position % 8
                examined = _examined(examiner, entry, bytes(flipped))
                assert examined.problems[0].code is ProblemCode.LEAF_HASH
                assert len(examined.problems) > 1, (entry.index, position)
                assert examined.leaf == entry.leaf_hash


def _examined(examiner: Examiner, entry: StoredEntry, data: bytes) -> Examined:
    rows = {entry.index: RawRow(entry.index, entry.leaf_hash, data)}
    return examiner.examine_all(rows)[entry.index]


def test_a_flipped_byte_of_a_stored_entry_is_found_and_no_other_entry_blamed(copy: Path) -> None:
    with LedgerView.open_for_audit(copy) as view:
        victim = list(view.entries())[1]
        for position in range(0, len(victim.data), 16):
            flipped = bytearray(victim.data)
            flipped[position] ^= 1 << position % 8
            sql(copy, "UPDATE entries SET data = ? WHERE entry_index = 1", bytes(flipped))
            verdict = verify_ledger(view)
            assert (1, "leaf-hash") in named(verdict), position
            assert {index for index, _ in named(verdict)} == {1}, position
            assert verdict.is_damaged


@settings(deadline=None, max_examples=40)
@given(index=st.integers(0, ENTRIES - 1), data=st.data())
def test_any_damage_to_any_entry_is_found_and_the_entry_named(
    filled: Path, tmp_path_factory: pytest.TempPathFactory, index: int, data: st.DataObject
) -> None:
    folder = shutil.copytree(filled, tmp_path_factory.mktemp("flip") / "ledger")
    with LedgerView.open_for_audit(folder) as view:
        entry = list(view.entries())[index]
    column, stored = data.draw(
        st.sampled_from([("data", entry.data), ("leaf_hash", entry.leaf_hash)])
    )
    damage = data.draw(
        st.one_of(
            st.none(),
            st.integers(),
            st.just(""),
            st.binary(max_size=300),
            st.tuples(st.integers(0, len(stored) - 1), st.integers(1, 255)).map(
                lambda at: stored[: at[0]] + bytes([stored[at[0]] ^ at[1]]) + stored[at[0] + 1 :]
            ),
        ).filter(lambda value: value != stored)
    )
    if damage is None:
        sql(folder, "DELETE FROM entries WHERE entry_index = ?", index)
    else:
        value = damage if isinstance(damage, bytes | str) else str(damage)
        sql(folder, _SET[column], value, index)
    verdict = verify(folder)
    assert index in {place for place, _ in named(verdict)}
    assert verdict.is_damaged
    shutil.rmtree(folder)


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_a_flipped_byte_of_the_file_is_found_or_harmless(
    filled: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = shutil.copytree(filled, tmp_path_factory.mktemp("file") / "ledger")
    path = folder / "ledger.sqlite"
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    with LedgerView.open_for_audit(filled) as view:
        wanted = [entry.data for entry in view.entries()]
    try:
        with LedgerView.open_for_audit(folder) as view:
            verdict = verify_ledger(view)
            if not verdict.problems:
                assert [entry.data for entry in view.entries()] == wanted
    except (RecordsError, RefusedError) as error:
        reason: Reason | None = error.reason
    else:
        reason = None
    assert reason in (None, Reason.LEDGER_DAMAGED, Reason.STORAGE)
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("DELETE FROM entries WHERE entry_index = 7", (7, "entry-missing")),
        ("DELETE FROM entries", (0, "entry-missing")),
        ("UPDATE entries SET entry_index = 99 WHERE entry_index = 3", (3, "entry-missing")),
        ("UPDATE entries SET leaf_hash = zeroblob(32) WHERE entry_index = 2", (2, "leaf-hash")),
        ("UPDATE nodes SET hash = zeroblob(32) WHERE last = 3 AND level = 2", (3, "tree-node")),
        ("DELETE FROM nodes WHERE last = 5", (5, "tree-node")),
        ("UPDATE nodes SET level = 9 WHERE last = 5", (5, "tree-node")),
        ("UPDATE nodes SET last = 70 WHERE last = 5", (70, "size")),
        ("DELETE FROM receipts WHERE seq = 2", (3, "derived-index")),
        ("UPDATE receipts SET seq = 9 WHERE seq = 2", (3, "derived-index")),
        ("UPDATE receipts SET serial = 'B2' WHERE seq = 2", (3, "derived-index")),
        ("UPDATE receipts SET entry_index = 0 WHERE seq = 2", (0, "derived-index")),
        ("UPDATE receipts SET entry_index = -1 WHERE seq = 2", (-1, "size")),
        ("DELETE FROM intents WHERE entry_index = 2", (2, "derived-index")),
        ("UPDATE intents SET serial = NULL WHERE entry_index = 2", (2, "derived-index")),
        (
            "UPDATE intents SET intent_hash = zeroblob(32) WHERE entry_index = 6",
            (6, "derived-index"),
        ),
        ("UPDATE intents SET answered_by = NULL WHERE entry_index = 2", (3, "derived-index")),
        ("UPDATE intents SET answered_by = 7 WHERE entry_index = 6", (7, "derived-index")),
        ("UPDATE intents SET answered_by = 1000 WHERE entry_index = 6", (1000, "size")),
        ("UPDATE logs SET size = 7", (None, "size")),
        ("UPDATE logs SET size = 9", (8, "entry-missing")),
        ("UPDATE logs SET size = 'x'", (None, "size")),
        ("UPDATE logs SET size = 4611686018427387904", (8, "entry-missing")),
        ("UPDATE checkpoints SET note = zeroblob(80)", (None, "checkpoint")),
        (
            "UPDATE certificates SET data = zeroblob(80) WHERE serial = 'A1'",
            (1, "certificate-damaged"),
        ),
        ("DELETE FROM certificates WHERE serial = 'A1'", (1, "lock-unknown")),
        ("DELETE FROM certificates WHERE kind = 2", (0, "technician-unknown")),
        (
            "UPDATE certificates SET serial = 'ZZ' WHERE serial = 'B2'",
            (None, "certificate-damaged"),
        ),
    ],
)
def test_damage_outside_the_entries_is_named(
    copy: Path, statement: str, found: tuple[int | None, str]
) -> None:
    sql(copy, statement)
    verdict = verify(copy)
    assert found in named(verdict)
    assert verdict.is_damaged


def test_a_checkpoint_over_another_tree_is_found(copy: Path, tmp_path: Path) -> None:
    with LedgerView.open_for_audit(copy) as view:
        key = Ledger.open(copy, Realm.TRAINING, create=False)
        text = f"{view.origin}\n7\n{'A' * 43}=\n"
        note = key._key.sign_note(view.origin, text).build()
        key.close()
    sql(copy, "UPDATE checkpoints SET note = ?", note)
    assert named(verify(copy)) == {(None, "checkpoint")}


def test_a_tail_cut_below_the_checkpoint_is_found(copy: Path) -> None:
    sql(copy, "DELETE FROM entries WHERE entry_index >= 6")
    sql(copy, "UPDATE logs SET size = 6")
    assert (None, "checkpoint") in named(verify(copy))


def test_a_lock_that_contradicts_itself_is_named_but_is_no_damage(tmp_path: Path) -> None:
    with make_ledger(tmp_path) as ledger:
        lock, twin = meet(ledger, "A1"), FakeLock("A1")
        for one in (lock, twin):
            ledger.record_recovered(serial="A1", receipt=one.receipt(DIGEST), now=NOW)
        twin.receipt(bytes(32))
        twin.chain = bytes(32)
        ledger.record_recovered(serial="A1", receipt=twin.receipt(DIGEST), now=NOW)
        ledger.record_recovered(serial="A1", receipt=twin.receipt(DIGEST), now=NOW)
        assert verify(tmp_path).problems == ()
        lock.chain = bytes(32)
        again = lock.receipt(bytes(32))
        ledger.record_recovered(serial="A1", receipt=again, now=NOW)
        ledger.record_recovered(serial="A1", receipt=again, now=NOW)
        lock.seq = 0
        ledger.record_recovered(serial="A1", receipt=lock.receipt(bytes([7] * 32)), now=NOW)
    verdict = verify(tmp_path)
    assert {code for _, code in named(verdict)} == {"receipt-chain", "receipt-conflict"}
    assert {(4, "receipt-chain"), (6, "receipt-conflict")} <= named(verdict)
    assert verdict.receipts == 4
    assert not verdict.is_damaged
    with LedgerView.open_for_audit(tmp_path) as view:
        assert not view.mark_damaged(verdict.problems)
    Ledger.open(tmp_path, Realm.TRAINING, create=False).close()


def test_a_certificate_without_a_chain_to_the_roots_given_is_named(filled: Path) -> None:
    with LedgerView.open_for_audit(filled) as view:
        for verdict in (
            verify_ledger(view, manufacturer=ROOT.subject),
            verify_ledger(view, roots=[ISSUER.subject]),
        ):
            assert {code for _, code in named(verdict)} == {"certificate-untrusted"}
            assert not verdict.is_damaged
        assert verify_ledger(view).problems == ()
        both = verify_ledger(view, roots=[MANUFACTURER.subject, ROOT.subject])
        assert both.problems == ()


def test_a_result_for_an_intent_that_is_not_here_is_named(tmp_path: Path) -> None:
    with make_ledger(tmp_path / "other") as other:
        elsewhere = intend(other, meet(other, "A1"))
    with make_ledger(tmp_path / "own") as ledger:
        ledger.record_result(intent=elsewhere, receipt=None, now=NOW)
    assert named(verify(tmp_path / "own")) == {(0, "result-without-intent")}


def test_an_unknown_issuer_is_a_problem_only_if_roots_are_given(tmp_path: Path) -> None:
    with Ledger.open(tmp_path, Realm.TRAINING, create=True) as ledger:
        ledger.remember_certificate(technician_certificate())
        intend(ledger, meet(ledger, "A1"))
        assert verify_ledger(ledger).problems == ()
        assert named(verify_ledger(ledger, roots=[ROOT.subject])) == {(0, "certificate-untrusted")}
        ledger.remember_certificate(issuer_certificate())
        assert verify_ledger(ledger, roots=[ROOT.subject]).problems == ()


def test_more_problems_than_can_be_named_are_said_to_be_more(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("svcport.audit.verify.PROBLEM_LIMIT", 3)
    sql(copy, "UPDATE entries SET data = zeroblob(100)")
    problems = verify(copy).problems
    assert len(problems) == 4
    assert problems[-1].code is ProblemCode.MORE


def test_every_problem_reads_as_one_line() -> None:
    problem = Problem(None, ProblemCode.SIZE, "the log states 3")
    assert str(problem) == "ledger: size: the log states 3"
