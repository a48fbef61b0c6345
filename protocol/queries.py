"""Requests that change nothing in the lock's firmware, and their replies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from construct import Bytes, ExprValidator, Int8ub, Int16ub, Int32ub, Int64ub, PrefixedArray

from protocol.record import (
    Record,
    closed,
    limited_array,
    nested,
    part,
    short_bytes,
    short_text,
    strict_bool,
    wire,
)
from protocol.request import OBJECT_LIMIT, Done, Request
from protocol.sealed import SIGNATURE_SIZE
from protocol.unit import CHECK_SIZE
from protocol.values import (
    DIGEST_SIZE,
    Head,
    ImageVersion,
    Slot,
    SlotState,
)

DIGESTS_PER_PAGE: Final = 120
EVENTS_PER_PAGE: Final = 40
MEASURE_NONCE_SIZE: Final = 16


@dataclass(frozen=True, slots=True)
class AuthAccepted(Record):
    """The session is open; `head` shows at once whether records of this lock are missing."""

    head: Head

    WIRE = wire(head=nested(Head))


@dataclass(frozen=True, slots=True)
class Auth(Request[AuthAccepted]):
    """The first request of a session: who asks, bound to this handshake by `signature`."""

    OPCODE = 0x01
    REPLY = AuthAccepted
    issuer: bytes
    technician: bytes
    signature: bytes

    WIRE = wire(
        issuer=short_bytes(OBJECT_LIMIT),
        technician=short_bytes(OBJECT_LIMIT),
        signature=Bytes(SIGNATURE_SIZE),
    )


@dataclass(frozen=True, slots=True)
class Identity(Record):
    """What the lock is. Sizes in bytes, `window` in blocks, `uptime_s` since the last reset.

    `epoch_number` is that of the newest EPOCH statement it took, 0 before the first.
    """

    model: str
    hardware: str
    batch: str
    bootloader: str
    slot_size: int
    block_size: int
    window: int
    max_baud: int
    security_counter: int
    uptime_s: int
    reset_count: int
    time_floor: int
    min_epoch: int
    epoch_number: int

    WIRE = wire(
        model=short_text(),
        hardware=short_text(),
        batch=short_text(),
        bootloader=short_text(),
        slot_size=Int32ub,
        block_size=Int16ub,
        window=Int8ub,
        max_baud=Int32ub,
        security_counter=Int32ub,
        uptime_s=Int32ub,
        reset_count=Int32ub,
        time_floor=Int64ub,
        min_epoch=Int32ub,
        epoch_number=Int32ub,
    )


@dataclass(frozen=True, slots=True)
class Identify(Request[Identity]):
    """Ask what the lock is."""

    OPCODE = 0x02
    REPLY = Identity

    WIRE = wire()


@dataclass(frozen=True, slots=True)
class SlotInfo(Record):
    """What one slot holds. Version, digest, counter and size are zero unless an image verifies.

    Attributes:
        bootable: the image verifies for this lock and its counter is not below the lock's.
        size: bytes of the image up to the end of its TLVs.
    """

    slot: Slot
    state: SlotState
    bootable: bool
    version: ImageVersion
    digest: bytes
    security_counter: int
    size: int

    WIRE = part(
        slot=closed(Slot),
        state=closed(SlotState),
        bootable=strict_bool(),
        version=nested(ImageVersion),
        digest=Bytes(DIGEST_SIZE),
        security_counter=Int32ub,
        size=Int32ub,
    )


@dataclass(frozen=True, slots=True)
class SlotTable(Record):
    """Both slots, A first; and the slot that a BEGIN must name, the one that may be written.

    Any other run of slots does not parse.
    """

    slots: tuple[SlotInfo, ...]
    target: Slot

    WIRE = wire(
        slots=ExprValidator(
            PrefixedArray(Int8ub, nested(SlotInfo)),
            lambda slots, _context: [info.slot for info in slots] == [Slot.A, Slot.B],
        ),
        target=closed(Slot),
    )


@dataclass(frozen=True, slots=True)
class Slots(Request[SlotTable]):
    """Ask what the slots hold."""

    OPCODE = 0x03
    REPLY = SlotTable

    WIRE = wire()


@dataclass(frozen=True, slots=True)
class Measured(Record):
    """A MEASUREMENT object, signed by the lock."""

    statement: bytes

    WIRE = wire(statement=short_bytes(OBJECT_LIMIT))


@dataclass(frozen=True, slots=True)
class Measure(Request[Measured]):
    """Have a slot hashed now, together with the host's fresh nonce."""

    OPCODE = 0x04
    REPLY = Measured
    slot: Slot
    nonce: bytes

    WIRE = wire(slot=closed(Slot), nonce=Bytes(MEASURE_NONCE_SIZE))


