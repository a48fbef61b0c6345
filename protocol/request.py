"""What every request and reply has in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final, Generic, TypeVar

from protocol.record import Record, wire

R = TypeVar("R", bound=Record)
OBJECT_LIMIT: Final = 640
"""Most bytes of one sealed object inside a request or a reply."""


class Request(Record, Generic[R]):
    """What a host asks; `REPLY` is what a lock that agrees answers."""

    OPCODE: ClassVar[int]
    REPLY: ClassVar[type[Record]]
    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Done(Record):
    """The plain yes."""

    WIRE = wire()
