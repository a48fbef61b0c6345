"""A capture's records, decoded and in order: what a bug report shows. No I/O, no clock."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final

from protocol.frame import Frame, FrameType
from svcport.diagnosis.traffic import frames
from svcport.diagnosis.traffic.blanking import ConsoleBlanker, blanked
from svcport.diagnosis.traffic.smpshown import SmpFound
from svcport.diagnosis.traffic.streams import Garbage, Piece, StreamDecoder, Text
from svcport.diagnosis.traffic.tally import Tally, seconds
from svcport.transport.capturefile import BAUD, CUT, About, Cut, Kind, Record
from svcport.transport.port import FIRST_BAUD

SHOWN_LIMIT: Final = 100_000
"""Most records that are shown; the summary is of all."""

REMEMBERED: Final = 128
"""Frames of a side that are remembered, to know one that comes again."""

_UNIQUE: Final = frozenset(
    (
        FrameType.HELLO,
        FrameType.NOISE,
        FrameType.NOISE_REPLY,
        FrameType.CONTROL,
        FrameType.CONTROL_REPLY,
        FrameType.BLOCK,
    )
)
"""Frames that are never the same twice unless they are sent again."""

_SIDES: Final = {Kind.SENT: "host", Kind.HEARD: "lock"}
_EVENTS: Final = {
    Kind.OPENED: "opened",
    Kind.NOT_OPENED: "not-opened",
    Kind.LOST: "lost",
    Kind.CLOSED: "closed",
}
_BREAKS: Final = frozenset((*_EVENTS, Kind.BAUD, Kind.CUT))
_CUTS: Final = {Cut.LIMIT: "size limit", Cut.RING: "kept in memory", Cut.DISK: "disk"}


@dataclass(frozen=True, slots=True)
class Shown:
    """One thing that happened; `side` is `host`, `lock`, or empty for what neither sent."""

    time_us: int
    port: str
    side: str
    kind: str
    size: int
    facts: dict[str, Any]

    def as_json(self, start_us: int) -> dict[str, Any]:
        """A member of `records[]`; times are seconds from the capture's first record on."""
        told: dict[str, Any] = {"time": seconds(self.time_us - start_us), "port": self.port}
        if self.side:
            told |= {"from": self.side}
        told["kind"] = self.kind
        if self.size:
            told["size"] = self.size
        return {**told, **self.facts}


class _Side:
    """One direction of one port."""

    def __init__(self, name: str, tally: Tally, *, raw: bool) -> None:
        self._name = name
        self._tally = tally
        self._raw = raw
        self._decoder = StreamDecoder()
        self._blanker = ConsoleBlanker()
        self._sent: dict[tuple[object, ...], None] = {}
        self._garbage: Shown | None = None

    def feed(self, data: bytes, time_us: int) -> Iterator[Shown]:
        self._tally.heard(self._name, len(data), time_us)
        return self._shown(self._decoder.feed(data, time_us))

    def finish(self) -> Iterator[Shown]:
        """What waited, and the garbage that might have gone on."""
        yield from self._shown(self._decoder.finish())
        if self._garbage is not None:
            yield self._garbage
            self._garbage = None

    def _shown(self, pieces: Iterable[Piece]) -> Iterator[Shown]:
        for piece in pieces:
            if isinstance(piece.what, Garbage):
                self._add_garbage(piece, piece.what)
                continue
            if self._garbage is not None:
                yield self._garbage
                self._garbage = None
            kind, facts = self._facts(piece.what)
            yield Shown(piece.time_us, self._tally.port, self._name, kind, piece.size, facts)

    def _add_garbage(self, piece: Piece, garbage: Garbage) -> None:
        """Garbage in many pieces is told once."""
        self._tally.garbage_bytes[self._name] += piece.size
        self._tally.crc_errors[self._name] += garbage.crc_error
        before = self._garbage
        if before is not None:
            self._garbage = replace(before, size=before.size + piece.size)
            return
        facts = {"why": garbage.why}
        if self._raw:
            facts["hex"] = garbage.first.hex(" ")
        self._garbage = Shown(
            piece.time_us, self._tally.port, self._name, "garbage", piece.size, facts
        )

    def _facts(self, what: Frame | SmpFound | Text) -> tuple[str, dict[str, Any]]:
        match what:
            case Frame():
                self._tally.frames[self._name][frames.name_of(what)] += 1
                self._tally.upload_bytes += frames.block_bytes(what)
                return "frame", self._again(frames.facts(what), what)
            case SmpFound():
                self._tally.packets[self._name] += 1
                self._tally.upload_bytes += what.upload_bytes
                return "smp", self._again(what.facts(), what)
            case Text():
                self._tally.text_lines[self._name] += 1
                return "text", {"text": self._text(what.text)}

    def _text(self, text: str) -> str:
        """What a person or a tool typed may be anything; what a device says is looked through."""
        return blanked(len(text)) if self._name == "host" else self._blanker.line(text)

    def _again(self, facts: dict[str, Any], what: Frame | SmpFound) -> dict[str, Any]:
        """With `again` where the very same was sent shortly before."""
        if isinstance(what, Frame) and what.type not in _UNIQUE:
            return facts
        key = (what.type, what.seq, what.body) if isinstance(what, Frame) else (what.packet,)
        again = key in self._sent
        if again:
            self._tally.resends[self._name] += 1
            facts["again"] = True
        else:
            self._sent[key] = None
            if len(self._sent) > REMEMBERED:
                del self._sent[next(iter(self._sent))]
        return facts


