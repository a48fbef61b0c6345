"""Whether a slot holds exactly one image, measured by the lock now; never taken from memory."""

from __future__ import annotations

from protocol.values import Slot, SlotState
from svcport.errors import FailedError, Reason
from svcport.operations.visit import Visit


def measures_equal(visit: Visit, slot: Slot, digest: bytes, content: bytes | None) -> bool:
    """Whether the slot measures as the image of that digest, byte for byte where they are known.

    Raises:
        FailedError: the lock's statement does not hold (`lock-identity`).
    """
    try:
        statement = visit.lock.measure(slot, content)
    except FailedError as error:
        if error.reason is Reason.NOT_MEASURABLE:
            return False
        raise
    return statement.image_digest == digest


def runs_confirmed(visit: Visit, digest: bytes, content: bytes | None) -> bool:
    """Whether the image runs, is confirmed, and measures equal."""
    running = visit.snapshot.running
    return (
        running is not None
        and running.state is SlotState.RUNNING
        and running.digest == digest
        and measures_equal(visit, running.slot, digest, content)
    )
