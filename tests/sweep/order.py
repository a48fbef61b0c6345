"""Order: every request that changes something, sent at every step, by somebody with the right to.

The lock may refuse it or carry it out; either way nothing of what is promised may break.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from fieldkit import LoudSilence
from sweep.measure import measured
from sweep.recover import finish
from sweep.starts import room, start
from sweep.yard import Yard

from protocol.acts import Activate, Begin, Commit, Confirm, Reset, Rollback
from protocol.values import SECTOR_SIZE, ZERO_DIGEST, Op
from svcport.errors import FailedError
from svcport.locks.errors import LockRefusedError
from svcport.locks.service_port import ServicePortLock

FLOWS: Final = ("restore", "confirm", "rollback", "confirm-rollback")
REQUESTS: Final = ("begin", "commit", "activate", "confirm", "rollback", "reset")


def names() -> Iterator[str]:
    for flow in FLOWS:
        for number in range(1, len(measured(flow).steps) + 1):
            for request in REQUESTS:
                # Who begins a transfer before a rollback has overwritten what it would bring.
                if (flow, request) == ("rollback", "begin"):
                    continue
                yield f"order/{flow}/{request}/{number}"


def run(name: str, parts: list[str]) -> str:
    """`order/FLOW/REQUEST/STEP`."""
    flow, request, number = parts
    yard = Yard(start(flow), room())
    yard.erases_allowed = 2  # a transfer out of turn, and the command's own
    before = ServicePortLock.authenticate
    intruder = _Intruder(yard, request, int(number))

    def authenticate(lock: ServicePortLock, auth: Any) -> None:
        intruder.lock = lock
        before(lock, auth)

    ServicePortLock.authenticate = authenticate  # type: ignore[method-assign]
    yard.progress = intruder
    try:
        ended = yard.go()
    finally:
        ServicePortLock.authenticate = before  # type: ignore[method-assign]
    yard.progress = LoudSilence()
    return finish(yard, name, ended)


class _Intruder(LoudSilence):
    """Sends one request through the session of the command, where it has one by then."""

    def __init__(self, yard: Yard, request: str, number: int) -> None:
        super().__init__()
        self._yard, self._request, self._number = yard, request, number
        self.lock: ServicePortLock | None = None

    def step(self, text: str) -> None:
        super().step(text)
        if len(self.steps) != self._number or self.lock is None:
            return
        try:
            self.lock.session.call(self._made(self.lock), f"{self._request} out of turn")
        except (LockRefusedError, FailedError):
            return

    def _made(self, lock: ServicePortLock) -> Any:
        simple = {
            "commit": Commit(1),
            "activate": Activate(),
            "confirm": Confirm(),
            "reset": Reset(),
        }
        if self._request in simple:
            return simple[self._request]
        image = "2.4.1" if self._request == "begin" else "2.3.1"
        op = Op.UPDATE if self._request == "begin" else Op.ROLLBACK
        intent = self._intent(lock, op, self._yard.start.digests[image])
        if self._request == "rollback":
            return Rollback(intent, b"", b"")
        data = self._yard.start.images[image]
        count = -(-len(data) // SECTOR_SIZE)
        sectors = ((1 << count) - 1 << -count % 8).to_bytes(-(-count // 8), "big")
        slot = self._yard.board.core.target
        return Begin(intent, b"", b"", slot, len(data), ZERO_DIGEST, sectors)

    def _intent(self, lock: ServicePortLock, op: Op, digest: bytes) -> bytes:
        inst = self._yard.opened
        assert inst is not None
        _index, intent = inst.ledger.record_intent(
            signer=inst.credential.signer,
            op=op,
            serial=lock.serial,
            now=inst.now(),
            technician_hash=inst.credential.certificates.technician_sealed.digest,
            ticket_id=ZERO_DIGEST,
            image_digest=digest,
            session=lock.session.handshake_hash,
            lock_head=lock.session.head,
        )
        return intent.build()
