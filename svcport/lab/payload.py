"""Firmware that never ran: bytes with the statistics of Thumb-2 code, made from a seed.

Training needs images that compress, differ and patch as real ones do, and no network to get them
from. Deflate leaves 71 % of what is made here, 75 % if each sector is deflated by itself: what it
leaves of Zephyr applications for nRF52840. The bytes depend on the seed alone, not on the platform
or on the version of Python.
"""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass, field
from typing import Final

FLASH_BASE: Final = 0x10200
"""Where a payload runs: behind the header of 512 bytes of an image in slot A."""

RAM_TOP: Final = 0x2004_0000
VECTORS: Final = 64
IDENTITY_SIZE: Final = 32
IDENTITY_MARK: Final = b"LOCKFW:"
PAYLOAD_SIZE: Final = 229_376
"""Bytes: 224 KiB, about what a Zephyr application with Bluetooth has."""

LEAST_SIZE: Final = 16_384

_CODE_SHARE: Final = 0.80
_ALIGNMENT: Final = 16
_NOP: Final = 0xBF00
_POP: Final = 0xBD00
_PUSH: Final = 0xB500

_Row = tuple[int, int, tuple[tuple[str, int], ...]]
"""Weight, encoding without operands, operands: (kind, shift)."""

# fmt: off
_NARROW: Final[tuple[_Row, ...]] = (
    # Arm v7-M Architecture Reference Manual, A7.7
    (13, 0x6800, (("low", 0), ("low", 3), ("word", 6))),      # ldr  rt, [rn, #imm]
    ( 8, 0x6000, (("low", 0), ("low", 3), ("word", 6))),      # str  rt, [rn, #imm]
    (12, 0x4600, (("low", 0), ("any", 3))),                   # mov  rd, rm
    (11, 0x2000, (("byte", 0), ("low", 8))),                  # movs rd, #imm
    ( 7, 0x2800, (("byte", 0), ("low", 8))),                  # cmp  rn, #imm
    ( 6, 0xD000, (("branch", 0), ("condition", 8))),          # b<c> label
    ( 4, 0xB100, (("low", 0), ("hop", 3))),                   # cbz  rn, label
    ( 3, 0xE000, (("branch", 0),)),                           # b    label
    ( 3, 0x3000, (("byte", 0), ("low", 8))),                  # adds rd, #imm
    ( 2, 0x3800, (("byte", 0), ("low", 8))),                  # subs rd, #imm
    ( 4, 0x1800, (("low", 0), ("low", 3), ("low", 6))),       # adds rd, rn, rm
    ( 3, 0x7800, (("low", 0), ("low", 3), ("word", 6))),      # ldrb rt, [rn, #imm]
    ( 2, 0x7000, (("low", 0), ("low", 3), ("word", 6))),      # strb rt, [rn, #imm]
    ( 3, 0x0000, (("low", 0), ("low", 3), ("hop", 6))),       # lsls rd, rm, #imm
    ( 3, 0x4280, (("low", 0), ("low", 3))),                   # cmp  rn, rm
    ( 2, 0x4300, (("low", 0), ("low", 3))),                   # orrs rd, rm
    ( 3, 0x9800, (("word", 0), ("low", 8))),                  # ldr  rt, [sp, #imm]
    ( 3, 0x9000, (("word", 0), ("low", 8))),                  # str  rt, [sp, #imm]
    ( 2, 0xB2C0, (("low", 0), ("low", 3))),                   # uxtb rd, rm
    ( 7, 0x4800, (("pool", 0), ("low", 8))),                  # ldr  rt, =literal
)
_WIDE: Final[tuple[_Row, ...]] = (
    (20, 0xF000_0000, ()),                                    # bl   function
    ( 5, 0xF8D0_0000, (("half", 0), ("low", 12), ("low", 16))),   # ldr.w
    ( 4, 0xF8C0_0000, (("half", 0), ("low", 12), ("low", 16))),   # str.w
    ( 3, 0xF240_0000, (("byte", 0), ("low", 8), ("low", 12))),    # movw
    ( 3, 0xF04F_0000, (("byte", 0), ("low", 8))),             # mov.w
    ( 3, 0xF100_0000, (("byte", 0), ("low", 8), ("low", 16))),    # add.w
    ( 2, 0xF3C0_0000, (("hop", 0), ("low", 8), ("low", 16))),     # ubfx
)
_WORDS: Final = (
    "motor", "bolt", "battery", "cloud", "session", "token", "timeout", "failed", "retry", "key",
    "flash", "sector", "invalid", "length", "state", "event", "keypad", "connect", "socket",
    "handshake", "reset", "voltage", "low", "sensor", "door", "open", "closed", "clock", "update",
    "slot", "image", "buffer", "queue", "full", "thread", "stack", "pairing", "bond", "advertise",
    "gatt", "handle", "write", "read", "%d", "%s", "0x%08x", "err", "ok", "from", "to", "for",
    "not", "in", "of", "is", "at",
)
# fmt: on


