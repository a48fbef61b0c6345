"""What answers at a port to somebody who may nothing: the service port as a thief finds it.

Asks, never authenticates, changes nothing (svcport.locks.stranger), and judges nobody: what a lock
says about itself here is not proved. A lock of ours shows HELLO, its handshake with the certificate
inside, and one and the same refusal; everything else must be met by silence.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from protocol.channel import HostChannel
from protocol.errors import ChannelError, ProtocolError
from protocol.frame import DELIMITER, Frame, FrameDecoder, FrameType
from protocol.handshake import HELLO_RANDOM_SIZE, HelloReply, HostHandshake
from protocol.messages import REFUSED
from protocol.noise import KEY_SIZE
from protocol.objects import LockCertificate
from protocol.refusal import Refusal, RefusalCode
from protocol.sealed import Sealed
from protocol.smp import SmpFraming, SmpGroup, SmpPacket, find_answer
from svcport.locks.stranger import (
    CONSOLE_KEYS,
    ECHO_TEXT,
    SmpQuestion,
    plain_requests,
    smp_questions,
    stray_frames,
    unsealed_frames,
)
from svcport.transport.port import Transport

LISTEN_S: Final = 0.6
"""Silence before the first question; a raw SMP server drops in it what noise began."""

ANSWER_S: Final = 0.35
"""How long one question may take; a server that reads flash needs tens of milliseconds."""

IMAGE_LIST_S: Final = 0.6
"""An image list may hash whole images first."""

SMP_ORDER: Final = (SmpFraming.RAW, SmpFraming.COBS, SmpFraming.CONSOLE)
LISTS: Final = 2
"""The first questions: the image list in both versions."""

KEY_S: Final = 0.3
HELLO_PERIOD_S: Final = 0.5
HELLO_TRIES: Final = 5
HANDSHAKE_S: Final = 2.0
REFUSAL_S: Final = 1.0

HEARD_LIMIT: Final = 16_384
"""Most bytes taken from a port that does not stop talking, for one question."""

SHOWN: Final = 48
"""Most bytes of an answer that a report shows."""

UNIFORM: Final = bytes([REFUSED]) + Refusal(RefusalCode.NOT_AUTHENTICATED).build()
"""All that a lock says to a stranger's sealed request, whatever the request."""

CLOSE_CURE: Final = (
    "do not deploy it so: build without MCUboot's serial recovery, without SMP and shell on this"
    " UART, and lock SWD (docs/security.md)"
)

Result = Literal["pass", "fail", "unknown"]
_Answer = tuple[SmpFraming, SmpPacket]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was tried.

    Attributes:
        name: stable, for scripts.
        result: `fail`: something answered that should not; `unknown`: no lock of ours is here.
        detail: what was seen.
        cure: what to do; empty if nothing.
    """

    name: str
    result: Result
    detail: str
    cure: str = ""


def probe(transport: Transport) -> Iterator[Finding]:
    """Try everything, in under 15 s; each finding as it is made. Where SMP answers, that is all.

    Raises:
        LinkLostError: the port is gone.
    """
    line = _Line(transport)
    yield _unprompted(line)
    smp = _smp(line)
    yield smp
    if smp.result == "fail":
        # What follows is binary, and a raw SMP server might take a piece of it for a command.
        return
    yield _console(line)
    yield _frames(line)
    yield from _OurLock(line).findings()


class _Line:
    """A port, asked one thing at a time."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.clock = transport.clock

    def ask(self, data: bytes, patience_s: float) -> bytes:
        """Write `data`; all that comes within `patience_s`."""
        if data:
            self.transport.write(data)
        heard = bytearray()
        deadline = self.clock.now() + patience_s
        while (left := deadline - self.clock.now()) > 0 and len(heard) < HEARD_LIMIT:
            heard += self.transport.read(left)
        return bytes(heard)

    def frame(self, data: bytes, kind: FrameType, patience_s: float) -> Frame | None:
        """Write `data`; the first frame of one type within `patience_s`."""
        self.transport.write(data)
        decoder, heard = FrameDecoder(), 0
        deadline = self.clock.now() + patience_s
        while (left := deadline - self.clock.now()) > 0 and heard < HEARD_LIMIT:
            said = self.transport.read(left)
            heard += len(said)
            for frame in decoder.feed(said):
                if frame.type is kind:
                    return frame
        return None


def _unprompted(line: _Line) -> Finding:
    heard = line.ask(b"", LISTEN_S)
    if not heard:
        return Finding("port-unprompted", "pass", "silent while nobody asks")
    return Finding("port-unprompted", "fail", f"talks without being asked: {_shown(heard)}")


def _smp(line: _Line) -> Finding:
    """Ask in every framing; raw first, for its server would take the others for a packet's start.

    A line that sends back what it gets is the business of the console's test.
    """
    questions = smp_questions()
    for way in SMP_ORDER:
        heard, answers = b"", {}
        if way is SmpFraming.CONSOLE:
            # ends the line that other framings began; in one go a shell would drop the question
            heard += line.ask(b"\n", KEY_S)
        for asked, question in enumerate(questions, start=1):
            heard += line.ask(question.line_bytes(way), _patience_s(question))
            # a slow server's answer may come while the next question waits for its own
            answers = _answers(heard, questions[:asked])
            if asked == LISTS and not answers:
                break  # a server answers one of the two lists; the rest would only take time
        if answers:
            return _open_smp(answers)
    return Finding("port-smp", "pass", "no answer to SMP, raw, COBS or console")


