"""A capture file being written: for its owner alone, bounded, and never in the way of the work."""

from __future__ import annotations

import contextlib
import os
import stat
import threading
from pathlib import Path
from typing import Final

from svcport.errors import FailedError, Reason, RefusedError, SvcportError
from svcport.transport.capturefile import (
    CUT,
    FILE_LIMIT,
    MAGIC,
    OVERHEAD,
    About,
    Cut,
    Kind,
    Record,
)

BUFFER: Final = 32 * 1024
"""Bytes of records that wait for one write; less waits only while the port is being written to."""

_CUT_SIZE: Final = OVERHEAD + CUT.size


class CaptureFile:
    """A capture being written. The first record empties what an earlier capture left there.

    A disk that takes no more ends the capture, not the work: `trouble` says so then.

    Attributes:
        trouble: why the capture has stopped; empty while it goes on.
    """

    def __init__(self, path: Path, about: About, *, limit: int = FILE_LIMIT) -> None:
        """Open the file for the user alone, and change nothing in it yet.

        Args:
            path: where; a file that is there must be a capture, or empty.
            about: what the first record says.
            limit: bytes at which the capture stops and says so.

        Raises:
            RefusedError: the name is taken by something else (`usage`).
            FailedError: it cannot be written there (`storage`).
        """
        self.path = path
        self.trouble = ""
        self._about = about
        self._limit = limit
        self._turn = threading.Lock()
        self._waiting = bytearray()
        self._written = 0
        self._begun = False
        self._descriptor = _opened(path)

    def add(self, record: Record) -> None:
        """See Sink; may be called by several threads."""
        with self._turn:
            if self.trouble:
                return
            if not self._begun:
                self._begin(record.time_us)
            data = record.build()
            if self._written + len(self._waiting) + len(data) > self._limit - _CUT_SIZE:
                text = f"it has reached {self._limit} bytes"
                self._stop(Cut.LIMIT, record.port, record.time_us, text)
                return
            self._waiting += data
            if len(self._waiting) >= BUFFER:
                self._write(record.port, record.time_us)

    def flush(self) -> None:
        """See Sink."""
        if self._waiting:
            with self._turn:
                self._write()

    def close(self) -> None:
        """Write what waits, and let the file go; never raises."""
        with self._turn:
            if not self._begun and not os.fstat(self._descriptor).st_size:
                self._begin(0)  # no port was opened: a new file becomes a capture of nothing
            self._write()
            self.trouble = self.trouble or "it is closed"
            with contextlib.suppress(OSError):
                os.close(self._descriptor)

    def _begin(self, time_us: int) -> None:
        self._begun = True
        self._waiting += MAGIC + Record(Kind.ABOUT, 0, time_us, self._about.build()).build()
        with contextlib.suppress(OSError):  # an old capture's end would be damage to its reader
            os.ftruncate(self._descriptor, 0)

    def _write(self, port: int = 0, time_us: int = 0) -> None:
        """Hand over what waits; a CUT of this port and time follows if that fails."""
        if self.trouble or not self._waiting:
            return
        data, self._waiting = bytes(self._waiting), bytearray()
        try:
            _write_all(self._descriptor, data)
        except OSError as error:
            self._back_to(self._written)
            self._stop(Cut.DISK, port, time_us, error.strerror or str(error), missing=len(data))
            return
        self._written += len(data)

    def _stop(self, why: Cut, port: int, time_us: int, text: str, missing: int = 0) -> None:
        """End with a CUT where there is room for one; what waits before it goes first."""
        cut = Record(Kind.CUT, port, time_us, CUT.pack(why, missing)).build()
        try:
            _write_all(self._descriptor, bytes(self._waiting) + cut)
        except OSError:
            self._back_to(self._written)
        self._waiting.clear()
        self.trouble = text

    def _back_to(self, size: int) -> None:
        """Take half a record away again."""
        with contextlib.suppress(OSError):
            os.ftruncate(self._descriptor, size)
            os.lseek(self._descriptor, size, os.SEEK_SET)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _opened(path: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        # a pipe that nobody reads would stop the work: it is opened without waiting, and refused
        descriptor = os.open(path, flags, 0o600)
    except IsADirectoryError as error:
        raise _taken(path, "a folder") from error
    except (OSError, ValueError) as error:
        raise FailedError(
            Reason.STORAGE,
            f"{path}: {getattr(error, 'strerror', None) or error}",
            hint="choose another place for --capture; nothing was done",
        ) from error
    try:
        _check(path, descriptor)
    except SvcportError:
        os.close(descriptor)
        raise
    return descriptor


def _check(path: Path, descriptor: int) -> None:
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise _taken(path, "no file")
    start = os.read(descriptor, len(MAGIC))
    if start and start != MAGIC:
        raise _taken(path, "there and no capture, so it is left alone")
    os.lseek(descriptor, 0, os.SEEK_SET)
    if hasattr(os, "fchmod"):
        with contextlib.suppress(OSError):  # another's file, or a disk without modes
            os.fchmod(descriptor, 0o600)


def _taken(path: Path, what: str) -> RefusedError:
    return RefusedError(
        Reason.USAGE, f"--capture {path} is {what}", hint="name a file that is not there yet"
    )
