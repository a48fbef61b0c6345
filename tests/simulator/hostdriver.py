"""A host for tests of the board, made of the wire's host halves; its clock is an attribute."""

from __future__ import annotations

import hashlib
import itertools
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from simulator.trainer import (
    REALM,
    SERIAL,
    TECHNICIAN,
    Key,
    Paper,
    digest,
    issuer_certificate,
    technician_certificate,
)

from images import encode_units, sector_digests
from protocol.acts import (
    Activate,
    Begin,
    Commit,
    Committed,
    Confirm,
    Receipted,
    Rollback,
    TransferReady,
)
from protocol.bulk import TransferState, UploadSender
from protocol.channel import HostChannel
from protocol.frame import Frame, FrameDecoder, FrameType
from protocol.handshake import HostHandshake, auth_message
from protocol.messages import decode_reply, encode_request
from protocol.noise import SessionKeys
from protocol.objects import Entry, EntryKind
from protocol.queries import Auth, AuthAccepted, SectorDigests, Slots
from protocol.refusal import Refusal, RefusalCode
from protocol.request import R, Request
from protocol.unit import UnitHeader, UnitKind
from protocol.values import ZERO_DIGEST, Head, Op, Slot
from svcport.simulator.board import Board

NO_PAPER = Paper(b"", b"", ZERO_DIGEST)


