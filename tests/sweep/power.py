"""Power: cut before, during and after every flash operation; again while it recovers; at random.

Operations are counted from power-up. A second cut is counted from the first: one operation later is
the first of the boot that follows.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Iterator
from typing import Final

from sweep.checks import check_station
from sweep.measure import measured, noted
from sweep.promises import Broken, Promise
from sweep.recover import finish
from sweep.starts import room, start
from sweep.yard import Yard

from svcport.simulator.flash import Cut

FLOWS: Final = (
    "restore",
    "dead",
    "raise",
    "rollback",
    "confirm",
    "confirm-raise",
    "confirm-rollback",
    "resume",
    "resume-again",
    "resume-foreign",
)
TWICE: Final = ("restore", "raise", "rollback", "confirm-raise")
"""Flows of which every operation of a recovery is cut too."""

PAIRS: Final = 1000
_RECOVERY: Final = 60
"""Operations after a first cut within which a random second one lies."""


def names() -> Iterator[str]:
    for flow in FLOWS:
        for how in Cut:
            for number in range(1, len(measured(flow).operations) + 1):
                yield f"power/{flow}/{how.value}/{number}"


def second_names() -> Iterator[str]:
    for flow in TWICE:
        for number in first_cuts(flow):
            for how in Cut:
                for later in range(1, recovery(flow, number) + 1):
                    for second in Cut:
                        yield f"power-again/{flow}/{how.value}/{number}/{second.value}/{later}"


def pair_names() -> Iterator[str]:
    for seed in range(PAIRS):
        yield f"power-pairs/{seed}"


def first_cuts(flow: str) -> list[int]:
    """The first erase and the first write of each step of a command."""
    found: dict[object, int] = {}
    for number, operation in enumerate(measured(flow).operations, 1):
        found.setdefault(operation, number)
    return sorted(found.values())


@functools.cache
def recovery(flow: str, number: int) -> int:
    """Flash operations from a first cut to the end of the command that goes on from there."""
    yard = Yard(start(flow), room())
    base = yard.flash.operations
    yard.flash.cut_at(base + number)
    operations = noted(yard.flash, yard.progress)
    yard.go()
    ended = yard.go()
    yard.close()
    if not ended.is_success:
        raise Broken(Promise.AGAIN, f"the next command ends {ended}")
    return len(operations) - number


def run(name: str, parts: list[str]) -> str:
    """`power/FLOW/HOW/NUMBER`."""
    flow, how, number = parts
    return _run(name, flow, [(int(number), Cut(how))])


def run_second(name: str, parts: list[str]) -> str:
    """`power-again/FLOW/HOW/NUMBER/HOW/LATER`."""
    flow, how, number, second, later = parts
    first = int(number)
    return _run(name, flow, [(first, Cut(how)), (first + int(later), Cut(second))])


def run_pair(name: str, parts: list[str]) -> str:
    """`power-pairs/SEED`."""
    dice = random.Random(f"pair {parts[0]}")
    flow = dice.choice(FLOWS)
    first = dice.randint(1, len(measured(flow).operations))
    second = first + dice.randint(1, _RECOVERY)
    hows = list(Cut)
    return _run(name, flow, [(first, dice.choice(hows)), (second, dice.choice(hows))])


def _run(name: str, flow: str, cuts: list[tuple[int, Cut]]) -> str:
    yard = Yard(start(flow), room())
    base = yard.flash.operations
    for number, how in cuts:
        yard.flash.cut_at(base + number, how)
    ended = yard.go()
    if len(cuts) > 1 and not ended.is_success:
        check_station(yard, ended)
        ended = yard.go()
    # A cut that was never reached must not strike what is checked afterwards.
    yard.flash._cuts.clear()
    return finish(yard, name, ended)
