"""Sealed control records: one request in flight, strictly ordered, resent as the same bytes.

Record n of a direction is sealed with nonce n under that direction's key, associated data empty;
its frame carries n's low 16 bits. Nothing is ever sealed twice under one nonce: a resend is the
same ciphertext; the lock answers a repeated request from its cache (protocol/README, "Control").
"""

from __future__ import annotations

import hashlib
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from protocol.errors import ChannelError
from protocol.frame import Frame, FrameType
from protocol.noise import TAG_SIZE, SessionKeys, nonce

RECORD_LIMIT: Final = 1024
"""Most bytes of a record's plaintext."""


class HostChannel:
    """The host's end. `send`, then `receive` until it gives the reply, or `resend` on silence."""

    def __init__(self, keys: SessionKeys) -> None:
        self._seal = ChaCha20Poly1305(keys.host_to_lock)
        self._open = ChaCha20Poly1305(keys.lock_to_host)
        self._number = 0
        self._in_flight: bytes | None = None

    def send(self, plaintext: bytes) -> bytes:
        """Seal a request; the frame to write. RuntimeError while one is in flight."""
        if self._in_flight is not None:
            raise RuntimeError("one request at a time")
        if len(plaintext) > RECORD_LIMIT:
            raise ChannelError(f"a record has at most {RECORD_LIMIT} bytes, not {len(plaintext)}")
        sealed = self._seal.encrypt(nonce(self._number), plaintext, b"")
        self._in_flight = Frame(FrameType.CONTROL, self._number, sealed).build()
        return self._in_flight

    def resend(self) -> bytes:
        """The frame in flight again, to the bit. RuntimeError if none is."""
        if self._in_flight is None:
            raise RuntimeError("nothing to resend")
        return self._in_flight

    def receive(self, frame: Frame) -> bytes | None:
        """The reply's plaintext, or None for a frame that is not the answer awaited.

        Raises:
            ChannelError: the answer fails its seal or is too long; the session is over.
        """
        if self._in_flight is None or frame.type is not FrameType.CONTROL_REPLY:
            return None
        if frame.seq != self._number & 0xFFFF:
            return None
        plaintext = _opened(self._open, self._number, frame.body, "reply")
        self._number += 1
        self._in_flight = None
        return plaintext


class LockChannel:
    """The lock's end: `receive` gives a new request, or None when `repeat` is the answer."""

    def __init__(self, keys: SessionKeys) -> None:
        self._open = ChaCha20Poly1305(keys.host_to_lock)
        self._seal = ChaCha20Poly1305(keys.lock_to_host)
        self._number = 0
        self._last_request = b""
        self._last_reply = b""

    def receive(self, frame: Frame) -> bytes | None:
        """A new request's plaintext; None for a stale frame or a repeat.

        Raises:
            ChannelError: the seal fails, the record is too long, or another request came under a
                number already used; the session is over.
        """
        if frame.type is not FrameType.CONTROL:
            return None
        if self._number and frame.seq == (self._number - 1) & 0xFFFF:
            if hashlib.sha256(frame.body).digest() != self._last_request:
                raise ChannelError("another request under the same number")
            return None
        if frame.seq != self._number & 0xFFFF:
            return None
        plaintext = _opened(self._open, self._number, frame.body, "request")
        self._last_request = hashlib.sha256(frame.body).digest()
        self._last_reply = b""
        self._number += 1
        return plaintext

    def reply(self, plaintext: bytes) -> bytes:
        """Seal the answer to the request last received; the frame to send, kept for repeats."""
        if self._last_reply or not self._number:
            raise RuntimeError("no request waits for an answer")
        if len(plaintext) > RECORD_LIMIT:
            raise ChannelError(f"a record has at most {RECORD_LIMIT} bytes, not {len(plaintext)}")
        number = self._number - 1
        sealed = self._seal.encrypt(nonce(number), plaintext, b"")
        self._last_reply = Frame(FrameType.CONTROL_REPLY, number, sealed).build()
        return self._last_reply

    def repeat(self, frame: Frame) -> bytes:
        """The cached answer if `frame` repeats the last request, else nothing (empty bytes).

        Only for a frame that `receive` gave None for: it is `receive` that compares the bytes.
        """
        if frame.type is not FrameType.CONTROL:
            return b""
        if self._number and frame.seq == (self._number - 1) & 0xFFFF:
            return self._last_reply
        return b""


def _opened(cipher: ChaCha20Poly1305, number: int, sealed: bytes, what: str) -> bytes:
    if len(sealed) > RECORD_LIMIT + TAG_SIZE:
        raise ChannelError(
            f"a {what} has at most {RECORD_LIMIT} bytes, not {len(sealed) - TAG_SIZE}"
        )
    try:
        return cipher.decrypt(nonce(number), sealed, b"")
    except InvalidTag as error:
        raise ChannelError(f"a {what} fails its seal") from error
