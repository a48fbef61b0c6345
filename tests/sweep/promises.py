"""What must hold after every case, and the name under which a case that breaks it is counted."""

from __future__ import annotations

from enum import StrEnum


class Promise(StrEnum):
    """One promise; the value is its column in the table."""

    BRICK = "brick"
    FALSE_SUCCESS = "false-success"
    UNAUDITED = "unaudited"
    HANG = "hang"
    COUNTER = "counter"
    MARK = "mark"
    TRIAL = "trial"
    WEAR = "wear"
    AGAIN = "again"
    LEDGER = "ledger"
    DECLARED = "declared"


MEANING = {
    Promise.BRICK: "the lock boots an authorised image, or a dead one waits in service mode",
    Promise.FALSE_SUCCESS: "ok is said only where the lock runs and has confirmed the new image",
    Promise.UNAUDITED: "what changed is told by an intent here and an act or receipt there",
    Promise.HANG: "nothing waits past its deadline",
    Promise.COUNTER: "the security counter never falls and rises only with a confirmed image",
    Promise.MARK: "a sector marked as verified holds what was sent",
    Promise.TRIAL: "while an image is on trial its slot stays as it was verified",
    Promise.WEAR: "one run erases no page twice",
    Promise.AGAIN: "the same command again reaches ok",
    Promise.LEDGER: "the ledger verifies, and has no hole after reconcile",
    Promise.DECLARED: "every end is one that the contract names",
}


class Broken(AssertionError):  # noqa: N818 - names what happened to the promise
    """A case broke a promise."""

    def __init__(self, promise: Promise, what: str) -> None:
        super().__init__(f"{promise}: {what}")
        self.promise = promise
