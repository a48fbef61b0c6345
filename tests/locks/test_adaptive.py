from __future__ import annotations

from itertools import repeat

import pytest
from locksim import VirtualClock

from svcport.locks.adaptive import (
    CALM_S,
    LOSSY_S,
    SMALLEST_BLOCK,
    START_BLOCK,
    Blocks,
    Loss,
    Pace,
    Patience,
)

LIMIT, WINDOW = 4096, 8


def blocks_of(loss: Loss, clean: int = 0) -> Blocks:
    return Blocks(repeat(bytes(500)), LIMIT, WINDOW, loss, clean)


@pytest.mark.parametrize(
    ("clean", "first"), [(0, START_BLOCK), (4000, 1024), (6000, 2048), (9000, 4096), (10**6, 4096)]
)
def test_the_first_block_is_as_long_as_what_the_line_has_carried_warrants(
    clean: int, first: int
) -> None:
    assert len(next(iter(blocks_of(Loss(clean, 0), clean)))) == first


def test_without_losses_blocks_double_with_each_window() -> None:
    blocks = blocks_of(Loss(0, 0))
    stream = iter(blocks)
    sizes = []
    for consumed in range(0, 5 * WINDOW, WINDOW):
        blocks.adapt(consumed)
        sizes.append(len(next(stream)))
    assert sizes == [512, 1024, 2048, 4096, 4096]


@pytest.mark.parametrize(
    ("passed", "damaged", "size"), [(6000, 1, 395), (6000, 6, 161), (400, 8, SMALLEST_BLOCK)]
)
def test_what_was_damaged_before_the_upload_counts_from_its_first_block(
    passed: int, damaged: int, size: int
) -> None:
    first = next(iter(blocks_of(Loss(passed, damaged))))
    assert len(first) == pytest.approx(size, abs=1)


def test_loss_is_measured_and_forgotten() -> None:
    loss = Loss(0, 0)
    assert (loss.any, loss.bytes_a_damage) == (False, float("inf"))
    for _ in range(100):
        loss.count(900, 1, 200)
    assert loss.any
    assert loss.bytes_a_damage == pytest.approx(1000, rel=0.05)
    loss.count(20_000, 0, 0)
    assert loss.bytes_a_damage == 20_000, "a clean run counts for more than the average before it"
    for _ in range(120):
        loss.count(10_000, 0, 0)
    assert not loss.any


def test_the_pace_is_that_of_the_wire() -> None:
    clock = VirtualClock()
    pace = Pace(clock)
    assert pace.left_s == 0
    pace.wrote(1152, 115_200)
    pace.wrote(1152, 115_200)
    assert pace.left_s == pytest.approx(0.2)
    clock.sleep(0.15)
    assert pace.left_s == pytest.approx(0.05)
    clock.sleep(5)
    pace.wrote(9216, 921_600)
    assert pace.left_s == pytest.approx(0.1)


def test_patience_follows_the_measured_round_trip_and_backs_off() -> None:
    clock, loss = VirtualClock(), Loss(0, 0)
    pace = Pace(clock)
    patience = Patience(clock, pace, loss, WINDOW * LIMIT)
    baud = 921_600
    assert patience.wait_s(baud) == pytest.approx(1 + 8 * 4096 * 10 / baud)
    pace.wrote(4096, baud)
    patience.sent(0, 0)
    clock.sleep(pace.left_s + 0.03)
    patience.heard(1, 0)
    assert patience.wait_s(baud) == pytest.approx(CALM_S + 2 * 0.03)
    loss.count(0, 1, 100)
    assert patience.wait_s(baud) == pytest.approx(LOSSY_S + 2 * 0.03)
    clock.sleep(0.081)
    assert patience.expired(baud)
    assert not patience.expired(baud), "the next time is later"
    clock.sleep(0.080)
    assert patience.expired(baud)
    patience.heard(1, 0)
    assert patience.wait_s(baud) == pytest.approx(LOSSY_S + 2 * 0.03)


def test_a_block_beside_which_something_went_again_measures_no_round_trip() -> None:
    clock = VirtualClock()
    pace = Pace(clock)
    patience = Patience(clock, pace, Loss(1000, 1), WINDOW * LIMIT)
    patience.sent(0, 0)
    clock.sleep(0.5)
    before = patience.wait_s(921_600)
    patience.heard(1, 1)
    assert before == 0
    assert patience.wait_s(921_600) == pytest.approx(0.22), "still the guess of the beginning"
