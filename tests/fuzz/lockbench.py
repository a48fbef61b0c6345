"""A simulated lock, a host that may do anything to it, and all that must hold after each step.

Whatever comes: the running and the active image stay as they are; counters, receipts and dates
never go back; nothing changes before AUTH; an act opens only with an INTENT that its technician
signed for this session, and with the ticket that it names; each receipt is the lock's and joins the
chain; the lock says nothing but frames and records that are declared, and before AUTH one refusal,
always the same; a lock that had an image to run has one to run.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from functools import cache

from simulator import hostdriver, trainer
from simulator.trainer import LOCK, SERIAL, Key, Paper

from protocol.bulk import UPLOAD_INFO, UploadSender, _key
from protocol.channel import HostChannel
from protocol.errors import HandshakeError, ProtocolError
from protocol.frame import BODY_LIMIT, Frame, FrameDecoder, FrameType
from protocol.handshake import HelloReply, HostHandshake
from protocol.messages import decode_reply, decode_request, encode_request
from protocol.noise import SessionKeys, nonce
from protocol.objects import Entry, Receipt, chain_next
from protocol.queries import Auth, AuthAccepted
from protocol.record import Record
from protocol.refusal import Refusal, RefusalCode
from protocol.request import Request
from protocol.sealed import Sealed
from protocol.values import TICKETED, ZERO_DIGEST, ActResult, Head, Op, Slot
from svcport.locks.probe import UNIFORM
from svcport.simulator.flash import SLOT_ADDRESS, SLOT_SIZE, Cut, NorFlash
from svcport.simulator.state import LockState

LOCK_TYPES = frozenset(
    {
        FrameType.HELLO_REPLY,
        FrameType.NOISE_REPLY,
        FrameType.CONTROL_REPLY,
        FrameType.ACK,
        FrameType.BAUD_ECHO,
        FrameType.NO_SESSION,
    }
)
PATIENCE_S = 5.0
SIZE = 9000
VERSIONS = (("2.4.0", 3), ("2.3.1", 3), ("2.4.1", 3), ("2.5.0", 4), ("1.0.0", 2))


@cache
def images() -> tuple[bytes, ...]:
    """What runs, what lies in the other slot; an update, one with a new counter, an old one."""
    return tuple(trainer.image(name, counter=counter, size=SIZE) for name, counter in VERSIONS)


@cache
def digests() -> tuple[bytes, ...]:
    """Their digests."""
    return tuple(trainer.digest(image) for image in images())


@cache
def _fresh() -> bytes:
    """A lock that ran a bad update, as flash."""
    flash = trainer.fresh_flash({Slot.A: images()[0], Slot.B: images()[1]})
    return bytes(flash._buffer)


@dataclass(frozen=True)
class _Seen:
    """The lock as it was after a step."""

    state: LockState
    running: Slot | None
    slots: tuple[bytes, bytes]
    open: bool


class Bench:
    """One lock, one host. Every method is a step; steps never fail, promises do."""

    def __init__(self) -> None:
        self._memory = bytearray(_fresh())
        self.flash = NorFlash(self._memory)
        self.board = trainer.power_up(self.flash)
        self.now = 1.0
        self.rng = random.Random(11)
        self.decoder = FrameDecoder()
        self.channel: HostChannel | None = None
        self.keys = SessionKeys(bytes(32), bytes(32), bytes(32))
        self.technician_cert = trainer.technician_certificate()
        self.head = Head(0, bytes(32))
        self.intents: dict[bytes, Entry] = {}
        self.sessions: set[bytes] = set()
        self.papers: dict[bytes, Paper] = {}
        self.sender: UploadSender | None = None
        self.transfer_id = 0
        self.last_frame = b""
        self._operations = -1
        self._slots = (b"", b"")
        self.seen = self._look()

    # What the host can do ---------------------------------------------------------------------

    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.now += seconds
        self._listen()
        self._hold()

    def say(self, data: bytes) -> None:
        """Bytes on the line."""
        self._write(data)
        self._listen()
        self._hold()

    def frame(self, kind: FrameType, seq: int, body: bytes) -> None:
        """A frame of any type with any body."""
        self.say(Frame(kind, seq & 0xFFFF, body[:BODY_LIMIT]).build())

    def repeat(self) -> None:
        """The last frame once more."""
        self.say(self.last_frame)

    def open(self) -> None:
        """A new session, if the lock grants it."""
        self.channel, self.sender = None, None
        shake = HostHandshake(self.rng.randbytes(8), self.rng.randbytes(32))
        self._write(Frame(FrameType.HELLO, 0, shake.hello()).build())
        reply = self._await(FrameType.HELLO_REPLY)
        if reply is not None:
            assert HelloReply.parse(reply.body) == HelloReply(1, 1)
            self._write(Frame(FrameType.NOISE, 0, shake.on_hello(reply.body)).build())
            answer = self._await(FrameType.NOISE_REPLY)
            if answer is not None:
                self._opened(shake, answer)
        self._hold()

    def _opened(self, shake: HostHandshake, answer: Frame) -> None:
        try:
            opened = shake.on_answer(answer.body)
        except HandshakeError:  # the answer to an older attempt
            return
        self.keys, self.channel = opened.keys, HostChannel(opened.keys)
        assert opened.certificate == trainer.factory().certificate

    def auth(self, *, key: Key = trainer.TECHNICIAN, issuer: Key = trainer.ISSUER) -> None:
        """AUTH, good unless another key than the certificate's or no issuer signs."""
        self.technician_cert = trainer.technician_certificate(issuer)
        host = hostdriver.Host(self.board, technician=key, technician_cert=self.technician_cert)
        host.keys = self.keys
        reply = self.ask(host.auth())
        if isinstance(reply, AuthAccepted):
            assert key == trainer.TECHNICIAN
            assert issuer == trainer.ISSUER
            self.head = reply.head
            self.sessions.add(self.keys.handshake_hash)

    def present(self, technician: bytes) -> None:
        """AUTH with any certificate."""
        host = hostdriver.Host(self.board, technician_cert=technician)
        host.keys = self.keys
        self.ask(host.auth())

    def ask(self, request: Request[Record]) -> Record | None:
        """A request; its reply, None for silence."""
        reply = self.plain(encode_request(request))
        return None if reply is None else decode_reply(request, reply)

    def plain(self, plaintext: bytes) -> bytes | None:
        """Any record under the session's seal; what the lock answers, read as it must be."""
        if self.channel is None or len(plaintext) > 1024:
            return None
        authenticated = self.is_open()
        self._write(self.channel.send(plaintext))
        answer = self._await(FrameType.CONTROL_REPLY)
        reply = None
        if answer is not None:
            try:
                reply = self.channel.receive(answer)
            except ProtocolError:
                reply = None
        if reply is None:
            self.channel = None
        else:
            self._judge_reply(plaintext, reply, authenticated=authenticated)
        self._hold()
        return reply

    def intend(self, op: Op, image: int, paper: Paper | None = None, /, **changes: object) -> bytes:
        """An INTENT of this session but for `changes`."""
        host = hostdriver.Host(self.board, technician_cert=self.technician_cert)
        host.keys, host.head, host.intents = self.keys, self.head, len(self.intents)
        ticket = paper.id if paper else ZERO_DIGEST
        return self.know(host.intent(op, digests()[image], ticket, **changes))

    def know(self, intent: bytes) -> bytes:
        """Keep what the technician signed, so that the lock's acts can be held against it."""
        try:
            sealed = Sealed.parse(intent)
            self.intents[sealed.digest] = Entry.read(sealed)
        except ProtocolError:
            pass
        return intent

    def paper(self, op: Op, image: int, counter: int) -> Paper:
        """A ticket of the issuer."""
        found = trainer.paper(op, digests()[image], counter)
        self.papers[found.id] = found
        return found

    def begin(
        self,
        intent: bytes,
        paper: Paper | None,
        image: int,
        sectors: int = 7,
        slot: int | None = None,
    ) -> None:
        """BEGIN, and the sender of its transfer."""
        data, paper = images()[image], paper or hostdriver.NO_PAPER
        wanted = [n for n in range(3) if sectors >> n & 1]
        request = hostdriver.Begin(
            intent,
            paper.ticket,
            paper.issuer,
            self.board.core.target if slot is None else Slot(slot & 1),
            len(data),
            ZERO_DIGEST,
            hostdriver.bitmap(wanted),
        )
        ready = self.ask(request)  # type: ignore[arg-type]
        if isinstance(ready, hostdriver.TransferReady):
            stream = hostdriver.unit_stream(data, wanted)
            blocks = hostdriver.blocks(stream, ready.block_size)
            self.transfer_id = ready.transfer_id
            self.sender = UploadSender(self.keys, ready.transfer_id, blocks, ready.window)

    def upload(self, count: int) -> None:
        """Up to `count` blocks of the transfer."""
        for _ in range(count):
            data = self.sender.next_frame() if self.sender else None
            if data is None or self.sender is None:
                break
            self._write(data)
            for frame in self._listen():
                self.sender.receive(frame)
        self._hold()

    def block(self, number: int, block: bytes) -> None:
        """A block of any content, sealed as it must be."""
        cipher = _key(self.keys.host_to_lock, UPLOAD_INFO, self.transfer_id)
        sealed = cipher.encrypt(nonce(number), block[:4096], b"")
        self.frame(FrameType.BLOCK, number, sealed)

    def power_cycle(self) -> None:
        """Power goes and comes back."""
        self.board.power_cycle(self.now)
        self._hold(reset=True)

    def cut_soon(self, operations: int, how: Cut) -> None:
        """Power fails at a flash operation to come."""
        self.flash.cut_at(self.flash.operations + 1 + operations, how)

    # What the lock says -----------------------------------------------------------------------

    def _write(self, data: bytes) -> None:
        self.last_frame = data
        self.board.receive(data, self.now)

    def _listen(self) -> list[Frame]:
        """Everything said by now; each frame of a type that locks send."""
        before = self.decoder.dropped
        frames = self.decoder.feed(self.board.poll(self.now))
        assert self.decoder.dropped == before
        assert {frame.type for frame in frames} <= LOCK_TYPES
        return frames

    def _await(self, kind: FrameType) -> Frame | None:
        until = self.now + PATIENCE_S
        while True:
            for frame in self._listen():
                if frame.type in (kind, FrameType.NO_SESSION):
                    return frame if frame.type is kind else None
            at = self.board.wake_at()
            if at is None or at > until:
                return None
            self.now = max(self.now, at)

    def _judge_reply(self, plaintext: bytes, reply: bytes, *, authenticated: bool) -> None:
        try:
            request = decode_request(plaintext)
        except ProtocolError:
            wanted = RefusalCode.MALFORMED if authenticated else RefusalCode.NOT_AUTHENTICATED
            assert reply == b"\x01" + Refusal(wanted).build()
            return
        if not authenticated and not isinstance(request, Auth):
            assert reply == UNIFORM
        decode_reply(request, reply)

    # What must hold ---------------------------------------------------------------------------

    def is_open(self) -> bool:
        """Whether somebody is authenticated."""
        session = self.board._link._session
        return session is not None and session.facts is not None

    def _look(self) -> _Seen:
        core = self.board.core
        if self.flash.operations != self._operations:
            self._operations = self.flash.operations
            a, b = (
                bytes(self._memory[SLOT_ADDRESS[slot] : SLOT_ADDRESS[slot] + SLOT_SIZE])
                for slot in Slot
            )
            self._slots = (a, b)
        return _Seen(core.state, core.running, self._slots, self.is_open())

    def _hold(self, *, reset: bool = False) -> None:
        before, after = self.seen, self._look()
        old, new = before.state, after.state
        if not before.open and not after.open:
            assert after.slots == before.slots
            if not reset and new.reset_count == old.reset_count:
                assert replace(new, auth_failures=old.auth_failures) == old
        if new.boot.active is old.boot.active:
            assert after.slots[old.boot.active] == before.slots[old.boot.active]
        assert after.running is not None
        if after.running is before.running:
            assert after.slots[after.running] == before.slots[after.running]
        assert self.board.core.slots.bootable(after.running)
        self._hold_counters(old, new)
        self._hold_act(old, new)
        self.seen = after

    def _hold_counters(self, old: LockState, new: LockState) -> None:
        assert new.security_counter >= old.security_counter
        assert new.tickets.high >= old.tickets.high
        assert new.time_floor >= old.time_floor
        assert new.reset_count >= old.reset_count
        assert new.epoch.number >= old.epoch.number
        assert new.epoch.minimum >= old.epoch.minimum
        assert new.collected <= new.head.seq
        if new.security_counter > old.security_counter:
            assert new.head.seq > old.head.seq
            assert new.last.result is ActResult.DONE

    def _hold_act(self, old: LockState, new: LockState) -> None:
        act = new.act
        if act.is_open and act.intent_hash != old.act.intent_hash:
            intent = self.intents[act.intent_hash]
            assert (intent.op, intent.image_digest, intent.lock_serial) == (
                act.op,
                act.image_digest,
                SERIAL,
            )
            assert intent.session in self.sessions
            assert (intent.ticket_id or ZERO_DIGEST) == act.ticket_id
            if act.op in TICKETED:
                assert act.ticket_id in self.papers
        if new.head != old.head:
            self._hold_receipts(old, new)

    def _hold_receipts(self, old: LockState, new: LockState) -> None:
        chain = old.head.chain
        receipts = self.board.core.nvm.receipts(old.head.seq)
        assert len(receipts) == new.head.seq - old.head.seq
        for data in receipts:
            sealed = Sealed.parse(data)
            sealed.verify(LOCK.subject)
            receipt = Receipt.read(sealed)
            assert receipt.chain_before == chain
            assert receipt.intent_hash in self.intents
            chain = chain_next(chain, data)
        assert chain == new.head.chain
