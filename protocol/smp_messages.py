"""SMP's requests and replies as types: what all have in common, and the groups os, stat and enum.

Attributes have the names that stand on the wire. A reply keeps what is typed here; keys that nobody
knows are ignored. A device's no is a value, `SmpFault`, in both of its forms (Zephyr, "SMP protocol
specification"; groups "OS management", "Statistical management", "Enumeration management").
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Generic, Self, TypeVar

from protocol.cbor import U64_MAX, CborMap, encode_map
from protocol.errors import MalformedMessageError
from protocol.smp import SmpGroup, SmpOp, SmpPacket

NOT_SUPPORTED: Final = 8
"""MGMT_ERR_ENOTSUP: the device has no such group or command."""

_GENERAL_WORDS: Final = {
    1: "unknown error",
    2: "out of memory",
    3: "invalid value",
    4: "timed out",
    5: "no such entry",
    6: "not in this state",
    7: "message too large",
    8: "not supported",
    9: "corrupt",
    10: "busy",
    11: "access denied",
    12: "protocol version too old",
    13: "protocol version too new",
}

_IMAGE_WORDS: Final = {
    1: "unknown error",
    2: "flash configuration unknown",
    3: "no image",
    4: "image without TLVs",
    5: "invalid TLV",
    6: "several hash TLVs",
    7: "TLV of invalid size",
    8: "hash not found",
    9: "no free slot",
    10: "flash does not open",
    11: "flash does not read",
    12: "flash does not write",
    13: "flash does not erase",
    14: "invalid slot",
    15: "out of memory",
    16: "flash context already set",
    17: "flash context not set",
    18: "no flash device",
    19: "invalid page offset",
    20: "offset missing",
    21: "length missing",
    22: "image shorter than its header",
    23: "no image magic",
    24: "invalid hash",
    25: "wrong flash address",
    26: "running version unknown",
    27: "the running image is newer",
    28: "an image is pending already",
    29: "invalid vector table",
    30: "image too large",
    31: "more data than announced",
    32: "confirmation denied",
    33: "test of the active slot denied",
}

_FS_WORDS: Final = {2: "invalid file name", 3: "file not found", 4: "a directory", 16: "empty file"}
_OS_WORDS: Final = {2: "invalid format", 3: "no answer to this query"}
_STAT_WORDS: Final = {2: "no such statistics group"}

_WORDS: Final[dict[int | None, dict[int, str]]] = {
    None: _GENERAL_WORDS,
    SmpGroup.OS: _OS_WORDS,
    SmpGroup.IMAGE: _IMAGE_WORDS,
    SmpGroup.STAT: _STAT_WORDS,
    SmpGroup.FS: _FS_WORDS,
}


@dataclass(frozen=True, slots=True)
class SmpFault:
    """A device's no.

    Attributes:
        group: whose code `rc` is; None: one of MCUmgr's general codes (the form of SMP 1, in which
            newer devices too say that they do not know a command).
        rc: never 0.
    """

    group: int | None
    rc: int

    @property
    def unsupported(self) -> bool:
        """Whether the device does not have what was asked for."""
        return self.group is None and self.rc == NOT_SUPPORTED

    def __str__(self) -> str:
        word = _WORDS.get(self.group, {}).get(self.rc)
        code = f"rc {self.rc}" if self.group is None else f"group {self.group} rc {self.rc}"
        return f"{word} ({code})" if word else code


class SmpReply(ABC):
    """What a device answers that does not say no."""

    __slots__ = ()

    @classmethod
    @abstractmethod
    def read(cls, fields: CborMap) -> Self:
        """The reply in `fields`; MalformedMessageError if a part is missing or of another type."""


R = TypeVar("R", bound=SmpReply)


class SmpRequest(Generic[R]):
    """What is asked; subclasses are frozen dataclasses whose fields are the map's, None left out.

    Attributes:
        REPLY: how the answer is read.
        REPEATABLE: asking twice does the same as asking once.
    """

    OP: ClassVar[SmpOp]
    GROUP: ClassVar[SmpGroup]
    COMMAND: ClassVar[int]
    REPLY: ClassVar[type[SmpReply]]
    REPEATABLE: ClassVar[bool] = True
    __slots__ = ()

    def fields(self) -> dict[str, Any]:
        """The map."""
        pairs = ((field.name, getattr(self, field.name)) for field in dataclasses.fields(self))  # type: ignore[arg-type]  # every subclass is a dataclass
        return {name: value for name, value in pairs if value is not None}

    def packet(self, seq: int, version: int) -> SmpPacket:
        """The request as it is sent; `seq` 0..255, `version` 1 or 2."""
        return SmpPacket.ask(
            self.OP,
            self.GROUP,
            self.COMMAND,
            seq=seq,
            version=version,
            payload=encode_map(self.fields()),
        )


def decode_answer(request: SmpRequest[R], payload: bytes) -> R | SmpFault:
    """What a device says to `request`.

    `rc` may be missing or 0 where all is well, in both versions of SMP.

    Raises:
        MalformedMessageError: it is neither the reply nor a no.
    """
    fields = CborMap.parse(payload)
    fault = _fault(fields)
    if fault is not None:
        return fault
    reply: R = request.REPLY.read(fields)  # type: ignore[assignment]  # REPLY is the R of its class
    return reply


def _fault(fields: CborMap) -> SmpFault | None:
    if fields.holds("err", dict):
        err = fields.inner("err")
        group, rc = err.unsigned("group"), err.unsigned("rc")
        return SmpFault(group, rc) if rc else None
    if fields.holds("rc", int):
        rc = fields.signed("rc")
        return SmpFault(None, rc) if rc else None
    if fields.has("err") or fields.has("rc"):
        raise MalformedMessageError("a reply has an rc or an err of a wrong type")
    return None


@dataclass(frozen=True, slots=True)
class Done(SmpReply):
    """The plain yes."""

    @classmethod
    def read(cls, _fields: CborMap) -> Self:
        """See SmpReply."""
        return cls()


@dataclass(frozen=True, slots=True)
class Echoed(SmpReply):
    """What was sent."""

    r: str

    @classmethod
    def read(cls, fields: CborMap) -> Self:
        """See SmpReply."""
        return cls(fields.text("r"))


@dataclass(frozen=True, slots=True)
class Echo(SmpRequest[Echoed]):
    """Say `d` again."""

    d: str

    OP = SmpOp.WRITE
    GROUP = SmpGroup.OS
    COMMAND = 0
    REPLY = Echoed


@dataclass(frozen=True, slots=True)
class Reset(SmpRequest[Done]):
    """Restart, a moment after the answer.

    Attributes:
        force: 1 also when a first reset was answered with "busy".
        boot_mode: 0..255, for the next boot only; 1 is MCUboot's serial recovery where it is built
            to be asked so (Zephyr 4.2).
    """

    force: int | None = None
    boot_mode: int | None = None

    OP = SmpOp.WRITE
    GROUP = SmpGroup.OS
    COMMAND = 5
    REPLY = Done
    REPEATABLE = False


@dataclass(frozen=True, slots=True)
class ParamsAre(SmpReply):
    """A device's buffers.

    Attributes:
        buf_size: bytes of one, in which a message and its framing's four bytes must fit.
        buf_count: how many there are.
    """

    buf_size: int
    buf_count: int

    @classmethod
    def read(cls, fields: CborMap) -> Self:
        """See SmpReply."""
        return cls(fields.unsigned("buf_size"), fields.unsigned("buf_count"))


@dataclass(frozen=True, slots=True)
class Params(SmpRequest[ParamsAre]):
    """What buffers the device has."""

    OP = SmpOp.READ
    GROUP = SmpGroup.OS
    COMMAND = 6
    REPLY = ParamsAre


@dataclass(frozen=True, slots=True)
class InfoIs(SmpReply):
    """What an application calls itself."""

    output: str

    @classmethod
    def read(cls, fields: CborMap) -> Self:
        """See SmpReply."""
        return cls(fields.text("output"))


@dataclass(frozen=True, slots=True)
class Info(SmpRequest[InfoIs]):
    """What the application is; `format` is "a" for all that it knows."""

    format: str | None = None

    OP = SmpOp.READ
    GROUP = SmpGroup.OS
    COMMAND = 7
    REPLY = InfoIs


@dataclass(frozen=True, slots=True)
class BootloaderIs(SmpReply):
    """What a boot loader calls itself, or how it works, by what was asked.

    Attributes:
        mode: number of MCUboot's mode; -1 unknown.
        no_downgrade: it refuses older images.
    """

    bootloader: str | None
    mode: int | None
    no_downgrade: bool

    @classmethod
    def read(cls, fields: CborMap) -> Self:
        """See SmpReply."""
        mode = fields.signed("mode") if fields.has("mode") else None
        no_downgrade = fields.maybe_flag("no-downgrade") or False
        return cls(fields.maybe_text("bootloader"), mode, no_downgrade)


@dataclass(frozen=True, slots=True)
class Bootloader(SmpRequest[BootloaderIs]):
    """What the boot loader is; `query` "mode" asks how it works."""

    query: str | None = None

    OP = SmpOp.READ
    GROUP = SmpGroup.OS
    COMMAND = 8
    REPLY = BootloaderIs


@dataclass(frozen=True, slots=True)
class StatGroups(SmpReply):
    """Names of the groups of statistics."""

    stat_list: tuple[str, ...]

    @classmethod
    def read(cls, fields: CborMap) -> Self:
        """See SmpReply."""
        return cls(fields.texts("stat_list"))


@dataclass(frozen=True, slots=True)
class StatList(SmpRequest[StatGroups]):
    """Which groups of statistics there are."""

    OP = SmpOp.READ
    GROUP = SmpGroup.STAT
    COMMAND = 1
    REPLY = StatGroups


@dataclass(frozen=True, slots=True)
class StatValues(SmpReply):
    """One group of statistics: names and counts in the device's order."""

    name: str
    fields: tuple[tuple[str, int], ...]

    @classmethod
    def read(cls, fields: CborMap) -> Self:
        """See SmpReply."""
        inner = fields.inner("fields")
        counts = tuple((key, inner.unsigned(key, U64_MAX)) for key in inner.names())
        return cls(fields.text("name"), counts)


@dataclass(frozen=True, slots=True)
class StatRead(SmpRequest[StatValues]):
    """The counts of one group."""

    name: str

    OP = SmpOp.READ
    GROUP = SmpGroup.STAT
    COMMAND = 0
    REPLY = StatValues


@dataclass(frozen=True, slots=True)
class GroupsAre(SmpReply):
    """Numbers of the groups of commands that a device has."""

    groups: tuple[int, ...]

    @classmethod
    def read(cls, fields: CborMap) -> Self:
        """See SmpReply."""
        return cls(fields.numbers("groups"))


@dataclass(frozen=True, slots=True)
class GroupList(SmpRequest[GroupsAre]):
    """Which groups of commands there are."""

    OP = SmpOp.READ
    GROUP = SmpGroup.ENUM
    COMMAND = 1
    REPLY = GroupsAre
