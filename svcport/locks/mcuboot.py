"""A device that speaks SMP behind one port: MCUboot's recovery, or a running Zephyr application.

Nobody is asked who they are on such a port, and the device proves nothing of what it says.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from protocol.smp import SmpFraming
from protocol.smp_image import EraseSlot, SetImageState
from protocol.smp_messages import Reset
from svcport.errors import FailedError, Reason
from svcport.locks.device import DeviceLog, DeviceView, SlotSpace, UploadTally
from svcport.locks.errors import NoLockError
from svcport.locks.service_port import BOOT_DEADLINE_S, Opener
from svcport.locks.smp_boot import BeforeReset, BootProof, Restart, counts_of
from svcport.locks.smp_detect import detect
from svcport.locks.smp_errors import SilentDeviceError, SmpRefusedError, UnsupportedError
from svcport.locks.smp_link import SmpLink
from svcport.locks.smp_logs import read_logs
from svcport.locks.smp_look import (
    application_text,
    bootloader_text,
    recognise,
    slots_of,
    spaces_of,
)
from svcport.locks.smp_upload import upload_image
from svcport.locks.snapshot import LockKind
from svcport.transport.clock import Heed, keep_on
from svcport.transport.port import LinkLostError, Transport, open_port

log = logging.getLogger(__name__)

STATE_S: Final = 8.0
"""How long marking an image may take: its slot's last sector is erased and written."""

ERASE_S: Final = 60.0
"""How long the erase of a slot may take."""

QUIET_S: Final = 1.5
"""How long nothing is asked after a reset: a quarter of a second until it happens, then the boot. A
boot loader may wait half a second for a frame that holds it in its recovery, and a UART that nobody
reads may be deaf for good once its few bytes are full (seen on an nRF51)."""

SHY_S: Final = 3.0
"""The same for a device that was found in its boot loader: then surely no frame put it there."""

RECOVERY_MODE: Final = 1
"""The boot mode that is MCUboot's serial recovery (Zephyr, BOOT_MODE_TYPE_BOOTLOADER)."""

NO_IMAGE: Final = bytes(32)
"""A hash that no image has."""


