"""Disk: full, broken or read-only at every write under the home."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from sweep.disk import DISK, Fault
from sweep.measure import measured
from sweep.recover import finish
from sweep.starts import room, start
from sweep.yard import Yard

FLOWS: Final = ("first", "raise", "rollback", "confirm-raise", "resume")
FAULTS: Final = (Fault.FULL, Fault.BROKEN, Fault.READ_ONLY)


def names() -> Iterator[str]:
    for flow in FLOWS:
        for fault in FAULTS:
            for number in range(1, measured(flow).disk + 1):
                yield f"disk/{flow}/{fault.value}/{number}"


def run(name: str, parts: list[str]) -> str:
    """`disk/FLOW/FAULT/NUMBER`."""
    flow, fault, number = parts
    yard = Yard(start(flow), room(), own_home=flow == "first")
    with DISK.watching(Fault(fault), int(number)):
        ended = yard.go()
    return finish(yard, name, ended)
