"""A technician's whole world in one process: lab, home, simulated locks on virtual cables."""

from __future__ import annotations

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

from svcport.authorisation.setup import import_bundle
from svcport.authorisation.trust import Trust
from svcport.catalogue.client import Catalogue
from svcport.home import Home
from svcport.lab.folder import LabFolder
from svcport.lab.init import init_lab
from svcport.operations import (
    diagnose,
    identify,
    reconcile,
    restore,
    rollback,
    verify,
)
from svcport.operations.installation import Installation, Target
from svcport.operations.progress import Silent
from svcport.operations.report import Report
from svcport.simulator.board import Board
from svcport.simulator.flash import NorFlash
from svcport.simulator.provision import Condition

NOW = datetime(2026, 11, 22, 23, 30, tzinfo=UTC)


@functools.cache
def lab(condition: str, locks: int = 1, payload_bytes: int = 0) -> LabFolder:
    """One lab a process and condition; its locks are copied, never used in place."""
    root = Path(tempfile.mkdtemp(prefix="svcport-lab-")) / "lab"
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
        return self.run(restore.restore, **options)

    def rollback(self, **options: Any) -> Report:
        return self.run(rollback.rollback, **options)

    def verify(self, **options: Any) -> Report:
        return self.run(verify.verify, **options)

    def identify(self, **options: Any) -> Report:
        return self.run(identify.identify, **options)

    def logs(self, **options: Any) -> Report:
        return self.run(identify.logs, **options)

    def diagnose(self, **options: Any) -> Report:
        return self.run(diagnose.diagnose, **options)

    def reconcile(self, **options: Any) -> Report:
        return self.run(reconcile.reconcile, **options)

    def run_at_port(self, port: str) -> Report:
        return self.run(identify.identify, port=port)

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
