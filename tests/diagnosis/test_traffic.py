from __future__ import annotations

import io
import json
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import cbor2
import pytest
from fieldkit import make_field
from hypothesis import given
from hypothesis import strategies as st
from locksim import Bench

from protocol.frame import BAUD_PATTERN, Frame, FrameType
from protocol.smp import SmpFraming, SmpOp, SmpPacket
from svcport.diagnosis.traffic.blanking import ConsoleBlanker, harmless_text
from svcport.diagnosis.traffic.replay import Replay
from svcport.diagnosis.traffic.smpshown import SmpFound, read_map
from svcport.diagnosis.traffic.streams import Garbage, Piece, StreamDecoder, Text
from svcport.operations import commands
from svcport.operations.installation import Installation
from svcport.operations.workplace import Target
from svcport.transport.capture import Recorder
from svcport.transport.capturefile import BAUD, About, CaptureReader, Kind, Record

SECOND = 1_000_000
FRAME = Frame(FrameType.CONTROL, 7, b"\0sealed\n\0" * 20)


def packet(
    seq: int = 1, *, version: int = 2, op: SmpOp = SmpOp.READ_REPLY, **fields: Any
) -> SmpPacket:
    return SmpPacket.ask(op, 1, 0, seq=seq, version=version, payload=cbor2.dumps(fields))


def cut(*portions: bytes) -> list[Piece]:
    decoder = StreamDecoder()
    found = [piece for at, data in enumerate(portions) for piece in decoder.feed(data, at)]
    return found + decoder.finish()


def replayed(*records: tuple[int, float, Kind, bytes], **options: Any) -> Replay:
    """Of (port, seconds, kind, payload)."""
    replay = Replay(**options)
    for port, seconds, kind, payload in records:
        replay.add(Record(kind, port, int(seconds * SECOND), payload))
    replay.finish()
    return replay


MIXED = (
    b"*** Booting ***\r\n",
    FRAME.build(),
    packet(1, images=[]).framed(SmpFraming.COBS),
    b"text between\n",
    packet(2, data=bytes(300)).framed(SmpFraming.CONSOLE),
    b"I: more text\r\n",
    packet(3, rc=0).framed(SmpFraming.RAW),
    packet(4, version=1, op=SmpOp.READ, off=8).framed(SmpFraming.RAW),
    Frame(FrameType.ACK, 3, bytes(40)).build(),
    b"> ",
)


def told(pieces: list[Piece]) -> list[object]:
    return [
        (piece.what.framing, piece.what.packet) if isinstance(piece.what, SmpFound) else piece.what
        for piece in pieces
    ]


EXPECTED: list[object] = [
    Text("*** Booting ***"),
    FRAME,
    (SmpFraming.COBS, packet(1, images=[])),
    Text("text between"),
    (SmpFraming.CONSOLE, packet(2, data=bytes(300))),
    Text("I: more text"),
    (SmpFraming.RAW, packet(3, rc=0)),
    (SmpFraming.RAW, packet(4, version=1, op=SmpOp.READ, off=8)),
    Frame(FrameType.ACK, 3, bytes(40)),
    Text("> "),
]


def test_one_stream_may_hold_everything() -> None:
    # the frame right behind text has its start in the text, so a delimiter goes before it
    stream = list(MIXED)
    stream[1] = b"\0" + stream[1]
    assert told(cut(b"".join(stream))) == EXPECTED


@given(st.lists(st.integers(0, 800), max_size=12))
def test_how_the_bytes_come_makes_no_difference(places: list[int]) -> None:
    whole = MIXED[0] + b"\0" + b"".join(MIXED[1:])
    edges = sorted({0, len(whole), *(place for place in places if place < len(whole))})
    portions = [whole[a:b] for a, b in pairwise(edges)]
    assert told(cut(*portions)) == EXPECTED


def test_a_piece_has_the_time_of_its_first_byte() -> None:
    frame = FRAME.build()
    pieces = cut(frame[:5], frame[5:] + b"te", b"xt\n", b"more")
    assert [(piece.time_us, piece.what) for piece in pieces] == [
        (0, FRAME),
        (1, Text("text")),
        (3, Text("more")),
    ]


@given(st.binary(max_size=600), st.integers(1, 600))
def test_every_byte_is_in_one_piece_but_for_empty_delimiters(data: bytes, step: int) -> None:
    pieces = cut(*(data[at : at + step] for at in range(0, len(data), step)))
    size = sum(piece.size for piece in pieces)
    assert len(data) - data.count(0) <= size <= len(data)
    assert all(piece.size > 0 for piece in pieces)


def test_a_damaged_frame_is_garbage_with_a_wrong_crc() -> None:
    frame = bytearray(Frame(FrameType.CONTROL, 0x101, b"sealed" * 20).build())
    frame[10] ^= 0x01
    (piece,) = cut(bytes(frame))
    assert isinstance(piece.what, Garbage)
    assert (piece.what.why, piece.what.crc_error) == ("wrong CRC", True)


