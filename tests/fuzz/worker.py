"""One harness under atheris: worker.py ROOM NAME, then whatever libFuzzer takes."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import atheris

sys.path[0] = str(Path(__file__).parents[1])
atheris.enabled_hooks.add("str")

with atheris.instrument_imports(include=["protocol", "images", "svcport"]):
    ROOM = importlib.import_module(sys.argv[1])


def main(words: list[str]) -> None:
    """Never returns: libFuzzer ends the process at one of its limits."""
    harness = next(one for one in ROOM.HARNESSES if one.name == words[2])
    atheris.Setup(
        [words[0], f"-max_len={harness.max_len}", *words[3:]], lambda data: (harness(data), None)[1]
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv)
