"""Frames in, frames out: HELLO, the handshake, AUTH, sealed requests, blocks.

Before AUTH the lock's certificate is all that the port yields: every sealed request gets the same
refusal, other frames get silence. Knows no bytes of the line and no speed.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field, replace

from protocol.errors import ChannelError, HandshakeError, MalformedMessageError
from protocol.frame import BAUD_PATTERN, Frame, FrameType
from protocol.handshake import LockHandshake
from protocol.messages import decode_request, encode_reply
from protocol.noise import KEY_SIZE
from protocol.queries import Auth, AuthAccepted
from protocol.record import Record
from protocol.refusal import EventCode, Refusal, RefusalCode
from protocol.request import Request
from svcport.simulator.core import Core
from svcport.simulator.credentials import judge_auth, raised_floor
from svcport.simulator.refusals import RefusedError
from svcport.simulator.requests import Answer, Effect, Requests
from svcport.simulator.session import Bucket, FailureDelay, Session
from svcport.simulator.state import saturated


@dataclass(frozen=True, slots=True)
class Output:
    """Frames to send, in order, and what follows once they are sent."""

    frames: list[bytes] = field(default_factory=list)
    effect: Effect = Effect.NONE
    baud: int = 0


_SILENCE = Output()


@dataclass(slots=True)
class _Attempt:
    """A HELLO that was admitted, and what answered the Noise message, for repeats of both."""

    hello: bytes
    handshake: LockHandshake
    message: bytes = b""
    answer: bytes = b""


class Link:
    """The port of one booted lock; a reset makes a new one."""

    def __init__(self, core: Core, now: float) -> None:
        self._core = core
        self._requests = Requests(core)
        self._bucket = Bucket(now)
        self._delay = FailureDelay()
        self._attempt: _Attempt | None = None
        self._session: Session | None = None

    @property
    def session_ends_at(self) -> float | None:
        """When the session ends by itself; None without one."""
        return None if self._session is None else self._session.ends_at

    def end_session(self) -> None:
        """Forget the session and its keys."""
        self._session = None
        self._attempt = None

    def on_frame(self, frame: Frame, now: float) -> Output:
        """Take a frame; raises PowerCut and nothing else, whatever the frame."""
        if self._session is not None and now >= self._session.ends_at:
            self.end_session()
        match frame.type:
            case FrameType.HELLO:
                return self._on_hello(frame.body, now)
            case FrameType.NOISE:
                return self._on_noise(frame.body, now)
            case FrameType.CONTROL:
                return self._on_control(frame, now)
            case FrameType.BLOCK:
                return self._on_block(frame, now)
            case FrameType.BAUD_TEST:
                return self._on_baud_test(frame.body)
            case _:
                return _SILENCE

    def _on_hello(self, body: bytes, now: float) -> Output:
        if self._attempt is None or self._attempt.hello != body:
            try:
                handshake = LockHandshake(body)
            except MalformedMessageError:
                return _SILENCE
            if not self._bucket.take(now):
                return _SILENCE
            self.end_session()
            self._attempt = _Attempt(body, handshake)
        reply = Frame(FrameType.HELLO_REPLY, 0, self._attempt.handshake.reply())
        return Output([reply.build()])

    def _on_noise(self, body: bytes, now: float) -> Output:
        attempt, mine = self._attempt, self._core.factory
        if attempt is None or (attempt.answer and attempt.message != body):
            return _SILENCE
        if not attempt.answer:
            try:
                attempt.answer, keys = attempt.handshake.on_message(
                    body,
                    static=mine.x25519_private,
                    ephemeral=self._core.entropy(KEY_SIZE),
                    certificate=mine.certificate,
                )
            except HandshakeError:
                self.end_session()
                return _SILENCE
            attempt.message = body
            self._session = Session(keys, now)
        return Output([Frame(FrameType.NOISE_REPLY, 0, attempt.answer).build()])

    def _on_control(self, frame: Frame, now: float) -> Output:
        session = self._session
        no_session = Output([Frame(FrameType.NO_SESSION, frame.seq, b"").build()])
        if session is None:
            return no_session
        try:
            plaintext = session.channel.receive(frame)
        except ChannelError:
            self.end_session()
            return no_session
        if plaintext is None:
            repeat = session.channel.repeat(frame)
            return Output([repeat]) if repeat else _SILENCE
        session.touch(now)
        answer = self._answer(plaintext, session, now)
        reply = session.channel.reply(encode_reply(answer.reply))
        if answer.effect is Effect.CLOSE:
            self.end_session()
        return Output([reply], answer.effect, answer.baud)

    def _answer(self, plaintext: bytes, session: Session, now: float) -> Answer:
        request: Request[Record] | None = None
        with contextlib.suppress(MalformedMessageError):
            request = decode_request(plaintext)
        if isinstance(request, Auth) and session.facts is None:
            return self._authenticate(request, session, now)
        if session.facts is None:
            return Answer(Refusal(RefusalCode.NOT_AUTHENTICATED))
        if request is None:
            return Answer(Refusal(RefusalCode.MALFORMED))
        return self._requests.answer(request, session, session.facts, now)

    def _authenticate(self, auth: Auth, session: Session, now: float) -> Answer:
        core, wait_s = self._core, self._delay.left_s(now)
        if wait_s:
            return Answer(Refusal(RefusalCode.NOT_AUTHENTICATED, wait_s))
        try:
            credential = judge_auth(core.factory, core.state, auth, session.keys.handshake_hash)
        except RefusedError as refused:
            failures = saturated(core.state.auth_failures)
            core.nvm.write(replace(core.state, auth_failures=failures))
            core.log(EventCode.SERVICE_AUTH_FAILED, failures, now)
            wait_s = self._delay.fail(now)
            revoked = refused.code is RefusalCode.REVOKED
            return Answer(Refusal(refused.code, refused.detail if revoked else wait_s))
        self._delay.succeed()
        self._bucket.give_back()
        floor = raised_floor(core.state, credential.not_before)
        core.nvm.write(replace(core.state, time_floor=floor))
        core.log(EventCode.SERVICE_SESSION, 0, now)
        facts = session.authenticate(credential, core.state.head, now)
        return Answer(AuthAccepted(facts.head))

    def _on_block(self, frame: Frame, now: float) -> Output:
        session = self._session
        if session is None or session.transfer is None:
            return _SILENCE
        genuine, acks = session.transfer.on_block(frame)
        if genuine:
            session.touch(now)
        return Output(acks)

    def _on_baud_test(self, body: bytes) -> Output:
        trusted = self._session is not None and self._session.facts is not None
        if not trusted or body != BAUD_PATTERN:
            return _SILENCE
        return Output([Frame(FrameType.BAUD_ECHO, 0, body).build()])
