from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from fieldkit import Field, make_field

from protocol.frame import FrameDecoder, FrameType
from svcport.errors import Outcome
from svcport.operations.report import Report

ROUND_TRIP_S = 0.032
"""Of an adapter whose latency timer stands at 16 ms: both ways."""

BYTE_S = 10 / 115_200
START_UP_S = 0.9


def asked(field: Field, call: Callable[[], Report]) -> tuple[Report, Counter[FrameType], int]:
    """What a command says, the frames that it sent for an answer each, and bytes both ways."""
    cable = field.cable
    sent, carried = len(cable.written), cable.carried
    report = call()
    decoder = FrameDecoder()
    frames = [frame for data in cable.written[sent:] for frame in decoder.feed(data)]
    found: Counter[FrameType] = Counter(
        frame.type for frame in frames if frame.type is not FrameType.BLOCK
    )
    # a HELLO is repeated while the lock restarts: one of each attempt is answered
    found[FrameType.HELLO] = found[FrameType.NOISE]
    return report, found, cable.carried - carried


@pytest.fixture
def met(tmp_path: Path) -> Field:
    """A lock that has the vendor's newest EPOCH, as after any visit."""
    field = make_field(tmp_path)
    field.identify()
    return field


# Each is answered before the next is sent: on an adapter with a latency of 16 ms they are the time
# that a command takes. AUTH, IDENTIFY, SLOTS, ACT_STATUS, BATTERY and CLOSE are of every visit.
@pytest.mark.parametrize(
    ("command", "trips"),
    [
        ("identify", 2 + 6 + 1),  # LOCK_NONCE
        ("verify", 2 + 6 + 2),  # MEASURE, SELF_TEST
        ("diagnose", 2 + 6 + 3),  # EVENTS: where the log ends, then two pages of its end
        ("reconcile", 2 + 6 + 1),  # RECEIPTS
        # RECEIPTS, SECTOR_DIGESTS, BEGIN, COMMIT, ACTIVATE; then handshake, AUTH, SLOTS, SELF_TEST,
        # CONFIRM, RECEIPTS, SLOTS, MEASURE; and twice SET_BAUD with its test
        ("restore", 2 + 6 + 5 + 2 + 7 + 2 * 2),
    ],
)
def test_a_command_asks_no_more_than_it_needs(met: Field, command: str, trips: int) -> None:
    _report, found, _bytes = asked(met, getattr(met, command))
    assert found.total() <= trips, found


def test_a_rollback_asks_no_more_than_it_needs(met: Field) -> None:
    _report, found, _bytes = asked(met, met.rollback)
    # RECEIPTS, ROLLBACK; then handshake, AUTH, SLOTS, SELF_TEST, CONFIRM, RECEIPTS, SLOTS, MEASURE
    assert found.total() <= 2 + 6 + 2 + 2 + 7, found
    assert not found[FrameType.BAUD_TEST], "no long answers come: a raised speed would not pay"


def test_an_unchanged_image_costs_a_handful_of_questions_and_no_change(met: Field) -> None:
    met.restore()
    flash = met.board._flash
    erased = sum(flash.erases)
    with met.installation() as inst:
        entries = inst.ledger.size
    report, found, carried = asked(met, met.restore)
    assert report.outcome is Outcome.NOTHING_TO_DO
    assert found.total() <= 2 + 6 + 2, found  # RECEIPTS, MEASURE
    assert START_UP_S + found.total() * ROUND_TRIP_S + carried * BYTE_S < 2.0
    assert sum(flash.erases) == erased
    with met.installation() as inst:
        assert inst.ledger.size == entries
