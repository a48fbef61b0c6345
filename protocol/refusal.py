"""The lock's "no", typed; and the parts and events that it names by number."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, IntFlag

from construct import Int32ub

from protocol.record import Record, closed, short_bytes, wire


class RefusalCode(IntEnum):
    """Why a lock refuses. Numbers are stable; gaps are reserved."""

    NOT_AUTHENTICATED = 0x01
    MALFORMED = 0x02
    WRONG_STATE = 0x03
    OUT_OF_RANGE = 0x04

    CREDENTIAL_INVALID = 0x10
    CREDENTIAL_EXPIRED = 0x11
    REVOKED = 0x12
    OUT_OF_SCOPE = 0x13
    NOT_ALLOWED = 0x14
    STATEMENT_INVALID = 0x15
    STATEMENT_OLD = 0x16

    INTENT_INVALID = 0x20
    NO_TICKET = 0x21
    TICKET_INVALID = 0x22
    TICKET_HOLDER = 0x23
    TICKET_LOCK = 0x24
    TICKET_IMAGE = 0x25
    TICKET_EXPIRED = 0x26
    TICKET_USED = 0x27

    NOT_CONFIRMED = 0x30
    NO_OLDER_IMAGE = 0x31
    NOT_BOOTABLE = 0x32
    ANTI_ROLLBACK = 0x33
    NOT_NEWER = 0x34
    RECEIPTS_FULL = 0x35
    BATTERY_LOW = 0x36

    TRANSFER_UNKNOWN = 0x40
    TRANSFER_INCOMPLETE = 0x41
    BASE_UNKNOWN = 0x42
    IMAGE_MALFORMED = 0x43
    IMAGE_HASH = 0x44
    IMAGE_SIGNATURE = 0x45
    IMAGE_SIGNER = 0x46
    IMAGE_MODEL = 0x47
    IMAGE_OTHER = 0x48

    SELF_TEST_FAILED = 0x50
    FLASH_FAILED = 0x51


@dataclass(frozen=True, slots=True)
class Refusal(Record):
    """A refusal: why, a number that belongs to the code, and the lock's signed statement.

    Attributes:
        code: why.
        detail: what the code speaks of (a counter, a sector, seconds to wait), else 0.
        statement: a REFUSAL object where an INTENT was refused, else empty.
    """

    code: RefusalCode
    detail: int = 0
    statement: bytes = b""

    WIRE = wire(code=closed(RefusalCode), detail=Int32ub, statement=short_bytes(640))


class SelfTestPart(IntFlag):
    """Parts that a self-test examines."""

    IMAGE = 0x0001
    FLASH = 0x0002
    RADIO = 0x0004
    KEYPAD = 0x0008
    MOTOR = 0x0010
    BATTERY = 0x0020
    CLOUD = 0x0040


class EventCode(IntEnum):
    """What the event log records. A reader shows numbers that it does not know as numbers."""

    BOOT = 0x01
    BOOT_TRIAL = 0x02
    BOOT_FALLBACK = 0x03
    CONFIRMED = 0x04
    SERVICE_MODE = 0x05
    CLOCK_LOST = 0x06
    SERVICE_SESSION = 0x10
    SERVICE_AUTH_FAILED = 0x11
    UPDATE_BEGUN = 0x12
    UPDATE_COMMITTED = 0x13
    CLOUD_CONNECTED = 0x20
    CLOUD_AUTH_FAILED = 0x21
    CLOUD_RESET = 0x22
    BATTERY_WARNING = 0x30
    KEYPAD_UNLOCK = 0x40
    KEYPAD_REJECTED = 0x41
    BOLT_THROWN = 0x42
    BOLT_RETRACTED = 0x43
