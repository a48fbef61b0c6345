"""The builds that the devices run, from smpclient's source package, each checked by its sum."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path
from typing import Final

from realfirmware import smpclient_sdist

MPS2_FILES: Final = {
    "console": "mps2_an385_serial_recovery",
    "raw": "mps2_an385_serial_recovery_raw",
    "cobs": "mps2_an385_serial_recovery_raw_cobs",
    **{f"buf{n}": f"mps2_an385_serial_recovery_buf{n}" for n in (400, 512, 1024, 2048)},
}
"""Builds of the mps2 board and how their files' names begin."""


def fixtures() -> Path:
    """The folder of the builds; the test is skipped if it cannot be fetched."""
    return smpclient_sdist() / "tests/fixtures/smp-server"


def firmware(ending: str) -> Path:
    """The one build whose name ends so, such as `native_sim_serial.exe`.

    AssertionError if there is not exactly one, or its SHA-256 is not the one in SHA256SUMS.
    """
    found = [path for path in fixtures().iterdir() if path.name.endswith(f"_{ending}")]
    assert len(found) == 1, f"{len(found)} builds end in {ending}: {found}"
    return _checked(found[0])


@functools.cache
def _checked(path: Path) -> Path:
    rows = (line.split() for line in (path.parent / "SHA256SUMS").read_text().splitlines())
    wanted = {name: digest for digest, name in rows}[path.name]
    seen = hashlib.sha256(path.read_bytes()).hexdigest()
    assert seen == wanted, f"{path.name} has SHA-256 {seen}, SHA256SUMS wants {wanted}"
    return path