@dataclass(slots=True)
class _Function:
    """Halfwords with the calls still open: (place of the first halfword, number of the callee)."""

    code: list[int]
    calls: list[tuple[int, int]]
    pool: list[int]
    address: int = 0
    size: int = field(init=False)

    def __post_init__(self) -> None:
        used = 2 * len(self.code) + 4 * len(self.pool)
        self.size = -(-used // _ALIGNMENT) * _ALIGNMENT


def make_payload(seed: str, model: str, version: str, *, size: int = PAYLOAD_SIZE) -> bytes:
    """Make what stands behind an image's header.

    Args:
        seed: the same gives the same code.
        model: with `version` in the identity text (see `identify`); changes nothing else.
        version: likewise.
        size: bytes; a multiple of 4, at least `LEAST_SIZE`.
    """
    if size < LEAST_SIZE or size % 4:
        raise ValueError(f"a payload of {size} bytes, wanted a multiple of 4 from {LEAST_SIZE} on")
    maker = _Maker(random.Random(f"svcport-payload-v1/{seed}"), size)  # noqa: S311 - no secret
    return identify(maker.make(), model, version)


def identify(payload: bytes, model: str, version: str) -> bytes:
    """The payload with the identity text it carries, if it does, saying this model and version."""
    text = IDENTITY_MARK + f"{model} {version}".encode("ascii")
    if len(text) > IDENTITY_SIZE:
        raise ValueError(f"{text!r} has more than {IDENTITY_SIZE} bytes")
    at = payload.find(IDENTITY_MARK)
    if at < 0:
        return payload
    return payload[:at] + text.ljust(IDENTITY_SIZE, b"\0") + payload[at + IDENTITY_SIZE :]


class _Maker:
    def __init__(self, dice: random.Random, size: int) -> None:
        self._dice = dice
        self._size = size
        self._narrow = _ladder(_NARROW)
        self._wide = _ladder(_WIDE)
        self._functions: list[_Function] = []

    def make(self) -> bytes:
        start = 4 * VECTORS + IDENTITY_SIZE
        code_size = int(self._size * _CODE_SHARE) - start
        # Callees are drawn before they exist: about so many there will be.
        expected = max(8, code_size // 190)
        while code_size > 0:
            function = self._function(expected)
            function.address = FLASH_BASE + start
            start += function.size
            code_size -= function.size
            self._functions.append(function)
        head = self._vectors() + IDENTITY_MARK.ljust(IDENTITY_SIZE, b"\0")
        body = head + b"".join(self._link(function) for function in self._functions)
        return body + self._data(self._size - len(body))

    def _function(self, callees: int) -> _Function:
        saved = (0x10, 0x38, 0x70, 0xF0, 0xF8)[self._low_number(5)]
        code, calls = [_PUSH | saved], []
        pool = [self._literal() for _word in range(self._low_number(9))]
        for _instruction in range(6 + self._low_number(40) + self._low_number(120)):
            if self._chance(0.22):
                encoding = self._draw(_WIDE, self._wide, 0)
                if encoding == _WIDE[0][1]:
                    calls.append((len(code), self._zipf(callees)))
                code += [encoding >> 16, encoding & 0xFFFF]
            elif self._chance(0.16) and len(code) > 12:
                # Compilers repeat themselves: checks, accessors, log calls.
                at = self._number(len(code) - 6)
                code += code[at : at + 3 + self._number(3)]
            else:
                code.append(self._draw(_NARROW, self._narrow, len(pool)))
        code.append(_POP | saved)
        if len(code) % 2:
            code.append(_NOP)
        return _Function(code, calls, pool)

    def _draw(self, table: tuple[_Row, ...], ladder: list[int], pool: int) -> int:
        _weight, encoding, operands = table[ladder[self._number(len(ladder))]]
        for kind, shift in operands:
            encoding |= self._operand(kind, pool) << shift
        return encoding

    def _operand(self, kind: str, pool: int) -> int:
        match kind:
            case "low":
                return self._low_number(8)
            case "any":
                return self._low_number(16)
            case "word" | "hop":
                return self._low_number(32)
            case "byte":
                return self._low_number(256) if self._chance(0.6) else self._low_number(16)
            case "half":
                return 4 * self._low_number(256)
            case "branch":
                return self._low_number(64) if self._chance(0.7) else 0xFF - self._low_number(64)
            case "condition":
                return (0, 1, 8, 9, 13, 12, 2, 3)[self._low_number(8)]
            case _:
                return self._low_number(pool) if pool else 0

    def _literal(self) -> int:
        base = (0x2000_0000, FLASH_BASE, 0x4000_0000, 0)[self._low_number(4)]
        match base:
            case 0x2000_0000:
                return base + 4 * self._number(0x4000)
            case 0x4000_0000:
                return base + 0x1000 * self._number(48) + 4 * self._low_number(256)
            case 0:
                wide = self._number(1 << 24)
                return 0xFFFF_FFFF - self._number(200) if self._chance(0.4) else wide
            case _:
                return base + self._number(self._size)

    def _vectors(self) -> bytes:
        entries = [self._functions[self._zipf(len(self._functions))] for _entry in range(VECTORS)]
        addresses = [entry.address | 1 for entry in entries]
        return struct.pack(f"<{VECTORS}I", RAM_TOP, *addresses[1:])

    def _link(self, function: _Function) -> bytes:
        code = list(function.code)
        for place, callee in function.calls:
            target = self._functions[callee % len(self._functions)].address
            code[place], code[place + 1] = _call(target - (function.address + 2 * place + 4))
        content = struct.pack(f"<{len(code)}H{len(function.pool)}I", *code, *function.pool)
        return content.ljust(function.size, b"\0")

    def _data(self, size: int) -> bytes:
        """Constants: texts, tables of pointers, numbers without pattern."""
        parts: list[bytes] = []
        left = size
        while left > 0:
            part = (self._texts, self._pointers, self._noise, self._records)[self._number(4)]()
            parts.append(part[:left])
            left -= len(part)
        return b"".join(parts)

    def _texts(self) -> bytes:
        lines = []
        for _line in range(8 + self._number(16)):
            words = [_WORDS[self._number(len(_WORDS))] for _word in range(2 + self._number(5))]
            lines.append(" ".join(words).encode("ascii") + b"\0")
        text = b"".join(lines)
        return text.ljust(-(-len(text) // 4) * 4, b"\0")

    def _pointers(self) -> bytes:
        count = 8 + self._number(40)
        chosen = [self._functions[self._number(len(self._functions))] for _each in range(count)]
        return b"".join(struct.pack("<I", function.address | 1) for function in chosen)

    def _noise(self) -> bytes:
        size = 4 * (16 + self._number(96))
        return self._dice.getrandbits(8 * size).to_bytes(size, "little")

    def _records(self) -> bytes:
        rows = [
            struct.pack("<HBBI", self._low_number(512), self._low_number(8), 0, self._literal())
            for _row in range(8 + self._number(40))
        ]
        return b"".join(rows)

    def _number(self, count: int) -> int:
        """0 to count-1, all alike."""
        return int(self._dice.random() * count)

    def _low_number(self, count: int) -> int:
        """0 to count-1, small ones oftener."""
        roll = self._dice.random()
        return int(roll * roll * count)  # products are exact everywhere, powers are not

    def _zipf(self, count: int) -> int:
        """0 to count-1, a few very often, as functions are called."""
        roll = self._dice.random()
        return int(roll * roll * roll * roll * count)

    def _chance(self, chance: float) -> bool:
        return self._dice.random() < chance


def _ladder(table: tuple[_Row, ...]) -> list[int]:
    """Row numbers, each as often as its weight says."""
    return [row for row, entry in enumerate(table) for _time in range(entry[0])]


def _call(offset: int) -> tuple[int, int]:
    """BL, encoding T1 (A7.7.18): offset of 25 bits in halfwords, its high bits stored exclusive."""
    sign = offset < 0
    high, low = offset >> 12 & 0x3FF, offset >> 1 & 0x7FF
    j1 = ~(offset >> 23 ^ sign) & 1
    j2 = ~(offset >> 22 ^ sign) & 1
    return 0xF000 | sign << 10 | high, 0xD000 | j1 << 13 | j2 << 11 | low
