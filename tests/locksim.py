"""A simulated lock as a port in this process: virtual time, no threads, no sockets, no sleeping."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from svcport.errors import FailedError, Reason
from svcport.simulator.board import Board
from svcport.transport.port import LinkLostError, PortBusyError


class VirtualClock:
    """Time that passes only when somebody waits for it."""

    def __init__(self) -> None:
        self.time = 1000.0

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds


@dataclass
class Cable:
    """One lock's port. `cut_after` bytes, both ways, it is pulled: once.

    Attributes:
        written: every chunk that the host wrote.
    """

    name: str
    board: Board
    clock: VirtualClock = field(default_factory=VirtualClock)
    cut_after: int | None = None
    is_open: bool = False
    carried: int = 0
    written: list[bytes] = field(default_factory=list)

    def open(self) -> BoardTransport:
        if self.is_open:
            raise PortBusyError(self.name)
        self.is_open = True
        return BoardTransport(self)

    def carry(self, data: bytes) -> bytes:
        """What of `data` passes; LinkLostError where the cable is pulled at its end."""
        if self.cut_after is None:
            self.carried += len(data)
            return data
        left = self.cut_after - self.carried
        self.carried += min(len(data), left)
        if len(data) < left:
            return data
        return data[:left]

    def pull_in(self, more: int) -> None:
        """Have it pulled so many bytes from now."""
        self.cut_after = self.carried + more

    def pulled(self) -> bool:
        if self.cut_after is not None and self.carried >= self.cut_after:
            self.cut_after = None
            return True
        return False


class BoardTransport:
    """The host's end of a cable."""

    def __init__(self, cable: Cable) -> None:
        self.name = cable.name
        self.clock = cable.clock
        self._cable = cable
        self._open = True

    def write(self, data: bytes) -> None:
        self._check()
        passed = self._cable.carry(data)
        self._cable.written.append(passed)
        self._cable.board.receive(passed, self.clock.now())
        if self._cable.pulled():
            self._lose()

    def read(self, timeout_s: float) -> bytes:
        self._check()
        clock, board = self.clock, self._cable.board
        end = clock.now() + timeout_s
        while True:
            data = board.poll(clock.now())
            if data:
                passed = self._cable.carry(data)
                if self._cable.pulled():
                    self._lose()
                return passed
            if clock.now() >= end:
                return b""
            wake = board.wake_at()
            clock.time = min(end, max(wake, clock.now() + 1e-6)) if wake is not None else end

    def set_baud(self, baud: int) -> None:
        self._check()

    def close(self) -> None:
        self._open = False
        self._cable.is_open = False

    def _lose(self) -> None:
        self.close()
        raise LinkLostError(f"{self.name}: pulled")

    def _check(self) -> None:
        if not self._open:
            raise LinkLostError(f"{self.name}: closed")


class Answering:
    """Something at a port: each chunk of bytes gives what `answer` says, at once."""

    def __init__(self, answer: Callable[[bytes], bytes]) -> None:
        self._answer = answer
        self._out = b""

    def receive(self, data: bytes, _now: float) -> None:
        self._out += self._answer(data)

    def poll(self, _now: float) -> bytes:
        out, self._out = self._out, b""
        return out

    def wake_at(self) -> None:
        return None


class Bench:
    """Opens the cables that it knows by name; stands for `open_port`."""

    def __init__(self, *cables: Cable) -> None:
        self.cables = {cable.name: cable for cable in cables}

    def __call__(self, name: str) -> BoardTransport:
        if name not in self.cables:
            raise FailedError(Reason.NO_LOCK, f"{name} cannot be opened")
        return self.cables[name].open()
