"""One SMP conversation over a port: questions with deadlines, answers told from everything else."""

from __future__ import annotations

import logging
import os
from collections import deque
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from protocol.errors import MalformedMessageError
from protocol.smp import CRC_SIZE, LENGTH_SIZE, LINE_BASE64, SmpFraming, SmpPacket
from protocol.smp_messages import Params, SmpFault, SmpReply, SmpRequest, decode_answer
from protocol.smp_stream import decoder_for
from svcport.locks.smp_errors import NonsenseError, SilentDeviceError, refused
from svcport.transport.port import Transport

log = logging.getLogger(__name__)
R = TypeVar("R", bound=SmpReply)

ANSWER_S: Final = 2.0
"""How long an answer may take before the question counts as lost: a device that hashes its slots
for an image list needs most of a second."""

TRIES: Final = 3
"""How often a question is asked that does the same twice as once."""

LINE_GAP_S: Final = 0.02
"""Pause after each console line where bursts are lost: two periods of the device's poll."""

RAW_IDLE_S: Final = 3.3
"""Silence after which a raw server has thrown away half of a packet.

Measured on three builds of Zephyr and MCUboot: 2.5 s is too short, 3 s is enough
(`..._RAW_UART_INPUT_TIMEOUT`). A raw packet has no check: until then, what is sent next would be
taken for the rest of the one before.
"""

SEQUENCES: Final = 256

CONSOLE_EXTRA: Final = LENGTH_SIZE + CRC_SIZE
"""Bytes of the console framing that are base64 with the packet."""

LINE_BYTES: Final = LINE_BASE64 // 4 * 3
"""Bytes before base64 that one line carries."""


@dataclass(frozen=True, slots=True)
class Arrived:
    """One answer to a question that was sent.

    Attributes:
        seq: the question's number.
        answer: the reply, or the device's no.
    """

    seq: int
    answer: SmpReply | SmpFault


@dataclass(frozen=True, slots=True)
class _Asked:
    request: SmpRequest[Any]
    packet: SmpPacket
    doing: str
    at: float


