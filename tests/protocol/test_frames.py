from __future__ import annotations

import itertools
import zlib

import pytest
from cobs import cobs
from hypothesis import given
from hypothesis import strategies as st
from vectorfile import Vector, check, error_name, load

from protocol.errors import MalformedFrameError, ProtocolError
from protocol.frame import (
    BAUD_PATTERN,
    BODY_LIMIT,
    DELIMITER,
    ENCODED_LIMIT,
    Frame,
    FrameDecoder,
    FrameType,
)

FRAMES_FILE = "frames/frames.txt"
STREAMS_FILE = "frames/streams.txt"
FRAMES_HEADING = """\
Frames as they stand on the wire, the closing delimiter 00 included. A malformed one is dropped and
counted; nothing is answered."""
STREAMS_HEADING = """\
Runs of bytes, the frames that a receiver takes out of them in order (type, seq, body) and how many
pieces it drops. The result does not depend on how the run is cut."""

FRAMES = {
    "no-session": Frame(FrameType.NO_SESSION, 0x1234, b""),
    "hello": Frame(FrameType.HELLO, 0, bytes.fromhex("01010001020304050607")),
    "zeros": Frame(FrameType.CONTROL, 0, bytes(5)),
    "seq-ffff": Frame(FrameType.CONTROL_REPLY, 0xFFFF, b"\x01"),
    "run-of-253": Frame(FrameType.BLOCK, 0, b"\0" + b"\xaa" * 252 + b"\0"),
    "run-of-254": Frame(FrameType.BLOCK, 0, b"\0" + b"\xaa" * 254 + b"\0"),
    "run-of-255": Frame(FrameType.BLOCK, 0, b"\0" + b"\xaa" * 255 + b"\0"),
    "run-of-254-ends-the-frame": Frame(FrameType.BLOCK, 0, b"\0" + b"\xaa" * 250),
    "baud-test": Frame(FrameType.BAUD_TEST, 0, BAUD_PATTERN),
    "longest": Frame(FrameType.BLOCK, 0xBEEF, bytes(n * n & 0xFF for n in range(BODY_LIMIT))),
}


def _raw(kind: int, body: bytes) -> bytes:
    raw = bytes([kind, 0, 0]) + body
    return raw + zlib.crc32(raw).to_bytes(4, "big")


def _malformed() -> dict[str, bytes]:
    good = FRAMES["hello"].build()
    ends = FRAMES["run-of-254-ends-the-frame"].build()
    assert ends[-256] == 0xFF
    crc_swapped = bytes([5, 0, 0]) + zlib.crc32(bytes([5, 0, 0])).to_bytes(4, "little")
    return {
        "type-0-is-none": cobs.encode(_raw(0, b"")) + DELIMITER,
        "type-0x0c-is-none": cobs.encode(_raw(12, b"")) + DELIMITER,
        "flipped-bit": good[:9] + bytes([good[9] ^ 4]) + good[10:],
        "crc-little-endian": cobs.encode(crc_swapped) + DELIMITER,
        "cut": good[:-3] + DELIMITER,
        "six-bytes": cobs.encode(bytes(6)) + DELIMITER,
        "no-cobs": b"\x05\x01\x02\0",
        "needless-01-after-a-run-of-254": ends[:-1] + b"\x01" + DELIMITER,
        "body-of-4113": cobs.encode(_raw(7, bytes(BODY_LIMIT + 1))) + DELIMITER,
    }


def _frame_vectors() -> list[Vector]:
    good = [
        {
            "name": name,
            "type": f"{frame.type:#04x}",
            "seq": str(frame.seq),
            "body": frame.body.hex(),
            "wire": frame.build().hex(),
            "expect": "ok",
        }
        for name, frame in FRAMES.items()
    ]
    bad = [
        {"name": name, "wire": wire.hex(), "expect": "malformed-frame"}
        for name, wire in _malformed().items()
    ]
    return good + bad


def _stream_vectors() -> list[Vector]:
    one, two = FRAMES["hello"].build(), FRAMES["zeros"].build()
    damaged = _malformed()["flipped-bit"]
    streams = {
        "two-frames": one + two,
        "delimiters-between-frames-are-nothing": b"\0\0" + one + b"\0\0\0" + two,
        "noise-spoils-the-frame-it-touches": b"\xff\x13" + one + two,
        "a-delimiter-first-saves-it": b"\xff\x13" + b"\0" + one + two,
        "damage-costs-one-frame": one + damaged + two,
        "unfinished-frame-waits": one + two[:-1],
        "cut-frame-takes-the-next-along": one[:-1] + one + two,
        "too-long-is-one-piece": b"\x01" * (ENCODED_LIMIT + 1) + b"\0" + one,
        "silence": b"",
    }
    return [{"name": name, "input": data.hex()} | _taken(data) for name, data in streams.items()]


