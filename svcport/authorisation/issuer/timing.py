"""Stating the time to a lock that has no clock to be believed: how late it is at least."""

from __future__ import annotations

from protocol.sealed import Sealed, Signer
from svcport.authorisation.issuer.desk import Desk
from svcport.authorisation.issuer.issuance import IssuedKind
from svcport.authorisation.issuer.signing import make_time


def sign_time(desk: Desk, issuer: Signer, lock_nonce: bytes) -> Sealed:
    """A TIME statement of this moment for the lock that shows `lock_nonce`, logged.

    The lock raises its time floor by it, at most to 14 days after the newest EPOCH, and so refuses
    certificates that had ended by then.

    Raises:
        RefusedError: the issuer may sign nothing now (`credential-expired`, `revoked`), or the
            nonce does not have 16 bytes (`usage`). Nothing was signed.
        RecordsError: the log fails.
    """
    desk.refuse_issuer()
    sealed = make_time(issuer, desk.authority.realm, unix_time=desk.seconds, lock_nonce=lock_nonce)
    desk.log.record(
        desk.entry(IssuedKind.TIME, issuer.subject, mode="nonce", object=sealed.digest.hex())
    )
    return sealed
