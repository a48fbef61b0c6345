"""What an undisturbed run of a flow does, by which its cases are numbered; once a process."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

from fieldkit import LoudSilence
from sweep.checks import check_end, check_station
from sweep.disk import DISK, is_available
from sweep.starts import room, start
from sweep.wire import Trouble
from sweep.yard import Yard, same_dice

from protocol.errors import MalformedFrameError
from protocol.frame import DELIMITER, Frame, FrameType
from svcport.simulator.flash import NorFlash


@dataclass(frozen=True)
class Operation:
    """One flash operation: the step of the command in which it was, erase or write."""

    step: str
    kind: str


@dataclass(frozen=True)
class Measured:
    """One undisturbed run.

    Attributes:
        operations: of the flash, from 1 on.
        up, down: bytes to and from the lock.
        writes: frames that the host sent.
        steps: that the command named.
        disk: writes under the home.
    """

    operations: tuple[Operation, ...]
    up: bytes
    down: bytes
    writes: int
    steps: tuple[str, ...]
    disk: int

    def cuts(self, up: bool) -> list[int]:
        """After which bytes to cut: all of control, of bulk the frames' ends and beside them."""
        data, places, begin = (self.up if up else self.down), set[int](), 0
        for piece in data.split(DELIMITER):
            end = begin + len(piece) + 1
            if _is_bulk(piece):
                places |= {begin - 1, begin, begin + 1, end - 1, end, end + 1}
            else:
                places |= set(range(begin + 1, end + 1))
            begin = end
        return sorted(place for place in places if 0 < place <= len(data))


def _is_bulk(piece: bytes) -> bool:
    try:
        return Frame.parse(piece).type is FrameType.BLOCK
    except MalformedFrameError:
        return False


class _Recorder:
    """Keeps the bytes that pass."""

    def __init__(self) -> None:
        self.data = b""

    def __call__(self, data: bytes) -> bytes:
        self.data += data
        return data


def noted(flash: NorFlash, progress: LoudSilence) -> list[Operation]:
    """From now on every operation of the flash is in the list."""
    found: list[Operation] = []
    place: Any = flash

    def noting(kind: str, real: Any) -> Any:
        def call(*arguments: Any) -> Any:
            found.append(Operation(progress.steps[-1] if progress.steps else "", kind))
            return real(*arguments)

        return call

    place.erase, place.write = noting("erase", flash.erase), noting("write", flash.write)
    return found


@functools.cache
def measured(flow: str) -> Measured:
    """The flow's undisturbed run, which must hold every promise too."""
    up, down = _Recorder(), _Recorder()
    with same_dice(f"measure/{flow}"):
        yard = Yard(start(flow), room(), own_home=flow == "first")
        operations = noted(yard.flash, yard.progress)
        if is_available():
            with DISK.watching():
                ended = yard.go(Trouble(up=up, down=down))
        else:
            ended = yard.go(Trouble(up=up, down=down))
        if not ended.is_success:
            raise RuntimeError(f"{flow} ends {ended} though nothing disturbs it")
        check_station(yard, ended)
        check_end(yard)
        yard.close()
    steps = tuple(yard.progress.steps)
    disk = DISK.writes if is_available() else 0
    return Measured(tuple(operations), up.data, down.data, yard.wire.writes, steps, disk)
