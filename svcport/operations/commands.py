"""What a technician can ask for, at whatever kind of lock is there; one function a command.

Args that all of them share: `work`, the opened home; `target`, which lock; `progress`, told what is
being done. All raise SvcportError, whose class says what it means for the lock (docs/contract.md).

Each loads what it does at our locks when it is called, and what it does at a device when one has
answered: all together takes longer than a lock's whole answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from images import PublicKey
from svcport.operations.meeting import meet
from svcport.operations.progress import Progress
from svcport.operations.report import Report
from svcport.operations.workplace import Target, Workplace

if TYPE_CHECKING:
    from svcport.operations.devices.visit import DeviceVisit
    from svcport.operations.visit import Visit


def identify(work: Workplace, target: Target, progress: Progress) -> Report:
    """Who the lock says it is."""
    from svcport.operations.identify import identify_lock

    def at_device(stay: DeviceVisit) -> Report:
        from svcport.operations.devices.looking import identify_device

        return identify_device(stay)

    return meet(work, target, progress, identify_lock, at_device)


def diagnose(work: Workplace, target: Target, progress: Progress) -> Report:
    """What is wrong with the lock, and what to do next."""
    from svcport.operations.diagnose import diagnose_lock

    return meet(work, target, progress, diagnose_lock)


def verify(
    work: Workplace,
    target: Target,
    progress: Progress,
    *,
    image: Path | None = None,
    keys: Sequence[PublicKey] = (),
) -> Report:
    """Whether what runs may run; `image`: what should run on a device that cannot be measured."""
    from svcport.operations.verify import verify_lock

    def at_device(stay: DeviceVisit) -> Report:
        from svcport.operations.devices.looking import verify_device

        return verify_device(stay, file=image, keys=keys)

    return meet(work, target, progress, verify_lock, at_device)


def restore(
    work: Workplace,
    target: Target,
    progress: Progress,
    *,
    image: Path | None = None,
    version: str | None = None,
    keys: Sequence[PublicKey] = (),
    dry_run: bool = False,
) -> Report:
    """Bring an image onto the lock; see `restore_lock` and `restore_device`."""
    from svcport.operations.restore import restore_lock

    def at_lock(stay: Visit) -> Report:
        return restore_lock(stay, image=image, version=version, dry_run=dry_run)

    def at_device(stay: DeviceVisit) -> Report:
        from svcport.operations.devices.restore import restore_device

        return restore_device(stay, file=image, version=version, keys=keys, dry_run=dry_run)

    return meet(work, target, progress, at_lock, at_device)


def rollback(
    work: Workplace, target: Target, progress: Progress, *, dry_run: bool = False
) -> Report:
    """Back to the other slot's image, if it is older."""
    from svcport.operations.rollback import rollback_lock

    def at_lock(stay: Visit) -> Report:
        return rollback_lock(stay, dry_run=dry_run)

    def at_device(stay: DeviceVisit) -> Report:
        from svcport.operations.devices.rollback import rollback_device

        return rollback_device(stay, dry_run=dry_run)

    return meet(work, target, progress, at_lock, at_device)


def logs(
    work: Workplace,
    target: Target,
    progress: Progress,
    *,
    since: datetime | None = None,
) -> Report:
    """The lock's event log; of a device, whatever it has written down."""
    from svcport.operations.identify import read_logs

    def at_lock(stay: Visit) -> Report:
        return read_logs(stay, since)

    def at_device(stay: DeviceVisit) -> Report:
        from svcport.operations.devices.logs import read_device_logs

        return read_device_logs(stay)

    return meet(work, target, progress, at_lock, at_device)


def reconcile(work: Workplace, target: Target, progress: Progress) -> Report:
    """Close what was left open."""
    from svcport.operations.reconcile import reconcile_lock

    def at_device(stay: DeviceVisit) -> Report:
        from svcport.operations.devices.reconcile import reconcile_device

        return reconcile_device(stay)

    return meet(work, target, progress, reconcile_lock, at_device)
