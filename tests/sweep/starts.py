"""The states from which cases begin: a lock's flash and a technician's home, made once a process.

Every image is 24 KiB, so that every flash operation of a whole restore can be cut.
"""

from __future__ import annotations

import atexit
import functools
import itertools
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from fieldkit import NOW, AtStep, Field, LoudSilence, make_field

from images import Image
from protocol.values import Phase, Slot
from svcport.catalogue.client import Catalogue
from svcport.errors import SvcportError
from svcport.lab.folder import LabFolder
from svcport.simulator.factory import Factory
from svcport.simulator.flash import NVM_ADDRESS, PAGE_SIZE, SLOT_ADDRESS, NorFlash, PowerCut
from svcport.simulator.nvm import Nvm
from svcport.simulator.state import LockState, Trial

IMAGE_BYTES: Final = 24 * 1024
PAYLOAD_BYTES: Final = 23_858
"""Of code: with its envelope, the release that the catalogue approves fills 24 KiB."""

SHARED: Final = ("catalogue", "credential", "tickets", "trust")
"""Folders of a home that a command only reads once it has seen the newest EPOCH."""


@dataclass(frozen=True)
class Flow:
    """One way through the product.

    Attributes:
        made: how the lock came to be as it is.
        command: restore or rollback.
        goal: the version that must run at the end.
        image: the version given as a file; None: what the catalogue approves.
    """

    name: str
    made: str
    command: str
    goal: str
    image: str | None = None


FLOWS: Final = {
    flow.name: flow
    for flow in (
        Flow("restore", "update", "restore", "2.4.1"),
        Flow("dead", "dead", "restore", "2.4.1"),
        Flow("raise", "update", "restore", "2.5.0", "2.5.0"),
        Flow("rollback", "update", "rollback", "2.3.1"),
        Flow("confirm", "trial", "restore", "2.4.1"),
        Flow("confirm-raise", "trial-raise", "restore", "2.5.0", "2.5.0"),
        Flow("confirm-rollback", "trial-back", "rollback", "2.3.1"),
        Flow("resume", "partial", "restore", "2.4.1"),
        Flow("resume-again", "partial-again", "restore", "2.4.1"),
        Flow("resume-foreign", "interrupted", "restore", "2.4.1"),
        Flow("first", "first", "restore", "2.4.1"),
    )
}


@dataclass(frozen=True)
class Start:
    """Where a flow's cases begin.

    Attributes:
        home: read and copied, never worked in.
        images: the vendor's, by version; nothing else may ever boot.
        state: of the lock, as its flash holds it.
    """

    flow: Flow
    folder: LabFolder
    factory: Factory
    flash: bytes
    home: Path
    catalogue: Catalogue
    images: dict[str, bytes]
    digests: dict[str, bytes]
    state: LockState

    def image_file(self, version: str) -> Path:
        return self.folder.images / f"LX-200-{version}.bin"

    def slot(self, slot: Slot, size: int) -> bytes:
        return self.flash[SLOT_ADDRESS[slot] : SLOT_ADDRESS[slot] + size]

    @property
    def runs(self) -> str | None:
        """Version of the active slot's image; None for a lock that is dead."""
        return self.holds(self.flash, self.state.boot.active)

    def holds(self, flash: bytes, slot: Slot) -> str | None:
        """Version of the whole image in a slot."""
        at = SLOT_ADDRESS[slot]
        for version, data in self.images.items():
            if flash[at : at + len(data)] == data:
                return version
        return None


@functools.cache
def start(flow_name: str) -> Start:
    """The start of a flow."""
    flow = FLOWS[flow_name]
    flash, home, folder = _made(flow.made)
    factory = folder.lock(folder.serials[0]).factory()
    names = sorted(folder.images.glob("LX-200-*.bin"))
    images = {path.stem.removeprefix("LX-200-"): path.read_bytes() for path in names}
    return Start(
        flow=flow,
        folder=folder,
        factory=factory,
        flash=flash,
        home=home,
        catalogue=Catalogue.open(home, now=NOW, allow_expired=True),
        images=images,
        digests={version: Image.parse(data).digest for version, data in images.items()},
        state=Nvm(NorFlash(bytearray(flash))).state,
    )


