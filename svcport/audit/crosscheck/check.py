"""Merging the exports of any number of stations: is every act on every lock accounted for?

Logs are never renumbered: merging is the union of what they say, so the order does not matter.
What this cannot show: intents that never reached a lock and were cut before anybody saw a
checkpoint that covers them; nothing happened in that case.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from sqlalchemy import exists, select

from protocol.objects import chain_start
from protocol.sealed import SubjectKey
from protocol.values import ActResult
from svcport.audit.certificates import Keyring
from svcport.audit.crosscheck.gathering import Gathering, gather_certificates
from svcport.audit.crosscheck.holes import HOLE_LIMIT, CrossCheck, Hole, HoleCode
from svcport.audit.crosscheck.index import ANSWERS, HEADS, INTENTS, RECEIPTS, CrossIndex
from svcport.audit.note import NoteError
from svcport.audit.proofs.published import PublishedLog
from svcport.audit.witness.witness import Seen
from svcport.errors import Reason, RefusedError

_NO_TICKET: Final = bytes(32)


def cross_check(
    folders: Sequence[Path],
    *,
    manufacturer: SubjectKey | None = None,
    roots: Sequence[SubjectKey] = (),
    witnessed: Mapping[str, Seen] | None = None,
) -> CrossCheck:
    """Check the exports in `folders` against each other and against what locks signed.

    Args:
        folders: exports, in any order; a station may stand there more than once.
        manufacturer: whose signature a lock's certificate must carry; None takes it as exported.
        roots: the fleet roots that a technician's chain must end in; empty takes it as exported.
        witnessed: how far each log was seen before, by origin.

    Raises:
        RefusedError: training and real records are mixed (reason `usage`).
        FailedError: an export cannot be read because a disk fails (`storage`).
        RecordsError: the temporary index cannot be written (`storage`).
    """
    run = _Run(witnessed or {})
    logs = run.open(sorted({folder.resolve() for folder in folders}))
    with CrossIndex.temporary() as index:
        for log in logs:
            run.add(gather_certificates(log, index))
        if logs:
            keyring = Keyring(index.store, logs[0].realm, manufacturer, roots)
            run.gather(logs, index, keyring)
        for check in (_chains, _missing_intents, _foreign_intents, _tickets, _intents_twice):
            run.add(check(index))
        locks, receipts = index.counts()
    holes = tuple(sorted(run.holes, key=lambda hole: hole.order))
    stations = {log.origin for log in logs}
    return CrossCheck(len(stations), locks, receipts, run.entries, holes)


class _Run:
    def __init__(self, witnessed: Mapping[str, Seen]) -> None:
        self.witnessed = witnessed
        self.holes: set[Hole] = set()
        self.entries = 0

    def add(self, holes: Iterable[Hole]) -> None:
        """Note holes, up to the limit; one that two exports show is noted once."""
        for hole in holes:
            if len(self.holes) < HOLE_LIMIT:
                self.holes.add(hole)
            elif hole not in self.holes:
                message = f"there are more than the {HOLE_LIMIT} problems named"
                self.holes.add(Hole(HoleCode.MORE, message))

    def open(self, folders: Sequence[Path]) -> list[PublishedLog]:
        """The exports that can be opened."""
        logs: list[PublishedLog] = []
        for folder in folders:
            try:
                logs.append(PublishedLog.open(folder))
            except NoteError as error:
                self.add([Hole(HoleCode.UNREADABLE, f"{folder}: {error}")])
        if len({log.realm for log in logs}) > 1:
            raise RefusedError(
                Reason.USAGE,
                "training and real records are mixed",
                hint="check the exports of training stations by themselves",
            )
        return logs

    def gather(self, logs: Sequence[PublishedLog], index: CrossIndex, keyring: Keyring) -> None:
        """Every log, and whether those of one origin are one history."""
        for origin, found in itertools.groupby(
            sorted(logs, key=lambda log: (log.origin, log.size)), key=lambda log: log.origin
        ):
            same = list(found)
            sizes = {log.size for log in same}
            seen = self.witnessed.get(origin)
            if seen is not None:
                sizes.add(seen.size)
            passes = [Gathering(log, index, keyring, sizes) for log in same]
            for one in passes:
                self.add(one.run())
            self.entries += max(one.entries for one in passes)
            self.add(_forks(passes))
            if seen is not None:
                self.add(_against(passes[-1], seen))


def _forks(passes: Sequence[Gathering]) -> Iterator[Hole]:
    """Whether each export of one log is the beginning of each larger one."""
    for smaller, larger in itertools.combinations(passes, 2):
        size, root = smaller.log.size, smaller.log.checkpoint.root
        if larger.log.size == size:
            same = larger.log.checkpoint.root == root
        else:
            same = larger.roots.get(size, root) == root
        if not same:
            message = (
                f"two histories from one station: the {larger.log.size} entries in "
                f"{larger.log.folder} do not begin with the {size} in {smaller.log.folder}"
            )
            yield Hole(HoleCode.FORKED_LOG, message, smaller.log.origin)


def _against(largest: Gathering, seen: Seen) -> Iterator[Hole]:
    """Whether the log still has what this station witnessed."""
    log = largest.log
    if log.size < seen.size:
        message = f"it ends after {log.size} entries, {seen.size} were witnessed"
        yield Hole(HoleCode.TRUNCATED_TAIL, message, log.origin, log.size)
    elif largest.roots.get(seen.size, seen.root) != seen.root:
        message = f"its {log.size} entries do not begin with the {seen.size} witnessed"
        yield Hole(HoleCode.FORKED_LOG, message, log.origin)


def _chains(index: CrossIndex) -> Iterator[Hole]:
    """Each lock's receipts: complete from 1 to the newest head stated, and linked."""
    for (serial,) in index.stream(index.serials()):
        yield from _Chain(index, serial).check()


