"""Which functions a command's processor time goes to, found by looking every few milliseconds.

Run: python benchmarks/sampler.py FILE svcport-arguments...

Runs `svcport` in this process. A thread looks at every other thread: what its processor clock has
gained since the last look is put down to the function of the product that it is in now, or that
called the library it is in. Waiting counts for nothing, neither for a port nor for the
interpreter's lock. Writes JSON to FILE. Linux only.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Final

EVERY_S: Final = 0.005
TREE: Final = Path(__file__).parents[1]
ROOMS: Final = ("svcport", "protocol", "images")
UPLOAD: Final = "locks/line.py:upload"
"""What runs from the first block to the last acknowledgement."""

_KEPT: Final = 8


class Sampler:
    """Looks at all threads but its own until it is stopped."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._clocks: dict[int, float] = {}
        self.spent: defaultdict[str, float] = defaultdict(float)
        self.uploading_s = 0.0
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        me = threading.get_ident()
        while not self._stop.wait(EVERY_S):
            alive = {thread.ident for thread in threading.enumerate()}
            for ident, frame in sys._current_frames().items():  # noqa: SLF001 - the way to do it
                if ident == me or ident not in alive:
                    continue
                now = _cpu_s(ident)
                gained = now - self._clocks.get(ident, 0.0)
                self._clocks[ident] = now
                names = list(_names(frame))
                self.spent[names[0] if names else "python itself"] += gained
                self.uploading_s += gained if UPLOAD in names else 0.0


def _cpu_s(ident: int) -> float:
    try:
        return time.clock_gettime(time.pthread_getcpuclockid(ident))
    except OSError:  # it has just ended
        return 0.0


def _names(frame: FrameType) -> Iterator[str]:
    """The product's functions that are under way, innermost first."""
    at: FrameType | None = frame
    while at is not None:
        path = Path(at.f_code.co_filename)
        if path.is_relative_to(TREE) and path.relative_to(TREE).parts[0] in ROOMS:
            yield f"{path.parent.name}/{path.name}:{at.f_code.co_qualname}"
        at = at.f_back


def main() -> None:
    """Run the command, then write what it spent in seconds, by function and while it uploaded."""
    out, sys.argv = Path(sys.argv[1]), ["svcport", *sys.argv[2:]]
    sampler = Sampler()
    sampler.start()
    try:
        # not `main`, which ends the process before anybody can look at it
        from svcport.cli.main import root

        code = root.main(standalone_mode=False)
    finally:
        sampler.stop()
        most = sorted(sampler.spent.items(), key=lambda item: -item[1])[:_KEPT]
        out.write_text(json.dumps({"functions": dict(most), "uploading_s": sampler.uploading_s}))
    sys.exit(code)


if __name__ == "__main__":
    main()