@dataclass(frozen=True, slots=True)
class BatteryLevel(Record):
    """Battery voltage in millivolts: at rest, and under the motor's load."""

    rest_mv: int
    load_mv: int

    WIRE = wire(rest_mv=Int16ub, load_mv=Int16ub)


@dataclass(frozen=True, slots=True)
class Battery(Request[BatteryLevel]):
    """Have the battery measured; the load is a short pulse, the bolt does not move."""

    OPCODE = 0x05
    REPLY = BatteryLevel

    WIRE = wire()


@dataclass(frozen=True, slots=True)
class SectorDigestPage(Record):
    """First 8 bytes of each sector's SHA-256, zero where the sector's verified mark is missing."""

    digests: tuple[bytes, ...]

    WIRE = wire(digests=limited_array(Bytes(CHECK_SIZE), DIGESTS_PER_PAGE))


@dataclass(frozen=True, slots=True)
class SectorDigests(Request[SectorDigestPage]):
    """Ask what `count` (1..120) sectors of a slot, from `first` on, verifiably hold."""

    OPCODE = 0x06
    REPLY = SectorDigestPage
    slot: Slot
    first: int
    count: int

    WIRE = wire(slot=closed(Slot), first=Int16ub, count=Int8ub)


@dataclass(frozen=True, slots=True)
class Event(Record):
    """One entry of the event log. `unix_time` is 0 where the lock's clock was lost."""

    index: int
    unix_time: int
    uptime_s: int
    code: int
    argument: int

    WIRE = part(index=Int32ub, unix_time=Int64ub, uptime_s=Int32ub, code=Int16ub, argument=Int32ub)


@dataclass(frozen=True, slots=True)
class EventPage(Record):
    """Events in rising order; `head` is the index that the next event will take."""

    head: int
    events: tuple[Event, ...]

    WIRE = wire(head=Int32ub, events=limited_array(nested(Event), EVENTS_PER_PAGE))


@dataclass(frozen=True, slots=True)
class Events(Request[EventPage]):
    """Ask for events from index `since` on; older ones than the ring holds are gone."""

    OPCODE = 0x0F
    REPLY = EventPage
    since: int

    WIRE = wire(since=Int32ub)


@dataclass(frozen=True, slots=True)
class SelfTestResult(Record):
    """Bits of the parts that failed (refusal.SelfTestPart); 0: all passed."""

    failed: int

    WIRE = wire(failed=Int16ub)


@dataclass(frozen=True, slots=True)
class SelfTest(Request[SelfTestResult]):
    """Have the lock test its parts; the bolt does not move."""

    OPCODE = 0x10
    REPLY = SelfTestResult

    WIRE = wire()


@dataclass(frozen=True, slots=True)
class SetBaud(Request[Done]):
    """Change the line's speed after the answer; a test frame must prove it (protocol/README)."""

    OPCODE = 0x11
    REPLY = Done
    baud: int

    WIRE = wire(baud=Int32ub)


@dataclass(frozen=True, slots=True)
class Close(Request[Done]):
    """End the session."""

    OPCODE = 0x12
    REPLY = Done

    WIRE = wire()
