"""Against pyserial's server side, another's reading of RFC 2217, and against misbehaving servers.

The real ser2net is in system/test_network_serial; how long is waited, in test_rfc2217_time.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import serial
import serial.rfc2217
from locksim import VirtualClock

from svcport.errors import FailedError, Reason
from svcport.transport import rfc2217
from svcport.transport.port import LinkLostError, PortBusyError, open_port
from svcport.transport.telnet import Option, Parameters, Verb, Wish

HANG_S = 30.0
"""What takes milliseconds and has not happened by then never will."""

AGREED = b"".join(
    wish.build()
    for wish in (
        Wish(Verb.WILL, Option.BINARY),
        Wish(Verb.DO, Option.BINARY),
        Wish(Verb.DO, Option.COM_PORT),
    )
)


def answer(command: int, value: int) -> bytes:
    body = bytes([100 + command]) + value.to_bytes(4 if command == 1 else 1, "big")
    return Parameters(Option.COM_PORT, body).build()


SET = answer(1, 115_200) + answer(2, 8) + answer(3, 1) + answer(4, 1)

LAST_SETTING = Parameters(Option.COM_PORT, bytes([5, 11])).build()
"""RTS on, which a client sends last."""


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server's thread on a loaded computer may take its time."""
    for limit in ("AGREE_TIMEOUT_S", "SETTING_TIMEOUT_S"):
        monkeypatch.setattr(rfc2217, limit, HANG_S)