@dataclass(slots=True)
class _Port:
    tally: Tally
    sides: dict[str, _Side]
    opened: bool = False


@dataclass(slots=True)
class Replay:
    """Takes the records of a capture one by one; knows at the end what to show.

    Attributes:
        about: who wrote the capture.
        port: only what happened there; None for all.
        raw: garbage with its first bytes, in hex.
        foreign: records of kinds that this version does not know.
        names: of all ports, also those that are not shown.
    """

    port: str | None = None
    raw: bool = False
    about: About = field(default_factory=lambda: About("", "", ""))
    foreign: int = 0
    names: dict[int, str] = field(default_factory=dict)
    left_out: int = 0
    _ports: dict[str, _Port] = field(default_factory=dict)
    _shown: list[Shown] = field(default_factory=list)
    _start_us: int | None = None

    def add(self, record: Record) -> None:
        """Take the next record."""
        if self._start_us is None:
            self._start_us = record.time_us
        match record.kind:
            case Kind.ABOUT:
                self.about = About.parse(record.payload)
            case Kind.PORT:
                name = shortened(record.payload)
                self.names[record.port] = name
            case _:
                self._of_port(record)

    def _of_port(self, record: Record) -> None:
        name = self.names.setdefault(record.port, f"port {record.port}")
        if self.port not in (None, name):
            return
        port = self._ports.get(name) or self._new(name)
        port.tally.seen(record.time_us)
        if record.kind in _SIDES:
            side = port.sides[_SIDES[Kind(record.kind)]]
            self._keep(side.feed(record.payload, record.time_us))
            return
        if record.kind not in _BREAKS:
            self.foreign += 1
            return
        for side in port.sides.values():
            self._keep(side.finish())
        kind, facts = _event(port, record)
        self._keep([Shown(record.time_us, name, "", kind, 0, facts)])

    def _new(self, name: str) -> _Port:
        tally = Tally(name)
        sides = {side: _Side(side, tally, raw=self.raw) for side in _SIDES.values()}
        self._ports[name] = _Port(tally, sides)
        return self._ports[name]

    def _keep(self, found: Iterable[Shown]) -> None:
        for shown in found:
            if len(self._shown) < SHOWN_LIMIT:
                self._shown.append(shown)
            else:
                self.left_out += 1

    def finish(self) -> None:
        """There are no more records."""
        for port in self._ports.values():
            for side in port.sides.values():
                self._keep(side.finish())
        self._shown.sort(key=lambda shown: shown.time_us)

    def records(self) -> list[dict[str, Any]]:
        """What happened, in order, for JSON."""
        start = self._start_us or 0
        return [shown.as_json(start) for shown in self._shown]

    def ports(self) -> list[dict[str, Any]]:
        """What each port's traffic adds up to, for JSON."""
        start = self._start_us or 0
        return [port.tally.as_json(start) for port in self._ports.values()]


def _event(port: _Port, record: Record) -> tuple[str, dict[str, Any]]:
    tally = port.tally
    if record.kind == Kind.BAUD:
        if len(record.payload) != BAUD.size:
            return "baud", {"baud": None}
        (baud,) = BAUD.unpack(record.payload)
        tally.baud(baud)
        return "baud", {"baud": baud}
    if record.kind == Kind.CUT:
        why, missing = CUT.unpack(record.payload) if len(record.payload) == CUT.size else (0, 0)
        tally.missing_bytes += missing
        tally.interrupted()
        return "cut", {"why": _CUTS.get(why, "unknown"), "missing_bytes": missing}
    kind = _EVENTS[Kind(record.kind)]
    tally.counts[kind.replace("-", "_")] += 1
    tally.interrupted()
    if record.kind == Kind.OPENED:
        facts = {"baud": FIRST_BAUD, "again": port.opened}
        tally.baud(FIRST_BAUD)
        port.opened = True
        return kind, facts
    if record.payload:
        return kind, {"message": shortened(record.payload)}
    return kind, {}


def shortened(payload: bytes) -> str:
    """A name or message that the writer of the capture put there itself."""
    return payload[:200].decode("utf-8", "replace")
