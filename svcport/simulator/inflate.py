"""Raw DEFLATE (RFC 1951) as a microcontroller with 64 KB of RAM runs it: one sector out, in bounds.

RAM: the sector that is made, 4096 bytes, and the tables below, 1024 bytes, with 32 more while a
code is built. The dictionary is not in RAM: it is read where it lies, in memory-mapped flash. The
payload is read from the receive window. The decoder is canonical Huffman by counting, which needs
no lookup tables.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from enum import StrEnum
from typing import Final

_MAX_BITS: Final = 15
_LITERALS: Final = 288
_DISTANCES: Final = 32
_LAST_LITERAL: Final = 286
"""Literal and length codes in use; the fixed code has two more, that stand for nothing."""

_LAST_DISTANCE: Final = 30
_END: Final = 256
_LENGTH_ORDER: Final = bytes((16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15))
_LENGTH_BASE: Final = (
    *range(3, 11), 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163,
    195, 227, 258,
)  # fmt: skip
_LENGTH_BITS: Final = (*(0,) * 8, *(1,) * 4, *(2,) * 4, *(3,) * 4, *(4,) * 4, *(5,) * 4, 0)
_DISTANCE_BASE: Final = (
    1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537,
    2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577,
)  # fmt: skip
_DISTANCE_BITS: Final = (0, 0, *(bits // 2 for bits in range(28)))


class Fault(StrEnum):
    """What is wrong with a stream."""

    ENDS_EARLY = "the payload ends inside the stream"
    TRAILING = "bytes follow the stream"
    TOO_LONG = "more comes out than a sector"
    BLOCK_TYPE = "block type 3"
    STORED_LENGTH = "a stored block's length and its complement differ"
    CODE_COUNT = "more than 286 literal or 30 distance codes"
    CODE_LENGTHS = "code lengths that make no prefix code"
    REPEAT_NOTHING = "a repeat before the first code length"
    REPEAT_TOO_LONG = "a repeat beyond the last code length"
    NO_END = "no code for the end of the block"
    NO_SYMBOL = "bits that are no code"
    TOO_FAR = "a distance beyond the dictionary"


class InflateError(ValueError):
    """The payload is not one DEFLATE stream of at most a sector.

    Attributes:
        fault: what is wrong with it.
    """

    def __init__(self, fault: Fault) -> None:
        super().__init__(str(fault))
        self.fault = fault


class _Bits:
    """A payload, taken bit by bit, the lowest of each byte first.

    Attributes:
        kept: bits that were read and not taken.
        count: how many.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._next = 0
        self.kept = self.count = 0

    def take(self, count: int) -> int:
        """The next `count` bits, 0..13, the first the lowest."""
        while self.count < count:
            self.refill()
        value = self.kept & ((1 << count) - 1)
        self.kept >>= count
        self.count -= count
        return value

    def refill(self) -> None:
        """Keep the bits of one more byte."""
        if self._next == len(self._data):
            raise InflateError(Fault.ENDS_EARLY)
        self.kept |= self._data[self._next] << self.count
        self._next += 1
        self.count += 8

    def take_bytes(self, count: int) -> bytes:
        """Drop what is left of a byte, then the next `count` bytes."""
        self.kept = self.count = 0
        found = self._data[self._next : self._next + count]
        if len(found) < count:
            raise InflateError(Fault.ENDS_EARLY)
        self._next += count
        return found

    @property
    def spent(self) -> bool:
        """Whether no whole byte is left."""
        return self._next == len(self._data)


class _Code:
    """One canonical Huffman code: how many codes have each length, and the symbols in order."""

    def __init__(self, symbols: int) -> None:
        self.counts = array("H", bytes(2 * (_MAX_BITS + 1)))
        self.symbols = array("H", bytes(2 * symbols))

    def build(self, lengths: memoryview, *, partial: bool) -> None:
        """Take the code lengths of all symbols, 0 for none; `partial`: one code of 1 bit will do.

        A code of no symbols is taken as well: to use it is the fault.
        """
        counts = self.counts
        for length in range(_MAX_BITS + 1):
            counts[length] = 0
        for length in lengths:
            counts[length] += 1
        left = 1
        for length in range(1, _MAX_BITS + 1):
            left = 2 * left - counts[length]
            if left < 0:
                raise InflateError(Fault.CODE_LENGTHS)
        used = len(lengths) - counts[0]
        if left and used and not (partial and used == counts[1]):
            raise InflateError(Fault.CODE_LENGTHS)
        self._sort(lengths)

    def _sort(self, lengths: memoryview) -> None:
        offsets = array("H", bytes(2 * (_MAX_BITS + 1)))
        for length in range(1, _MAX_BITS):
            offsets[length + 1] = offsets[length] + self.counts[length]
        for symbol, length in enumerate(lengths):
            if length:
                self.symbols[offsets[length]] = symbol
                offsets[length] += 1

    def decode(self, bits: _Bits) -> int:
        """The symbol that the next bits stand for."""
        code = first = index = 0
        for count in self.counts[1:]:
            # `bits.take(1)`, written out: this is where the time goes
            if not bits.count:
                bits.refill()
            code |= bits.kept & 1
            bits.kept >>= 1
            bits.count -= 1
            if code < first + count:
                return self.symbols[index + code - first]
            index += count
            first = (first + count) << 1
            code <<= 1
        raise InflateError(Fault.NO_SYMBOL)