def _patience_s(question: SmpQuestion) -> float:
    return IMAGE_LIST_S if question.packet.header.group == SmpGroup.IMAGE else ANSWER_S


def _answers(heard: bytes, questions: Sequence[SmpQuestion]) -> dict[str, _Answer]:
    found = {question.name: find_answer(heard, question.packet) for question in questions}
    return {name: answer for name, answer in found.items() if answer is not None}


def _open_smp(answers: Mapping[str, _Answer]) -> Finding:
    # boot loaders do not have echo: they answer it with an error
    server = any(ECHO_TEXT in packet.payload for _way, packet in answers.values())
    what = "an SMP server" if server else "MCUboot serial recovery"
    framing = next(iter(answers.values()))[0].value
    return Finding(
        "port-smp",
        "fail",
        f"open service port: {what} ({framing} framing) answers a stranger's {', '.join(answers)};"
        " anyone with a cable can list, upload, erase and boot firmware here without any key",
        CLOSE_CURE,
    )


def _console(line: _Line) -> Finding:
    answers = []
    for name, keys in CONSOLE_KEYS.items():
        heard = line.ask(keys, KEY_S)
        if heard:
            kind = "is sent back" if heard == keys else f"answers {_shown(heard)}"
            answers.append(f"{name} {kind}")
    if not answers:
        return Finding("port-console", "pass", f"silent to {', '.join(CONSOLE_KEYS)}")
    return Finding(
        "port-console", "fail", f"a console or an echo: {'; '.join(answers)}", CLOSE_CURE
    )


def _frames(line: _Line) -> Finding:
    """Our own protocol without a session: NO_SESSION to unsealed requests, silence to the rest."""
    plain = line.ask(unsealed_frames(), ANSWER_S)
    stray = line.ask(stray_frames(), ANSWER_S)
    no_session = Frame(FrameType.NO_SESSION, 0, b"").build()
    if plain.replace(no_session, b"") or stray:
        seen = stray or plain
        return Finding("port-frames", "fail", f"unsealed frames are answered: {_shown(seen)}")
    return Finding("port-frames", "pass", "unsealed requests and stray frames yield nothing")


class _OurLock:
    """HELLO, the handshake, and every request under its seal without AUTH."""

    def __init__(self, line: _Line) -> None:
        self._line = line
        self._handshake = HostHandshake(os.urandom(HELLO_RANDOM_SIZE), os.urandom(KEY_SIZE))

    def findings(self) -> Iterator[Finding]:
        """One about HELLO, one about the requests."""
        first = self._hello()
        if isinstance(first, Finding):
            yield first
            return
        answer = self._line.frame(
            Frame(FrameType.NOISE, 0, first).build(), FrameType.NOISE_REPLY, HANDSHAKE_S
        )
        if answer is None:
            yield Finding("port-hello", "unknown", "answers HELLO and then falls silent")
            return
        try:
            opened = self._handshake.on_answer(answer.body)
            serial = LockCertificate.read(Sealed.parse(opened.certificate)).serial
        except ProtocolError as error:
            yield Finding("port-hello", "fail", f"the handshake is broken: {error}")
            return
        yield Finding(
            "port-hello",
            "pass",
            f"a service-port lock, {serial} by its certificate, which identify judges",
        )
        yield self._sealed(HostChannel(opened.keys))

    def _hello(self) -> bytes | Finding:
        """The body of the first Noise message, or what is wrong."""
        hello = DELIMITER + Frame(FrameType.HELLO, 0, self._handshake.hello()).build()
        for _try in range(HELLO_TRIES):
            answer = self._line.frame(hello, FrameType.HELLO_REPLY, HELLO_PERIOD_S)
            if answer is None:
                continue
            try:
                return self._handshake.on_hello(answer.body)
            except ProtocolError as error:
                size = len(HelloReply(1, 1).build())
                told = f", and tells more than {size} bytes" if len(answer.body) > size else ""
                return Finding("port-hello", "fail", f"HELLO: {error}{told}", "update svcport")
        return Finding(
            "port-hello",
            "unknown",
            "nothing answers HELLO: no service-port lock, or one without power",
            "wake the lock with its keypad; svcport identify --port P says more",
        )

    def _sealed(self, channel: HostChannel) -> Finding:
        asked = 0
        for record in plain_requests():
            name = f"request {record[0]:02x}"
            answer = self._line.frame(channel.send(record), FrameType.CONTROL_REPLY, REFUSAL_S)
            if answer is None:
                return Finding("port-before-auth", "unknown", f"{name} is not answered")
            try:
                reply = channel.receive(answer)
            except ChannelError as error:
                return Finding("port-before-auth", "fail", f"{name}: {error}")
            if reply != UNIFORM:
                return _answered(name, reply or b"")
            asked += 1
        return Finding("port-before-auth", "pass", f"{asked} requests got the same refusal")


def _answered(name: str, reply: bytes) -> Finding:
    return Finding(
        "port-before-auth",
        "fail",
        f"{name} is answered before anybody has proved who asks: {_shown(reply)}",
        "do not deploy this firmware: it judges requests before AUTH",
    )


def _shown(data: bytes) -> str:
    """Bytes for people: what prints as it is, the rest as escapes."""
    more = "..." if len(data) > SHOWN else ""
    return repr(data[:SHOWN])[1:] + more
