"""The units of one image against one base, made once for every lock of a bench.

Encoding runs ahead of the wire in a thread of its own, from the moment when image and base are
known; a worker that asks for a unit that is not there yet makes it itself.
"""

from __future__ import annotations

import threading
from functools import lru_cache
from typing import Final

from images import Unit, UnitEncoder, sector_count

_KEPT: Final = 8
"""Pairs of image and base whose units are kept; a bench mostly has one or two."""

_CHOOSING: Final = threading.Lock()


class Encoding:
    """All units of one image against one base; shared by threads."""

    def __init__(self, image: bytes, base: bytes) -> None:
        self._encoder = UnitEncoder(image, base)
        self._sectors = range(sector_count(len(image)))
        self._units: dict[int, Unit] = {}
        self._making = threading.Lock()
        self._started = False

    def start(self) -> None:
        """Begin to encode in the background, once."""
        with self._making:
            if self._started:
                return
            self._started = True
        # A daemon, so that a command which is refused meanwhile need not wait for it.
        threading.Thread(target=self._run, name="svcport-encoding", daemon=True).start()

    def unit(self, sector: int) -> Unit:
        """The unit of a sector; ValueError if the image has no such sector."""
        unit = self._units.get(sector)
        if unit is not None:
            return unit
        with self._making:
            # Whoever had the lock before may have made it.
            if sector not in self._units:
                self._units[sector] = self._encoder.unit(sector)
            return self._units[sector]

    def raw(self, sector: int) -> Unit:
        """The unit of a sector as it is, which depends on nothing that the lock holds."""
        return self._encoder.raw(sector)

    def _run(self) -> None:
        for sector in self._sectors:
            self.unit(sector)


def encoding_of(image: bytes, base: bytes) -> Encoding:
    """The one encoding of that pair in this process.

    Args:
        image: `VerifiedImage.data`.
        base: the same of the image in the slot that is not written; empty: none.
    """
    with _CHOOSING:
        return _encoding(image, base)


@lru_cache(maxsize=_KEPT)
def _encoding(image: bytes, base: bytes) -> Encoding:
    return Encoding(image, base)
