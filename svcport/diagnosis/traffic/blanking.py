"""Takes out of text what may be a secret. Rather too much than too little: it is for strangers."""

from __future__ import annotations

import re
from typing import Final

SHOWN: Final = 200
"""Most characters of a line or a text that are shown."""

_ANSI: Final = re.compile(r"\x1b\[[0-9;?]{0,16}[@-~]|\x1b.?")
_WORD: Final = re.compile(
    r"(?<![a-z])(?:pass(?:word|phrase|code|wd)?|pwd|secret|psk|pins?|token|credential|key|auth)s?"
    r"(?![a-z])",
    re.IGNORECASE,
)
_RUNS: Final = re.compile(
    r"(?:[0-9A-Fa-f]{2}[ :,;_-]{1,2}){11,}[0-9A-Fa-f]{2}"  # a dump, byte by byte
    r"|[0-9A-Fa-f]{24,}"
    r"|[A-Za-z0-9+/_-]{32,}={0,2}"
)
_BEGIN: Final = "-----BEGIN"
_END: Final = "-----END"


def blanked(count: int, unit: str = "characters") -> str:
    """What stands in the place of something that is not shown."""
    return f"[blanked, {count} {unit}]"


def names_a_secret(name: str) -> bool:
    """Whether what is called so should not be shown."""
    return _WORD.search(name) is not None


def harmless_text(text: str) -> str:
    """One line or short text without what may be a secret, cut after 200 characters.

    What follows a word such as `password` or `key` goes, to the end of the line, and every run of
    hex digits or base64 that is long enough for a key.
    """
    lines = _ANSI.sub("", text).splitlines() or [""]
    shown = "\n".join(_line(line) for line in lines)
    return shown if len(shown) <= SHOWN else f"{shown[:SHOWN]}... ({len(shown)} characters)"


def _line(line: str) -> str:
    found = _WORD.search(line)
    if found is None:
        return _without_runs(line)
    rest = line[found.end() :]
    told = _without_runs(line[: found.end()])
    return f"{told} {blanked(len(rest))}" if rest.strip(" \t:=") else told + rest


def _without_runs(text: str) -> str:
    return _RUNS.sub(lambda run: blanked(len(run[0])), text)


class ConsoleBlanker:
    """Blanks a console's lines one after the other: keys in PEM form have several."""

    def __init__(self) -> None:
        self._in_pem = False

    def line(self, text: str) -> str:
        """The line as it may be shown."""
        if _BEGIN in text:
            self._in_pem = True
        if not self._in_pem:
            return harmless_text(text)
        self._in_pem = _END not in text
        return blanked(len(text))
