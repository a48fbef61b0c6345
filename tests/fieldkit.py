"""A technician's whole world in one process: lab, home, simulated locks on virtual cables."""

from __future__ import annotations

import atexit
import functools
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from locksim import Bench, Cable

from protocol.frame import Frame, FrameType
from svcport.authorisation.setup import import_bundle
from svcport.authorisation.trust import Trust
from svcport.catalogue.client import Catalogue
from svcport.home import Home
from svcport.lab.folder import LabFolder
from svcport.lab.init import init_lab
from svcport.operations import commands
from svcport.operations.installation import Installation
from svcport.operations.progress import Silent
from svcport.operations.report import Report
from svcport.operations.workplace import Target
from svcport.simulator.board import Board
from svcport.simulator.flash import NorFlash
from svcport.simulator.provision import Condition

NOW = datetime(2026, 11, 22, 23, 30, tzinfo=UTC)


@functools.cache
def lab(condition: str, locks: int = 1, payload_bytes: int = 0) -> LabFolder:
    """One lab a process and condition; its locks are copied, never used in place."""
    folder = tempfile.mkdtemp(prefix="svcport-lab-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    root = Path(folder) / "lab"
    payloads = []
    if payload_bytes:
        path = root.parent / "payload.bin"
        path.write_bytes(random.Random(7).randbytes(payload_bytes))
        payloads = [path]
    init_lab(
        root,
        locks=locks,
        seed="tests",
        condition=Condition(condition),
        payloads=payloads,
        now=NOW - timedelta(days=1),
    )
    return LabFolder(root)


class LoudSilence(Silent):
    """Keeps the steps that an operation names."""

    def __init__(self) -> None:
        self.steps: list[str] = []

    def step(self, text: str) -> None:
        self.steps.append(text)


def press_ctrl_c() -> None:
    raise KeyboardInterrupt


class AtStep(LoudSilence):
    """Does something, once: when a step is named that begins so, or the step of that number."""

    def __init__(self, step: str | int, act: Callable[[], object] = press_ctrl_c) -> None:
        super().__init__()
        self._step = step
        self._act: Callable[[], object] | None = act

    def step(self, text: str) -> None:
        super().step(text)
        by_number = isinstance(self._step, int)
        met = len(self.steps) == self._step if by_number else text.startswith(str(self._step))
        if met and self._act is not None:
            act, self._act = self._act, None
            act()


@dataclass
class Field:
    """One technician with a home, and one lock of a lab at the port "P0" (and so on)."""

    lab: LabFolder
    home: Home
    cables: dict[str, Cable]
    now: datetime = NOW
    progress: LoudSilence = field(default_factory=LoudSilence)
    secret: Callable[[str], bytes] | None = None

    @property
    def cable(self) -> Cable:
        return next(iter(self.cables.values()))

    @property
    def board(self) -> Board:
        return self.cable.board

    def tick(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now

    def named_nobody(self, since: int = 0) -> bool:
        """Whether the lock was asked who it is, and nothing else; after `since` writes."""
        sent = [Frame.parse(data.strip(b"\0")) for data in self.cable.written[since:]]
        # the one sealed request that may be is CLOSE, one byte and the tag
        sealed = {len(frame.body) for frame in sent if frame.type is FrameType.CONTROL}
        anonymous = {FrameType.HELLO, FrameType.NOISE, FrameType.CONTROL}
        return {frame.type for frame in sent} <= anonymous and sealed <= {1 + 16}

    def pull_while_sending(self, after: int = 1200) -> None:
        """Pull the cable amid the next upload, after that many bytes both ways."""
        self.progress = AtStep("sending the new image", lambda: self.cable.pull_in(after))

    @contextmanager
    def installation(self) -> Iterator[Installation]:
        bench = Bench(*self.cables.values())
        with Installation.open(
            self.home, secret=self.secret, now=self.tick, opener=bench
        ) as opened:
            yield opened

    def run(self, operation: Callable[..., Report], *, port: str = "P0", **options: Any) -> Report:
        target_options = {
            key: options.pop(key)
            for key in ("expect_serial", "case_id", "tickets", "claimed_serial")
            if key in options
        }
        with self.installation() as inst:
            return operation(inst, Target(port, **target_options), self.progress, **options)

    def restore(self, **options: Any) -> Report:
        return self.run(commands.restore, **options)

    def rollback(self, **options: Any) -> Report:
        return self.run(commands.rollback, **options)

    def verify(self, **options: Any) -> Report:
        return self.run(commands.verify, **options)

    def identify(self, **options: Any) -> Report:
        return self.run(commands.identify, **options)

    def logs(self, **options: Any) -> Report:
        return self.run(commands.logs, **options)

    def diagnose(self, **options: Any) -> Report:
        return self.run(commands.diagnose, **options)

    def reconcile(self, **options: Any) -> Report:
        return self.run(commands.reconcile, **options)

    def run_at_port(self, port: str) -> Report:
        return self.run(commands.identify, port=port)

    def image(self, version: str) -> Path:
        return next(self.lab.images.glob(f"*-{version}*.bin"))


def make_field(root: Path, condition: str = "bad-update", locks: int = 1, **options: Any) -> Field:
    """A fresh home that is set up, and fresh copies of the lab's locks."""
    folder = lab(condition, locks, **options)
    home = Home(root / "home")
    import_bundle(folder.technician, home, NOW)
    Catalogue.refresh(
        home.root,
        folder.technician / "catalogue",
        now=NOW,
        root=Trust.load(home).catalogue_root,
    )
    cables = {}
    for number, serial in enumerate(folder.serials):
        cables[f"P{number}"] = make_cable(folder, serial, f"P{number}")
    return Field(folder, home, cables)


def make_cable(folder: LabFolder, serial: str, name: str, seed: int = 0) -> Cable:
    """A lock as the lab made it, freshly powered up."""
    lock = folder.lock(serial)
    flash = NorFlash(bytearray(lock.flash_file.read_bytes()))
    entropy = random.Random(f"{serial} {seed}").randbytes
    board = Board(lock.factory(), flash, entropy=entropy, now=0.0)
    cable = Cable(name, board)
    board.poll(cable.clock.now())
    return cable


def copy_home(home: Home, to: Path) -> Home:
    """A second installation with the same content."""
    shutil.copytree(home.root, to)
    return Home(to)
