"""Command lines and what they print, word for word: `tests/scripts/*.txt`.

    $ svcport ...      a command; its stdout follows, its stderr as `! `, an exit code as `? N` if
                       it is not 0; a line of stdout that looks like one of these starts with `| `
    & svcport lab run  serves a lab from here on; its ports are $PORT1, $PORT2, ...

What differs from run to run is written as <time>, <hex> and so on. SVCPORT_UPDATE=1 rewrites them.
"""

from __future__ import annotations

import os
import re
import shlex
from contextlib import ExitStack
from pathlib import Path

import pytest
from clirunner import svcport
from lab.kit import running

SCRIPTS = sorted((Path(__file__).parent / "scripts").glob("*.txt"))
MARKS = ("$ ", "& ", "# ", "! ", "? ", "| ")
VOLATILE = {
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ": "<time>",
    r"\d{4}-\d\d-\d\d \d\d:\d\d UTC": "<time>",
    r"\+[0-9a-f]{8}\+[A-Za-z0-9+/]{44}": "<vkey>",
    r"\b[0-9a-f]{16,}\b": "<hex>",
    r"socket://127\.0\.0\.1:\d+": "<port>",
    r"\d+ KiB sent in \d+\.\d s": "<n> KiB sent in <n> s",
    r"\d+ sectors sent, \d+ already there": "<n> sectors sent, <n> already there",
    r'"seconds":\d+\.\d+': '"seconds":<n>',
    r'"wire_bytes":\d+,"units":{[^}]*}': '"wire_bytes":<n>,"units":<n>',
    r"svcport-demo-\w+": "<folder>",
}


def same_every_time(text: str, folder: Path) -> str:
    text = text.replace(str(folder), "<here>")
    for pattern, word in VOLATILE.items():
        text = re.sub(pattern, word, text)
    return text


def ran(line: str, ports: dict[str, str]) -> str:
    for name, port in ports.items():
        line = line.replace(name, port)
    result = svcport(*shlex.split(line)[2:])
    out = "".join(f"| {one}" if one[:2] in MARKS else one for one in result.out.splitlines(True))
    err = "".join(f"! {one}\n" for one in result.err.splitlines())
    return out + err + (f"? {result.code}\n" if result.code else "")


def performed(script: str, folder: Path) -> str:
    """The script as it comes out: same comments and commands, with what they print now."""
    ports: dict[str, str] = {}
    made: list[str] = []
    with ExitStack() as stack:
        for line in script.splitlines():
            if line.startswith("& "):
                found = stack.enter_context(running(Path(line.split()[4]))).values()
                ports = {f"$PORT{number}": port for number, port in enumerate(found, 1)}
                made.append(f"{line}\n")
            elif line.startswith("$ "):
                made.append(f"{line}\n{same_every_time(ran(line, ports), folder)}")
            elif line.startswith("#"):
                made.append(f"{line}\n")
    return "".join(made)


def test_there_are_scripts() -> None:
    assert SCRIPTS


@pytest.mark.parametrize("path", SCRIPTS, ids=[path.stem for path in SCRIPTS])
def test_commands_print_what_the_script_says(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SVCPORT_HOME", str(tmp_path / "home"))
    script = path.read_text("utf-8")
    found = performed(script, tmp_path)
    if os.environ.get("SVCPORT_UPDATE"):
        path.write_text(found, "utf-8")
        return
    assert found == script
