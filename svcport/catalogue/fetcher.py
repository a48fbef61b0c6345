"""A folder in the place of a web server: python-tuf reads a USB stick or a mirror through it.

Nothing outside the folder can be reached, whatever a URL or a symbolic link in it says.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tuf.api.exceptions import DownloadError, DownloadHTTPError
from tuf.ngclient.fetcher import FetcherInterface

SCHEME: Final = "dir:///"
CHUNK_SIZE: Final = 64 * 1024
_NOT_FOUND: Final = 404
_NAME: Final = re.compile(r"[A-Za-z0-9_+-][A-Za-z0-9._+-]*", re.ASCII)
"""One part of a path. No leading dot, no separator, colon or percent sign: a drive letter, `..`, a
backslash and an encoded slash all fail here rather than in a rule of their own."""


class DirFetcher(FetcherInterface):
    """Serve `dir:///metadata/...` and `dir:///targets/...` from the folder `root`."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def _fetch(self, url: str) -> Iterator[bytes]:
        """Yield the file in pieces of 64 KiB.

        Raises:
            DownloadHTTPError: 404, no such file; the client asks for roots until it meets this.
            DownloadError: the path leaves the folder, is no plain file, or cannot be read.
        """
        path = self._inside(url)
        try:
            with path.open("rb") as file:
                while chunk := file.read(CHUNK_SIZE):
                    yield chunk
        except OSError as e:
            raise DownloadError(f"cannot read {url.removeprefix(SCHEME)}: {e.strerror}") from e

    def _inside(self, url: str) -> Path:
        name = url.removeprefix(SCHEME)
        parts = name.split("/")
        if name == url or not all(_NAME.fullmatch(part) for part in parts):
            raise DownloadError(f"{url!r:.100} is no path inside the catalogue")
        try:
            root = self._root.resolve(strict=True)
            path = root.joinpath(*parts).resolve(strict=True)
            mode = path.stat().st_mode
        except (FileNotFoundError, NotADirectoryError) as e:
            raise DownloadHTTPError(f"no file {name}", _NOT_FOUND) from e
        except (
            OSError,
            RuntimeError,
        ) as e:  # RuntimeError: a loop of symbolic links, before Python 3.13
            raise DownloadError(f"cannot reach {name}: {e}") from e
        if not path.is_relative_to(root) or not stat.S_ISREG(mode):
            raise DownloadError(f"{name} leaves the catalogue's folder, or is no plain file")
        return path
