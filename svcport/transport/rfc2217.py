"""A serial server of the network that changes its line's speed when asked (`rfc2217://HOST:PORT`).

RFC 2217 is an option of Telnet: line settings go as parameters of it, each is answered with the
value that the line has then. One thread, and every wait is bounded. pyserial's own client is not
used: it insists on modem lines, which a server's line need not have, hands bytes over one by one,
and its errors come from a thread that reads.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qsl, urlsplit

from svcport.errors import FailedError
from svcport.transport.clock import Clock, SystemClock
from svcport.transport.link import (
    FIRST_BAUD,
    WRITE_TIMEOUT_S,
    LinkLostError,
    PortBusyError,
    open_error,
)
from svcport.transport.tcp import Connection
from svcport.transport.telnet import (
    Command,
    Option,
    Parameters,
    TelnetError,
    TelnetReader,
    Verb,
    Wish,
    escaped,
)

AGREE_TIMEOUT_S: Final = 5.0
"""For the server to agree to what is needed, from the connection on."""

SETTING_TIMEOUT_S: Final = 3.0
"""For the answer to one setting."""

CHANGE_OVER_S: Final = 1.0
"""For a server to notice that its last client has gone, before it counts as busy."""

CHANGE_OVER_PAUSE_S: Final = 0.1

# RFC 2217, "COM port configuration commands": the client's, the server's are 100 higher.
_BAUD: Final = 1
_DATA_SIZE: Final = 2
_PARITY: Final = 3
_STOP_SIZE: Final = 4
_CONTROL: Final = 5
_SUSPEND: Final = 8
_RESUME: Final = 9
_ANSWER: Final = 100

_NAMES: Final = {
    _BAUD: "speed",
    _DATA_SIZE: "data size",
    _PARITY: "parity",
    _STOP_SIZE: "stop size",
}
_FRAME_8N1: Final = {_DATA_SIZE: 8, _PARITY: 1, _STOP_SIZE: 1}
_NO_FLOW_CONTROL: Final = 1
_DTR_ON: Final = 8
_RTS_ON: Final = 11

_OURS: Final = (Option.BINARY, Option.SUPPRESS_GO_AHEAD, Option.COM_PORT)
_THEIRS: Final = (Option.BINARY, Option.SUPPRESS_GO_AHEAD)
_NEEDED: Final = frozenset(
    {(Verb.WILL, Option.BINARY), (Verb.WILL, Option.COM_PORT), (Verb.DO, Option.BINARY)}
)

_URL_OPTIONS: Final = frozenset({"ign_set_control", "logging", "poll_modem", "timeout"})
"""What pyserial's client can be told in its URL, and this one has no need of."""


