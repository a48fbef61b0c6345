"""Vector files: records of `key: value` lines between blank lines (tests/vectors/README.md)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

VECTORS = Path(__file__).parent / "vectors"

Vector = dict[str, str]


def load(name: str) -> list[Vector]:
    """The records of the file `name` under tests/vectors; a line of another form is ValueError."""
    records: list[Vector] = [{}]
    for number, line in enumerate(_text(name).splitlines(), 1):
        if not line:
            records.append({})
        elif not line.startswith("#"):
            key, separator, value = line.partition(":")
            if not separator or key in records[-1]:
                raise ValueError(f"{name}:{number}: {line!r} is no new `key: value`")
            records[-1][key] = value.strip()
    return [record for record in records if record]


def check(name: str, heading: str, records: Iterable[Vector]) -> None:
    """Assert that the file holds exactly `records`; with SVCPORT_UPDATE=1, write it first."""
    text = _render(heading, records)
    if os.environ.get("SVCPORT_UPDATE") == "1":
        (VECTORS / name).parent.mkdir(parents=True, exist_ok=True)
        (VECTORS / name).write_text(text, encoding="ascii", newline="\n")
    assert _text(name) == text


def error_name(error: type[Exception]) -> str:
    """How an `expect:` line names an error class: MalformedFrameError is `malformed-frame`."""
    words = re.findall("[A-Z][a-z]+", error.__name__.removesuffix("Error"))
    return "-".join(words).lower()


def _text(name: str) -> str:
    return (VECTORS / name).read_text(encoding="ascii")


def _render(heading: str, records: Iterable[Vector]) -> str:
    comment = "".join(f"# {line}\n" for line in heading.strip().splitlines())
    return "\n".join([comment, *("".join(map(_line, record.items())) for record in records)])


def _line(item: tuple[str, str]) -> str:
    return f"{item[0]}: {item[1]}".rstrip() + "\n"
