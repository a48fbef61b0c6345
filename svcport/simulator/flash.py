"""NOR flash: pages erase to 0xFF, writes only clear bits, power can fail at any operation.

Knows addresses and time, nothing of what is stored. Every page erase and every write call is one
numbered operation, so that a test can cut the power at each of them.
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from enum import Enum
from typing import Final

from protocol.values import Slot

PAGE_SIZE: Final = 4096
WORD_SIZE: Final = 4
FLASH_SIZE: Final = 0x100000
SLOT_SIZE: Final = 0x70000
SLOT_ADDRESS: Final = {Slot.A: 0x10000, Slot.B: 0x80000}
NVM_ADDRESS: Final = 0xF0000
NVM_SIZE: Final = 0x10000
ERASED: Final = b"\xff"
_BLANK_PAGE: Final = ERASED * PAGE_SIZE


@dataclass(frozen=True, slots=True)
class Profile:
    """How long a part takes: seconds a page erase, a word written, a byte hashed.

    Attributes:
        small_inflater: units are inflated by the code that a board of this kind would run, and not
            by zlib, which gives the same bytes and refuses the same streams, but sooner.
    """

    name: str
    erase_s: float
    word_s: float
    hash_s: float
    small_inflater: bool = False


INSTANT: Final = Profile("instant", 0.0, 0.0, 0.0)
NRF52840: Final = Profile("nrf52840", 0.085, 41e-6, 1 / 2_000_000, small_inflater=True)
"""nRF52840 Product Specification 1.7, 6.14.7: tERASEPAGE 85 ms, tWRITE 41 us; the hash is that of
its CryptoCell."""

PROFILES: Final = {profile.name: profile for profile in (INSTANT, NRF52840)}


class Cut(Enum):
    """When power fails, seen from the operation it hits.

    DURING leaves half a page erased (which half: by the operation's number), or the first half of
    the words written and the next word half.
    """

    BEFORE = "before"
    DURING = "during"
    AFTER = "after"


class FlashViolation(RuntimeError):  # noqa: N818 - names what happened, as PowerCut does
    """The lock asked for what NOR flash cannot do: a bug of the lock."""


class PowerCut(Exception):  # noqa: N818 - an event of the world, not an error
    """Power failed at the operation that a test named."""


class NorFlash:
    """A flash over a buffer that outlives it: a bytearray or a mapped file of `FLASH_SIZE` bytes.

    Attributes:
        profile: how long operations take.
        operations: erases and write calls so far; the next one has this number plus one.
        erases: erases of each page so far.
        elapsed_s: time that operations took so far; the CPU stands still meanwhile.
    """

    def __init__(self, buffer: bytearray | mmap.mmap, profile: Profile = INSTANT) -> None:
        if len(buffer) != FLASH_SIZE:
            raise ValueError(f"a flash has {FLASH_SIZE} bytes, this buffer {len(buffer)}")
        self._buffer = buffer
        self.profile = profile
        self.operations = 0
        self.erases = [0] * (FLASH_SIZE // PAGE_SIZE)
        self.elapsed_s = 0.0
        self._cuts: dict[int, Cut] = {}

    def cut_at(self, operation: int, how: Cut = Cut.DURING) -> None:
        """Fail the power at that operation (the first of this object is number 1).

        Several calls are several failures; of two at one operation the later call counts.
        """
        self._cuts[operation] = how

    def read(self, address: int, size: int) -> bytes:
        """`size` bytes from `address` on."""
        _check_range(address, size)
        return bytes(self._buffer[address : address + size])

    def is_blank(self, address: int, size: int = PAGE_SIZE) -> bool:
        """Whether those bytes are erased."""
        if size == PAGE_SIZE:
            return self.read(address, size) == _BLANK_PAGE
        return self.read(address, size) == ERASED * size

    def erase(self, address: int) -> None:
        """Erase the page that starts at `address`."""
        _check_range(address, PAGE_SIZE)
        if address % PAGE_SIZE:
            raise FlashViolation(f"{address:#x} is not the start of a page")
        how = self._begin()
        self.erases[address // PAGE_SIZE] += 1
        self.elapsed_s += self.profile.erase_s
        half = PAGE_SIZE // 2
        if how is Cut.DURING:
            address += half * (self.operations % 2)
            self._buffer[address : address + half] = ERASED * half
        else:
            self._buffer[address : address + PAGE_SIZE] = _BLANK_PAGE
        self._end(how)

    def write(self, address: int, data: bytes) -> None:
        """Program whole words inside one page; every bit must be erased or stay as it is."""
        _check_range(address, len(data))
        if address % WORD_SIZE or len(data) % WORD_SIZE or not data:
            raise FlashViolation(f"{len(data)} bytes at {address:#x} are not whole words")
        if address // PAGE_SIZE != (address + len(data) - 1) // PAGE_SIZE:
            raise FlashViolation(f"{len(data)} bytes at {address:#x} cross a page")
        old = int.from_bytes(self._buffer[address : address + len(data)], "big")
        if int.from_bytes(data, "big") & ~old:
            raise FlashViolation(f"a write at {address:#x} would set cleared bits")
        how = self._begin()
        self.elapsed_s += self.profile.word_s * (len(data) // WORD_SIZE)
        if how is Cut.DURING:
            # Half of the words, and the first two bytes of the one that was under way.
            data = data[: len(data) // (2 * WORD_SIZE) * WORD_SIZE + WORD_SIZE // 2]
        self._buffer[address : address + len(data)] = data
        self._end(how)

    def spend(self, seconds: float) -> None:
        """Count CPU time that goes with reading, such as hashing."""
        self.elapsed_s += seconds

    def _begin(self) -> Cut | None:
        self.operations += 1
        how = self._cuts.pop(self.operations, None)
        if how is Cut.BEFORE:
            raise PowerCut
        return how

    def _end(self, how: Cut | None) -> None:
        if how is not None:
            raise PowerCut


def _check_range(address: int, size: int) -> None:
    if not 0 <= address <= address + size <= FLASH_SIZE:
        raise FlashViolation(f"{size} bytes at {address:#x} are outside the flash")
