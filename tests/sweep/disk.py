"""Numbers every write to the disk under a home, SQLite's own among them, and fails or stops there.

SQLite writes from C. A VFS of ours stands before the one of the platform and passes everything on
but the write that a case names. The other writes of a home go through `mkstemp`, `fsync` and
`replace`, which are stood before likewise.
"""

from __future__ import annotations

import _sqlite3
import ctypes
import errno
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import Any, Final

from sweep.wire import Killed

_OPEN_READONLY: Final = 1
_OPEN_CHANGING: Final = 0x2 | 0x4
_FULL: Final = 13
_IOERR: Final = 10
_DETAIL: Final = {"write": 3, "sync": 4, "truncate": 6, "delete": 10}


class Fault(Enum):
    """What becomes of the write that a case names, and of later ones.

    KILL stops the host before it; TORN after half of it. FULL and READ_ONLY last as long as the
    command, BROKEN hits one write.
    """

    KILL = "kill"
    TORN = "torn"
    FULL = "enospc"
    BROKEN = "eio"
    READ_ONLY = "erofs"


_ERRNO: Final = {
    Fault.FULL: errno.ENOSPC,
    Fault.BROKEN: errno.EIO,
    Fault.READ_ONLY: errno.EROFS,
}


class Disk:
    """The one disk of this process.

    Attributes:
        writes: so far in this `watching`.
    """

    def __init__(self) -> None:
        self.writes = 0
        self._fault: Fault | None = None
        self._at = 0
        self._die: Callable[[], None] | None = None
        self._watched = False
        self._dead = False

    @contextmanager
    def watching(
        self, fault: Fault | None = None, at: int = 0, die: Callable[[], None] | None = None
    ) -> Iterator[None]:
        """Count writes from 1; `fault` strikes at number `at`; `die` is told of a kill."""
        _install()
        self.writes, self._fault, self._at, self._die = 0, fault, at, die
        self._watched, self._dead = True, False
        try:
            with _files(self):
                yield
        finally:
            self._watched, self._fault = False, None

    def next(self) -> Fault | None:
        """The next write: what becomes of it."""
        if not self._watched or self._dead:
            return None
        self.writes += 1
        fault = self._fault
        if fault is None or self.writes < self._at:
            return None
        lasts = fault in (Fault.FULL, Fault.READ_ONLY)
        return fault if lasts or self.writes == self._at else None

    def kill(self) -> None:
        """The host is gone: the home is kept as it is now."""
        self._dead = True
        if self._die is not None:
            self._die()

    @property
    def is_read_only(self) -> bool:
        """Whether files can only be opened to read by now."""
        return self._fault is Fault.READ_ONLY and self._watched and self.writes >= self._at


DISK: Final = Disk()


@contextmanager
def _files(disk: Disk) -> Iterator[None]:
    def guarded(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            fault = disk.next()
            if fault is None:
                return real(*arguments, **options)
            if fault in _ERRNO:
                raise OSError(_ERRNO[fault], os.strerror(_ERRNO[fault]))
            disk.kill()
            raise Killed

        return call

    places: list[tuple[Any, str]] = [(tempfile, "mkstemp"), (os, "fsync"), (Path, "replace")]
    before = [(place, name, getattr(place, name)) for place, name in places]
    for place, name, real in before:
        setattr(place, name, guarded(real))
    try:
        yield
    finally:
        for place, name, real in before:
            setattr(place, name, real)


class _Methods(ctypes.Structure):
    _fields_ = (("version", ctypes.c_int), ("calls", ctypes.c_void_p * 18))


class _File(ctypes.Structure):
    _fields_ = (("methods", ctypes.POINTER(_Methods)),)


class _Vfs(ctypes.Structure):
    _fields_ = (
        ("version", ctypes.c_int),
        ("file_size", ctypes.c_int),
        ("longest_path", ctypes.c_int),
        ("following", ctypes.c_void_p),
        ("name", ctypes.c_char_p),
        ("data", ctypes.c_void_p),
        ("calls", ctypes.c_void_p * 16),
    )


_FILE = ctypes.POINTER(_File)
_WRITE = ctypes.CFUNCTYPE(ctypes.c_int, _FILE, ctypes.c_void_p, ctypes.c_int, ctypes.c_int64)
_TRUNCATE = ctypes.CFUNCTYPE(ctypes.c_int, _FILE, ctypes.c_int64)
_SYNC = ctypes.CFUNCTYPE(ctypes.c_int, _FILE, ctypes.c_int)
_OPEN = ctypes.CFUNCTYPE(
    ctypes.c_int,
    ctypes.POINTER(_Vfs),
    ctypes.c_void_p,
    _FILE,
    ctypes.c_int,
    ctypes.POINTER(ctypes.c_int),
)
_DELETE = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(_Vfs), ctypes.c_char_p, ctypes.c_int)

