"""Harnesses of what an SMP device says: its line in every framing, and its replies."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cbor2
from fuzz.harness import Harness, NotTakenError, split
from fuzz.wire import QUESTION

from protocol.cbor import CborMap, encode_map
from protocol.errors import MalformedMessageError
from protocol.smp import SmpFraming, SmpHeader, SmpPacket
from protocol.smp_files import FileDownload, FileHash, FileStatus, FileUpload, ShellExecute
from protocol.smp_image import ImageState, SlotInfo, UploadChunk
from protocol.smp_messages import (
    Bootloader,
    Echo,
    GroupList,
    Info,
    Params,
    Reset,
    SmpFault,
    SmpRequest,
    StatList,
    StatRead,
    decode_answer,
)
from protocol.smp_stream import PACKET_LIMIT, TEXT_KEPT, decoder_for

FRAMINGS = tuple(SmpFraming)
HELD_LIMIT = 2 * (PACKET_LIMIT * 4 // 3 + 64) + PACKET_LIMIT

REQUESTS: tuple[SmpRequest[Any], ...] = (
    Echo(""),
    Reset(),
    Params(),
    Info(),
    Bootloader(),
    ImageState(),
    UploadChunk(0, b""),
    SlotInfo(),
    StatList(),
    StatRead(""),
    FileDownload(0, ""),
    FileUpload(0, b"", ""),
    FileStatus(""),
    FileHash(""),
    ShellExecute(()),
    GroupList(),
)

SAID: tuple[dict[str, Any], ...] = (
    {"r": "hi"},
    {},
    {"buf_size": 384, "buf_count": 4},
    {"output": "Zephyr"},
    {"bootloader": "MCUboot", "mode": 1, "no-downgrade": True},
    {"images": [{"slot": 0, "version": "1.2.3", "hash": bytes(8), "active": True}]},
    {"rc": 0, "off": 61, "match": True},
    {"images": [{"image": 0, "slots": [{"slot": 1, "size": 9, "upload_image_id": 0}]}]},
    {"stat_list": ["a", "b"]},
    {"name": "a", "fields": {"x": 1}},
    {"off": 0, "data": b"abc", "len": 3},
    {"off": 3},
    {"len": 3},
    {"type": "sha256", "len": 3, "output": b"abc"},
    {"o": "x", "ret": -8},
    {"groups": [0, 1]},
)
"""What a device answers to each of them."""


def _answer() -> SmpPacket:
    payload = cbor2.dumps({"rc": 8})
    return SmpPacket(SmpHeader(QUESTION.header.first | 1, 0, len(payload), 1, 0x42, 0), payload)


def _stream(data: bytes) -> list[SmpPacket]:
    number, line = split(data, 1)
    if number[0] >= len(FRAMINGS):
        raise NotTakenError
    return decoder_for(FRAMINGS[number[0]]).feed(line)


def _check_stream(data: bytes, packets: list[SmpPacket]) -> None:
    """However a line is cut, the same packets come out, and little is kept."""
    framing, line = FRAMINGS[data[0] if data else 0], data[1:]
    for size in (1, 5):
        decoder = decoder_for(framing)
        found = []
        for at in range(0, len(line), size):
            found += decoder.feed(line[at : at + size])
            assert decoder.held <= HELD_LIMIT
        assert found == packets
        assert len(decoder.text) <= TEXT_KEPT
        decoder.reset()
        assert decoder.held == 0
        whole = _answer()
        assert decoder.feed(whole.framed(framing))[-1:] == [whole]


def _reply(data: bytes) -> Any:
    number, payload = split(data, 1)
    if number[0] >= len(REQUESTS):
        raise NotTakenError
    return decode_answer(REQUESTS[number[0]], payload)


def _check_reply(data: bytes, reply: Any) -> None:
    """What was read is one plain map; a no has a code, and words."""
    fields = cbor2.loads(data[1:])
    assert CborMap.parse(encode_map(fields)).names() is not None
    if isinstance(reply, SmpFault):
        assert reply.rc != 0
        assert str(reply.rc) in str(reply)
    else:
        hash(reply)  # frozen through and through


def _stream_seeds() -> Iterator[bytes]:
    for number, framing in enumerate(FRAMINGS):
        lead = bytes([number])
        yield lead + b"boot> " + _answer().framed(framing)
        yield lead + _answer().framed(framing)[:9] + _answer().framed(framing)
        yield lead + _answer().framed(framing) * 2


def _reply_seeds() -> Iterator[bytes]:
    for number, said in enumerate(SAID):
        yield bytes([number]) + cbor2.dumps(said)
        yield bytes([number]) + b"\xbf" + cbor2.dumps(said)[1:] + b"\xff"
    yield b"\x06" + cbor2.dumps({"rc": 8})
    yield b"\x06" + cbor2.dumps({"err": {"group": 1, "rc": 30}})


_MALFORMED = (MalformedMessageError,)
HARNESSES = (
    Harness("smp-stream", "a device's line", _stream, (), _check_stream, _stream_seeds, 600),
    Harness("smp-reply", "a device's reply", _reply, _MALFORMED, _check_reply, _reply_seeds, 400),
)
