"""What a harness is: one reader of bytes that strangers write, what it may say, what must hold."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CORPUS = Path(__file__).parent / "corpus"


class NotTakenError(Exception):
    """The input says nothing to this harness, or its reader says "none" without an error."""


@dataclass(frozen=True)
class Harness:
    """One reader under test.

    Attributes:
        name: also that of its file under corpus/.
        reads: what is read, in a few words.
        parse: reads an input; may raise `errors` and nothing else.
        check: what must hold of a value that was read; raises nothing at all.
        errors: everything that `parse` declares.
        seeds: inputs to start from, the same at every call.
        max_len: most bytes of an input.
    """

    name: str
    reads: str
    parse: Callable[[bytes], Any]
    errors: tuple[type[Exception], ...]
    check: Callable[[bytes, Any], None]
    seeds: Callable[[], Iterable[bytes]]
    max_len: int = 4096

    def __call__(self, data: bytes) -> bool:
        """Whether the input was taken; an undeclared error or a broken promise comes out."""
        try:
            value = self.parse(data)
        except (*self.errors, NotTakenError):
            return False
        self.check(data, value)
        return True

    @property
    def room(self) -> str:
        """The module that describes it; a worker imports no other."""
        return self.seeds.__module__

    @property
    def corpus(self) -> Path:
        """Its committed inputs: a line of hex each, shortest first."""
        return CORPUS / f"{self.name}.txt"

    def inputs(self) -> list[bytes]:
        """The committed inputs."""
        if not self.corpus.exists():
            return []
        return [bytes.fromhex(line) for line in self.corpus.read_text("ascii").splitlines()]

    def commit(self, inputs: Iterable[bytes]) -> None:
        """Add to the committed inputs; the empty one needs no line."""
        lines = sorted({*self.inputs(), *inputs} - {b""}, key=lambda one: (len(one), one))
        text = "".join(f"{line.hex()}\n" for line in lines)
        self.corpus.write_text(text, encoding="ascii", newline="\n")


def nothing_more(_data: bytes, _value: object) -> None:
    """For readers of which all that matters is which errors they raise."""


def split(data: bytes, count: int) -> tuple[bytes, bytes]:
    """The first `count` bytes, zeros where they are missing, and the rest."""
    return data[:count].ljust(count, b"\0"), data[count:]


class Pieces:
    """An input read as a run of small choices; zeros and nothing once it is used up."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def left(self) -> bool:
        """Whether there is anything to read."""
        return self._at < len(self._data)

    def number(self, size: int = 1) -> int:
        """An unsigned number of `size` bytes."""
        return int.from_bytes(self.fixed(size), "big")

    def fixed(self, size: int) -> bytes:
        """Exactly `size` bytes."""
        found = self._data[self._at : self._at + size]
        self._at += size
        return found.ljust(size, b"\0")

    def some(self) -> bytes:
        """Bytes behind their length, u16."""
        size = min(self.number(2), max(0, len(self._data) - self._at))
        return self.fixed(size)
