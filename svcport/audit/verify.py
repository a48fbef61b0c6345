"""Judging a whole ledger: every hash, signature, receipt, index and checkpoint, named if wrong.

Reads the ledger in batches, so that memory does not grow with it; where it is long, every core
judges batches (`examining`). Open intents are listed and are no problem; receipts that answer
another station's intents are none either.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import func, select, union

from protocol.sealed import SubjectKey
from svcport.audit.certificates import damaged_certificates
from svcport.audit.checkpoint import Checkpoint
from svcport.audit.derived import (
    ChainCheck,
    TreeCheck,
    check_beyond,
    stored_nodes,
)
from svcport.audit.examining import POOL_FROM, Assignment, Bench, Judged, Span, cores
from svcport.audit.note import NoteError
from svcport.audit.problems import Problem, ProblemCode
from svcport.audit.rows import BATCH, last_index, open_intent_rows
from svcport.audit.tables import CHECKPOINTS, ENTRIES, INTENTS, LOGS, RECEIPTS
from svcport.audit.view import LedgerView, OpenIntent, open_intent
from svcport.errors import Reason, RecordsError

PROBLEM_LIMIT: Final = 1000
"""Most problems named; a ledger with more is told to be so."""


@dataclass(frozen=True, slots=True)
class LedgerVerdict:
    """What a ledger holds and what is wrong with it.

    Attributes:
        entries, receipts, locks: how many; a receipt that is recorded twice counts once.
        root: of all entries, None if one is missing.
    """

    origin: str
    vkey: str
    entries: int
    receipts: int
    locks: int
    root: bytes | None
    open_intents: tuple[OpenIntent, ...]
    problems: tuple[Problem, ...]

    @property
    def is_damaged(self) -> bool:
        """Whether the records themselves are at fault; such a ledger must not be used further."""
        return any(problem.is_damage for problem in self.problems)


def verify_ledger(
    view: LedgerView,
    *,
    manufacturer: SubjectKey | None = None,
    roots: Sequence[SubjectKey] = (),
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> LedgerVerdict:
    """Check everything that can be checked; whatever is wrong is in the verdict.

    Args:
        view: the ledger, marked as damaged or not.
        manufacturer: whose signature a lock's certificate must carry; None takes it as kept.
        roots: the fleet roots that a technician's chain must end in; empty takes it as kept.
        workers: processes that judge entries, 0 for none beside this one; None: one a core for a
            long ledger, none for a short one.
        progress: told now and then how many entries are judged, and of how many.

    Raises:
        RecordsError: the disk fails, or the store cannot be read at all.
    """
    assignment = Assignment(
        view.store.source,
        view.realm,
        view.origin,
        view.verifier.subject.raw,
        None if manufacturer is None else manufacturer.raw,
        tuple(root.raw for root in roots),
    )
    chains = ChainCheck()
    with contextlib.closing(chains):
        run = _Verification(view, chains, progress)
        run.look_at_size()
        if workers is None:
            workers = cores() if run.size >= POOL_FROM and cores() > 1 else 0
        run.walk(Bench(assignment, view.store, workers))
        run.look_at_the_rest()
        return run.verdict()


class _Verification:
    """One run over one ledger."""

    def __init__(
        self,
        view: LedgerView,
        chains: ChainCheck,
        progress: Callable[[int, int], None] | None,
    ) -> None:
        self.view = view
        self.origin = view.origin
        self.chains = chains
        self.progress = progress
        self.size = 0
        self.stated = 0
        self.receipts = 0
        self.tree: TreeCheck | None = TreeCheck()
        self.checkpoint: Checkpoint | None = None
        self.problems: list[Problem] = []

    def add(self, problems: Iterable[Problem]) -> None:
        """Note problems, up to the limit."""
        for problem in problems:
            if len(self.problems) == PROBLEM_LIMIT:
                message = f"there are more than the {PROBLEM_LIMIT} problems named"
                self.problems.append(Problem(None, ProblemCode.MORE, message))
            if len(self.problems) > PROBLEM_LIMIT:
                return
            self.problems.append(problem)

    def say(self, index: int | None, code: ProblemCode, message: str) -> None:
        """Note one problem."""
        self.add([Problem(index, code, message)])

    def look_at_size(self) -> None:
        """How far to walk, and the checkpoint that the walk will pass; both of one moment."""
        ours = select(LOGS.c.size).where(LOGS.c.origin == self.origin)
        signed = select(CHECKPOINTS.c.note).where(CHECKPOINTS.c.origin == self.origin)
        with self.view.store.read() as connection:
            stated: object = connection.execute(ours).scalar()
            last = last_index(connection, self.origin)
            note: object = connection.execute(signed).scalar()
        stored = 0 if last is None else last + 1
        self.stated = stated if isinstance(stated, int) else -1
        self.size = stored if self.stated < 0 else min(self.stated, stored)
        if self.stated > stored:
            message = f"missing, and all up to entry {self.stated - 1}"
            self.say(stored, ProblemCode.ENTRY_MISSING, message)
        elif self.stated < stored:
            self.say(None, ProblemCode.SIZE, f"the log states {stated!r} entries, {stored} stand")
        if note is not None:
            self._open_checkpoint(note)

    def _open_checkpoint(self, note: object) -> None:
        try:
            checkpoint = Checkpoint.open(
                note if isinstance(note, bytes) else b"", self.view.verifier
            )
        except NoteError as error:
            self.say(None, ProblemCode.CHECKPOINT, str(error))
            return
        if checkpoint.size > self.size:
            message = f"it was signed over {checkpoint.size} entries, the log has {self.size}"
            self.say(None, ProblemCode.CHECKPOINT, message)
            return
        self.checkpoint = checkpoint
        self._compare_root()

    def _compare_root(self) -> None:
        """Once the tree has the checkpoint's size, and only then."""
        checkpoint, tree = self.checkpoint, self.tree
        if checkpoint is None or tree is None or tree.size != checkpoint.size:
            return
        if tree.root != checkpoint.root:
            message = f"the root of the first {tree.size} entries is not the one signed"
            self.say(None, ProblemCode.CHECKPOINT, message)

    def walk(self, bench: Bench) -> None:
        """Every entry once, in order."""
        for span, judged in bench.judge_all(self._spans()):
            if judged.leaves:
                self._batch(span, judged)
            else:
                message = f"missing or unreadable, and all up to entry {span.high - 1}"
                self.say(span.low, ProblemCode.ENTRY_MISSING, message)
                self.tree = None
            if self.progress is not None:
                self.progress(span.high, self.size)

    def _spans(self) -> Iterator[Span]:
        """Batches of entries; a gap is one, however long, so that it costs one step."""
        low = 0
        while low < self.size:
            there = self._next_index(low)
            end = min(low + BATCH, self.size)
            span = Span(low, end) if there < end else Span(low, there, is_gap=True)
            yield span
            low = span.high

    def _next_index(self, start: int) -> int:
        """The first entry from `start` on; `start` itself where that cannot be read."""
        query = select(func.min(ENTRIES.c.entry_index)).where(
            ENTRIES.c.origin == self.origin, ENTRIES.c.entry_index >= start
        )
        try:
            with self.view.store.read() as connection:
                found: object = connection.execute(query).scalar()
        except RecordsError as error:
            if error.reason is not Reason.LEDGER_DAMAGED:
                raise
            return start
        return min(found, self.size) if isinstance(found, int) else self.size

    def _batch(self, span: Span, judged: Judged) -> None:
        nodes: dict[tuple[int, int], object] = {}
        with self._readable(), self.view.store.read() as connection:
            nodes = stored_nodes(connection, self.origin, span.low, span.high)
        for index in range(span.low, span.high):
            if index not in judged.leaves:
                self.say(index, ProblemCode.ENTRY_MISSING, "missing or unreadable")
                self.tree = None
                continue
            if index in judged.problems:
                self.add(judged.problems[index])
            self._grow(judged.leaves[index], nodes)
        if self.tree is not None:
            for level, last in nodes:
                message = f"a node of level {level} is stored that no tree has"
                self.say(last, ProblemCode.TREE_NODE, message)
        self.chains.add(judged.links)
        self.add(judged.indices)

    def _grow(self, leaf: bytes | None, nodes: dict[tuple[int, int], object]) -> None:
        if leaf is None:
            self.tree = None
        if leaf is None or self.tree is None:
            return
        self.add(self.tree.add(leaf, nodes))
        self._compare_root()

    def look_at_the_rest(self) -> None:
        """What does not go entry by entry."""
        with self._readable(), self.view.store.read() as connection:
            now: object = connection.execute(
                select(LOGS.c.size).where(LOGS.c.origin == self.origin)
            ).scalar()
            # Others may have appended meanwhile; what they added is theirs to be checked next.
            limit = (
                max(self.size, now) if isinstance(now, int) and now >= self.stated else self.size
            )
            self.add(check_beyond(connection, self.origin, limit))
        self._chains()
        with self._readable():
            for message in damaged_certificates(self.view.store):
                self.say(None, ProblemCode.CERTIFICATE, message)

    def _chains(self) -> None:
        for problem in self.chains.problems():
            if problem is None or problem.code is ProblemCode.RECEIPT_CHAIN:
                self.receipts += 1
            self.add([] if problem is None else [problem])

    @contextlib.contextmanager
    def _readable(self) -> Iterator[None]:
        """Damage that keeps a table from being read is a problem like any other."""
        try:
            yield
        except RecordsError as error:
            if error.reason is not Reason.LEDGER_DAMAGED:
                raise
            self.say(None, ProblemCode.STORE, error.message)

    def verdict(self) -> LedgerVerdict:
        """What was found."""
        locks = 0
        opened: tuple[OpenIntent, ...] = ()
        with self._readable():
            locks = self._locks()
            opened = self._open_intents()
        return LedgerVerdict(
            origin=self.origin,
            vkey=self.view.vkey,
            entries=self.size,
            receipts=self.receipts,
            locks=locks,
            root=None if self.tree is None else self.tree.root,
            open_intents=opened,
            problems=tuple(self.problems),
        )

    def _locks(self) -> int:
        named = union(
            select(RECEIPTS.c.serial).where(RECEIPTS.c.origin == self.origin),
            select(INTENTS.c.serial).where(
                INTENTS.c.origin == self.origin, INTENTS.c.serial.is_not(None)
            ),
        ).subquery()
        with self.view.store.read() as connection:
            return connection.execute(select(func.count()).select_from(named)).scalar() or 0

    def _open_intents(self) -> tuple[OpenIntent, ...]:
        """Those that can be read; the others are among the problems."""
        with self.view.store.read() as connection:
            rows = open_intent_rows(connection, self.origin)
        found: list[OpenIntent] = []
        for row in rows:
            if isinstance(row.index, int) and row.index >= self.size:
                continue
            try:
                found.append(open_intent(row.checked()))
            except RecordsError:
                continue
        return tuple(found)
