"""One session with a service-port lock: handshake, AUTH, requests, each with a deadline."""

from __future__ import annotations

import contextlib
import logging
import os
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from protocol.channel import HostChannel
from protocol.errors import (
    ChannelError,
    HandshakeError,
    MalformedMessageError,
    MalformedObjectError,
    SignatureError,
    VersionError,
)
from protocol.frame import DELIMITER, Frame, FrameDecoder, FrameType
from protocol.handshake import HELLO_RANDOM_SIZE, HostHandshake, Opened
from protocol.messages import decode_reply, encode_request
from protocol.noise import KEY_SIZE
from protocol.objects import LockCertificate
from protocol.queries import Auth, Close
from protocol.record import Record
from protocol.refusal import Refusal, RefusalCode
from protocol.request import Request
from protocol.sealed import Realm, Sealed, SubjectKey
from protocol.values import Head
from svcport.errors import FailedError, Reason
from svcport.locks.adaptive import FIRST_ROUND_S
from svcport.locks.errors import LockIdentityError, LockRefusedError, NoLockError
from svcport.transport.link import BITS_A_BYTE
from svcport.transport.port import FIRST_BAUD, LinkLostError, Transport

log = logging.getLogger(__name__)
R = TypeVar("R", bound=Record)

HELLO_PERIOD_S: Final = 0.5
"""How often a HELLO is repeated; repeats cost the lock no handshake token."""

NOISE_PERIOD_S: Final = 0.25
"""How often the handshake's message is repeated; a lock answers it in less, and repeats cost it
nothing."""

HELLO_PATIENCE_S: Final = 8.0
"""How long silence is borne: a lock whose handshake tokens are spent gets a new one every 2 s."""

REQUEST_DEADLINE_S: Final = 15.0
"""Longest wait for one answer, resends included."""

CALM_S: Final = 0.5
"""Silence borne beyond the bytes' own time: adapter latency, and a lock busy verifying an image."""

LOSSY_S: Final = 0.05
"""The same beyond two measured round trips on a line that has damaged something, where a request
has to go many times: one that the lock still works on only costs it a look into its cache."""

LONGEST_WAIT_S: Final = 60
"""Seconds that a lock makes everybody wait, at most, after AUTHs that failed."""

LARGEST_REPLY: Final = 1100
"""Bytes of the largest reply, as a frame."""

LOCK_GIVES_UP_S: Final = 3.0
"""A lock at a raised speed that hears nothing good for this long is back at 115200."""

MARGIN_S: Final = 0.4
"""Added to that by a host that follows it, for what was on its way."""

SILENT_MOST_S: Final = 2.0
"""A host that was silent for longer at a raised speed no longer knows which speed the lock has."""

CLOSE_PATIENCE_S: Final = 0.5
"""How long the answer to a CLOSE is waited for; a lost one costs the lock nothing."""


@dataclass(frozen=True, slots=True)
class LockAnchors:
    """Whom to believe about locks: the manufacturer's key of one realm."""

    realm: Realm
    manufacturer: SubjectKey


class SessionLostError(LinkLostError):
    """The lock says that it has no session: it was reset, or another host came."""


class Link:
    """Frames over a transport.

    Attributes:
        heard: bytes read so far.
        sent: bytes written so far.
        repeated: frames that were sent again because no answer came.
        baud: this side's speed.
    """

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.heard = self.sent = 0
        self.repeated = 0
        self.baud = FIRST_BAUD
        self.clock = transport.clock
        self._answered_at = self.clock.now()
        self._decoder = FrameDecoder()
        self._waiting: deque[Frame] = deque()

    @property
    def damaged(self) -> int:
        """Frames that are known to have been damaged or lost on the way, either way."""
        return self.repeated + self._decoder.dropped

    @property
    def clean_bytes(self) -> int:
        """Bytes that went both ways without a damaged or a repeated frame; 0 after the first."""
        return 0 if self.damaged else self.sent + self.heard

    @property
    def unanswered_s(self) -> float:
        """Seconds since the last frame came."""
        return self.clock.now() - self._answered_at

    def keep_pace(self) -> None:
        """Before something is sent: after a silence at a raised speed, go where the lock goes.

        A lock that hears no good frame gives a raised speed up by itself (protocol/README, "Falling
        back"). A host that was silent so long that it may have, waits until it surely has.
        """
        if self.baud != FIRST_BAUD and self.unanswered_s > SILENT_MOST_S:
            self.clock.sleep(max(0.0, LOCK_GIVES_UP_S + MARGIN_S - self.unanswered_s))
            self._give_up_speed()

    def fall_back(self) -> None:
        """Go to 115200 if the lock, unheard at a raised speed, is there by now."""
        if self.baud != FIRST_BAUD and self.unanswered_s >= LOCK_GIVES_UP_S + MARGIN_S:
            self._give_up_speed()

    def _give_up_speed(self) -> None:
        log.info("silence at %d baud: back to %d", self.baud, FIRST_BAUD)
        self.set_baud(FIRST_BAUD)

    def send(self, frame: bytes, *, again: bool = False) -> None:
        """Write a frame; a repeat starts with a delimiter, to end what noise may have begun."""
        data = DELIMITER + frame if again else frame
        self.transport.write(data)
        self.sent += len(data)

    def poll(self, timeout_s: float) -> Frame | None:
        """The next frame, waiting up to `timeout_s` for bytes; None if none is whole yet."""
        if not self._waiting:
            data = self.transport.read(timeout_s)
            self.heard += len(data)
            self._waiting.extend(self._decoder.feed(data))
            if self._waiting:
                self._answered_at = self.clock.now()
        return self._waiting.popleft() if self._waiting else None

    def await_type(self, kind: FrameType, timeout_s: float) -> Frame | None:
        """The next frame of one type within `timeout_s`; others are dropped."""
        deadline = self.clock.now() + timeout_s
        while (left := deadline - self.clock.now()) > 0:
            frame = self.poll(left)
            if frame is not None and frame.type is kind:
                return frame
        return None

    def ask(
        self, frame: Frame, kind: FrameType, patience_s: float, period_s: float = HELLO_PERIOD_S
    ) -> Frame | None:
        """Send a frame every `period_s` until one of type `kind` answers or patience ends."""
        encoded = frame.build()
        deadline = self.clock.now() + patience_s
        while (left := deadline - self.clock.now()) > 0:
            self.send(encoded, again=True)
            answer = self.await_type(kind, min(left, period_s))
            if answer is not None:
                return answer
        return None

    def set_baud(self, baud: int) -> None:
        """Change this side's speed."""
        self.transport.set_baud(baud)
        self.baud = baud