class McubootLock:
    """One SMP device at one port. After a reset, `come_back` finds it again.

    Attributes:
        port: its name.
        boot_proof: what proved the last restart; None before the first.
    """

    def __init__(self, link: SmpLink, opener: Opener) -> None:
        """Tell recovery from application.

        Raises:
            SilentDeviceError, NonsenseError, LinkLostError: it does not answer like either.
        """
        self.port = link.transport.name
        self.boot_proof: BootProof | None = None
        self._opener = opener
        self._link: SmpLink | None = link
        self._last = link
        self._state = recognise(link)
        self._spaces: tuple[SlotSpace, ...] | None = None
        self._before: BeforeReset | None = None
        self._shy = False

    @classmethod
    def on(cls, transport: Transport, opener: Opener = open_port) -> McubootLock:
        """Find out in which framing which kind of device answers at an open port, without harm.

        The port is left open. Whatever was sent there before, no silence is needed, not even after
        a HELLO (see svcport.locks.smp_detect).

        Raises:
            NoLockError: nothing that speaks SMP answers, within about 3 s.
            LinkLostError: the port is gone, or a server answers once and falls silent.
            NonsenseError: a server answers no sense.
        """
        started = transport.clock.now()
        link = detect(transport)
        if link is None:
            raise NoLockError(transport.name, transport.clock.now() - started, 0)
        return cls(link, opener)

    @property
    def kind(self) -> LockKind:
        """Whether the boot loader waits or an application runs."""
        return LockKind.MCUBOOT_RECOVERY if self._state.recovery else LockKind.ZEPHYR_SMP

    @property
    def framing(self) -> SmpFraming:
        """How packets stand on the line."""
        return self._conversation.framing

    @property
    def _conversation(self) -> SmpLink:
        if self._link is None:
            raise LinkLostError(f"{self.port} is away since the device was reset")
        return self._link

    def _in_recovery(self) -> bool:
        return self._state.recovery

    def look(self) -> DeviceView:
        """Ask everything that changes nothing.

        Raises:
            SmpRefusedError: an image list is refused, not for being unknown.
            SilentDeviceError, NonsenseError, LinkLostError: it does not answer, or no sense.
        """
        link, recovery = self._conversation, self._state.recovery
        self._spaces = spaces_of(link)
        return DeviceView(
            kind=self.kind,
            framing=link.framing,
            bootloader="" if recovery else bootloader_text(link),
            application="" if recovery else application_text(link),
            slots=slots_of(link, recovery=recovery),
            spaces=self._spaces,
            buffers=self._state.buffers,
        )

    def can_try(self) -> bool:
        """Whether an image can be marked for a test boot, from which the device goes back.

        Asked by marking an image that cannot exist, which changes nothing.
        """
        if self._state.recovery:
            return False
        try:
            self.mark_test(NO_IMAGE)
        except SmpRefusedError as error:
            return not isinstance(error, UnsupportedError)
        return True

    def upload(self, data: bytes, advance: Callable[[int], None]) -> UploadTally:
        """Send an image into the slot for uploads; in recovery that is 0, what runs is replaced.

        Raises:
            RuntimeError: no data.
            SmpRefusedError, StalledError, SilentDeviceError, NonsenseError, LinkLostError: see
                `upload_image`.
        """
        if not data:
            raise RuntimeError("an image has at least one byte")
        link = self._conversation
        if self._spaces is None:
            self._spaces = spaces_of(link)
        named = [one.upload_image_id for one in self._spaces if one.image == 0]
        image = next((number for number in named if number is not None), None)
        return upload_image(link, data, self._state.buffers, image, advance)

    def mark_test(self, digest: bytes) -> None:
        """Have the image with this hash booted once; SmpRefusedError if the device says no."""
        doing = "mark an image for a test boot"
        self._conversation.call(SetImageState(digest, confirm=False), doing, answer_s=STATE_S)

    def confirm(self, digest: bytes | None = None) -> None:
        """Keep the image that runs, or the one with this hash; SmpRefusedError: it says no."""
        doing = "confirm an image"
        self._conversation.call(SetImageState(digest, confirm=True), doing, answer_s=STATE_S)

    def erase(self, slot: int | None = None) -> None:
        """Empty a slot, None: the secondary one; SmpRefusedError if the device says no."""
        self._conversation.call(EraseSlot(slot), "erase a slot", answer_s=ERASE_S, tries=1)

    def reset(self, boot_mode: int | None = None) -> None:
        """Have the device restart; `come_back` waits for it. `boot_mode` 1: serial recovery.

        Raises:
            SmpRefusedError: the device says no.
            SilentDeviceError, NonsenseError: it does not say whether it does.
        """
        link = self._conversation
        counts = {} if self._state.recovery else counts_of(link)
        text_size = link.text_size
        try:
            link.call(Reset(boot_mode=boot_mode), "restart")
        except SilentDeviceError:
            raise
        except LinkLostError:
            # it went before its answer did
            self.drop()
        self._before = BeforeReset(self._state.recovery, counts, text_size, link.clock.now())

    def come_back(self, deadline_s: float = BOOT_DEADLINE_S, heed: Heed = keep_on) -> DeviceView:
        """After `reset`: wait until the device has started anew, and look at it.

        A device found in its boot loader may have been held there by our own questions: it is reset
        once more and left alone while it boots. `boot_proof` says what proved the last restart.

        Raises:
            LinkLostError: it does not answer in time; and whatever `heed` raises.
        """
        self._await(deadline_s, SHY_S if self._shy else QUIET_S, heed)
        if self._state.recovery and not self._shy:
            self._shy = True
            log.info("in serial recovery: reset once more, and left alone while it boots")
            self.reset()
            self._await(deadline_s, SHY_S, heed)
        return self.look()

    def enter_recovery(
        self, deadline_s: float = BOOT_DEADLINE_S, heed: Heed = keep_on
    ) -> DeviceView:
        """Restart the application into serial recovery, and look at what came.

        Raises:
            SmpRefusedError: the device says no.
            FailedError: it came back as an application: it is not built to be asked so.
            LinkLostError: it does not answer in time; and whatever `heed` raises.
        """
        if self._in_recovery():
            return self.look()
        self.reset(RECOVERY_MODE)
        self._await(deadline_s, QUIET_S, heed)
        if not self._in_recovery():
            raise FailedError(
                Reason.LOCK_REFUSED,
                "the device restarted into its application: its boot mode cannot be asked for",
                hint="start its serial recovery by button or pin, then run it again",
            )
        return self.look()

    def logs(self) -> tuple[DeviceLog, ...]:
        """What the device has written down, from its files and its shell; empty without either."""
        return () if self._state.recovery else read_logs(self._conversation)

    def close(self) -> None:
        """Let the port go; never raises. SMP has no session to end."""
        self.drop()

    def drop(self) -> None:
        """Let the port go at once; never raises."""
        if self._link is not None:
            self._link.transport.close()
            self._link = None

    def _await(self, deadline_s: float, quiet_s: float, heed: Heed) -> None:
        """Wait for a new boot; RuntimeError if nothing was reset."""
        if self._before is None:
            raise RuntimeError("a device comes back after a reset")
        waiting = Restart(self._opener, self._last, self._before, away=self._link is None)
        self._link = None
        until = self._before.at + deadline_s
        found = waiting.wait(until, quiet_s, heed)
        log.info("%s: restarted: %s", self.port, found.proof)
        self._link = self._last = found.link
        self._state, self.boot_proof = found.state, found.proof
        self._before, self._spaces = None, None
