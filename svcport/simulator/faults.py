"""What a bad line does to bytes, by seed: the faults that `lab run --fault` names, and their dice.

Knows nothing of time, boards or sockets. Where a fault strikes depends on the seed and on how many
bytes have passed, never on the pieces in which they came.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Self

COUNT_LIMIT: Final = 1 << 63
"""Most bytes or flash operations that a fault may wait for."""

_BITS: Final = 8
_RATES: Final = {"ber": "ber", "drop": "drop", "dup": "dup"}
_COUNTS: Final = {"cut-after": "cut_after", "power-cut": "power_cut"}
_RATE: Final = re.compile(r"\d{1,9}(?:\.\d{1,18})?(?:[eE][+-]?\d{1,3})?", re.ASCII)
_COUNT: Final = re.compile(r"[1-9]\d{0,18}", re.ASCII)


class FaultSpecError(ValueError):
    """A fault specification that cannot be read.

    Attributes:
        item: the part of it that is wrong.
    """

    def __init__(self, item: str, message: str) -> None:
        super().__init__(message)
        self.item = item


@dataclass(frozen=True, slots=True)
class Faults:
    """What goes wrong on one lock's line; the default is nothing.

    Attributes:
        ber: chance of each data bit to arrive flipped, 0 to 1, each way.
        drop: chance of each byte to be lost.
        dup: chance of each byte to arrive twice.
        cut_after: the connection drops, once, when so many bytes have arrived, both ways counted.
        power_cut: the lock loses power, once, at this flash operation; 1 is the first since start.
    """

    ber: float = 0.0
    drop: float = 0.0
    dup: float = 0.0
    cut_after: int | None = None
    power_cut: int | None = None

    @classmethod
    def parse(cls, spec: str) -> Self:
        """Read `ber=1e-5,drop=0.001,dup=0.001,cut-after=N,power-cut=N`, any of them in any order.

        Raises:
            FaultSpecError: an unknown or repeated name, or a value that is not what the name takes.
        """
        found: dict[str, float | int] = {}
        for item in spec.split(","):
            name, _equals, text = item.partition("=")
            field, value = _read(item, name, text)
            if field in found:
                raise FaultSpecError(item, f"fault {name} is given twice, at most once may it be")
            found[field] = value
        return cls(**found)  # type: ignore[arg-type]  # _read gives each field its own type


def _read(item: str, name: str, text: str) -> tuple[str, float | int]:
    if name in _RATES:
        if _RATE.fullmatch(text) is None or float(text) > 1:
            raise FaultSpecError(item, f"fault {item!r:.60}, wanted {name}=CHANCE from 0 to 1")
        return _RATES[name], float(text)
    if name in _COUNTS:
        if _COUNT.fullmatch(text) is None or int(text) > COUNT_LIMIT:
            raise FaultSpecError(item, f"fault {item!r:.60}, wanted {name}=N with N from 1 up")
        return _COUNTS[name], int(text)
    known = ", ".join(f"{known}=" for known in (*_RATES, *_COUNTS))
    raise FaultSpecError(item, f"fault {item!r:.60}, wanted one of {known}")


class Noise:
    """The faults of one direction of a line."""

    def __init__(self, faults: Faults, seed: str) -> None:
        self._flips = _Strikes(faults.ber, f"{seed}/ber")
        self._drops = _Strikes(faults.drop, f"{seed}/drop")
        self._dups = _Strikes(faults.dup, f"{seed}/dup")

    def damage(self, data: bytes) -> bytes:
        """What arrives of the next bytes of this direction."""
        flips = list(self._flips.within(len(data) * _BITS))
        drops = set(self._drops.within(len(data)))
        dups = set(self._dups.within(len(data)))
        if not (flips or drops or dups):
            return data
        damaged = bytearray(data)
        for bit in flips:
            damaged[bit // _BITS] ^= 1 << bit % _BITS
        return b"".join(
            bytes([value]) * (0 if place in drops else 2 if place in dups else 1)
            for place, value in enumerate(damaged)
        )


class _Strikes:
    """Places in an endless row that are hit, each with the same chance, found gap by gap."""

    def __init__(self, chance: float, seed: str) -> None:
        self._chance = chance
        self._dice = random.Random(seed)  # noqa: S311 - a fault is no secret
        self._gap = self._roll()

    def within(self, count: int) -> Iterator[int]:
        """Offsets that are hit among the next `count` places; must be used up."""
        offset = self._gap
        while offset < count:
            yield int(offset)
            offset += 1 + self._roll()
        self._gap = offset - count

    def _roll(self) -> float:
        """Places before the next hit: the geometric distribution, by inversion."""
        if self._chance <= 0:
            return math.inf
        if self._chance >= 1:
            return 0
        return math.floor(math.log(1 - self._dice.random()) / math.log1p(-self._chance))
