"""Issuing tickets: judged as a lock will judge them, counters reserved first, all of it logged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from protocol.errors import ProtocolError
from protocol.objects import TechnicianCertificate, Ticket, ticket_id
from protocol.sealed import Realm, Sealed, Signer
from protocol.values import Role
from svcport.authorisation.issuer.desk import Desk, misfit
from svcport.authorisation.issuer.issuance import Issued, IssuedKind
from svcport.authorisation.issuer.limits import Draft, outlives, ticket_refusals
from svcport.authorisation.issuer.signing import TicketOrder, make_counter_ticket, make_nonce_ticket
from svcport.authorisation.request import op_names
from svcport.authorisation.standing import Moment
from svcport.authorisation.tickets import HeldTicket
from svcport.errors import Reason, RefusedError

BATCH_LIMIT: Final = 64
"""Most tickets at once: a lock's window of counters, within which any order of use is good."""


@dataclass(frozen=True, slots=True)
class IssuedTicket:
    """A signed and logged ticket; `id` is what the lock calls it."""

    sealed: Sealed
    id: bytes
    counter: int | None


@dataclass(frozen=True, slots=True)
class TicketDesk:
    """Issues the tickets of one order.

    Attributes:
        issuer: the issuer's key.
        order: what they are for.
        holder: whose; the role that is assumed where only the key is known.
    """

    desk: Desk
    issuer: Signer
    order: TicketOrder
    holder: TechnicianCertificate | Role

    def by_counter(self, count: int, *, at_least: int | None = None) -> tuple[IssuedTicket, ...]:
        """`count` tickets with counters that were never given out; see `reserve_counters`.

        Raises:
            RefusedError: the issuer may not, or no lock would take it, each reason named; nothing
                was reserved.
            RecordsError: the log fails; counters that were reserved then are never given out.
        """
        if not 1 <= count <= BATCH_LIMIT:
            raise RefusedError(Reason.USAGE, f"{count} tickets, wanted 1 to {BATCH_LIMIT} at once")
        self._judge(lambda draft: make_counter_ticket(draft, self._realm, self.order, 1))
        wish = self._entry(IssuedKind.RESERVED, mode="counter")
        counters = self.desk.log.reserve_counters(wish, count, at_least=at_least)
        made = tuple(
            self._issued(make_counter_ticket(self.issuer, self._realm, self.order, counter))
            for counter in counters
        )
        self._record(made)
        return made

    def by_nonce(self, lock_nonce: bytes) -> IssuedTicket:
        """One ticket for the nonce (16 bytes) that the lock shows now; raises as `by_counter`."""
        self._judge(lambda draft: make_nonce_ticket(draft, self._realm, self.order, lock_nonce))
        made = self._issued(make_nonce_ticket(self.issuer, self._realm, self.order, lock_nonce))
        self._record((made,))
        return made

    @property
    def _realm(self) -> Realm:
        return self.desk.authority.realm

    def _judge(self, make: Callable[[Signer], Sealed]) -> None:
        authority, order = self.desk.authority, self.order
        self.desk.refuse_issuer()
        try:
            sealed = make(Draft(authority.issuer.subject))
        except ProtocolError as error:
            raise misfit(error) from error
        ticket = Ticket.read(sealed)
        number = ticket_id(sealed.signer, ticket)
        name = f"{op_names(order.ops)}-{order.lock_serial}"
        draft = HeldTicket(ticket, authority.issuer, sealed, authority.sealed, number, name)
        moment = Moment.of(self.desk.now, authority.trust.epoch_statement)
        found = ticket_refusals(draft, self.holder, moment)
        late = outlives(f"the ticket {name}", order.not_after, authority.issuer)
        self.desk.refuse_issuer((*found, *late))

    def _issued(self, sealed: Sealed) -> IssuedTicket:
        ticket = Ticket.read(sealed)
        return IssuedTicket(sealed, ticket_id(sealed.signer, ticket), ticket.counter)

    def _record(self, made: tuple[IssuedTicket, ...]) -> None:
        entries = [
            self._entry(
                IssuedKind.TICKET,
                mode="nonce" if one.counter is None else "counter",
                first=one.counter,
                last=one.counter,
                ticket=one.id.hex(),
                object=one.sealed.digest.hex(),
            )
            for one in made
        ]
        self.desk.log.record(*entries)

    def _entry(self, kind: IssuedKind, **facts: Any) -> Issued:  # noqa: ANN401 - as `Desk.entry`
        order = self.order
        return self.desk.entry(
            kind,
            self.issuer.subject,
            holder=order.holder.hex(),
            lock=order.lock_serial,
            ops=op_names(order.ops),
            image="" if order.image_digest is None else order.image_digest.hex(),
            case=order.case_id or "",
            not_after=order.not_after,
            **facts,
        )
