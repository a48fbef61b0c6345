"""The call form of Thumb code (protocol/README, "Call form"), made and undone by the lock.

Whether a halfword belongs to a call is told by its neighbours in the same sector, so any piece of
flash can be read in call form without what lies before it.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from protocol.values import SECTOR_SIZE

_OPERAND: Final = 0x07FF
_FIRST: Final = 0xF000
_SECOND: Final = 0xF800
_HIGH_BYTES: Final = re.compile(rb"[\xf0-\xf7](?=.[\xf8-\xff])", re.DOTALL)
"""Of the two halfwords of a call, each after its low byte. Behind one no other can begin before it
ends, for no byte is in both classes."""

_TARGETS: Final = 1 << 22
"""Halfwords that a call can reach."""


def in_call_form(content: bytes, address: int) -> bytes:
    """A sector's bytes, or as many as its image has, in call form.

    A board rewrites the few halfwords that it copies. Here whole sectors are rewritten and kept,
    which gives the same bytes sooner.
    """
    return _rewritten(content, address, 1)


def out_of_call_form(form: bytes, address: int) -> bytes:
    """What `in_call_form` was made from."""
    return _rewritten(form, address, -1)


@lru_cache(maxsize=256)
def _rewritten(content: bytes, address: int, sign: int) -> bytes:
    if address % SECTOR_SIZE or len(content) > SECTOR_SIZE:
        raise ValueError(f"{len(content)} bytes at {address:#x} are no sector")
    rewritten = bytearray(content)
    for match in _HIGH_BYTES.finditer(content):
        place = match.start() - 1
        if place % 2:
            continue
        pair = content[place : place + 4]
        target = (pair[1] & 7) << 19 | pair[0] << 11 | (pair[3] & 7) << 8 | pair[2]
        target = (target + sign * ((address + place + 4) // 2)) % _TARGETS
        call = _FIRST | target >> 11 | (_SECOND | target & _OPERAND) << 16
        rewritten[place : place + 4] = call.to_bytes(4, "little")
    return bytes(rewritten)
