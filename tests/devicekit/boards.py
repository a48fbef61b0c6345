"""The two boards with MCUboot: mps2 with serial recovery, m0 with a swap of two slots.

mps2 (Arm MPS2+ AN385): MCUboot's serial recovery where no image can be started, or where the
application was told to reset into it; images are copied to memory and run there, the highest
version of two slots wins, nothing is ever reverted. The second UART has the log.

m0 (BBC micro:bit): no recovery; the application's server takes images into the second slot,
MCUboot swaps them, on trial or for good. One UART has both the log and the server.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from devicekit.firmware import MPS2_FILES, firmware
from devicekit.qemu import SECOND_LOG, SERVICE_LOG, Qemu, machine
from devicekit.running import until
from images.hexfile import parse_hex
from protocol.smp import SmpFraming

LOG_TIMEOUT_S: Final = 20.0
ERASED: Final = b"\xff"


@dataclass(frozen=True, slots=True)
class Slot:
    """A place for an image in flash."""

    address: int
    size: int


MPS2_SLOTS: Final = (Slot(0x20050000, 0x80000), Slot(0x200D0000, 0x80000))
M0_FLASH_SIZE: Final = 0x40000
M0_SLOTS: Final = (Slot(0x8000, 0x1A000), Slot(0x22000, 0x1A000))

_CONSOLE: Final = (SmpFraming.CONSOLE, SmpFraming.CONSOLE)
_FRAMINGS: Final = {
    "raw": (SmpFraming.RAW, SmpFraming.RAW),
    "cobs": (SmpFraming.COBS, SmpFraming.RAW),
}
MPS2_BUILDS: Final = tuple(MPS2_FILES)
"""What `mps2` can be asked for: three framings, and four sizes of the application's buffers."""


class Board:
    """A board with MCUboot, running.

    Attributes:
        qemu: the machine; its `pause` and `run` are the board's too.
        url: of its service UART.
    """

    log_file = SECOND_LOG
    slots = MPS2_SLOTS

    def __init__(self, qemu: Qemu) -> None:
        self.qemu, self.url = qemu, qemu.url

    def log(self) -> str:
        """What MCUboot and the application have logged, without MCUboot's debug lines."""
        text = (self.qemu.folder / self.log_file).read_text(errors="replace")
        return "".join(line for line in io.StringIO(text) if not line.startswith("D:"))

    def wait_for_log(self, *texts: str, after: int = 0) -> None:
        """Wait until the log has one of `texts` behind its first `after` characters."""

        def there() -> bool:
            log = self.log()[after:]
            return any(text in log for text in texts)

        try:
            until(there, f"one of {texts} in the log", LOG_TIMEOUT_S)
        except AssertionError as error:
            error.add_note(f"the log: {self.log()[-1500:]}")
            raise

    def reset(self) -> None:
        """See Qemu.reset."""
        self.qemu.reset()

    def slot(self, number: int) -> bytes:
        """What slot 0 or 1 holds, to its end."""
        slot = self.slots[number]
        return self.qemu.flash(slot.address, slot.size)

    def put(self, number: int, image: bytes) -> None:
        """Make an image all that a slot holds, as a factory does; takes effect by a reset."""
        self.qemu.pause()
        _fill(self.qemu, self.slots[number], image)
        self.qemu.run()


def _fill(qemu: Qemu, slot: Slot, image: bytes) -> None:
    qemu.program_flash(slot.address, image.ljust(slot.size, ERASED))


class Mps2(Board):
    """The mps2 board.

    Attributes:
        framing: how its serial recovery speaks SMP.
        application_framing: how its application does; the COBS build has COBS in recovery only.
    """

    def __init__(self, qemu: Qemu, build: str) -> None:
        super().__init__(qemu)
        self.framing, self.application_framing = _FRAMINGS.get(build, _CONSOLE)


@contextlib.contextmanager
def mps2(
    build: str = "console", *, image: bytes | None = None, second: bytes | None = None
) -> Iterator[Mps2]:
    """An mps2 board, powered; with no image that is whole it is in serial recovery.

    Args:
        build: one of MPS2_BUILDS.
        image: what slot 0 holds from its start; empty flash if None.
        second: the same of slot 1.
    """
    ending = MPS2_FILES[build]
    loader = firmware(f"{ending}.hex")  # MCUboot only: to write it again at a reset harms nothing
    board = ["-cpu", "cortex-m3", "-machine", "mps2-an385", "-device", f"loader,file={loader}"]
    with machine(board) as qemu:
        for slot, data in zip(MPS2_SLOTS, (image, second), strict=True):
            _fill(qemu, slot, data or b"")
        one = Mps2(qemu, build)
        qemu.run()
        one.wait_for_log("Enter the serial recovery mode", "Jumping to the first image slot")
        yield one


class M0(Board):
    """The m0 board; its log has the bytes of SMP in it.

    It goes deaf for good where it is sent anything before its application runs: the first bytes
    fill the UART's six, and nothing ever takes them out.
    """

    log_file = SERVICE_LOG
    slots = M0_SLOTS
    framing = SmpFraming.CONSOLE

    def wait_until_up(self, *, after: int = 0) -> None:
        """Wait until an application has started behind the log's first `after` characters."""
        self.wait_for_log("build time", after=after)


@contextlib.contextmanager
def m0(*, image: bytes | None = None) -> Iterator[M0]:
    """An m0 board, powered, with MCUboot and an application in slot 0.

    Args:
        image: what slot 0 holds from its start; the build's own image, version 0.0.0, if None.
    """
    board = ["-cpu", "cortex-m0", "-machine", "microbit"]
    with machine(board) as qemu:
        factory = parse_hex(firmware("qemu_cortex_m0_serial.merged.hex").read_bytes())
        qemu.program_flash(0, ERASED * M0_FLASH_SIZE)
        qemu.program_flash(factory.address, factory.data)
        if image is not None:
            _fill(qemu, M0_SLOTS[0], image)
        qemu.reset()  # the processor took its first address from flash that was empty
        qemu.run()
        one = M0(qemu)
        one.wait_until_up()
        yield one
