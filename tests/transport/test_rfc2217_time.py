"""How long an RFC 2217 server is waited for, in virtual time."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator

import pytest
from locksim import VirtualClock
from transport.test_rfc2217 import AGREED, SET, answer

from svcport.errors import FailedError, Reason
from svcport.transport import rfc2217
from svcport.transport.link import WRITE_TIMEOUT_S, LinkLostError, PortBusyError
from svcport.transport.rfc2217 import (
    AGREE_TIMEOUT_S,
    CHANGE_OVER_PAUSE_S,
    CHANGE_OVER_S,
    SETTING_TIMEOUT_S,
    Rfc2217Transport,
    open_rfc2217,
)
from svcport.transport.telnet import Option, Parameters

Said = tuple[float, bytes]
"""A pause, and what a server says after it."""

SUSPEND, RESUME, NOTICE = (
    Parameters(Option.COM_PORT, bytes(body)).build() for body in ([108], [109], [107, 0])
)
OPEN = ((0.0, AGREED), (0.0, SET))

WORK_S = 0.001
"""What it takes to read what has come."""

SOME_WORK_S = 10 * WORK_S


class Server:
    """Stands for the connection to a server that says just that, whatever it hears.

    Attributes:
        heard: what it was sent and when it was listened to, in their order.
    """

    def __init__(self, clock: VirtualClock, said: Iterable[Said]) -> None:
        self._clock = clock
        self._said = iter(said)
        self._next = self._after(clock.now())
        self.heard: list[bytes | None] = []

    def send(self, data: bytes) -> None:
        self.heard.append(data)

    def receive(self, timeout_s: float) -> bytes:
        self.heard.append(None)
        assert len(self.heard) < 100_000, "listened to without end"
        end = self._clock.now() + max(timeout_s, 0.0)
        if self._next is None or self._next[0] > end:
            self._clock.time = end
            return b""
        due, data = self._next
        self._clock.time = max(due, self._clock.time) + WORK_S
        self._next = self._after(due)
        return data

    def close(self) -> None:
        """Nothing is held."""

    def _after(self, moment: float) -> Said | None:
        for pause_s, data in self._said:
            return moment + pause_s, data
        return None


Meet = Callable[..., Server]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> VirtualClock:
    one = VirtualClock()
    monkeypatch.setattr(rfc2217, "SystemClock", lambda: one)
    return one


@pytest.fixture
def meet(clock: VirtualClock, monkeypatch: pytest.MonkeyPatch) -> Meet:
    """Have such a server be the next that is connected to."""

    def met(*said: Said, then: Iterable[Said] = ()) -> Server:
        server = Server(clock, itertools.chain(said, then))
        monkeypatch.setattr(rfc2217, "Connection", lambda _name: server)
        return server

    return met


def chatter(data: bytes, period_s: float) -> Iterator[Said]:
    return itertools.repeat((period_s, data))


@pytest.mark.parametrize(
    ("said", "then", "after_s", "why"),
    [
        ((), (), AGREE_TIMEOUT_S, "no RFC 2217 server answers within 5 s"),
        ((), chatter(b"login: ", 0.3), AGREE_TIMEOUT_S, "no RFC 2217 server answers within 5 s"),
        ((), chatter(b"login: ", 0.0), AGREE_TIMEOUT_S, "no RFC 2217 server answers within 5 s"),
        (
            ((4.0, AGREED),),
            chatter(NOTICE, 0.3),
            4.0 + SETTING_TIMEOUT_S,
            "its speed is not answered within 3 s",
        ),
        (
            ((0.5, AGREED), (2.0, answer(1, 115_200))),
            (),
            2.5 + SETTING_TIMEOUT_S,
            "its data size is not answered within 3 s",
        ),
    ],
    ids=["silent", "chatting", "never silent", "agreeing", "setting its speed"],
)
def test_a_server_that_does_not_do_what_is_needed_is_given_up_at_its_deadline(
    said: tuple[Said, ...], then: Iterable[Said], after_s: float, why: str,
    clock: VirtualClock, meet: Meet,
) -> None:  # fmt: skip
    meet(*said, then=then)
    began = clock.now()
    with pytest.raises(FailedError, match=why) as caught:
        Rfc2217Transport("rfc2217://server:1")
    assert caught.value.reason is Reason.NO_LOCK
    assert clock.now() - began == pytest.approx(after_s, abs=SOME_WORK_S)


def test_a_speed_that_is_not_answered_is_a_lost_link_at_its_deadline(
    clock: VirtualClock, meet: Meet
) -> None:
    meet(*OPEN, then=chatter(NOTICE, 0.3))
    port = Rfc2217Transport("rfc2217://server:1")
    began = clock.now()
    with pytest.raises(LinkLostError, match="no 230400 baud: the server does not answer"):
        port.set_baud(230_400)
    assert clock.now() - began == pytest.approx(SETTING_TIMEOUT_S, abs=SOME_WORK_S)


def test_a_pause_that_the_server_asks_for_is_kept(clock: VirtualClock, meet: Meet) -> None:
    server = meet(*OPEN, (0.0, SUSPEND + b"x"), (4.0, b"y"), (4.0, RESUME))
    port = Rfc2217Transport("rfc2217://server:1")
    assert port.read(1.0) == b"x"
    server.heard.clear()
    port.write(b"waited")
    assert server.heard == [None, None, b"waited"]
    assert clock.now() == pytest.approx(1008, abs=SOME_WORK_S)
    assert port.read(0.0) == b"y"


def test_a_pause_without_end_is_a_lost_link(clock: VirtualClock, meet: Meet) -> None:
    server = meet(*OPEN, (0.0, SUSPEND + b"x"), then=chatter(NOTICE, 0.3))
    port = Rfc2217Transport("rfc2217://server:1")
    assert port.read(1.0) == b"x"
    server.heard.clear()
    with pytest.raises(LinkLostError, match="taken nothing for 10 s"):
        port.write(b"never")
    assert clock.now() == pytest.approx(1000 + WRITE_TIMEOUT_S, abs=SOME_WORK_S)
    assert set(server.heard) == {None}


@pytest.mark.parametrize("period_s", [0.0, 0.01, 1.0])
def test_silence_is_empty_and_as_long_as_was_asked_though_the_server_sends_notices(
    period_s: float, clock: VirtualClock, meet: Meet
) -> None:
    meet(*OPEN, then=chatter(NOTICE, period_s))
    port = Rfc2217Transport("rfc2217://server:1")
    assert port.read(0.2) == b""
    assert clock.now() == pytest.approx(1000.2, abs=SOME_WORK_S)


@pytest.mark.parametrize(
    "error", [PortBusyError("p"), LinkLostError("p: lost")], ids=["busy", "gone"]
)
def test_a_server_may_let_go_of_its_last_client_for_so_long(
    error: FailedError, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[float] = []

    def refuse(_name: str) -> None:
        tries.append(clock.now())
        raise error

    monkeypatch.setattr(rfc2217, "Rfc2217Transport", refuse)
    with pytest.raises(FailedError) as caught:
        open_rfc2217("rfc2217://server:1")
    wanted = Reason.PORT_BUSY if isinstance(error, PortBusyError) else Reason.NO_LOCK
    assert caught.value.reason is wanted
    assert len(tries) == pytest.approx(1 + CHANGE_OVER_S / CHANGE_OVER_PAUSE_S, abs=1)
    assert tries[-1] - tries[0] >= CHANGE_OVER_S
