"""A lock behind its service port: connecting, asking everything at once, changing, coming back."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final

from protocol.acts import (
    Activate,
    ActStatus,
    Begin,
    Commit,
    Committed,
    Confirm,
    Receipts,
    Reset,
    Rollback,
    TransferReady,
)
from protocol.errors import MalformedObjectError, SignatureError
from protocol.objects import Measurement, measured
from protocol.queries import (
    DIGESTS_PER_PAGE,
    MEASURE_NONCE_SIZE,
    Auth,
    Battery,
    Event,
    Events,
    Identify,
    Identity,
    Measure,
    SectorDigests,
    SelfTest,
    SlotInfo,
    Slots,
)
from protocol.refusal import SelfTestPart
from protocol.request import Done, Request
from protocol.sealed import Sealed
from protocol.statements import EpochTaken, LockNonce, PutEpoch, PutTime, TimeTaken
from protocol.values import Head, Slot
from svcport.errors import FailedError, Reason
from svcport.locks.line import UploadEnd, raise_speed, upload
from svcport.locks.session import (
    HELLO_PATIENCE_S,
    Link,
    LockAnchors,
    Session,
    SessionLostError,
    open_session,
)
from svcport.locks.snapshot import LockKind, SlotView, Snapshot
from svcport.transport.clock import Heed, keep_on
from svcport.transport.port import (
    FIRST_BAUD,
    LinkLostError,
    Transport,
)

log = logging.getLogger(__name__)

BOOT_DEADLINE_S: Final = 45.0
"""Longest wait for a lock to come back after a reset: boot, verification, radio start."""

AWAY: Final = (Reason.NO_LOCK, Reason.LINK_LOST, Reason.PORT_BUSY)
"""What a port says while its lock restarts."""

RECENT_EVENTS: Final = 80
"""How much of the event log is judged: two pages."""

BOOT_PERIOD_S: Final = 0.05
"""How often a lock that restarts is asked whether it is there."""

RECEIPTS_LIMIT: Final = 256  # at one time: a lock keeps the last 64, a hostile one never ends

NEWEST: Final = 0xFFFFFFFF
"""As `since` of EVENTS: no events, only where the log's head stands."""


Opener = Callable[[str], Transport]
"""Opens a port by name, as `open_port` does."""


