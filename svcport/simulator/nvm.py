"""The lock's non-volatile memory: where state, receipts, events and sector marks lie.

16 pages: state 4, receipts 8, events 2, marks 2. Each is a page log of its own; only the state
record is atomic with anything. A receipt's cell is written before the state record whose head makes
it count; a cell above the head is an orphan of a power cut and is shadowed by the next of its
number.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from construct import Int16ub, Int32ub, Int64ub

from protocol.queries import Event
from protocol.record import part
from protocol.values import SECTOR_SIZE, Slot
from svcport.simulator.flash import NVM_ADDRESS, PAGE_SIZE, SLOT_SIZE, NorFlash
from svcport.simulator.pagelog import PageLog
from svcport.simulator.state import LockState

STATE_PAGES: Final = 4
RECEIPT_PAGES: Final = 8
EVENT_PAGES: Final = 2
MARK_PAGES: Final = 2
RING_DEPTH: Final = 64
"""Receipts that the ring holds at least."""

SECTORS: Final = SLOT_SIZE // SECTOR_SIZE
_MARK_BYTES: Final = SECTORS // 8
_SEQ_SIZE: Final = 8
_EVENT: Final = part(unix_time=Int64ub, uptime_s=Int32ub, code=Int16ub, argument=Int32ub)


class NotProvisionedError(Exception):
    """The flash holds no lock: the factory has not written its first state."""


class Nvm:
    """All of it, mounted. Raises PowerCut out of every method that writes."""

    def __init__(self, flash: NorFlash) -> None:
        """Mount; a flash without a state record raises NotProvisionedError."""
        self._state_log, self._receipt_log, self._event_log, self._mark_log = _logs(flash)
        last = self._state_log.last()
        if last is None:
            raise NotProvisionedError("the flash holds no state record")
        self._state = LockState.parse(last.payload)
        marks = self._mark_log.last()
        self._marks = bytearray(marks.payload if marks else bytes(2 * _MARK_BYTES))

    @staticmethod
    def format(flash: NorFlash, state: LockState) -> Nvm:
        """Erase the memory, write a first state and mount it."""
        for page in range(STATE_PAGES + RECEIPT_PAGES + EVENT_PAGES + MARK_PAGES):
            flash.erase(NVM_ADDRESS + page * PAGE_SIZE)
        _logs(flash)[0].append(state.build())
        return Nvm(flash)

    @property
    def state(self) -> LockState:
        """The state as it is durable now."""
        return self._state

    def write(self, state: LockState) -> None:
        """Make `state` durable in one record; writing what is there already costs nothing."""
        if state != self._state:
            self._state_log.append(state.build())
            self._state = state

    def add_receipt(self, seq: int, receipt: bytes) -> None:
        """Write the cell of receipt `seq`; it counts once a state with that head is written."""
        self._receipt_log.append(seq.to_bytes(_SEQ_SIZE, "big") + receipt)

    def receipts(self, since: int) -> list[bytes]:
        """Receipts with numbers above `since`, rising, as far as the ring holds them."""
        head = self._state.head.seq
        cells = {_seq(r.payload): r.payload[_SEQ_SIZE:] for r in self._receipt_log.records()}
        first = max(since, head - RING_DEPTH) + 1
        return [cells[seq] for seq in range(first, head + 1) if seq in cells]

    def receipt_room(self, size: int) -> int:
        """Receipts of `size` bytes that fit before one that nobody collected is overwritten."""
        state = self._state

        def uncollected(payload: bytes) -> bool:
            return state.collected < _seq(payload) <= state.head.seq

        return self._receipt_log.room(_SEQ_SIZE + size, uncollected)

    def add_event(self, *, unix_time: int, uptime_s: int, code: int, argument: int) -> None:
        """Append to the event log; the oldest events give way."""
        fields = {
            "unix_time": unix_time,
            "uptime_s": uptime_s,
            "code": code,
            "argument": argument,
        }
        self._event_log.append(bytes(_EVENT.build(fields)))

    def events(self, since: int) -> list[Event]:
        """Events from index `since` on, rising."""
        return [
            _event(index, payload) for index, payload in self._event_log.records() if index >= since
        ]

    @property
    def next_event(self) -> int:
        """The index that the next event will take."""
        return self._event_log.last_seq + 1

    def is_marked(self, slot: Slot, sector: int) -> bool:
        """Whether the sector was read back as it was written, and not touched since."""
        byte, bit = _mark_place(slot, sector)
        return bool(self._marks[byte] & bit)

    def set_marks(self, slot: Slot, sectors: Iterable[int], *, marked: bool) -> None:
        """Set or clear marks in one record; no record if nothing changes."""
        marks = bytearray(self._marks)
        for sector in sectors:
            byte, bit = _mark_place(slot, sector)
            marks[byte] = marks[byte] | bit if marked else marks[byte] & ~bit
        if marks != self._marks:
            self._mark_log.append(bytes(marks))
            self._marks = marks


def _logs(flash: NorFlash) -> list[PageLog]:
    logs, address = [], NVM_ADDRESS
    for pages in (STATE_PAGES, RECEIPT_PAGES, EVENT_PAGES, MARK_PAGES):
        logs.append(PageLog(flash, address, pages))
        address += pages * PAGE_SIZE
    return logs


def _seq(cell: bytes) -> int:
    return int.from_bytes(cell[:_SEQ_SIZE], "big")


def _event(index: int, payload: bytes) -> Event:
    fields = _EVENT.parse(payload)
    return Event(index, fields.unix_time, fields.uptime_s, fields.code, fields.argument)


def _mark_place(slot: Slot, sector: int) -> tuple[int, int]:
    return slot * _MARK_BYTES + sector // 8, 1 << (sector % 8)
