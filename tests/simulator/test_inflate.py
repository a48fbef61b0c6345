from __future__ import annotations

import contextlib
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unitkit import deflated, thumb

from svcport.simulator.inflate import Fault, InflateError, Inflater

LIMIT = 4096
INFLATER = Inflater(LIMIT)


def inflate(payload: bytes, dictionary: bytes = b"", limit: int = LIMIT) -> bytes:
    inflater = INFLATER if limit == LIMIT else Inflater(limit)
    return inflater.inflate(payload, len(dictionary), lambda at, size: dictionary[at : at + size])


def with_zlib(payload: bytes, dictionary: bytes) -> bytes | None:
    inflater = zlib.decompressobj(-15, zdict=dictionary)
    try:
        content = inflater.decompress(payload, LIMIT + 1)
    except zlib.error:
        return None
    whole = inflater.eof and not inflater.unused_data and len(content) <= LIMIT
    return content if whole else None


def compressed(content: bytes, dictionary: bytes, level: int, strategy: int) -> bytes:
    squeezer = zlib.compressobj(level, zlib.DEFLATED, -15, 9, strategy, dictionary)
    return squeezer.compress(content) + squeezer.flush()


CONTENTS = st.one_of(
    st.binary(max_size=LIMIT),
    st.text("abc", max_size=700).map(str.encode),
    st.integers(0, LIMIT).map(lambda size: thumb(size, size)),
)
DICTIONARIES = st.one_of(
    st.binary(max_size=300),
    st.text("abcd", max_size=700).map(str.encode),
    st.sampled_from([0, 5000, 32_768]).map(lambda size: thumb(4096, size)),
)
STREAMS = st.builds(
    compressed, CONTENTS, DICTIONARIES, st.integers(0, 9), st.sampled_from([0, 1, 2, 3, 4])
)


@given(CONTENTS, DICTIONARIES, st.integers(0, 9), st.sampled_from([0, 1, 2, 3, 4]))
def test_what_zlib_deflates_comes_out_whole(
    content: bytes, dictionary: bytes, level: int, strategy: int
) -> None:
    assert inflate(compressed(content, dictionary, level, strategy), dictionary) == content


@given(
    st.one_of(st.binary(max_size=100), STREAMS),
    DICTIONARIES,
    st.lists(st.tuples(st.integers(0), st.integers(0, 7)), max_size=3),
)
def test_any_bytes_give_what_zlib_gives_or_a_named_fault(
    payload: bytes, dictionary: bytes, flips: list[tuple[int, int]]
) -> None:
    damaged = bytearray(payload)
    for place, bit in flips:
        if damaged:
            damaged[place % len(damaged)] ^= 1 << bit
    content = None
    with contextlib.suppress(InflateError):
        content = inflate(bytes(damaged), dictionary)
    assert content == with_zlib(bytes(damaged), dictionary)


