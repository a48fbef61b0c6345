"""Writes a fresh board's flash: what the factory left, or what a given history made of it.

Works on the flash of a board that is off.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from enum import Enum
from typing import Final

from images import verify
from protocol.objects import chain_start
from protocol.refusal import EventCode
from protocol.sealed import KEY_ID_SIZE
from protocol.values import SECTOR_SIZE, ZERO_DIGEST, Head, ImageVersion, Op, Phase, Slot
from svcport.simulator.core import packed
from svcport.simulator.factory import Factory
from svcport.simulator.firmware import (
    BAD_RELEASE,
    CLOUD_UNAUTHORIZED,
    CONNECT_S,
    FAILING_S,
    RESET_AFTER_S,
    RETRY_S,
)
from svcport.simulator.flash import ERASED, PAGE_SIZE, SLOT_ADDRESS, SLOT_SIZE, WORD_SIZE, NorFlash
from svcport.simulator.nvm import Nvm
from svcport.simulator.state import (
    NO_ACT,
    NO_CLOSED_ACT,
    NONCE_SIZE,
    Act,
    BootRecord,
    Epoch,
    LockState,
    TicketWindow,
    Trial,
)
from svcport.simulator.world import World, save_world

FACTORY_TIME: Final = 1_788_000_000
"""Unix time of the EPOCH statement that the factory left, unless told otherwise (August 2026)."""

WEAK_BATTERY: Final = World(rest_mv=4650, load_mv=3900)

_NONCE_LABEL: Final = b"svcport-simulator-first-nonce\0"
_CLOUD_FAILURES: Final = 24
"""Failures in the log of a lock that ran the bad release; each is an event, and so is its reset."""

_DAY_S: Final = 24 * 3600
_HistoryEvent = tuple[int, EventCode, int]
"""Seconds of uptime, code and argument."""


class Condition(Enum):
    """What became of the lock since the factory."""

    HEALTHY = "healthy"
    BAD_UPDATE = "bad-update"
    DEAD = "dead"
    WEAK_BATTERY = "weak-battery"
    INTERRUPTED = "interrupted"


def provision(
    flash: NorFlash,
    factory: Factory,
    *,
    images: Mapping[Slot, bytes],
    active: Slot | None,
    security_counter: int,
    world: World | None = None,
    condition: Condition = Condition.HEALTHY,
    now: int = FACTORY_TIME,
    min_epoch: int = 0,
) -> None:
    """Write images, first state, physical facts, sector marks and event log.

    Args:
        flash: any content; all of it but the boot area is overwritten.
        factory: whose lock it is.
        images: what each slot holds; a slot left out is erased.
        active: the confirmed slot. None: nothing boots, so every image is damaged, and the boot
            record names slot A.
        security_counter: the lock's.
        world: battery and broken parts; None takes what goes with the condition.
        condition: DEAD damages every image. INTERRUPTED leaves the first half of the other slot's
            image, and the act that was writing it. BAD_UPDATE fills the event log.
        now: Unix time: the lock's time floor, its EPOCH statement, the end of its history.
        min_epoch: certificates below are revoked.

    Raises:
        ImageError: INTERRUPTED, and the other slot's image does not verify.
    """
    dead = active is None or condition is Condition.DEAD
    active = Slot.A if active is None else active
    contents = {slot: images.get(slot, b"") for slot in Slot}
    state = _first_state(factory, active, security_counter, now, min_epoch)
    if condition is Condition.INTERRUPTED:
        other = active.other
        state = replace(
            state, act=_lost_act(other, verify(contents[other], factory.trust()).digest)
        )
        contents[other] = contents[other][: _half(contents[other])]
    nvm = Nvm.format(flash, state)
    _write_slots(flash, nvm, contents, dead=dead)
    bad = condition is Condition.BAD_UPDATE
    _write_history(nvm, _bad_release_history() if bad else _QUIET, now)
    weak = condition is Condition.WEAK_BATTERY
    save_world(flash, world or (WEAK_BATTERY if weak else World()))


def _first_state(
    factory: Factory, active: Slot, security_counter: int, now: int, min_epoch: int
) -> LockState:
    return LockState(
        boot=BootRecord(active, active, Trial.NONE, 0),
        act=NO_ACT,
        last=NO_CLOSED_ACT,
        tickets=TicketWindow(0, 0),
        nonce=hashlib.sha256(_NONCE_LABEL + factory.identity_seed).digest()[:NONCE_SIZE],
        security_counter=security_counter,
        head=Head(0, chain_start(factory.serial)),
        collected=0,
        refusals=0,
        auth_failures=0,
        time_floor=now,
        epoch=Epoch(number=0, minimum=min_epoch, issued_at=now, revoked=()),
        reset_count=1,
    )


def _lost_act(slot: Slot, digest: bytes) -> Act:
    """An update whose host went away and whose records nobody has: INTENT and key are zero."""
    return Act(
        phase=Phase.WRITING,
        op=Op.UPDATE,
        slot=slot,
        image_digest=digest,
        intent_hash=hashlib.sha256(digest).digest(),
        ticket_id=ZERO_DIGEST,
        intent_key=bytes(KEY_ID_SIZE),
        session=ZERO_DIGEST,
        min_counter=0,
    )


def _half(image: bytes) -> int:
    return len(image) // (2 * SECTOR_SIZE) * SECTOR_SIZE


def _damaged(image: bytes) -> bytes:
    """The image with one byte in its middle turned over, as a worn cell would."""
    middle = len(image) // 2
    turned = bytes(byte ^ 0xFF for byte in image[middle : middle + 1])
    return image[:middle] + turned + image[middle + 1 :]


def _write_slots(flash: NorFlash, nvm: Nvm, contents: Mapping[Slot, bytes], *, dead: bool) -> None:
    for slot, content in contents.items():
        _write_slot(flash, slot, _damaged(content) if dead else content)
        nvm.set_marks(slot, range(-(-len(content) // SECTOR_SIZE)), marked=True)


def _write_slot(flash: NorFlash, slot: Slot, content: bytes) -> None:
    for offset in range(0, SLOT_SIZE, PAGE_SIZE):
        address = SLOT_ADDRESS[slot] + offset
        if not flash.is_blank(address):
            flash.erase(address)
        page = content[offset : offset + PAGE_SIZE]
        if page:
            flash.write(address, page.ljust(-(-len(page) // WORD_SIZE) * WORD_SIZE, ERASED))


def _bad_release_history() -> list[_HistoryEvent]:
    """The cloud fails, minutes after the update, and goes on failing."""
    events: list[_HistoryEvent] = [
        (0, EventCode.BOOT, packed(ImageVersion(*BAD_RELEASE, 0))),
        (int(CONNECT_S), EventCode.CLOUD_CONNECTED, 0),
    ]
    for failure in range(_CLOUD_FAILURES):
        at = int(FAILING_S + failure * RETRY_S)
        events.append((at, EventCode.CLOUD_AUTH_FAILED, CLOUD_UNAUTHORIZED))
        events.append((at + int(RESET_AFTER_S), EventCode.CLOUD_RESET, failure + 1))
    return events


_QUIET: Final[list[_HistoryEvent]] = [
    (int(CONNECT_S), EventCode.CLOUD_CONNECTED, 0),
    (_DAY_S, EventCode.KEYPAD_REJECTED, 1),
    (_DAY_S + 4, EventCode.KEYPAD_UNLOCK, 1),
    (_DAY_S + 5, EventCode.BOLT_RETRACTED, 0),
    (_DAY_S + 35, EventCode.BOLT_THROWN, 0),
]
"""A day at home."""


def _write_history(nvm: Nvm, events: list[_HistoryEvent], now: int) -> None:
    start = now - events[-1][0]
    for uptime_s, code, argument in events:
        nvm.add_event(unix_time=start + uptime_s, uptime_s=uptime_s, code=code, argument=argument)
