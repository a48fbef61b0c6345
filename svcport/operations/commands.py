"""What a technician can ask for, at whatever kind of lock is there; one function a command.

Args that all of them share: `work`, the opened home; `target`, which lock; `progress`, told what is
being done. All raise SvcportError, whose class says what it means for the lock (docs/contract.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from images import PublicKey
from svcport.operations.devices.logs import read_device_logs
from svcport.operations.devices.looking import identify_device, verify_device
from svcport.operations.devices.reconcile import reconcile_device
from svcport.operations.devices.restore import restore_device
from svcport.operations.devices.rollback import rollback_device
from svcport.operations.diagnose import diagnose_lock
from svcport.operations.identify import identify_lock, read_logs
from svcport.operations.meeting import meet
from svcport.operations.progress import Progress
from svcport.operations.reconcile import reconcile_lock
from svcport.operations.report import Report
from svcport.operations.restore import restore_lock
from svcport.operations.rollback import rollback_lock
from svcport.operations.verify import verify_lock
from svcport.operations.workplace import Target, Workplace


def identify(work: Workplace, target: Target, progress: Progress) -> Report:
    """Who the lock says it is."""
    return meet(work, target, progress, identify_lock, identify_device)


def diagnose(work: Workplace, target: Target, progress: Progress) -> Report:
    """What is wrong with the lock, and what to do next."""
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
    return meet(
        work,
        target,
        progress,
        verify_lock,
        lambda stay: verify_device(stay, file=image, keys=keys),
    )


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
    return meet(
        work,
        target,
        progress,
        lambda stay: restore_lock(stay, image=image, version=version, dry_run=dry_run),
        lambda stay: restore_device(stay, file=image, version=version, keys=keys, dry_run=dry_run),
    )


def rollback(
    work: Workplace, target: Target, progress: Progress, *, dry_run: bool = False
) -> Report:
    """Back to the other slot's image, if it is older."""
    return meet(
        work,
        target,
        progress,
        lambda stay: rollback_lock(stay, dry_run=dry_run),
        lambda stay: rollback_device(stay, dry_run=dry_run),
    )


def logs(
    work: Workplace,
    target: Target,
    progress: Progress,
    *,
    since: datetime | None = None,
) -> Report:
    """The lock's event log; of a device, whatever it has written down."""
    return meet(
        work,
        target,
        progress,
        lambda stay: read_logs(stay, since),
        read_device_logs,
    )


def reconcile(work: Workplace, target: Target, progress: Progress) -> Report:
    """Close what was left open."""
    return meet(work, target, progress, reconcile_lock, reconcile_device)
