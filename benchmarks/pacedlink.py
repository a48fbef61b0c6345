"""A paced serial link between two programs that know nothing of it: exact 8N1, latency, noise.

Run: python benchmarks/pacedlink.py (--listen HOST:PORT | --pty LINK) (--connect HOST:PORT | --
         COMMAND ...) [--baud 921600] [--latency-ms 1] [--fault ber=1e-6] [--seed S]

    host's program -- pty or TCP -- link -- TCP or a command's stdin and stdout -- device's program

The arithmetic is that of the simulated lock's own cable (`svcport.simulator.line`): sums of exact
byte times, so that a link that is looked at late catches up and loses nothing. A simulated lock
that is served with `--baud` paces itself and follows its own changes of speed; this link is for
everything else, and nothing is paced twice. On a pty the link follows the speed that the host sets.

One thread a link, which sleeps until something happens: a tenth of a core while bytes flow, at any
speed.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import re
import select
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import Final, Protocol

from svcport.simulator.faults import Faults
from svcport.simulator.line import BITS_A_BYTE, QUEUE_LIMIT, Line
from svcport.simulator.ports import PtyHost, TcpHost, new_terminal

BAUD_CAP: Final = 12_000_000
FIRST_BAUD: Final = 115_200
DRIVER_BYTES: Final = 4096
"""What a socket in place of a serial port holds of a host's bytes, as a driver's queue does."""

_STOP_S: Final = 0.1
_READ_LEAST: Final = 1024
_READ_SIZE: Final = 65_536


class End(Protocol):
    """One side's program, as the link sees it; nothing blocks."""

    def fileno(self) -> int:
        """For select."""

    def read(self, size: int) -> bytes | None:
        """What it says; None for nothing now, empty when it has gone."""

    def write(self, data: bytes) -> int:
        """How many bytes it took; OSError when it has gone."""

    def close(self) -> None:
        """Let it go."""


def pty_speed(end: PtyHost) -> int:
    """The speed that the program on a pseudo terminal has set; the start's where it has no name."""
    import termios

    return _speeds().get(termios.tcgetattr(end.fileno())[5]) or FIRST_BAUD


@functools.cache
def _speeds() -> dict[int, int]:
    import termios

    names = (name for name in dir(termios) if re.fullmatch(r"B\d+", name))
    return {getattr(termios, name): int(name[1:]) for name in names}


class Device:
    """The far end as the line's board: what arrives is for it, what it said goes out."""

    def __init__(self, speed: Callable[[], int]) -> None:
        self._speed = speed
        self.incoming = bytearray()
        self._said = bytearray()
        self._said_at: float | None = None
        self._sent_by = 0.0

    @property
    def baud(self) -> int:
        """See svcport.simulator.line.Uart."""
        return self._speed()

    def receive(self, data: bytes, _now: float) -> None:
        """See svcport.simulator.line.Uart."""
        self.incoming += data

    def poll(self, _now: float) -> bytes:
        """See svcport.simulator.line.Uart."""
        said, self._said_at = bytes(self._said), None
        self._said.clear()
        return said

    def wake_at(self) -> float | None:
        """See svcport.simulator.line.Uart."""
        return self._said_at

    def say(self, data: bytes, now: float) -> None:
        """The program has written bytes."""
        self._said += data
        self._said_at = now
        self._sent_by = max(self._sent_by, now) + len(data) * BITS_A_BYTE / self.baud

    def may_say(self, now: float) -> bool:
        """Whether its driver's queue has room."""
        return (self._sent_by - now) * self.baud / BITS_A_BYTE < QUEUE_LIMIT


@dataclass(slots=True)
class Traffic:
    """What passed: bytes each way, and when the host heard something."""

    up: int = 0
    down: int = 0
    heard: list[float] = field(default_factory=list)

    @property
    def longest_silence_s(self) -> float:
        """The longest time between two deliveries to the host."""
        pairs = zip(self.heard, self.heard[1:], strict=False)
        return max((later - earlier for earlier, later in pairs), default=0.0)


class PacedLink:
    """Two ends and the line between them.

    Args:
        baud: bits a second, or what tells them at any time.
        latency_s: of the host's adapter, as `Line`.
        faults: `power_cut` is none of the link's.
        seed: of the faults.
    """

    def __init__(
        self,
        host: End,
        device: End,
        baud: int | Callable[[], int],
        *,
        latency_s: float = 0.0,
        faults: Faults | None = None,
        seed: str = "",
    ) -> None:
        self._host, self._far = host, device
        self._board = Device(baud if callable(baud) else lambda: baud)
        self._line = Line(
            self._board,
            now=clock(),
            baud=BAUD_CAP,
            latency_s=latency_s,
            faults=faults,
            seed=seed,
        )
        self._unread = bytearray()
        self.traffic = Traffic()

    def run(self, stop: Event) -> None:
        """Carry bytes until `stop` is set or an end has gone; both stay open."""
        with contextlib.suppress(OSError):
            while not stop.is_set() and self._step():
                pass

    def _step(self) -> bool:
        host, far, line, board = self._host, self._far, self._line, self._board
        readable = self._wait()
        if host.fileno() in readable:
            data = host.read(line.room)
            if data == b"":
                return False
            if data:
                self.traffic.up += line.to_board(data, clock())
        if far.fileno() in readable:
            data = far.read(_READ_SIZE)
            if data == b"":
                return False
            if data:
                board.say(data, clock())
        self._deliver(line.from_board(clock()))
        if board.incoming:
            del board.incoming[: far.write(bytes(board.incoming))]
        return not line.is_cut

    def _deliver(self, data: bytes) -> None:
        if data:
            self.traffic.down += len(data)
            self.traffic.heard.append(clock())
        self._unread += data
        if self._unread:
            del self._unread[: self._host.write(bytes(self._unread))]

    def _wait(self) -> set[int]:
        now = clock()
        reading, writing = [], []
        if self._line.room >= _READ_LEAST:
            reading.append(self._host.fileno())
        if self._board.may_say(now):
            reading.append(self._far.fileno())
        if self._unread:
            writing.append(self._host.fileno())
        if self._board.incoming:
            writing.append(self._far.fileno())
        due = self._line.wake_at()
        rest = _STOP_S if due is None else min(_STOP_S, max(0.0, due - now))
        return set(select.select(reading, writing, [], rest)[0])


