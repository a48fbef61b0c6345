from __future__ import annotations

import contextlib
import os
import select
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from urllib.parse import urlsplit

import pytest
from simulator.echoboard import EchoBoard

from svcport.simulator.faults import Faults
from svcport.simulator.line import Line
from svcport.simulator.ports import Port, PortUnavailableError, PtyPort, TcpPort
from svcport.simulator.serve import clock, serve

HANG_S = 30.0
"""What takes milliseconds and has not happened by then never will."""

needs_pty = pytest.mark.skipif(not hasattr(os, "openpty"), reason="this platform has no ptys")


@contextlib.contextmanager
def serving(line: Line, port: Port) -> Iterator[None]:
    stop = Event()
    thread = threading.Thread(target=serve, args=(line, port, stop))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(HANG_S)
        port.close()
        assert not thread.is_alive()


@pytest.fixture
def port() -> TcpPort:
    return TcpPort.open("127.0.0.1", 0)


def connect(port: TcpPort) -> socket.socket:
    url = urlsplit(port.name)
    assert url.hostname is not None
    connection = socket.create_connection((url.hostname, url.port), timeout=HANG_S)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def read(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size and (more := connection.recv(size - len(data))):
        data += more
    return data


def is_hung_up(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except ConnectionError:
        return True


def test_a_host_talks_to_the_board(port: TcpPort) -> None:
    line = Line(EchoBoard(), now=clock())
    with serving(line, port), connect(port) as host:
        host.sendall(b"hello" * 10_000)
        assert read(host, 50_000) == b"hello" * 10_000


def test_a_second_host_is_sent_away_and_the_first_stays(port: TcpPort) -> None:
    with serving(Line(EchoBoard(), now=clock()), port), connect(port) as first:
        first.sendall(b"a")
        assert read(first, 1) == b"a"
        with connect(port) as second:
            assert is_hung_up(second)
        first.sendall(b"b")
        assert read(first, 1) == b"b"


def test_a_host_that_goes_makes_room_for_the_next_and_the_board_runs_on(port: TcpPort) -> None:
    board = EchoBoard()
    with serving(Line(board, now=clock()), port):
        for word in (b"one", b"two"):
            with connect(port) as host:
                host.sendall(word)
                assert read(host, 3) == word
    assert board.all_heard == b"onetwo"


def test_a_killed_host_does_not_lock_out_the_next_behind_a_slow_wire(port: TcpPort) -> None:
    with serving(Line(EchoBoard(baud=9600), now=clock(), baud=9600), port):
        with connect(port) as killed:
            killed.sendall(bytes(60_000))  # a minute of wire
        with connect(port) as host:
            assert read(host, 1) == b"\0"  # an echo of those


def test_a_host_that_stays_keeps_what_it_wrote_when_another_knocks(port: TcpPort) -> None:
    board = EchoBoard(baud=3_000_000, echo=False)
    with serving(Line(board, now=clock(), baud=921600), port), connect(port) as host:
        host.sendall(bytes(range(256)) * 100)
        with connect(port) as second:
            assert is_hung_up(second)
        wait_for(lambda: len(board.all_heard) >= 25_600)
    assert board.all_heard == bytes(range(256)) * 100


def wait_for(condition: object) -> None:
    assert callable(condition)
    deadline = time.monotonic() + HANG_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_cut_hangs_up_once_and_the_same_port_listens_again(port: TcpPort) -> None:
    board = EchoBoard()
    line = Line(board, now=clock(), faults=Faults(cut_after=15))
    with serving(line, port):
        with connect(port) as host:
            host.sendall(b"0123456789")
            assert len(read(host, 10)) <= 5
            assert is_hung_up(host)
        for _again in range(2):
            with connect(port) as host:
                host.sendall(b"0123456789")
                assert read(host, 10) == b"0123456789"


def test_a_host_that_does_not_read_loses_bytes_and_stops_nobody(port: TcpPort) -> None:
    board = EchoBoard(echo=False)
    with serving(Line(board, now=clock()), port):
        with connect(port) as host:
            host.sendall(b"x")
            wait_for(lambda: board.all_heard == b"x")
            board.says.append((clock(), bytes(30_000_000)))
            wait_for(lambda: not board.says)
            host.sendall(b"y")
            wait_for(lambda: board.all_heard == b"xy")
        with connect(port) as host:
            host.sendall(b"z")
            wait_for(lambda: board.all_heard == b"xyz")


def test_a_paced_echo_takes_at_least_the_time_of_the_wire(port: TcpPort) -> None:
    board = EchoBoard(baud=921600)
    line = Line(board, now=clock(), baud=921600, latency_s=0.001)
    data = bytes(46_080)  # half a second
    with serving(line, port), connect(port) as host:
        began = clock()
        sending = threading.Thread(target=host.sendall, args=(data,))
        sending.start()
        assert len(read(host, len(data))) == len(data)
        assert clock() - began >= 0.5
        sending.join()


def test_stop_hangs_up(port: TcpPort) -> None:
    with connect_later(port) as host:
        assert is_hung_up(host)


@contextlib.contextmanager
def connect_later(port: TcpPort) -> Iterator[socket.socket]:
    with serving(Line(EchoBoard(), now=clock()), port):
        host = connect(port)
        host.sendall(b"a")
        assert read(host, 1) == b"a"
    with host:
        yield host


def test_a_port_in_use_is_refused_by_name(port: TcpPort) -> None:
    number = urlsplit(port.name).port
    assert number is not None
    with pytest.raises(PortUnavailableError, match=str(number)):
        TcpPort.open("127.0.0.1", number)
    port.close()
    TcpPort.open("127.0.0.1", number).close()


def test_an_address_of_another_computer_is_refused_by_name() -> None:
    with pytest.raises(PortUnavailableError, match="cannot listen on"):
        TcpPort.open("192.0.2.1", 0)


def pty_read(handle: int, size: int) -> bytes:
    data = b""
    while len(data) < size:
        assert select.select([handle], [], [], HANG_S)[0]
        data += os.read(handle, size - len(data))
    return data


@needs_pty
def test_a_pseudo_terminal_carries_every_byte_and_keeps_its_name_over_a_cut(
    tmp_path: Path,
) -> None:
    every = bytes(range(256))
    port = PtyPort.open(tmp_path / "port")
    line = Line(EchoBoard(), now=clock(), faults=Faults(cut_after=600))
    with serving(line, port):
        handle = os.open(port.name, os.O_RDWR | os.O_NOCTTY)
        os.write(handle, every)
        assert pty_read(handle, 256) == every
        first = Path(port.name).resolve()
        os.write(handle, every)
        wait_for(lambda: Path(port.name).resolve() != first or not first.exists())
        os.close(handle)
        wait_for(Path(port.name).exists)
        handle = os.open(port.name, os.O_RDWR | os.O_NOCTTY)
        os.write(handle, every)
        assert pty_read(handle, 256) == every
        os.close(handle)
    assert not (tmp_path / "port").is_symlink()


def test_without_pseudo_terminals_the_refusal_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tty", None)
    with pytest.raises(PortUnavailableError, match="no pseudo terminal"):
        PtyPort.open(tmp_path / "port")
