"""Files that a command is asked to write: outside the home, so that a failure is not the home's."""

from __future__ import annotations

from pathlib import Path

from svcport.errors import FailedError, RecordsError
from svcport.home import write_whole


def write_output(path: Path, data: bytes, *, private: bool = False) -> None:
    """Write all of `data` or nothing; FailedError (`storage`) if it cannot be written.

    Args:
        path: replaced if it is there.
        data: its whole content.
        private: readable by the owner only.
    """
    try:
        write_whole(path, data, private=private)
    except RecordsError as error:
        raise FailedError(error.reason, error.message, hint="choose another place") from error