@functools.cache
def room() -> Path:
    """A folder in memory where there is one, for homes that are synced all the time."""
    path = Path(tempfile.mkdtemp(prefix="svcport-sweep-", dir=memory()))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


def memory() -> Path | None:
    """Where files cost no disk; None: wherever temporary files are, which may be the same."""
    path = Path("/dev/shm")  # noqa: S108 - a folder of our own is made in it
    chosen = path in Path(tempfile.gettempdir()).parents
    return path if path.is_dir() and not chosen else None


@functools.cache
def _made(how: str) -> tuple[bytes, Path, LabFolder]:
    condition = {"dead": "dead", "interrupted": "interrupted"}.get(how, "bad-update")
    field = make_field(room() / how, condition, payload_bytes=PAYLOAD_BYTES)
    if how != "first":
        field.identify()  # makes the ledger, and takes the newest EPOCH
    quiet = _without_events(field.board._flash)
    field.board._flash._buffer[:] = quiet
    field.board.power_cycle(field.cable.clock.now())
    for act in _PRELUDES.get(how, ()):
        act(field)
    home = room() / how / "kept"
    shutil.copytree(field.home.root, home)
    return _without_events(field.board._flash), home, field.lab


def _without_events(flash: NorFlash) -> bytes:
    """The flash with an empty event log: reading a long one is most of a command's time."""
    content = bytearray(flash._buffer)
    events = slice(NVM_ADDRESS + 12 * PAGE_SIZE, NVM_ADDRESS + 14 * PAGE_SIZE)
    content[events] = b"\xff" * (2 * PAGE_SIZE)
    return bytes(content)


class _GoneError(BaseException):
    """The host is gone; the flash and the home are kept as they are then."""


def _leave() -> None:
    raise _GoneError


def _leave_at(step: str, command: str = "restore", image: str = "") -> Callable[[Field], None]:
    def act(field: Field) -> None:
        options = {"image": field.image(image)} if image else {}
        field.progress = AtStep(step, _leave)
        try:
            getattr(field, command)(**options)
        except _GoneError:
            field.progress = LoudSilence()
            return
        raise RuntimeError(f"{command} never came to {step}")

    return act


def _power_cut_after(sectors: int) -> Callable[[Field], None]:
    """A restore that ends when so many sectors were written."""

    def act(field: Field) -> None:
        flash: Any = field.board._flash
        written = itertools.count(1)

        def write(address: int, data: bytes) -> None:
            NorFlash.write(flash, address, data)
            if address < NVM_ADDRESS and next(written) > sectors:
                raise PowerCut

        flash.write = write
        try:
            field.restore()
        except SvcportError:
            del flash.write
            return
        raise RuntimeError(f"restore never wrote {sectors} sectors")

    return act


def _as_before_the_boot(field: Field) -> None:
    """Flash as it was when the trial was ordered: powering it up begins the trial."""
    nvm = Nvm(field.board._flash)
    state = nvm.state
    boot = replace(state.boot, trial=Trial.PENDING)
    nvm.write(replace(state, boot=boot, act=replace(state.act, phase=Phase.PENDING)))


_TEST: Final = "having the lock test itself"
_PRELUDES: Final[dict[str, tuple[Callable[[Field], None], ...]]] = {
    "trial": (_leave_at(_TEST), _as_before_the_boot),
    "trial-raise": (_leave_at(_TEST, image="2.5.0"), _as_before_the_boot),
    "trial-back": (_leave_at(_TEST, "rollback"), _as_before_the_boot),
    "partial": (_power_cut_after(3),),
    "partial-again": (_power_cut_after(1), _power_cut_after(2)),
}
