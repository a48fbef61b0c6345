"""One visit to one lock: found, known by name, authenticated, its receipts collected."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from svcport.errors import Reason, Refusal, RefusedError, SvcportError
from svcport.locks.service_port import ServicePortLock
from svcport.locks.snapshot import Snapshot
from svcport.operations.admission import (
    admit,
    admit_records,
    bring_epoch,
    bring_time,
    check_serial,
)
from svcport.operations.finding import find, records_first, wrong_kind
from svcport.operations.installation import Installation
from svcport.operations.progress import Progress
from svcport.operations.report import refusals_json, with_facts
from svcport.operations.workplace import Target

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Visit:
    """An authenticated session with the lock, and what the lock said when it began.

    Attributes:
        snapshot: replaced by `look`.
        warnings: what a technician should know, and what stops nothing.
    """

    inst: Installation
    target: Target
    lock: ServicePortLock
    progress: Progress
    snapshot: Snapshot
    warnings: list[Refusal] = field(default_factory=list)

    def look(self) -> Snapshot:
        """Ask the lock everything again."""
        self.snapshot = self.lock.snapshot()
        return self.snapshot

    def look_at_slots(self) -> Snapshot:
        """Ask the lock what its slots hold, and leave the rest of the snapshot as it was."""
        self.snapshot = self.lock.with_slots_now(self.snapshot)
        return self.snapshot

    def warn(self, warning: Refusal) -> None:
        """Say something that stops nothing: the report shows it, the log at once where asked."""
        log.info("lock %s: %s", self.lock.serial, warning.message)
        self.warnings.append(warning)

    def facts(self) -> dict[str, Any]:
        """What every report of this visit says: `lock`, and `warnings` if there are any."""
        found: dict[str, Any] = {"lock": self.snapshot.as_json()}
        if self.warnings:
            found["warnings"] = refusals_json(tuple(self.warnings))
        return found


@contextlib.contextmanager
def visit(
    inst: Installation, target: Target, progress: Progress, lock: ServicePortLock | None = None
) -> Iterator[Visit]:
    """Check that it is the expected lock, authenticate, take a snapshot.

    Args:
        inst: the opened home.
        target: which lock.
        progress: told what is being done.
        lock: the one that was found there; it is let go at the end. None: find it.

    Raises:
        RefusedError: `several-locks`, `wrong-lock`, `credential-expired`, `revoked`, `no-permit`.
        SvcportError: whatever stands in the way.
    """
    lock = lock or find_service_port(inst, target, progress)
    try:
        with records_first(inst):
            snapshot = _ask(inst, target, lock, progress)
        stay = _enter(inst, target, lock, progress, snapshot)
        try:
            yield stay
        except SvcportError as error:
            raise with_facts(error, **stay.facts()) from error.__cause__
    except BaseException:
        lock.drop()
        raise
    lock.close()


def find_service_port(inst: Installation, target: Target, progress: Progress) -> ServicePortLock:
    """The service-port lock at the target; FailedError (`lock-refused`) for any other kind."""
    lock = find(inst, target, progress)
    if isinstance(lock, ServicePortLock):
        return lock
    lock.drop()
    raise wrong_kind(lock)


def _ask(inst: Installation, target: Target, lock: ServicePortLock, progress: Progress) -> Snapshot:
    """Everything that a lock answers without any change, while the records are being opened."""
    admit(inst)
    _expect(lock, target)
    check_serial(inst, lock.serial)
    progress.step(f"opening a session with lock {lock.serial}")
    lock.authenticate(inst.auth)
    progress.step("asking the lock about its state")
    return lock.snapshot()


def _enter(
    inst: Installation,
    target: Target,
    lock: ServicePortLock,
    progress: Progress,
    snapshot: Snapshot,
) -> Visit:
    admit_records(inst)
    inst.ledger.remember_certificate(lock.session.certificate)
    stay = Visit(inst, target, lock, progress, snapshot)
    stay.snapshot = bring_epoch(inst, lock, stay.snapshot, stay.warn)
    stay.snapshot = bring_time(inst, lock, stay.snapshot, target.tickets, stay.warn)
    return stay


def _expect(lock: ServicePortLock, target: Target) -> None:
    for name, wanted in (
        ("--expect-serial", target.expect_serial),
        ("--serial", target.claimed_serial),
    ):
        if wanted is not None and wanted != lock.serial:
            raise RefusedError(
                Reason.WRONG_LOCK,
                f"lock {lock.serial} answers at {lock.port}, {name} says {wanted}",
                hint="plug the cable into the other lock; nothing was changed on this one",
            )
