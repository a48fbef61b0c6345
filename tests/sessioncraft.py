"""One whole session with fixed keys, step by step, as both halves of the package make it."""

from __future__ import annotations

from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from messagecraft import HEAD, IDENTITY

from protocol.channel import HostChannel, LockChannel
from protocol.frame import DELIMITER, Frame, FrameType
from protocol.handshake import HostHandshake, LockHandshake, auth_message
from protocol.messages import encode_reply, encode_request
from protocol.noise import SessionKeys
from protocol.objects import IssuerCertificate, LockCertificate, TechnicianCertificate
from protocol.queries import Auth, AuthAccepted, Close, Identify
from protocol.record import Record
from protocol.request import Done
from protocol.scope import EVERYTHING
from protocol.sealed import Realm, SubjectKey
from protocol.values import Op, Role

RND = bytes(range(8))
LOCK_STATIC = bytes(range(0x01, 0x21))
HOST_EPHEMERAL = bytes(range(0x21, 0x41))
LOCK_EPHEMERAL = bytes(range(0x41, 0x61))
KEYS = SessionKeys(b"\x33" * 32, b"\x11" * 32, b"\x22" * 32)


@dataclass(frozen=True)
class Ed25519Signer:
    """A key made of one repeated byte: its RFC 8032 seed."""

    byte: int

    @property
    def subject(self) -> SubjectKey:
        return SubjectKey.of(self._private.public_key())

    def sign(self, message: bytes) -> bytes:
        return self._private.sign(message)

    @property
    def _private(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(bytes([self.byte]) * 32)


ROOT, ISSUER, TECHNICIAN, MANUFACTURER, LOCK = (Ed25519Signer(n) for n in range(0xA1, 0xA6))
ACTING = Op.INFO | Op.LOGS | Op.UPDATE | Op.ROLLBACK | Op.RESTORE
ISSUED, EXPIRES = 1_795_000_000, 1_802_776_000


def issuer_certificate() -> bytes:
    body = IssuerCertificate(
        subject=ISSUER.subject,
        ops=ACTING,
        epoch=7,
        not_before=ISSUED,
        not_after=EXPIRES,
        ticket_class=2,
    )
    return body.seal(Realm.TRAINING, ROOT).build()


def technician_certificate() -> bytes:
    body = TechnicianCertificate(
        subject=TECHNICIAN.subject,
        role=Role.TECHNICIAN,
        ops=ACTING,
        scope=EVERYTHING,
        epoch=7,
        not_before=ISSUED,
        not_after=EXPIRES,
        serial=bytes(range(8)),
    )
    return body.seal(Realm.TRAINING, ISSUER).build()


def lock_certificate() -> bytes:
    x25519 = X25519PrivateKey.from_private_bytes(LOCK_STATIC).public_key().public_bytes_raw()
    body = LockCertificate(
        subject=LOCK.subject, serial="TR-000001", x25519=x25519, certificate_serial=bytes(8)
    )
    return body.seal(Realm.TRAINING, MANUFACTURER).build()


@dataclass(frozen=True)
class Step:
    """One frame on the wire; `record` is the plaintext of a sealed one."""

    name: str
    sender: str
    wire: bytes
    record: bytes | None = None

    @property
    def frame(self) -> Frame:
        return Frame.parse(self.wire.removesuffix(DELIMITER))


@dataclass(frozen=True)
class Transcript:
    """A session's keys and frames."""

    keys: SessionKeys
    signature: bytes
    steps: tuple[Step, ...]


def transcript() -> Transcript:
    """HELLO, Noise, AUTH, one request asked twice, and CLOSE."""
    host, steps = HostHandshake(RND, HOST_EPHEMERAL), []
    hello = host.hello()
    lock = LockHandshake(hello)
    first = host.on_hello(lock.reply())
    answer, keys = lock.on_message(
        first, static=LOCK_STATIC, ephemeral=LOCK_EPHEMERAL, certificate=lock_certificate()
    )
    assert host.on_answer(answer).keys == keys
    steps = [
        Step("hello", "host", Frame(FrameType.HELLO, 0, hello).build()),
        Step("hello-reply", "lock", Frame(FrameType.HELLO_REPLY, 0, lock.reply()).build()),
        Step("noise", "host", Frame(FrameType.NOISE, 0, first).build()),
        Step("noise-reply", "lock", Frame(FrameType.NOISE_REPLY, 0, answer).build()),
    ]
    technician = technician_certificate()
    signature = TECHNICIAN.sign(auth_message(Realm.TRAINING, keys.handshake_hash, technician))
    talk = _Talk(keys)
    auth = encode_request(Auth(issuer_certificate(), technician, signature))
    steps += talk.exchange("auth", auth, AuthAccepted(HEAD))
    steps += talk.exchange("identify", encode_request(Identify()), IDENTITY, repeats=1)
    steps += talk.exchange("close", encode_request(Close()), Done())
    return Transcript(keys, signature, tuple(steps))


class _Talk:
    def __init__(self, keys: SessionKeys) -> None:
        self._host, self._lock = HostChannel(keys), LockChannel(keys)

    def exchange(self, name: str, record: bytes, reply: Record, repeats: int = 0) -> list[Step]:
        """The frames of one request and its answer, and of both again `repeats` times."""
        answer = encode_reply(reply)
        sent = Step(name, "host", self._host.send(record), record)
        assert self._lock.receive(sent.frame) == record
        given = Step(f"{name}-reply", "lock", self._lock.reply(answer), answer)
        again = []
        for _ in range(repeats):
            resent = Step(f"{name}-again", "host", self._host.resend(), record)
            assert self._lock.receive(resent.frame) is None
            cached = self._lock.repeat(resent.frame)
            again += [resent, Step(f"{name}-reply-again", "lock", cached, answer)]
        assert self._host.receive(given.frame) == answer
        return [sent, given, *again]
