"""One operation at whatever kind of lock is there: ours, or a device whose port asks nobody."""

from __future__ import annotations

from collections.abc import Callable

from svcport.locks.mcuboot import McubootLock
from svcport.operations.devices.visit import DeviceVisit, device_visit
from svcport.operations.finding import find, wrong_kind
from svcport.operations.installation import Installation
from svcport.operations.progress import Progress
from svcport.operations.report import Report
from svcport.operations.visit import Visit, visit
from svcport.operations.workplace import Target, Workplace, not_set_up


def meet(
    work: Workplace,
    target: Target,
    progress: Progress,
    service: Callable[[Visit], Report],
    device: Callable[[DeviceVisit], Report] | None = None,
) -> Report:
    """Find the lock and do what `service` or `device` does at its kind.

    Raises:
        RefusedError: the lock is a service-port lock and this home has no credential
            (`not-set-up`).
        FailedError: it is a device, and there is no `device` (`lock-refused`).
        SvcportError: whatever stands in the way.
    """
    lock = find(work, target, progress)
    if isinstance(lock, McubootLock):
        if device is None:
            lock.drop()
            raise wrong_kind(lock)
        with device_visit(work, target, lock, progress) as stay:
            return device(stay)
    if not isinstance(work, Installation):  # `find` refuses before this
        lock.drop()
        raise not_set_up(work.home)
    with visit(work, target, progress, lock) as authenticated:
        return service(authenticated)
