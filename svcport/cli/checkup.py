"""What `doctor` looks at: Python, pyserial, ports and who may open them; what answers at one."""

from __future__ import annotations

import contextlib
import os
import platform
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import serial

from svcport.errors import SvcportError
from svcport.locks.probe import probe
from svcport.transport.adapters import FoundPort, found_ports
from svcport.transport.port import Transport, open_port

PYSERIAL_WANTED: Final = (3, 5)

Result = Literal["pass", "fail", "unknown"]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: stable, for scripts.
        result: `fail` stands in the way.
        detail: what was seen.
        cure: one command or act; empty if none is needed.
    """

    name: str
    result: Result
    detail: str
    cure: str = ""

    def as_json(self) -> dict[str, str | None]:
        """The check as a member of `checks[]`."""
        return {
            "name": self.name,
            "result": self.result,
            "detail": self.detail,
            "cure": self.cure or None,
        }


def computer_checks() -> Iterator[Check]:
    """Everything that has nothing to do with the home."""
    yield Check("python", "pass", f"{platform.python_version()} on {platform.platform(terse=True)}")
    yield _pyserial()
    ports = found_ports()
    yield _adapters(ports)
    yield _permissions(ports)


def port_checks(port: str, opener: Callable[[str], Transport] = open_port) -> Iterator[Check]:
    """Open a port and ask as a stranger would; a port that is lost ends the list with a `fail`."""
    try:
        transport = opener(port)
    except SvcportError as error:
        yield Check("port", "fail", error.message, error.hint)
        return
    yield Check("port", "pass", f"{port} can be opened")
    with contextlib.closing(transport):
        try:
            for found in probe(transport):
                yield Check(found.name, found.result, found.detail, found.cure)
        except SvcportError as error:
            yield Check("port", "fail", error.message, error.hint)


def _pyserial() -> Check:
    version = str(serial.__version__)
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())
    if numbers >= PYSERIAL_WANTED:
        return Check("pyserial", "pass", version)
    wanted = ".".join(map(str, PYSERIAL_WANTED))
    return Check(
        "pyserial",
        "fail",
        f"{version}, wanted {wanted}",
        "reinstall svcport: pipx reinstall svcport",
    )


def _adapters(ports: tuple[FoundPort, ...]) -> Check:
    known = [port for port in ports if port.known]
    if known:
        names = ", ".join(f"{port.device} ({port.adapter})" for port in known)
        return Check("adapter", "pass", names)
    cure = "plug the service cable in; if it is, install the driver of its adapter"
    if sys.platform.startswith("linux"):
        # the screen reader's driver takes every CH340 for a braille display
        cure = "plug the service cable in; if it is: sudo apt-get remove brltty"
    return Check("adapter", "fail", f"none among {len(ports)} serial ports", cure)


def _permissions(ports: tuple[FoundPort, ...]) -> Check:
    devices = [Path(port.device) for port in ports if Path(port.device).exists()]
    if not devices:
        return Check("permission", "unknown", "there is no device file to look at")
    closed = [path for path in devices if not os.access(path, os.R_OK | os.W_OK)]
    if not closed:
        return Check("permission", "pass", "this user may open every port")
    group = _group_of(closed[0])
    names = ", ".join(map(str, closed))
    return Check(
        "permission",
        "fail",
        f"this user may not open {names}",
        f"sudo usermod -aG {group} $USER, then log out and in again",
    )


def _group_of(path: Path) -> str:
    try:
        return path.group()
    except (OSError, KeyError, NotImplementedError):
        return "dialout"
