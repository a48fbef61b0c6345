"""What tests of acts share: a lock that ran a bad update, and how to read what it says."""

from __future__ import annotations

from dataclasses import replace

import pytest
from simulator.hostdriver import (
    Host,
    RefusedByLock,
)
from simulator.trainer import (
    LOCK,
    SERIAL,
    fresh_flash,
    image,
    power_up,
)

from protocol.acts import Receipts
from protocol.objects import (
    Receipt,
    chain_next,
    chain_start,
)
from protocol.queries import Slots
from protocol.refusal import RefusalCode
from protocol.sealed import Sealed
from protocol.values import (
    ActResult,
    Slot,
    SlotState,
)

A, B = Slot.A, Slot.B
BAD, GOOD, FIXED, NEXT = image("2.4.0"), image("2.3.1"), image("2.4.1"), image("2.5.0", counter=4)


def make_host(**changes: object) -> Host:
    images = {A: BAD, B: GOOD}
    return Host(power_up(fresh_flash(images, **changes)))  # type: ignore[arg-type]


def running(host: Host) -> str:
    [slot] = [s for s in host.call(Slots()).slots if s.state is SlotState.RUNNING]
    return str(slot.version)


def receipts(host: Host) -> list[Receipt]:
    """All of them, each checked: signature, number, chain to the head."""
    page = host.call(Receipts(0))
    chain, found = chain_start(SERIAL), []
    while len(found) < page.head.seq:
        for data in host.call(Receipts(len(found))).receipts:
            sealed = Sealed.parse(data)
            sealed.verify(LOCK.subject)
            receipt = Receipt.read(sealed)
            assert (receipt.serial, receipt.seq) == (SERIAL, len(found) + 1)
            assert receipt.chain_before == chain
            chain = chain_next(chain, data)
            found.append(receipt)
    assert chain == page.head.chain
    return found


def results(host: Host) -> list[ActResult]:
    return [receipt.result for receipt in receipts(host)]


def code_of(error: pytest.ExceptionInfo[RefusedByLock]) -> RefusalCode:
    return error.value.code


def begin_refused(host: Host, data: bytes = FIXED, *args: object, **changes: object) -> RefusalCode:
    before = host.board.core.state
    with pytest.raises(RefusedByLock) as caught:
        host.begin(data, *args, **changes)  # type: ignore[arg-type]
    after = host.board.core.state
    assert replace(after, refusals=before.refusals) == before
    return code_of(caught)