@contextlib.contextmanager
def serving(talk: Callable[[socket.socket], None], clients: int = 1) -> Iterator[str]:
    """The URL of a server that talks so with each of so many clients."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(HANG_S)

        def work() -> None:
            for _client in range(clients):
                with contextlib.suppress(OSError):
                    connection, _peer = listener.accept()
                    with connection:
                        connection.settimeout(HANG_S)
                        talk(connection)

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield f"rfc2217://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.close()
            thread.join(HANG_S + 5)
            assert not thread.is_alive()


def agree(connection: socket.socket, settings: bytes = SET) -> bytes:
    """Agree to everything and answer the settings so; gives what the client has said."""
    connection.sendall(AGREED)
    heard = b""
    while LAST_SETTING not in heard:
        heard += connection.recv(4096)
    connection.sendall(settings)
    return heard


def agrees(connection: socket.socket) -> None:
    agree(connection)
    while connection.recv(4096):
        pass


def says(
    first: bytes, settings: bytes = b"", *, stays: bool = True
) -> Callable[[socket.socket], None]:
    """A server that says only that, and then hears until the client has gone."""

    def talk(connection: socket.socket) -> None:
        if settings:
            agree(connection, settings)
        connection.sendall(first)
        while stays and connection.recv(4096):
            pass

    return talk


class PySerialServer:
    """Serves a terminal with pyserial's PortManager; `far` is the terminal's other end."""

    def __init__(self) -> None:
        self.far, self._near = os.openpty()
        self.port = serial.Serial(os.ttyname(self._near), timeout=0)

    def talk(self, connection: socket.socket) -> None:
        class Connection:
            write = staticmethod(connection.sendall)

        manager = serial.rfc2217.PortManager(_Lines(self.port), Connection())
        while True:
            ready, _, _ = select.select([connection, self.port], [], [], 5)
            if connection in ready:
                data = connection.recv(1024)
                if not data:
                    return
                self.port.write(b"".join(manager.filter(data)))
            if self.port in ready:
                connection.sendall(b"".join(manager.escape(self.port.read(1024))))

    def close(self) -> None:
        self.port.close()
        os.close(self.far)
        os.close(self._near)


class _Lines:
    """A terminal, with the modem lines that PortManager asks for and terminals do not have."""

    def __init__(self, port: serial.Serial) -> None:
        self.__dict__.update(_port=port, rts=False, dtr=False)
        self.__dict__.update(dict.fromkeys(("cts", "dsr", "ri", "cd"), False))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._port, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self.__dict__:
            self.__dict__[name] = value
        else:
            setattr(self._port, name, value)


@pytest.fixture
def server() -> Iterator[PySerialServer]:
    if not hasattr(os, "openpty"):
        pytest.skip("this platform has no pseudo terminals")
    with contextlib.closing(PySerialServer()) as one:
        yield one


def test_pyserials_server_and_this_client_understand_each_other(server: PySerialServer) -> None:
    everything = bytes(range(256)) * 3
    with serving(server.talk) as url:
        port = open_port(url)
        for baud in (230_400, 921_600):
            port.set_baud(baud)
            assert server.port.baudrate == baud
        port.write(everything)
        sent = b""
        while len(sent) < len(everything):
            sent += os.read(server.far, 4096)
        assert sent == everything
        os.write(server.far, everything)
        heard = b""
        while len(heard) < len(everything):
            piece = port.read(HANG_S)
            assert piece, heard
            heard += piece
        assert heard == everything
        port.close()


def test_what_pyserials_url_can_say_is_borne_and_what_it_cannot_is_refused() -> None:
    with serving(agrees) as url:
        open_port(f"{url}?ign_set_control&timeout=3").close()
    with pytest.raises(FailedError, match="unknown option 'baud'") as caught:
        open_port("rfc2217://127.0.0.1:1?baud=9600")
    assert caught.value.reason is Reason.NO_LOCK


@pytest.mark.parametrize(
    ("talk", "why"),
    [
        (says(Wish(Verb.DONT, Option.COM_PORT).build()), "refuses Telnet option 44"),
        (says(Wish(Verb.WONT, Option.BINARY).build()), "refuses Telnet option 0"),
        (says(b"", answer(1, 9600)), "its speed is 9600, wanted 115200"),
        (says(b"", SET.replace(answer(3, 1), answer(3, 2))), "its parity is 2, wanted 1"),
        (says(b"\xff\xfa\x2c" + bytes(2000)), "Telnet command of more than 1024 bytes"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_server_that_does_not_do_what_is_needed_is_named(
    talk: Callable[[socket.socket], None], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rfc2217, "CHANGE_OVER_S", 0.0)
    with serving(talk) as url, pytest.raises(FailedError, match=why) as caught:
        open_port(url)
    assert caught.value.reason is Reason.NO_LOCK


@pytest.mark.parametrize(
    ("limit", "first", "why"),
    [
        ("AGREE_TIMEOUT_S", b"", "no RFC 2217 server answers within 0 s"),
        ("AGREE_TIMEOUT_S", b"login: ", "no RFC 2217 server answers within 0 s"),
        ("SETTING_TIMEOUT_S", AGREED, "its speed is not answered within 0 s"),
    ],
)
def test_a_server_that_keeps_its_client_waiting_is_given_up(
    limit: str, first: bytes, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rfc2217, limit, 0.2)
    with serving(says(first)) as url, pytest.raises(FailedError, match=why) as caught:
        open_port(url)
    assert caught.value.reason is Reason.NO_LOCK


@pytest.mark.parametrize("words", [b"", b"Port already in use\r\n", AGREED + b"port is IN USE"])
def test_a_server_that_sends_its_second_client_away_is_busy(
    words: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rfc2217, "CHANGE_OVER_S", 0.0)
    with serving(says(words, stays=False)) as url, pytest.raises(PortBusyError):
        open_port(url)


def test_a_server_that_was_busy_a_moment_ago_lets_the_client_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rfc2217, "CHANGE_OVER_S", HANG_S)
    turns = iter([says(b"Port already in use\r\n", stays=False), agrees])

    def talk(connection: socket.socket) -> None:
        next(turns)(connection)

    with serving(talk, clients=2) as url:
        open_port(url).close()


def test_a_server_that_was_heard_to_be_busy_is_busy_though_it_then_only_closes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # no time passes but the pause between the tries: there are two
    monkeypatch.setattr(rfc2217, "SystemClock", VirtualClock)
    monkeypatch.setattr(rfc2217, "CHANGE_OVER_S", rfc2217.CHANGE_OVER_PAUSE_S / 2)
    turns = iter([says(b"Port already in use\r\n", stays=False), says(AGREED, stays=False)])

    def talk(connection: socket.socket) -> None:
        next(turns)(connection)

    with serving(talk, clients=2) as url, pytest.raises(PortBusyError):
        open_port(url)


def test_wishes_of_the_server_that_are_not_shared_are_declined() -> None:
    heard = bytearray()

    def talk(connection: socket.socket) -> None:
        echo, status = Wish(Verb.WILL, 1), Wish(Verb.DO, 5)
        connection.sendall(echo.build() + status.build())
        heard.extend(agree(connection))
        while data := connection.recv(4096):
            heard.extend(data)

    with serving(talk) as url:
        open_port(url).close()
    assert Wish(Verb.DONT, 1).build() in heard
    assert Wish(Verb.WONT, 5).build() in heard
    assert heard.count(Wish(Verb.WILL, Option.COM_PORT).build()) == 1


def test_a_speed_that_the_line_cannot_have_is_a_lost_link_that_still_works() -> None:
    def talk(connection: socket.socket) -> None:
        agree(connection)
        while data := connection.recv(4096):
            if (
                Parameters(Option.COM_PORT, b"\x01" + (3_000_000).to_bytes(4, "big")).build()
                in data
            ):
                connection.sendall(answer(1, 115_200) + b"still here")

    with serving(talk) as url:
        port = open_port(url)
        with pytest.raises(LinkLostError, match="no 3000000 baud: the line has 115200"):
            port.set_baud(3_000_000)
        assert port.read(HANG_S) == b"still here"
        port.close()


def test_a_server_that_reads_nothing_is_a_lost_link(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("svcport.transport.tcp.WRITE_TIMEOUT_S", 0.5)
    over = threading.Event()

    def talk(connection: socket.socket) -> None:
        agree(connection)
        over.wait(HANG_S)

    with serving(talk) as url:
        port = open_port(url)
        try:
            with pytest.raises(LinkLostError, match="timed out"):
                port.write(bytes(64 * 1024 * 1024))
        finally:
            over.set()
            port.close()
