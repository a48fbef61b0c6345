from __future__ import annotations

from random import Random

import cbor2
import pytest

from protocol.smp import SmpFraming, SmpHeader, SmpPacket
from protocol.smp_stream import PACKET_LIMIT, TEXT_KEPT, SmpDecoder, decoder_for

FRAMINGS = list(SmpFraming)
CHATTER = b"[00:00:01.139,024] \x1b[0m<inf> mcuboot_util: Image index: 0\x1b[0m\r\nuart:~$ "


def reply(seq: int, size: int = 3, op: int = 0b01001) -> SmpPacket:
    payload = cbor2.dumps({"r": "x" * size})
    return SmpPacket(SmpHeader(op, 0, len(payload), 0, seq, 0), payload)


def fed(decoder: SmpDecoder, data: bytes, step: int) -> list[SmpPacket]:
    return [one for at in range(0, len(data), step) for one in decoder.feed(data[at : at + step])]


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("step", [1, 2, 7, 64, 100_000])
def test_packets_come_out_however_the_bytes_are_cut(framing: SmpFraming, step: int) -> None:
    packets = [reply(seq, size) for seq, size in enumerate((0, 1, 90, 91, 300, 1000, 8000))]
    data = b"".join(packet.framed(framing) for packet in packets)
    decoder = decoder_for(framing)
    assert fed(decoder, data, step) == packets
    assert decoder.held == 0


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("step", [1, 5, 100_000])
def test_text_between_packets_is_passed_over_and_kept(framing: SmpFraming, step: int) -> None:
    ends = b"\0" if framing is SmpFraming.COBS else b"\n"
    packets = [reply(seq, 200) for seq in range(5)]
    data = b"".join(CHATTER + ends + packet.framed(framing) for packet in packets)
    decoder = decoder_for(framing)
    assert fed(decoder, data, step) == packets
    assert decoder.text_size >= 5 * len(CHATTER.replace(b"\r", b"\n").strip(b"\n"))
    assert b"mcuboot_util: Image index: 0" in decoder.text


def test_a_prompt_on_the_same_line_does_not_hide_a_packet() -> None:
    decoder = decoder_for(SmpFraming.CONSOLE)
    assert decoder.feed(b"uart:~$ " + reply(1).framed(SmpFraming.CONSOLE)) == [reply(1)]
    assert decoder.text == b"uart:~$ "


def test_log_lines_between_the_lines_of_one_packet_harm_nothing() -> None:
    lines = reply(1, 400).framed(SmpFraming.CONSOLE).splitlines(keepends=True)
    assert len(lines) > 3
    decoder = decoder_for(SmpFraming.CONSOLE)
    assert decoder.feed(CHATTER.join(lines)) == [reply(1, 400)]


@pytest.mark.parametrize("framing", FRAMINGS)
def test_half_a_packet_is_forgotten_when_told_so(framing: SmpFraming) -> None:
    decoder = decoder_for(framing)
    whole = reply(1, 400).framed(framing)
    assert decoder.feed(whole[: len(whole) // 2]) == []
    assert decoder.held > 0
    decoder.reset()
    assert decoder.held == 0
    assert decoder.feed(reply(2).framed(framing)) == [reply(2)]


@pytest.mark.parametrize("framing", [SmpFraming.CONSOLE, SmpFraming.COBS])
def test_half_a_packet_before_a_whole_one_costs_only_itself(framing: SmpFraming) -> None:
    decoder = decoder_for(framing)
    half = reply(1, 400).framed(framing)[:200]
    assert decoder.feed(half + b"\n" + reply(2).framed(framing)) == [reply(2)]


@pytest.mark.parametrize("framing", [SmpFraming.CONSOLE, SmpFraming.COBS])
def test_any_flipped_bit_loses_the_packet_and_nothing_else(framing: SmpFraming) -> None:
    whole = reply(1, 40).framed(framing)
    for bit in range(len(whole) * 8):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        decoder = decoder_for(framing)
        found = decoder.feed(bytes(damaged) + reply(2).framed(framing))
        found += decoder.feed(reply(3).framed(framing))
        assert reply(3) in found
        assert [one for one in found if one not in (reply(1, 40), reply(2), reply(3))] == []


def test_a_raw_packet_is_found_behind_bytes_that_look_like_a_header() -> None:
    decoder = decoder_for(SmpFraming.RAW)
    false = bytes([0x01, 0, 0, 4, 0, 0, 0, 0]) + b"\xbf\x61a\x00"
    assert decoder.feed(false + reply(2).build()) == [reply(2)]
    assert decoder.text_size > 0


def test_a_raw_question_sent_back_by_an_echo_is_no_packet() -> None:
    decoder = decoder_for(SmpFraming.RAW)
    assert decoder.feed(reply(1, op=0b01000).build() + reply(2).build()) == [reply(2)]


@pytest.mark.parametrize("framing", FRAMINGS)
def test_memory_is_bounded_whatever_is_said(framing: SmpFraming) -> None:
    random = Random(3)
    flood = {
        "no line ends": b"A" * 300_000,
        "a first line, and no end": b"\x06\x09" + b"A" * 300_000,
        "lines that go on": (b"\x06\x09AAAA\n" + b"\x04\x14AAAA\n" * 40_000),
        "headers": bytes([1, 0, 31, 255, 0, 0, 0, 0, 0xB9]) * 20_000,
        "noise": random.randbytes(200_000),
    }
    for data in flood.values():
        decoder = decoder_for(framing)
        for at in range(0, len(data), 4096):
            decoder.feed(data[at : at + 4096])
            assert decoder.held <= 2 * (PACKET_LIMIT * 4 // 3 + 64) + 4096
            assert len(decoder.text) <= TEXT_KEPT
