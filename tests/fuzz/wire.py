"""Harnesses of what comes over the line: frames, records of either side, SMP."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import vectorfile
from cobs import cobs
from fuzz.harness import Harness, NotTakenError, split

from protocol.bulk import Ack
from protocol.errors import MalformedFrameError, MalformedMessageError
from protocol.frame import ENCODED_LIMIT, Frame, FrameDecoder
from protocol.handshake import Hello, HelloReply
from protocol.messages import (
    REQUESTS,
    decode_reply,
    decode_request,
    encode_reply,
    encode_request,
)
from protocol.record import Record
from protocol.refusal import Refusal
from protocol.request import Request
from protocol.smp import SmpFraming, SmpGroup, SmpHeader, SmpOp, SmpPacket, find_answer
from protocol.unit import UnitHeader
from protocol.values import AfterState, Head

QUESTION = SmpPacket.ask(SmpOp.READ, SmpGroup.IMAGE, 0, seq=0x42, version=2, payload=b"\xbf\xff")
RECORDS: tuple[type[Record], ...] = (
    UnitHeader,
    Ack,
    Hello,
    HelloReply,
    SmpHeader,
    Refusal,
    Head,
    AfterState,
)


def _same_frames(data: bytes, taken: tuple[list[Frame], int]) -> None:
    """However a stream is cut, the same frames come out, and no more is kept than one."""
    frames, dropped = taken
    for size in (1, 7):
        decoder, found = FrameDecoder(), []
        for at in range(0, len(data), size):
            found += decoder.feed(data[at : at + size])
            assert len(decoder._pending) <= ENCODED_LIMIT
        assert (found, decoder.dropped) == (frames, dropped)
    assert all(frame.build() in data for frame in frames)


def _stream(data: bytes) -> tuple[list[Frame], int]:
    decoder = FrameDecoder()
    return decoder.feed(data), decoder.dropped


def _frame(data: bytes) -> Frame:
    """The CRC is made right: what guards against the wire must not guard against the fuzzer."""
    return Frame.parse(cobs.encode(data + zlib.crc32(data).to_bytes(4, "big")))


def _check_frame(data: bytes, frame: Frame) -> None:
    raw = bytes([frame.type]) + frame.seq.to_bytes(2, "big") + frame.body
    assert raw == data
    assert Frame.parse(frame.build()[:-1]) == frame


def _check_request(data: bytes, request: Request[Record]) -> None:
    assert encode_request(request) == data


def _reply(data: bytes) -> Record:
    opcode, plaintext = split(data, 1)
    kind = REQUESTS.get(opcode[0])
    if kind is None:
        raise NotTakenError
    return decode_reply(kind, plaintext)  # type: ignore[arg-type]  # only its REPLY is asked for


def _check_reply(data: bytes, reply: Record) -> None:
    assert encode_reply(reply) == data[1:]


def _record(data: bytes) -> Record:
    number, payload = split(data, 1)
    if number[0] >= len(RECORDS):
        raise NotTakenError
    kind = RECORDS[number[0]]
    return kind.parse(payload)


def _check_record(data: bytes, record: Record) -> None:
    assert record.build() == data[1:]


def _answer(data: bytes) -> tuple[SmpFraming, SmpPacket]:
    found = find_answer(data, QUESTION)
    if found is None:
        raise NotTakenError
    return found


def _check_answer(_data: bytes, found: tuple[SmpFraming, SmpPacket]) -> None:
    packet = found[1]
    assert packet.answers(QUESTION)
    again = find_answer(b"> \r\n" + packet.framed(SmpFraming.CONSOLE), QUESTION)
    assert again == (SmpFraming.CONSOLE, packet)


def _check_packet(data: bytes, packet: SmpPacket) -> None:
    assert packet.build() == data
    for framing in SmpFraming:
        find_answer(packet.framed(framing), QUESTION)
    if packet.answers(QUESTION):
        _check_answer(data, (SmpFraming.CONSOLE, packet))


def _frame_seeds() -> Iterator[bytes]:
    for vector in vectorfile.load("frames/frames.txt"):
        if vector["expect"] == "ok" and len(vector["wire"]) < 400:
            yield cobs.decode(bytes.fromhex(vector["wire"])[:-1])[:-4]


def _stream_seeds() -> Iterator[bytes]:
    for vector in vectorfile.load("frames/streams.txt"):
        if len(vector["input"]) < 1000:
            yield bytes.fromhex(vector["input"])


def _request_seeds() -> Iterator[bytes]:
    for vector in vectorfile.load("messages/requests.txt"):
        yield bytes.fromhex(vector["record"])


def _reply_seeds() -> Iterator[bytes]:
    requests = vectorfile.load("messages/requests.txt")
    opcodes = {vector["name"]: int(vector["opcode"], 16) for vector in requests}
    for vector in vectorfile.load("messages/replies.txt"):
        yield bytes([opcodes[vector["to"]]]) + bytes.fromhex(vector["record"])
    for vector in vectorfile.load("messages/refusals.txt"):
        yield bytes([0x02]) + bytes.fromhex(vector["record"])


def _record_seeds() -> Iterator[bytes]:
    for vector in vectorfile.load("upload/units.txt"):
        yield b"\x00" + bytes.fromhex(vector["unit"])[:13]
    yield b"\x01" + bytes(17)
    yield b"\x02" + Hello(1, 1, bytes(8)).build()
    yield b"\x03" + HelloReply(1, 1).build()
    yield b"\x04" + QUESTION.header.build()
    for vector in vectorfile.load("messages/refusals.txt"):
        yield b"\x05" + bytes.fromhex(vector["record"])[1:]
    yield b"\x06" + bytes(40)
    yield b"\x07" + bytes(12)


def smp_answer() -> SmpPacket:
    """An answer to QUESTION."""
    header = SmpHeader(QUESTION.header.first | 1, 0, 6, 1, 0x42, 0)
    return SmpPacket(header, b"\xa1\x62rc\x08\xff")


def _answer_seeds() -> Iterator[bytes]:
    for framing in SmpFraming:
        yield b"boot> " + smp_answer().framed(framing)
        yield QUESTION.framed(framing)


def _packet_seeds() -> Iterator[bytes]:
    yield smp_answer().build()
    yield QUESTION.build()


_FRAME = (MalformedFrameError,)
_RECORD = (MalformedMessageError,)
HARNESSES = (
    Harness("frame-stream", "bytes of the line", _stream, (), _same_frames, _stream_seeds, 600),
    Harness("frame", "a frame, CRC right", _frame, _FRAME, _check_frame, _frame_seeds, 4200),
    Harness(
        "request", "a host's record", decode_request, _RECORD, _check_request, _request_seeds, 1025
    ),
    Harness("reply", "a lock's record", _reply, _RECORD, _check_reply, _reply_seeds, 1026),
    Harness(
        "record", "records that stand alone", _record, _RECORD, _check_record, _record_seeds, 700
    ),
    Harness("smp-answer", "what a port says", _answer, (), _check_answer, _answer_seeds, 600),
    Harness(
        "smp-packet", "an SMP packet", SmpPacket.parse, _RECORD, _check_packet, _packet_seeds, 600
    ),
)
