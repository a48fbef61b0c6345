"""Tickets as files, and whether one of them fits one act. Which one is used: see `policy`.

A ticket file is u16 length | ticket | u16 length | issuer certificate (big-endian), nothing more.
A TIME statement travels as tickets do, in the ticket's place: see `timestatement`.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from protocol.errors import MalformedObjectError, ProtocolError
from protocol.objects import IssuerCertificate, Ticket, TicketMode, nonce_hash, ticket_id
from protocol.sealed import BODY_LIMIT, HEADER_SIZE, SIGNATURE_SIZE, ObjectType, Sealed
from protocol.values import Op, Role
from svcport.authorisation.files import read_small
from svcport.authorisation.request import PermitRequest, op_names
from svcport.authorisation.scope import scope_refusals
from svcport.authorisation.standing import Moment
from svcport.authorisation.trust import Trust
from svcport.errors import Reason, RecordsError, Refusal, RefusedError, SvcportError
from svcport.home import Home

TICKET_FILE_LIMIT: Final = 2 * (2 + HEADER_SIZE + BODY_LIMIT + SIGNATURE_SIZE)
"""Most bytes of a ticket file."""

WITH_IMAGE: Final = Op.UPDATE | Op.ROLLBACK | Op.RESTORE
"""Operations whose ticket must name the image."""

CLASS_NONCE: Final = 1
CLASS_COUNTER: Final = 2
"""What an issuer's `ticket_class` allows: nonce tickets; nonce and counter tickets."""


@dataclass(frozen=True, slots=True)
class HeldTicket:
    """A ticket that an issuer of this vendor signed. Made by `TicketReader`.

    Attributes:
        id: what the lock calls it (32 bytes); see `protocol.objects.ticket_id`.
        source: the file it came from, for messages.
        given: named on the command line rather than found in the home.
    """

    ticket: Ticket
    issuer: IssuerCertificate
    sealed: Sealed
    issuer_sealed: Sealed
    id: bytes
    source: str
    given: bool = False

    def build(self) -> bytes:
        """The ticket file."""
        return ticket_file(self.sealed, self.issuer_sealed)


def ticket_file(ticket: Sealed, issuer: Sealed) -> bytes:
    """The content of a ticket file."""
    parts = (ticket.build(), issuer.build())
    return b"".join(struct.pack(">H", len(part)) + part for part in parts)


def ticket_file_name(lock_serial: str, content: bytes) -> str:
    """A name that no other ticket file has, and that begins with the lock's serial."""
    start = "".join(c if c.isalnum() or c in "-_" else "_" for c in lock_serial)
    return f"{start}-{hashlib.sha256(content).hexdigest()[:16]}.svc"


@dataclass(frozen=True, slots=True)
class TicketReader:
    """Reads ticket files; few issuers sign hundreds of tickets, each of them is checked once."""

    trust: Trust
    _issuers: dict[bytes, tuple[Sealed, IssuerCertificate]] = field(default_factory=dict)

    def open(self, data: bytes, source: str, *, given: bool = False) -> HeldTicket:
        """Read a ticket file and check both signatures; `source` stands in messages.

        Raises:
            MalformedObjectError: the file or an object in it is malformed.
            SignatureError: a signature or the realm is wrong.
        """
        sealed, issuer_sealed, issuer = self.signed(data)
        ticket = Ticket.read(sealed)
        _require_one_mode(ticket)
        number = ticket_id(sealed.signer, ticket)
        return HeldTicket(ticket, issuer, sealed, issuer_sealed, number, source, given)

    def signed(self, data: bytes) -> tuple[Sealed, Sealed, IssuerCertificate]:
        """The object of a file, whatever it is, and its issuer's certificate; raises as `open`."""
        first, rest = _prefixed(data)
        second, rest = _prefixed(rest)
        if rest:
            raise MalformedObjectError(f"{len(rest)} bytes follow the issuer certificate")
        issuer_sealed, issuer = self._issuer(second)
        sealed = Sealed.parse(first)
        self.trust.require_realm(sealed)
        sealed.verify(issuer.subject)
        return sealed, issuer_sealed, issuer

    def _issuer(self, data: bytes) -> tuple[Sealed, IssuerCertificate]:
        if data not in self._issuers:
            sealed = Sealed.parse(data)
            self._issuers[data] = sealed, self.trust.read_issuer(sealed)
        return self._issuers[data]


def states_time(data: bytes) -> bool:
    """Whether a file's object says that it is a TIME statement; nothing else is looked at."""
    return data[_TYPE_AT : _TYPE_AT + 1] == bytes([ObjectType.TIME])


_TYPE_AT: Final = 2 + 4
"""Behind the object's length and the magic of its header."""


def _prefixed(data: bytes) -> tuple[bytes, bytes]:
    size = int.from_bytes(data[:2], "big")
    if len(data) < 2 + size or not size:
        raise MalformedObjectError(f"a ticket file is cut: {size} bytes wanted, {len(data)} left")
    return data[2 : 2 + size], data[2 + size :]


