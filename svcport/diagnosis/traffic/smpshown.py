"""SMP packets as values for JSON: headers whole, maps without byte strings and without secrets."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import cbor2

from protocol.smp import SmpFraming, SmpGroup, SmpOp, SmpPacket
from svcport.diagnosis.traffic.blanking import blanked, harmless_text, names_a_secret

DEPTH_LIMIT: Final = 8
NODE_LIMIT: Final = 400
"""Most values of one map that are shown."""

DIGEST_SHOWN: Final = 8
"""Bytes of an image's digest that are shown; of other byte strings it is how many there are."""

_DIGESTS: Final = frozenset(("hash", "sha"))
_UPLOAD: Final = 1
_MORE: Final = "..."

_GROUPS: Final = {
    0: "os", 1: "image", 2: "statistics", 3: "settings", 4: "log", 5: "crash", 6: "split",
    7: "run", 8: "files", 9: "shell", 10: "enumeration", 63: "zephyr",
}  # fmt: skip
_COMMANDS: Final = {
    (0, 0): "echo", (0, 2): "tasks", (0, 3): "memory", (0, 4): "date-time", (0, 5): "reset",
    (0, 6): "parameters", (0, 7): "info", (0, 8): "boot-loader",
    (1, 0): "state", (1, 1): "upload", (1, 5): "erase", (1, 6): "slots",
    (2, 0): "data", (2, 1): "list",
    (3, 0): "value", (3, 1): "delete", (3, 2): "commit", (3, 3): "store",
    (8, 0): "transfer", (8, 1): "status", (8, 2): "hash", (8, 3): "hashes", (8, 4): "close",
    (9, 0): "execute",
    (10, 0): "count", (10, 1): "list", (10, 2): "group", (10, 3): "details",
    (63, 0): "erase-storage",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class SmpFound:
    """A packet and how it stood on the line."""

    framing: SmpFraming
    packet: SmpPacket

    @property
    def upload_bytes(self) -> int:
        """How much of an image it carries."""
        header = self.packet.header
        if (header.op, header.group, header.command) != (SmpOp.WRITE, SmpGroup.IMAGE, _UPLOAD):
            return 0
        data = (read_map(self.packet.payload) or {}).get("data")
        return len(data) if isinstance(data, bytes) else 0

    def facts(self) -> dict[str, Any]:
        """Its members for JSON."""
        header = self.packet.header
        op = SmpOp(header.op).name.lower().replace("_", "-") if header.op in _OPS else header.op
        found = read_map(self.packet.payload)
        return {
            "framing": self.framing.value,
            "op": op,
            "version": header.version,
            "group": header.group,
            "command": header.command,
            "name": _name(header.group, header.command),
            "seq": header.seq,
            "length": header.length,
            "map": None if found is None else _Shower().map(found),
        }


_OPS: Final = frozenset(map(int, SmpOp))


def _name(group: int, command: int) -> str:
    return f"{_GROUPS.get(group, group)} {_COMMANDS.get((group, command), command)}"


_Decode = Callable[[Any, bool], Any]


class _NoTags(dict[int, _Decode]):
    """Stands for a decoder of every tag: SMP has none, and some of them do work when read."""

    def __missing__(self, tag: int) -> _Decode:
        return _refuse

    def __contains__(self, tag: object) -> bool:
        return True

    def get(self, tag: int, default: object = None) -> Any:  # noqa: ANN401, ARG002
        return _refuse


def _refuse(_value: object, _more: object) -> object:
    raise cbor2.CBORDecodeError("a tag, which SMP does not have")


def read_map(payload: bytes) -> Mapping[object, object] | None:
    """The CBOR map that these bytes are; None if they are anything else."""
    stream = io.BytesIO(payload)
    decoder = cbor2.CBORDecoder(
        stream, tag_hook=_refuse, semantic_decoders=_NoTags(), max_depth=2 * DEPTH_LIMIT
    )
    try:
        found = decoder.decode()
    except cbor2.CBORError:
        return None
    whole = stream.tell() == len(payload)
    return found if isinstance(found, Mapping) and whole else None


class _Shower:
    """Turns one map into JSON values; shows a limited number of them."""

    def __init__(self) -> None:
        self._left = NODE_LIMIT

    def map(self, found: Mapping[object, object], depth: int = 0) -> dict[str, Any]:
        shown: dict[str, Any] = {}
        for key, value in found.items():
            if self._left <= 0:
                shown[_MORE] = f"{len(found) - len(shown)} more"
                break
            name = harmless_text(key) if isinstance(key, str) else _plain(key)
            shown[name] = self._value(key if isinstance(key, str) else "", value, depth + 1)
        return shown

    def _value(self, name: str, value: object, depth: int) -> Any:  # noqa: ANN401 - JSON
        self._left -= 1
        if isinstance(value, bytes):
            return _bytes(name, value)
        if names_a_secret(name):
            return blanked(len(str(value))) if isinstance(value, str | int | float) else "[blanked]"
        if isinstance(value, str):
            return harmless_text(value)
        if depth > DEPTH_LIMIT:
            return _MORE
        if isinstance(value, Mapping):
            return self.map(value, depth)
        if isinstance(value, list | tuple):
            return self._list(name, value, depth)
        return value if _is_plain(value) else _plain(value)

    def _list(self, name: str, values: list[Any] | tuple[Any, ...], depth: int) -> list[Any]:
        shown: list[Any] = []
        secret = False
        for value in values:
            if self._left <= 0:
                shown.append(f"{len(values) - len(shown)} more")
                break
            # a shell's words: what follows one that speaks of a secret is one
            shown.append("[blanked]" if secret else self._value(name, value, depth + 1))
            secret = secret or (isinstance(value, str) and names_a_secret(value))
        return shown


def _bytes(name: str, value: bytes) -> str:
    if name in _DIGESTS and len(value) > DIGEST_SHOWN:
        return f"{value[:DIGEST_SHOWN].hex()}... ({len(value)} bytes)"
    return f"[{len(value)} bytes]"


def _is_plain(value: object) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, bool | int)


def _plain(value: object) -> str:
    """Something that JSON has no word for, or a key that is no text."""
    if isinstance(value, bool | int | float):
        return str(value)
    return f"[{type(value).__name__}]"
