"""The call form of Thumb code (protocol/README, "Call form"), made and undone by the lock.

Whether a halfword belongs to a call is told by its neighbours in the same sector, so any piece of
flash can be read in call form without what lies before it.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import Final

from protocol.values import SECTOR_SIZE

_OPCODE: Final = 0xF800
_OPERAND: Final = 0x07FF
_FIRST: Final = 0xF000
_SECOND: Final = 0xF800
_TARGETS: Final = 1 << 22
"""Halfwords that a call can reach."""


@lru_cache(maxsize=256)
def in_call_form(content: bytes, address: int) -> bytes:
    """A sector's bytes, or as many as its image has, in call form.

    A board rewrites the few halfwords that it copies. Here whole sectors are rewritten and kept,
    which gives the same bytes sooner.
    """
    return _rewritten(content, address, 1)


def out_of_call_form(form: bytes, address: int) -> bytes:
    """What `in_call_form` was made from."""
    return _rewritten(form, address, -1)


def _rewritten(content: bytes, address: int, sign: int) -> bytes:
    if address % SECTOR_SIZE or len(content) > SECTOR_SIZE:
        raise ValueError(f"{len(content)} bytes at {address:#x} are no sector")
    count = len(content) // 2
    halves = list(struct.unpack_from(f"<{count}H", content))
    for place in range(count - 1):
        first, second = halves[place], halves[place + 1]
        if first & _OPCODE == _FIRST and second & _OPCODE == _SECOND:
            behind = address // 2 + place + 2
            target = (first & _OPERAND) << 11 | second & _OPERAND
            target = (target + sign * behind) % _TARGETS
            halves[place] = _FIRST | target >> 11
            halves[place + 1] = _SECOND | target & _OPERAND
    return struct.pack(f"<{count}H", *halves) + content[2 * count :]