def clock() -> float:
    """The seconds that links live by."""
    return time.perf_counter()


@contextlib.contextmanager
def running(link: PacedLink) -> Iterator[Traffic]:
    """The link at work in a thread of its own."""
    stop = Event()
    thread = Thread(target=link.run, args=(stop,), name="link")
    thread.start()
    try:
        yield link.traffic
    finally:
        stop.set()
        thread.join()


def stream_end(connection: socket.socket) -> TcpHost:
    """An end on a connection of any kind."""
    connection.setblocking(False)
    return TcpHost(connection)


def socket_end() -> tuple[TcpHost, socket.socket]:
    """An end, and the socket that the program takes for its serial port."""
    ours, theirs = socket.socketpair()
    for one in (ours, theirs):
        one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, DRIVER_BYTES)
    return stream_end(ours), theirs


@contextlib.contextmanager
def command_end(command: Sequence[str | Path], folder: Path | None = None) -> Iterator[TcpHost]:
    """An end with a command behind it, run in `folder`; ended afterwards if it still runs."""
    end, theirs = socket_end()
    with (
        contextlib.closing(end),
        subprocess.Popen(
            list(map(str, command)),
            stdin=theirs.fileno(),
            stdout=theirs.fileno(),
            stderr=subprocess.DEVNULL,
            cwd=folder,
        ) as process,
    ):
        theirs.close()
        try:
            yield end
        finally:
            process.terminate()


def tcp_end(connection: socket.socket) -> TcpHost:
    """An end on a TCP connection, which must not wait for more bytes before it sends some."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return stream_end(connection)


def _address(text: str) -> tuple[str, int]:
    host, _colon, port = text.rpartition(":")
    return host, int(port)


@contextlib.contextmanager
def _host_end(arguments: argparse.Namespace) -> Iterator[End]:
    if arguments.pty is not None:
        terminal, name = new_terminal()
        arguments.pty.unlink(missing_ok=True)
        arguments.pty.symlink_to(name)
        with contextlib.closing(terminal):
            print(arguments.pty, flush=True)
            yield terminal
        return
    with socket.create_server(_address(arguments.listen)) as listener:
        print("socket://{}:{}".format(*listener.getsockname()), flush=True)
        connection, _peer = listener.accept()
    with contextlib.closing(tcp_end(connection)) as end:
        yield end


@contextlib.contextmanager
def _device_end(arguments: argparse.Namespace) -> Iterator[End]:
    if arguments.command:
        with command_end(arguments.command) as end:
            yield end
        return
    connection = socket.create_connection(_address(arguments.connect))
    with contextlib.closing(tcp_end(connection)) as end:
        yield end


def main() -> None:
    """One link, until an end goes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    host = parser.add_mutually_exclusive_group(required=True)
    host.add_argument("--listen", metavar="HOST:PORT")
    host.add_argument("--pty", type=Path, metavar="LINK")
    parser.add_argument("--connect", metavar="HOST:PORT")
    parser.add_argument("--baud", type=int, help="of a pty, what the host sets if left out")
    parser.add_argument("--latency-ms", type=float, default=1)
    parser.add_argument("--fault", default="")
    parser.add_argument("--seed", default="")
    parser.add_argument("command", nargs="*")
    arguments = parser.parse_args()
    if bool(arguments.command) == bool(arguments.connect):
        parser.error("wanted either --connect or a command")
    if arguments.listen and not arguments.baud:
        parser.error("wanted --baud: a TCP connection has no speed of its own")
    with _host_end(arguments) as near, _device_end(arguments) as far:
        baud: int | Callable[[], int] = arguments.baud
        if isinstance(near, PtyHost) and not arguments.baud:
            baud = functools.partial(pty_speed, near)
        faults = Faults.parse(arguments.fault) if arguments.fault else Faults()
        latency_s = arguments.latency_ms / 1000
        link = PacedLink(near, far, baud, latency_s=latency_s, faults=faults, seed=arguments.seed)
        with contextlib.suppress(KeyboardInterrupt):
            link.run(Event())


if __name__ == "__main__":
    main()
