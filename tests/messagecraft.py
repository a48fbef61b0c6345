"""One of every message, with values that show each field, and records as vector lines."""

from __future__ import annotations

import dataclasses
import hashlib
from enum import IntEnum, IntFlag
from typing import Any

from protocol.acts import (
    Activate,
    ActState,
    ActStatus,
    Begin,
    Commit,
    Committed,
    Confirm,
    Receipted,
    ReceiptPage,
    Receipts,
    Reset,
    Rollback,
    TransferReady,
)
from protocol.queries import (
    Auth,
    AuthAccepted,
    Battery,
    BatteryLevel,
    Close,
    Event,
    EventPage,
    Events,
    Identify,
    Identity,
    Measure,
    Measured,
    SectorDigestPage,
    SectorDigests,
    SelfTest,
    SelfTestResult,
    SetBaud,
    SlotInfo,
    Slots,
    SlotTable,
)
from protocol.record import Record
from protocol.refusal import EventCode, SelfTestPart
from protocol.request import Done, Request
from protocol.statements import (
    EpochTaken,
    LockNonce,
    NonceGiven,
    PutEpoch,
    PutTime,
    TimeTaken,
)
from protocol.values import (
    ZERO_DIGEST,
    ActResult,
    Head,
    ImageVersion,
    Op,
    Phase,
    Slot,
    SlotState,
)

V240 = ImageVersion(2, 4, 0, 17)
V231 = ImageVersion(2, 3, 1, 0)
HEAD = Head(41, bytes.fromhex("c4" * 32))


def digest(what: str) -> bytes:
    """A SHA-256 that a reader of the vectors can recompute from its name."""
    return hashlib.sha256(what.encode()).digest()


IDENTITY = Identity(
    model="SL-100",
    hardware="C2",
    batch="2026-31",
    bootloader="svcboot 1.0.0",
    slot_size=0x70000,
    block_size=4096,
    window=8,
    max_baud=3_000_000,
    security_counter=3,
    uptime_s=86_461,
    reset_count=12,
    time_floor=1_795_000_000,
    min_epoch=7,
    epoch_number=31,
)
RUNNING = SlotInfo(Slot.A, SlotState.RUNNING, True, V240, digest("2.4.0"), 3, 231_424)
FALLBACK = SlotInfo(Slot.B, SlotState.FALLBACK, True, V231, digest("2.3.1"), 3, 229_888)
EMPTY = SlotInfo(Slot.A, SlotState.EMPTY, False, ImageVersion(0, 0, 0, 0), ZERO_DIGEST, 0, 0)
ACT_OPEN = ActState(
    phase=Phase.WRITING,
    op=Op.RESTORE,
    image_digest=digest("2.4.1"),
    intent_hash=digest("intent"),
    ticket_id=digest("ticket"),
    last_op=Op.UPDATE,
    last_result=ActResult.REVERTED,
    last_digest=digest("2.4.0"),
    last_intent_hash=digest("last intent"),
    ticket_high=9,
    ticket_window=0b1011,
    trial_left_s=0,
)
ACT_NONE = ActState(
    phase=Phase.NONE,
    op=Op(0),
    image_digest=ZERO_DIGEST,
    intent_hash=ZERO_DIGEST,
    ticket_id=ZERO_DIGEST,
    last_op=Op(0),
    last_result=ActResult.DONE,
    last_digest=ZERO_DIGEST,
    last_intent_hash=ZERO_DIGEST,
    ticket_high=0,
    ticket_window=0,
    trial_left_s=0,
)
EVENTS = (
    Event(811, 1_794_999_000, 120, EventCode.CLOUD_AUTH_FAILED, 5),
    Event(812, 0, 4, EventCode.CLOCK_LOST, 0),
)

MESSAGES: tuple[tuple[str, Request[Any], Record], ...] = (
    ("auth", Auth(b"issuer", b"technician", bytes(range(64))), AuthAccepted(HEAD)),
    ("identify", Identify(), IDENTITY),
    ("slots", Slots(), SlotTable((RUNNING, FALLBACK), Slot.B)),
    ("slots-one-empty", Slots(), SlotTable((EMPTY, FALLBACK), Slot.A)),
    ("measure", Measure(Slot.B, bytes(range(16))), Measured(b"measurement")),
    ("battery", Battery(), BatteryLevel(5870, 5214)),
    (
        "sector-digests",
        SectorDigests(Slot.B, 0x100, 3),
        SectorDigestPage((digest("sector 0")[:8], bytes(8), digest("sector 2")[:8])),
    ),
    ("act-status", ActStatus(), ACT_OPEN),
    ("act-status-none", ActStatus(), ACT_NONE),
    (
        "begin",
        Begin(
            intent=b"intent",
            ticket=b"ticket",
            ticket_issuer=b"issuer",
            slot=Slot.B,
            image_size=12_345,
            base_digest=digest("2.4.0"),
            sectors=b"\xd0",
        ),
        TransferReady(7, 4096, 8),
    ),
    (
        "begin-update",
        Begin(b"intent", b"", b"", Slot.A, 4096, ZERO_DIGEST, b"\x80"),
        TransferReady(8, 1024, 32),
    ),
    ("commit", Commit(7), Committed(digest("2.4.1"), ImageVersion(2, 4, 1, 3))),
    ("activate", Activate(), Done()),
    ("confirm", Confirm(), Receipted(b"receipt")),
    ("rollback", Rollback(b"intent", b"ticket", b"issuer"), Done()),
    ("reset", Reset(), Done()),
    ("receipts", Receipts(39), ReceiptPage(HEAD, (b"receipt 40", b"receipt 41"))),
    ("receipts-none", Receipts(41), ReceiptPage(HEAD, ())),
    ("events", Events(811), EventPage(813, EVENTS)),
    (
        "self-test",
        SelfTest(),
        SelfTestResult(SelfTestPart.BATTERY | SelfTestPart.CLOUD),
    ),
    ("set-baud", SetBaud(921_600), Done()),
    ("close", Close(), Done()),
    ("lock-nonce", LockNonce(), NonceGiven(bytes(range(16)))),
    ("put-epoch", PutEpoch(b"epoch"), EpochTaken(32, 8, False)),
    ("put-epoch-that-revokes-this-session", PutEpoch(b"epoch"), EpochTaken(33, 9, True)),
    ("put-time", PutTime(b"time", b"issuer"), TimeTaken(1_795_003_600, False)),
)


def lines(record: Record, prefix: str = "") -> dict[str, str]:
    """A record's fields as vector lines: hex, decimal or text; a list as `name.0`, `name.1`."""
    found: dict[str, str] = {}
    for field in dataclasses.fields(record):  # type: ignore[arg-type]
        found |= _value(f"{prefix}{field.name}", getattr(record, field.name))
    return found


def _value(name: str, value: object) -> dict[str, str]:
    if isinstance(value, Record):
        return lines(value, f"{name}.")
    if isinstance(value, tuple):
        found = {f"{name}.count": str(len(value))}
        for index, item in enumerate(value):
            found |= _value(f"{name}.{index}", item)
        return found
    if isinstance(value, bytes):
        return {name: value.hex()}
    if isinstance(value, str):
        return {name: f'"{value}"'}
    if isinstance(value, (IntEnum, IntFlag, bool)):
        return {name: str(int(value))}
    return {name: str(value)}
