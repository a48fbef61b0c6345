"""Judging many entries at once: on every core where the ledger is long, here where it is short.

A worker is a process of its own that opens the same store to read certificates. It is handed rows
and hands back facts: plain values, a few of them an entry. Batches come back in the order they
went out, and few are under way at a time, so that memory does not grow with the ledger.
"""

from __future__ import annotations

import functools
import gc
import os
import signal
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Final, NamedTuple

from protocol.objects import EntryKind, Receipt, chain_next
from protocol.sealed import Realm, SubjectKey
from svcport.audit.certificates import Keyring
from svcport.audit.checking import Examined, Examiner
from svcport.audit.problems import Problem, ProblemCode
from svcport.audit.rows import RawRow
from svcport.audit.store import Store
from svcport.errors import Reason, RecordsError

POOL_FROM: Final = 6000
"""Entries from which workers are worth their start, which takes about a second."""

AHEAD: Final = 2
"""Batches under way for each worker: one that it works on, one that waits for it."""

Rows = Mapping[int, RawRow]


class Link(NamedTuple):
    """A receipt's place in its lock's chain."""

    serial: str
    seq: int
    before: bytes
    after: bytes


class EntryFacts(NamedTuple):
    """What the rest of a verification needs of one entry that could be read.

    Attributes:
        intent: hash of an INTENT, None for another kind.
        answers: hash of the intent that the entry closes.
        link: the receipt inside, if there is one and the stored bytes are those recorded.
    """

    kind: EntryKind
    serial: str | None
    intent: bytes | None
    answers: bytes | None
    numbered: tuple[str, int] | None
    link: Link | None


class Judged(NamedTuple):
    """One row, judged: see `checking.Examined`."""

    facts: EntryFacts | None
    leaf: bytes | None
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class Assignment:
    """Everything a worker needs to judge the rows of one log; keys as subject keys' bytes."""

    source: str
    realm: Realm
    origin: str
    station: bytes
    manufacturer: bytes | None
    roots: tuple[bytes, ...]

    def examiner(self, store: Store) -> Examiner:
        """The judge that finds certificates in `store`."""
        manufacturer = None if self.manufacturer is None else SubjectKey(self.manufacturer)
        roots = [SubjectKey(root) for root in self.roots]
        keyring = Keyring(store, self.realm, manufacturer, roots)
        return Examiner(self.realm, self.origin, SubjectKey(self.station), keyring)


class _Failure(NamedTuple):
    """A RecordsError on its way out of a worker."""

    reason: Reason
    message: str
    hint: str


Answer = dict[int, Judged] | _Failure


def judge(examiner: Examiner, rows: Rows) -> dict[int, Judged]:
    """Every row by itself."""
    return {index: _judged(examiner.examine(index, row)) for index, row in rows.items()}


def _judged(examined: Examined) -> Judged:
    entry = examined.entry
    if entry is None:
        return Judged(None, examined.leaf, examined.problems)
    body, link = entry.body, None
    inside = entry.statement
    as_recorded = all(one.code is not ProblemCode.LEAF_HASH for one in examined.problems)
    if inside is not None and isinstance(inside.body, Receipt) and as_recorded and body.receipt:
        receipt = inside.body
        after = chain_next(receipt.chain_before, body.receipt)
        link = Link(receipt.serial, receipt.seq, receipt.chain_before, after)
    facts = EntryFacts(
        body.kind,
        body.lock_serial,
        entry.sealed.digest if body.kind is EntryKind.INTENT else None,
        entry.answers,
        entry.numbered,
        link,
    )
    return Judged(facts, examined.leaf, examined.problems)


@functools.lru_cache(maxsize=1)
def _examiner(assignment: Assignment) -> Examiner:
    """A worker's own judge, kept from one batch to the next."""
    return assignment.examiner(Store.open(assignment.source))


def _work(assignment: Assignment, rows: list[tuple[int, object, object]]) -> Answer:
    """What a worker does with one batch."""
    try:
        return judge(_examiner(assignment), {row[0]: RawRow(*row) for row in rows})
    except RecordsError as error:
        return _Failure(error.reason, error.message, error.hint)


def _prepare_worker() -> None:
    """Ctrl-C reaches every process of the terminal; the one in front deals with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.freeze()  # what is imported stays: the collector need not look through it again and again


def cores() -> int:
    """How many processes can run at once."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def worker_pool(workers: int) -> ProcessPoolExecutor:
    """Processes that start afresh, the same on every platform."""
    return ProcessPoolExecutor(workers, get_context("spawn"), _prepare_worker)


class Bench:
    """Where rows are judged: `workers` processes, or this one if that is 0."""

    def __init__(self, assignment: Assignment, store: Store, workers: int) -> None:
        self._assignment = assignment
        self._local = assignment.examiner(store)
        self._workers = workers

    def judge_all(self, batches: Iterable[Rows]) -> Iterator[dict[int, Judged]]:
        """The batches, judged, in order.

        Raises:
            RecordsError: certificates cannot be read.
        """
        if not self._workers:
            for rows in batches:
                yield judge(self._local, rows)
            return
        pool = worker_pool(self._workers)
        try:
            yield from self._in_order(pool, batches)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _in_order(
        self, pool: ProcessPoolExecutor, batches: Iterable[Rows]
    ) -> Iterator[dict[int, Judged]]:
        under_way: deque[tuple[Rows, Future[Answer] | None]] = deque()
        for rows in batches:
            under_way.append((rows, self._submit(pool, rows)))
            if len(under_way) > AHEAD * self._workers:
                yield self._answer(*under_way.popleft())
        while under_way:
            yield self._answer(*under_way.popleft())

    def _submit(self, pool: ProcessPoolExecutor, rows: Rows) -> Future[Answer] | None:
        plain = [(index, row.leaf_hash, row.data) for index, row in rows.items()]
        try:
            return pool.submit(_work, self._assignment, plain)
        except BrokenProcessPool:
            return None

    def _answer(self, rows: Rows, future: Future[Answer] | None) -> dict[int, Judged]:
        if future is None:
            return judge(self._local, rows)
        try:
            found = future.result()
        except BrokenProcessPool:  # a worker was killed: slower, but the answer is the same
            return judge(self._local, rows)
        if isinstance(found, _Failure):
            raise RecordsError(found.reason, found.message, hint=found.hint)
        return found
