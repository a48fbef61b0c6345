"""The one place that prints: answers as JSON or as text, on the right stream.

stdout carries the report and nothing else; what went wrong is told on stderr. A reader that went
away is no failure of the command: the work is done, its exit code stands.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, TextIO

from svcport.cli import exits
from svcport.cli.answer import Answer
from svcport.cli.exits import Exit
from svcport.cli.tables import Block, Table
from svcport.errors import Outcome

_WELL: Final = frozenset({Outcome.OK, Outcome.NOTHING_TO_DO})

# JSON lets these stand in a string as they are, but some readers of lines break there.
_LINE_BREAKS: Final = {0x85: "\\u0085", 0x2028: "\\u2028", 0x2029: "\\u2029"}


@dataclass(frozen=True, slots=True)
class Batch:
    """Answers that come one by one, each about its own port or file.

    Attributes:
        answers: in the order in which they finish.
        about: the member that tells them apart, `port` or `file`.
    """

    answers: Iterable[Answer]
    about: str


Result = Answer | Batch | None
"""What a command gives back; None if it has printed all there is to say."""


class Output:
    """Prints the answers of one command and keeps its exit code."""

    def __init__(self, command: str, *, as_json: bool) -> None:
        self._command = command
        self._as_json = as_json
        self.code = Exit.OK

    def publish(self, result: Result) -> None:
        """Print whatever a command gave back, a batch as its answers come."""
        match result:
            case Answer():
                self._count(result)
                self._print(result)
            case Batch():
                self._publish_batch(result)
            case None:
                pass

    def tell(self, block: Block) -> None:
        """Show people something while the command still runs; JSON has it in the end."""
        if not self._as_json:
            self._show([block])

    def _publish_batch(self, batch: Batch) -> None:
        kept: list[Answer] = []
        for answer in batch.answers:
            self._count(answer)
            if self._as_json or batch.about != "port":
                self._print(answer)
            else:
                kept.append(answer)
        if kept:
            self._print_bench(kept)

    def _count(self, answer: Answer) -> None:
        self.code = exits.highest((self.code, answer.code))

    def _print(self, answer: Answer) -> None:
        document = answer.document(self._command)
        if self._as_json:
            self._write(one_line(document))
        else:
            # the words are loaded only where they are read
            from svcport.cli.render import blocks

            self._show(blocks(self._command, document))
        file = answer.members.get("file")
        known = file is None or answer.message.startswith(file)
        complain(answer, prefix="" if known else f"{file}: ")

    def _print_bench(self, answers: list[Answer]) -> None:
        from svcport.cli.render import bench

        self._show(bench([answer.document(self._command) for answer in answers]))
        for answer in answers:
            complain(answer, prefix=f"{answer.members.get('port', '')}: ")

    def _show(self, found: Iterable[Block]) -> None:
        for block in found:
            if isinstance(block, Table) and is_terminal(sys.stdout):
                _show_table(block)
            else:
                text = block.plain() if isinstance(block, Table) else block
                self._write(harmless(text))

    def _write(self, line: str) -> None:
        """A line of the report; where it cannot be kept, the command did not do its job."""
        if not write(sys.stdout, f"{line}\n"):
            self.code = exits.highest((self.code, Exit.FAILED))


def complain(answer: Answer, *, prefix: str = "") -> None:
    """Tell on stderr what did not go well, and what to do about it."""
    if answer.outcome not in _WELL and answer.message:
        kind = "no" if answer.outcome is Outcome.DIFFERS else "error"
        write(sys.stderr, f"{kind}: {harmless(prefix + answer.message)}\n")
    if answer.hint:
        write(sys.stderr, f"hint: {harmless(answer.hint)}\n")


def one_line(document: dict[str, Any]) -> str:
    """Compact JSON without a line break of any alphabet."""
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.translate(_LINE_BREAKS)


def harmless(text: str) -> str:
    """The text without what a terminal would obey: a lock or a file may have sent it."""
    return "".join(
        char if char in "\n\t" or unicodedata.category(char) not in {"Cc", "Cf"} else "?"
        for char in text
    )


def is_terminal(stream: TextIO | None) -> bool:
    """Whether somebody is looking; a closed or missing stream is none."""
    if stream is None or stream.closed:
        return False
    return stream.isatty()


def write(stream: TextIO | None, text: str) -> bool:
    """Write and flush, in UTF-8 where bytes are taken; whether that worked.

    A reader that went away is no failure, a disk that is full is, and is told on stderr. Characters
    that the console lacks come out as `?`, lone surrogates as escapes, which JSON reads.
    """
    if stream is None or stream.closed:
        return True
    try:
        _write(stream, text)
    except OSError as error:
        point_nowhere(stream)
        if isinstance(error, BrokenPipeError):
            return True
        if stream is not sys.stderr:
            write(sys.stderr, f"error: the report cannot be written: {error.strerror or error}\n")
        return False
    return True


def _write(stream: TextIO, text: str) -> None:
    # progress bars put a stream of their own in front, which keeps text and bars apart
    if isinstance(stream, io.TextIOWrapper):
        stream.flush()
        stream.buffer.write(_encoded(stream, text))
    else:
        stream.write(text)
    stream.flush()


def _encoded(stream: TextIO, text: str) -> bytes:
    if text.startswith("{") or not is_terminal(stream):
        return text.encode("utf-8", "backslashreplace")
    return text.encode(stream.encoding or "ascii", "replace")


def point_nowhere(stream: TextIO) -> None:
    """Keep the interpreter from failing once more when it flushes at exit."""
    with contextlib.suppress(OSError, ValueError, io.UnsupportedOperation):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def _show_table(table: Table) -> None:
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    shown = RichTable(box=None, pad_edge=False)
    for column in table.columns:
        shown.add_column(column, overflow="fold")
    for row in table.rows:
        shown.add_row(*(Text(harmless(cell)) for cell in row))
    try:
        Console().print(shown)
    except BrokenPipeError:
        point_nowhere(sys.stdout)
