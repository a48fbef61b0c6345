"""A simulated lock behind a paced, noisy line, as a port in this process, in virtual time."""

from __future__ import annotations

import random
from dataclasses import replace

from fieldkit import Field
from locksim import VirtualClock

from svcport.simulator.board import Board
from svcport.simulator.faults import Faults
from svcport.simulator.line import Line
from svcport.transport.port import PortBusyError

TICK_S = 1e-6


class PacedCable:
    """A port like a `locksim.Cable`, on which every byte takes its time.

    Attributes:
        line: exact 8N1 with an adapter's latency and the faults.
    """

    def __init__(
        self,
        board: Board,
        clock: VirtualClock,
        *,
        baud: int,
        latency_s: float,
        spec: str,
        seed: str,
    ) -> None:
        self.name = "P0"
        self.clock = clock
        self.is_open = False
        faults = Faults.parse(spec) if spec else Faults()
        self.line = Line(
            board, now=clock.now(), baud=baud, latency_s=latency_s, faults=faults, seed=seed
        )

    def open(self) -> PacedEnd:
        if self.is_open:
            raise PortBusyError(self.name)
        self.is_open = True
        self.line.plug(self.clock.now())
        return PacedEnd(self)


class PacedEnd:
    """The host's end."""

    def __init__(self, cable: PacedCable) -> None:
        self.name = cable.name
        self.clock = cable.clock
        self._cable = cable

    def write(self, data: bytes) -> None:
        while data:
            data = data[self._cable.line.to_board(data, self.clock.now()) :]
            if data:
                self._pass_time(self.clock.now() + 1.0)

    def read(self, timeout_s: float) -> bytes:
        end = self.clock.now() + timeout_s
        while True:
            data = self._cable.line.from_board(self.clock.now())
            if data or self.clock.now() >= end:
                return data
            self._pass_time(end)

    def set_baud(self, baud: int) -> None:
        """The line takes the lock's speed."""

    def close(self) -> None:
        self._cable.is_open = False

    def _pass_time(self, end: float) -> None:
        wake = self._cable.line.wake_at()
        soonest = self.clock.now() + TICK_S
        self.clock.time = min(end, max(soonest, end if wake is None else wake))


def pace(
    field: Field, spec: str, seed: str, *, baud: int = 921_600, latency_s: float = 0.001
) -> PacedCable:
    """Put the field's lock, with that as its highest speed, behind such a line."""
    old, clock = field.board, field.cable.clock
    factory = replace(old._factory, max_baud=max(115_200, baud))
    entropy = random.Random(seed).randbytes
    board = Board(factory, old._flash, entropy=entropy, now=clock.now() - 1.0)
    board.poll(clock.now())
    options = {"baud": baud, "latency_s": latency_s, "spec": spec, "seed": seed}
    cable = PacedCable(board, clock, **options)  # type: ignore[arg-type]  # each its own type
    field.cables["P0"] = cable  # type: ignore[assignment]  # a port like a cable
    return cable
