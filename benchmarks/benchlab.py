"""A training vendor with locks to measure on: made once, restored as often as wanted.

Every measured run starts from the same bytes: a lab and a technician's home are copied, the copies
used once. Locks are served by processes of their own, and pace their lines themselves.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import firmware
from uploads import cpu_s

from svcport.simulator.boot import BOOT_S

SVCPORT: Final = [sys.executable, "-m", "svcport"]
RELEASES: Final = 3
"""Releases that matter: what the other slot holds, what runs, what is approved."""

_BYTE_CODE: Final = tempfile.TemporaryDirectory(prefix="svcport-bytecode-")
"""Where Python keeps what it has compiled, as long as this process runs."""


@dataclass(frozen=True, slots=True)
class Wire:
    """Speed and adapter between a host and its lock."""

    baud: int
    latency_ms: int

    @property
    def line_rate(self) -> float:
        """Bytes a second, 8N1."""
        return self.baud / 10

    def __str__(self) -> str:
        return f"{self.baud} baud, {self.latency_ms} ms"


UNPACED: Final = Wire(0, 0)


@dataclass(frozen=True, slots=True)
class Done:
    """One command that was run.

    Attributes:
        wall_s: process start to exit.
        cpu_s: of processors, user and system, by the command and what it started.
        documents: its reports, one a lock.
        locks_cpu_s: of processors, by the processes that played the locks, since they were up.
    """

    wall_s: float
    cpu_s: float
    documents: list[dict[str, Any]]
    locks_cpu_s: float = 0.0

    @property
    def document(self) -> dict[str, Any]:
        """The only report."""
        (document,) = self.documents
        return document

    @property
    def transfer(self) -> dict[str, Any]:
        """The `transfer` member of the only report."""
        transfer: dict[str, Any] = self.document["transfer"]
        return transfer


def as_installed() -> dict[str, str]:
    """The environment of an installed program, whose byte code is kept.

    A checkout's may not be (PYTHONDONTWRITEBYTECODE), and every start would compile all sources.
    """
    kept = {key: text for key, text in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPYCACHEPREFIX": _BYTE_CODE.name}


def svcport(*arguments: str | Path, prefix: Sequence[str] = ()) -> Done:
    """One svcport command; RuntimeError with what it said if it fails."""
    command = [*(prefix or SVCPORT), "--json", *map(str, arguments)]
    with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as complained:
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=said, stderr=complained, env=as_installed())
        _pid, status, usage = os.wait4(process.pid, 0)
        wall_s = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        text = said.read().decode()
        complained.seek(0)
        if process.returncode:
            words = " ".join(map(str, arguments[:3]))
            raise RuntimeError(
                f"svcport {words}: {text[-800:]} {complained.read().decode()[-800:]}"
            )
    documents = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    return Done(wall_s, usage.ru_utime + usage.ru_stime, documents)


class BenchLab:
    """A lab, and the home of its technician.

    Args:
        payloads: of what the other slot holds, of what runs, of what shall run.
        condition: as `svcport lab init --condition`.
    """

    def __init__(
        self,
        root: Path,
        payloads: Sequence[bytes],
        *,
        condition: str = "bad-update",
        locks: int = 1,
    ) -> None:
        self._lab, self._home = root / "lab", root / "home"
        root.mkdir()
        given: list[str | Path] = []
        for number, payload in enumerate(payloads):
            path = root / f"payload{number}.bin"
            path.write_bytes(payload)
            given += ["--payload", path]
        how = ("--seed", "benchmark", "--condition", condition, "--locks", str(locks))
        svcport("lab", "init", self._lab, *how, *given)
        svcport("--home", self._home, "setup", "--from", self._lab / "technician")
        self.restore(UNPACED)  # not measured: afterwards all byte code is there

    @contextlib.contextmanager
    def copy(self) -> Iterator[tuple[Path, Path]]:
        """A lab and a home to use once."""
        with tempfile.TemporaryDirectory() as folder:
            lab, home = Path(folder) / "lab", Path(folder) / "home"
            (lab / "locks").parent.mkdir()
            shutil.copytree(self._lab / "locks", lab / "locks")
            shutil.copytree(self._home, home)
            yield lab, home

    def restore(self, wire: Wire, *, profile: str = "instant") -> Done:
        """One `svcport restore` of a fresh copy's one lock."""
        with self.copy() as (lab, home), served(lab, wire, profile=profile) as locks:
            return svcport("--home", home, "restore", "--port", locks.ports[0])


@dataclass(frozen=True, slots=True)
class Served:
    """Locks that are being served."""

    ports: list[str]
    processes: list[subprocess.Popen[str]]

    def cpu_s(self) -> float:
        """Processor time that the serving processes have used so far; Linux only, else 0."""
        return sum(cpu_s(process.pid) for process in self.processes)


@contextlib.contextmanager
def served(
    lab: Path,
    wire: Wire,
    *,
    profile: str = "instant",
    processes: int = 1,
    prefix: Sequence[str] = (),
) -> Iterator[Served]:
    """All locks of a lab, dealt out to so many processes.

    `prefix` stands for svcport, as in `svcport`; a `{}` in its words is the process's number.
    """
    serials = sorted(path.name for path in (lab / "locks").iterdir())
    pace = ["--baud", str(wire.baud), "--latency-ms", str(wire.latency_ms), "--profile", profile]
    found = Served([], [])
    with contextlib.ExitStack() as stack:
        for number in range(min(processes, len(serials))):
            mine = serials[number::processes]
            chosen = [word for serial in mine for word in ("--lock", serial)]
            start = [word.format(number) for word in prefix] or SVCPORT
            command = [*start, "lab", "run", str(lab), "--listen", "127.0.0.1:0", *pace, *chosen]
            process = stack.enter_context(
                subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=as_installed())
            )
            stack.callback(process.terminate)
            assert process.stdout is not None
            found.processes.append(process)
            found.ports.extend(json.loads(process.stdout.readline())["port"] for _ in mine)
        time.sleep(BOOT_S)  # they were switched on just now, and hear nothing while they boot
        yield found


def noise(count: int = RELEASES) -> list[bytes]:
    """Payloads that share nothing with each other."""
    return [firmware.incompressible(number) for number in range(count)]


def upload_s(done: Done, wire: Wire) -> float:
    """The upload phase: first block sent to last acknowledgement, less one link latency."""
    return float(done.transfer["seconds"]) - wire.latency_ms / 1000


def upload_ratio(done: Done, wire: Wire) -> float:
    """Image bytes a second in the upload phase, over the line rate."""
    return float(done.transfer["image_bytes"]) / upload_s(done, wire) / wire.line_rate
