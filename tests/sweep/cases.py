"""Every case by its name: `FAMILY/...`, and what runs it."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sweep import cable, host, noise, order, power, storage
from sweep.promises import Broken
from sweep.yard import same_dice

_RUNNERS: Final[dict[str, Callable[[str, list[str]], str]]] = {
    "power": power.run,
    "power-again": power.run_second,
    "power-pairs": power.run_pair,
    "cable": cable.run,
    "kill": host.run_kill,
    "ctrl-c": host.run_interrupt,
    "sigterm": host.run_terminate,
    "wire": noise.run,
    "disk": storage.run,
    "order": order.run,
}
FAMILIES: Final = tuple(_RUNNERS)


@dataclass(frozen=True)
class Ran:
    """How a case ended.

    Attributes:
        promise: the one that it broke, "error" if the sweep itself failed; empty: none.
        ended: how the disturbed command ended.
        seconds: of this process's CPU.
    """

    name: str
    promise: str
    what: str
    ended: str
    seconds: float


_NAMES: Final[dict[tuple[str, ...], Callable[[], Iterator[str]]]] = {
    ("power",): power.names,
    ("power-pairs",): power.pair_names,
    ("kill", "ctrl-c", "sigterm"): host.names,
    ("disk",): storage.names,
    ("order",): order.names,
    ("wire",): noise.names,
    ("cable",): cable.names,
    ("power-again",): power.second_names,
}


def names(prefixes: tuple[str, ...] = ()) -> Iterator[str]:
    """Every case of the full sweep; with prefixes, of the families that they are of."""
    wanted = {prefix.split("/")[0] for prefix in prefixes}
    for families, several in _NAMES.items():
        if not wanted or wanted & set(families):
            yield from several()


def run(name: str) -> Ran:
    """Run one case, whatever comes of it."""
    family, *parts = name.split("/")
    began = time.process_time()
    promise = what = ended = ""
    try:
        with same_dice(name):
            ended = _RUNNERS[family](name, parts)
    except Broken as broken:
        promise, what = str(broken.promise), str(broken)
    except Exception as error:  # noqa: BLE001 - one case must not end the sweep
        frames = traceback.extract_tb(error.__traceback__)[-6:]
        where = " < ".join(f"{Path(one.filename).name}:{one.lineno}" for one in reversed(frames))
        promise, what = "error", f"{type(error).__name__}: {error} ({where})"
    return Ran(name, promise, what, ended, time.process_time() - began)
