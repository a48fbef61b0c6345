"""Telnet as far as a serial server's client needs it (RFC 854, 855, 856). Sans-io.

Knows nothing of what the options mean. Both directions are taken to be binary, in which a carriage
return is a byte like others; only 0xFF is written twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

IAC: Final = b"\xff"
"""Interpret as command: what follows is no data."""

SUBNEGOTIATION_LIMIT: Final = 1024
"""Bytes; the longest of RFC 2217 is a signature, which is a line of text."""


class Verb(IntEnum):
    """What one end wants of an option."""

    WILL = 251
    WONT = 252
    DO = 253
    DONT = 254


class Option(IntEnum):
    """The options that are spoken of here."""

    BINARY = 0
    SUPPRESS_GO_AHEAD = 3
    COM_PORT = 44


_SE: Final = 240
_SB: Final = 250


class TelnetError(Exception):
    """Bytes that are no Telnet."""


@dataclass(frozen=True, slots=True)
class Wish:
    """One end's wish about an option, of which there are 256."""

    verb: Verb
    option: int

    def build(self) -> bytes:
        """As it stands on the connection."""
        return IAC + bytes([self.verb, self.option])


@dataclass(frozen=True, slots=True)
class Parameters:
    """What belongs to an option that both ends agreed on."""

    option: int
    body: bytes

    def build(self) -> bytes:
        """As it stands on the connection."""
        start, end = IAC + bytes([_SB, self.option]), IAC + bytes([_SE])
        return start + escaped(self.body) + end


Command = Wish | Parameters


def escaped(data: bytes) -> bytes:
    """`data` as it stands on the connection."""
    return data.replace(IAC, IAC + IAC)


class TelnetReader:
    """Takes a connection's bytes apart into data and commands."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, received: bytes) -> tuple[bytes, tuple[Command, ...]]:
        """The data and the commands that are whole now; an unfinished command is kept.

        Raises:
            TelnetError: a command that does not end.
        """
        received = self._rest + received
        pieces: list[bytes] = []
        commands: list[Command] = []
        at = 0
        while (start := received.find(IAC, at)) >= 0:
            pieces.append(received[at:start])
            end = _end(received, start)
            if end is None:
                break
            sequence = received[start:end]
            if sequence == IAC + IAC:
                pieces.append(IAC)
            elif (command := _command(sequence)) is not None:
                commands.append(command)
            at = end
        else:
            start = len(received)
            pieces.append(received[at:])
        self._rest = received[start:]
        if len(self._rest) > SUBNEGOTIATION_LIMIT:
            raise TelnetError(f"a Telnet command of more than {SUBNEGOTIATION_LIMIT} bytes")
        return b"".join(pieces), tuple(commands)


def _end(data: bytes, start: int) -> int | None:
    """Where the sequence that starts with the IAC at `start` ends; None if it is not whole."""
    if start + 1 >= len(data):
        return None
    code = data[start + 1]
    if code == _SB:
        at = start + 2
        while (at := data.find(IAC, at)) >= 0 and at + 1 < len(data):
            if data[at + 1] == _SE:
                return at + 2
            at += 2
        return None
    end = start + (3 if code in tuple(Verb) else 2)
    return end if end <= len(data) else None


def _command(sequence: bytes) -> Command | None:
    """What a whole sequence says; None for what has no meaning here, such as NOP."""
    code = sequence[1]
    if code == _SB:
        content = sequence[2:-2].replace(IAC + IAC, IAC)
        return Parameters(content[0], content[1:]) if content else None
    return Wish(Verb(code), sequence[2]) if code in tuple(Verb) else None
