"""Noise NX with X25519, ChaCha20-Poly1305 and SHA-256 (noiseprotocol.org, revision 34).

Pattern NX: -> e / <- e, ee, s, es. The responder's static key is sent encrypted; the initiator has
none. Ephemeral keys come in as arguments: the caller owns the random source.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from protocol.errors import HandshakeError

NAME: Final = b"Noise_NX_25519_ChaChaPoly_SHA256"
KEY_SIZE: Final = 32
TAG_SIZE: Final = 16


def nonce(counter: int) -> bytes:
    """Noise's nonce for ChaChaPoly: four zero bytes, u64 counter, little-endian (12.3)."""
    return bytes(4) + counter.to_bytes(8, "little")


@dataclass(frozen=True, slots=True)
class SessionKeys:
    """What a finished handshake leaves: the transcript's hash and one key each way."""

    handshake_hash: bytes
    host_to_lock: bytes
    lock_to_host: bytes


class _Symmetric:
    """Noise's SymmetricState and CipherState in one (sections 5.1, 5.2)."""

    def __init__(self, prologue: bytes) -> None:
        # The protocol name has exactly 32 bytes, so it is the first hash itself (section 5.2).
        self.h = NAME
        self.chaining_key = NAME
        self._cipher: ChaCha20Poly1305 | None = None
        self._counter = 0
        self.mix_hash(prologue)

    def mix_hash(self, data: bytes) -> None:
        self.h = hashlib.sha256(self.h + data).digest()

    def mix_key(self, shared: bytes) -> None:
        self.chaining_key, key = _hkdf2(self.chaining_key, shared)
        self._cipher, self._counter = ChaCha20Poly1305(key), 0

    def encrypt_and_hash(self, plaintext: bytes) -> bytes:
        sealed = plaintext
        if self._cipher is not None:
            sealed = self._cipher.encrypt(nonce(self._counter), plaintext, self.h)
            self._counter += 1
        self.mix_hash(sealed)
        return sealed

    def decrypt_and_hash(self, sealed: bytes) -> bytes:
        plaintext = sealed
        if self._cipher is not None:
            try:
                plaintext = self._cipher.decrypt(nonce(self._counter), sealed, self.h)
            except InvalidTag as error:
                raise HandshakeError("a handshake message fails its seal") from error
            self._counter += 1
        self.mix_hash(sealed)
        return plaintext

    def split(self) -> SessionKeys:
        first, second = _hkdf2(self.chaining_key, b"")
        return SessionKeys(self.h, first, second)


class NoiseInitiator:
    """The host's half: `first_message`, then `finish` with the answer."""

    def __init__(self, prologue: bytes, ephemeral: bytes) -> None:
        self._state = _Symmetric(prologue)
        self._ephemeral = X25519PrivateKey.from_private_bytes(ephemeral)

    def first_message(self, payload: bytes = b"") -> bytes:
        """-> e, payload (in the clear). Call once."""
        public = self._ephemeral.public_key().public_bytes_raw()
        self._state.mix_hash(public)
        return public + self._state.encrypt_and_hash(payload)

    def finish(self, message: bytes) -> tuple[SessionKeys, bytes, bytes]:
        """<- e, ee, s, es, payload: the keys, the payload and the responder's static key.

        Raises:
            HandshakeError: the message is cut, tampered with or made of a bad point.
        """
        if len(message) < 2 * KEY_SIZE + 2 * TAG_SIZE:
            raise HandshakeError(f"the answer has {len(message)} bytes, 96 at least are wanted")
        state, theirs = self._state, message[:KEY_SIZE]
        state.mix_hash(theirs)
        state.mix_key(_agree(self._ephemeral, theirs))
        cut = 2 * KEY_SIZE + TAG_SIZE
        static = state.decrypt_and_hash(message[KEY_SIZE:cut])
        state.mix_key(_agree(self._ephemeral, static))
        payload = state.decrypt_and_hash(message[cut:])
        return state.split(), payload, static


class NoiseResponder:
    """The lock's half: `read_first`, then `answer`."""

    def __init__(self, prologue: bytes, static: bytes, ephemeral: bytes) -> None:
        self._state = _Symmetric(prologue)
        self._static = X25519PrivateKey.from_private_bytes(static)
        self._ephemeral = X25519PrivateKey.from_private_bytes(ephemeral)
        self._theirs = b""

    def read_first(self, message: bytes) -> bytes:
        """The initiator's payload; a message too short for a key is HandshakeError."""
        if len(message) < KEY_SIZE:
            raise HandshakeError(f"the first message has {len(message)} bytes, 32 are wanted")
        self._theirs = message[:KEY_SIZE]
        self._state.mix_hash(self._theirs)
        return self._state.decrypt_and_hash(message[KEY_SIZE:])

    def answer(self, payload: bytes) -> tuple[bytes, SessionKeys]:
        """The second message and the keys; a bad point of the initiator is HandshakeError."""
        state = self._state
        public = self._ephemeral.public_key().public_bytes_raw()
        state.mix_hash(public)
        state.mix_key(_agree(self._ephemeral, self._theirs))
        static = state.encrypt_and_hash(self._static.public_key().public_bytes_raw())
        state.mix_key(_agree(self._static, self._theirs))
        return public + static + state.encrypt_and_hash(payload), state.split()


def _agree(private: X25519PrivateKey, public: bytes) -> bytes:
    try:
        return private.exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError as error:
        raise HandshakeError("the other side's key is a point of small order") from error


def _hkdf2(chaining_key: bytes, material: bytes) -> tuple[bytes, bytes]:
    """Noise's HKDF with two outputs (section 4.3)."""
    temporary = hmac.digest(chaining_key, material, "sha256")
    first = hmac.digest(temporary, b"\x01", "sha256")
    return first, hmac.digest(temporary, first + b"\x02", "sha256")
