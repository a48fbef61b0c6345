from __future__ import annotations

import contextlib
import random
import socket
import sys
from threading import Event

import pytest
from pacedlink import (
    DRIVER_BYTES,
    Device,
    PacedLink,
    command_end,
    pty_speed,
    running,
    socket_end,
)

from svcport.simulator.faults import Faults
from svcport.simulator.line import QUEUE_LIMIT, Line
from svcport.simulator.ports import new_terminal

START = 86_400.0
FAST = 12_000_000
DATA = random.Random(4).randbytes(30_000)
needs_pty = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo terminals")


def paced(device: Device, baud: int, **options: float) -> Line:
    return Line(device, now=START, baud=FAST, **options)


def arrivals_at_device(baud: int, data: bytes) -> float:
    device = Device(lambda: baud)
    line = paced(device, baud)
    now = START
    while data:
        data = data[line.to_board(data, now) :]
        now = line.wake_at() or now
    while (due := line.wake_at()) is not None:
        now = due
        line.from_board(now)
    return now - START


@pytest.mark.parametrize("baud", [9600, 115_200, 921_600, 3_000_000])
def test_bytes_to_the_device_take_ten_bits_each_within_half_a_thousandth(baud: int) -> None:
    size = baud // 2  # five seconds
    took = arrivals_at_device(baud, bytes(size))
    assert took == pytest.approx(size * 10 / baud, rel=5e-4)


@pytest.mark.parametrize("latency_s", [0.0, 0.001, 0.016])
@pytest.mark.parametrize("baud", [115_200, 3_000_000])
def test_what_the_device_says_takes_its_time_and_the_adapters(baud: int, latency_s: float) -> None:
    device = Device(lambda: baud)
    line = paced(device, baud, latency_s=latency_s)
    size = baud // 2
    device.say(bytes(size), START)
    came, last = 0, START
    while (due := line.wake_at()) is not None:
        data = line.from_board(due)
        came, last = came + len(data), due if data else last
    assert came == size
    # the last bytes are no full packet, so that the adapter's timer runs out on them
    assert last - START == pytest.approx(size * 10 / baud + latency_s, rel=5e-4)


def test_a_device_that_talks_faster_than_its_line_must_wait() -> None:
    device = Device(lambda: 115_200)
    device.say(bytes(QUEUE_LIMIT - 1), START)
    assert device.may_say(START)
    device.say(bytes(2), START)
    assert not device.may_say(START)
    assert device.may_say(START + 0.01)


def test_the_link_takes_each_byte_at_the_speed_of_that_moment() -> None:
    speeds = [115_200]
    device = Device(lambda: speeds[0])
    line = paced(device, 0)
    line.to_board(bytes(1152), START)
    line.from_board(START + 0.05)
    assert len(device.incoming) == pytest.approx(576, abs=1)
    speeds[0] = 921_600
    line.from_board(START + 0.05 + 0.0626)
    assert len(device.incoming) == 1152


@needs_pty
@pytest.mark.parametrize("baud", [115_200, 921_600, 3_000_000])
def test_a_pty_tells_the_speed_that_its_program_has_set(baud: int) -> None:
    serial = pytest.importorskip("serial")
    end, name = new_terminal()
    with contextlib.closing(end):
        try:
            port = serial.Serial(name, baud)
        except (ValueError, OSError):
            pytest.skip(f"this platform's terminals know no {baud} baud")
        with port:
            assert pty_speed(end) == baud


def echoed(link: PacedLink, port: socket.socket, data: bytes) -> bytes:
    came = b""
    with running(link):
        port.settimeout(20)
        for at in range(0, len(data), DRIVER_BYTES):
            part = data[at : at + DRIVER_BYTES]
            port.sendall(part)
            rest = len(part)
            while rest > 0:
                piece = port.recv(rest)
                came, rest = came + piece, rest - len(piece)
    return came


ECHO = "import os\nwhile data := os.read(0, 4096): os.write(1, data)"


@needs_pty
def test_a_command_behind_the_link_gets_and_gives_every_byte() -> None:
    near, port = socket_end()
    with (
        contextlib.closing(near),
        contextlib.closing(port),
        command_end([sys.executable, "-c", ECHO]) as far,
    ):
        link = PacedLink(near, far, FAST, latency_s=0.001)
        assert echoed(link, port, DATA) == DATA
        assert (link.traffic.up, link.traffic.down) == (len(DATA), len(DATA))
        assert link.traffic.longest_silence_s > 0


def passed(faults: Faults, seed: str) -> bytes:
    device = Device(lambda: FAST)
    line = Line(device, now=START, baud=FAST, faults=faults, seed=seed)
    data, now = DATA, START
    while data:
        data = data[line.to_board(data, now) :]
        now = line.wake_at() or now
    line.from_board(now + 1)
    return bytes(device.incoming)


def test_noise_comes_from_the_seed() -> None:
    noisy = Faults(ber=1e-4, drop=1e-3, dup=1e-3)
    first = passed(noisy, "a")
    assert first == passed(noisy, "a")
    assert first != passed(noisy, "b")
    assert first != DATA
    assert passed(Faults(), "a") == DATA


@pytest.mark.parametrize("goes", ["host", "device"])
def test_a_link_ends_when_a_program_goes(goes: str) -> None:
    (near, port), (far, device) = socket_end(), socket_end()
    with contextlib.closing(near), contextlib.closing(far):
        (port if goes == "host" else device).close()
        PacedLink(near, far, FAST).run(Event())  # or the test's own time limit
        (device if goes == "host" else port).close()