class SmpLink:
    """Questions and answers over an open port, in one framing.

    Attributes:
        written: bytes written so far, framing and repeats included.
        stale: answers that nobody waited for.
        round_trip_s: how long the quickest answer took; 0 before the first.
        paced: lines are written one by one with pauses, because long messages were lost.
    """

    def __init__(self, transport: Transport, framing: SmpFraming, version: int = 2) -> None:
        self.transport = transport
        self.framing = framing
        self.version = version
        self.clock = transport.clock
        self.written = self.stale = 0
        self.paced = False
        self.round_trip_s = 0.0
        self._decoder = decoder_for(framing)
        self._asked: dict[int, _Asked] = {}
        self._ready: deque[SmpPacket] = deque()
        # a number that the session before this one has hardly used last
        self._seq = os.urandom(1)[0]
        self._wrote_at = self.clock.now()

    @property
    def text_size(self) -> int:
        """How many bytes the device has said that were no packet."""
        return self._decoder.text_size

    def text_since(self, size: int) -> bytes:
        """What it has said since `text_size` was `size`, the newest of it."""
        new = self._decoder.text_size - size
        return self._decoder.text[-new:] if new > 0 else b""

    def call(
        self,
        request: SmpRequest[R],
        doing: str,
        *,
        answer_s: float = ANSWER_S,
        tries: int = TRIES,
    ) -> R:
        """Ask, and wait for the answer.

        Args:
            request: the question; it is asked again only if that does no harm.
            doing: what it asks for, in words, after "asked to".
            answer_s: how long one try may take.
            tries: how often a repeatable question is asked.

        Raises:
            SmpRefusedError: the device says no; UnsupportedError: it knows no such command.
            SilentDeviceError: no answer.
            NonsenseError: the answer is none.
            LinkLostError: the port is gone.
        """
        started = self.clock.now()
        seq = self.send(request, doing)
        arrived = self.await_one(seq, answer_s)
        for _try in range(1, tries if request.REPEATABLE else 1):
            if arrived is None:
                arrived = self._settle(seq, answer_s)
            if arrived is None:
                self.send(request, doing, seq)
                arrived = self.await_one(seq, answer_s)
        if arrived is None:
            self.forget(seq)
            raise SilentDeviceError(doing, self.clock.now() - started)
        if isinstance(arrived.answer, SmpFault):
            raise refused(arrived.answer, doing)
        reply: R = arrived.answer  # type: ignore[assignment]  # it was decoded as the request's own
        return reply

    def send(self, request: SmpRequest[Any], doing: str, seq: int | None = None) -> int:
        """Write a question, a repeated one under its old number; the number of its answer."""
        if seq is None:
            seq = self._seq = (self._seq + 1) % SEQUENCES
        packet = request.packet(seq, self.version)
        self._asked[seq] = _Asked(request, packet, doing, self.clock.now())
        self._write(packet.framed(self.framing))
        return seq

    def forget(self, *seqs: int) -> None:
        """Wait for these answers no more; if they come, they are stale."""
        for seq in seqs:
            self._asked.pop(seq, None)

    def await_one(self, seq: int, patience_s: float) -> Arrived | None:
        """The answer to one question; those to others are dropped. None: it does not come."""
        until = self.clock.now() + patience_s
        while (arrived := self.await_any(until)) is not None:
            if arrived.seq == seq:
                return arrived
        return None

    def await_any(self, until: float) -> Arrived | None:
        """The next answer to any question; None if none comes before the clock says `until`.

        Raises:
            NonsenseError: an answer is none.
            LinkLostError: the port is gone.
        """
        while True:
            while self._ready:
                arrived = self._taken(self._ready.popleft())
                if arrived is not None:
                    return arrived
            left = until - self.clock.now()
            if left <= 0:
                return None
            self._ready.extend(self._decoder.feed(self.transport.read(left)))

    def listen(self, seconds: float) -> None:
        """Ask nothing, drop what comes; `text` keeps what was no packet."""
        until = self.clock.now() + seconds
        while self.await_any(until) is not None:
            pass

    def quiet(self) -> Arrived | None:
        """Before anything is sent after a loss: let a raw server forget half of a packet.

        An answer that comes meanwhile ends it, for then nothing was lost.
        """
        self._decoder.reset()
        if self.framing is not SmpFraming.RAW:
            return None
        return self.await_any(self._wrote_at + RAW_IDLE_S)

    def lines_of(self, size: int) -> int:
        """How many console lines a packet of `size` bytes takes; 1 in other framings."""
        if self.framing is not SmpFraming.CONSOLE:
            return 1
        return -(-(size + CONSOLE_EXTRA) // LINE_BYTES)

    def _settle(self, seq: int, answer_s: float) -> Arrived | None:
        """After a silence: an answer that is only late, or why it does not come.

        If a short question is answered where a long one is not, lines of it were lost: from then on
        they are written one by one.
        """
        late = self.quiet()
        if late is not None:
            return late if late.seq == seq else None
        asked = self._asked.get(seq)
        if self.paced or asked is None or self.lines_of(len(asked.packet.build())) == 1:
            return None
        short = self.send(Params(), "state its buffers")
        until = self.clock.now() + answer_s
        while (arrived := self.await_any(until)) is not None:
            if arrived.seq == seq:
                self.forget(short)
                return arrived
            if arrived.seq == short:
                log.info("long messages are lost: lines are written one by one")
                self.paced = True
                return None
        self.forget(short)
        return None

    def _taken(self, packet: SmpPacket) -> Arrived | None:
        asked = self._asked.get(packet.header.seq)
        if asked is None or not packet.answers(asked.packet):
            self.stale += 1
            return None
        del self._asked[packet.header.seq]
        try:
            answer = decode_answer(asked.request, packet.payload)
        except MalformedMessageError as error:
            raise NonsenseError(asked.doing, str(error)) from error
        took_s = self.clock.now() - asked.at
        self.round_trip_s = min(took_s, self.round_trip_s or took_s)
        return Arrived(packet.header.seq, answer)

    def _write(self, data: bytes) -> None:
        lines = data.splitlines(keepends=True) if self._by_lines else [data]
        for number, line in enumerate(lines):
            if number:
                self.clock.sleep(LINE_GAP_S)
            self.transport.write(line)
        self.written += len(data)
        self._wrote_at = self.clock.now()

    @property
    def _by_lines(self) -> bool:
        return self.paced and self.framing is SmpFraming.CONSOLE
