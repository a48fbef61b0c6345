"""Small values that sealed objects and messages share: versions, operations, roles, slots."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Any, Final, Self

from construct import Bytes, Int8ub, Int16ub, Int32ub, Int64ub

from protocol.errors import MalformedMessageError
from protocol.record import Record, nested, part

SECTOR_SIZE: Final = 4096
"""Bytes of one sector: the unit of erase, of skip and of transfer."""

DIGEST_SIZE: Final = 32
"""Bytes of a SHA-256."""

ZERO_DIGEST: Final = bytes(DIGEST_SIZE)
"""Stands for "no image" or "no ticket" where a field cannot be absent."""

SERIAL_LIMIT: Final = 16
"""Most characters of a lock's serial."""


@dataclass(frozen=True, slots=True, order=True)
class ImageVersion(Record):
    """An image's version as its header states it, big-endian on the wire (8 bytes)."""

    major: int
    minor: int
    revision: int
    build_number: int

    WIRE = part(major=Int8ub, minor=Int8ub, revision=Int16ub, build_number=Int32ub)

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.revision}+{self.build_number}"


class Op(IntFlag):
    """What a certificate or ticket may allow, and what one act is (u16, one bit an operation)."""

    INFO = 0x0001
    LOGS = 0x0002
    UPDATE = 0x0004
    ROLLBACK = 0x0008
    RESTORE = 0x0010
    OVERRIDE = 0x0020
    ERASE = 0x0040
    ISSUE = 0x0080


ACTS: Final = (Op.UPDATE, Op.ROLLBACK, Op.RESTORE)
"""Operations that change a lock's firmware and open an act."""

TICKETED: Final = Op.ROLLBACK | Op.RESTORE | Op.OVERRIDE | Op.ERASE
"""Operations that need a ticket naming this lock."""


class Role(IntEnum):
    """Who a certificate speaks for. 4 (engineering) is reserved."""

    TECHNICIAN = 1
    DEPOT = 2
    OWNER = 3


_READING: Final = Op.INFO | Op.LOGS
ROLE_OPS: Final = {
    Role.TECHNICIAN: _READING | Op.UPDATE | Op.ROLLBACK | Op.RESTORE | Op.OVERRIDE,
    Role.DEPOT: _READING | Op.UPDATE | Op.ROLLBACK | Op.RESTORE | Op.ERASE | Op.ISSUE,
    Role.OWNER: _READING | Op.UPDATE,
}
"""What each role may do at most, with or without a ticket (README, "What the session may do")."""


class Slot(IntEnum):
    """The two image slots; either runs in place by address remap."""

    A = 0
    B = 1

    @property
    def other(self) -> Slot:
        """The slot that this one is not."""
        return Slot.B if self is Slot.A else Slot.A


class SlotState(IntEnum):
    """What a slot is to the boot logic (docs: protocol/README, "Slots")."""

    EMPTY = 0
    RUNNING = 1
    TRYING = 2
    PENDING = 3
    FALLBACK = 4
    PARTIAL = 5
    INVALID = 6


class Phase(IntEnum):
    """How far the open act has come."""

    NONE = 0
    WRITING = 1
    COMMITTED = 2
    PENDING = 3
    TRYING = 4


class ActResult(IntEnum):
    """How an act was closed, as its receipt says."""

    DONE = 0
    REVERTED = 1
    SUPERSEDED = 2
    ABANDONED = 3


_HEAD: Final = struct.Struct(">Q32s")
_AFTER: Final = struct.Struct(">BBHII")


@dataclass(frozen=True, slots=True)
class Head(Record):
    """Where a lock's receipt chain stands: the last sequence number and the chain over it.

    Stands in ledger entries, so `parse` and `build` are written by hand, for speed.
    """

    seq: int
    chain: bytes

    WIRE = part(seq=Int64ub, chain=Bytes(DIGEST_SIZE))

    @classmethod
    def parse(cls, payload: bytes) -> Self:
        """See Record; 40 bytes."""
        return cls(*_unpacked(cls, _HEAD, payload))

    def build(self) -> bytes:
        """See Record."""
        if len(self.chain) != DIGEST_SIZE:  # "32s" would pad or cut it in silence
            raise MalformedMessageError(f"Head: a chain has 32 bytes, this one {len(self.chain)}")
        return _packed(self, _HEAD, self.seq, self.chain)


@dataclass(frozen=True, slots=True)
class AfterState(Record):
    """What runs, or what a slot holds: version and security counter.

    Stands in receipts, so `parse` and `build` are written by hand, for speed.
    """

    version: ImageVersion
    security_counter: int

    WIRE = part(version=nested(ImageVersion), security_counter=Int32ub)

    @classmethod
    def parse(cls, payload: bytes) -> Self:
        """See Record; 12 bytes."""
        *version, counter = _unpacked(cls, _AFTER, payload)
        return cls(ImageVersion(*version), counter)

    def build(self) -> bytes:
        """See Record."""
        v = self.version
        numbers = (v.major, v.minor, v.revision, v.build_number, self.security_counter)
        return _packed(self, _AFTER, *numbers)


def _unpacked(kind: type[Record], layout: struct.Struct, payload: bytes) -> tuple[Any, ...]:
    if len(payload) != layout.size:
        raise MalformedMessageError(
            f"{kind.__name__}: {len(payload)} bytes do not parse: wanted {layout.size}"
        )
    return layout.unpack(payload)


def _packed(record: Record, layout: struct.Struct, *values: object) -> bytes:
    try:
        return layout.pack(*values)
    except struct.error as error:
        raise MalformedMessageError(
            f"{type(record).__name__}: does not fit its layout: {error}"
        ) from error
