"""A home as far as any device needs it: its records, who signs there, the image keys it trusts."""

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
from protocol.sealed import Realm, Signer
from svcport.catalogue.client import Catalogue
from svcport.errors import Reason, RefusedError, SvcportError
from svcport.home import Home
from svcport.locks.service_port import Opener
from svcport.transport.port import open_port

if TYPE_CHECKING:
    from svcport.audit.ledger import Ledger

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class IntentSigner:
    """Who signs INTENTs: a technician with the hash of the certificate, or the station itself."""

    signer: Signer
    technician_hash: bytes | None


class Workplace:
    """A home opened to operate with; may be shared by the worker threads of one command.

    One that `setup` never filled serves devices that ask nobody for a credential (docs/devices.md),
    and no service-port lock; see `Installation`.

    Attributes:
        now: the clock; gives aware UTC.
        opener: opens ports.
    """

    def __init__(
        self,
        home: Home,
        now: Callable[[], datetime],
        opener: Opener = open_port,
        records: Future[Ledger] | None = None,
    ) -> None:
        self.home = home
        self.now = now
        self.opener = opener
        self._records = records

    @classmethod
    def bare(cls, home: Home, *, now: Callable[[], datetime], opener: Opener = open_port) -> Self:
        """A home without a credential. Its records, if it has any, are opened beside other work."""
        there = home.ledger.exists()
        records = opened_beside(home, Realm.PRODUCTION) if there else None
        return cls(home, now, opener, records)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._records is not None:
            with contextlib.suppress(SvcportError):
                self._records.result().close()

    @cached_property
    def ledger(self) -> Ledger:
        """This home's records; waits until they are open, makes them where there are none.

        Raises:
            RecordsError: they are damaged or cannot be read: nothing may be operated.
        """
        return self._open_ledger()

    def _open_ledger(self) -> Ledger:
        if self._records is None:
            self._records = opened_beside(self.home, Realm.PRODUCTION)
        return self._records.result()

    def require_records(self) -> None:
        """Wait until the records, if there are any, are open; RecordsError if they are damaged."""
        if self._records is not None:
            _ = self.ledger

    @property
    def intent_signer(self) -> IntentSigner:
        """Who signs what is about to be done to a device."""
        return IntentSigner(self.ledger.station, None)

    @property
    def image_pems(self) -> tuple[bytes, ...]:
        """The public keys, in pem form, under which this home trusts images."""
        return ()

    @cached_property
    def image_trust(self) -> TrustStore:
        """The same, read; RefusedError (`not-set-up`) if one is damaged."""
        try:
            return TrustStore(PublicKey.from_pem(pem) for pem in self.image_pems)
        except ImageError as error:
            raise RefusedError(
                Reason.NOT_SET_UP,
                f"an image key of this home cannot be read: {error}",
                hint="run svcport setup again with the folder that your vendor gave you",
            ) from error

    @property
    def known_releases(self) -> Catalogue | None:
        """The vendor's catalogue, for what it tells of images; None where there is none."""
        return None


def not_set_up(home: Home, more: str = "") -> RefusedError:
    """The refusal of a service-port lock to a home without a credential."""
    return RefusedError(
        Reason.NOT_SET_UP,
        f"{home.root} holds no credential{more}",
        hint="svcport setup --from DIR, with the folder that your vendor or depot gave you",
    )


def opened_beside(home: Home, realm: Realm) -> Future[Ledger]:
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