def test_text_may_be_of_any_alphabet() -> None:
    line = "Замок открыт"
    assert told(cut(line.encode() + b"\n")) == [Text(line)]
    assert isinstance(cut(b"\xd0\xff\n")[0].what, Garbage)


def test_what_never_ends_is_let_go_in_portions() -> None:
    pieces = cut(*(b"\xff" * 1000 for _time in range(100)))
    assert sum(piece.size for piece in pieces) == 100_000
    assert all(isinstance(piece.what, Garbage) for piece in pieces)
    lines = cut(*(b"a line of a log\n" * 100 for _time in range(100)))
    assert told(lines) == [Text("a line of a log")] * 10_000


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "unit", [b"\x01\0", b"\x01\x00\x1f\xf0\x00\x01\x05\x00\xbf", b"\x06\x09AA\n", b"\0\0\0\1\0"]
)
def test_what_looks_like_a_start_again_and_again_costs_time_in_proportion(unit: bytes) -> None:
    portion = unit * (4000 // len(unit))
    pieces = cut(*(portion for _time in range(200)))
    assert not any(isinstance(piece.what, Frame | SmpFound) for piece in pieces)


def test_half_a_console_packet_is_garbage() -> None:
    lines = packet(2, data=bytes(300)).framed(SmpFraming.CONSOLE).splitlines(keepends=True)
    assert len(lines) > 2
    found = told(cut(lines[0], lines[2], packet(3, rc=0).framed(SmpFraming.CONSOLE), lines[1]))
    assert [type(one) for one in found] == [Garbage, tuple, Garbage]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("I: Image version: v1.2.3", "I: Image version: v1.2.3"),
        ("wifi_psk=hunter2 now", "wifi_psk [blanked, 12 characters]"),
        ("Password: x y", "Password [blanked, 5 characters]"),
        ("password:", "password:"),
        ("monkey 5", "monkey 5"),
        ("d " + "0f" * 16, "d [blanked, 32 characters]"),
        ("dump " + "de ad be ef " * 4, "dump [blanked, 47 characters] "),
        ("x " + "Ab+/" * 11 + "=", "x [blanked, 45 characters]"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("y. " * 100, "y. " * 66 + "y.... (300 characters)"),
    ],
)
def test_what_may_be_a_secret_is_taken_out_of_text(text: str, shown: str) -> None:
    assert harmless_text(text) == shown


def test_a_key_in_pem_form_is_blanked_line_by_line() -> None:
    blanker = ConsoleBlanker()
    lines = ["-----BEGIN EC PRIVATE KEY-----", "MHcC", "AQE=", "-----END EC PRIVATE KEY-----", "ok"]
    shown = [blanker.line(line) for line in lines]
    assert shown[1:] == [
        "[blanked, 4 characters]",
        "[blanked, 4 characters]",
        "[blanked, 28 characters]",
        "ok",
    ]


def shown_map(**fields: Any) -> Any:
    return SmpFound(SmpFraming.RAW, packet(1, **fields)).facts()["map"]


def test_maps_show_no_byte_strings_and_nothing_that_is_called_a_secret() -> None:
    assert shown_map(hash=bytes(range(32)), data=b"firmware", n=[True, None, -1]) == {
        "hash": "0001020304050607... (32 bytes)",
        "data": "[8 bytes]",
        "n": [True, None, -1],
    }
    assert shown_map(pin=1234, wifi={"psk": "hunter2", "ssid": "home"}) == {
        "pin": "[blanked, 4 characters]",
        "wifi": {"psk": "[blanked, 7 characters]", "ssid": "home"},
    }
    assert shown_map(argv=["settings", "write", "wifi/psk", "hunter2"]) == {
        "argv": ["settings", "write", "wifi/psk", "[blanked]"]
    }
    assert shown_map(keys={"a": ["deep"]}) == {"keys": "[blanked]"}


def test_a_map_is_shown_to_a_limit() -> None:
    deep: Any = "end"
    for _level in range(14):
        deep = [deep]
    text = json.dumps(shown_map(inf=float("inf"), deep=deep, many=list(range(5000))))
    assert len(text) < 5000
    assert "..." in text
    assert '"inf"' in text


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\x80",
        b"\xa1",
        b"\xa1\x61a\xd8\x23\x63[[[",
        b"\xa1\x61a\xc1\x00",
        b"\xa0\x00",
        b"\xff",
    ],
    ids=["empty", "list", "cut", "pattern", "date", "more", "break"],
)
def test_what_is_no_plain_map_is_none(payload: bytes) -> None:
    assert read_map(payload) is None


@given(st.binary(max_size=200))
def test_any_bytes_are_a_map_or_none_and_a_map_can_be_shown(payload: bytes) -> None:
    for data in (payload, b"\xa1\x61a" + payload):
        if read_map(data) is not None:
            found = SmpPacket.ask(SmpOp.READ, 9, 0, seq=0, version=2, payload=data)
            json.dumps(SmpFound(SmpFraming.RAW, found).facts(), allow_nan=False)


