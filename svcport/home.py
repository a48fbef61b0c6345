"""Where one installation keeps what it knows: names of folders, and how files are written."""

from __future__ import annotations

import contextlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from svcport.errors import Reason, RecordsError

ENVIRONMENT = "SVCPORT_HOME"
READ_LIMIT = 1 << 20
"""Bytes of the largest file that `read_file` reads: keys, marks and the like."""


@dataclass(frozen=True, slots=True)
class Home:
    """One installation's folder; several processes may share it."""

    root: Path

    @classmethod
    def default(cls) -> Home:
        """`SVCPORT_HOME`, else the platform's folder for user data."""
        return cls(Path(os.environ.get(ENVIRONMENT) or platformdirs.user_data_path("svcport")))

    @property
    def trust(self) -> Path:
        """Public halves: fleet roots, manufacturer, image keys, catalogue root, newest EPOCH."""
        return self.root / "trust"

    @property
    def credential(self) -> Path:
        """The technician's certificate, its issuer's, and the key or where the key is."""
        return self.root / "credential"

    @property
    def tickets(self) -> Path:
        """One file a ticket: the ticket and the issuer certificate that signed it."""
        return self.root / "tickets"

    @property
    def catalogue(self) -> Path:
        """Trusted metadata and the last synced copy of the vendor's catalogue."""
        return self.root / "catalogue"

    @property
    def ledger(self) -> Path:
        """The ledger's database, the station key and the damage mark."""
        return self.root / "ledger"

    @property
    def witness(self) -> Path:
        """This station as witness of other logs: its witness key, and what it saw of each."""
        return self.root / "witness"

    @property
    def bundles(self) -> Path:
        """What was kept of failures, for a bug report; a bounded number of files."""
        return self.root / "bundles"

    @property
    def is_set_up(self) -> bool:
        """Whether `setup` has completed here: the credential is imported last.

        Raises:
            RecordsError: the folder may not be read (`storage`).
        """
        path = self.credential / "technician.svc"
        try:
            return path.is_file()
        except OSError as error:
            raise storage_error(path, error) from error


def write_whole(path: Path, data: bytes, *, private: bool = False) -> None:
    """Replace `path` by `data` at once and durably: temporary name, fsync, rename.

    Args:
        path: the file to replace; its folder is made.
        data: its whole new content.
        private: readable by the owner only.

    Raises:
        RecordsError: the disk is full, read-only or fails (reason `storage`).
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise storage_error(path, error) from error
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if not private:
            Path(name).chmod(0o644)
        Path(name).replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise storage_error(path, error) from error


def read_file(path: Path) -> bytes:
    """The content of a small file of the home, cut after 1 MiB; it may have become a device.

    Raises:
        RecordsError: it cannot be read (`storage`).
    """
    try:
        with path.open("rb") as file:
            return file.read(READ_LIMIT)
    except OSError as error:
        raise storage_error(path, error) from error


def storage_error(path: Path, error: OSError) -> RecordsError:
    """What to say when the disk under the home fails."""
    return RecordsError(
        Reason.STORAGE,
        f"{path}: {error.strerror or error}",
        hint="free space on the disk, or give a writable folder with --home",
    )
