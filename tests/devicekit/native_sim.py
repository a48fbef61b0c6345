"""Zephyr's servers as programs of Linux (native_sim, 32 bits): a UART on a pseudo terminal.

A reset ends the program and its terminal. Here it starts again, and `path` names the terminal that
there is now, as a device's name does after its plug was pulled and put back; between the two there
is none.

They have no line speed: builds with lines of 128 bytes lose what comes in one go and is longer than
two lines.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from devicekit.firmware import firmware
from devicekit.running import Running, until
from protocol.smp import SmpFraming

LOADER: Final = Path("/lib/ld-linux.so.2")
REBOOT_S: Final = 0.2
"""Between the end of the program and its start; a device's boot loader takes as long."""

_BUILDS: Final = {
    **{name: f"native_sim_serial_{name}" for name in ("fs", "raw", "noparams", "bigrx", "line512")},
    **{f"buf{n}": f"native_sim_serial_buf{n}" for n in (96, 256, 400, 512, 1024, 2048)},
    "serial": "native_sim_serial",
    "shell": "native_sim_shell",
}
NATIVE_SIM_BUILDS: Final = tuple(sorted(_BUILDS))
"""What `native_sim` can be asked for."""


class NativeSim:
    """One server, running; it starts again when it resets.

    Attributes:
        path: what `--port` takes.
        framing: how it speaks SMP.
        folder: where its flash is kept (`flash.bin`), over resets too.
        starts: how often it was started so far.
    """

    def __init__(self, build: str, folder: Path) -> None:
        self.framing = SmpFraming.RAW if build == "raw" else SmpFraming.CONSOLE
        self.folder, self.path = folder, str(folder / "uart")
        self.starts = 0
        self._executable = folder / "server"
        shutil.copy(firmware(f"{_BUILDS[build]}.exe"), self._executable)
        self._executable.chmod(0o755)
        self._ending = threading.Event()
        self._program = self._start()
        self._watch = threading.Thread(target=self._restart, name="native_sim", daemon=True)
        self._watch.start()

    def _start(self) -> Running:
        self.starts += 1
        name = f"server{self.starts}"
        started = Running(name, [self._executable], self.folder)
        try:
            started.wait_until(lambda: _terminal(started) is not None, "its terminal")
        except BaseException:
            started.end()
            raise
        fresh = self.folder / "uart.new"
        fresh.symlink_to(_terminal(started) or "")
        fresh.replace(self.path)
        return started

    def _restart(self) -> None:
        while not self._ending.is_set():
            if not self._program.wait(0.05):
                continue
            Path(self.path).unlink(missing_ok=True)
            if not self._ending.wait(REBOOT_S):
                self._program = self._start()

    def said(self) -> str:
        """What its standard output has had since it was started last."""
        return self._program.said()

    def wait_for_restart(self, before: int) -> None:
        """Wait until it was started more than `before` times."""
        there = Path(self.path)
        until(lambda: self.starts > before and there.exists(), f"start {before + 1}")

    def pull(self) -> None:
        """Take the power away; it comes back by itself, as after a reset."""
        self._program.end()

    def end(self) -> None:
        """End it for good."""
        self._ending.set()
        self._watch.join()
        self._program.end()


def _terminal(running: Running) -> str | None:
    found = re.search(r"connected to pseudotty: (\S+)", running.said())
    return found[1] if found else None


@contextlib.contextmanager
def native_sim(build: str = "serial") -> Iterator[NativeSim]:
    """A server, one of NATIVE_SIM_BUILDS, with a file system or settings that hold nothing yet."""
    if sys.platform != "linux" or not LOADER.exists():
        pytest.skip("32-bit programs do not run here (Debian: libc6:i386)")
    folder = Path(tempfile.mkdtemp(prefix="svcport-native-"))
    try:
        one = NativeSim(build, folder)
        try:
            yield one
        finally:
            one.end()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
