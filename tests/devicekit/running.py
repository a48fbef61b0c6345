"""Programs that play devices: started with a deadline, ended for sure, their words kept."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import pytest

START_TIMEOUT_S: Final = 20.0
"""For a program to be ready; a busy machine needs more of it than the program does."""

END_TIMEOUT_S: Final = 5.0
POLL_S: Final = 0.02


def program(name: str, package: str) -> str:
    """Where a program is; the test is skipped, naming Debian's package, if it is nowhere."""
    path = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))
    found = shutil.which(name, path=path)
    if found is None:
        pytest.skip(f"{name} is not installed (Debian: {package})")
    return found


def until(true: Callable[[], bool], what: str, timeout_s: float = START_TIMEOUT_S) -> None:
    """Wait for `true`; AssertionError that names `what` after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline, f"{what}: not within {timeout_s} s"
        time.sleep(POLL_S)


def free_port() -> int:
    """A TCP port of this computer's own that nobody had a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


class Running:
    """A program that runs in `folder`, its output in the file `name`.out there.

    It ends at the latest with the thread that started it.
    """

    def __init__(self, name: str, command: Sequence[str | Path], folder: Path) -> None:
        self.output = folder / f"{name}.out"
        # Where the test program itself is killed, nobody else would end this one.
        setpriv = shutil.which("setpriv")
        guard = [setpriv, "--pdeathsig", "KILL"] if setpriv else []
        with self.output.open("ab") as output:
            self._process = subprocess.Popen(
                [*guard, *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=folder,
                start_new_session=True,
            )
        self._name = name

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def said(self) -> str:
        """All that it has written so far."""
        return self.output.read_text(errors="replace")

    def wait_until(self, true: Callable[[], bool], what: str) -> None:
        """Wait for `true` while it runs; AssertionError with its output if it ends before."""

        def happened() -> bool:
            fine = true()
            assert fine or not self.ended, f"{self._name} ended by itself: {self.said()[-2000:]}"
            return fine

        until(happened, f"{self._name}: {what}")

    def freeze(self) -> None:
        """Let it run no further, its connections open and silent."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def wait(self, timeout_s: float) -> bool:
        """Whether it ends by itself within `timeout_s`."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout_s)
        return self.ended

    def end(self) -> None:
        """End it without asking; it is gone when this returns."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait(END_TIMEOUT_S)


def listens(pid: int, port: int) -> bool:
    """Whether that very process listens on a TCP port; asks the kernel, connects to nothing."""
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(FileNotFoundError):
            rows = [line.split() for line in Path(table).read_text().splitlines()[1:]]
            inodes |= {r[9] for r in rows if r[3] == "0A" and int(r[1].split(":")[1], 16) == port}
    held = opened(pid)
    return any(f"socket:[{inode}]" in held for inode in inodes)


def opened(pid: int) -> set[str]:
    """What that very process has open, as the kernel calls it: paths, and `socket:[INODE]`."""
    held = set()
    with contextlib.suppress(FileNotFoundError):
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                held.add(os.readlink(descriptor))  # noqa: PTH115 - the target may be no path
    return held
