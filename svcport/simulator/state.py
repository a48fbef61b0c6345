"""The lock's durable state: everything of it changes in one NVM record. Values only, no I/O.

The layout is private to this bootloader; protocol.record serves as its notation. Big-endian.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from construct import Bytes, Int8ub, Int16ub, Int32ub, Int64ub

from protocol.record import Record, closed, flags_field, limited_array, nested, part, wire
from protocol.sealed import KEY_ID_SIZE
from protocol.values import (
    DIGEST_SIZE,
    ZERO_DIGEST,
    ActResult,
    Head,
    Op,
    Phase,
    Slot,
)

NONCE_SIZE: Final = 16
REVOKED_LIMIT: Final = 32


class Trial(IntEnum):
    """Whether the candidate is to boot once (pending), or did and is not confirmed (trying)."""

    NONE = 0
    PENDING = 1
    TRYING = 2


@dataclass(frozen=True, slots=True)
class BootRecord(Record):
    """What decides which slot runs; never a version.

    Attributes:
        active: the slot with the confirmed image.
        candidate: the slot on trial; says nothing while `trial` is NONE.
        reboots: resets that the candidate survived on trial because `active` does not verify.
    """

    active: Slot
    candidate: Slot
    trial: Trial
    reboots: int

    WIRE = part(active=closed(Slot), candidate=closed(Slot), trial=closed(Trial), reboots=Int8ub)


@dataclass(frozen=True, slots=True)
class Act(Record):
    """The open act. Phase NONE: none is open and the rest says nothing.

    Attributes:
        intent_key: key id that signed the INTENT.
        session: handshake hash that the INTENT names; COMMIT and ACTIVATE run only there.
        min_counter: lowest security counter that the ticket allows, 0 if it says nothing.
    """

    phase: Phase
    op: Op
    slot: Slot
    image_digest: bytes
    intent_hash: bytes
    ticket_id: bytes
    intent_key: bytes
    session: bytes
    min_counter: int

    WIRE = part(
        phase=closed(Phase),
        op=flags_field(Op),
        slot=closed(Slot),
        image_digest=Bytes(DIGEST_SIZE),
        intent_hash=Bytes(DIGEST_SIZE),
        ticket_id=Bytes(DIGEST_SIZE),
        intent_key=Bytes(KEY_ID_SIZE),
        session=Bytes(DIGEST_SIZE),
        min_counter=Int32ub,
    )

    @property
    def is_open(self) -> bool:
        """Whether there is an act at all."""
        return self.phase is not Phase.NONE


NO_ACT: Final = Act(
    phase=Phase.NONE,
    op=Op(0),
    slot=Slot.A,
    image_digest=ZERO_DIGEST,
    intent_hash=ZERO_DIGEST,
    ticket_id=ZERO_DIGEST,
    intent_key=bytes(KEY_ID_SIZE),
    session=ZERO_DIGEST,
    min_counter=0,
)


@dataclass(frozen=True, slots=True)
class ClosedAct(Record):
    """The act closed last, for a host that lost the answer; `op` 0: none yet."""

    op: Op
    result: ActResult
    image_digest: bytes
    intent_hash: bytes

    WIRE = part(
        op=flags_field(Op),
        result=closed(ActResult),
        image_digest=Bytes(DIGEST_SIZE),
        intent_hash=Bytes(DIGEST_SIZE),
    )


NO_CLOSED_ACT: Final = ClosedAct(Op(0), ActResult.DONE, ZERO_DIGEST, ZERO_DIGEST)


@dataclass(frozen=True, slots=True)
class TicketWindow(Record):
    """Counters consumed: the highest, and bit i for the counter `high - i` (i = 0..63)."""

    high: int
    bits: int

    WIRE = part(high=Int64ub, bits=Int64ub)


@dataclass(frozen=True, slots=True)
class Epoch(Record):
    """The newest EPOCH statement that the lock took: what it revokes, and when it was made."""

    number: int
    minimum: int
    issued_at: int
    revoked: tuple[bytes, ...]

    WIRE = part(
        number=Int32ub,
        minimum=Int32ub,
        issued_at=Int64ub,
        revoked=limited_array(Bytes(KEY_ID_SIZE), REVOKED_LIMIT),
    )


@dataclass(frozen=True, slots=True)
class LockState(Record):
    """All that must change together.

    Attributes:
        nonce: what nonce tickets name; replaced when one is used.
        head: the receipt chain; a ring cell above `head.seq` does not count.
        collected: highest receipt that a host says it has.
        refusals: INTENTs refused since the last receipt, at most 65535.
        auth_failures: failed AUTHs ever, at most 65535.
        time_floor: Unix time that has passed for certain.
        reset_count: boots ever.
    """

    boot: BootRecord
    act: Act
    last: ClosedAct
    tickets: TicketWindow
    nonce: bytes
    security_counter: int
    head: Head
    collected: int
    refusals: int
    auth_failures: int
    time_floor: int
    epoch: Epoch
    reset_count: int

    WIRE = wire(
        boot=nested(BootRecord),
        act=nested(Act),
        last=nested(ClosedAct),
        tickets=nested(TicketWindow),
        nonce=Bytes(NONCE_SIZE),
        security_counter=Int32ub,
        head=nested(Head),
        collected=Int64ub,
        refusals=Int16ub,
        auth_failures=Int16ub,
        time_floor=Int64ub,
        epoch=nested(Epoch),
        reset_count=Int32ub,
    )


def saturated(count: int) -> int:
    """A u16 counter one further, stopping at its end."""
    return min(count + 1, 0xFFFF)
