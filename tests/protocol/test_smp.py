from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import MalformedMessageError
from protocol.smp import (
    LINE_LIMIT,
    SmpFraming,
    SmpGroup,
    SmpHeader,
    SmpOp,
    SmpPacket,
    find_answer,
)

LIST = SmpPacket.ask(
    SmpOp.READ, SmpGroup.IMAGE, 0, seq=0x42, version=2, payload=bytes.fromhex("a0")
)
FRAMINGS = list(SmpFraming)


def answer_to(question: SmpPacket, payload: bytes) -> SmpPacket:
    asked = question.header
    header = SmpHeader(asked.first | 1, 0, len(payload), asked.group, asked.seq, asked.command)
    return SmpPacket(header, payload)


def test_a_question_has_the_bytes_that_real_servers_take() -> None:
    assert LIST.build().hex() == "080000010001" + "4200" + "a0"
    assert LIST.header.version == 2
    old = SmpPacket.ask(SmpOp.READ, SmpGroup.IMAGE, 0, seq=0x42, version=1, payload=b"\xa0")
    assert old.build()[0] == 0
    assert old.header.version == 1


def test_a_console_line_has_length_packet_and_crc_in_base64() -> None:
    # the CRC was computed bit by bit, apart from this code
    assert LIST.framed(SmpFraming.CONSOLE) == b"\x06\x09AAsIAAABAAFCAKDczA==\n"


@pytest.mark.parametrize("framing", FRAMINGS)
@given(payload=st.binary(max_size=600), before=st.sampled_from([b"", b"\0", b"boot: \r\n"]))
def test_an_answer_is_found_in_its_framing(
    framing: SmpFraming, payload: bytes, before: bytes
) -> None:
    wanted = answer_to(LIST, payload)
    found = find_answer(before + wanted.framed(framing), LIST)
    assert found is not None
    assert found == (framing, wanted)


@pytest.mark.parametrize("framing", FRAMINGS)
def test_an_echo_is_no_answer(framing: SmpFraming) -> None:
    assert find_answer(LIST.framed(framing) * 3, LIST) is None


@pytest.mark.parametrize("framing", FRAMINGS)
def test_answers_to_other_questions_are_none(framing: SmpFraming) -> None:
    for other in (
        SmpPacket.ask(SmpOp.WRITE, SmpGroup.IMAGE, 0, seq=0x42, version=2, payload=b""),
        SmpPacket.ask(SmpOp.READ, SmpGroup.OS, 0, seq=0x42, version=2, payload=b""),
        SmpPacket.ask(SmpOp.READ, SmpGroup.IMAGE, 6, seq=0x42, version=2, payload=b""),
        SmpPacket.ask(SmpOp.READ, SmpGroup.IMAGE, 0, seq=0x43, version=2, payload=b""),
    ):
        assert find_answer(answer_to(other, b"\xa0").framed(framing), LIST) is None


@pytest.mark.parametrize("framing", [SmpFraming.CONSOLE, SmpFraming.COBS])
def test_a_flipped_bit_makes_it_no_answer(framing: SmpFraming) -> None:
    whole = answer_to(LIST, bytes(range(40, 90))).framed(framing)
    for bit in range(16, 8 * len(whole) - 16):
        broken = bytearray(whole)
        broken[bit // 8] ^= 1 << bit % 8
        found = find_answer(bytes(broken), LIST)
        assert found is None or found[1].payload == bytes(range(40, 90))


def test_console_lines_are_short_and_chatter_between_them_does_no_harm() -> None:
    wanted = answer_to(LIST, bytes(400))
    lines = wanted.framed(SmpFraming.CONSOLE).splitlines(keepends=True)
    assert len(lines) > 3
    assert all(len(line.rstrip(b"\n")) <= LINE_LIMIT for line in lines)
    assert find_answer(b"I: log\r\n".join([b"", *lines]), LIST) == (SmpFraming.CONSOLE, wanted)


@given(st.binary(max_size=80))
def test_any_bytes_are_a_packet_that_rebuilds_or_the_one_error(data: bytes) -> None:
    try:
        packet = SmpPacket.parse(data)
    except MalformedMessageError:
        return
    assert packet.build() == data


@given(st.binary(max_size=300))
def test_any_bytes_can_be_searched(data: bytes) -> None:
    found = find_answer(data, LIST)
    assert found is None or found[1].answers(LIST)