def _require_one_mode(ticket: Ticket) -> None:
    seen = (ticket.nonce_hash is not None, ticket.counter is not None)
    if seen != (ticket.mode is TicketMode.NONCE, ticket.mode is TicketMode.COUNTER):
        raise MalformedObjectError(
            f"a {ticket.mode.name} ticket needs that field and not the other"
        )


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file among a home's tickets as it was read once, for all locks of a bench."""

    path: Path
    data: bytes
    error: SvcportError | None = None

    def read(self) -> bytes:
        """Its bytes; the RefusedError or RecordsError with which they could not be read."""
        if self.error is not None:
            raise self.error
        return self.data


def stored_files(home: Home) -> tuple[StoredFile, ...]:
    """Every file among a home's tickets, by name."""
    return tuple(_stored_file(path) for path in sorted(home.tickets.glob("*.svc"), key=str))


def _stored_file(path: Path) -> StoredFile:
    try:
        return StoredFile(path, read_small(path, TICKET_FILE_LIMIT))
    except (RefusedError, RecordsError) as error:
        return StoredFile(path, b"", error)


@dataclass(frozen=True, slots=True)
class SkippedTicket:
    """A file among the tickets that is no ticket, or not one of this vendor's."""

    path: Path
    why: str


@dataclass(frozen=True, slots=True)
class TicketBox:
    """The tickets at hand for a lock, and the files that were passed over."""

    tickets: tuple[HeldTicket, ...]
    skipped: tuple[SkippedTicket, ...] = ()

    @classmethod
    def load(
        cls,
        home: Home,
        trust: Trust,
        *,
        lock_serial: str | None = None,
        given: Sequence[Path] = (),
        stored: Sequence[StoredFile] | None = None,
    ) -> TicketBox:
        """Read a home's tickets, and those that were named on the command line; TIME is left out.

        Args:
            home: whose `tickets/*.svc` are read.
            trust: whose issuers count.
            lock_serial: leave out the home's tickets that do not name this lock; saves the time of
                checking hundreds for other locks.
            given: files to read besides; these must be tickets.
            stored: what `stored_files` gave, where the home need not be read once more.

        Raises:
            RefusedError: a given file is missing (`usage`) or is no ticket (`no-permit`).
        """
        reader = TicketReader(trust)
        offered = ((path, read_given(path)) for path in given)
        held = [_open_given(path, data, reader) for path, data in offered if not states_time(data)]
        skipped: list[SkippedTicket] = []
        serial = b"" if lock_serial is None else lock_serial.encode("ascii", "replace")
        for file in stored_files(home) if stored is None else stored:
            try:
                data = file.read()
                if serial in data and not states_time(data):
                    held.append(reader.open(data, file.path.name))
            except (ProtocolError, RefusedError, RecordsError) as error:
                skipped.append(SkippedTicket(file.path, str(error)))
        return cls(tuple(held), tuple(skipped))


def read_given(path: Path) -> bytes:
    """A file named with `--ticket`; RefusedError (`usage`) if it cannot be read."""
    try:
        return read_small(path, TICKET_FILE_LIMIT)
    except (RefusedError, RecordsError) as error:
        raise RefusedError(
            Reason.USAGE, f"--ticket: {error}", hint="give the path of a ticket file"
        ) from error


def _open_given(path: Path, data: bytes, reader: TicketReader) -> HeldTicket:
    try:
        return reader.open(data, path.name, given=True)
    except ProtocolError as error:
        raise RefusedError(
            Reason.NO_PERMIT,
            f"{path} is no ticket of this vendor: {error}",
            hint="ask the issuer for the ticket file again",
        ) from error


@dataclass(frozen=True, slots=True)
class Holder:
    """Who wants to use a ticket: key id and role of the technician's certificate."""

    key_id: bytes
    role: Role


Check = Callable[[HeldTicket, PermitRequest, Holder, Moment], tuple[Refusal, ...]]


def judge_ticket(
    held: HeldTicket, request: PermitRequest, holder: Holder, moment: Moment
) -> tuple[Refusal, ...]:
    """Every reason why this ticket does not fit this act; empty if it fits.

    A ticket for another operation is told by that alone: its other fields answer to other rules.
    """
    if request.op not in held.ticket.ops:
        return _no(
            f"the ticket {held.source} allows {op_names(held.ticket.ops)}, not {request.op_name}"
        )
    return tuple(refusal for check in _CHECKS for refusal in check(held, request, holder, moment))


def names_act(held: HeldTicket, request: PermitRequest) -> bool:
    """Whether the ticket is for this operation on this lock with this image, good or not."""
    ticket = held.ticket
    return (
        request.op in ticket.ops
        and ticket.lock_serial == request.lock_serial
        and (ticket.image_digest is None or ticket.image_digest == request.image_digest)
    )