class Session:
    """A session whose lock has proved who it is. `authenticate` before anything else.

    Attributes:
        serial: the lock's, from its certificate.
        certificate: the LOCK object.
        handshake_hash: names this session in intents.
        head: the lock's receipt chain at AUTH.
    """

    def __init__(self, link: Link, opened: Opened, certificate: Sealed) -> None:
        body = LockCertificate.read(certificate)
        self.link = link
        self.serial = body.serial
        self.subject = body.subject
        self.certificate = certificate
        self.keys = opened.keys
        self.handshake_hash = opened.keys.handshake_hash
        self.head = Head(0, bytes(32))
        self._channel = HostChannel(opened.keys)
        self._round_s: float | None = None

    def authenticate(self, auth: Callable[[bytes], Auth]) -> None:
        """Prove who asks; `auth` signs the handshake hash. LockRefusedError if the lock says no.

        A lock that makes everybody wait because somebody failed before is waited for, once.
        """
        doing = "open a session"
        request = auth(self.handshake_hash)
        try:
            self.head = self.call(request, doing).head
        except LockRefusedError as error:
            wait_s = error.refusal.detail
            waits = error.refusal.code is RefusalCode.NOT_AUTHENTICATED
            if not waits or not 0 < wait_s <= LONGEST_WAIT_S:
                raise
            log.info("lock %s: waiting %d s, as it asks", self.serial, wait_s)
            self.link.clock.sleep(wait_s)
            self.head = self.call(request, doing).head

    def call(self, request: Request[R], doing: str) -> R:
        """Ask once, resending as needed; the typed reply.

        Raises:
            LockRefusedError: the lock answered no.
            LinkLostError: no answer within the deadline, or the session is gone.
        """
        log.info("lock %s: %s", self.serial, doing)
        reply = self._decode(request, self._exchange(encode_request(request), doing))
        if isinstance(reply, Refusal):
            raise LockRefusedError(reply, doing)
        return reply

    def close(self) -> None:
        """Tell the lock that the session is over, and hear it out for a moment; never raises."""
        self.leave()
        with contextlib.suppress(FailedError):
            self.link.await_type(FrameType.CONTROL_REPLY, CLOSE_PATIENCE_S)

    def leave(self) -> None:
        """Tell the lock that the session is over without waiting: it goes back to 115200 baud.

        Does nothing while a request is in flight, whose number the lock still expects.
        """
        with contextlib.suppress(ChannelError, RuntimeError, FailedError):
            self.link.send(self._channel.send(encode_request(Close())), again=True)

    def _decode(self, request: Request[R], plaintext: bytes) -> R | Refusal:
        try:
            return decode_reply(request, plaintext)
        except MalformedMessageError as error:
            raise FailedError(
                Reason.PROTOCOL_VERSION,
                f"the lock's answer is not understood: {error}",
                hint="update svcport: the lock may be newer than it",
            ) from error

    def _exchange(self, plaintext: bytes, doing: str) -> bytes:
        self.link.keep_pace()
        frame = self._seal(plaintext, doing)
        clock, repeated = self.link.clock, self.link.repeated
        started = clock.now()
        deadline = started + REQUEST_DEADLINE_S
        self.link.send(frame)
        resend_at = started + self._patience_s(len(frame))
        while (now := clock.now()) < deadline:
            if now >= resend_at:
                self.link.fall_back()
                self.link.repeated += 1
                self.link.send(self._channel.resend(), again=True)
                resend_at = now + self._patience_s(len(frame))
            answer = self.link.poll(min(resend_at, deadline) - now)
            if answer is None:
                continue
            if answer.type is FrameType.NO_SESSION:
                raise SessionLostError(f"the lock has dropped the session while asked to {doing}")
            reply = self._receive(answer)
            if reply is not None:
                if self.link.repeated == repeated:
                    self._measure(clock.now() - started, len(frame) + len(answer.body))
                return reply
        raise LinkLostError(f"no answer within {REQUEST_DEADLINE_S:.0f} s when asked to {doing}")

    def _measure(self, took_s: float, size: int) -> None:
        """Note what an exchange took beyond its bytes' own time; the longest of late counts."""
        beyond_s = max(0.0, took_s - size * BITS_A_BYTE / self.link.baud)
        self._round_s = min(CALM_S, max(beyond_s, (self._round_s or 0.0) * 0.7))

    def _patience_s(self, size: int) -> float:
        """How long silence is borne before a request of `size` bytes goes again."""
        wire_s = (size + LARGEST_REPLY) * BITS_A_BYTE / self.link.baud
        if not self.link.damaged:
            return wire_s + CALM_S
        round_s = FIRST_ROUND_S if self._round_s is None else self._round_s
        return wire_s + min(CALM_S, LOSSY_S + 2 * round_s)

    def _seal(self, plaintext: bytes, doing: str) -> bytes:
        try:
            return self._channel.send(plaintext)
        except ChannelError as error:
            raise FailedError(
                Reason.LOCK_REFUSED,
                f"the request to {doing} does not fit one record: {error}",
                hint="use a ticket whose certificates have shorter texts",
            ) from error

    def _receive(self, frame: Frame) -> bytes | None:
        try:
            return self._channel.receive(frame)
        except ChannelError as error:
            raise LinkLostError(f"the session broke: {error}") from error


