"""Waiting for an SMP device after a reset, and what proves that it has started anew.

Nothing in SMP says so: for a moment after its "yes" the old application still answers. What is
taken for a proof is in BootProof. A frame at the right moment can hold a boot loader back in its
recovery (MCUboot, BOOT_SERIAL_WAIT_FOR_DFU), so an application is left alone while it may boot.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from protocol.smp import SmpFraming
from protocol.smp_messages import Params, StatList, StatRead
from svcport.errors import FailedError
from svcport.locks.service_port import AWAY, Opener
from svcport.locks.smp_detect import detect
from svcport.locks.smp_errors import NonsenseError, SilentDeviceError, SmpRefusedError
from svcport.locks.smp_link import RAW_IDLE_S, SmpLink
from svcport.locks.smp_look import DeviceState, recognise
from svcport.transport.clock import Heed, keep_on
from svcport.transport.port import LinkLostError

POLL_S: Final = 0.25
"""How long one question may take at least, while a device restarts."""

GAP_S: Final = 1.0
"""Pause between two questions: a boot loader that waits for a frame mostly misses them."""

POLLS_A_DETECTION: Final = 4
"""Questions without an answer before every framing is tried: it may boot into another one."""

RETRY_S: Final = 0.1
"""How often a port that is away is tried."""

SETTLE_S: Final = 0.6
"""How long a port that came back is left alone where the boot must not be disturbed."""

BOOT_WORDS: Final = (b"*** Booting ", b"Starting bootloader")
STAT_GROUPS_READ: Final = 4
"""Groups of statistics that are compared; each costs a question before and after."""

Counts = dict[tuple[str, str], int]


class BootProof(StrEnum):
    """What showed that a device has restarted; the words are for people."""

    PORT = "the port vanished and came back"
    KIND = "it changed between application and boot loader"
    TEXT = "it said so on the console"
    COUNTERS = "its counters started again"
    SILENCE = "it did not answer for a while"
    TIME = "none but the time that has passed"


@dataclass(frozen=True, slots=True)
class BeforeReset:
    """What is known of a device at its reset, to be compared with what comes after.

    Attributes:
        recovery: its boot loader waited.
        counts: its statistics, empty if it has none.
        text_size: how much it had said that was no packet.
        at: when it agreed to the reset, by the transport's clock.
    """

    recovery: bool
    counts: Counts
    text_size: int
    at: float


def counts_of(link: SmpLink) -> Counts:
    """Every count of the device's first groups of statistics; none if it has no statistics."""
    counts: Counts = {}
    try:
        for name in link.call(StatList(), "list its statistics").stat_list[:STAT_GROUPS_READ]:
            values = link.call(StatRead(name), f"read its statistics {name!r}")
            counts |= {(name, key): value for key, value in values.fields}
    except (SmpRefusedError, NonsenseError, SilentDeviceError):
        return counts
    return counts


def started_again(before: Counts, after: Counts) -> bool:
    """Whether a count that only rises has fallen."""
    return any(value < before.get(key, 0) for key, value in after.items())


def tells_of_boot(link: SmpLink, text_size: int) -> bool:
    """Whether what was said on the console since then is what boot loaders say."""
    said = link.text_since(text_size)
    return any(word in said for word in BOOT_WORDS)


@dataclass(frozen=True, slots=True)
class Restarted:
    """A device that has started anew."""

    link: SmpLink
    state: DeviceState
    proof: BootProof


class Restart:
    """One wait for one device; it owns the port until it has ended."""

    def __init__(
        self, opener: Opener, link: SmpLink, before: BeforeReset, *, away: bool = False
    ) -> None:
        """`link` is the one that the device had; `away`: its port went with the reset."""
        self._opener, self._before = opener, before
        self._port = link.transport.name
        self._last = link
        self._link: SmpLink | None = None if away else link
        self._clock = link.clock
        self._text_size = before.text_size
        self._vanished = away
        self._missed = 0
        self._settle = False

    def wait(self, until: float, quiet_s: float, heed: Heed = keep_on) -> Restarted:
        """Leave the device alone for a while, then ask until it answers.

        Args:
            until: the last moment, by the transport's clock.
            quiet_s: nothing is asked for so long; longer than a device needs to act on a reset.
            heed: see Heed.

        Raises:
            LinkLostError: it does not answer in time. Whatever is raised, the port is let go.
        """
        try:
            return self._wait(until, quiet_s, heed)
        except BaseException:
            self._gone()
            raise

    def _wait(self, until: float, quiet_s: float, heed: Heed) -> Restarted:
        self._rest(quiet_s)
        while self._clock.now() < until:
            heed()
            restarted = self._ask()
            if restarted is not None:
                return restarted
            self._rest(GAP_S)
        raise LinkLostError(f"{self._port}: the device does not come back after its restart")

    def _rest(self, seconds: float) -> None:
        """Ask nothing, but hear what is said."""
        if self._link is None:
            self._clock.sleep(seconds)
            return
        try:
            self._link.listen(seconds)
        except LinkLostError:
            self._gone()

    def _gone(self) -> None:
        if self._link is not None:
            self._link.transport.close()
        self._link, self._vanished = None, True

    def _ask(self) -> Restarted | None:
        """The device, if it answers."""
        if self._link is None:
            self._link = self._reopened()
        link = self._link
        if link is None:
            self._clock.sleep(RETRY_S)
            return None
        if self._settle:
            self._settle = False
            self._rest(SETTLE_S)
            return None
        try:
            answering = self._answering(link)
            if answering is None:
                return None
            state = recognise(answering)
            proof = self._proof(answering, state)
        except SilentDeviceError:
            self._missed += 1
            return None
        except NonsenseError:  # a line that is still full of a boot's noise
            return None
        except LinkLostError:
            self._gone()
            return None
        return Restarted(answering, state, proof)

    def _answering(self, link: SmpLink) -> SmpLink | None:
        """The link, if anything answers; a new one if it answers in another framing.

        A boot loader that speaks COBS is built with an application that speaks raw.
        """
        if link.framing is not SmpFraming.COBS:
            seq = link.send(Params(), "state its buffers")
            if link.await_one(seq, max(POLL_S, 3 * link.round_trip_s)) is not None:
                return link
            link.forget(seq)
            self._missed += 1
            if self._missed % POLLS_A_DETECTION:
                return None
            # what was sent would be half of a packet to a raw server
            link.listen(RAW_IDLE_S)
        found = detect(link.transport)
        if found is None:
            self._missed += 1
        elif found.framing is not link.framing:
            self._link, self._text_size = found, 0
        else:
            found = link
        return found

    def _reopened(self) -> SmpLink | None:
        try:
            transport = self._opener(self._port)
        except FailedError as error:
            if error.reason not in AWAY:
                raise
            return None
        self._text_size = 0
        self._settle = True
        return SmpLink(transport, self._last.framing, self._last.version)

    def _proof(self, link: SmpLink, state: DeviceState) -> BootProof:
        if self._vanished:
            return BootProof.PORT
        if state.recovery != self._before.recovery:
            return BootProof.KIND
        if tells_of_boot(link, self._text_size):
            return BootProof.TEXT
        if self._before.counts and started_again(self._before.counts, counts_of(link)):
            return BootProof.COUNTERS
        return BootProof.SILENCE if self._missed else BootProof.TIME
