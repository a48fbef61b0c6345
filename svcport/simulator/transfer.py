"""Receiving an image: blocks in order, units out of blocks, sectors into flash.

One sector and its inflation are all the RAM that this needs beside the receive window. A unit is
checked against its digest before anything of it is programmed; sectors are erased one ahead of the
data, and only those that BEGIN named.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from typing import Final

from protocol.bulk import TransferState, UploadReceiver
from protocol.errors import MalformedMessageError
from protocol.frame import Frame
from protocol.noise import SessionKeys
from protocol.unit import UNIT_HEADER_SIZE, UnitHeader, UnitKind
from protocol.values import SECTOR_SIZE, Slot
from svcport.simulator.flash import ERASED
from svcport.simulator.slots import Slots, check

_RAW_DEFLATE: Final = -15


class UnitError(Exception):
    """A unit ends the transfer.

    Attributes:
        state: what the acknowledgements say from now on.
        sector: the sector that was due.
    """

    def __init__(self, state: TransferState, sector: int) -> None:
        super().__init__(f"{state.name.lower()} at sector {sector}")
        self.state = state
        self.sector = sector


class UnitDecoder:
    """Sectors out of a stream of units that is cut anywhere.

    Args:
        sectors: those that must come, strictly ascending.
    """

    def __init__(self, sectors: Sequence[int]) -> None:
        self._due = list(reversed(sectors))
        self._buffer = bytearray()
        self._header: UnitHeader | None = None

    @property
    def due(self) -> int | None:
        """The sector that must come next; None after the last."""
        return self._due[-1] if self._due else None

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """The sectors that `data` completes, checked; bytes behind the last are UnitError."""
        self._buffer += data
        while self._due:
            sector = self._due[-1]
            content = self._next(sector)
            if content is None:
                return
            self._due.pop()
            yield sector, content
        if self._buffer:
            raise UnitError(TransferState.UNIT_ORDER, 0)

    def _next(self, sector: int) -> bytes | None:
        if self._header is None:
            if len(self._buffer) < UNIT_HEADER_SIZE:
                return None
            self._header = _header(bytes(self._buffer[:UNIT_HEADER_SIZE]), sector)
        header, end = self._header, UNIT_HEADER_SIZE + self._header.length
        if len(self._buffer) < end:
            return None
        payload = bytes(self._buffer[UNIT_HEADER_SIZE:end])
        del self._buffer[:end]
        self._header = None
        content = payload if header.kind is UnitKind.RAW else _inflate(payload, sector)
        content = content.ljust(SECTOR_SIZE, ERASED)
        if check(content) != header.check:
            raise UnitError(TransferState.UNIT_DIGEST, sector)
        return content


def _header(data: bytes, sector: int) -> UnitHeader:
    try:
        header = UnitHeader.parse(data)
    except MalformedMessageError as error:
        raise UnitError(TransferState.UNIT_MALFORMED, sector) from error
    if header.sector != sector:
        raise UnitError(TransferState.UNIT_ORDER, sector)
    return header


def _inflate(payload: bytes, sector: int) -> bytes:
    """At most one sector out of one whole DEFLATE stream."""
    inflater = zlib.decompressobj(_RAW_DEFLATE)
    try:
        content = inflater.decompress(payload, SECTOR_SIZE + 1)
    except zlib.error as error:
        raise UnitError(TransferState.UNIT_MALFORMED, sector) from error
    if not inflater.eof or inflater.unused_data or len(content) > SECTOR_SIZE:
        raise UnitError(TransferState.UNIT_MALFORMED, sector)
    return content


class Transfer:
    """One transfer into one slot, from BEGIN to its last sector.

    Attributes:
        id: as TransferReady gave it.
        state: as the acknowledgements say it.
    """

    def __init__(
        self,
        slots: Slots,
        slot: Slot,
        sectors: Sequence[int],
        *,
        keys: SessionKeys,
        transfer_id: int,
        window: int,
    ) -> None:
        self.id = transfer_id
        self.state = TransferState.RECEIVING if sectors else TransferState.COMPLETE
        self._detail = 0
        self._slots = slots
        self._slot = slot
        self._decoder = UnitDecoder(sectors)
        self._receiver = UploadReceiver(keys, transfer_id, window)

    @property
    def due(self) -> int | None:
        """The sector that must come next; None after the last."""
        return self._decoder.due

    def erase_ahead(self) -> None:
        """Make room for the sector that is due."""
        if self._decoder.due is not None:
            self._slots.erase(self._slot, self._decoder.due)

    def on_block(self, frame: Frame) -> tuple[bool, list[bytes]]:
        """Take a BLOCK frame: whether it was genuine, and acknowledgements, one at least."""
        if self.state is not TransferState.RECEIVING:
            return False, [self._receiver.ack(self.state, self._detail)]
        genuine = self._receiver.receive(frame)
        acks = []
        while self.state is TransferState.RECEIVING:
            block = self._receiver.take()
            if block is None:
                break
            self._consume(block)
            acks.append(self._receiver.ack(self.state, self._detail))
        return genuine, acks or [self._receiver.ack(self.state, self._detail)]

    def _consume(self, block: bytes) -> None:
        try:
            for sector, content in self._decoder.feed(block):
                self._program(sector, content)
        except UnitError as error:
            self.state, self._detail = error.state, error.sector
            return
        if self._decoder.due is None:
            self.state = TransferState.COMPLETE

    def _program(self, sector: int, content: bytes) -> None:
        if not self._slots.program(self._slot, sector, content):
            raise UnitError(TransferState.FLASH_FAILED, sector)
        self.erase_ahead()
