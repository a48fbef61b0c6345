"""One opened home: whom it trusts, who works with it, what it holds and records."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from images import ImageError, PublicKey, TrustStore
from protocol.errors import ProtocolError
from protocol.objects import EpochStatement
from protocol.queries import Auth
from protocol.sealed import Realm, Sealed
from svcport.authorisation.credentials import Credential
from svcport.authorisation.keys.locked import Secret
from svcport.authorisation.tickets import StoredFile, TicketBox, stored_files
from svcport.authorisation.timestatement import HeldTime, held_times
from svcport.authorisation.trust import Trust
from svcport.catalogue.client import Catalogue
from svcport.errors import Reason, RefusedError, SvcportError
from svcport.home import Home
from svcport.locks.service_port import Opener
from svcport.locks.session import LockAnchors
from svcport.transport.port import open_port

if TYPE_CHECKING:
    from svcport.audit.ledger import Ledger

log = logging.getLogger(__name__)


class Installation:
    """A home opened to operate with; may be shared by the worker threads of one command.

    Attributes:
        now: the clock; gives aware UTC.
        opener: opens ports.
    """

    def __init__(
        self,
        home: Home,
        trust: Trust,
        credential: Credential,
        records: Future[Ledger],
        now: Callable[[], datetime],
        opener: Opener = open_port,
    ) -> None:
        self.home = home
        self.trust = trust
        self.credential = credential
        self._records = records
        self.now = now
        self.opener = opener
        self._asked_catalogue = False

    @classmethod
    def open(
        cls,
        home: Home,
        *,
        secret: Secret | None,
        now: Callable[[], datetime],
        opener: Opener = open_port,
    ) -> Self:
        """Open a home that `setup` has filled.

        Args:
            home: where.
            secret: asked for the key's passphrase or PIN; None: it must have none.
            now: the clock; gives aware UTC.
            opener: opens ports.

        Raises:
            RefusedError: `not-set-up`, or the key stays locked (`signer-locked`).
            RecordsError: its records are damaged or cannot be read: nothing may be operated. For
                the ledger, `ledger` raises it.
        """
        if not home.is_set_up:
            raise RefusedError(
                Reason.NOT_SET_UP,
                f"{home.root} holds no credential",
                hint="svcport setup --from DIR, with the folder that your vendor or depot gave you",
            )
        trust = Trust.load(home)
        records = _opened_beside(home, trust.realm)
        try:
            credential = Credential.load(home, trust, secret)
        except BaseException:
            records.result().close()  # damaged records are told before anything else
            raise
        return cls(home, trust, credential, records, now, opener)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with contextlib.suppress(SvcportError):
            self._records.result().close()

    @cached_property
    def ledger(self) -> Ledger:
        """This home's records; waits until they are open.

        Raises:
            RecordsError: they are damaged or cannot be read: nothing may be operated.
        """
        ledger = self._records.result()
        ledger.remember_certificate(self.credential.certificates.issuer_sealed)
        ledger.remember_certificate(self.credential.certificates.technician_sealed)
        return ledger

    def require_records(self) -> None:
        """Wait until the records are open; RecordsError if they are damaged."""
        _ = self.ledger

    @property
    def anchors(self) -> LockAnchors:
        """Whom to believe about locks."""
        return LockAnchors(self.trust.realm, self.trust.manufacturer)

    @cached_property
    def catalogue(self) -> Catalogue:
        """The vendor's catalogue, even an expired one: who uses it must look at `expired`."""
        return Catalogue.open(self.home.root, now=self.now(), allow_expired=True)

    @cached_property
    def image_trust(self) -> TrustStore:
        """The public keys under which images must verify."""
        try:
            return TrustStore(PublicKey.from_pem(pem) for pem in self.trust.image_keys)
        except ImageError as error:
            raise RefusedError(
                Reason.NOT_SET_UP,
                f"an image key of this home cannot be read: {error}",
                hint="run svcport setup again with the folder that your vendor gave you",
            ) from error

    def newest_epoch(self) -> EpochStatement | None:
        """The newest EPOCH known here; one that the catalogue brought is kept with the trust.

        Raises:
            RecordsError: it cannot be written (`storage`).
        """
        if not self._asked_catalogue:
            self._asked_catalogue = True
            self._learn_epoch()
        return self.trust.epoch_statement

    def _learn_epoch(self) -> None:
        """Take the catalogue's EPOCH if it is newer; a catalogue that does not open has none."""
        try:
            offered = self.catalogue.epoch()
            if offered is None:
                return
            newer = self.trust.with_epoch(Sealed.parse(offered))
        except (SvcportError, ProtocolError) as error:
            log.warning("the catalogue gives no EPOCH statement: %s", error)
            return
        if newer is not self.trust:
            newer.write_epoch(self.home)
            self.trust = newer

    def auth(self, handshake_hash: bytes) -> Auth:
        """The AUTH that opens a session for this home's technician."""
        credential = self.credential
        return Auth(
            credential.issuer_bytes,
            credential.technician_bytes,
            credential.auth_signature(self.trust.realm, handshake_hash),
        )

    def tickets(self, lock_serial: str, given: tuple[Path, ...]) -> TicketBox:
        """The tickets held for a lock, and those named on the command line."""
        return TicketBox.load(
            self.home, self.trust, lock_serial=lock_serial, given=given, stored=self._stored
        )

    def times(self, given: tuple[Path, ...]) -> tuple[HeldTime, ...]:
        """The TIME statements held, and those named on the command line."""
        return held_times(self._stored, self.trust, given)

    @cached_property
    def _stored(self) -> tuple[StoredFile, ...]:
        """The home's ticket files, read once: a bench has dozens of locks, and hundreds of them."""
        return stored_files(self.home)


def _opened_beside(home: Home, realm: Realm) -> Future[Ledger]:
    """Open a home's records beside other work: loading SQLAlchemy takes as long as a handshake."""
    records: Future[Ledger] = Future()

    def work() -> None:
        try:
            from svcport.audit.ledger import Ledger

            records.set_result(Ledger.open(home.ledger, realm, create=True))
        # handed to whoever asks for the records, which is where it is judged
        except BaseException as error:  # noqa: BLE001
            records.set_exception(error)

    threading.Thread(target=work, name="records", daemon=True).start()
    return records


@dataclass(frozen=True, slots=True)
class Target:
    """Which lock an operation is for, as the command line said.

    Attributes:
        port: device or URL; None: try the known adapters.
        expect_serial: refuse any other lock.
        case_id: goes into the ledger.
        wait_s: seconds to wait for a port or lock to appear.
        tickets: ticket files to use, and TIME statements to bring.
        claimed_serial: for devices that cannot state one; a service-port lock states its own.
    """

    port: str | None
    expect_serial: str | None = None
    case_id: str | None = None
    wait_s: float = 0.0
    tickets: tuple[Path, ...] = ()
    claimed_serial: str | None = None