class RefusedByLock(Exception):  # noqa: N818 - an answer that a test may want
    """The lock's refusal, where a test wanted a reply."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(f"{refusal.code.name} {refusal.detail}")
        self.refusal = refusal
        self.code = refusal.code


class Silence(Exception):  # noqa: N818 - an answer that a test may want
    """The lock gave no answer."""


@dataclass
class Host:
    """One laptop at one board; every answer is awaited for at most `patience_s`."""

    board: Board
    now: float = 1.0
    technician: Key = TECHNICIAN
    issuer_cert: bytes = b""
    technician_cert: bytes = b""
    patience_s: float = 5.0
    block_size: int = 4096

    def __post_init__(self) -> None:
        self.issuer_cert = self.issuer_cert or issuer_certificate()
        self.technician_cert = self.technician_cert or technician_certificate()
        self.decoder = FrameDecoder()
        self.inbox: list[Frame] = []
        self.intents = 0
        self.rng = random.Random(9)
        self.keys = SessionKeys(b"", b"", b"")
        self.head = Head(0, b"")

    def write(self, data: bytes) -> None:
        self.board.receive(data, self.now)

    def frames(self) -> list[Frame]:
        return self.decoder.feed(self.board.poll(self.now))

    def wait(self, *wanted: FrameType) -> Frame:
        """The first frame of those types; moves the clock to when the board has something to do."""
        until = self.now + self.patience_s
        while True:
            self.inbox += self.frames()
            while self.inbox:
                frame = self.inbox.pop(0)
                if frame.type in wanted:
                    return frame
            at = self.board.wake_at()
            if at is None or at > until:
                self.now = until
                raise Silence
            self.now = max(self.now, at)

    def handshake(self) -> None:
        shake = HostHandshake(self.rng.randbytes(8), self.rng.randbytes(32))
        self.write(Frame(FrameType.HELLO, 0, shake.hello()).build())
        first = shake.on_hello(self.wait(FrameType.HELLO_REPLY).body)
        self.write(Frame(FrameType.NOISE, 0, first).build())
        opened = shake.on_answer(self.wait(FrameType.NOISE_REPLY).body)
        self.keys, self.channel = opened.keys, HostChannel(opened.keys)

    def ask(self, request: Request[R]) -> R | Refusal:
        self.write(self.channel.send(encode_request(request)))
        while True:
            plaintext = self.channel.receive(self.wait(FrameType.CONTROL_REPLY))
            if plaintext is not None:
                return decode_reply(request, plaintext)

    def call(self, request: Request[R]) -> R:
        reply = self.ask(request)
        if isinstance(reply, Refusal):
            raise RefusedByLock(reply)
        return reply

    def auth(self) -> Auth:
        message = auth_message(REALM, self.keys.handshake_hash, self.technician_cert)
        return Auth(self.issuer_cert, self.technician_cert, self.technician.sign(message))

    def login(self) -> AuthAccepted:
        self.now += 0.5  # a reset may still be under way
        self.handshake()
        accepted = self.call(self.auth())
        self.head = accepted.head
        return accepted

    def intent(
        self, what: Op, image: bytes, ticket: bytes = ZERO_DIGEST, **changes: object
    ) -> bytes:
        """A good INTENT but for `changes`; no two are alike."""
        self.intents += 1
        entry = Entry(
            origin="training.test/bench",
            kind=EntryKind.INTENT,
            host_time=1_788_000_100 + self.intents,
            op=what,
            lock_serial=SERIAL,
            ticket_id=ticket,
            image_digest=image,
            technician_hash=hashlib.sha256(self.technician_cert).digest(),
            session=self.keys.handshake_hash,
            lock_head=self.head,
        )
        entry = replace(entry, **changes)  # type: ignore[arg-type]
        return entry.seal(REALM, self.technician).build()

    def target(self) -> Slot:
        return self.call(Slots()).target

    def missing(self, data: bytes) -> list[int]:
        """Sectors of the target slot that do not verifiably hold the image's."""
        wanted = sector_digests(data)
        held = self.call(SectorDigests(self.target(), 0, len(wanted))).digests
        return [n for n, (want, have) in enumerate(zip(wanted, held, strict=True)) if want != have]

    def begin(
        self,
        data: bytes,
        op: Op = Op.UPDATE,
        paper: Paper = NO_PAPER,
        *,
        intent: bytes = b"",
        sectors: Sequence[int] | None = None,
        **changes: object,
    ) -> TransferReady:
        sectors = self.missing(data) if sectors is None else sectors
        request = Begin(
            intent or self.intent(op, digest(data), paper.id),
            paper.ticket,
            paper.issuer,
            self.target(),
            len(data),
            ZERO_DIGEST,
            bitmap(sectors),
        )
        return self.call(replace(request, **changes))  # type: ignore[arg-type]

    def upload(self, ready: TransferReady, stream: bytes) -> UploadSender:
        """Send a stream of units; gives the sender when the lock has ended the transfer."""
        sender = UploadSender(
            self.keys, ready.transfer_id, blocks(stream, self.block_size), ready.window
        )
        while not sender.finished:
            while (data := sender.next_frame()) is not None:
                self.write(data)
            sender.receive(self.wait(FrameType.ACK))
        return sender

    def upload_some(self, ready: TransferReady, stream: bytes, count: int) -> UploadSender:
        """Send the first blocks of a stream and take the acknowledgements for them."""
        source = itertools.islice(blocks(stream, self.block_size), count)
        sender = UploadSender(self.keys, ready.transfer_id, source, ready.window)
        while (data := sender.next_frame()) is not None:
            self.write(data)
        for frame in self.frames():
            sender.receive(frame)
        return sender

    def send_image(self, data: bytes, op: Op = Op.UPDATE, paper: Paper = NO_PAPER) -> Committed:
        sectors = self.missing(data)
        ready = self.begin(data, op, paper, sectors=sectors)
        if sectors:
            sender = self.upload(ready, unit_stream(data, sectors))
            assert sender.state is TransferState.COMPLETE
        return self.call(Commit(ready.transfer_id))

    def install(self, data: bytes, op: Op = Op.UPDATE, paper: Paper = NO_PAPER) -> Receipted:
        """The whole of an update or restore, confirmed."""
        self.login()
        self.send_image(data, op, paper)
        self.call(Activate())
        self.login()
        return self.call(Confirm())

    def rollback(self, data: bytes, paper: Paper) -> None:
        intent = self.intent(Op.ROLLBACK, digest(data), paper.id)
        self.call(Rollback(intent, paper.ticket, paper.issuer))


def refused(host: Host, request: Request[R]) -> RefusalCode:
    reply = host.ask(request)
    assert isinstance(reply, Refusal), reply
    return reply.code


def bitmap(sectors: Iterable[int]) -> bytes:
    bits = bytearray(14)
    for sector in sectors:
        bits[sector // 8] |= 0x80 >> sector % 8
    return bytes(bits)


def unit_stream(data: bytes, sectors: Iterable[int], base: bytes = b"") -> bytes:
    return b"".join(
        UnitHeader(u.sector, UnitKind(u.kind), len(u.payload), u.check).build() + u.payload
        for u in encode_units(data, sectors, base)
    )


def blocks(stream: bytes, size: int) -> Iterator[bytes]:
    return (stream[start : start + size] for start in range(0, len(stream), size))
