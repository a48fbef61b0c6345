"""The sectors that differ, on their way into the slot that does not run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from images import Unit, VerifiedImage, encode_units, sector_count, sector_digests
from images import UnitKind as ImageUnitKind
from protocol.acts import Begin, TransferReady
from protocol.bulk import TransferState
from protocol.sealed import Sealed
from protocol.unit import UNIT_HEADER_SIZE, UnitHeader, UnitKind
from protocol.values import SECTOR_SIZE, ZERO_DIGEST, Phase, Slot
from svcport.authorisation.policy import Permit
from svcport.errors import FailedError, Reason
from svcport.locks.line import UploadEnd
from svcport.operations.act import opening, unfinished
from svcport.operations.visit import Visit

TRIES: Final = 3
"""Transfers of one act: a unit that arrives damaged ends one, and the rest goes again."""

FAST_FROM: Final = 4
"""Sectors from which on a change of speed pays for its round trips."""


@dataclass(slots=True)
class Tally:
    """What a transfer has cost so far; becomes the `transfer` member."""

    image_bytes: int
    skipped: int
    resumed: bool
    baud: int
    raw: int = 0
    deflate: int = 0
    wire_bytes: int = 0
    seconds: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """The `transfer` member."""
        return {
            "image_bytes": self.image_bytes,
            "wire_bytes": self.wire_bytes,
            "units": {"raw": self.raw, "deflate": self.deflate, "skipped": self.skipped},
            "resumed": self.resumed,
            "seconds": round(self.seconds, 3),
            "baud": self.baud,
        }

    def add(self, end: UploadEnd) -> None:
        """Count one upload."""
        self.wire_bytes += end.wire_bytes
        self.seconds += end.seconds


@dataclass(slots=True)
class _Stream:
    """The unit stream of some sectors, and how much of the image it has gone through."""

    image: VerifiedImage
    sectors: tuple[int, ...]
    tally: Tally
    bounds: list[int] = field(default_factory=list)

    def __iter__(self) -> Iterator[bytes]:
        total = 0
        for unit in encode_units(self.image.data, self.sectors):
            self._count(unit)
            total += UNIT_HEADER_SIZE + len(unit.payload)
            self.bounds.append(total)
            yield _header(unit).build() + unit.payload

    def _count(self, unit: Unit) -> None:
        if unit.kind is ImageUnitKind.RAW:
            self.tally.raw += 1
        else:
            self.tally.deflate += 1

    def image_bytes(self, stream_bytes: int) -> int:
        """Bytes of sectors that the first `stream_bytes` of the stream complete."""
        done = sum(1 for bound in self.bounds if bound <= stream_bytes)
        return done * SECTOR_SIZE


def _header(unit: Unit) -> UnitHeader:
    return UnitHeader(unit.sector, UnitKind(int(unit.kind)), len(unit.payload), unit.check)


def differing(visit: Visit, image: VerifiedImage, slot: Slot) -> tuple[int, ...]:
    """Sectors of the image that the slot does not verifiably hold already."""
    wanted = sector_digests(image.data)
    held = visit.lock.sector_digests(slot, sector_count(len(image.data)))
    return tuple(n for n, (a, b) in enumerate(zip(wanted, held, strict=True)) if a != b)


def bring(visit: Visit, image: VerifiedImage, permit: Permit, intent: Sealed) -> Tally:
    """BEGIN, upload, COMMIT: afterwards the other slot holds the image, verified by the lock.

    Raises:
        RefusedError, UnknownOutcomeError: see `opening`.
        UnfinishedError: the link or the lock failed; the running image is untouched.
    """
    lock, slot = visit.lock, visit.snapshot.target
    visit.progress.step("comparing what the lock already holds")
    sectors = differing(visit, image, slot)
    if len(sectors) >= FAST_FROM:
        visit.progress.step("agreeing on the fastest speed")
        lock.raise_speed(visit.snapshot.max_baud)
    tally = _tally(visit, image, sectors)
    with opening(visit, intent, "BEGIN"):
        ready = lock.begin(_begin(image, permit, intent, slot, sectors))
    with unfinished(visit):
        for _again in range(TRIES):
            if _sent(visit, ready, _Stream(image, sectors, tally)):
                break
            sectors = differing(visit, image, slot)
            ready = lock.begin(_begin(image, permit, intent, slot, sectors))
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


def _begin(
    image: VerifiedImage, permit: Permit, intent: Sealed, slot: Slot, sectors: tuple[int, ...]
) -> Begin:
    return Begin(
        intent=intent.build(),
        ticket=permit.ticket or b"",
        ticket_issuer=permit.ticket_issuer or b"",
        slot=slot,
        image_size=len(image.data),
        base_digest=ZERO_DIGEST,
        sectors=bitmap(sectors, sector_count(len(image.data))),
    )


def bitmap(sectors: tuple[int, ...], count: int) -> bytes:
    """Sectors as BEGIN names them: sector 0 is the top bit of the first byte."""
    bits = bytearray(-(-count // 8))
    for sector in sectors:
        bits[sector // 8] |= 0x80 >> sector % 8
    return bytes(bits)


def _sent(visit: Visit, ready: TransferReady, stream: _Stream) -> bool:
    """Whether every unit is in the lock's flash; False if one arrived damaged and the rest must go.

    Raises:
        FailedError: the lock ended the transfer for another reason.
    """
    if not stream.sectors:
        return True
    visit.progress.step("sending the new image")
    visit.progress.start(len(stream.sectors) * SECTOR_SIZE)
    try:
        end = visit.lock.upload(
            ready, iter(stream), lambda sent: visit.progress.advance(stream.image_bytes(sent))
        )
    finally:
        visit.progress.finish()
    stream.tally.add(end)
    if end.state is TransferState.COMPLETE:
        return True
    if end.state in (TransferState.UNIT_DIGEST, TransferState.UNIT_MALFORMED):
        return False
    raise FailedError(
        Reason.LOCK_REFUSED,
        f"the lock ended the transfer at sector {end.detail}: {end.state.name.lower()}",
        hint="run it again; if it stays so, the lock's flash is worn out",
    )
