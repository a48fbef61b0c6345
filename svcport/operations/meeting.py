"""One operation at whatever kind of lock is there: ours, or a device whose port asks nobody."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from svcport.errors import FailedError, Reason, RefusedError, SvcportError
from svcport.locks.finding import AnyLock
from svcport.locks.service_port import ServicePortLock
from svcport.operations.finding import find, wrong_kind
from svcport.operations.installation import Installation
from svcport.operations.progress import Progress
from svcport.operations.report import Report
from svcport.operations.visit import Visit, visit
from svcport.operations.workplace import Target, Workplace, not_set_up

if TYPE_CHECKING:
    from svcport.operations.devices.visit import DeviceVisit

RETURNS: Final = 16
"""Times that the lock of one command may go away and be waited for."""


def meet(
    work: Workplace,
    target: Target,
    progress: Progress,
    service: Callable[[Visit], Report],
    device: Callable[[DeviceVisit], Report] | None = None,
) -> Report:
    """Find the lock and do what `service` or `device` does at its kind.

    Where the target is waited for, a lock that goes away is waited for too, at whichever port or
    adapter may be meant, and the operation done again: it continues where the lock stands.

    Raises:
        RefusedError: the lock is a service-port lock and this home has no credential
            (`not-set-up`).
        FailedError: it is a device, and there is no `device` (`lock-refused`).
        SvcportError: whatever stands in the way.
    """
    lost: SvcportError | None = None
    returns = 0
    while True:
        serial = None
        try:
            lock = find(work, target, progress)
            serial = lock.serial if isinstance(lock, ServicePortLock) else None
            return _do(work, target, progress, lock, service, device)
        except KeyboardInterrupt as error:
            if lost is None:
                raise
            raise lost from error  # what a try has left behind is not undone by having had enough
        except SvcportError as error:
            lost = _graver(lost, error)
            gone = error.reason is Reason.LINK_LOST and serial is not None
            if not gone or not target.wait_s or returns == RETURNS:
                if lost is error:
                    raise
                raise lost from error
        returns += 1
        progress.step(f"lock {serial} is gone: waiting up to {target.wait_s:.0f} s for it")
        target = replace(target, expect_serial=serial)


def _graver(before: SvcportError | None, now: SvcportError) -> SvcportError:
    """What to say in the end: that now nothing was changed is not true of the try before."""
    nothing = FailedError | RefusedError
    if before is None or isinstance(before, nothing) or not isinstance(now, nothing):
        return now
    return before


def _do(
    work: Workplace,
    target: Target,
    progress: Progress,
    lock: AnyLock,
    service: Callable[[Visit], Report],
    device: Callable[[DeviceVisit], Report] | None,
) -> Report:
    if not isinstance(lock, ServicePortLock):
        if device is None:
            lock.drop()
            raise wrong_kind(lock)
        from svcport.operations.devices.visit import device_visit

        with device_visit(work, target, lock, progress) as stay:
            return device(stay)
    if not isinstance(work, Installation):  # `find` refuses before this
        lock.drop()
        raise not_set_up(work.home)
    with visit(work, target, progress, lock) as authenticated:
        return service(authenticated)