def _taken(data: bytes) -> Vector:
    decoder = FrameDecoder()
    frames = decoder.feed(data)
    found = {"frames": str(len(frames))}
    found |= {f"frame.{n}": f"{f.type} {f.seq} {f.body.hex()}" for n, f in enumerate(frames)}
    return found | {"dropped": str(decoder.dropped)}


def test_frames_are_written_as_their_vectors_say() -> None:
    check(FRAMES_FILE, FRAMES_HEADING, _frame_vectors())


def test_streams_are_cut_as_their_vectors_say() -> None:
    check(STREAMS_FILE, STREAMS_HEADING, _stream_vectors())


@pytest.mark.parametrize("vector", load(FRAMES_FILE), ids=lambda v: v["name"])
def test_a_frame_vector_reads_back(vector: Vector) -> None:
    wire = bytes.fromhex(vector["wire"])
    assert wire.count(0) == 1
    if vector["expect"] == "ok":
        assert Frame.parse(wire[:-1]) == FRAMES[vector["name"]]
        return

    with pytest.raises(ProtocolError) as caught:
        Frame.parse(wire[:-1])
    assert error_name(caught.type) == vector["expect"]


def test_a_long_run_of_noise_is_dropped_unread_and_costs_one_piece() -> None:
    decoder = FrameDecoder()
    for _ in range(1000):
        assert decoder.feed(b"\x55" * 1000) == []
    assert len(decoder._pending) <= ENCODED_LIMIT

    assert decoder.feed(b"\0" + FRAMES["zeros"].build()) == [FRAMES["zeros"]]
    assert decoder.dropped == 1


def test_a_body_of_4113_bytes_is_not_written() -> None:
    with pytest.raises(MalformedFrameError):
        Frame(FrameType.BLOCK, 0, bytes(BODY_LIMIT + 1)).build()


def test_the_longest_frame_fits_the_encoded_limit() -> None:
    assert len(Frame(FrameType.BLOCK, 0xFFFF, b"\xff" * BODY_LIMIT).build()) <= ENCODED_LIMIT + 1


frames = st.builds(
    Frame, st.sampled_from(FrameType), st.integers(0, 0xFFFF), st.binary(max_size=600)
)


@given(st.binary(max_size=600))
def test_any_bytes_are_a_frame_that_rebuilds_or_malformed(data: bytes) -> None:
    try:
        frame = Frame.parse(data)
    except MalformedFrameError:
        return
    assert frame.build() == data + DELIMITER


@given(frames)
def test_any_frame_survives_the_wire(frame: Frame) -> None:
    wire = frame.build()

    assert DELIMITER not in wire[:-1]
    assert Frame.parse(wire[:-1]) == frame


@given(frames, st.data())
def test_a_changed_byte_never_passes_for_another_frame(frame: Frame, data: st.DataObject) -> None:
    wire = bytearray(frame.build())
    place = data.draw(st.integers(0, len(wire) - 2))
    wire[place] ^= data.draw(st.integers(1, 255))

    assert frame not in FrameDecoder().feed(bytes(wire))


pieces = st.one_of(frames.map(Frame.build), st.binary(max_size=40), st.just(b"\0"))


@given(st.lists(pieces, max_size=6), st.lists(st.integers(0, 700), max_size=8))
def test_cuts_do_not_change_what_comes_out_of_a_stream(run: list[bytes], cuts: list[int]) -> None:
    data = b"".join(run)
    whole, bytewise, cut = FrameDecoder(), FrameDecoder(), FrameDecoder()
    places = [0, *sorted(c % (len(data) + 1) for c in cuts), len(data)]

    expected = whole.feed(data)

    assert [f for n in range(len(data)) for f in bytewise.feed(data[n : n + 1])] == expected
    parts = [data[a:b] for a, b in itertools.pairwise(places)]
    assert [f for part in parts for f in cut.feed(part)] == expected
    assert whole.dropped == bytewise.dropped == cut.dropped


@given(st.binary(max_size=200), frames)
def test_a_frame_after_any_noise_and_a_delimiter_arrives(noise: bytes, frame: Frame) -> None:
    decoder = FrameDecoder()

    assert decoder.feed(noise + DELIMITER + frame.build())[-1] == frame
