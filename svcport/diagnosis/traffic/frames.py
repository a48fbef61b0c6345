"""Frames of the service port as values for JSON. What is sealed stays so: only its size is told."""

from __future__ import annotations

from typing import Any, Final

from protocol.errors import MalformedMessageError
from protocol.frame import BAUD_PATTERN, Frame, FrameType
from protocol.handshake import Hello, HelloReply
from protocol.noise import TAG_SIZE

_ACK_NUMBER: Final = 4
_SEALED: Final = frozenset((FrameType.CONTROL, FrameType.CONTROL_REPLY, FrameType.BLOCK))
_HANDSHAKE: Final = frozenset((FrameType.NOISE, FrameType.NOISE_REPLY))
_SPEED: Final = frozenset((FrameType.BAUD_TEST, FrameType.BAUD_ECHO))


def name_of(frame: Frame) -> str:
    """`hello-reply` for HELLO_REPLY."""
    return frame.type.name.lower().replace("_", "-")


def facts(frame: Frame) -> dict[str, Any]:
    """The members of a frame: never a byte of what is sealed, of a handshake or of a nonce."""
    told: dict[str, Any] = {"frame": name_of(frame), "seq": frame.seq, "length": len(frame.body)}
    if frame.type in _SEALED:
        told["sealed"] = len(frame.body)
    elif frame.type in _HANDSHAKE:
        told["handshake"] = len(frame.body)
    elif frame.type in _SPEED:
        told["intact"] = frame.body == BAUD_PATTERN
    elif frame.type is FrameType.ACK and len(frame.body) >= _ACK_NUMBER:
        told["number"] = int.from_bytes(frame.body[:_ACK_NUMBER], "big")
        told["sealed"] = len(frame.body) - _ACK_NUMBER
    else:
        told |= _versions(frame)
    return told


def block_bytes(frame: Frame) -> int:
    """How much of an upload's stream a frame carries."""
    return max(0, len(frame.body) - TAG_SIZE) if frame.type is FrameType.BLOCK else 0


def _versions(frame: Frame) -> dict[str, Any]:
    try:
        if frame.type is FrameType.HELLO:
            hello = Hello.parse(frame.body)
            return {"versions": [hello.version_min, hello.version_max]}
        if frame.type is FrameType.HELLO_REPLY:
            reply = HelloReply.parse(frame.body)
            return {"version": reply.version, "profile": reply.profile}
    except MalformedMessageError:
        return {"malformed": True}
    return {}
