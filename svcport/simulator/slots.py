"""The two image slots: what they hold, judged by the image's own signature, and their sectors.

The verdict on a slot is kept until the slot is written. Knows nothing of acts or sessions.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

from images import ImageError, verify
from protocol.refusal import RefusalCode
from protocol.unit import CHECK_SIZE
from protocol.values import SECTOR_SIZE, ImageVersion, Slot
from svcport.simulator.factory import Factory
from svcport.simulator.flash import SLOT_ADDRESS, SLOT_SIZE, FlashViolation, NorFlash, Profile
from svcport.simulator.nvm import Nvm

_REASONS: Final = {
    "image-malformed": RefusalCode.IMAGE_MALFORMED,
    "image-hash": RefusalCode.IMAGE_HASH,
    "image-signature": RefusalCode.IMAGE_SIGNATURE,
    "image-signer": RefusalCode.IMAGE_SIGNER,
}


@dataclass(frozen=True, slots=True)
class SlotImage:
    """An image that verifies for this lock: structure, hash, signature, model, a counter.

    Attributes:
        size: bytes up to the end of its TLVs.
    """

    version: ImageVersion
    digest: bytes
    security_counter: int
    size: int


class Slots:
    """Both slots of one lock. Writing raises PowerCut."""

    def __init__(self, flash: NorFlash, factory: Factory, nvm: Nvm) -> None:
        self._flash = flash
        self._factory = factory
        self._trust = factory.trust()
        self._nvm = nvm
        self._verdicts: dict[Slot, SlotImage | RefusalCode] = {}

    def examine(self, slot: Slot) -> SlotImage | RefusalCode:
        """The image, or why there is none for this lock."""
        if slot not in self._verdicts:
            self._verdicts[slot] = self._judge(slot)
        return self._verdicts[slot]

    def image(self, slot: Slot) -> SlotImage | None:
        """The image, if there is one for this lock."""
        verdict = self.examine(slot)
        return verdict if isinstance(verdict, SlotImage) else None

    def bootable(self, slot: Slot) -> bool:
        """Whether the slot's image verifies and its counter is not below the lock's."""
        image = self.image(slot)
        return image is not None and image.security_counter >= self._nvm.state.security_counter

    def forget(self, slot: Slot) -> None:
        """Have the slot judged anew from its bytes when it is asked for next."""
        self._verdicts.pop(slot, None)

    def is_blank(self, slot: Slot) -> bool:
        """Whether all of the slot is erased."""
        return self._flash.is_blank(SLOT_ADDRESS[slot], SLOT_SIZE)

    def content(self, slot: Slot) -> bytes:
        """The verified image's bytes, or all of a slot that holds none."""
        image = self.image(slot)
        return self._read(slot, 0, SLOT_SIZE if image is None else image.size)

    def sector_check(self, slot: Slot, sector: int) -> bytes:
        """First 8 bytes of the sector's SHA-256; zero where it has no verified mark."""
        if not self._nvm.is_marked(slot, sector):
            return bytes(CHECK_SIZE)
        return check(self._read(slot, sector * SECTOR_SIZE, SECTOR_SIZE))

    @property
    def profile(self) -> Profile:
        """The part that the slots lie in."""
        return self._flash.profile

    def mapped(self, slot: Slot, offset: int, size: int) -> bytes:
        """Bytes of a slot as the CPU reads them in passing, which takes no time of its own."""
        if not 0 <= offset <= offset + size <= SLOT_SIZE:
            raise FlashViolation(f"{size} bytes at {offset:#x} are outside slot {slot.name}")
        return self._flash.read(SLOT_ADDRESS[slot] + offset, size)

    def erase(self, slot: Slot, sector: int) -> None:
        """Erase a sector unless it is blank; its mark goes first."""
        address = SLOT_ADDRESS[slot] + sector * SECTOR_SIZE
        self._nvm.set_marks(slot, [sector], marked=False)
        self.forget(slot)
        if not self._flash.is_blank(address):
            self._flash.erase(address)

    def program(self, slot: Slot, sector: int, content: bytes) -> bool:
        """Write a whole erased sector and read it back; only then it is marked as verified."""
        address = SLOT_ADDRESS[slot] + sector * SECTOR_SIZE
        self.forget(slot)
        self._flash.write(address, content)
        if self._flash.read(address, SECTOR_SIZE) != content:
            return False
        self._nvm.set_marks(slot, [sector], marked=True)
        return True

    def _read(self, slot: Slot, offset: int, size: int) -> bytes:
        self._flash.spend(size * self._flash.profile.hash_s)
        return self._flash.read(SLOT_ADDRESS[slot] + offset, size)

    def _judge(self, slot: Slot) -> SlotImage | RefusalCode:
        data = self._flash.read(SLOT_ADDRESS[slot], SLOT_SIZE)
        try:
            image = verify(data, self._trust, hash_name="sha256", max_size=SLOT_SIZE)
        except ImageError as error:
            return _REASONS[error.reason]
        self._flash.spend(image.size * self._flash.profile.hash_s)
        mine = self._factory
        if image.metadata is None or not image.metadata.covers(
            mine.model, mine.hardware, mine.batch
        ):
            return RefusalCode.IMAGE_MODEL
        if image.security_counter is None:
            return RefusalCode.ANTI_ROLLBACK
        version = image.version
        return SlotImage(
            ImageVersion(version.major, version.minor, version.revision, version.build),
            image.digest,
            image.security_counter,
            image.size,
        )


def check(content: bytes) -> bytes:
    """First 8 bytes of SHA-256, by which a sector is named."""
    return hashlib.sha256(content).digest()[:CHECK_SIZE]
