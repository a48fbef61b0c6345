"""Whether SMP answers at a port, in which framing and version; nothing that is asked does harm.

A raw server has no start of a packet: what came before, a HELLO of ours or noise, counts as the
beginning of one, and every question falls into it. Measured on raw builds of MCUboot and Zephyr:
after a HELLO silence helps only beyond 3 s (see RAW_IDLE_S), but zeros help at once. They fill up
what was begun, which is no command that any device has (a HELLO reads as group 0x0f01), and each
further eight of them are an empty echo, whose answer shows where packets begin. They come a few at
a time: eight echoes at once end a Zephyr server with four buffers. To COBS zeros are delimiters;
consoles and shells ignore them.
"""

from __future__ import annotations

import os
from typing import Final

from protocol.smp import HEADER_SIZE, SmpFraming, SmpPacket, find_answer
from protocol.smp_messages import Params
from svcport.locks.smp_link import SEQUENCES, SmpLink
from svcport.transport.port import Transport

_ORDERS: Final = {
    2: (SmpFraming.RAW, SmpFraming.COBS, SmpFraming.CONSOLE, SmpFraming.CONSOLE),
    1: (SmpFraming.RAW, SmpFraming.CONSOLE),
}
"""Framings by the version of SMP; COBS is younger than SMP 2."""

ANSWER_S: Final = 0.25
"""How long the answer to a first question is waited for: buffers are stated within 60 ms."""

ZEROS: Final = 16
ZEROS_MOST: Final = 320
"""A HELLO is begun as a packet of 265 bytes; up to a dozen of them are in it."""

STEP_S: Final = 0.05
"""How long an answer to zeros is waited for; later ones are heard out."""

HEARD_LIMIT: Final = 8192
"""Bytes that are looked through for an answer, the newest."""

HEAR_OUT_S: Final = 1.0
"""Most time for the rest of what is said to zeros."""


def detect(transport: Transport) -> SmpLink | None:
    """Ask in each framing, for 3 s at most; None: nothing that speaks SMP answers.

    Raw is asked first: its server would take the other questions for the start of a packet. Console
    is asked twice, for the first line may stand behind other framings' bytes; a line feed before it
    would make shells miss it. An answer may come as late as the last question.

    Raises:
        LinkLostError: the port is gone.
    """
    questions = _Questions(transport)
    for version in (2, 1):
        for framing in _ORDERS[version]:
            link = questions.ask(framing, version)
            if link is not None:
                return link
        if version == 2 and _find_boundary(transport):
            link = questions.ask(SmpFraming.RAW, version)
            if link is not None:
                return link
    return None


class _Questions:
    """What was asked so far, and all that was heard since."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._asked: list[tuple[SmpPacket, int]] = []
        self._heard = b""
        # a number that nobody has used a moment ago
        self._seq = os.urandom(1)[0]

    def ask(self, framing: SmpFraming, version: int) -> SmpLink | None:
        """The conversation, if this question or one before it is answered in time."""
        self._seq = (self._seq + 1) % SEQUENCES
        packet = Params().packet(self._seq, version)
        self._asked.append((packet, version))
        self._transport.write(packet.framed(framing))
        clock = self._transport.clock
        until = clock.now() + ANSWER_S
        while (left := until - clock.now()) > 0:
            self._heard = (self._heard + self._transport.read(left))[-HEARD_LIMIT:]
            for asked, asked_version in self._asked:
                found = find_answer(self._heard, asked)
                if found is not None:
                    return SmpLink(self._transport, found[0], asked_version)
        return None


def _find_boundary(transport: Transport) -> bool:
    """Send zeros until a raw server stands at the start of a packet; False: none answers them."""
    if not any(_answered(transport, ZEROS) for _piece in range(ZEROS_MOST // ZEROS)):
        return False
    return any(_answered(transport, 1) for _zero in range(HEADER_SIZE))


def _answered(transport: Transport, zeros: int) -> bool:
    """Whether anything is said to so many zeros; all of it is heard out, for a bounded time."""
    clock = transport.clock
    transport.write(bytes(zeros))
    said = bool(transport.read(STEP_S))
    until = clock.now() + HEAR_OUT_S
    while said and clock.now() < until and transport.read(STEP_S):
        pass
    return said
