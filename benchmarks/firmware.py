"""The firmware that the benchmarks move: real Zephyr builds as payloads, pairs of them, and noise.

A payload is what stands behind an image's header, without header and TLVs: `svcport lab init
--payload` signs it, and so does `images.sign`. Real builds come out of the source package that the
tests fetch too (tests/realfirmware.py), and are never committed.
"""

from __future__ import annotations

import functools
import sys
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

import pytest

from images import Image

sys.path.append(str(Path(__file__).parents[1] / "tests"))

import realfirmware

INCOMPRESSIBLE_SIZE: Final = 256 * 1024

_DUTS: Final = Path("examples") / "duts"
_DK: Final = _DUTS / "nrf52840dk_nrf52840"
_NEW: Final = _DK / "ble" / "a_smp_dut.bin"
"""A Zephyr application with Bluetooth for nRF52840, of 225 kB."""


class NoFirmwareError(Exception):
    """The real builds are not here and could not be fetched."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two payloads: what a lock runs, and what it shall run."""

    base: bytes
    new: bytes


def sources() -> Path:
    """The folder of the package with the real builds; NoFirmwareError if it cannot be had."""
    try:
        return realfirmware.smpclient_sdist()
    except pytest.skip.Exception as skipped:
        raise NoFirmwareError(str(skipped)) from skipped


def firmware() -> bytes:
    """Real firmware, about 225 kB."""
    return _payload(_NEW)


def sibling_pair() -> Pair:
    """The same application built for another board."""
    return Pair(_payload(_DUTS / "adafruit_feather_nrf52840" / "ble" / "a_smp_dut.bin"), firmware())


def near_pair() -> Pair:
    """The same sources with another constant."""
    return Pair(_payload(_DK / "ble" / "b_smp_dut.bin"), firmware())


def older_chip_pair() -> Pair:
    """The same application built for an older chip of the family."""
    return Pair(_payload(_DUTS / "nrf52dk_nrf52832" / "ble" / "a_smp_dut.bin"), firmware())


def small_pair() -> Pair:
    """An application of 75 kB with buffers of other sizes."""
    usb = _DK / "usb"
    return Pair(
        _payload(usb / "a_smp_dut_128_2_256.bin"), _payload(usb / "a_smp_dut_512_8_4096.bin")
    )


def incompressible(seed: int, size: int = INCOMPRESSIBLE_SIZE) -> bytes:
    """Bytes that nothing shortens and that no other seed shares."""
    return Random(f"svcport-benchmark/{seed}").randbytes(size)


@functools.cache
def _payload(path: Path) -> bytes:
    return Image.parse((sources() / path).read_bytes()).payload
