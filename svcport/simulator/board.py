"""The board: power, one CPU, a UART. Bytes and the time come in, bytes go out; no clock, no files.

While the CPU waits for flash, arriving bytes gather in a receive ring; what does not fit is lost.
The port is dead while the lock boots. Time is the caller's monotonic seconds, of any origin.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Final

from protocol.frame import DELIMITER, Frame, FrameDecoder
from svcport.simulator.boot import BOOT_S
from svcport.simulator.core import Core, Entropy
from svcport.simulator.factory import START_BAUD, Factory
from svcport.simulator.flash import NorFlash, PowerCut
from svcport.simulator.link import Link
from svcport.simulator.requests import Effect

RING_SPARE: Final = 8192
"""Bytes of the receive ring beyond a full window of blocks."""

BAUD_PROOF_S: Final = 1.0
"""Seconds within which a frame must come at a new speed."""

BAUD_SILENCE_S: Final = 3.0
"""Seconds without a good frame, after which a raised speed is given up."""

NOISE_LIMIT: Final = 16
"""Pieces in a row that were no frame, after which a raised speed is given up."""


class Board:
    """One simulated lock with power on. PowerCut never leaves it: it goes dark and boots again.

    Attributes:
        core: the booted lock, for tests and tools that look inside.
    """

    def __init__(self, factory: Factory, flash: NorFlash, *, entropy: Entropy, now: float) -> None:
        """Power up; NotProvisionedError if the flash holds no lock."""
        self._factory = factory
        self._flash = flash
        self._entropy = entropy
        self._ring_size = factory.window * factory.block_size + RING_SPARE
        self._out: deque[tuple[float, bytes]] = deque()
        self._deaf_until = now
        self._boot(now, cold=True)

    @property
    def baud(self) -> int:
        """The UART's present speed, bit/s."""
        return self._baud

    def receive(self, data: bytes, now: float) -> None:
        """Bytes arrive; those that find the ring full, or the lock booting, are lost."""
        self._run(now)
        if now < self._deaf_until:
            return
        self._arrived = now
        rest = memoryview(data)
        while rest:
            room = self._ring_size - len(self._ring)
            if not room:
                return
            self._ring += rest[:room]
            rest = rest[room:]
            self._run(now)

    def poll(self, now: float) -> bytes:
        """Run until `now`; the bytes that the UART has sent by then."""
        self._run(now)
        sent = bytearray()
        while self._out and self._out[0][0] <= now:
            sent += self._out.popleft()[1]
        if self._next_baud and not self._out:
            self._set_baud(self._next_baud, now)
        return bytes(sent)

    def wake_at(self) -> float | None:
        """When there is something to do though no byte comes; None: never."""
        at = min(self._work_at(), self._timer_at())
        if self._out:
            at = min(at, self._out[0][0])
        return None if at == math.inf else at

    def power_cycle(self, now: float) -> None:
        """Cut the power and restore it: RAM is lost, the flash stays."""
        self._run(now)
        self._out.clear()
        self._boot(now, cold=True)

    def _boot(self, now: float, *, cold: bool) -> None:
        """Reset; with a power cut during the boot, once more."""
        self._baud, self._next_baud, self._baud_proof_at = START_BAUD, 0, math.inf
        self._decoder, self._dropped = FrameDecoder(), 0
        self._ring = bytearray()
        self._arrived = now
        while True:
            before = self._flash.elapsed_s
            try:
                self.core = Core(self._factory, self._flash, self._entropy, now, cold=cold)
                break
            except PowerCut:
                cold = True
                self._out.clear()
        self._link = Link(self.core, now)
        self._free_at = self._deaf_until = now + BOOT_S + self._flash.elapsed_s - before
        self._wind()

    def _run(self, now: float) -> None:
        """Let the CPU do, in the order of time, all that is due by `now`."""
        while True:
            work_at, timer_at = self._work_at(), self._timer_at()
            at = min(work_at, timer_at)
            if at > now:
                return
            before = self._flash.elapsed_s
            try:
                if timer_at <= work_at:
                    self._on_timer(at)
                else:
                    self._work(at)
            except PowerCut:
                self._out.clear()
                self._boot(at, cold=True)
                continue
            self._free_at = max(self._free_at, at + self._flash.elapsed_s - before)

    def _work_at(self) -> float:
        return max(self._free_at, self._arrived) if self._ring else math.inf

    def _timer_at(self) -> float:
        return max(self._timer_due, self._free_at)

    def _wind(self) -> None:
        """After anything that may change a timer; a line asks for the next one far more often."""
        self._timer_due = min(self._timers().values(), default=math.inf)

    def _timers(self) -> dict[str, float]:
        timers = {
            "trial": self.core.trial_ends_at,
            "firmware": self.core.firmware.next_at,
            "session": self._link.session_ends_at,
            "baud": self._baud_proof_at,
        }
        return {name: at for name, at in timers.items() if at is not None}

    def _on_timer(self, now: float) -> None:
        timers = self._timers()
        match min(timers, key=timers.__getitem__):
            case "trial":
                self._boot(now, cold=False)
            case "firmware":
                code, argument = self.core.firmware.step()
                self.core.log(code, argument, now)
            case "session":
                self._link.end_session()
                self._set_baud(START_BAUD, now)
            case _:
                self._set_baud(START_BAUD, now)
        self._wind()

    def _work(self, now: float) -> None:
        """Take one frame, or a piece of one, out of the ring."""
        end = self._ring.find(DELIMITER) + 1 or len(self._ring)
        frames = self._decoder.feed(bytes(self._ring[:end]))
        del self._ring[:end]
        for frame in frames:
            self._on_frame(frame, now)
        if not frames and self._decoder.dropped - self._dropped >= NOISE_LIMIT:
            self._set_baud(START_BAUD, now)

    def _on_frame(self, frame: Frame, now: float) -> None:
        self._dropped = self._decoder.dropped
        before = self._flash.elapsed_s
        output = self._link.on_frame(frame, now)
        sent_at = now + self._flash.elapsed_s - before
        raised = self._baud != START_BAUD
        # the host is owed the answer first: silence counts from then on
        self._baud_proof_at = sent_at + BAUD_SILENCE_S if raised else math.inf
        self._out.extend((sent_at, data) for data in output.frames)
        if output.baud:
            self._next_baud = output.baud
        if output.effect is Effect.CLOSE:
            self._next_baud = START_BAUD
        if output.effect is Effect.RESET:
            self._boot(sent_at, cold=False)
        self._wind()

    def _set_baud(self, baud: int, now: float) -> None:
        """Change the speed; one that is not the start's must prove itself."""
        self._baud, self._next_baud = baud, 0
        self._dropped = self._decoder.dropped
        self._baud_proof_at = math.inf if baud == START_BAUD else now + BAUD_PROOF_S
        self._wind()
