"""What an operation asks permission for: one act, on one lock, with at most one image."""

from __future__ import annotations

from dataclasses import dataclass

from protocol.values import ZERO_DIGEST, Op


@dataclass(frozen=True, slots=True, kw_only=True)
class PermitRequest:
    """One act as the policy sees it. What is said of the lock is what the lock itself said.

    Attributes:
        op: exactly one operation.
        lock_serial: from the lock's certificate.
        lock_model: as the lock states it; so is `lock_batch`.
        image_digest: SHA-256 of the image the act ends on; zero where the act has none.
        security_counter: of that image; None where the act has none.
        case_id: the case the work is done for, if one was stated; so is `site`.
        lock_nonce: the lock's present nonce (16 bytes); None where it was not asked, and then
            nonce tickets are not judged by it.
        unusable: ids of tickets that this lock has consumed or would not take any more. Ids are
            unique per issuer and lock only: never mix those of several locks.
        continue_ticket_id: the ticket of the lock's open act, where that act has this op and
            digest; going on under it consumes nothing.
    """

    op: Op
    lock_serial: str
    lock_model: str
    lock_batch: str
    image_digest: bytes = ZERO_DIGEST
    security_counter: int | None = None
    case_id: str | None = None
    site: str | None = None
    lock_nonce: bytes | None = None
    unusable: frozenset[bytes] = frozenset()
    continue_ticket_id: bytes | None = None

    @property
    def op_name(self) -> str:
        """The operation as messages name it."""
        return op_names(self.op)

    @property
    def image_name(self) -> str:
        """The image as messages name it."""
        return (
            "no image" if self.image_digest == ZERO_DIGEST else f"image {self.image_digest.hex()}"
        )


def op_names(ops: Op) -> str:
    """Operations as messages name them; bits without a name are left out."""
    return ", ".join(str(op.name).lower() for op in Op if op in ops) or "nothing"
