"""Real firmware for tests: Zephyr and MCUboot builds in the source package of smpclient 7.3.0.

Fetched once with pip into the user's cache folder, checked against a pinned hash, never committed.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import platformdirs
import pytest

NAME: Final = "smpclient-7.3.0"
SHA256: Final = "86aa4bc1c621805d97f449793a4077f049aa88a98a1e916bf59423d072bd2a3b"
FETCH_TIMEOUT_S: Final = 50
"""Below the time limit of a test, so that a dead network is a skip and not a failure."""

LOCK_POLL_S: Final = 0.2


def smpclient_sdist() -> Path:
    """Give the folder of the extracted source package; skip the test if it cannot be fetched.

    Files of use: `examples/duts/**` (signed images of 75 to 242 kB, as .bin and .hex),
    `tests/fixtures/**` (hash-only images, QEMU and native_sim builds).
    """
    folder = _fetched()
    if folder is None:
        pytest.skip(f"{NAME} is not in the cache and could not be fetched with pip")
    return folder


@functools.cache
def _fetched() -> Path | None:
    cache = Path(platformdirs.user_cache_dir("svcport-tests"))
    cache.mkdir(parents=True, exist_ok=True)
    folder = cache / f"{NAME}-{SHA256[:8]}"
    # The folder gets its name when it is complete, so that it is complete if it is there.
    if folder.is_dir():
        return folder
    with _only_one(cache / f"{NAME}.lock"):
        return folder if folder.is_dir() or _fetch_into(folder) else None


def _fetch_into(folder: Path) -> bool:
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        archive = _download(Path(scratch))
        if archive is None:
            return False
        digest = hashlib.sha256(archive.read_bytes()).hexdigest()
        assert digest == SHA256, f"{archive.name} hashes to {digest}, not to what is pinned"
        with tarfile.open(archive) as tar:
            tar.extractall(scratch, filter="data")
        (Path(scratch) / NAME).rename(folder)
    return True


def _download(into: Path) -> Path | None:
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    options = ["--no-deps", "--no-binary", ":all:", "--retries", "1"]
    # pip builds the metadata after the download; where only that fails, the archive may be there.
    with contextlib.suppress(subprocess.SubprocessError):
        subprocess.run(
            [*pip, *options, "--timeout", "10", "--dest", str(into), NAME.replace("-", "==")],
            check=True,
            capture_output=True,
            timeout=FETCH_TIMEOUT_S,
        )
    return next(into.glob(f"{NAME}.tar.gz"), None)


@contextlib.contextmanager
def _only_one(lock: Path) -> Iterator[None]:
    """Hold `lock` among test workers; one that a killed run left behind is taken over."""
    deadline = time.monotonic() + FETCH_TIMEOUT_S
    while True:
        try:
            os.close(os.open(lock, os.O_CREAT | os.O_EXCL))
            break
        except FileExistsError:
            if time.monotonic() > deadline:
                break
            time.sleep(LOCK_POLL_S)
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)