class _Chain:
    """The receipts of one lock."""

    def __init__(self, index: CrossIndex, serial: str) -> None:
        self.index = index
        self.serial = serial
        self.chains: dict[int, bytes] = {0: chain_start(serial)}
        self.last = 0

    def _hole(self, code: HoleCode, message: str) -> Hole:
        return Hole(code, message, serial=self.serial)

    def check(self) -> Iterator[Hole]:
        """What is wrong with them."""
        columns = (RECEIPTS.c.seq, RECEIPTS.c.chain_before, RECEIPTS.c.chain_after)
        query = select(*columns).where(RECEIPTS.c.serial == self.serial)
        for row in self.index.stream(query.order_by(RECEIPTS.c.seq, RECEIPTS.c.sha256)):
            yield from self._receipt(*row)
        heads = select(HEADS.c.seq, HEADS.c.chain).where(HEADS.c.serial == self.serial)
        for seq, chain in self.index.stream(heads.order_by(HEADS.c.seq, HEADS.c.chain)):
            if seq > self.last:
                yield self._missing(self.last + 1, seq)
                self.last = seq
            if self.chains.setdefault(seq, chain) != chain:
                yield self._hole(
                    HoleCode.LOCK_HEAD, f"it stated another chain at {seq} than its receipts have"
                )

    def _receipt(self, seq: int, before: bytes, after: bytes) -> Iterator[Hole]:
        if seq == self.last and seq:
            yield self._hole(HoleCode.RECEIPT_CONFLICT, f"it signed two receipts number {seq}")
            return
        if seq > self.last + 1:
            yield self._missing(self.last + 1, seq - 1)
        if self.chains.setdefault(seq - 1, before) != before:
            yield self._hole(
                HoleCode.RECEIPT_CHAIN, f"receipt {seq} does not follow receipt {seq - 1}"
            )
        self.chains[seq] = after
        self.last = seq

    def _missing(self, first: int, last: int) -> Hole:
        which = f"receipt {first} is" if first == last else f"receipts {first} to {last} are"
        return self._hole(HoleCode.DROPPED_RECEIPT, f"{which} in no log, the lock issued it")


