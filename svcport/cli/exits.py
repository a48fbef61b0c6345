"""Exit codes, from how a command ended. Knows nothing of commands, text or JSON.

The table is docs/contract.md, "Exit codes"; scripts rely on it.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum

from svcport.errors import (
    Outcome,
    Reason,
    RecordsError,
    SvcportError,
    UnfinishedError,
    UnknownOutcomeError,
)


class Exit(IntEnum):
    """What the process tells its caller; a higher code is the graver one."""

    OK = 0
    DIFFERS = 1
    USAGE = 2
    REFUSED = 3
    FAILED = 4
    UNFINISHED = 5
    UNKNOWN = 6
    RECORDS = 7


_OF_OUTCOME = {
    Outcome.OK: Exit.OK,
    Outcome.NOTHING_TO_DO: Exit.OK,
    Outcome.DIFFERS: Exit.DIFFERS,
    Outcome.REFUSED: Exit.REFUSED,
    Outcome.FAILED: Exit.FAILED,
    Outcome.UNKNOWN: Exit.UNKNOWN,
}


def of_outcome(outcome: Outcome, reason: Reason | None = None) -> Exit:
    """The code of a report; a report that failed has changed nothing (errors say otherwise)."""
    if reason is Reason.USAGE:
        return Exit.USAGE
    return _OF_OUTCOME[outcome]


def of_error(error: SvcportError) -> Exit:
    """The code of an error: its class says how far things had gone."""
    match error:
        case RecordsError():
            return Exit.RECORDS
        case UnknownOutcomeError():
            return Exit.UNKNOWN
        case UnfinishedError():
            return Exit.UNFINISHED
        case _:
            return of_outcome(error.outcome, error.reason)


def highest(codes: Iterable[Exit]) -> Exit:
    """The code of several reports together; OK if there are none."""
    return max(codes, default=Exit.OK)
