"""Harnesses of what others send with a bug report: capture files, bundles, what is said in them."""

from __future__ import annotations

import io
import json
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import cbor2
from fuzz.harness import Harness, Pieces

from protocol.frame import Frame, FrameType
from protocol.smp import SmpFraming, SmpOp, SmpPacket
from svcport.cli.render_replay import replay as rendered
from svcport.diagnosis.traffic.replay import Replay
from svcport.diagnosis.traffic.streams import StreamDecoder
from svcport.operations.bundle import CAPTURE, capture_of
from svcport.transport.capturefile import (
    BAUD,
    CUT,
    MAGIC,
    About,
    CaptureError,
    CaptureReader,
    Cut,
    Kind,
    Record,
)

KINDS = [*Kind, 0, 99]
PACKET = SmpPacket.ask(
    SmpOp.WRITE, 1, 1, seq=3, version=2, payload=cbor2.dumps({"data": b"code", "off": 0})
)


def _records(data: bytes) -> list[Record]:
    return list(CaptureReader(io.BytesIO(data)))


def _check_records(data: bytes, records: list[Record]) -> None:
    assert data.startswith(MAGIC + b"".join(record.build() for record in records))
    _check_replay(records)


def _check_replay(records: list[Record]) -> None:
    """Shown as JSON and as text, whatever they are."""
    replay = Replay(raw=True)
    for record in records:
        replay.add(record)
    replay.finish()
    summary = {"ports": replay.ports(), "left_out": 0, "foreign_records": replay.foreign}
    shown = {"capture": {"svcport": "x"}, "records": replay.records(), "summary": summary}
    list(rendered(json.loads(json.dumps(shown, allow_nan=False))))


def _made(data: bytes) -> list[Record]:
    """Records with a right CRC, which says what the input likes."""
    pieces = Pieces(data)
    records = []
    while pieces.left and len(records) < 40:
        kind = KINDS[pieces.number() % len(KINDS)]
        port, time_us = pieces.number() % 3, pieces.number(3)
        records.append(Record(kind, port, time_us, pieces.some()))
    return records


def _check_made(_data: bytes, records: list[Record]) -> None:
    whole = MAGIC + b"".join(record.build() for record in records)
    assert _records(whole) == records
    _check_replay(records)


def _cut(data: bytes) -> int:
    """One direction's bytes, in two portions."""
    decoder = StreamDecoder()
    half = len(data) // 2
    pieces = [*decoder.feed(data[:half], 1), *decoder.feed(data[half:], 2), *decoder.finish()]
    return sum(piece.size for piece in pieces)


def _check_cut(data: bytes, size: int) -> None:
    assert len(data) - data.count(0) <= size <= len(data)


def _zip(data: bytes) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bundle.zip"
        path.write_bytes(data)
        return capture_of(path)


def _check_zip(_data: bytes, capture: bytes) -> None:
    assert isinstance(capture, bytes)


def _captures() -> Iterator[bytes]:
    yield MAGIC
    yield MAGIC + b"".join(record.build() for record in _story())
    yield (MAGIC + b"".join(record.build() for record in _story()))[:-9]


def _story() -> list[Record]:
    sent = Frame(FrameType.HELLO, 0, b"\1\1" + bytes(8)).build()
    heard = b"*** Booting ***\r\n" + PACKET.framed(SmpFraming.CONSOLE)
    return [
        Record(Kind.ABOUT, 0, 1, About("0.1.0", "restore", "2026-11-22T23:30:00Z").build()),
        Record(Kind.PORT, 0, 1, b"P0"),
        Record(Kind.OPENED, 0, 1, b""),
        Record(Kind.SENT, 0, 2, sent),
        Record(Kind.HEARD, 0, 3, heard),
        Record(Kind.BAUD, 0, 4, BAUD.pack(3_000_000)),
        Record(Kind.CUT, 0, 5, CUT.pack(Cut.RING, 100)),
        Record(Kind.LOST, 0, 5, b"pulled"),
        Record(Kind.CLOSED, 0, 6, b""),
    ]


def _stories() -> Iterator[bytes]:
    """As `_made` reads them."""
    story = b""
    for record in _story():
        story += bytes([KINDS.index(Kind(record.kind)), 0]) + record.time_us.to_bytes(3, "big")
        story += len(record.payload).to_bytes(2, "big") + record.payload
    yield story


def _streams() -> Iterator[bytes]:
    frame = Frame(FrameType.CONTROL, 1, b"sealed").build()
    for framing in SmpFraming:
        yield frame + PACKET.framed(framing) + b"text\n" + frame[:-3] + b"\0"


def _zips() -> Iterator[bytes]:
    for kind in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w", kind) as archive:
            archive.writestr(zipfile.ZipInfo(CAPTURE), MAGIC * 3, kind)
        yield stream.getvalue()


HARNESSES = (
    Harness("capture", "a capture file", _records, (CaptureError,), _check_records, _captures),
    Harness("capture-records", "any records, replayed", _made, (), _check_made, _stories),
    Harness("capture-stream", "any bytes of a line", _cut, (), _check_cut, _streams),
    Harness("bundle-zip", "the zip file of a bundle", _zip, (CaptureError,), _check_zip, _zips),
)
