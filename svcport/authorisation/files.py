"""Reading the small files of trust, credential and tickets, from a home or from a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from protocol.errors import ProtocolError
from protocol.sealed import Sealed
from svcport.errors import Reason, RefusedError
from svcport.home import storage_error, write_whole

FILE_LIMIT: Final = 1 << 20
"""Most bytes of any of these files; a catalogue root with many keys has some tens of kB."""

SETUP_HINT: Final = "run 'svcport setup --from DIR' with the folder that the vendor gave you"


def not_set_up(message: str) -> RefusedError:
    """The refusal for a missing or damaged piece of trust or credential."""
    return RefusedError(Reason.NOT_SET_UP, message, hint=SETUP_HINT)


def read_small(path: Path, limit: int = FILE_LIMIT) -> bytes:
    """All of a file.

    Raises:
        RefusedError: there is no such file, or it has more than `limit` bytes (`not-set-up`).
        RecordsError: it cannot be read (`storage`).
    """
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise not_set_up(f"{path} is missing") from error
    except OSError as error:
        raise storage_error(path, error) from error
    if len(data) > limit:
        raise not_set_up(f"{path} has more than the {limit} bytes such a file may have")
    return data


def read_sealed(path: Path) -> Sealed:
    """One sealed object that fills a file; RefusedError (`not-set-up`) if it is none."""
    data = read_small(path)
    try:
        return Sealed.parse(data)
    except ProtocolError as error:
        raise not_set_up(f"{path} is damaged: {error}") from error


def write_changed(path: Path, data: bytes, *, private: bool = False) -> None:
    """Write a file whole unless it already says just that; RecordsError as `write_whole`.

    A private file is always written, because its mode may be what is wrong.
    """
    try:
        same = not private and path.is_file() and path.read_bytes() == data
    except OSError:
        same = False  # unreadable: replacing it is the cure
    if not same:
        write_whole(path, data, private=private)


def remove(path: Path) -> None:
    """Remove a file if it is there; RecordsError (`storage`) if that fails."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise storage_error(path, error) from error
