"""From silence to the keys of one session: HELLO, then Noise NX bound to both HELLOs.

The prologue is "svcport-noise-v1" | 00 | SHA-256(host's HELLO) | SHA-256(lock's HELLO), so that a
tampered HELLO makes the handshake fail. AUTH follows as the first sealed record (messages.Auth).
Both halves live here; neither has a clock or a random source.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

from construct import Bytes, Int8ub

from protocol.errors import HandshakeError, MalformedMessageError, VersionError
from protocol.noise import NoiseInitiator, NoiseResponder, SessionKeys
from protocol.record import Record, wire
from protocol.sealed import Realm

VERSION: Final = 1
"""The one protocol version of this package."""

PROFILE: Final = 1
"""Noise_NX_25519_ChaChaPoly_SHA256, then AUTH."""

PROLOGUE_DOMAIN: Final = b"svcport-noise-v1\0"
HELLO_RANDOM_SIZE: Final = 8


@dataclass(frozen=True, slots=True)
class Hello(Record):
    """The host's first bytes: the versions it speaks and 8 random bytes that name the attempt."""

    version_min: int
    version_max: int
    rnd: bytes

    WIRE = wire(version_min=Int8ub, version_max=Int8ub, rnd=Bytes(HELLO_RANDOM_SIZE))


@dataclass(frozen=True, slots=True)
class HelloReply(Record):
    """The lock's answer: the version of this session and its cipher profile. Nothing else."""

    version: int
    profile: int

    WIRE = wire(version=Int8ub, profile=Int8ub)


@dataclass(frozen=True, slots=True)
class Opened:
    """What the host has after the handshake; the certificate is not yet judged.

    Attributes:
        keys: the session's keys.
        certificate: bytes that should be the lock's certificate.
        static: X25519 key that the lock proved to hold; must be the certificate's.
    """

    keys: SessionKeys
    certificate: bytes
    static: bytes


class HostHandshake:
    """The host's half: `hello`, `on_hello`, `on_answer`, in this order."""

    def __init__(self, rnd: bytes, ephemeral: bytes) -> None:
        self._hello = Hello(VERSION, VERSION, rnd).build()
        self._ephemeral = ephemeral
        self._noise: NoiseInitiator | None = None

    def hello(self) -> bytes:
        """Body of the HELLO frame; the same bytes at every repeat."""
        return self._hello

    def on_hello(self, body: bytes) -> bytes:
        """Take the lock's HELLO, give the body of the first Noise message.

        Raises:
            VersionError: the lock speaks another version or profile.
            MalformedMessageError: the body is no HELLO.
        """
        reply = HelloReply.parse(body)
        if (reply.version, reply.profile) != (VERSION, PROFILE):
            raise VersionError(reply.version, f"version {VERSION}, profile {PROFILE}")
        self._noise = NoiseInitiator(prologue(self._hello, body), self._ephemeral)
        return self._noise.first_message()

    def on_answer(self, body: bytes) -> Opened:
        """Take the lock's Noise message; HandshakeError if it was tampered with."""
        if self._noise is None:
            raise RuntimeError("on_answer before on_hello")
        keys, certificate, static = self._noise.finish(body)
        return Opened(keys, certificate, static)


class LockHandshake:
    """The lock's half of one attempt: made by a HELLO, finished by `on_message`."""

    def __init__(self, hello: bytes) -> None:
        """Take a HELLO's body; one that does not parse is MalformedMessageError."""
        parsed = Hello.parse(hello)
        if parsed.version_min > parsed.version_max:
            raise MalformedMessageError(
                f"versions {parsed.version_min}..{parsed.version_max} are no range"
            )
        self.rnd = parsed.rnd
        self.fits = parsed.version_min <= VERSION <= parsed.version_max
        self._hello = hello
        self._reply = HelloReply(VERSION, PROFILE).build()

    def reply(self) -> bytes:
        """Body of the lock's HELLO; sent even where no version fits, so the host can say so."""
        return self._reply

    def on_message(
        self, body: bytes, *, static: bytes, ephemeral: bytes, certificate: bytes
    ) -> tuple[bytes, SessionKeys]:
        """Body of the lock's Noise message, and the keys; HandshakeError on a bad first message."""
        if not self.fits:
            raise HandshakeError("no common version")
        noise = NoiseResponder(prologue(self._hello, self._reply), static, ephemeral)
        if noise.read_first(body):
            raise HandshakeError("the first message carries a payload")
        return noise.answer(certificate)


def prologue(hello: bytes, reply: bytes) -> bytes:
    """What binds both HELLO bodies into the handshake hash."""
    return PROLOGUE_DOMAIN + hashlib.sha256(hello).digest() + hashlib.sha256(reply).digest()


def auth_message(realm: Realm, handshake_hash: bytes, technician: bytes) -> bytes:
    """What a technician signs to open a session: domain | h | SHA-256(certificate object)."""
    return realm.auth_domain + handshake_hash + hashlib.sha256(technician).digest()
