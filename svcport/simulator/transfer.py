"""Receiving an image: blocks in order, units out of blocks, sectors into flash.

A unit is checked against its digest before anything of it is programmed; sectors are erased one
ahead of the data, and only those that BEGIN named.
"""

from __future__ import annotations

from collections.abc import Sequence

from protocol.bulk import TransferState, UploadReceiver
from protocol.frame import Frame
from protocol.noise import SessionKeys
from protocol.values import Slot
from svcport.simulator.slots import Slots
from svcport.simulator.units import Held, UnitDecoder, UnitError


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
        base_size: int,
        keys: SessionKeys,
        transfer_id: int,
        window: int,
    ) -> None:
        self.id = transfer_id
        self.state = TransferState.RECEIVING if sectors else TransferState.COMPLETE
        self._detail = 0
        self._slots = slots
        self._slot = slot
        held = Held(slots, slot, base_size)
        self._decoder = UnitDecoder(sectors, held, small=slots.profile.small_inflater)
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
        if self._receiver.overrun:
            self.state, self._detail = TransferState.WINDOW_OVERRUN, self._decoder.due or 0
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
