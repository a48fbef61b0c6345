"""Run one command line, and at every numbered point of it a copy of the process gets signals.

Run: python tests/cli/signalpoints.py NUMBER[,NUMBER...] STRIDE WORD...

A point is a line of ours that is about to run for the first time; in the few files that deal with
signals, an instruction. Of the lines that only load modules, every STRIDE-th is one. Prints a JSON
line a point: where it is, how the copy ended (as subprocess counts it), and all that was said.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
from inspect import CO_OPTIMIZED
from pathlib import Path
from types import CodeType, FrameType
from typing import IO, Any, Final

import svcport.__main__ as program

ROOT: Final = Path(program.__file__).parent
CLOSELY: Final = {
    str(ROOT / name) for name in ("__main__.py", "cli/main.py", "cli/command.py", "cli/signals.py")
}
PATIENCE_S: Final = 30
STREAMS: Final = (1, 2)


class Points:
    """Follows the main thread from point to point."""

    def __init__(
        self, numbers: list[int], stride: int, log: int, streams: tuple[IO[bytes], ...]
    ) -> None:
        self._numbers, self._stride, self._log, self._streams = numbers, stride, log, streams
        self._seen: set[tuple[CodeType, int]] = set()
        self._loaded = 0

    def trace(self, frame: FrameType, event: str, _arg: object) -> Any:
        code = frame.f_code
        # what Python does of itself before the first statement of ours is no point
        begun = sys.excepthook is not sys.__excepthook__
        if not code.co_filename.startswith(str(ROOT)):
            return None
        loads = not code.co_flags & CO_OPTIMIZED  # the bodies of modules and classes
        closely = code.co_filename in CLOSELY and not loads
        frame.f_trace_opcodes = closely
        place = (code, frame.f_lasti if closely else frame.f_lineno)
        wanted = "opcode" if closely else "line"
        if begun and event == wanted and place not in self._seen:
            self._seen.add(place)
            self._loaded += loads
            if not loads or self._loaded % self._stride == 0:
                self._strike(frame)
        return self.trace

    def _strike(self, frame: FrameType) -> None:
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            copy = os.fork()
            if copy == 0:
                sys.settrace(None)
                signal.alarm(PATIENCE_S)
                for stream, so_far, file in zip(STREAMS, self._streams, (out, err), strict=True):
                    os.write(file.fileno(), _all_of(so_far))
                    os.dup2(file.fileno(), stream)
                signal.pthread_sigmask(signal.SIG_BLOCK, self._numbers)
                for number in self._numbers:
                    os.kill(os.getpid(), number)
                signal.pthread_sigmask(signal.SIG_UNBLOCK, self._numbers)
                return
            _pid, status = os.waitpid(copy, 0)
            point = {
                "where": f"{frame.f_code.co_qualname} {frame.f_lineno} {frame.f_lasti}",
                "code": os.waitstatus_to_exitcode(status),
                "out": _all_of(out).decode(),
                "err": _all_of(err).decode(),
            }
        os.write(self._log, json.dumps(point).encode() + b"\n")


def _all_of(file: IO[bytes]) -> bytes:
    return os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0)


def main() -> None:
    numbers, stride = [int(word) for word in sys.argv[1].split(",")], int(sys.argv[2])
    sys.argv = ["svcport", *sys.argv[3:]]
    log = os.dup(1)
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        for stream, file in zip(STREAMS, (out, err), strict=True):
            os.dup2(file.fileno(), stream)
        sys.settrace(Points(numbers, stride, log, (out, err)).trace)
        program.main()


if __name__ == "__main__":
    main()
