"""Thumb calls with the address they go to, in place of the distance: the form that deflates better.

A function that is called from everywhere has one address and as many distances as callers. The
form is a permutation of an image: every byte pattern has exactly one, and it is as long. The host's
half only; protocol/README, "Call form", is the definition.
"""

from __future__ import annotations

import re
from typing import Final

_SECTOR_SIZE: Final = 4096
_CALL: Final = re.compile(rb"(?=[\xf0-\xf7].[\xf8-\xff])", re.DOTALL)
"""The high byte of a BL's first halfword, the low and high byte of its second. A look-ahead, so
that no match hides the next."""

_TARGET_MASK: Final = (1 << 22) - 1


def call_form(image: bytes) -> bytes:
    """The image with its calls rewritten; a call that crosses a sector's end stays as it is."""
    form = bytearray(image)
    for match in _CALL.finditer(image):
        at = match.start() - 1
        if at & 1 or at < 0 or at % _SECTOR_SIZE == _SECTOR_SIZE - 2:
            continue
        first = image[at] | image[at + 1] << 8
        second = image[at + 2] | image[at + 3] << 8
        target = (first & 0x7FF) << 11 | second & 0x7FF
        target = target + (at + 4) // 2 & _TARGET_MASK
        first, second = 0xF000 | target >> 11, 0xF800 | target & 0x7FF
        form[at : at + 4] = (second << 16 | first).to_bytes(4, "little")
    return bytes(form)
