"""One SMP question to a device that tests ask by themselves, without the product's client."""

from __future__ import annotations

import time
from typing import Any, Final

import cbor2
import serial

from protocol.smp import SmpFraming, SmpGroup, SmpOp, SmpPacket, find_answer

ANSWER_TIMEOUT_S: Final = 20.0
RESEND_S: Final = 1.0
"""A device that is just starting does not hear the first question."""


def ask(
    port: str,
    framing: SmpFraming,
    command: int,
    question: dict[str, Any] | None = None,
    *,
    group: SmpGroup = SmpGroup.OS,
    op: SmpOp = SmpOp.READ,
    timeout_s: float = ANSWER_TIMEOUT_S,
) -> dict[str, Any]:
    """The map that the device at `port` (a path or a URL) answers; for questions of two lines.

    AssertionError if none comes, or it comes in another framing.
    """
    packet = SmpPacket.ask(
        op, group, command, seq=7, version=2, payload=cbor2.dumps(question or {})
    )
    heard = b""
    deadline = time.monotonic() + timeout_s
    with serial.serial_for_url(port, baudrate=115_200, timeout=RESEND_S / 10) as line:
        while time.monotonic() < deadline:
            line.write(packet.framed(framing))
            again = time.monotonic() + RESEND_S
            while time.monotonic() < again:
                heard += line.read(max(1, line.in_waiting))
                found = find_answer(heard, packet)
                if found is not None:
                    assert found[0] is framing, f"the answer is in {found[0]}, not in {framing}"
                    return dict(cbor2.loads(found[1].payload))
    raise AssertionError(f"no answer in {timeout_s} s; heard {heard[-300:]!r}")