def _missing_intents(index: CrossIndex) -> Iterator[Hole]:
    """Answers whose own log lacks the intent; receipts whose intent is in no log."""
    own = exists().where(
        INTENTS.c.intent_hash == ANSWERS.c.intent_hash, INTENTS.c.origin == ANSWERS.c.origin
    )
    columns = (ANSWERS.c.origin, ANSWERS.c.entry_index, ANSWERS.c.intent_hash, ANSWERS.c.serial)
    for origin, entry, intent, serial in index.stream(select(*columns).where(~own)):
        message = f"the intent {intent.hex()} that it speaks of is not in its log"
        yield Hole(HoleCode.DROPPED_ENTRY, message, origin, entry, serial)
    given = exists().where(INTENTS.c.intent_hash == RECEIPTS.c.intent_hash)
    answered = exists().where(ANSWERS.c.intent_hash == RECEIPTS.c.intent_hash)
    receipts = select(RECEIPTS.c.serial, RECEIPTS.c.seq, RECEIPTS.c.intent_hash)
    for serial, seq, intent in index.stream(receipts.where(~given, ~answered)):
        message = f"receipt {seq} answers the intent {intent.hex()}, which no station recorded"
        yield Hole(HoleCode.HIDDEN_STATION, message, serial=serial)


def _foreign_intents(index: CrossIndex) -> Iterator[Hole]:
    """Receipts of one lock that answer an intent for another."""
    columns = (INTENTS.c.origin, INTENTS.c.entry_index, RECEIPTS.c.serial, RECEIPTS.c.seq)
    query = (
        select(*columns)
        .join(RECEIPTS, RECEIPTS.c.intent_hash == INTENTS.c.intent_hash)
        .where(INTENTS.c.serial != RECEIPTS.c.serial)
    )
    for origin, entry, serial, seq in index.stream(query):
        message = f"receipt {seq} of lock {serial} answers it, which was for another lock"
        yield Hole(HoleCode.FOREIGN_INTENT, message, origin, entry, serial)


def _tickets(index: CrossIndex) -> Iterator[Hole]:
    """Tickets that a lock took twice: only an act that was superseded may be continued."""
    columns = (
        RECEIPTS.c.serial,
        RECEIPTS.c.ticket_id,
        RECEIPTS.c.seq,
        RECEIPTS.c.op,
        RECEIPTS.c.image_digest,
        RECEIPTS.c.result,
    )
    query = (
        select(*columns)
        .where(RECEIPTS.c.ticket_id != _NO_TICKET)
        .order_by(RECEIPTS.c.serial, RECEIPTS.c.ticket_id, RECEIPTS.c.seq)
    )
    for one, after in itertools.pairwise(index.stream(query)):
        if one[:3] != after[:3] and one[:2] == after[:2] and not _continues(one, after):
            message = f"ticket {one[1].hex()} was taken for receipt {one[2]} and for {after[2]}"
            yield Hole(HoleCode.REPLAYED_TICKET, message, serial=one[0])


def _continues(one: tuple[Any, ...], after: tuple[Any, ...]) -> bool:
    same_work = one[3:5] == after[3:5]
    return same_work and one[5] == ActResult.SUPERSEDED


def _intents_twice(index: CrossIndex) -> Iterator[Hole]:
    """Intents that a lock answered with two receipts: one act has one."""
    columns = (RECEIPTS.c.intent_hash, RECEIPTS.c.serial, RECEIPTS.c.seq)
    query = select(*columns).order_by(*columns)
    for one, after in itertools.pairwise(index.stream(query)):
        if one[:2] == after[:2] and one[2] != after[2]:
            message = f"the intent {one[0].hex()} is answered by receipt {one[2]} and {after[2]}"
            yield Hole(HoleCode.REPLAYED_INTENT, message, serial=one[1])
