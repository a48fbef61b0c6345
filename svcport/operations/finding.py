"""The one lock that an operation is about: at the port that was named, or at the only adapter."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from svcport.errors import FailedError, Reason, RefusedError, SvcportError
from svcport.locks.errors import NoLockError
from svcport.locks.finding import RETRY_S, AnyLock, find_lock
from svcport.locks.service_port import ServicePortLock
from svcport.operations.admission import admit
from svcport.operations.installation import Installation
from svcport.operations.progress import Progress, heed_of
from svcport.operations.report import with_facts
from svcport.operations.workplace import Target, Workplace, not_set_up
from svcport.transport.adapters import found_ports
from svcport.transport.clock import Heed, SystemClock, keep_on

if TYPE_CHECKING:
    from svcport.locks.mcuboot import McubootLock

SCAN_LIMIT: Final = 64
"""Most ports tried when none is named."""

_MAY_COME: Final = (Reason.NO_LOCK, Reason.PORT_BUSY)
"""What may be otherwise a moment later."""


def find(work: Workplace, target: Target, progress: Progress) -> AnyLock:
    """Find the lock. Where none is, what this home lacks for a service-port lock is said first.

    Raises:
        RefusedError: `several-locks`, `not-set-up`, `credential-expired`.
        SvcportError: whatever stands in the way.
    """
    with records_first(work):
        progress.step("looking for the lock")
        try:
            return _find(work, target, heed_of(progress))
        except FailedError as error:
            if not isinstance(work, Installation):
                raise not_set_up(work.home, f", and {error.message}") from error
            admit(work)
            raise


@contextlib.contextmanager
def records_first(work: Workplace) -> Iterator[None]:
    """What is done while the records are opened: if they are damaged, nothing else matters."""
    try:
        yield
    except SvcportError:
        work.require_records()
        raise


def wrong_kind(lock: McubootLock) -> FailedError:
    """What to say where only a service-port lock could do what was asked."""
    return FailedError(
        Reason.LOCK_REFUSED,
        f"a {lock.kind} device answers at {lock.port}, which cannot do this",
        hint="identify, verify, restore, rollback and logs work there: docs/devices.md",
    )


def _find(work: Workplace, target: Target, heed: Heed) -> AnyLock:
    if target.port is not None:
        return _at(work, target.port, target.wait_s, heed)
    clock = SystemClock()
    deadline = clock.now() + target.wait_s
    while True:
        try:
            return _look_around(work)
        except FailedError as error:
            if error.reason not in _MAY_COME or clock.now() >= deadline:
                raise
        heed()
        clock.sleep(RETRY_S)


def _look_around(work: Workplace) -> AnyLock:
    """The lock at the known adapters, whichever are plugged in now."""
    ports = [port.device for port in found_ports() if port.known][:SCAN_LIMIT]
    if not ports:
        raise FailedError(
            Reason.NO_LOCK,
            "this computer has no serial adapter that svcport knows",
            hint="plug the service cable in, or name the port with --port; svcport ports lists all",
        )
    if len(ports) == 1:
        return _at(work, ports[0])
    locks = [lock for lock in _try_all(work, ports) if lock is not None]
    if len(locks) == 1:
        return locks[0]
    for lock in locks:
        lock.drop()
    if not locks:
        raise NoLockError(", ".join(ports), 0, 0)
    raise _several(locks)


def _at(work: Workplace, port: str, wait_s: float = 0.0, heed: Heed = keep_on) -> AnyLock:
    anchors = work.anchors if isinstance(work, Installation) else None
    return find_lock(port, anchors, wait_s=wait_s, opener=work.opener, heed=heed)


def _try_all(work: Workplace, ports: list[str]) -> Iterator[AnyLock | None]:
    def attempt(port: str) -> AnyLock | None:
        try:
            return _at(work, port)
        except FailedError:
            return None

    with ThreadPoolExecutor(len(ports)) as pool:
        yield from pool.map(attempt, ports)


def _several(locks: list[AnyLock]) -> SvcportError:
    serials = {
        lock.port: lock.serial if isinstance(lock, ServicePortLock) else None for lock in locks
    }
    named = ", ".join(f"{serial or 'a device'} at {port}" for port, serial in serials.items())
    return with_facts(
        RefusedError(
            Reason.SEVERAL_LOCKS,
            f"{len(locks)} locks answer: {named}",
            hint="name one with --port, or use --all",
        ),
        locks=[{"serial": serial, "port": port} for port, serial in serials.items()],
    )
