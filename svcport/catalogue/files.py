"""Files that are the old or the new, whatever happens: written whole, one writer at a time."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from svcport.catalogue.faults import CatalogueError

_REPLACE_TRIES: Final = 40
_REPLACE_PAUSE_S: Final = 0.025
LOCK_TIMEOUT_S: Final = 60.0
UNFINISHED: Final = ".new-"
"""Prefix of temporary names; one that stays behind belongs to a process that was killed."""


def read_at_most(path: Path, size: int) -> bytes:
    """The file's bytes, of one that is longer than `size` one byte more; raises OSError.

    What replaced a file of the home may be a device, or larger than this computer's memory.
    """
    with path.open("rb") as file:
        return file.read(size + 1)


def write_whole(path: Path, data: bytes) -> None:
    """Write a temporary file beside `path`, sync it, and put it in place; raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = (
        path.parent / f"{UNFINISHED}{uuid.uuid4().hex}"
    )  # made by open(), so the umask holds
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        _replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _replace(temporary: Path, path: Path) -> None:
    for _ in range(_REPLACE_TRIES):
        try:
            temporary.replace(path)
        except PermissionError:
            if os.name != "nt":
                raise
            # Windows refuses while another process reads the old file, which takes it milliseconds
            time.sleep(_REPLACE_PAUSE_S)
        else:
            return
    temporary.replace(path)


def _sync_folder(folder: Path) -> None:
    """Make the rename durable; Windows has no such call and needs none."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def exclusive(path: Path, timeout_s: float = LOCK_TIMEOUT_S) -> Iterator[None]:
    """Hold the lock file at `path`: one thread of one process at a time; a dead holder frees it.

    An exclusive transaction on an empty SQLite file: the one such lock in the standard library
    that is the same on Linux, macOS and Windows and that a killed process cannot leave behind.

    Raises:
        CatalogueError: another process holds it for longer than `timeout_s`, or the folder cannot
            be written.
    """
    try:
        connection = sqlite3.connect(path, timeout=timeout_s, isolation_level=None)
    except sqlite3.Error as e:
        raise _unlockable(path, e) from e
    with contextlib.closing(connection):
        try:
            connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.Error as e:
            raise _unlockable(path, e) from e
        yield


def _unlockable(path: Path, error: sqlite3.Error) -> CatalogueError:
    if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY:
        return CatalogueError(
            f"another process has been writing in {path.parent} for too long",
            hint="let the other svcport finish, then try again",
        )
    if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_NOTADB:
        return CatalogueError(
            f"{path} is damaged: {error}", hint=f"delete {path}, which holds nothing, and try again"
        )
    return CatalogueError(
        f"cannot write in {path.parent}: {error}", hint="make the folder writable, or choose --home"
    )
