"""Wear: erases counted over many acts, and how long the lock's memory lasts by them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from fieldkit import NOW
from sweep.promises import Broken, Promise
from sweep.starts import room, start
from sweep.yard import Yard

from protocol.sealed import Realm
from protocol.values import Op, Slot
from svcport.authorisation.issuer.signing import TicketOrder, make_counter_ticket
from svcport.authorisation.tickets import ticket_file, ticket_file_name
from svcport.authorisation.times import unix
from svcport.lab.vendor import EPOCH, TrainingVendor
from svcport.operations import commands
from svcport.simulator.flash import (
    FLASH_SIZE,
    NVM_ADDRESS,
    PAGE_SIZE,
    SLOT_ADDRESS,
    SLOT_SIZE,
    NorFlash,
)
from svcport.simulator.nvm import EVENT_PAGES, MARK_PAGES, RECEIPT_PAGES, SECTORS, STATE_PAGES
from svcport.simulator.pagelog import PageLog

ENDURANCE: Final = 10_000
"""Erases that a page of an nRF52840 bears (Product Specification 1.7, 6.14.7, NENDURANCE)."""

LOGS: Final = {
    "state": STATE_PAGES,
    "receipts": RECEIPT_PAGES,
    "events": EVENT_PAGES,
    "sector marks": MARK_PAGES,
}
_VERSIONS: Final = ("2.4.1", "2.3.1")


@dataclass(frozen=True)
class Wear:
    """What some acts in a row cost one part of the flash.

    Attributes:
        worst: erases of its most worn page.
        spread: most erases less fewest.
    """

    name: str
    pages: int
    worst: int
    spread: int
    acts: int

    @property
    def lifetime(self) -> int | None:
        """Acts until its most worn page has `ENDURANCE` erases; None: it was not erased."""
        return ENDURANCE * self.acts // self.worst if self.worst else None


def wear_of(acts: int) -> list[Wear]:
    """Restores to two versions in turn, each of which writes every sector of its 24 KiB."""
    yard = Yard(start("restore"), room(), own_home=True)
    _add_tickets(yard, acts)
    before = list(yard.flash.erases)
    for number in range(acts):
        _put_another_image(yard)
        ended = yard.attempt(commands.restore, version=_VERSIONS[number % 2])
        if ended.outcome != "ok":
            raise Broken(Promise.AGAIN, f"act {number + 1} ends {ended}")
    yard.close()
    erases = [now - then for now, then in zip(yard.flash.erases, before, strict=True)]
    found, page = [], NVM_ADDRESS // PAGE_SIZE
    for name, pages in LOGS.items():
        found.append(_wear(name, erases[page : page + pages], acts))
        page += pages
    for slot in Slot:
        first = SLOT_ADDRESS[slot] // PAGE_SIZE
        found.append(
            _wear(f"slot {slot.name}", erases[first : first + SLOT_SIZE // PAGE_SIZE], acts)
        )
    return found


def _put_another_image(yard: Yard) -> None:
    """The slot to be written holds what no act of this row brings: every sector must be erased."""
    data, slot = yard.start.images["2.4.0"], yard.board.core.target
    yard.flash._buffer[SLOT_ADDRESS[slot] : SLOT_ADDRESS[slot] + len(data)] = data
    yard.board.core.slots.forget(slot)


def _add_tickets(yard: Yard, count: int) -> None:
    """Tickets for the version that the catalogue does not approve: the lab gave only a few."""
    vendor = TrainingVendor("tests", NOW - timedelta(days=1))
    issuer, serial = vendor.issuer_certificate(), yard.start.factory.serial
    order = TicketOrder(
        holder=vendor.holder.key_id,
        lock_serial=serial,
        ops=Op.RESTORE,
        epoch=EPOCH,
        issued_at=unix(NOW) - 1,
        not_after=unix(NOW) + 365 * 24 * 3600,
        image_digest=yard.start.digests[_VERSIONS[1]],
    )
    for path in yard.home.tickets.iterdir():
        path.unlink()
    for counter in range(100, 100 + count // 2):
        ticket = make_counter_ticket(vendor.issuer, Realm.TRAINING, order, counter)
        content = ticket_file(ticket, issuer)
        (yard.home.tickets / ticket_file_name(serial, content)).write_bytes(content)


def _wear(name: str, erases: list[int], acts: int) -> Wear:
    return Wear(name, len(erases), max(erases), max(erases) - min(erases), acts)


def marks_lifetime(sectors: int) -> int:
    """Acts that the marks last where each writes so many sectors: a record a sector, and one."""
    record = PageLog(NorFlash(bytearray(b"\xff" * FLASH_SIZE)), NVM_ADDRESS, MARK_PAGES)
    fitting = record.room(2 * SECTORS // 8, lambda _payload: False)
    return ENDURANCE * fitting // (sectors + 1)


def report(acts: int = 160) -> str:
    """The lifetime of each part, in words."""
    lines = [f"{acts} restores of 24 KiB, counted; a page bears {ENDURANCE} erases"]
    for part in wear_of(acts):
        life = "more than was tried" if part.lifetime is None else f"{part.lifetime:,} acts"
        lines.append(
            f"{part.name:12}  {part.pages:3} pages  {part.worst:3} erases of the worst  {life}"
        )
    for size, sectors in (("225 KiB", 57), ("a full slot", SECTORS)):
        lines.append(
            f"sector marks, where every act writes {size}: {marks_lifetime(sectors):,} acts"
        )
    return "\n".join(lines)
