"""A lab's folder: what lies where, and who may use a lock of it.

`vendor/` is what `svcport issuer` works with, and has `lab.json` with seed and condition besides;
`images/` has `<model>-<version>.bin`; `technician/` is what `svcport setup --from` takes;
`locks/<serial>/` has `factory.json` and `flash.bin`, and `in.use`, locked while it is served.
"""

from __future__ import annotations

import contextlib
import mmap
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from protocol.errors import ProtocolError
from svcport.errors import FailedError, Reason, RefusedError
from svcport.home import storage_error
from svcport.simulator.factory import Factory
from svcport.simulator.flash import FLASH_SIZE

_INIT_HINT: Final = "make one with 'svcport lab init DIR'"


@dataclass(frozen=True, slots=True)
class LabFolder:
    """The names in a lab's folder."""

    root: Path

    @property
    def vendor(self) -> Path:
        """Private keys of the training vendor."""
        return self.root / "vendor"

    @property
    def images(self) -> Path:
        """Its images as files."""
        return self.root / "images"

    @property
    def technician(self) -> Path:
        """The technician's bundle."""
        return self.root / "technician"

    @property
    def locks(self) -> Path:
        """One folder for each lock."""
        return self.root / "locks"

    @property
    def serials(self) -> tuple[str, ...]:
        """Every lock, sorted; RefusedError (`usage`) if the folder is no lab."""
        found = sorted(path.parent.name for path in self.locks.glob("*/factory.json"))
        if not found:
            raise RefusedError(Reason.USAGE, f"{self.root} is no lab", hint=_INIT_HINT)
        return tuple(found)

    def lock(self, serial: str) -> LockFolder:
        """One lock's folder; RefusedError (`usage`) if there is none."""
        known = self.serials
        if serial not in known:
            raise RefusedError(
                Reason.USAGE, f"no lock {serial} in this lab, wanted one of {', '.join(known)}"
            )
        return LockFolder(self.locks / serial)


@dataclass(frozen=True, slots=True)
class LockFolder:
    """The files of one simulated lock."""

    root: Path

    @property
    def factory_file(self) -> Path:
        """What was burned in, private keys included."""
        return self.root / "factory.json"

    @property
    def flash_file(self) -> Path:
        """The content of its flash, all that changes."""
        return self.root / "flash.bin"

    def factory(self) -> Factory:
        """Read what was burned in; FailedError (`storage`) if the file is damaged."""
        try:
            return Factory.from_json(self.factory_file.read_text("utf-8"))
        except OSError as error:
            raise storage_error(self.factory_file, error) from error
        except (ValueError, ProtocolError) as error:
            raise self.damaged(self.factory_file, error) from error

    def damaged(self, path: Path, why: Exception) -> FailedError:
        """What to say of a file of this lock that does not make sense (`storage`)."""
        return FailedError(Reason.STORAGE, f"{path} is damaged: {why}", hint=_INIT_HINT)

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        """Keep every other process off this lock; a process that dies frees it.

        An exclusive transaction on an empty SQLite file: the one lock of the standard library that
        is the same on every platform.

        Raises:
            FailedError: another process serves the lock (`port-busy`), or the folder cannot be
                written (`storage`).
        """
        path = self.root / "in.use"
        try:
            connection = sqlite3.connect(path, timeout=0, isolation_level=None)
        except sqlite3.Error as error:
            raise FailedError(Reason.STORAGE, f"{path}: {error}") from error
        with contextlib.closing(connection):
            try:
                connection.execute("BEGIN EXCLUSIVE")
            except sqlite3.Error as error:
                raise _unusable(path, error) from error
            yield

    @contextlib.contextmanager
    def mapped_flash(self) -> Iterator[mmap.mmap]:
        """The flash as memory: what was written there survives any death of the process.

        Raises:
            FailedError: the file is missing or of another size (`storage`).
        """
        try:
            with self.flash_file.open("r+b") as file:
                size = file.seek(0, 2)
                if size != FLASH_SIZE:
                    raise FailedError(
                        Reason.STORAGE,
                        f"{self.flash_file} has {size} bytes, wanted {FLASH_SIZE}",
                        hint=_INIT_HINT,
                    )
                mapped = mmap.mmap(file.fileno(), FLASH_SIZE)
        except OSError as error:
            raise storage_error(self.flash_file, error) from error
        with contextlib.closing(mapped):
            yield mapped
            mapped.flush()


def _unusable(path: Path, error: sqlite3.Error) -> FailedError:
    if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY:
        return FailedError(
            Reason.PORT_BUSY,
            f"another process serves lock {path.parent.name}",
            hint="stop the other 'svcport lab run', or name other locks with --lock",
        )
    return FailedError(Reason.STORAGE, f"{path}: {error}")