class Rfc2217Transport:
    """A line behind a serial server, at the speed that both agreed on."""

    def __init__(self, name: str) -> None:
        """Connect and set the line to 115200 8N1.

        Raises:
            PortBusyError: the server has another client on that line.
            LinkLostError: the server closes the connection.
            FailedError: nobody listens, or not in this protocol, or the line cannot be set
                (`no-lock`).
        """
        self.name = name
        self.clock: Clock = SystemClock()
        _check_options(name)
        self._reader = TelnetReader()
        self._inbox = bytearray()
        self._agreed: set[tuple[Verb, int]] = set()
        self._answers: dict[int, int] = {}
        self._suspended = False
        self._connection = Connection(name)
        try:
            self._agree()
            self._prepare()
        except LinkLostError as error:
            self.close()
            raise LinkLostError(f"{error}{self._last_words()}") from error
        except BaseException:
            self.close()
            raise

    def write(self, data: bytes) -> None:
        """See Transport; waits while the server asks for a pause."""
        deadline = self.clock.now() + WRITE_TIMEOUT_S
        while self._suspended:
            if not self._receive_until(deadline):
                raise LinkLostError(
                    f"{self.name}: the server has taken nothing for {WRITE_TIMEOUT_S:.0f} s"
                )
        self._connection.send(escaped(data))

    def read(self, timeout_s: float) -> bytes:
        """See Transport."""
        deadline = self.clock.now() + timeout_s
        while not self._inbox and self._receive_until(deadline):
            pass
        data = bytes(self._inbox)
        self._inbox.clear()
        return data

    def set_baud(self, baud: int) -> None:
        """See Transport; what the server has not sent out yet goes at the new speed."""
        self._send(_BAUD, baud, size=4)
        seen = self._answer(_BAUD)
        if seen != baud:
            raise LinkLostError(
                f"{self.name}: no {baud} baud: "
                + ("the server does not answer" if seen is None else f"the line has {seen}")
            )

    def close(self) -> None:
        """See Transport."""
        self._connection.close()

    def _agree(self) -> None:
        """Have the server speak RFC 2217, and carry every byte as it is."""
        wishes = [Wish(Verb.WILL, option) for option in _OURS]
        wishes += [Wish(Verb.DO, option) for option in _THEIRS]
        self._connection.send(b"".join(wish.build() for wish in wishes))
        deadline = self.clock.now() + AGREE_TIMEOUT_S
        while not self._agreed >= _NEEDED:
            if not self._receive_until(deadline):
                raise open_error(
                    self.name,
                    f"no RFC 2217 server answers within {AGREE_TIMEOUT_S:.0f} s",
                    hint="socket://HOST:PORT is for a server that carries bytes only",
                )

    def _prepare(self) -> None:
        """115200 8N1, no flow control, the modem lines as at a port that is open."""
        self._send(_BAUD, FIRST_BAUD, size=4)
        for command, value in _FRAME_8N1.items():
            self._send(command, value)
        # Nobody waits for these: a line without such signals has no answer.
        for value in (_NO_FLOW_CONTROL, _DTR_ON, _RTS_ON):
            self._connection.send(Parameters(Option.COM_PORT, bytes([_CONTROL, value])).build())
        for command, value in {_BAUD: FIRST_BAUD, **_FRAME_8N1}.items():
            seen = self._answer(command)
            if seen is None:
                raise open_error(
                    self.name,
                    f"its {_NAMES[command]} is not answered within {SETTING_TIMEOUT_S:.0f} s",
                    hint="socket://HOST:PORT is for a line that has no settings",
                )
            if seen != value:
                raise open_error(self.name, f"its {_NAMES[command]} is {seen}, wanted {value}")

    def _last_words(self) -> str:
        """What a server that closes says about it, such as that its device is not there."""
        text = bytes(self._inbox).decode("ascii", "replace").strip()
        return f"; the server said {text!r:.100}" if text else ""

    def _send(self, command: int, value: int, *, size: int = 1) -> None:
        self._answers.pop(command, None)
        body = bytes([command]) + value.to_bytes(size, "big")
        self._connection.send(Parameters(Option.COM_PORT, body).build())

    def _answer(self, command: int) -> int | None:
        """The value that the line has now; None if the server does not say so in time."""
        deadline = self.clock.now() + SETTING_TIMEOUT_S
        while command not in self._answers:
            if not self._receive_until(deadline):
                return None
        return self._answers[command]

    def _receive_until(self, deadline: float) -> bool:
        """Take in what comes next; whether something did and the deadline is still ahead."""
        left = deadline - self.clock.now()
        received = self._connection.receive(left)
        try:
            data, commands = self._reader.feed(received)
        except TelnetError as error:
            raise LinkLostError(f"{self.name}: {error}") from error
        self._inbox += data
        for command in commands:
            self._obey(command)
        return bool(received) and left > 0

    def _obey(self, command: Command) -> None:
        match command:
            case Parameters(Option.COM_PORT, body):
                self._take(body)
            case Wish(verb, option):
                self._consider(verb, option)
            case _:  # parameters of an option that was never agreed on
                pass

    def _take(self, body: bytes) -> None:
        """An answer to a setting, or a notice of the server's."""
        if not body:
            return
        command = body[0] - _ANSWER
        if command == _SUSPEND:
            self._suspended = True
        elif command == _RESUME:
            self._suspended = False
        else:
            self._answers[command] = int.from_bytes(body[1:], "big")

    def _consider(self, verb: Verb, option: int) -> None:
        """A wish of the server's; those that were ours first are not answered again."""
        mine = {Verb.DO: Verb.WILL, Verb.WILL: Verb.DO, Verb.DONT: Verb.WILL, Verb.WONT: Verb.DO}
        wish = (mine[verb], option)
        wanted = option in (_OURS if wish[0] is Verb.WILL else _THEIRS)
        if verb in (Verb.DO, Verb.WILL):
            if wanted:
                self._agreed.add(wish)
            else:
                refusal = Verb.WONT if verb is Verb.DO else Verb.DONT
                self._connection.send(Wish(refusal, option).build())
        elif wish in _NEEDED:
            raise open_error(self.name, f"the server refuses Telnet option {option}")


def open_rfc2217(name: str) -> Rfc2217Transport:
    """Open a line behind a serial server, whose last client may have left just now.

    Raises:
        PortBusyError: the server has another client on that line, and keeps it.
        FailedError: see Rfc2217Transport; or the server closes the connection (`no-lock`).
    """
    clock = SystemClock()
    deadline = clock.now() + CHANGE_OVER_S
    busy: PortBusyError | None = None
    while True:
        try:
            return Rfc2217Transport(name)
        except PortBusyError as error:
            failure: FailedError = error
            busy = error
        except LinkLostError as error:
            # Perhaps busy as well: what is on its way is lost where both ends write at a close.
            failure = open_error(name, str(error).removeprefix(f"{name}: "))
        if clock.now() >= deadline:
            raise busy or failure
        clock.sleep(CHANGE_OVER_PAUSE_S)


def _check_options(name: str) -> None:
    try:
        query = urlsplit(name).query
    except ValueError as error:  # brackets that are no address
        raise open_error(name, str(error)) from error
    for option, _value in parse_qsl(query, keep_blank_values=True):
        if option not in _URL_OPTIONS:
            known = ", ".join(sorted(_URL_OPTIONS))
            raise open_error(name, f"unknown option {option!r}, known are {known}")
