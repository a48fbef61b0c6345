"""The same image to the same device by svcport, smpclient and smpmgr, by turns, in one run.

Run: python benchmarks/devices.py [--runs 3] [--only console,raw,...] [--markdown]

Devices are real builds of MCUboot and Zephyr in QEMU; each upload has one that was started for it,
so that both find the same flash. Seconds and bytes are those from the first chunk to the last
answer, by each client's own count, smpmgr's by what went through its terminal; connecting is not in
them. What the slot holds afterwards is read out of the machine and compared. `--markdown` puts the
table into docs/devices.md, in place of the one that was there. A quarter of an hour.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import peers
import pytest
import table
from rows import put_between_marks
from tcpterminal import tcp_terminal

sys.path.append(str(Path(__file__).parents[1] / "tests"))

from devicekit import board_image, m0, mps2
from devicekit.boards import Board

from protocol.smp import SmpFraming
from svcport.errors import SvcportError
from svcport.locks.device import Buffers
from svcport.locks.mcuboot import McubootLock
from svcport.transport.port import open_port

DOCUMENT: Final = Path(__file__).parents[1] / "docs" / "devices.md"
SECTION: Final = "Upload of the same image"
SMPMGR: Final = "smpmgr==0.19.1"
PATIENCE_S: Final = 180
HEADS: Final = (
    "device",
    "framing",
    "buffers",
    "image bytes",
    "svcport s",
    "svcport wire bytes",
    "smpclient s",
    "smpclient wire bytes",
    "times as fast",
    "smpmgr s",
    "runs: svcport; smpclient; smpmgr",
)


@dataclass(frozen=True, slots=True)
class Device:
    """One to measure on.

    Attributes:
        title: what it is, in words.
        start: a machine of it, powered and answering.
        image: what is uploaded.
        slot: where that has to be afterwards.
        told: the buffer's size that smpclient is told; 0: it asks, where its framing does.
    """

    title: str
    start: Callable[[], AbstractContextManager[Board]]
    image: Callable[[], bytes]
    slot: int
    told: int = 0


class BrokenOffError(Exception):
    """An upload did not come to its end, or other bytes are in the slot."""


@dataclass(frozen=True, slots=True)
class Upload:
    """One that came to its end: from the first chunk to the last answer."""

    seconds: float
    wire_bytes: int


@dataclass(frozen=True, slots=True)
class Compared:
    """One device's row.

    Attributes:
        ours, theirs, managed: svcport's, smpclient's and smpmgr's uploads that came to their end,
            of `runs` each; None: smpmgr does not speak the framing, or could not be installed.
        skipped: why there are none.
    """

    title: str
    runs: int
    framing: str = ""
    buffers: Buffers | None = None
    image_bytes: int = 0
    ours: Sequence[Upload] = ()
    theirs: Sequence[Upload] = ()
    managed: Sequence[Upload] | None = None
    skipped: str = ""

    @property
    def times_as_fast(self) -> float | None:
        """Median by median; None where smpclient, or svcport, never came to the end."""
        if not self.ours or not self.theirs:
            return None
        return _seconds(self.theirs) / _seconds(self.ours)

    @property
    def missed(self) -> bool:
        """Whether svcport is slower than smpclient, judged by what is printed, or failed once."""
        ratio = self.times_as_fast
        failed = not self.skipped and len(self.ours) < self.runs
        return failed or (ratio is not None and round(ratio, 2) < 1)

    @property
    def cells(self) -> tuple[str, ...]:
        """As HEADS."""
        if self.skipped:
            return (self.title, *[""] * (len(HEADS) - 2), f"skipped: {self.skipped}")
        ratio = self.times_as_fast
        buffers = f"{self.buffers.count} of {self.buffers.size}" if self.buffers else "not stated"
        clients = (self.ours, self.theirs, *([] if self.managed is None else [self.managed]))
        return (
            self.title,
            self.framing,
            buffers,
            str(self.image_bytes),
            *_medians(self.ours),
            *_medians(self.theirs),
            "" if ratio is None else f"{ratio:.2f}",
            "" if self.managed is None else _medians(self.managed)[0],
            "; ".join(_runs(uploads, self.runs) for uploads in clients),
        )


def _seconds(uploads: Sequence[Upload]) -> float:
    return statistics.median(one.seconds for one in uploads)


def _medians(uploads: Sequence[Upload]) -> tuple[str, str]:
    if not uploads:
        return "none ended", ""
    wire_bytes = statistics.median(one.wire_bytes for one in uploads)
    return f"{_seconds(uploads):.2f}", f"{wire_bytes:.0f}"


def _runs(uploads: Sequence[Upload], runs: int) -> str:
    ended = " ".join(f"{one.seconds:.2f}" for one in uploads)
    hung = runs - len(uploads)
    return f"{ended} ({hung} of {runs} hung)".strip() if hung else ended


def _mps2_image() -> bytes:
    return board_image("mps2", "2.0.0")


def _m0_image() -> bytes:
    return board_image("m0", "2.0.0")


def _recovery(title: str, build: str) -> Device:
    """An empty slot 0, as a lock that is bricked."""
    return Device(title, functools.partial(mps2, build), _mps2_image, 0)


def _application(build: str) -> Device:
    """An application that runs out of slot 0; slot 1 is empty."""

    def start() -> AbstractContextManager[Board]:
        return mps2(build, image=board_image("mps2", "1.0.0", build=build))

    return Device(f"mps2 application, {build}", start, _mps2_image, 1)


DEVICES: Final = {
    "console": _recovery("mps2 serial recovery", "console"),
    "raw": _recovery("mps2 serial recovery, raw build", "raw"),
    "cobs": _recovery("mps2 serial recovery, COBS build", "cobs"),
    "buf400": _application("buf400"),
    "buf2048": _application("buf2048"),
    "m0": Device("m0 application", m0, _m0_image, 1),
    "m0-256": Device("m0 application, smpclient told 256", m0, _m0_image, 1, told=256),
}


class Clients:
    """All clients on one device, as often as it is asked.

    Args:
        device: what they upload to.
        python: the interpreter of smpclient's environment.
        smpmgr: the program; None if there is none.
    """

    def __init__(self, device: Device, python: Path, smpmgr: Path | None) -> None:
        self._device, self._python, self._smpmgr = device, python, smpmgr
        self._image = device.image()
        self._framing = SmpFraming.CONSOLE
        self._buffers: Buffers | None = None

    def compare(self, runs: int) -> Compared:
        """Measure; what went wrong in a run is told on standard error."""
        ours: list[Upload] = []
        theirs: list[Upload] = []
        managed: list[Upload] = []
        clients = [
            (ours, self._by_svcport),
            (theirs, self._by_smpclient),
            (managed, self._by_smpmgr),
        ]
        for run in range(1, runs + 1):
            for uploads, client in clients:
                if uploads is managed and not self._managed:
                    continue
                try:
                    uploads.append(self._checked(client))
                except BrokenOffError as error:
                    print(f"{self._device.title}, run {run}: {error}", file=sys.stderr)
        return Compared(
            self._device.title,
            runs,
            self._framing.name.lower(),
            self._buffers,
            len(self._image),
            ours,
            theirs,
            managed if self._managed else None,
        )

    @property
    def _managed(self) -> bool:
        """Whether smpmgr can do it: it speaks on consoles only, and is told no buffer."""
        console = self._framing is SmpFraming.CONSOLE
        return console and self._smpmgr is not None and not self._device.told

    def _checked(self, client: Callable[[str], Upload]) -> Upload:
        """One upload to a machine of its own, whose slot holds the image then."""
        with self._device.start() as board:
            upload = client(board.url)
            if self._image not in board.slot(self._device.slot):
                raise BrokenOffError("the slot holds other bytes than the image")
        return upload

    def _by_svcport(self, url: str) -> Upload:
        try:
            with contextlib.closing(open_port(url)) as port:
                lock = McubootLock.on(port)
                self._framing, self._buffers = lock.framing, lock.look().buffers
                tally = lock.upload(self._image, lambda _done: None)
        except SvcportError as error:
            raise BrokenOffError(f"svcport: {error}") from error
        return Upload(tally.seconds, tally.wire_bytes)

    def _by_smpclient(self, url: str) -> Upload:
        size = self._device.told
        if self._framing is not SmpFraming.CONSOLE:  # there it does not ask
            size = size or (self._buffers.size if self._buffers else 0)
        script = Path(__file__).with_name("smppeer.py")
        with self._file() as file:
            told = ["image", url, self._framing.name.lower(), str(size), file]
            seconds, wire_bytes = _ran("smpclient", [self._python, script, *told]).split()
        return Upload(float(seconds), int(wire_bytes))

    def _by_smpmgr(self, url: str) -> Upload:
        with self._file() as file, tcp_terminal(url) as terminal:
            port = ["--port", terminal.path, "--timeout", "10"]
            _ran("smpmgr", [self._smpmgr or "", *port, "image", "upload", file])
            return Upload(terminal.seconds, terminal.wire_bytes)

    @contextlib.contextmanager
    def _file(self) -> Iterator[str]:
        with tempfile.NamedTemporaryFile(suffix=".bin") as file:
            file.write(self._image)
            file.flush()
            yield file.name


def _ran(name: str, command: Sequence[str | Path]) -> str:
    """What a client prints; BrokenOffError if it fails, or does not end."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=PATIENCE_S
        )
    except subprocess.TimeoutExpired as error:
        raise BrokenOffError(f"{name}: not within {PATIENCE_S} s") from error
    except subprocess.CalledProcessError as error:
        said = (error.stderr or error.stdout).strip().splitlines() or [""]
        raise BrokenOffError(f"{name}: {said[-1][:80]}") from error
    return done.stdout