def answers_hello(link: Link, patience_s: float) -> bool:
    """Whether a service-port lock is there, which is all that a HELLO tells."""
    handshake = HostHandshake(os.urandom(HELLO_RANDOM_SIZE), os.urandom(KEY_SIZE))
    hello = Frame(FrameType.HELLO, 0, handshake.hello())
    return link.ask(hello, FrameType.HELLO_REPLY, patience_s) is not None


def open_session(
    link: Link,
    anchors: LockAnchors,
    *,
    patience_s: float = HELLO_PATIENCE_S,
    period_s: float = HELLO_PERIOD_S,
) -> Session:
    """Shake hands and judge the lock's certificate; nothing about the technician is sent.

    Raises:
        NoLockError: silence, or nothing that speaks this protocol.
        FailedError: another protocol version (`protocol-version`).
        LockIdentityError: the certificate is not the manufacturer's, or not of this lock's key.
    """
    handshake = HostHandshake(os.urandom(HELLO_RANDOM_SIZE), os.urandom(KEY_SIZE))
    hello = Frame(FrameType.HELLO, 0, handshake.hello())
    heard = link.heard
    answer = link.ask(hello, FrameType.HELLO_REPLY, patience_s, period_s)
    if answer is None:
        raise NoLockError(link.transport.name, patience_s, link.heard - heard)
    try:
        first = Frame(FrameType.NOISE, 0, handshake.on_hello(answer.body))
    except VersionError as error:
        raise FailedError(
            Reason.PROTOCOL_VERSION, str(error), hint="update svcport, or use the one that fits"
        ) from error
    except MalformedMessageError as error:
        raise NoLockError(link.transport.name, patience_s, link.heard - heard) from error
    # it is there: whatever patience there was for a HELLO, this answer is long, and may be damaged
    answer = link.ask(first, FrameType.NOISE_REPLY, HELLO_PATIENCE_S, NOISE_PERIOD_S)
    if answer is None:
        raise LinkLostError("the lock answered HELLO and then fell silent")
    try:
        opened = handshake.on_answer(answer.body)
    except HandshakeError as error:
        raise LockIdentityError(f"the handshake fails: {error}") from error
    return Session(link, opened, _judge(opened, anchors))


def _judge(opened: Opened, anchors: LockAnchors) -> Sealed:
    """The lock's certificate, if the manufacturer signed it for the key that was proved."""
    try:
        certificate = Sealed.parse(opened.certificate)
        body = LockCertificate.read(certificate)
    except MalformedObjectError as error:
        raise LockIdentityError(f"the lock's certificate is damaged: {error}") from error
    if certificate.realm is not anchors.realm:
        raise LockIdentityError(
            f"this is a {certificate.realm.name.lower()} lock, "
            f"this home is set up for {anchors.realm.name.lower()} locks"
        )
    try:
        certificate.verify(anchors.manufacturer)
    except SignatureError as error:
        raise LockIdentityError(f"the lock's certificate is not the vendor's: {error}") from error
    if body.x25519 != opened.static:
        raise LockIdentityError("the lock's certificate belongs to another lock's key")
    return certificate