def bits(*fields: tuple[int, int]) -> bytes:
    """Fields of (value, width), the lowest bit first, as DEFLATE packs them."""
    value = width = 0
    for one, size in fields:
        value |= one << width
        width += size
    return value.to_bytes(-(-width // 8), "little")


def huffman(code: str) -> tuple[tuple[int, int], ...]:
    """A Huffman code goes from its highest bit on."""
    return tuple((int(bit), 1) for bit in code)


FIXED = ((1, 1), (1, 2))
"""Last block, fixed codes."""

OWN = ((1, 1), (2, 2))
"""Last block, codes of its own."""


def own(literals: int, distances: int, lengths: dict[int, int]) -> tuple[tuple[int, int], ...]:
    """The head of a block that sends its codes; `lengths` are those of the code length code."""
    order = (16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15)
    given_lengths = tuple((lengths.get(symbol, 0), 3) for symbol in order)
    return (*OWN, (literals - 257, 5), (distances - 1, 5), (15, 4), *given_lengths)


# Code lengths 0 and 18 with one bit each: 0 is "0", 18 is "1" and seven bits.
ZEROS = own(257, 1, {0: 1, 18: 1})
MANY, REST = (*huffman("1"), (127, 7)), (*huffman("1"), (109, 7))


@pytest.mark.parametrize(
    ("payload", "fault"),
    [
        (b"", Fault.ENDS_EARLY),
        (deflated(b"abc" * 50)[:-1], Fault.ENDS_EARLY),
        (b"\x01\x05\x00\xfa\xffabc", Fault.ENDS_EARLY),
        (deflated(b"abc" * 50) + b"\0", Fault.TRAILING),
        (deflated(bytes(LIMIT + 1)), Fault.TOO_LONG),
        (b"\x01" + (5000).to_bytes(2, "little") + (5000 ^ 0xFFFF).to_bytes(2, "little")
         + bytes(5000), Fault.TOO_LONG),
        (b"\x07", Fault.BLOCK_TYPE),
        (b"\x01\x05\x00\x05\x00hello", Fault.STORED_LENGTH),
        (bits(*OWN, (30, 5), (0, 5), (0, 4)), Fault.CODE_COUNT),
        (bits(*OWN, (0, 5), (30, 5), (0, 4)), Fault.CODE_COUNT),
        (bits(*own(257, 1, {0: 1, 1: 1, 2: 1})), Fault.CODE_LENGTHS),
        (bits(*own(257, 1, {0: 2, 1: 2})), Fault.CODE_LENGTHS),
        (bits(*own(257, 1, {0: 1, 16: 1}), *huffman("1"), (0, 2)), Fault.REPEAT_NOTHING),
        (bits(*ZEROS, *MANY, *MANY), Fault.REPEAT_TOO_LONG),
        (bits(*ZEROS, *MANY, *REST, *huffman("0")), Fault.NO_END),
        (bits(*FIXED, *huffman("11000110")), Fault.NO_SYMBOL),
        (bits(*FIXED, *huffman("0000001"), *huffman("11110")), Fault.NO_SYMBOL),
        (bits(*FIXED, *huffman("0000001"), *huffman("00000")), Fault.TOO_FAR),
    ],
)  # fmt: skip
def test_every_fault_of_a_stream_has_its_name(payload: bytes, fault: Fault) -> None:
    with pytest.raises(InflateError) as caught:
        inflate(payload)
    assert caught.value.fault is fault
    assert with_zlib(payload, b"") is None


def test_bits_that_no_code_covers_are_no_symbol() -> None:
    # Code length 18 is "0", 0 is "10", 1 is "11"; the one literal code, the end, is then "0".
    head = own(257, 1, {0: 2, 1: 2, 18: 1})
    zeros = (*huffman("0"), (127, 7), *huffman("0"), (107, 7))
    lengths = (*zeros, *huffman("11"), *huffman("10"))
    assert inflate(bits(*head, *lengths, *huffman("0"))) == b""
    with pytest.raises(InflateError) as caught:
        inflate(bits(*head, *lengths, (0xFFFF, 16)))
    assert caught.value.fault is Fault.NO_SYMBOL


def test_distances_reach_the_first_byte_of_the_dictionary_and_no_further() -> None:
    # zlib's encoder never uses the first byte of a dictionary, so one more stands before it
    dictionary = b"xyz" + bytes(range(200))
    stream = deflated(b"xyz" + bytes(range(50)), b"?" + dictionary)
    assert inflate(stream, dictionary) == b"xyz" + bytes(range(50))
    with pytest.raises(InflateError) as caught:
        inflate(stream, dictionary[1:])
    assert caught.value.fault is Fault.TOO_FAR


def test_a_full_sector_is_not_too_long() -> None:
    assert inflate(deflated(bytes(LIMIT))) == bytes(LIMIT)
    assert inflate(deflated(b"abc"), limit=3) == b"abc"


def test_its_ram_is_a_sector_and_a_kilobyte_of_tables() -> None:
    assert Inflater(LIMIT).ram == LIMIT + 1024


def test_a_fault_leaves_it_fit_for_the_next_stream() -> None:
    with pytest.raises(InflateError):
        inflate(deflated(b"some words" * 9)[:-2])
    assert inflate(deflated(b"others")) == b"others"
