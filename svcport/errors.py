"""Every way svcport can end other than well: outcomes, reasons, and the exceptions that carry them.

The words here are stable: scripts compare them (docs/contract.md). The texts beside them are not.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self


class Outcome(StrEnum):
    """How a command ended; the first thing a script reads."""

    OK = "ok"
    NOTHING_TO_DO = "nothing-to-do"
    DIFFERS = "differs"
    REFUSED = "refused"
    FAILED = "failed"
    UNKNOWN = "unknown"


class Reason(StrEnum):
    """Why a command did not end well. Refusals stand first, ranked: the first is the reason."""

    USAGE = "usage"
    SEVERAL_LOCKS = "several-locks"
    WRONG_LOCK = "wrong-lock"
    NOT_SET_UP = "not-set-up"
    IMAGE_MALFORMED = "image-malformed"
    IMAGE_HASH = "image-hash"
    IMAGE_SIGNATURE = "image-signature"
    IMAGE_SIGNER = "image-signer"
    IMAGE_MODEL = "image-model"
    IMAGE_WITHDRAWN = "image-withdrawn"
    ANTI_ROLLBACK = "anti-rollback"
    NO_OLDER_IMAGE = "no-older-image"
    NOT_CONFIRMED = "not-confirmed"
    NOT_BOOTABLE = "not-bootable"
    REVOKED = "revoked"
    CREDENTIAL_EXPIRED = "credential-expired"
    PERMIT_EXPIRED = "permit-expired"
    PERMIT_LOCK = "permit-lock"
    PERMIT_IMAGE = "permit-image"
    PERMIT_USED = "permit-used"
    NO_PERMIT = "no-permit"
    BATTERY_LOW = "battery-low"
    CATALOGUE_EXPIRED = "catalogue-expired"
    CATALOGUE_ROLLBACK = "catalogue-rollback"
    SIGNER_LOCKED = "signer-locked"

    NO_LOCK = "no-lock"
    PORT_BUSY = "port-busy"
    LOCK_IDENTITY = "lock-identity"
    PROTOCOL_VERSION = "protocol-version"
    LINK_LOST = "link-lost"
    LOCK_REFUSED = "lock-refused"
    NOT_MEASURABLE = "not-measurable"
    LEDGER_DAMAGED = "ledger-damaged"
    LEDGER_GAP = "ledger-gap"
    LEDGER_FORK = "ledger-fork"
    CHECKPOINT_REFUSED = "checkpoint-refused"
    RECEIPT_INVALID = "receipt-invalid"
    STORAGE = "storage"
    INTERRUPTED = "interrupted"


class SvcportError(Exception):
    """Root of everything svcport itself raises.

    Attributes:
        reason: the stable word a script compares.
        hint: what to do next, one sentence; may be empty.
        facts: what was known by then, for the report.
    """

    outcome: Outcome = Outcome.FAILED

    def __init__(self, reason: Reason, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.hint = hint
        self.facts: dict[str, Any] = {}

    def members(self) -> dict[str, Any]:
        """The report's members beyond the common ones."""
        return dict(self.facts)

    @property
    def message(self) -> str:
        """What was seen and what was wanted, lower case, no full stop."""
        return str(self)


@dataclass(frozen=True, slots=True)
class Refusal:
    """One no: the stable word, what was seen and wanted, and who can cure it."""

    reason: Reason
    message: str
    hint: str = ""


_ORDER = {reason: rank for rank, reason in enumerate(Reason)}


def in_order(refusals: Iterable[Refusal]) -> tuple[Refusal, ...]:
    """Refusals sorted as a report names them: the first is the report's reason."""
    return tuple(sorted(refusals, key=lambda refusal: _ORDER[refusal.reason]))


class RefusedError(SvcportError):
    """Policy, or a wrong call, said no before anything was changed.

    Attributes:
        refusals: every no that was found, the first being this error's own.
    """

    outcome = Outcome.REFUSED

    def __init__(
        self, reason: Reason, message: str, *, hint: str = "", refusals: Iterable[Refusal] = ()
    ) -> None:
        super().__init__(reason, message, hint=hint)
        self.refusals = tuple(refusals) or (Refusal(reason, message, hint),)

    def members(self) -> dict[str, Any]:
        """See SvcportError; with every no that was found."""
        nos = [
            {"reason": str(no.reason), "message": no.message, "hint": no.hint}
            for no in self.refusals
        ]
        return {**self.facts, "refusals": nos}

    @classmethod
    def of(cls, refusals: Iterable[Refusal]) -> Self:
        """The error that carries all of `refusals` (at least one)."""
        ordered = in_order(refusals)
        first = ordered[0]
        return cls(first.reason, first.message, hint=first.hint, refusals=ordered)


class FailedError(SvcportError):
    """It could not be done or found out, and nothing was changed."""


class RecordsError(SvcportError):
    """This installation's own records are damaged or cannot be opened: it must not operate."""


class UnfinishedError(SvcportError):
    """Lock or link failed after BEGIN and before ACTIVATE: the running image is untouched.

    Attributes:
        boots: version that the lock boots now, None if nothing was bootable before.
    """

    def __init__(self, reason: Reason, message: str, *, boots: str | None, hint: str = "") -> None:
        super().__init__(reason, message, hint=hint)
        self.boots = boots

    def members(self) -> dict[str, Any]:
        """See SvcportError; with what the lock boots."""
        return {**self.facts, "boots": self.boots}


class UnknownOutcomeError(SvcportError):
    """The answer to a changing command is missing; only asking the lock can tell."""

    outcome = Outcome.UNKNOWN
