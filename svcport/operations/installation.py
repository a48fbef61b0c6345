"""A home that `setup` has filled: whom it trusts, who works with it, what it holds and records."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Self

from protocol.errors import ProtocolError
from protocol.objects import EpochStatement
from protocol.queries import Auth
from protocol.sealed import Sealed
from svcport.authorisation.credentials import Credential
from svcport.authorisation.keys.locked import Secret
from svcport.authorisation.tickets import StoredFile, TicketBox, stored_files
from svcport.authorisation.timestatement import HeldTime, held_times
from svcport.authorisation.trust import Trust
from svcport.catalogue.client import Catalogue
from svcport.errors import SvcportError
from svcport.home import Home
from svcport.locks.service_port import Opener
from svcport.locks.session import LockAnchors
from svcport.operations.workplace import (
    IntentSigner,
    Workplace,
    not_set_up,
    opened_beside,
)
from svcport.transport.port import open_port

if TYPE_CHECKING:
    from svcport.audit.ledger import Ledger

log = logging.getLogger(__name__)


class Installation(Workplace):
    """A home opened to operate with service-port locks, and with any other device."""

    def __init__(
        self,
        home: Home,
        trust: Trust,
        credential: Credential,
        records: Future[Ledger],
        now: Callable[[], datetime],
        opener: Opener = open_port,
    ) -> None:
        super().__init__(home, now, opener, records)
        self.trust = trust
        self.credential = credential
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
            raise not_set_up(home)
        trust = Trust.load(home)
        records = opened_beside(home, trust.realm)
        try:
            credential = Credential.load(home, trust, secret)
        except BaseException:
            records.result().close()  # damaged records are told before anything else
            raise
        return cls(home, trust, credential, records, now, opener)

    def _open_ledger(self) -> Ledger:
        """With this credential's certificates, which its entries name."""
        ledger = super()._open_ledger()
        ledger.remember_certificate(self.credential.certificates.issuer_sealed)
        ledger.remember_certificate(self.credential.certificates.technician_sealed)
        return ledger

    @property
    def intent_signer(self) -> IntentSigner:
        """The technician."""
        technician = self.credential.certificates.technician_sealed
        return IntentSigner(self.credential.signer, technician.digest)

    @property
    def anchors(self) -> LockAnchors:
        """Whom to believe about locks."""
        return LockAnchors(self.trust.realm, self.trust.manufacturer)

    @cached_property
    def catalogue(self) -> Catalogue:
        """The vendor's catalogue, even an expired one: who uses it must look at `expired`."""
        return Catalogue.open(self.home.root, now=self.now(), allow_expired=True)

    @property
    def image_pems(self) -> tuple[bytes, ...]:
        """See Workplace."""
        return tuple(self.trust.image_keys)

    @property
    def known_releases(self) -> Catalogue | None:
        """The catalogue, if it opens."""
        try:
            return self.catalogue
        except SvcportError as error:
            log.warning("the catalogue cannot be asked about images: %s", error)
            return None

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
