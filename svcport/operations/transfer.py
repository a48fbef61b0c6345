"""The sectors that differ, on their way into the slot that does not run."""

from __future__ import annotations

import logging
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

from images import Unit, VerifiedImage, sector_count, sector_digests
from images import UnitKind as ImageUnitKind
from protocol.acts import Begin, TransferReady
from protocol.bulk import TransferState
from protocol.refusal import RefusalCode
from protocol.sealed import Sealed
from protocol.unit import UNIT_HEADER_SIZE, UnitHeader, UnitKind
from protocol.values import SECTOR_SIZE, Phase, Slot
from svcport.authorisation.policy import Permit
from svcport.errors import FailedError, Reason
from svcport.locks.errors import LockRefusedError
from svcport.locks.line import UploadEnd
from svcport.operations.act import opening, unfinished
from svcport.operations.base import NO_BASE, Base, base_for
from svcport.operations.encoding import Encoding, encoding_of
from svcport.operations.visit import Visit

log = logging.getLogger(__name__)

TRIES: Final = 3
"""Transfers of one act: a unit that the lock cannot take ends one, and the rest goes again."""

_SENT_AGAIN: Final = (
    TransferState.UNIT_DIGEST,
    TransferState.UNIT_MALFORMED,
    TransferState.UNIT_ORDER,
    TransferState.WINDOW_OVERRUN,
)
"""Ends of a transfer after which the sectors that are missing go once more, raw."""


@dataclass(slots=True)
class Tally:
    """What a transfer has cost so far; becomes the `transfer` member."""

    image_bytes: int
    skipped: int
    resumed: bool
    baud: int
    raw: set[int] = field(default_factory=set)
    deflated: set[int] = field(default_factory=set)
    wire_bytes: int = 0
    seconds: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """The `transfer` member."""
        return {
            "image_bytes": self.image_bytes,
            "wire_bytes": self.wire_bytes,
            "units": {
                "raw": len(self.raw),
                "deflate": len(self.deflated),
                "skipped": self.skipped,
            },
            "resumed": self.resumed,
            "seconds": round(self.seconds, 3),
            "baud": self.baud,
        }

    def count(self, unit: Unit) -> None:
        """Count a unit on its way; one that goes again counts as it goes last."""
        mine, other = self.deflated, self.raw
        if unit.kind is ImageUnitKind.RAW:
            mine, other = other, mine
        mine.add(unit.sector)
        other.discard(unit.sector)

    def add(self, end: UploadEnd) -> None:
        """Count one upload."""
        self.wire_bytes += end.wire_bytes
        self.seconds += end.seconds


@dataclass(slots=True)
class _Stream:
    """The unit stream of some sectors, and how much of the image it has gone through.

    Attributes:
        plain: sectors that go raw, whatever would be shorter.
    """

    encoding: Encoding
    sectors: tuple[int, ...]
    plain: frozenset[int]
    tally: Tally
    bounds: list[int] = field(default_factory=list)

    def __iter__(self) -> Iterator[bytes]:
        total = 0
        for sector in self.sectors:
            make = self.encoding.raw if sector in self.plain else self.encoding.unit
            unit = make(sector)
            self.tally.count(unit)
            total += UNIT_HEADER_SIZE + len(unit.payload)
            self.bounds.append(total)
            yield _header(unit.sector, unit.kind, len(unit.payload), unit.check) + unit.payload

    def image_bytes(self, stream_bytes: int) -> int:
        """Bytes of sectors that the first `stream_bytes` of the stream complete."""
        return bisect_right(self.bounds, stream_bytes) * SECTOR_SIZE


@lru_cache(maxsize=1024)
def _header(sector: int, kind: ImageUnitKind, length: int, check: bytes) -> bytes:
    """The head of a unit, made once for all the locks of a bench."""
    return UnitHeader(sector, UnitKind(int(kind)), length, check).build()


def differing(visit: Visit, image: VerifiedImage, slot: Slot) -> tuple[int, ...]:
    """Sectors of the image that the slot does not verifiably hold already."""
    wanted = sector_digests(image.data)
    held = visit.lock.sector_digests(slot, sector_count(len(image.data)))
    return tuple(n for n, (a, b) in enumerate(zip(wanted, held, strict=True)) if a != b)


def encode_ahead(visit: Visit, image: VerifiedImage) -> Base:
    """Begin to make the image's units for this lock, while other things are settled with it."""
    base = base_for(visit, image)
    encoding_of(image.data, base.data).start()
    return base


