"""Where the processor time of one function of svcport goes, by the file whose code ran.

Run: python benchmarks/profiled.py FILE uploading|serving svcport-arguments...

`uploading` is the host from its first block to the last acknowledgement, `serving` what plays one
lock. Every call is seen and timed by the thread's processor clock, so that waiting counts for
nothing; short functions look dearer than they are. Only one thread can be looked at: have one lock.
Writes JSON to FILE: seconds by file, or by function where it is one of C, the most first.
"""

from __future__ import annotations

import cProfile
import json
import pstats
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class Profiled:
    """Takes down what a function spends, however often it is called."""

    def __init__(self, clock: Callable[[], float] = time.thread_time) -> None:
        """`clock` gives seconds; the usual one stands still while its thread waits."""
        self._profile = cProfile.Profile(clock)

    def around(self, function: Callable[P, R]) -> Callable[P, R]:
        """`function`, looked at."""

        def looked_at(*args: P.args, **kwargs: P.kwargs) -> R:
            self._profile.enable()
            try:
                return function(*args, **kwargs)
            finally:
                self._profile.disable()

        return looked_at

    def by_file(self) -> Counter[str]:
        """Seconds spent so far, time of callees not included."""
        spent: Counter[str] = Counter()
        for (path, _line, name), (_calls, _all, own_s, *_rest) in self._stats().items():
            spent["/".join(Path(path).parts[-2:]) if Path(path).is_absolute() else name] += own_s
        return spent

    def _stats(self) -> dict[tuple[str, int, str], tuple[int, int, float, float, object]]:
        try:
            return vars(pstats.Stats(self._profile))["stats"]  # type: ignore[no-any-return]
        except TypeError:  # the function was never called
            return {}


def main() -> None:
    """Run the command, then write what its function spent."""
    out, what = Path(sys.argv[1]), sys.argv[2]
    sys.argv = ["svcport", *sys.argv[3:]]
    from svcport.lab import run
    from svcport.locks import service_port

    profiled = Profiled()
    if what == "uploading":
        setattr(service_port, "upload", profiled.around(service_port.upload))  # noqa: B010 - mypy
    else:
        setattr(run, "serve", profiled.around(run.serve))  # noqa: B010 - mypy
    try:
        # not `main`, which ends the process before anybody can look at it
        from svcport.cli.main import root

        code = root.main(standalone_mode=False)
    finally:
        out.write_text(json.dumps(dict(profiled.by_file().most_common())))
    sys.exit(code)


if __name__ == "__main__":
    main()
