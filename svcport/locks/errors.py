"""What a lock's own no, or its silence, means in the words of svcport."""

from __future__ import annotations

from typing import Final

from protocol.refusal import Refusal as LockRefusal
from protocol.refusal import RefusalCode
from svcport.errors import FailedError, Outcome, Reason, SvcportError

_POLICY: Final = {
    RefusalCode.CREDENTIAL_INVALID: Reason.CREDENTIAL_EXPIRED,
    RefusalCode.CREDENTIAL_EXPIRED: Reason.CREDENTIAL_EXPIRED,
    RefusalCode.REVOKED: Reason.REVOKED,
    RefusalCode.OUT_OF_SCOPE: Reason.NO_PERMIT,
    RefusalCode.NOT_ALLOWED: Reason.NO_PERMIT,
    RefusalCode.NO_TICKET: Reason.NO_PERMIT,
    RefusalCode.TICKET_INVALID: Reason.NO_PERMIT,
    RefusalCode.TICKET_HOLDER: Reason.NO_PERMIT,
    RefusalCode.TICKET_LOCK: Reason.PERMIT_LOCK,
    RefusalCode.TICKET_IMAGE: Reason.PERMIT_IMAGE,
    RefusalCode.TICKET_EXPIRED: Reason.PERMIT_EXPIRED,
    RefusalCode.TICKET_USED: Reason.PERMIT_USED,
    RefusalCode.NOT_CONFIRMED: Reason.NOT_CONFIRMED,
    RefusalCode.NO_OLDER_IMAGE: Reason.NO_OLDER_IMAGE,
    RefusalCode.NOT_NEWER: Reason.NO_PERMIT,
    RefusalCode.NOT_BOOTABLE: Reason.NOT_BOOTABLE,
    RefusalCode.ANTI_ROLLBACK: Reason.ANTI_ROLLBACK,
    RefusalCode.BATTERY_LOW: Reason.BATTERY_LOW,
    RefusalCode.IMAGE_MALFORMED: Reason.IMAGE_MALFORMED,
    RefusalCode.IMAGE_HASH: Reason.IMAGE_HASH,
    RefusalCode.IMAGE_SIGNATURE: Reason.IMAGE_SIGNATURE,
    RefusalCode.IMAGE_SIGNER: Reason.IMAGE_SIGNER,
    RefusalCode.IMAGE_MODEL: Reason.IMAGE_MODEL,
}


class LockRefusedError(SvcportError):
    """The lock answered no.

    Attributes:
        refusal: the lock's answer.
        doing: the request it refused, in words.
    """

    def __init__(self, refusal: LockRefusal, doing: str) -> None:
        reason = _POLICY.get(refusal.code, Reason.LOCK_REFUSED)
        word = refusal.code.name.lower().replace("_", "-")
        detail = f" ({refusal.detail})" if refusal.detail else ""
        super().__init__(
            reason,
            f"the lock refuses to {doing}: {word}{detail}",
            hint=f"svcport explain {reason} says what it means",
        )
        self.refusal = refusal
        self.doing = doing
        self.outcome = Outcome.FAILED if reason is Reason.LOCK_REFUSED else Outcome.REFUSED


class NoLockError(FailedError):
    """Nothing that speaks this protocol answers at the port."""

    def __init__(self, port: str, waited_s: float, heard: int) -> None:
        seen = f"{heard} bytes that are no frame" if heard else "silence"
        super().__init__(
            Reason.NO_LOCK,
            f"no lock answers at {port}: {seen} in {waited_s:.0f} s",
            hint="check the plug and the port's name, wake the lock with its keypad, or use --wait",
        )


class LockIdentityError(FailedError):
    """What answers cannot prove to be a lock of this vendor."""

    def __init__(self, message: str) -> None:
        super().__init__(
            Reason.LOCK_IDENTITY,
            message,
            hint="do not service it: it may be a fake, or this home trusts another vendor",
        )