class ServicePortLock:
    """One lock at one open port. After a reset, `come_back` opens a new session."""

    def __init__(
        self,
        anchors: LockAnchors,
        transport: Transport,
        opener: Opener,
        patience_s: float = HELLO_PATIENCE_S,
    ) -> None:
        """Shake hands and judge the lock's certificate; nobody is authenticated yet.

        Raises:
            NoLockError, LockIdentityError, FailedError: see `open_session`.
        """
        self.port = transport.name
        self._anchors = anchors
        self._opener = opener
        self._link = Link(transport)
        self._auth: Callable[[bytes], Auth] | None = None
        self._proved: int | None = None
        self.session = open_session(self._link, anchors, patience_s=patience_s)

    @property
    def kind(self) -> LockKind:
        """Which of the three kinds it is: ours."""
        return LockKind.SERVICE_PORT

    @property
    def serial(self) -> str:
        """The authenticated serial."""
        return self.session.serial

    @property
    def baud(self) -> int:
        """The line's speed now."""
        return self._link.baud

    @property
    def head(self) -> Head:
        """The lock's receipt chain as it stood at AUTH."""
        return self.session.head

    def authenticate(self, auth: Callable[[bytes], Auth]) -> None:
        """Open the session for a technician; `auth` makes the AUTH for a handshake hash."""
        self._auth = auth
        self.session.authenticate(auth)

    def close(self) -> None:
        """End the session politely, if the lock still listens, and let the port go."""
        # Ctrl-C is too late here to stop anything, and what is done must not be called stopped.
        with contextlib.suppress(FailedError, KeyboardInterrupt):
            self.session.close()
        self._link.transport.close()

    def drop(self) -> None:
        """Let the port go at once, and the lock with it if it can still be told."""
        self.session.leave()
        self._link.transport.close()

    def come_back(self, deadline_s: float = BOOT_DEADLINE_S, heed: Heed = keep_on) -> None:
        """After a reset: a new authenticated session with the same lock, within the deadline.

        Raises:
            LinkLostError: it did not come back, or another lock did; and whatever `heed` raises.
        """
        before, clock = self.session, self._link.clock
        deadline = clock.now() + deadline_s
        error: FailedError | None = None
        while clock.now() < deadline:
            try:
                return self._reopen(before)
            except FailedError as failure:
                if failure.reason not in AWAY:
                    raise
                error = failure
            heed()
            clock.sleep(0.2)
        raise LinkLostError(f"the lock did not come back within {deadline_s:.0f} s") from error

    def _reopen(self, before: Session) -> None:
        try:
            self._link.set_baud(FIRST_BAUD)
            session = self._open_again()
        except LinkLostError:
            self._link.transport.close()
            self._link = Link(self._opener(self.port))
            session = self._open_again()
        if session.subject != before.subject:
            raise FailedError(
                Reason.WRONG_LOCK,
                f"lock {session.serial} answers where lock {before.serial} was",
                hint="plug the first lock in again",
            )
        if self._auth is not None:
            session.authenticate(self._auth)
        self.session = session

    def _open_again(self) -> Session:
        return open_session(self._link, self._anchors, patience_s=2.0, period_s=BOOT_PERIOD_S)

    def identify(self) -> Identity:
        """What the lock is; the first thing to ask after AUTH."""
        return self.session.call(Identify(), "say what it is")

    def nonce(self) -> bytes:
        """The nonce (16 bytes) that nonce tickets and TIME statements for this lock name."""
        return self.session.call(LockNonce(), "give its nonce").nonce

    def put_epoch(self, statement: bytes) -> EpochTaken:
        """Bring an EPOCH; LockRefusedError if the lock does not take it."""
        return self.session.call(PutEpoch(statement), "take the vendor's newest EPOCH")

    def put_time(self, statement: bytes, issuer: bytes) -> TimeTaken:
        """Bring a TIME and its issuer's certificate; LockRefusedError if the lock does not."""
        return self.session.call(PutTime(statement, issuer), "take the time")

    def snapshot(self) -> Snapshot:
        """Every read-only question but the event log."""
        call = self.session.call
        identity = self.identify()
        table = call(Slots(), "say what its slots hold")
        act = call(ActStatus(), "say which act is open")
        battery = call(Battery(), "measure its battery")
        return Snapshot(
            kind=LockKind.SERVICE_PORT,
            serial=self.serial,
            model=identity.model,
            hardware=identity.hardware,
            batch=identity.batch,
            bootloader=identity.bootloader,
            slots=tuple(_view(info) for info in table.slots),
            target=table.target,
            slot_size=identity.slot_size,
            max_baud=identity.max_baud,
            security_counter=identity.security_counter,
            battery_rest_mv=battery.rest_mv,
            battery_load_mv=battery.load_mv,
            head=self.head,
            act=act,
            min_epoch=identity.min_epoch,
            epoch_number=identity.epoch_number,
            time_floor=identity.time_floor,
            uptime_s=identity.uptime_s,
        )

    def with_authority_now(self, snapshot: Snapshot) -> Snapshot:
        """`snapshot` with what the lock goes by now to judge who may act, and its uptime."""
        identity = self.identify()
        return replace(
            snapshot,
            min_epoch=identity.min_epoch,
            epoch_number=identity.epoch_number,
            time_floor=identity.time_floor,
            uptime_s=identity.uptime_s,
        )

    def with_slots_now(self, snapshot: Snapshot) -> Snapshot:
        """`snapshot` with what the slots hold now, and the receipt chain as last stated."""
        table = self.session.call(Slots(), "say what its slots hold")
        slots = tuple(_view(info) for info in table.slots)
        return replace(snapshot, slots=slots, target=table.target, head=self.head)

    def recent_events(self, count: int = RECENT_EVENTS) -> tuple[Event, ...]:
        """The newest `count` events that the ring still holds, rising by index."""
        call, doing = self.session.call, "read its event log"
        head = call(Events(NEWEST), doing).head
        events: list[Event] = []
        since = max(0, head - count)
        while since < head:
            page = call(Events(since), doing)
            if not page.events:
                break
            indices = [since - 1, *(event.index for event in page.events)]
            if indices != sorted(set(indices)):
                raise _strange(f"events from {since} on must rise, these are {indices[1:]}")
            events += page.events
            since = indices[-1] + 1
        return tuple(events)

    def receipts_since(self, seq: int) -> tuple[Head, tuple[bytes, ...]]:
        """All receipts after `seq` and the chain's head; those up to `seq` count as collected."""
        found: list[bytes] = []
        while True:
            page = self.session.call(Receipts(seq + len(found)), "hand out its receipts")
            found += page.receipts
            if not page.receipts or seq + len(found) >= page.head.seq:
                self.session.head = page.head
                return page.head, tuple(found)
            if len(found) > RECEIPTS_LIMIT:
                raise _strange(f"{len(found)} receipts came, at most {RECEIPTS_LIMIT} may")

    def collected(self, seq: int) -> Head:
        """Tell the lock that its receipts up to `seq` are kept elsewhere now; its chain's head."""
        page = self.session.call(Receipts(seq), "mark its receipts as collected")
        self.session.head = page.head
        return page.head

    def measure(self, slot: Slot, content: bytes | None) -> Measurement:
        """What a slot holds, measured now for a fresh nonce and signed by the lock.

        Args:
            slot: the slot.
            content: the image that it should hold, if known; its bytes are compared too.

        Raises:
            FailedError: the statement is not this lock's, or not for this nonce (`lock-identity`),
                or the bytes are not `content` (`not-measurable`).
        """
        nonce = os.urandom(MEASURE_NONCE_SIZE)
        answer = self.session.call(Measure(slot, nonce), "measure an image")
        try:
            sealed = Sealed.parse(answer.statement)
            sealed.verify(self.session.subject)
            statement = Measurement.read(sealed)
        except (MalformedObjectError, SignatureError) as error:
            raise FailedError(
                Reason.LOCK_IDENTITY, f"the lock's measurement does not hold: {error}"
            ) from error
        if (statement.nonce, statement.slot, statement.serial) != (nonce, slot, self.serial):
            raise FailedError(
                Reason.LOCK_IDENTITY, "the lock's measurement answers another question"
            )
        if content is not None and statement.slot_digest != measured(nonce, content):
            raise FailedError(
                Reason.NOT_MEASURABLE,
                "the slot's bytes are not those of the image whose digest the lock states",
            )
        return statement

    def sector_digests(self, slot: Slot, count: int) -> tuple[bytes, ...]:
        """First 8 bytes of SHA-256 of the first `count` sectors, zero where not verified."""
        digests: list[bytes] = []
        while len(digests) < count:
            wanted = min(count - len(digests), DIGESTS_PER_PAGE)
            request = SectorDigests(slot, len(digests), wanted)
            page = self.session.call(request, "say what its sectors hold").digests
            if len(page) != wanted:
                raise _strange(f"{len(page)} sector digests came, not {wanted}")
            digests += page
        return tuple(digests)

    def raise_speed(self, max_baud: int) -> int:
        """Use the fastest speed that both sides prove; the speed in force, in baud.

        What was proved once, or not, holds for the visit: other speeds are not tried again.
        """
        self._proved = raise_speed(self.session, min(max_baud, self._proved or max_baud))
        return self._proved

    def regain_speed(self) -> None:
        """After a restart: the speed that was proved before it, if one was."""
        if self._proved is not None:
            self.raise_speed(self._proved)

    def begin(self, request: Begin) -> TransferReady:
        """Open or continue an act; LockRefusedError if the lock judges otherwise."""
        return self.session.call(request, "take the new image")

    def upload(
        self, ready: TransferReady, stream: Iterator[bytes], advance: Callable[[int], None]
    ) -> UploadEnd:
        """Send the units; see `line.upload`."""
        return upload(self.session, ready, stream, advance)

    def commit(self, transfer_id: int) -> Committed:
        """Have the written image judged as a whole."""
        return self.session.call(Commit(transfer_id), "accept the written image")

    def activate(self) -> None:
        """Boot the committed image on trial; the lock resets."""
        self._call_to_reset(Activate(), "start the new image on trial")

    def roll_back(self, request: Rollback) -> None:
        """Boot the other slot's image on trial; the lock resets."""
        self._call_to_reset(request, "go back to the other image")

    def self_test(self) -> SelfTestPart:
        """Parts that fail; zero if all pass."""
        return SelfTestPart(self.session.call(SelfTest(), "test itself").failed)

    def confirm(self) -> bytes:
        """Keep the image on trial; the RECEIPT object."""
        return self.session.call(Confirm(), "keep the new image").receipt

    def reset(self) -> None:
        """Reset the lock; an image on trial is given up."""
        self._call_to_reset(Reset(), "reset")

    def _call_to_reset(self, request: Request[Done], doing: str) -> None:
        """Ask for what resets the lock; a lock that has lost the session meanwhile was reset.

        Whether by this, as where its answer was lost, is seen when it has come back.
        """
        with contextlib.suppress(SessionLostError):
            self.session.call(request, doing)


def _strange(message: str) -> FailedError:
    return FailedError(Reason.PROTOCOL_VERSION, message)


def _view(info: SlotInfo) -> SlotView:
    known = info.size > 0
    return SlotView(
        slot=info.slot,
        state=info.state,
        bootable=info.bootable,
        version=info.version if known else None,
        digest=info.digest if known else None,
        security_counter=info.security_counter if known else None,
        size=info.size,
    )
