"""Refuses to start with somebody else's `protocol` or `images`.

Both are common names: another distribution in the same environment could put its own package of
that name in front of ours, and every judgement about images and sessions would be its. Knows
nothing of what the packages hold; it looks where they are, without importing them.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Final

import svcport
from svcport.errors import Reason, RefusedError

COMPANIONS: Final = ("protocol", "images")


def _origin(name: str) -> str | None:
    spec = importlib.util.find_spec(name)
    return None if spec is None else spec.origin


def check_companions(
    home: Path | None = None, origin: Callable[[str], str | None] = _origin
) -> None:
    """See that both packages lie beside `svcport`.

    Args:
        home: the folder that must hold them; that of `svcport` if left out.
        origin: tells the file of a package's `__init__`, None if there is no such package.

    Raises:
        RefusedError: `not-set-up`, one of them is missing or another copy.
    """
    wanted = Path(svcport.__file__).resolve().parent.parent if home is None else home.resolve()
    for name in COMPANIONS:
        found = origin(name)
        place = None if found is None else Path(found).resolve().parent
        if place != wanted / name:
            raise RefusedError(
                Reason.NOT_SET_UP,
                f"package {name} is {place or 'missing'}, must be {wanted / name}",
                hint="install svcport in an environment of its own, with pipx or uv tool",
            )
