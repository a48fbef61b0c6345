"""The opcode table: every request a host can make, and how requests and replies become records.

A request's record is `opcode u8 | fields`; a reply's is `00 | fields`, a refusal's `01 | fields`.
A request class names the class of its reply, so that a call's result is typed.
"""

from __future__ import annotations

from typing import Final

from protocol.acts import Activate, ActStatus, Begin, Commit, Confirm, Receipts, Reset, Rollback
from protocol.errors import MalformedMessageError
from protocol.queries import (
    Auth,
    Battery,
    Close,
    Events,
    Identify,
    Measure,
    SectorDigests,
    SelfTest,
    SetBaud,
    Slots,
)
from protocol.record import Record
from protocol.refusal import Refusal
from protocol.request import R, Request
from protocol.statements import LockNonce, PutEpoch, PutTime

ACCEPTED: Final = 0x00
REFUSED: Final = 0x01

REQUESTS: Final[dict[int, type[Request[Record]]]] = {
    cls.OPCODE: cls  # type: ignore[misc]
    for cls in (
        Auth,
        Identify,
        Slots,
        Measure,
        Battery,
        SectorDigests,
        ActStatus,
        Begin,
        Commit,
        Activate,
        Confirm,
        Rollback,
        Reset,
        Receipts,
        Events,
        SelfTest,
        SetBaud,
        Close,
        LockNonce,
        PutEpoch,
        PutTime,
    )
}


def encode_request(request: Request[R]) -> bytes:
    """The record of a request."""
    return bytes([request.OPCODE]) + request.build()


def decode_request(plaintext: bytes) -> Request[Record]:
    """A request from its record; MalformedMessageError if there is none of that opcode."""
    kind = REQUESTS.get(plaintext[0]) if plaintext else None
    if kind is None:
        raise MalformedMessageError(f"no request: {plaintext[:1].hex() or 'nothing'}")
    return kind.parse(plaintext[1:])


def encode_reply(reply: Record) -> bytes:
    """The record of a reply or a refusal."""
    return bytes([REFUSED if isinstance(reply, Refusal) else ACCEPTED]) + reply.build()


def decode_reply(request: Request[R], plaintext: bytes) -> R | Refusal:
    """The reply to `request`, or the lock's refusal; MalformedMessageError if it is neither."""
    if plaintext[:1] == bytes([REFUSED]):
        return Refusal.parse(plaintext[1:])
    if plaintext[:1] != bytes([ACCEPTED]):
        raise MalformedMessageError(f"no reply: {plaintext[:1].hex() or 'nothing'}")
    return request.REPLY.parse(plaintext[1:])  # type: ignore[return-value]
