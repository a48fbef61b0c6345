"""Every harness by its name."""

from __future__ import annotations

from fuzz import (
    captures,
    devices,
    documents,
    firmware,
    hostile,
    lockplay,
    objects,
    papers,
    records,
    sessions,
    transfers,
    wire,
)
from fuzz.harness import Harness

_ROOMS = (
    wire,
    devices,
    sessions,
    transfers,
    objects,
    firmware,
    records,
    papers,
    documents,
    hostile,
    lockplay,
    captures,
)
HARNESSES: dict[str, Harness] = {one.name: one for room in _ROOMS for one in room.HARNESSES}
