"""Judging many entries at once: on every core where the ledger is long, here where it is short.

A worker is a process of its own that opens the same store. It is told which entries to judge,
reads them and what the database derives from them, and hands back only what must be seen together
with other entries. Spans come back in the order they went out, and few are under way at a time, so
that memory does not grow with the ledger.
"""

from __future__ import annotations

import functools
import gc
import os
import signal
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import Final, NamedTuple

from protocol.objects import EntryKind, Receipt, chain_next
from protocol.sealed import Realm, SubjectKey
from svcport.audit.certificates import Keyring
from svcport.audit.checking import Examined, Examiner
from svcport.audit.derived import (
    Entries,
    EntryFacts,
    check_intent_index,
    check_receipt_index,
)
from svcport.audit.entries import LedgerEntry
from svcport.audit.problems import Problem, ProblemCode
from svcport.audit.rows import salvage
from svcport.audit.store import Store
from svcport.errors import Reason, RecordsError

POOL_FROM: Final = 6000
"""Entries from which workers are worth their start, which takes about a second."""

AHEAD: Final = 2
"""Spans under way for each worker: one that it works on, one that waits for it."""


class Span(NamedTuple):
    """Entries low..high-1; none of them is stored if it is a gap."""

    low: int
    high: int
    is_gap: bool = False


class Judged(NamedTuple):
    """What was found out about the entries of one span.

    Attributes:
        leaves: by index, for every row that could be read: the leaf hash to go on with, if any.
        problems: what is wrong with single entries, by index; those that have something.
        links: the receipts inside, as far as the stored bytes are those recorded; each what a
            `Link` holds, as a plain tuple, which costs less on its way to another process.
        indices: what is wrong with the database's own indices of these entries.
    """

    leaves: dict[int, bytes | None]
    problems: dict[int, tuple[Problem, ...]]
    links: list[tuple[str, int, int, bytes, bytes]]
    indices: list[Problem]


@dataclass(frozen=True, slots=True)
class Assignment:
    """Everything a worker needs to judge the entries of one log; keys as subject keys' bytes."""

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


Answer = Judged | _Failure


def judge(store: Store, examiner: Examiner, span: Span) -> Judged:
    """Whatever can be said of these entries without those before them.

    Raises:
        RecordsError: the disk fails; damage is no error here.
    """
    rows = {} if span.is_gap else salvage(store, examiner.origin, span.low, span.high)
    found = examiner.examine_all(rows)
    facts: dict[int, EntryFacts] = {}
    links: list[tuple[str, int, int, bytes, bytes]] = []
    for index, examined in found.items():
        if examined.entry is not None:
            facts[index] = _facts(examined.entry)
            link = _link(index, examined)
            if link is not None:
                links.append(link)
    return Judged(
        {index: one.leaf for index, one in found.items()},
        {index: one.problems for index, one in found.items() if one.problems},
        links,
        _judge_indices(store, examiner.origin, span, facts) if rows else [],
    )


def _judge_indices(store: Store, origin: str, span: Span, facts: Entries) -> list[Problem]:
    problems: list[Problem] = []
    try:
        with store.read() as connection:
            problems += check_receipt_index(connection, origin, span.low, span.high, facts)
            problems += check_intent_index(connection, origin, span.low, span.high, facts)
    except RecordsError as error:
        if error.reason is not Reason.LEDGER_DAMAGED:
            raise
        problems.append(Problem(None, ProblemCode.STORE, error.message))
    return problems


def _facts(entry: LedgerEntry) -> EntryFacts:
    body = entry.body
    intent = entry.sealed.digest if body.kind is EntryKind.INTENT else None
    return EntryFacts(body.kind, body.lock_serial, intent, entry.answers, entry.numbered)


def _link(index: int, examined: Examined) -> tuple[str, int, int, bytes, bytes] | None:
    entry = examined.entry
    if entry is None or entry.statement is None or entry.body.receipt is None:
        return None
    receipt = entry.statement.body
    if not isinstance(receipt, Receipt):
        return None
    problems = examined.problems
    if problems and any(one.code is ProblemCode.LEAF_HASH for one in problems):
        return None
    after = chain_next(receipt.chain_before, entry.body.receipt)
    return receipt.serial, receipt.seq, index, receipt.chain_before, after


@functools.lru_cache(maxsize=1)
def _seat(assignment: Assignment) -> tuple[Store, Examiner]:
    """A worker's own store and judge, kept from one span to the next."""
    store = Store.open(assignment.source)
    return store, assignment.examiner(store)


def _work(assignment: Assignment, span: Span) -> Answer:
    """What a worker does with one span."""
    try:
        return judge(*_seat(assignment), span)
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


class _Worker(SpawnProcess):
    """A process that Ctrl-C does not reach while it is loaded either, where that can be had."""

    def start(self) -> None:
        """As any process, which inherits what its maker is deaf to at that moment."""
        if not hasattr(signal, "pthread_sigmask"):  # Windows
            super().start()
            return
        before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        try:
            super().start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Workers(SpawnContext):
    Process = _Worker


def worker_pool(workers: int) -> ProcessPoolExecutor:
    """Processes that start afresh, the same on every platform."""
    return ProcessPoolExecutor(workers, _Workers(), _prepare_worker)


class Bench:
    """Where entries are judged: `workers` processes, or this one if that is 0."""

    def __init__(self, assignment: Assignment, store: Store, workers: int) -> None:
        self._assignment = assignment
        self._store = store
        self._local = assignment.examiner(store)
        self._workers = workers

    def judge_all(self, spans: Iterable[Span]) -> Iterator[tuple[Span, Judged]]:
        """The spans, judged, in order.

        Raises:
            RecordsError: entries or certificates cannot be read.
        """
        if not self._workers:
            for span in spans:
                yield span, judge(self._store, self._local, span)
            return
        pool = worker_pool(self._workers)
        try:
            yield from self._in_order(pool, spans)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _in_order(
        self, pool: ProcessPoolExecutor, spans: Iterable[Span]
    ) -> Iterator[tuple[Span, Judged]]:
        under_way: deque[tuple[Span, Future[Answer] | None]] = deque()
        for span in spans:
            under_way.append((span, self._submit(pool, span)))
            if len(under_way) > AHEAD * self._workers:
                yield self._answer(*under_way.popleft())
        while under_way:
            yield self._answer(*under_way.popleft())

    def _submit(self, pool: ProcessPoolExecutor, span: Span) -> Future[Answer] | None:
        try:
            return pool.submit(_work, self._assignment, span)
        except BrokenProcessPool:
            return None

    def _answer(self, span: Span, future: Future[Answer] | None) -> tuple[Span, Judged]:
        if future is None:
            return span, judge(self._store, self._local, span)
        try:
            found = future.result()
        except BrokenProcessPool:  # a worker was killed: slower, but the answer is the same
            return span, judge(self._store, self._local, span)
        if isinstance(found, _Failure):
            raise RecordsError(found.reason, found.message, hint=found.hint)
        return span, found
