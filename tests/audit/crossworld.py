"""A small world of stations and locks whose exports are merged, and what to ask of the merger."""

from __future__ import annotations

import random
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from audit.forger import bodies, entries_of, receipt_of, sign_again
from audit.publishing import export
from audit.sweep import ActLock, Fleet
from audit.world import MANUFACTURER, NOW, ROOT

from protocol.sealed import Realm
from svcport.audit.crosscheck.check import cross_check
from svcport.audit.crosscheck.holes import CrossCheck, Hole, HoleCode
from svcport.audit.proofs.published import PublishedLog
from svcport.audit.witness.addcheckpoint import request_witness
from svcport.audit.witness.witness import Seen, Witness


@dataclass
class World:
    fleet: Fleet
    exports: Path
    seen: dict[str, Seen]

    def station(self, export_dir: Path) -> Path:
        return self.fleet.root / export_dir.name


def make_world(root: Path, operations: int, stations: int, locks: int) -> Iterator[World]:
    fleet = Fleet(root / "stations", stations, locks)
    fleet.run(operations)
    assert fleet.kills > operations // 20
    seen: dict[str, Seen] = {}
    with Witness.open(root / "witness", Realm.TRAINING) as witness:
        for folder in fleet.folders:
            export(folder, root / "exports" / folder.name)
            ledger = fleet.ledger(folder)
            witness.introduce(ledger.verifier)
            witness.add_checkpoint(request_witness(ledger, 0), NOW)
        seen = witness.all_seen()
    yield World(fleet, root / "exports", seen)
    fleet.close()


def check(folders: list[Path], **options: dict[str, Seen]) -> CrossCheck:
    shuffled = random.Random(11).sample(folders, len(folders))
    return cross_check(shuffled, manufacturer=MANUFACTURER.subject, roots=[ROOT.subject], **options)


def codes(found: CrossCheck) -> Counter[HoleCode]:
    return Counter(hole.code for hole in found.holes)


def one(found: CrossCheck, code: HoleCode) -> Hole:
    assert codes(found) == {code: 1}, [str(hole) for hole in found.holes]
    return found.holes[0]


def longest(folders: list[Path]) -> Path:
    return max(folders, key=lambda folder: PublishedLog.open(folder).size)


@contextmanager
def memory_folder() -> Iterator[Path]:
    """Hosts die here, not the machine: a disk in memory shows the same and waits for no sync."""
    memory = Path("/dev/shm")  # noqa: S108 - a folder of its own is made in it
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as root:
        yield Path(root)


def forget_receipt(world: World, folders: list[Path], lock: ActLock) -> None:
    """Take the second receipt of a lock out of every log, with the stations' keys."""
    for folder in folders:
        entries = entries_of(folder)
        kept = []
        for index, _, body in bodies(entries):
            receipt = receipt_of(body)
            if receipt is None or (receipt.serial, receipt.seq) != (lock.serial, 2):
                kept.append(entries[index])
        if len(kept) < len(entries):
            sign_again(folder, world.station(folder), kept)


def flip(bundle: list[bytes], at: int) -> None:
    bundle[at] = bundle[at][:-1] + bytes([bundle[at][-1] ^ 1])
