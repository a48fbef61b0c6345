from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from audit.world import ENTRIES, NOW, FakeLock, act, fill, intend, make_ledger, meet
from sqlalchemy import event

from protocol.objects import chain_start
from protocol.sealed import Realm
from protocol.values import Head
from svcport.audit.checkpoint import Checkpoint
from svcport.audit.ledger import Ledger
from svcport.audit.opening import open_to_operate
from svcport.audit.rows import add_entry
from svcport.audit.verify import verify_ledger
from svcport.errors import RecordsError


@pytest.fixture
def ledger(ledger_folder: Path) -> Iterator[Ledger]:
    with make_ledger(ledger_folder) as ledger:
        yield ledger


class Writes:
    """Counts the transactions that changed something, and the statements sent."""

    def __init__(self, ledger: Ledger) -> None:
        self.commits = 0
        self.statements = 0
        self._changed = False
        engine = ledger.store._engine
        event.listen(engine, "before_cursor_execute", self._sent)
        event.listen(engine, "commit", self._committed)

    def _sent(self, _link: object, _cursor: object, statement: str, *_rest: object) -> None:
        self.statements += 1
        self._changed |= statement.startswith(("INSERT", "UPDATE", "DELETE"))

    def _committed(self, _link: object) -> None:
        self.commits += self._changed
        self._changed = False


def close(ledger: Ledger, lock: FakeLock) -> tuple[int, ...]:
    intent = intend(ledger, lock, session=lock.seq.to_bytes(32, "big"))
    receipt = lock.receipt(intent.digest)
    return ledger.record_receipts(serial=lock.serial, receipts=[receipt], intent=intent, now=NOW)


def signed_size(ledger: Ledger) -> int:
    return Checkpoint.open(ledger.last_checkpoint() or b"", ledger.verifier).size


def test_a_closed_act_is_two_transactions(ledger: Ledger) -> None:
    lock = meet(ledger, "A1")
    writes = Writes(ledger)
    for _ in range(3):
        ledger.remember_certificate(lock.certificate)
        close(ledger, lock)
        ledger.checkpoint(NOW)
    assert writes.commits == 6
    assert signed_size(ledger) == ledger.size == 6
    assert verify_ledger(ledger).problems == ()


def test_an_append_costs_no_fsync_of_its_own_beside_the_stores(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = meet(ledger, "A1")
    monkeypatch.setattr(os, "fsync", lambda _file: pytest.fail("fsync"))
    close(ledger, lock)


def test_receipts_and_their_checkpoint_are_recorded_together_or_not_at_all(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = meet(ledger, "A1")
    act(ledger, lock)
    intent = intend(ledger, lock)
    receipts = [lock.receipt(intent.digest), lock.receipt(bytes(32))]
    calls: list[int] = []

    def second_fails(*arguments: object) -> int:
        calls.append(add_entry(*arguments))  # type: ignore[arg-type]
        if len(calls) == 2:
            raise KeyboardInterrupt
        return calls[-1]

    with monkeypatch.context() as patch:
        patch.setattr("svcport.audit.ledger.add_entry", second_fails)
        with pytest.raises(KeyboardInterrupt):
            ledger.record_receipts(serial="A1", receipts=receipts, intent=intent, now=NOW)
    assert (ledger.size, signed_size(ledger)) == (3, 2)
    assert ledger.record_receipts(serial="A1", receipts=receipts, intent=intent, now=NOW) == (3, 4)
    assert signed_size(ledger) == 5
    assert ledger.open_intents() == ()
    assert verify_ledger(ledger).problems == ()


def test_nothing_is_signed_twice_where_nothing_was_added(ledger: Ledger) -> None:
    act(ledger, meet(ledger, "A1"))
    writes = Writes(ledger)
    assert ledger.checkpoint(NOW) == ledger.last_checkpoint()
    assert ledger.record_receipts(serial="A1", receipts=[], intent=None, now=NOW) == ()
    assert writes.commits == 0


def test_a_lock_with_many_receipts_costs_no_more_than_its_ring(ledger: Ledger) -> None:
    lock = meet(ledger, "A1")
    receipts = [lock.receipt(bytes(32)) for _ in range(80)]
    ledger.record_receipts(serial="A1", receipts=receipts, intent=None, now=NOW)
    assert list(ledger.receipts("A1", 70)) == list(range(70, 81))
    assert ledger.missing("A1", lock.head) == ()
    ahead = Head(lock.seq + 2, chain_start("A1"))
    assert ledger.missing("A1", ahead) == (81, 82)
    assert ledger.missing("A1", Head(2**64 - 1, bytes(32)))[0] == 2**64 - 64
    assert ledger.head("A1") == lock.head


def test_the_statements_of_an_act_grow_with_the_trees_height_alone(ledger: Ledger) -> None:
    lock = meet(ledger, "A1")
    counts = []
    for _ in range(40):
        writes = Writes(ledger)
        close(ledger, lock)
        counts.append(writes.statements)
    assert max(counts) <= 40


def test_opening_a_tree_that_the_checkpoint_denies_is_refused(tmp_path: Path) -> None:
    fill(tmp_path)
    with Ledger.open(tmp_path, Realm.TRAINING, create=False) as ledger:
        assert ledger.size == ENTRIES
        with ledger.store.write() as connection:
            connection.exec_driver_sql("UPDATE nodes SET hash = zeroblob(32) WHERE last = 3")
        with pytest.raises(RecordsError, match="not that of the checkpoint"):
            ledger.record_note(text="x", now=NOW, checkpoint=True)
    with pytest.raises(RecordsError, match="not that of the checkpoint"):
        open_to_operate(tmp_path, Realm.TRAINING, create=False)


def test_no_statement_of_an_act_walks_through_the_ledger(tmp_path: Path) -> None:
    plans: list[str] = []

    def explain(_link: object, cursor: object, statement: str, values: object, *_: object) -> None:
        link = cursor.connection.cursor()  # type: ignore[attr-defined]
        one = values[0] if isinstance(values, list) else values
        plans.extend(row[3] for row in link.execute(f"EXPLAIN QUERY PLAN {statement}", one))

    with make_ledger(tmp_path) as ledger:
        lock = meet(ledger, "A1")
        close(ledger, lock)
        event.listen(ledger.store._engine, "before_cursor_execute", explain)
        ledger.missing("A1", lock.head)
        close(ledger, lock)
        ledger.open_intents("A1")
    assert plans
    walks = ("SCAN", "entries USING PRIMARY KEY (origin=?)", "entries USING INDEX")
    assert [plan for plan in plans if any(walk in plan for walk in walks)] == []
