"""Cable: pulled after every byte of control and at every edge of a block, each way.

`up` and `down` stay pulled for the rest of the command; `up-back` and `down-back` are plugged in
again at once, so that the command itself may go on.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from sweep.measure import measured
from sweep.recover import finish
from sweep.starts import room, start
from sweep.wire import Trouble
from sweep.yard import Yard

STRIDES: Final = {"restore": 1, "rollback": 5, "confirm-raise": 5, "resume-again": 11, "dead": 11}
"""Of the places at which a flow's cable is pulled, every so-manieth."""

BACK_STRIDE: Final = 13


def names() -> Iterator[str]:
    for flow, stride in STRIDES.items():
        for direction in ("up", "down"):
            places = measured(flow).cuts(direction == "up")
            for number, place in enumerate(places):
                if number % stride == 0:
                    yield f"cable/{flow}/{direction}/{place}"
                if number % (BACK_STRIDE * stride) == 0:
                    yield f"cable/{flow}/{direction}-back/{place}"


def run(name: str, parts: list[str]) -> str:
    """`cable/FLOW/DIRECTION/BYTES`."""
    flow, direction, place = parts
    way, _minus, back = direction.partition("-")
    trouble = Trouble(plugged_again=bool(back))
    setattr(trouble, f"cut_{way}", int(place))
    yard = Yard(start(flow), room())
    return finish(yard, name, yard.go(trouble))
