"""One case's world: a lock from a prepared state, a technician's home, a command at a time."""

from __future__ import annotations

import itertools
import os
import random
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from fieldkit import NOW, LoudSilence
from locksim import Bench, VirtualClock
from sweep.promises import Broken, Promise
from sweep.starts import SHARED, Start
from sweep.wire import Hang, Killed, Trouble, Wire

from svcport.errors import SvcportError
from svcport.home import Home
from svcport.operations import commands
from svcport.operations.installation import Installation
from svcport.operations.report import Report
from svcport.operations.workplace import Target
from svcport.simulator.board import Board
from svcport.simulator.flash import SLOT_ADDRESS, SLOT_SIZE, NorFlash

PORT = "P0"
OPENING_S = 10.0
_numbers = itertools.count()


@dataclass(frozen=True)
class Ended:
    """How a command ended: an outcome of the contract, "killed" or "interrupted"."""

    outcome: str
    error: BaseException | None = None
    report: Report | None = None

    @property
    def is_success(self) -> bool:
        return self.outcome in ("ok", "nothing-to-do")

    def __str__(self) -> str:
        return f"{self.outcome} {self.error or ''}".strip()


class Yard:
    """A fresh copy of a start.

    Attributes:
        wear: most erases of one page in one command so far.
        erases_allowed: of one page in one command.
        flaw: why this yard is no ground to judge on; empty: it is one.
        touched: `touch_marks` as the last command found them.
        opened: the installation of the command that runs, or ran last.
    """

    def __init__(self, start: Start, room: Path, *, own_home: bool = False) -> None:
        self.start = start
        self.room = room / f"y{next(_numbers)}"
        self.home = Home(self.room / "home")
        _copy_home(start.home, self.home.root, whole=own_home)
        self.flash = NorFlash(bytearray(start.flash))
        entropy = random.Random("yard").randbytes
        clock = VirtualClock()
        self.board = Board(start.factory, self.flash, entropy=entropy, now=clock.now())
        self.wire = Wire(PORT, self.board, clock)
        clock.sleep(1.0)  # it has booted
        self.progress = LoudSilence()
        self.now: datetime = NOW + timedelta(hours=1)
        self.wear = 0
        self.erases_allowed = 1
        self.opened: Installation | None = None
        self.touched = self.touch_marks()
        self.flaw = ""
        self._shares = not own_home

    def close(self) -> None:
        """Nothing of the case is left."""
        shutil.rmtree(self.room, ignore_errors=True)

    def tick(self) -> datetime:
        """The technician's clock; every look at it is a second later."""
        self.now += timedelta(seconds=1)
        return self.now

    @contextmanager
    def installation(self) -> Iterator[Installation]:
        """The home, opened."""
        bench = Bench()
        bench.cables[PORT] = self.wire  # type: ignore[assignment]  # a port like a cable
        with Installation.open(self.home, secret=None, now=self.tick, opener=bench) as opened:  # type: ignore[arg-type]
            if self._shares:
                opened.__dict__["catalogue"] = self.start.catalogue
            self.opened = opened
            yield opened

    def attempt(
        self, command: Callable[..., Report], trouble: Trouble | None = None, **options: Any
    ) -> Ended:
        """Run a command to whatever end; Broken for an end that the contract does not know."""
        self.wire.begin(trouble)
        self.touched = self.touch_marks()
        before = list(self.flash.erases)
        ended = self._end_of(partial(self._run, command, **options))
        worn = max(now - then for now, then in zip(self.flash.erases, before, strict=True))
        self.wear = max(self.wear, worn)
        if worn > self.erases_allowed:
            raise Broken(Promise.WEAR, f"one page was erased {worn} times in one command")
        return ended

    def touch_marks(self) -> tuple[object, ...]:
        """What a command that "changed nothing" has left as it was: act, receipts, both slots."""
        state = self.board.core.state
        slots = bytes(self.flash._buffer[min(SLOT_ADDRESS.values()) :][: 2 * SLOT_SIZE])
        return state.act.intent_hash, state.act.phase, state.head, state.boot.active, slots

    def _run(self, command: Callable[..., Report], **options: Any) -> Report:
        with self.installation() as inst:
            return command(inst, Target(PORT), self.progress, **options)

    def _end_of(self, run: Callable[[], Report]) -> Ended:
        try:
            report = run()
        except Killed as error:
            return Ended("killed", error)
        except Hang as error:
            raise Broken(Promise.HANG, str(error)) from error
        except KeyboardInterrupt as error:
            return Ended("interrupted", error)
        except SvcportError as error:
            return Ended("killed" if self.wire.dead else str(error.outcome), error)
        except Exception as error:
            if self.wire.dead:  # it came from what was torn down under a killed host
                return Ended("killed", error)
            raise Broken(Promise.DECLARED, f"{type(error).__name__}: {error}") from error
        if self.wire.dead:
            return Ended("killed")
        return Ended(str(report.outcome), None, report)

    def go(self, trouble: Trouble | None = None, **options: Any) -> Ended:
        """The flow's own command."""
        flow = self.start.flow
        command = {"restore": commands.restore, "rollback": commands.rollback}[flow.command]
        if flow.image is not None:
            options["image"] = self.start.image_file(flow.image)
        return self.attempt(command, trouble, **options)

    def reconcile(self) -> Ended:
        """`svcport reconcile`."""
        return self.attempt(commands.reconcile)

    def die(self) -> None:
        """SIGKILL here: the home stays as it is at this moment, the port is let go.

        A ledger that is being opened beside is let finish: a copy of it in the making would be of
        several moments. Kills at its own writes are cases of their own, in its own thread.
        """
        for thread in threading.enumerate():
            if thread.name == "records" and thread is not threading.current_thread():
                thread.join(OPENING_S)
        self.wire.dead = True
        left = Home(self.room / f"home{next(_numbers)}")
        shutil.copytree(self.home.root, left.root, symlinks=True)
        for name in ("ledger.sqlite", "station.pem"):
            kept, copied = (home.ledger / name for home in (self.home, left))
            if kept.exists() != copied.exists():
                self.flaw = f"{copied} is not what the killed host left"
        self.home = left


def _copy_home(source: Path, to: Path, *, whole: bool) -> None:
    to.mkdir(parents=True)
    for entry in source.iterdir():
        if (
            entry.name in SHARED and not whole and hasattr(os, "fork")
        ):  # elsewhere links need a right
            (to / entry.name).symlink_to(entry, target_is_directory=True)
        elif entry.is_dir():
            shutil.copytree(entry, to / entry.name)
        else:
            shutil.copy2(entry, to / entry.name)


@contextmanager
def same_dice(name: str) -> Iterator[None]:
    """Every random byte that the host takes follows from the case's name."""
    real, os.urandom = os.urandom, random.Random(name).randbytes
    try:
        yield
    finally:
        os.urandom = real