_kept: list[Any] = []  # what C holds pointers to


def is_available() -> bool:
    """Whether this Python's SQLite can be reached, so that its writes can be numbered."""
    try:
        library = ctypes.CDLL(_sqlite3.__file__)
        return bool(library.sqlite3_vfs_find and library.sqlite3_vfs_register)
    except (OSError, AttributeError):
        return False


def _install() -> None:
    """Register the VFS as the default, once a process."""
    if _kept:
        return
    library = ctypes.CDLL(_sqlite3.__file__)
    library.sqlite3_vfs_find.restype = ctypes.POINTER(_Vfs)
    below = library.sqlite3_vfs_find(None)
    ours = _Vfs()
    ctypes.memmove(ctypes.byref(ours), below, ctypes.sizeof(_Vfs))
    ours.name = b"sweep"
    real_open, real_delete = _OPEN(below[0].calls[0]), _DELETE(below[0].calls[1])
    tables: dict[int, _Methods] = {}

    def open_file(_vfs: Any, name: int, file: Any, flags: int, out: Any) -> int:
        if DISK.is_read_only and flags & _OPEN_CHANGING:
            flags = flags & ~_OPEN_CHANGING | _OPEN_READONLY
        code = real_open(below, name, file, flags, out)
        if code == 0 and file[0].methods:
            address = ctypes.addressof(file[0].methods[0])
            if address not in tables:
                tables[address] = _standing_before(file[0].methods[0])
            file[0].methods = ctypes.pointer(tables[address])
        return code

    def delete(_vfs: Any, name: bytes, sync: int) -> int:
        code = _code("delete")
        return real_delete(below, name, sync) if code is None else code

    calls = [_OPEN(open_file), _DELETE(delete)]
    for place, call in enumerate(calls):
        ours.calls[place] = ctypes.cast(call, ctypes.c_void_p).value
    _kept.extend([library, ours, below, real_open, real_delete, tables, *calls])
    library.sqlite3_vfs_register(ctypes.byref(ours), 1)


def _standing_before(methods: _Methods) -> _Methods:
    """A table of file methods that passes on to `methods`."""
    write, truncate = _WRITE(methods.calls[2]), _TRUNCATE(methods.calls[3])
    sync = _SYNC(methods.calls[4])

    def our_write(file: Any, data: int, size: int, offset: int) -> int:
        fault = DISK.next()
        if fault is Fault.TORN:
            write(file, data, size // 2, offset)
        if fault is None:
            return write(file, data, size, offset)
        return _struck(fault, "write")

    def our_truncate(file: Any, size: int) -> int:
        code = _code("truncate")
        return truncate(file, size) if code is None else code

    def our_sync(file: Any, flags: int) -> int:
        code = _code("sync")
        return sync(file, flags) if code is None else code

    ours = _Methods()
    ctypes.memmove(ctypes.byref(ours), ctypes.byref(methods), ctypes.sizeof(_Methods))
    calls = [_WRITE(our_write), _TRUNCATE(our_truncate), _SYNC(our_sync)]
    for place, call in zip((2, 3, 4), calls, strict=True):
        ours.calls[place] = ctypes.cast(call, ctypes.c_void_p).value
    _kept.extend([ours, write, truncate, sync, *calls])
    return ours


def _code(what: str) -> int | None:
    fault = DISK.next()
    return None if fault is None else _struck(fault, what)


def _struck(fault: Fault, what: str) -> int:
    """What SQLite's own VFS says of it; a killed host hears nothing any more."""
    if fault in (Fault.KILL, Fault.TORN):
        DISK.kill()
    elif fault is Fault.FULL and what == "write":
        return _FULL
    return _IOERR | _DETAIL[what] << 8
