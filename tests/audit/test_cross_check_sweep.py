"""The big run: many stations, many locks, random kills, and every way to cheat named.

The long one: `SVCPORT_FULL=1 python -m pytest -rP tests/audit/test_cross_check_sweep.py`.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from audit.crossworld import World, check, flip, forget_receipt, make_world, memory_folder
from audit.forger import entries_of, rewrite_bundle, sign_again
from audit.publishing import FULL, export
from audit.sweep import ActLock, Work
from audit.world import NOW

from protocol.values import ActResult, Op
from svcport.audit.crosscheck.holes import HoleCode
from svcport.audit.proofs.published import PublishedLog
from svcport.audit.proofs.tiles import tiles

SWEEP = (10_000, 20, 500) if FULL else (500, 20, 40)
"""Operations, stations and locks."""

pytestmark = pytest.mark.timeout(7200 if FULL else 300)


@contextmanager
def sweep() -> Iterator[World]:
    with memory_folder() as root:
        yield from make_world(root, *SWEEP)


def test_a_sweep_has_no_hole_and_seven_ways_to_cheat_in_it_are_all_named() -> None:
    started = time.monotonic()
    with sweep() as world:
        folders = sorted(world.exports.iterdir())
        worked = time.monotonic()
        found = check(folders, witnessed=world.seen)
        # shown by `pytest -rP`
        print(f"{SWEEP}: {worked - started:.0f} s of work, {found.entries} entries")  # noqa: T201
        print(f"cross-check: {time.monotonic() - worked:.0f} s")  # noqa: T201
        assert found.holes == ()
        assert found.stations == SWEEP[1]
        assert found.receipts > SWEEP[0] * 0.8
        wanted = cheat(world, folders)
        found = check([*folders[1:], *world.exports.parent.glob("forks/*")], witnessed=world.seen)
        named = {hole.code for hole in found.holes}
        assert named == wanted, [str(hole) for hole in found.holes]


def cheat(world: World, folders: list[Path]) -> set[HoleCode]:
    """Do each of the seven somewhere; the first station is hidden by the caller."""
    by_size = sorted(folders[1:], key=lambda folder: -PublishedLog.open(folder).size)
    replay_ticket(world, by_size[4], world.fleet.locks[0])
    forget_receipt(world, folders[1:], next(one for one in world.fleet.locks[1:] if one.seq > 2))
    rewrite_bundle(by_size[0], 3, lambda bundle, at: bundle.__delitem__(at))
    rewrite_bundle(by_size[1], 4, flip)
    last = list(tiles(PublishedLog.open(by_size[2]).size, 0))[-1]
    (by_size[2] / last.bundle_path).unlink()
    fork = world.exports.parent / "forks" / "one"
    shutil.copytree(by_size[3], fork)
    sign_again(fork, world.station(by_size[3]), entries_of(fork)[::-1])
    return {
        HoleCode.DROPPED_ENTRY,
        HoleCode.DROPPED_RECEIPT,
        HoleCode.REWRITTEN_ENTRY,
        HoleCode.TRUNCATED_TAIL,
        HoleCode.FORKED_LOG,
        HoleCode.HIDDEN_STATION,
        HoleCode.REPLAYED_TICKET,
    }


def replay_ticket(world: World, folder: Path, lock: ActLock) -> None:
    """A lock with strange firmware takes one ticket for two acts of the same station."""
    ledger = world.fleet.ledger(world.station(folder))
    ledger.remember_certificate(lock.certificate)
    lock.honest = False
    work = Work(Op.ROLLBACK, bytes(32), bytes([7]) * 32)
    for _ in range(2):
        world.fleet._settle(ledger, lock)
        lock.begin(world.fleet._intend(ledger, lock, work))
        lock.close(ActResult.DONE)
    world.fleet._settle(ledger, lock)
    ledger.checkpoint(NOW)
    export(world.station(folder), folder)
