"""A lab that runs, and a technician who looks at its locks."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from protocol.queries import Auth
from svcport.authorisation.credentials import Credential
from svcport.authorisation.trust import Trust
from svcport.home import Home
from svcport.lab.run import run_lab
from svcport.locks.finding import find_lock
from svcport.locks.service_port import ServicePortLock
from svcport.locks.session import LockAnchors
from svcport.locks.snapshot import Snapshot

HANG_S = 30.0
"""What takes less than a second and has not happened by then never will."""

NOW = datetime(2026, 11, 22, 12, 0, 30, 250, tzinfo=UTC)
FIRST, SECOND = "TR-100001", "TR-100002"


@contextlib.contextmanager
def running(directory: Path, *serials: str, **options: Any) -> Iterator[dict[str, str]]:
    """Serve until the block ends; gives the port of each lock. An error of the lab is raised."""
    stop, listening = threading.Event(), threading.Event()
    ports: dict[str, str] = {}
    errors: list[BaseException] = []

    def listened(serial: str, port: str) -> None:
        ports[serial] = port
        if len(ports) == (len(serials) or len(list((directory / "locks").iterdir()))):
            listening.set()

    def work() -> None:
        try:
            run_lab(directory, serials, on_listen=listened, stop=stop, **options)
        except BaseException as error:  # noqa: BLE001 - raised again below
            errors.append(error)
        finally:
            listening.set()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        assert listening.wait(HANG_S)
        if not errors:
            yield ports
    finally:
        stop.set()
        thread.join(HANG_S)
        assert not thread.is_alive()
    if errors:
        raise errors[0]


def connect(directory: Path, port: str) -> ServicePortLock:
    """An authenticated session, as the lab's technician."""
    bundle = Home(directory / "technician")
    trust = Trust.load(bundle)
    credential = Credential.load(bundle, trust)

    def auth(handshake_hash: bytes) -> Auth:
        signature = credential.auth_signature(trust.realm, handshake_hash)
        return Auth(credential.issuer_bytes, credential.technician_bytes, signature)

    anchors = LockAnchors(trust.realm, trust.manufacturer)
    lock = find_lock(port, anchors, wait_s=HANG_S)
    assert isinstance(lock, ServicePortLock)
    try:
        lock.authenticate(auth)
    except BaseException:
        lock.drop()
        raise
    return lock


def look(directory: Path, port: str) -> Snapshot:
    """What a lock says of itself."""
    lock = connect(directory, port)
    try:
        return lock.snapshot()
    finally:
        lock.close()
