"""Requests that bring a lock what its vendor states (EPOCH, TIME), and the nonce they are bound to.

Statements are sealed objects; the lock alone decides whether it takes them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from construct import Bytes, Int32ub, Int64ub

from protocol.record import Record, short_bytes, strict_bool, wire
from protocol.request import OBJECT_LIMIT, Request

LOCK_NONCE_SIZE: Final = 16


@dataclass(frozen=True, slots=True)
class NonceGiven(Record):
    """The lock's present nonce: what nonce tickets and TIME statements name, by its hash."""

    nonce: bytes

    WIRE = wire(nonce=Bytes(LOCK_NONCE_SIZE))


@dataclass(frozen=True, slots=True)
class LockNonce(Request[NonceGiven]):
    """Ask for the lock's nonce. It stays the same until a ticket or a TIME uses it."""

    OPCODE = 0x13
    REPLY = NonceGiven

    WIRE = wire()


@dataclass(frozen=True, slots=True)
class EpochTaken(Record):
    """The lock goes by this EPOCH now.

    Attributes:
        number: of the statement.
        min_epoch: certificates below are revoked.
        dropped: this session's own certificates no longer stand: it is anonymous again.
    """

    number: int
    min_epoch: int
    dropped: bool

    WIRE = wire(number=Int32ub, min_epoch=Int32ub, dropped=strict_bool())


@dataclass(frozen=True, slots=True)
class PutEpoch(Request[EpochTaken]):
    """Bring an EPOCH object, signed by the fleet root, with a number above the lock's."""

    OPCODE = 0x14
    REPLY = EpochTaken
    statement: bytes

    WIRE = wire(statement=short_bytes(OBJECT_LIMIT))


@dataclass(frozen=True, slots=True)
class TimeTaken(Record):
    """The lock has raised its time floor as far as it may, and has replaced its nonce.

    Attributes:
        time_floor: Unix time that has surely passed.
        dropped: this session's own certificates have ended: it is anonymous again.
    """

    time_floor: int
    dropped: bool

    WIRE = wire(time_floor=Int64ub, dropped=strict_bool())


@dataclass(frozen=True, slots=True)
class PutTime(Request[TimeTaken]):
    """Bring a TIME object for the lock's present nonce, and the ISSUER object of its signer."""

    OPCODE = 0x15
    REPLY = TimeTaken
    statement: bytes
    issuer: bytes

    WIRE = wire(statement=short_bytes(OBJECT_LIMIT), issuer=short_bytes(OBJECT_LIMIT))
