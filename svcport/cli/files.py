"""Files that a command is asked to write: outside the home, so that a failure is not the home's."""

from __future__ import annotations

from pathlib import Path

from svcport.errors import FailedError, RecordsError
from svcport.home import storage_error, write_whole


def write_output(path: Path, data: bytes, *, private: bool = False) -> None:
    """Write all of `data` or nothing; FailedError (`storage`) if it cannot be written.

    Args:
        path: replaced if it is there; what is no file, such as /dev/stdout, is written to.
        data: its whole content.
        private: readable by the owner only.
    """
    try:
        if path.exists() and not path.is_file():
            _write_into(path, data)
        else:
            write_whole(path, data, private=private)
    except RecordsError as error:
        raise FailedError(error.reason, error.message, hint="choose another place") from error


def _write_into(path: Path, data: bytes) -> None:
    """Write to a pipe or device; to put a file in its place would take it away from everybody."""
    try:
        with path.open("wb") as stream:
            stream.write(data)
    except OSError as error:
        raise storage_error(path, error) from error
