"""Wire: bit errors, lost and doubled bytes, bursts, echo, a stuck line, late and double answers."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Final

from sweep.measure import measured
from sweep.recover import finish
from sweep.starts import room, start
from sweep.wire import Damage, Trouble
from sweep.yard import Yard

from svcport.simulator.faults import Faults, Noise

KINDS: Final = (
    *(f"ber-{rate}" for rate in ("1e-6", "1e-5", "3e-5", "1e-4", "3e-4", "1e-3")),
    *(f"{kind}-{rate}" for kind in ("drop", "dup") for rate in ("1e-5", "1e-4", "1e-3")),
    *(f"burst-{rate}" for rate in ("1e-4", "1e-3")),
    *(f"{kind}-1e-4" for kind in ("echo", "adapter", "twice")),
)
FLOWS: Final = ("restore", "dead", "rollback", "confirm-raise", "resume")
SEEDS: Final = 12
STUCK: Final = 24
LATE_S: Final = ("0.4", "0.7", "1.6", "6", "14", "20")
_BURST: Final = 40


def names() -> Iterator[str]:
    for flow in FLOWS:
        yield from (f"wire/{flow}/{kind}/{seed}" for seed in range(SEEDS) for kind in KINDS)
        yield from (f"wire/{flow}/{kind}-0/0" for kind in ("echo", "adapter", "twice"))
        for seed in range(STUCK):
            yield f"wire/{flow}/silent/{seed}"
            yield f"wire/{flow}/low/{seed}"
        yield from (f"wire/{flow}/late-{late}/{every}" for late in LATE_S for every in (1, 2, 5))


def run(name: str, parts: list[str]) -> str:
    """`wire/FLOW/KIND-RATE/SEED`."""
    flow, kind, seed = parts
    yard = Yard(start(flow), room())
    return finish(yard, name, yard.go(trouble(name, flow, kind, int(seed))))


def trouble(name: str, flow: str, kind: str, seed: int) -> Trouble:
    """What goes wrong in a case of that kind."""
    word, _minus, rate = kind.partition("-")
    if word in ("silent", "low"):
        facts = measured(flow)
        at = random.Random(name).randint(1, len(facts.up) + len(facts.down))
        return Trouble(stuck_at=at, stuck_low=word == "low")
    if word == "late":
        return Trouble(late=seed, late_s=float(rate))
    up, down = damages(word, float(rate), name)
    return Trouble(
        up=up,
        down=down,
        echo=word == "echo",
        delay_s=0.016 if word == "adapter" else 0.0,
        twice=word == "twice",
    )


def damages(word: str, rate: float, seed: str) -> tuple[Damage | None, Damage | None]:
    """Damage each way; bit errors where the kind names no other."""
    if not rate:
        return None, None
    if word == "burst":
        return Bursts(rate, f"{seed}/up"), Bursts(rate, f"{seed}/down")
    fields = {word if word in ("drop", "dup") else "ber": rate}
    faults = Faults(**fields)  # type: ignore[arg-type]  # all three are rates
    return Noise(faults, f"{seed}/up").damage, Noise(faults, f"{seed}/down").damage


class Bursts:
    """Now and then some bytes in a row are anything, as when a motor starts beside the cable."""

    def __init__(self, chance: float, seed: str) -> None:
        self._chance = chance
        self._dice = random.Random(seed)
        self._left = 0

    def __call__(self, data: bytes) -> bytes:
        damaged = bytearray(data)
        for place in range(len(damaged)):
            if not self._left and self._dice.random() < self._chance:
                self._left = self._dice.randint(1, _BURST)
            if self._left:
                self._left -= 1
                damaged[place] = self._dice.randrange(256)
        return bytes(damaged)