class Inflater:
    """Turns payloads into sectors, one after the other, in the same RAM.

    Attributes:
        ram: bytes that it keeps, the sector included.
    """

    def __init__(self, limit: int) -> None:
        """Make room for `limit` bytes, which is the most that a stream may give."""
        self._limit = limit
        self._lengths = memoryview(bytearray(_LITERALS + _DISTANCES))
        self._literals = _Code(_LITERALS)
        self._distances = _Code(_DISTANCES)
        tables = [*vars(self._literals).values(), *vars(self._distances).values()]
        self.ram = limit + len(self._lengths) + sum(2 * len(table) for table in tables)
        self._out = memoryview(bytearray(limit))
        self._size = 0

    def inflate(
        self, payload: bytes, dictionary_size: int, read: Callable[[int, int], bytes]
    ) -> bytes:
        """What one whole stream stands for.

        Args:
            payload: exactly one stream.
            dictionary_size: bytes that distances may reach before the first byte.
            read: gives `(offset, size)` of the dictionary.

        Raises:
            InflateError: it is none, or gives more than `limit` bytes.
        """
        self._bits, self._size = _Bits(payload), 0
        self._dictionary_size, self._read = dictionary_size, read
        last = 0
        while not last:
            last = self._bits.take(1)
            self._block(self._bits.take(2))
        if not self._bits.spent:
            raise InflateError(Fault.TRAILING)
        return bytes(self._out[: self._size])

    def _block(self, kind: int) -> None:
        if kind == 0:
            self._stored()
        elif kind == 3:
            raise InflateError(Fault.BLOCK_TYPE)
        else:
            if kind == 1:
                self._fixed_codes()
            else:
                self._own_codes()
            self._symbols()

    def _stored(self) -> None:
        head = self._bits.take_bytes(4)
        size = int.from_bytes(head[:2], "little")
        if size ^ int.from_bytes(head[2:], "little") != 0xFFFF:
            raise InflateError(Fault.STORED_LENGTH)
        self._put(self._bits.take_bytes(size))

    def _fixed_codes(self) -> None:
        lengths = self._lengths
        lengths[:144], lengths[144:256] = b"\x08" * 144, b"\x09" * 112
        lengths[256:280], lengths[280:288] = b"\x07" * 24, b"\x08" * 8
        lengths[288:] = b"\x05" * _DISTANCES
        self._literals.build(lengths[:_LITERALS], partial=False)
        self._distances.build(lengths[_LITERALS:], partial=False)

    def _own_codes(self) -> None:
        bits, lengths = self._bits, self._lengths
        literals, distances, given = bits.take(5) + 257, bits.take(5) + 1, bits.take(4) + 4
        if literals > _LAST_LITERAL or distances > _LAST_DISTANCE:
            raise InflateError(Fault.CODE_COUNT)
        lengths[: len(_LENGTH_ORDER)] = bytes(len(_LENGTH_ORDER))
        for place in _LENGTH_ORDER[:given]:
            lengths[place] = bits.take(3)
        self._literals.build(lengths[: len(_LENGTH_ORDER)], partial=False)
        self._code_lengths(literals + distances)
        if not lengths[_END]:
            raise InflateError(Fault.NO_END)
        # The first code is not needed any more: its lengths are read.
        self._literals.build(lengths[:literals], partial=True)
        self._distances.build(lengths[literals : literals + distances], partial=True)

    def _code_lengths(self, count: int) -> None:
        bits, lengths, done = self._bits, self._lengths, 0
        while done < count:
            symbol = self._literals.decode(bits)
            value, times = symbol, 1
            if symbol == 16:
                if not done:
                    raise InflateError(Fault.REPEAT_NOTHING)
                value, times = lengths[done - 1], 3 + bits.take(2)
            elif symbol > 16:
                value, times = 0, 3 + bits.take(3) if symbol == 17 else 11 + bits.take(7)
            if done + times > count:
                raise InflateError(Fault.REPEAT_TOO_LONG)
            lengths[done : done + times] = bytes([value]) * times
            done += times

    def _symbols(self) -> None:
        bits = self._bits
        while (symbol := self._literals.decode(bits)) != _END:
            if symbol < _END:
                self._put(bytes([symbol]))
                continue
            if symbol >= _LAST_LITERAL:
                raise InflateError(Fault.NO_SYMBOL)
            row = symbol - _END - 1
            length = _LENGTH_BASE[row] + bits.take(_LENGTH_BITS[row])
            row = self._distances.decode(bits)
            if row >= _LAST_DISTANCE:
                raise InflateError(Fault.NO_SYMBOL)
            self._copy(length, _DISTANCE_BASE[row] + bits.take(_DISTANCE_BITS[row]))

    def _copy(self, length: int, distance: int) -> None:
        """Copy out of the dictionary first, then out of what is made already, which may overlap."""
        before = distance - self._size
        if before > 0:
            if before > self._dictionary_size:
                raise InflateError(Fault.TOO_FAR)
            taken = min(length, before)
            self._put(self._read(self._dictionary_size - before, taken))
            length -= taken
        for _byte in range(length):
            start = self._size - distance
            self._put(bytes(self._out[start : start + 1]))

    def _put(self, data: bytes) -> None:
        end = self._size + len(data)
        if end > self._limit:
            raise InflateError(Fault.TOO_LONG)
        self._out[self._size : end] = data
        self._size = end
