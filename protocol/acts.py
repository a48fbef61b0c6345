"""Requests of an act, from BEGIN to its receipt, and their replies (protocol/README, "Acts")."""

from __future__ import annotations

from dataclasses import dataclass

from construct import Bytes, Int8ub, Int16ub, Int32ub, Int64ub

from protocol.record import (
    Record,
    closed,
    flags_field,
    limited_array,
    nested,
    short_bytes,
    wire,
)
from protocol.request import OBJECT_LIMIT, Done, Request
from protocol.values import (
    DIGEST_SIZE,
    ActResult,
    Head,
    ImageVersion,
    Op,
    Phase,
    Slot,
)


@dataclass(frozen=True, slots=True)
class ActState(Record):
    """The open act, the last closed one, and which counter tickets are spent.

    Attributes:
        phase: NONE if no act is open; then `op` is 0 and the digests are zero.
        last_op: 0 if the lock has closed no act yet.
        ticket_high: highest counter consumed.
        ticket_window: bit i set: counter `ticket_high - i` is consumed (i = 0..63).
        trial_left_s: seconds until a trial falls back by itself, 0 if none runs.
    """

    phase: Phase
    op: Op
    image_digest: bytes
    intent_hash: bytes
    ticket_id: bytes
    last_op: Op
    last_result: ActResult
    last_digest: bytes
    last_intent_hash: bytes
    ticket_high: int
    ticket_window: int
    trial_left_s: int

    WIRE = wire(
        phase=closed(Phase),
        op=flags_field(Op),
        image_digest=Bytes(DIGEST_SIZE),
        intent_hash=Bytes(DIGEST_SIZE),
        ticket_id=Bytes(DIGEST_SIZE),
        last_op=flags_field(Op),
        last_result=closed(ActResult),
        last_digest=Bytes(DIGEST_SIZE),
        last_intent_hash=Bytes(DIGEST_SIZE),
        ticket_high=Int64ub,
        ticket_window=Int64ub,
        trial_left_s=Int16ub,
    )


@dataclass(frozen=True, slots=True)
class ActStatus(Request[ActState]):
    """Ask what act is open; a host asks before it picks a ticket."""

    OPCODE = 0x07
    REPLY = ActState

    WIRE = wire()


@dataclass(frozen=True, slots=True)
class TransferReady(Record):
    """The act is open and the transfer may start: blocks of `block_size` bytes, `window` blocks."""

    transfer_id: int
    block_size: int
    window: int

    WIRE = wire(transfer_id=Int32ub, block_size=Int16ub, window=Int8ub)


@dataclass(frozen=True, slots=True)
class Begin(Request[TransferReady]):
    """Open an act (or continue one) and start a transfer into `slot`.

    Attributes:
        intent: the INTENT object; what the lock judges is what it names.
        ticket: the TICKET object, empty where the operation needs none.
        ticket_issuer: certificate of the issuer that signed the ticket, empty likewise.
        slot: the slot to write; must be the one that is not running.
        image_size: bytes of the image up to the end of its TLVs.
        base_digest: image that dictionaries are taken from; zero: none.
        sectors: bitmap of the sectors to write, sector 0 the top bit of the first byte.
    """

    OPCODE = 0x08
    REPLY = TransferReady
    intent: bytes
    ticket: bytes
    ticket_issuer: bytes
    slot: Slot
    image_size: int
    base_digest: bytes
    sectors: bytes

    WIRE = wire(
        intent=short_bytes(OBJECT_LIMIT),
        ticket=short_bytes(OBJECT_LIMIT),
        ticket_issuer=short_bytes(OBJECT_LIMIT),
        slot=closed(Slot),
        image_size=Int32ub,
        base_digest=Bytes(DIGEST_SIZE),
        sectors=short_bytes(128),
    )


@dataclass(frozen=True, slots=True)
class Committed(Record):
    """The written image verifies for this lock: hash, signature, model, counter."""

    digest: bytes
    version: ImageVersion

    WIRE = wire(digest=Bytes(DIGEST_SIZE), version=nested(ImageVersion))


@dataclass(frozen=True, slots=True)
class Commit(Request[Committed]):
    """Have the whole written image judged. Only in the session of the act's INTENT."""

    OPCODE = 0x09
    REPLY = Committed
    transfer_id: int

    WIRE = wire(transfer_id=Int32ub)


@dataclass(frozen=True, slots=True)
class Activate(Request[Done]):
    """Boot the committed image once, on trial. The lock answers, then resets."""

    OPCODE = 0x0A
    REPLY = Done

    WIRE = wire()


@dataclass(frozen=True, slots=True)
class Receipted(Record):
    """A RECEIPT object, signed by the lock."""

    receipt: bytes

    WIRE = wire(receipt=short_bytes(OBJECT_LIMIT))


@dataclass(frozen=True, slots=True)
class Confirm(Request[Receipted]):
    """Make the image on trial the active one, raise the counter, close the act."""

    OPCODE = 0x0B
    REPLY = Receipted

    WIRE = wire()


@dataclass(frozen=True, slots=True)
class Rollback(Request[Done]):
    """Boot the other slot's image on trial: BEGIN and ACTIVATE in one. Answers, then resets."""

    OPCODE = 0x0C
    REPLY = Done
    intent: bytes
    ticket: bytes
    ticket_issuer: bytes

    WIRE = wire(
        intent=short_bytes(OBJECT_LIMIT),
        ticket=short_bytes(OBJECT_LIMIT),
        ticket_issuer=short_bytes(OBJECT_LIMIT),
    )


@dataclass(frozen=True, slots=True)
class Reset(Request[Done]):
    """Reset the lock after its answer. An image on trial is given up: the act is `reverted`."""

    OPCODE = 0x0D
    REPLY = Done

    WIRE = wire()


@dataclass(frozen=True, slots=True)
class ReceiptPage(Record):
    """Receipts in rising order, as many as fit a record, and where the chain stands."""

    head: Head
    receipts: tuple[bytes, ...]

    WIRE = wire(head=nested(Head), receipts=limited_array(short_bytes(OBJECT_LIMIT), 8))


@dataclass(frozen=True, slots=True)
class Receipts(Request[ReceiptPage]):
    """Ask for receipts after `since`; those up to `since` count as collected from now on."""

    OPCODE = 0x0E
    REPLY = ReceiptPage
    since: int

    WIRE = wire(since=Int64ub)
