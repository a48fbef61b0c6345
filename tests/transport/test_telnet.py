from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svcport.transport.telnet import (
    SUBNEGOTIATION_LIMIT,
    Command,
    Parameters,
    TelnetError,
    TelnetReader,
    Verb,
    Wish,
    escaped,
)

options = st.integers(0, 254)  # 255 is the list of extended options, which nobody has
nasty = st.lists(st.sampled_from([0xFF, 0xF0, 0xFA, 0xFB, 0x0D, 0x00, 0x2C]), max_size=30).map(
    bytes
)
commands = st.one_of(
    st.builds(Wish, st.sampled_from(Verb), options),
    st.builds(Parameters, options, nasty),
)


def built(part: bytes | Command) -> bytes:
    return escaped(part) if isinstance(part, bytes) else part.build()


@given(st.lists(st.one_of(nasty, commands), max_size=6), st.lists(st.integers(0, 200), max_size=6))
def test_data_and_commands_come_apart_however_they_are_cut(
    parts: list[bytes | Command], cuts: list[int]
) -> None:
    stream = b"".join(built(part) for part in parts)
    reader = TelnetReader()
    data = b""
    seen: list[Command] = []
    bounds = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    for start, end in itertools.pairwise(bounds):
        plain, found = reader.feed(stream[start:end])
        data += plain
        seen += found
    assert data == b"".join(part for part in parts if isinstance(part, bytes))
    assert seen == [part for part in parts if not isinstance(part, bytes)]


@given(st.lists(st.binary(max_size=60), max_size=8))
def test_no_bytes_are_more_than_a_telnet_error(pieces: list[bytes]) -> None:
    reader = TelnetReader()
    for piece in pieces:
        try:
            reader.feed(piece)
        except TelnetError:
            return


def test_commands_of_two_bytes_mean_nothing() -> None:
    assert TelnetReader().feed(b"a\xff\xf1b\xff\xf9") == (b"ab", ())


def test_parameters_without_an_option_mean_nothing() -> None:
    assert TelnetReader().feed(b"a\xff\xfa\xff\xf0b") == (b"ab", ())


def test_parameters_that_do_not_end_are_given_up() -> None:
    reader = TelnetReader()
    reader.feed(b"\xff\xfa\x2c" + bytes(SUBNEGOTIATION_LIMIT - 3))
    with pytest.raises(TelnetError, match="1024"):
        reader.feed(b"\0")
