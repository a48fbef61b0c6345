"""Runs `svcport` and notes how busy processors are from first block to last acknowledgement.

Run: python benchmarks/uploads.py FILE PID,PID,... svcport-arguments...

Start, handshakes and what follows the uploads need few processors or none, and no wire is to be
filled then. So what bounds an upload is seen only while it lasts. Counted are this process and
those named, which play the locks. Writes JSON to FILE: a `Window` of each upload, and last the one
from the start of the first to the end of the last. Linux only.
"""

from __future__ import annotations

import functools
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Window:
    """What was used, in seconds of a processor, and how long it lasted.

    Attributes:
        wall_s: start to end.
        host_s: by svcport.
        locks_s: by the processes that played the locks.
    """

    wall_s: float
    host_s: float
    locks_s: float

    @property
    def busy(self) -> float:
        """How many processors that filled, on average."""
        return (self.host_s + self.locks_s) / self.wall_s

    def __sub__(self, before: Window) -> Window:
        return Window(
            self.wall_s - before.wall_s,
            self.host_s - before.host_s,
            self.locks_s - before.locks_s,
        )


class Watch:
    """Looks whenever an upload starts or ends."""

    def __init__(self, used: Callable[[], Window], out: Path) -> None:
        """`used` gives the totals so far, of any origin; `out` is written at each end."""
        self._used = used
        self._out = out
        self._turn = threading.Lock()
        self._first: Window | None = None
        self._uploads: list[Window] = []

    def around(self, upload: Callable[P, R]) -> Callable[P, R]:
        """`upload`, watched."""

        def watched(*args: P.args, **kwargs: P.kwargs) -> R:
            with self._turn:
                started = self._used()
                first = self._first = self._first or started
            try:
                return upload(*args, **kwargs)
            finally:
                with self._turn:
                    ended = self._used()
                    self._uploads.append(ended - started)
                    found = [*self._uploads, ended - first]
                    self._out.write_text(json.dumps([asdict(window) for window in found]))

        return watched


def read_windows(path: Path) -> tuple[Window, ...]:
    """What `Watch` has written."""
    return tuple(Window(**window) for window in json.loads(path.read_text()))


def used_by(pids: Sequence[int]) -> Window:
    """What this process, as the host, and those, as the locks, have used so far."""
    return Window(time.monotonic(), time.process_time(), sum(map(cpu_s, pids)))


def cpu_s(pid: int) -> float:
    """Processor time that a process has used so far; 0 where there is none, or no Linux."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Run the command; it ends this process as ever."""
    out, pids = Path(sys.argv[1]), [int(pid) for pid in sys.argv[2].split(",")]
    sys.argv = ["svcport", *sys.argv[3:]]
    from svcport.__main__ import main as run
    from svcport.locks import service_port

    watch = Watch(functools.partial(used_by, pids), out)
    setattr(service_port, "upload", watch.around(service_port.upload))  # noqa: B010 - for mypy
    run()


if __name__ == "__main__":
    main()
