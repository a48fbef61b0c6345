"""Harnesses of the client: what a lock with hostile firmware, or no lock at all, may answer."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from unittest import mock

import messagecraft
import sealed_samples as samples
from fuzz.harness import Harness, Pieces, nothing_more, split
from fuzz.wire import smp_answer
from locksim import VirtualClock
from simulator.trainer import LOCK, MANUFACTURER, REALM, SERIAL, factory

from protocol.channel import LockChannel
from protocol.frame import Frame, FrameDecoder, FrameType
from protocol.handshake import Opened
from protocol.messages import decode_request, encode_reply
from protocol.noise import SessionKeys
from protocol.queries import Event, Measure, Measured
from protocol.record import Record
from protocol.request import Request
from protocol.sealed import Sealed
from protocol.smp import SmpFraming
from protocol.values import Slot
from svcport.diagnosis.findings import RULES
from svcport.errors import SvcportError
from svcport.locks import service_port
from svcport.locks.probe import probe
from svcport.locks.service_port import ServicePortLock
from svcport.locks.session import Link, LockAnchors, Session
from svcport.locks.snapshot import Snapshot

KEYS = SessionKeys(b"\x03" * 32, b"\x01" * 32, b"\x02" * 32)
REQUEST_LIMIT = 400
"""Requests after which a question counts as endless: the longest honest answer takes 12."""

SAMPLES = {type(request): reply for _, request, reply in reversed(messagecraft.MESSAGES)}
SILENCE_S = 0.25


class HostileLock:
    """A port with a lock whose session keys are known and whose answers the input decides.

    Each request takes a choice: the usual answer with some bytes changed, any record, silence, a
    broken seal, bytes of noise, a lost session. An input that is used up begins again.
    """

    name = "hostile"

    def __init__(self, data: bytes) -> None:
        self.clock = VirtualClock()
        self._data = data
        self._pieces = Pieces(data)
        self._channel = LockChannel(KEYS)
        self._decoder = FrameDecoder()
        self._out = b""
        self._asked = 0

    def write(self, data: bytes) -> None:
        """What the host says; its requests are answered."""
        self._asked += 1
        assert self._asked < REQUEST_LIMIT, "the host asks without an end"
        for frame in self._decoder.feed(data):
            if frame.type is FrameType.CONTROL:
                plaintext = self._channel.receive(frame)
                self._out += self._answer(plaintext) if plaintext else self._channel.repeat(frame)

    def read(self, timeout_s: float) -> bytes:
        """What was said since; silence takes its time."""
        if not self._out:
            self.clock.sleep(min(timeout_s, SILENCE_S))
        found, self._out = self._out, b""
        return found

    def set_baud(self, baud: int) -> None:
        """Any speed will do."""

    def close(self) -> None:
        """Nothing to let go."""

    def _answer(self, plaintext: bytes) -> bytes:
        if not self._pieces.left:
            self._pieces = Pieces(self._data)
        request = decode_request(plaintext)
        match self._pieces.number() & 7:
            case 5:
                return b""
            case 6:
                return self._pieces.some() + b"\0"
            case 7:
                return Frame(FrameType.NO_SESSION, self._pieces.number(2), b"").build()
            case 4:
                return self._channel.reply(self._pieces.some()[:1024])
            case edits:
                return self._channel.reply(self._edited(_usual(request), edits))

    def _edited(self, reply: bytes, edits: int) -> bytes:
        changed = bytearray(reply)
        for _ in range(edits):
            at, value = self._pieces.number(2), self._pieces.number()
            changed[at % len(changed)] = value
        return bytes(changed)


def _usual(request: Request[Record]) -> bytes:
    if isinstance(request, Measure):
        body = samples.BODIES["measurement"][1]
        statement = dataclasses.replace(body, serial=SERIAL, nonce=request.nonce, slot=request.slot)  # type: ignore[call-arg]
        return encode_reply(Measured(statement.seal(REALM, LOCK).build()))
    return encode_reply(SAMPLES[type(request)])


def _lock_at(data: bytes) -> ServicePortLock:
    """A client in a session with that lock; how it came to be is the handshake's business."""
    anchors = LockAnchors(REALM, MANUFACTURER.subject)
    with mock.patch.object(service_port, "open_session", _session):
        return ServicePortLock(anchors, HostileLock(data), HostileLock)  # type: ignore[arg-type]


def _session(link: Link, _anchors: LockAnchors, **_more: object) -> Session:
    certificate = Sealed.parse(factory().certificate)
    return Session(link, Opened(KEYS, certificate.build(), bytes(32)), certificate)


QUESTIONS: tuple[Callable[[ServicePortLock], object], ...] = (
    lambda lock: _described(lock.snapshot()),
    lambda lock: lock.receipts_since(0),
    lambda lock: lock.recent_events(80),
    lambda lock: lock.sector_digests(Slot.B, 112),
    lambda lock: lock.measure(Slot.B, None),
    lambda lock: lock.raise_speed(3_000_000),
    lambda lock: (lock.nonce(), lock.self_test(), lock.put_epoch(b"epoch"), lock.confirm()),
)


def _described(snapshot: Snapshot) -> Snapshot:
    """Whatever a lock says of itself can be judged and shown."""
    for rule in RULES:
        rule(snapshot, ())
    json.dumps(snapshot.as_json(), allow_nan=False)
    return snapshot


def _ask(data: bytes) -> None:
    which, rest = split(data, 1)
    QUESTIONS[which[0] % len(QUESTIONS)](_lock_at(rest))


class _Anything(HostileLock):
    """A port at which any bytes answer anything."""

    def write(self, data: bytes) -> None:
        """Each thing said takes a piece of the input."""
        self._asked += 1
        assert self._asked < REQUEST_LIMIT, "the host asks without an end"
        if self._pieces.number() & 1:
            self._out += self._pieces.some()


def _probe(data: bytes) -> None:
    port = _Anything(data)
    port._out, _ = split(data, 0)
    for finding in probe(port):
        assert finding.result in ("pass", "fail", "unknown")
        assert finding.detail
    assert port.clock.time < 1000.0 + 60.0


def _questions() -> Iterator[bytes]:
    for number in range(len(QUESTIONS)):
        yield bytes([number]) + bytes(20)
        yield bytes([number]) + bytes([1, 0, 5, 0xFF]) * 6
        yield bytes([number, 4, 0, 8]) + bytes([1, 0x24, 0, 0, 0, 0, 0, 0])
    yield _endless_events()
    yield bytes([0, 5, 7, 0, 0, 6, 0, 2, 9, 9])


def _endless_events() -> bytes:
    """The head stands far away, and every event is the first: asking on would never end."""
    head = b"\x00\xff\xff\xff\xff"
    event = Event(0, 0, 0, 1, 0)
    pages = (head + b"\x00", head + b"\x01" + Event.WIRE.build(dataclasses.asdict(event)))
    said = [b"\x04" + len(page).to_bytes(2, "big") + page for page in (*pages, *pages[1:] * 40)]
    return b"\x02" + b"".join(said)


def _noises() -> Iterator[bytes]:
    console = smp_answer().framed(SmpFraming.CONSOLE)
    for said in (b"login: ", console, Frame(FrameType.HELLO_REPLY, 0, b"\x01\x01").build()):
        yield (b"\x01" + len(said).to_bytes(2, "big") + said) * 4


HARNESSES = (
    Harness(
        "hostile-lock",
        "a lock's answers, in the client",
        _ask,
        (SvcportError,),
        nothing_more,
        _questions,
        1500,
    ),
    Harness("strange-port", "whatever a port says", _probe, (SvcportError,), nothing_more, _noises),
)