def bring(visit: Visit, image: VerifiedImage, permit: Permit, intent: Sealed) -> Tally:
    """BEGIN, upload, COMMIT: afterwards the other slot holds the image, verified by the lock.

    Raises:
        RefusedError, UnknownOutcomeError: see `opening`.
        UnfinishedError: the link or the lock failed; the running image is untouched.
    """
    lock, slot = visit.lock, visit.snapshot.target
    base = encode_ahead(visit, image)  # again: settling an act may have changed the slots
    visit.progress.step("comparing what the lock already holds")
    sectors = differing(visit, image, slot)
    # Costs nothing where it is done already; settling an act may have reset the lock since.
    lock.raise_speed(visit.snapshot.max_baud)
    transfer = _Transfer(visit, image, permit, intent, base)
    tally = _tally(visit, image, sectors)
    with opening(visit, intent, "BEGIN"):
        ready = transfer.begin(sectors)
    with unfinished(visit):
        for attempt in range(TRIES):
            failed = transfer.send(ready, sectors, tally)
            if failed is None:
                break
            # First the sector that failed goes raw; if that was not all, everything does.
            transfer.do_without(None if attempt else failed)
            sectors = differing(visit, image, slot)
            ready = transfer.begin(sectors)
        else:
            raise FailedError(Reason.LINK_LOST, f"units arrived damaged in {TRIES} transfers")
        visit.progress.step("having the lock verify the whole image")
        lock.commit(ready.transfer_id)
    return tally


def _tally(visit: Visit, image: VerifiedImage, sectors: tuple[int, ...]) -> Tally:
    act = visit.snapshot.act
    skipped = sector_count(len(image.data)) - len(sectors)
    same = act.phase in (Phase.WRITING, Phase.COMMITTED) and act.image_digest == image.digest
    return Tally(len(image.data), skipped, same and skipped > 0, visit.lock.baud)


def bitmap(sectors: tuple[int, ...], count: int) -> bytes:
    """Sectors as BEGIN names them: sector 0 is the top bit of the first byte."""
    bits = bytearray(-(-count // 8))
    for sector in sectors:
        bits[sector // 8] |= 0x80 >> sector % 8
    return bytes(bits)


class _Transfer:
    """The transfers of one act, each of what the one before did not bring."""

    def __init__(
        self, visit: Visit, image: VerifiedImage, permit: Permit, intent: Sealed, base: Base
    ) -> None:
        self._visit = visit
        self._image = image
        self._permit = permit
        self._intent = intent
        self._base = base
        self._plain: frozenset[int] = frozenset()

    def begin(self, sectors: tuple[int, ...]) -> TransferReady:
        """Open the act, or another transfer of it; without the base if the lock has another."""
        lock = self._visit.lock
        try:
            return lock.begin(self._request(sectors))
        except LockRefusedError as error:
            if self._base is NO_BASE or error.refusal.code is not RefusalCode.BASE_UNKNOWN:
                raise
            log.warning("lock %s: %s; going on without a base", lock.serial, error)
        self._base = NO_BASE
        return lock.begin(self._request(sectors))

    def do_without(self, sector: int | None) -> None:
        """Send that sector raw from now on; None: every sector, and name no base."""
        if sector is not None:
            self._plain |= {sector}
            return
        self._base = NO_BASE
        self._plain = frozenset(range(sector_count(len(self._image.data))))

    def send(self, ready: TransferReady, sectors: tuple[int, ...], tally: Tally) -> int | None:
        """Send units; the sector whose unit the lock could not take, None if it took all of them.

        Raises:
            FailedError: the lock ended the transfer for a reason that sending again cannot cure.
        """
        if not sectors:
            return None
        encoding = encoding_of(self._image.data, self._base.data)
        stream = _Stream(encoding, sectors, self._plain, tally)
        progress = self._visit.progress
        progress.step("sending the new image")
        progress.start(len(sectors) * SECTOR_SIZE)
        try:
            end = self._visit.lock.upload(
                ready, iter(stream), lambda sent: progress.advance(stream.image_bytes(sent))
            )
        finally:
            progress.finish()
        tally.add(end)
        if end.state is TransferState.COMPLETE:
            return None
        what = f"the lock ended the transfer at sector {end.detail}: {end.state.name.lower()}"
        if end.state not in _SENT_AGAIN:
            raise FailedError(
                Reason.LOCK_REFUSED,
                what,
                hint="run it again; if it stays so, the lock's flash is worn out",
            )
        log.warning("%s; what is missing goes again", what)
        return end.detail

    def _request(self, sectors: tuple[int, ...]) -> Begin:
        permit, size = self._permit, len(self._image.data)
        return Begin(
            intent=self._intent.build(),
            ticket=permit.ticket or b"",
            ticket_issuer=permit.ticket_issuer or b"",
            slot=self._visit.snapshot.target,
            image_size=size,
            base_digest=self._base.digest,
            sectors=bitmap(sectors, sector_count(size)),
        )
