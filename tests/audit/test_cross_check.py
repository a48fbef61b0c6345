"""Records of many stations merged: nothing is missing, and what is made to miss is named."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from audit.crossworld import (
    World,
    check,
    codes,
    flip,
    forget_receipt,
    longest,
    make_world,
    memory_folder,
    one,
)
from audit.forger import bodies, entries_of, is_result, rewrite_bundle, sign_again
from audit.publishing import export
from audit.sweep import ActLock, Fleet, Killed, Work
from audit.world import NOW, key, make_ledger

from protocol.objects import EntryKind
from protocol.sealed import Realm, Sealed
from protocol.values import ActResult, Op
from svcport.audit.crosscheck.check import cross_check
from svcport.audit.crosscheck.holes import HoleCode
from svcport.audit.proofs.published import PublishedLog
from svcport.audit.proofs.tiles import tiles
from svcport.errors import Reason, RefusedError

OPERATIONS, STATIONS, LOCKS = 120, 6, 6

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with memory_folder() as root:
        yield from make_world(root, OPERATIONS, STATIONS, LOCKS)


@pytest.fixture
def exports(world: World, tmp_path: Path) -> list[Path]:
    copied = shutil.copytree(world.exports, tmp_path / "exports")
    return sorted(copied.iterdir())


def test_nothing_is_missing_after_random_kills_in_whatever_order_exports_are_merged(
    world: World, exports: list[Path]
) -> None:
    found = check(exports, witnessed=world.seen)
    assert found.holes == ()
    assert found.reason is None
    assert found.stations == STATIONS
    assert found.locks == len([lock for lock in world.fleet.locks if lock.seq or lock.act])
    assert found.receipts > OPERATIONS * 0.8
    assert cross_check(exports[::-1]) == found
    assert cross_check([*exports, *world.exports.iterdir()]) == found  # each station twice


def test_an_entry_taken_out_of_the_files_is_named(exports: list[Path]) -> None:
    victim = longest(exports)
    index, _, body = next(found for found in bodies(entries_of(victim)) if found[0] == 3)
    rewrite_bundle(victim, index, lambda bundle, at: bundle.__delitem__(at))
    found = check(exports)
    hole = next(hole for hole in found.holes if hole.code is HoleCode.DROPPED_ENTRY)
    assert (hole.station, hole.entry) == (body.origin, index)
    assert found.reason is Reason.LEDGER_GAP


def test_an_intent_dropped_by_who_holds_the_station_key_is_named(
    world: World, exports: list[Path]
) -> None:
    victim = longest(exports)
    entries = entries_of(victim)
    index, intent = next((i, b.intent_hash) for i, _, b in bodies(entries) if is_result(b))
    kept = [data for data in entries if Sealed.parse(data).digest != intent]
    sign_again(victim, world.station(victim), kept)
    hole = one(check(exports), HoleCode.DROPPED_ENTRY)
    assert hole.entry == index - 1
    assert intent is not None
    assert intent.hex() in hole.message


def test_a_receipt_dropped_from_every_log_is_named(world: World, exports: list[Path]) -> None:
    lock = next(lock for lock in world.fleet.locks if lock.seq >= 3)
    forget_receipt(world, exports, lock)
    hole = one(check(exports), HoleCode.DROPPED_RECEIPT)
    assert hole.serial == lock.serial
    assert "receipt 2 is in no log" in hole.message


def test_the_newest_receipt_dropped_is_shown_by_the_head_that_the_lock_states_next(
    tmp_path: Path,
) -> None:
    fleet = Fleet(tmp_path / "stations", 3, 1)
    lock = fleet.locks[0]
    for folder in fleet.folders[:2]:
        fleet.random = random.Random(5)
        operate(fleet, folder, lock)
    for folder in fleet.folders[:2]:
        fleet.ledger(folder).checkpoint(NOW)
        export(folder, tmp_path / folder.name)
    fleet.close()
    for folder in fleet.folders[:2]:
        path = tmp_path / folder.name
        entries = entries_of(path)
        kept = [entries[i] for i, _, body in bodies(entries) if body.receipt is None]
        sign_again(path, folder, kept)
    found = check([tmp_path / folder.name for folder in fleet.folders[:2]])
    hole = one(found, HoleCode.DROPPED_RECEIPT)
    assert "receipt 1 is in no log" in hole.message


def operate(fleet: Fleet, folder: Path, lock: ActLock, work: Work | None = None) -> None:
    while True:
        try:
            fleet.operate(folder, lock, work)
        except Killed:
            fleet._ledgers.pop(folder).close()
        else:
            return


def test_an_entry_rewritten_in_the_files_is_named(exports: list[Path]) -> None:
    victim = longest(exports)
    rewrite_bundle(victim, 4, flip)
    found = check(exports)
    hole = next(hole for hole in found.holes if hole.code is HoleCode.REWRITTEN_ENTRY)
    assert (hole.station, hole.entry) == (PublishedLog.open(victim).origin, 4)


def test_an_intent_rewritten_and_signed_into_the_tree_again_is_named(
    world: World, exports: list[Path]
) -> None:
    victim = longest(exports)
    entries = entries_of(victim)
    index = next(i for i, _, body in bodies(entries) if body.kind is EntryKind.INTENT)
    flip(entries, index)
    sign_again(victim, world.station(victim), entries)
    found = check(exports)
    hole = next(hole for hole in found.holes if hole.code is HoleCode.REWRITTEN_ENTRY)
    assert hole.entry == index


def test_a_rewritten_result_shows_against_what_was_witnessed(
    world: World, exports: list[Path]
) -> None:
    victim = longest(exports)
    log = PublishedLog.open(victim)
    entries = entries_of(victim)
    index, body = next((i, b) for i, _, b in bodies(entries) if is_result(b))
    changed = type(body)(
        **{name: getattr(body, name) for name in body.__slots__} | {"note": "all was well"}
    )
    entries[index] = changed.seal(
        log.realm, world.fleet.ledger(world.station(victim)).station
    ).build()
    sign_again(victim, world.station(victim), entries)
    assert check(exports).holes == ()  # the station may sign so, if nobody saw it sign otherwise
    found = check(exports, witnessed=world.seen)
    assert one(found, HoleCode.FORKED_LOG).station == log.origin
    assert found.reason is Reason.LEDGER_FORK


def test_a_tail_cut_off_the_files_is_named(exports: list[Path]) -> None:
    victim = longest(exports)
    log = PublishedLog.open(victim)
    last = list(tiles(log.size, 0))[-1]
    (victim / last.bundle_path).unlink()
    found = check(exports)
    hole = next(hole for hole in found.holes if hole.code is HoleCode.TRUNCATED_TAIL)
    assert (hole.station, hole.entry) == (log.origin, last.first)


def test_a_tail_cut_off_and_signed_again_shows_against_what_was_witnessed(
    world: World, exports: list[Path]
) -> None:
    victim = longest(exports)
    entries = entries_of(victim)
    sign_again(victim, world.station(victim), entries[:-2])
    found = check(exports, witnessed=world.seen)
    hole = next(hole for hole in found.holes if hole.code is HoleCode.TRUNCATED_TAIL)
    assert hole.entry == len(entries) - 2
    assert hole.station == PublishedLog.open(victim).origin


@pytest.mark.parametrize("same_size", [True, False])
def test_two_histories_of_one_station_are_named(
    world: World, exports: list[Path], tmp_path: Path, same_size: bool
) -> None:
    victim = longest(exports)
    fork = shutil.copytree(victim, tmp_path / "fork")
    with_note = entries_of(victim)
    notes = [i for i, _, body in bodies(with_note) if is_result(body)]
    log = PublishedLog.open(victim)
    station = world.station(victim)
    body = next(b for i, _, b in bodies(with_note) if i == notes[-1])
    again = type(body)(**{name: getattr(body, name) for name in body.__slots__} | {"note": "x"})
    with_note[notes[-1]] = again.seal(log.realm, world.fleet.ledger(station).station).build()
    sign_again(fork, station, with_note if same_size else [*with_note, with_note[-1]])
    found = check([*exports, fork])
    hole = next(hole for hole in found.holes if hole.code is HoleCode.FORKED_LOG)
    assert hole.station == log.origin
    assert str(fork) in hole.message
    assert found.reason is Reason.LEDGER_FORK


def test_an_older_export_beside_a_newer_one_is_no_fork(
    world: World, exports: list[Path], tmp_path: Path
) -> None:
    victim = longest(exports)
    older = shutil.copytree(victim, tmp_path / "older")
    sign_again(older, world.station(victim), entries_of(victim)[:-3])
    assert check([*exports, older]).holes == ()


def test_a_hidden_station_is_named_by_the_receipts_it_left_on_locks(
    world: World, exports: list[Path]
) -> None:
    hidden = longest(exports)
    intents = {
        sealed.digest.hex()
        for _, sealed, body in bodies(entries_of(hidden))
        if body.kind is EntryKind.INTENT
    }
    found = check([folder for folder in exports if folder != hidden])
    holes = [hole for hole in found.holes if hole.code is HoleCode.HIDDEN_STATION]
    assert holes
    assert all(any(intent in hole.message for intent in intents) for hole in holes)
    assert set(codes(found)) <= {HoleCode.HIDDEN_STATION, HoleCode.DROPPED_RECEIPT}


def test_a_ticket_that_a_lock_took_twice_is_named_and_a_continued_one_is_not(
    tmp_path: Path,
) -> None:
    fleet = Fleet(tmp_path / "stations", 3, 1)
    lock, folder = fleet.locks[0], fleet.folders[0]
    work = Work(Op.ROLLBACK, bytes(32), bytes([7]) * 32)
    lock.honest = False
    ledger = fleet.ledger(folder)
    for _ in range(2):
        lock.begin(fleet._intend(ledger, lock, work))
        fleet._settle(ledger, lock)
    lock.close(ActResult.DONE)
    fleet._settle(ledger, lock)
    ledger.checkpoint(NOW)
    export(folder, tmp_path / "export")
    assert check([tmp_path / "export"]).holes == ()
    lock.begin(fleet._intend(ledger, lock, work))
    lock.close(ActResult.DONE)
    fleet._settle(ledger, lock)
    ledger.checkpoint(NOW)
    export(folder, tmp_path / "export")
    hole = one(check([tmp_path / "export"]), HoleCode.REPLAYED_TICKET)
    assert hole.serial == lock.serial
    assert work.ticket.hex() in hole.message
    assert "for receipt 2 and for 3" in hole.message
    fleet.close()


def test_a_lock_that_contradicts_itself_is_named(tmp_path: Path) -> None:
    """Two locks with one key, as after a clone: each goes on from receipt 1 by itself."""
    fleet = Fleet(tmp_path / "stations", 3, 1)
    lock = fleet.locks[0]
    first, second = fleet.folders[:2]
    operate(fleet, first, lock)
    seq, chain, ring = lock.seq, lock.chain, dict(lock.ring)
    operate(fleet, first, lock)
    lock.seq, lock.chain, lock.ring, lock.act = seq, chain, ring, None
    operate(fleet, second, lock)
    for folder in (first, second):
        fleet.ledger(folder).checkpoint(NOW)
        export(folder, tmp_path / folder.name)
    fleet.close()
    found = check([tmp_path / first.name, tmp_path / second.name])
    assert HoleCode.RECEIPT_CONFLICT in codes(found)


def change_certificate(folder: Path) -> None:
    path = min((folder / "certificates").iterdir())
    path.write_bytes(path.read_bytes()[:-1] + b"\0")


DAMAGE: list[tuple[str, Callable[[Path], object]]] = [
    ("unreadable", lambda folder: (folder / "checkpoint").unlink()),
    ("unreadable", lambda folder: (folder / "vkey").write_text("nonsense")),
    ("tree", lambda folder: next((folder / "tile" / "0").rglob("*.p/*")).write_bytes(b"")),
    ("certificate", change_certificate),
]


@pytest.mark.parametrize(("code", "damage"), DAMAGE)
def test_a_damaged_export_is_named(
    exports: list[Path], code: str, damage: Callable[[Path], object]
) -> None:
    damage(longest(exports))
    assert code in {str(hole.code) for hole in check(exports).holes}


def test_strangers_certificates_are_not_believed(exports: list[Path]) -> None:
    stranger = key("stranger").subject
    for options in ({"manufacturer": stranger}, {"roots": [stranger]}):
        found = cross_check(exports, **options)
        assert HoleCode.CERTIFICATE in codes(found)


def test_real_and_training_records_are_not_merged(exports: list[Path], tmp_path: Path) -> None:
    with make_ledger(tmp_path / "real", Realm.PRODUCTION) as ledger:
        ledger.record_note(text="real", now=NOW)
        ledger.checkpoint(NOW)
    export(tmp_path / "real", tmp_path / "export")
    with pytest.raises(RefusedError, match="training and real records are mixed"):
        cross_check([exports[0], tmp_path / "export"])