def measure(names: Sequence[str], runs: int) -> Iterator[Compared]:
    """The rows of the named devices, each as it is ready."""
    python = peers.environment()
    managing = peers.environment(SMPMGR)
    smpmgr = managing.with_name("smpmgr") if managing else None
    for name in names:
        device = DEVICES[name]
        if python is None:
            yield Compared(device.title, runs, skipped=f"{peers.SMPCLIENT} is not to be had")
            continue
        try:
            yield Clients(device, python, smpmgr).compare(runs)
        except pytest.skip.Exception as skipped:
            yield Compared(device.title, runs, skipped=str(skipped))


def as_markdown(rows: Sequence[Compared], where: str) -> dict[str, str]:
    """The section with the table, and where it was measured."""
    cells = [HEADS, ["---"] * len(HEADS), *(row.cells for row in rows)]
    lines = ["| " + " | ".join(one) + " |" for one in cells]
    return {SECTION: "\n".join([f"### {SECTION}", "", *lines, "", where, ""])}


def main() -> int:
    """Print the table; 1 if svcport is slower anywhere, or did not come to an end."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", default=",".join(DEVICES), help=f"of {', '.join(DEVICES)}")
    parser.add_argument("--markdown", action="store_true", help=f"into {DOCUMENT.name} too")
    options = parser.parse_args()
    names = options.only.split(",")
    if unknown := [name for name in names if name not in DEVICES]:
        parser.error(f"no device {unknown[0]!r}, wanted some of {', '.join(DEVICES)}")
    where = table.machine("benchmarks/devices.py", sys.argv[1:])
    print(where, flush=True)
    rows: list[Compared] = []
    for row in measure(names, options.runs):
        rows.append(row)
        told = zip(HEADS[1:], row.cells[1:], strict=True)
        print(f"{row.title}: {', '.join(f'{head} {cell}' for head, cell in told)}", flush=True)
    if options.markdown:
        text = put_between_marks(DOCUMENT.read_text("utf-8"), as_markdown(rows, where))
        DOCUMENT.write_text(text, "utf-8")
    missed = [row.title for row in rows if row.missed]
    print(f"svcport is slower, or broke off, on {', '.join(missed) or 'none'}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
