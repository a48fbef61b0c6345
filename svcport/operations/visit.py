"""One visit to one lock: found, known by name, authenticated, its receipts collected."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final

from svcport.errors import FailedError, Reason, Refusal, RefusedError, SvcportError
from svcport.locks.errors import NoLockError
from svcport.locks.service_port import ServicePortLock
from svcport.locks.snapshot import Snapshot
from svcport.operations.admission import (
    admit,
    admit_records,
    bring_epoch,
    bring_time,
    check_serial,
)
from svcport.operations.installation import Installation, Target
from svcport.operations.progress import Progress
from svcport.operations.report import refusals_json, with_facts
from svcport.transport.adapters import found_ports

log = logging.getLogger(__name__)

SCAN_LIMIT: Final = 64
"""Most ports tried when none is named."""


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
def visit(inst: Installation, target: Target, progress: Progress) -> Iterator[Visit]:
    """Find the lock, check that it is the expected one, authenticate, take a snapshot.

    Raises:
        RefusedError: `several-locks`, `wrong-lock`, `credential-expired`, `revoked`, `no-permit`.
        SvcportError: whatever stands in the way.
    """
    with _records_first(inst):
        admit(inst)
        progress.step("looking for the lock")
        lock = _connect(inst, target)
    try:
        admit_records(inst)
        _expect(lock, target)
        check_serial(inst, lock.serial)
        stay = _enter(inst, target, lock, progress)
        try:
            yield stay
        except SvcportError as error:
            raise with_facts(error, **stay.facts()) from error.__cause__
    except BaseException:
        lock.drop()
        raise
    lock.close()


def _enter(inst: Installation, target: Target, lock: ServicePortLock, progress: Progress) -> Visit:
    progress.step(f"opening a session with lock {lock.serial}")
    lock.authenticate(inst.auth)
    inst.ledger.remember_certificate(lock.session.certificate)
    progress.step("asking the lock about its state")
    warnings: list[Refusal] = []
    identity = bring_epoch(inst, lock, lock.identify(), warnings.append)
    identity = bring_time(inst, lock, identity, target.tickets, warnings.append)
    stay = Visit(inst, target, lock, progress, lock.snapshot(identity))
    for warning in warnings:
        stay.warn(warning)
    return stay


@contextlib.contextmanager
def _records_first(inst: Installation) -> Iterator[None]:
    """What is done while the records are opened: if they are damaged, nothing else matters."""
    try:
        yield
    except SvcportError:
        inst.require_records()
        raise


def _connect(inst: Installation, target: Target) -> ServicePortLock:
    if target.port is not None:
        return ServicePortLock.connect(
            target.port, inst.anchors, wait_s=target.wait_s, opener=inst.opener
        )
    ports = [port.device for port in found_ports() if port.known][:SCAN_LIMIT]
    if not ports:
        raise FailedError(
            Reason.NO_LOCK,
            "this computer has no serial adapter that svcport knows",
            hint="plug the service cable in, or name the port with --port; svcport ports lists all",
        )
    if len(ports) == 1:
        return ServicePortLock.connect(
            ports[0], inst.anchors, wait_s=target.wait_s, opener=inst.opener
        )
    locks = [lock for lock in _try_all(inst, ports) if lock is not None]
    if len(locks) == 1:
        return locks[0]
    for lock in locks:
        lock.drop()
    if not locks:
        raise NoLockError(", ".join(ports), 0, 0)
    named = ", ".join(f"{lock.serial} at {lock.port}" for lock in locks)
    raise with_facts(
        RefusedError(
            Reason.SEVERAL_LOCKS,
            f"{len(locks)} locks answer: {named}",
            hint="name one with --port, or use --all",
        ),
        locks=[{"serial": lock.serial, "port": lock.port} for lock in locks],
    )


def _try_all(inst: Installation, ports: list[str]) -> Iterator[ServicePortLock | None]:
    def attempt(port: str) -> ServicePortLock | None:
        try:
            return ServicePortLock.connect(port, inst.anchors, opener=inst.opener)
        except FailedError:
            return None

    with ThreadPoolExecutor(len(ports)) as pool:
        yield from pool.map(attempt, ports)


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