def test_frames_that_are_sent_again_are_counted() -> None:
    other = Frame(FrameType.BLOCK, 8, bytes(500))
    found = replayed(
        (0, 0, Kind.PORT, b"P0"),
        (0, 0, Kind.OPENED, b""),
        (0, 0.1, Kind.SENT, FRAME.build() + other.build()),
        (0, 0.5, Kind.SENT, b"\0" + FRAME.build()),
        (0, 0.6, Kind.HEARD, Frame(FrameType.NO_SESSION, 0, b"").build() * 2),
    )
    kinds = [(one.get("frame"), one.get("again", False)) for one in found.records()]
    assert kinds == [
        (None, False),
        ("control", False),
        ("block", False),
        ("control", True),
        ("no-session", False),
        ("no-session", False),
    ]
    (summary,) = found.ports()
    assert summary["resends"] == {"host": 1, "lock": 0}
    assert summary["frames"]["host"] == {"block": 1, "control": 2}
    assert summary["upload_bytes"] == 500 - 16


def test_speeds_silences_and_losses_are_told() -> None:
    found = replayed(
        (1, 5, Kind.PORT, b"P1"),
        (1, 5, Kind.NOT_OPENED, b"busy"),
        (1, 6, Kind.OPENED, b""),
        (1, 6, Kind.SENT, Frame(FrameType.BAUD_TEST, 0, BAUD_PATTERN).build()),
        (1, 9.5, Kind.HEARD, Frame(FrameType.BAUD_ECHO, 0, b"x" + BAUD_PATTERN[1:]).build()),
        (1, 9.6, Kind.BAUD, BAUD.pack(230_400)),
        (1, 9.7, Kind.LOST, b"pulled"),
        (1, 9.7, Kind.CLOSED, b""),
        (1, 30, Kind.OPENED, b""),
        (1, 30, 99, b"of a newer svcport"),  # type: ignore[arg-type]
        (1, 30, Kind.BAUD, b"short"),
    )
    (summary,) = found.ports()
    assert summary["bauds"] == [115_200, 230_400]
    assert summary["gaps"] == [{"time": 1.0, "seconds": 3.5}]
    counts = {key: summary[key] for key in ("opened", "not_opened", "lost", "closed")}
    assert counts == {"opened": 2, "not_opened": 1, "lost": 1, "closed": 1}
    assert found.foreign == 1
    kinds = [one["kind"] for one in found.records()]
    assert kinds[:4] == ["not-opened", "opened", "frame", "frame"]
    assert [one.get("intact") for one in found.records()[2:4]] == [True, False]
    assert found.records()[-2]["again"] is True


def test_what_was_typed_is_not_shown_and_garbage_only_on_demand() -> None:
    records = (
        (0, 0.0, Kind.PORT, b"P0"),
        (0, 0.1, Kind.SENT, b"hunter2\r\n"),
        (0, 0.2, Kind.HEARD, b"\xf0\xf1\xf2" * 10),
        (0, 0.3, Kind.HEARD, b"\0\xf5\0\xf6\0"),
    )
    plain = replayed(*records)
    assert [one["kind"] for one in plain.records()] == ["text", "garbage"]
    assert plain.records()[0]["text"] == "[blanked, 7 characters]"
    assert plain.records()[1]["size"] == 30 + 5
    assert "f0" not in json.dumps(plain.records())
    assert replayed(*records, raw=True).records()[1]["hex"].startswith("f0 f1 f2")


def test_a_side_in_pieces_without_number_has_one_made_up() -> None:
    found = replayed((3, 0, Kind.SENT, b"x\n"))
    assert found.records()[0]["port"] == "port 3"


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 12), st.binary(max_size=80)), max_size=12)
)
def test_any_records_can_be_replayed(records: list[tuple[int, int, bytes]]) -> None:
    replay = Replay(raw=True)
    for at, (port, kind, payload) in enumerate(records):
        replay.add(Record(kind, port, at * SECOND, payload))
    replay.finish()
    json.dumps([replay.records(), replay.ports()], allow_nan=False)


def test_a_whole_restore_gives_away_no_byte_of_what_was_sealed(tmp_path: Path) -> None:
    field = make_field(tmp_path)
    recorder = Recorder(Bench(*field.cables.values()), None, clock=field.cable.clock)
    with Installation.open(field.home, secret=None, now=field.tick, opener=recorder) as opened:
        commands.restore(opened, Target("P0"), field.progress)
    replay = Replay(raw=True)
    for record in CaptureReader(io.BytesIO(recorder.kept(About("", "", "")))):
        replay.add(record)
    replay.finish()
    text = json.dumps(replay.records())
    assert "sealed" in text
    assert "handshake" in text
    assert re.search(r"[0-9a-fA-F]{8}|[A-Za-z0-9+/]{16}", text) is None
    (summary,) = replay.ports()
    assert summary["garbage_bytes"] == {"host": 0, "lock": 0}
    assert summary["upload_bytes"] > 0
    sizes = sum(one.get("size", 0) for one in replay.records())
    assert 0 <= summary["bytes"]["host"] + summary["bytes"]["lock"] - sizes < 100
