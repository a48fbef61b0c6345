"""What can be wrong with a ledger, by stable name, and the mark that damage leaves behind."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from svcport.errors import RecordsError
from svcport.home import read_file, write_whole

MARK_NAME: Final = "damaged"
MARK_LINES: Final = 20
"""Most problems that the mark names; `audit verify` finds the rest again."""


class ProblemCode(StrEnum):
    """What is wrong, in one word."""

    ENTRY_MISSING = "entry-missing"
    ENTRY_UNREADABLE = "entry-unreadable"
    LEAF_HASH = "leaf-hash"
    ENTRY_MALFORMED = "entry-malformed"
    ENTRY_SIGNATURE = "entry-signature"
    TECHNICIAN_UNKNOWN = "technician-unknown"
    LOCK_UNKNOWN = "lock-unknown"
    CERTIFICATE = "certificate-damaged"
    RECEIPT_SIGNATURE = "receipt-signature"
    TREE_NODE = "tree-node"
    DERIVED_INDEX = "derived-index"
    RESULT_WITHOUT_INTENT = "result-without-intent"
    SIZE = "size"
    CHECKPOINT = "checkpoint"
    STORE = "store-damaged"
    MORE = "more-problems"
    FORK = "forked-log"
    TRUNCATED_TAIL = "truncated-tail"

    CERTIFICATE_UNTRUSTED = "certificate-untrusted"
    INTENT_UNAUTHORISED = "intent-unauthorised"
    RECEIPT_CHAIN = "receipt-chain"
    RECEIPT_CONFLICT = "receipt-conflict"


_NOT_OURS: Final = frozenset(
    (
        ProblemCode.CERTIFICATE_UNTRUSTED,
        ProblemCode.INTENT_UNAUTHORISED,
        ProblemCode.RECEIPT_CHAIN,
        ProblemCode.RECEIPT_CONFLICT,
    )
)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is not as it must be.

    Attributes:
        index: the entry at fault, None if it is no single entry's.
    """

    index: int | None
    code: ProblemCode
    message: str

    @property
    def is_damage(self) -> bool:
        """Whether these records are at fault, not a lock that contradicts itself or a missing root.

        Only damage keeps the installation from operating: a lying lock must not stop the bench.
        """
        return self.code not in _NOT_OURS

    def __str__(self) -> str:
        place = "ledger" if self.index is None else f"entry {self.index}"
        return f"{place}: {self.code}: {self.message}"


def write_mark(folder: Path, problems: Iterable[Problem]) -> bool:
    """Leave the mark if any of `problems` is damage; whether it was left.

    Raises:
        RecordsError: the mark cannot be written (reason `storage`).
    """
    lines = [str(problem) for problem in problems if problem.is_damage][:MARK_LINES]
    if lines:
        write_whole(folder / MARK_NAME, "".join(f"{line}\n" for line in lines).encode())
    return bool(lines)


def read_mark(folder: Path) -> str | None:
    """The first line of the mark, None if there is none; an unreadable mark is a mark."""
    path = folder / MARK_NAME
    if not path.exists():
        return None
    with contextlib.suppress(RecordsError):
        return read_file(path).decode("utf-8", "replace").split("\n", 1)[0]
    return "unreadable mark"