def _no(message: str, reason: Reason = Reason.NO_PERMIT) -> tuple[Refusal, ...]:
    return (Refusal(reason, message, "ask your issuer for a ticket that fits"),)


def _lock(
    held: HeldTicket, request: PermitRequest, _holder: Holder, _moment: Moment
) -> tuple[Refusal, ...]:
    if held.ticket.lock_serial == request.lock_serial:
        return ()
    return _no(
        f"the ticket {held.source} is for lock {held.ticket.lock_serial}, "
        f"this is lock {request.lock_serial}",
        Reason.PERMIT_LOCK,
    )


def _image(
    held: HeldTicket, request: PermitRequest, _holder: Holder, _moment: Moment
) -> tuple[Refusal, ...]:
    ticket, found = held.ticket, []
    if ticket.image_digest is None:
        if request.op in WITH_IMAGE:
            found.append(f"the ticket {held.source} names no image, {request.op_name} needs one")
    elif ticket.image_digest != request.image_digest:
        found.append(
            f"the ticket {held.source} is for image {ticket.image_digest.hex()}, "
            f"this is {request.image_name}"
        )
    least = ticket.min_security_counter
    if least is not None and (request.security_counter is None or request.security_counter < least):
        found.append(
            f"the ticket {held.source} wants security counter {least} or more, "
            f"the image has {request.security_counter}"
        )
    return tuple(r for message in found for r in _no(message, Reason.PERMIT_IMAGE))


def _person(
    held: HeldTicket, _request: PermitRequest, holder: Holder, _moment: Moment
) -> tuple[Refusal, ...]:
    if held.ticket.holder == holder.key_id:
        return ()
    return _no(
        f"the ticket {held.source} is for the holder of key {held.ticket.holder.hex()}, "
        f"yours is {holder.key_id.hex()}"
    )


def _limits(
    held: HeldTicket, request: PermitRequest, _holder: Holder, _moment: Moment
) -> tuple[Refusal, ...]:
    if held.ticket.owner_approval is not None:
        return _no(f"the ticket {held.source} needs the owner's approval, none can be presented")
    if held.ticket.constraints is not None:
        return _no(f"the ticket {held.source} fixes arguments, {request.op_name} has none")
    return ()


def _issuer(
    held: HeldTicket, request: PermitRequest, holder: Holder, _moment: Moment
) -> tuple[Refusal, ...]:
    found: list[Refusal] = []
    mode, allowed = held.ticket.mode, held.issuer.ticket_class
    needed = CLASS_NONCE if mode is TicketMode.NONCE else CLASS_COUNTER
    if not needed <= allowed <= CLASS_COUNTER:
        found += _no(f"the issuer of {held.source} may not issue {mode.name.lower()} tickets")
    if request.op not in held.issuer.ops:
        found += _no(f"the issuer of {held.source} may not allow {request.op_name}")
    if (holder.role, request.op, mode) == (Role.DEPOT, Op.RESTORE, TicketMode.COUNTER):
        found += _no(f"a depot restores with nonce tickets, {held.source} is a counter ticket")
    found += scope_refusals(f"the issuer of {held.source}", held.issuer.scope, request)
    return tuple(found)


def _dates(
    held: HeldTicket, _request: PermitRequest, _holder: Holder, moment: Moment
) -> tuple[Refusal, ...]:
    ticket, issuer, expired = held.ticket, held.issuer, Reason.PERMIT_EXPIRED
    what, who, hint = (
        f"the ticket {held.source}",
        f"the issuer of {held.source}",
        "get a fresh ticket",
    )
    found = list(moment.revoked(what, (), ticket.epoch))
    found += moment.revoked(who, (issuer.subject.key_id,), issuer.epoch)
    found += moment.early(what, ticket.issued_at, expired)
    if ticket.not_after is not None:
        found += moment.late(what, ticket.not_after, expired, hint)
    found += moment.early(who, issuer.not_before, expired)
    found += moment.late(who, issuer.not_after, expired, hint)
    return tuple(found)


def _once(
    held: HeldTicket, request: PermitRequest, _holder: Holder, _moment: Moment
) -> tuple[Refusal, ...]:
    if held.id == request.continue_ticket_id:
        return ()
    if held.id in request.unusable:
        return _no(f"the ticket {held.source} has been used", Reason.PERMIT_USED)
    nonce, ticket = request.lock_nonce, held.ticket
    if ticket.nonce_hash is None or nonce is None or ticket.nonce_hash == nonce_hash(nonce):
        return ()
    return _no(
        f"the ticket {held.source} was made for a nonce that the lock has replaced",
        Reason.PERMIT_USED,
    )


_CHECKS: Final[tuple[Check, ...]] = (_lock, _image, _person, _limits, _issuer, _dates, _once)
