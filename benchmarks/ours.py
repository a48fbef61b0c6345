"""What `svcport` itself is measured on: one function a group of rows.

The upload phase is what the report calls `transfer.seconds`, first block sent to last
acknowledgement, less one link latency. Bytes are those of the image as shipped.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import firmware
from benchlab import (
    UNPACED,
    BenchLab,
    Done,
    Wire,
    as_installed,
    noise,
    served,
    svcport,
    upload_ratio,
    upload_s,
)
from pacedlink import PacedLink, running, tcp_end
from rows import Row, Want

from protocol.values import SECTOR_SIZE
from svcport.simulator.boot import BOOT_S
from svcport.simulator.flash import NRF52840, WORD_SIZE

BAUDS: Final = (115_200, 921_600, 3_000_000)
LATENCIES_MS: Final = (0, 1, 16)
FAST: Final = 3_000_000
"""From here on the computers' own time counts, and goals are lower."""

SLOW: Final = 115_200
"""Runs at this speed leave processors idle, so that those of one row are made side by side."""

BENCH: Final = Wire(921_600, 1)
CONNECT_S: Final = 30
BENCHES: Final = (32, 64)
STARTS: Final = 7


@dataclass(frozen=True, slots=True)
class Job:
    """How thorough to be.

    Attributes:
        root: where labs are made.
        runs: of each row.
        bauds: of grids.
        latencies_ms: of grids.
        benches: numbers of locks at once.
    """

    root: Path
    runs: int = 3
    bauds: Sequence[int] = BAUDS
    latencies_ms: Sequence[int] = LATENCIES_MS
    benches: Sequence[int] = BENCHES

    def grid(self) -> list[Wire]:
        """Every wire to measure on."""
        return [Wire(baud, latency) for baud in self.bauds for latency in self.latencies_ms]

    def several(self, wire: Wire, run: Callable[[], Done]) -> list[Done]:
        """The runs of one row."""
        with ThreadPoolExecutor(self.runs if wire.baud <= SLOW else 1) as pool:
            return [future.result() for future in [pool.submit(run) for _ in range(self.runs)]]

    def lab(self, name: str, payloads: Sequence[bytes], condition: str = "bad-update") -> BenchLab:
        """A lab with one lock."""
        return BenchLab(self.root / name, payloads, condition=condition)


def _uploads(job: Job, lab: BenchLab, wire: Wire, profile: str = "instant") -> list[Done]:
    return job.several(wire, lambda: lab.restore(wire, profile=profile))


def _ratio_row(group: str, wire: Wire, done: Sequence[Done], goal: float) -> Row:
    transfer = done[0].transfer
    note = f"{transfer['image_bytes']} bytes, {transfer['wire_bytes']} on the wire"
    values = [upload_ratio(one, wire) for one in done]
    return Row(group, str(wire), values, want=Want.AT_LEAST, goal=goal, note=note)


def random(job: Job) -> Iterator[Row]:
    """Incompressible bytes."""
    lab = job.lab("random", noise())
    group = "Incompressible, 256 KiB: upload phase / line rate"
    for wire in job.grid():
        goal = 0.96 if wire.baud >= FAST else 0.98
        yield _ratio_row(group, wire, _uploads(job, lab, wire), goal)


def same_line(job: Job) -> Iterator[Row]:
    """Over the link that other programs get, to a lock that does not pace: the same must come out.

    The lock's link then stays at one speed, whatever host and lock agree on.
    """
    lab = job.lab("same", noise())
    for wire in (Wire(baud, 1) for baud in job.bauds if baud > SLOW):
        done = [_over_link(lab, wire) for _run in range(job.runs)]
        group = "Incompressible, 256 KiB, over the peers' link: upload phase / line rate"
        yield Row(group, str(wire), [upload_ratio(one, wire) for one in done])


def _over_link(lab: BenchLab, wire: Wire) -> Done:
    with (
        lab.copy() as (folder, home),
        served(folder, UNPACED) as locks,
        socket.create_server(("127.0.0.1", 0)) as listener,
        ThreadPoolExecutor(1) as pool,
    ):
        host, port = listener.getsockname()
        arguments = ("--home", home, "restore", "--port", f"socket://{host}:{port}")
        running_command = pool.submit(svcport, *arguments)
        listener.settimeout(CONNECT_S)
        near = tcp_end(listener.accept()[0])
        address = locks.ports[0].removeprefix("socket://").rpartition(":")
        far = tcp_end(socket.create_connection((address[0], int(address[2]))))
        link = PacedLink(near, far, wire.baud, latency_s=wire.latency_ms / 1000)
        with contextlib.closing(near), contextlib.closing(far), running(link):
            return running_command.result()


def no_base(job: Job) -> Iterator[Row]:
    """Real firmware for a dead lock, on which nothing can be built."""
    lab = job.lab("firmware", [*noise(2), firmware.firmware()], "dead")
    group = "Real firmware, no base: upload phase / line rate"
    for wire in job.grid():
        goal = 1.31 if wire.baud >= FAST else 1.35
        yield _ratio_row(group, wire, _uploads(job, lab, wire), goal)


def based(job: Job) -> Iterator[Row]:
    """Real firmware against what the lock runs."""
    cases = (
        ("sibling build", firmware.sibling_pair(), 7.0),
        ("near version", firmware.near_pair(), 25.0),
    )
    for name, pair, goal in cases:
        lab = job.lab(name.split()[0], [*noise(1), pair.base, pair.new])
        group = f"Real firmware, a {name} runs: upload phase / line rate"
        for wire in (Wire(baud, 1) for baud in job.bauds if baud < FAST):
            yield _ratio_row(group, wire, _uploads(job, lab, wire), goal)


def unchanged(job: Job) -> Iterator[Row]:
    """The whole command on a lock that runs what it should."""
    wire = Wire(115_200, 16)
    lab = job.lab("unchanged", [*noise(2), firmware.firmware()], "healthy")
    done = [_unchanged(lab, wire) for _run in range(job.runs)]
    facts = {note for _one, note in done}
    values = [one.wall_s for one, _note in done]
    yield Row(
        "Unchanged image: the whole command",
        str(wire),
        values,
        "s",
        Want.AT_MOST,
        2.0,
        "; ".join(sorted(facts)),
    )


def _unchanged(lab: BenchLab, wire: Wire) -> tuple[Done, str]:
    with lab.copy() as (folder, home):
        flash = next((folder / "locks").glob("*/flash.bin"))
        before = flash.read_bytes()
        with served(folder, wire) as locks:
            done = svcport("--home", home, "restore", "--port", locks.ports[0])
        after = flash.read_bytes()
        entries = svcport("--home", home, "audit", "list").document["list"]
    intents = sum(entry["kind"] == "intent" for entry in entries)
    # Writing lets bits fall; only an erase lets them rise.
    rose = int.from_bytes(after, "big") & ~int.from_bytes(before, "big")
    erased = "flash was erased" if rose else "nothing erased"
    if intents or rose:
        raise RuntimeError(f"an unchanged image: {intents} intents, {erased}")
    return done, f"{done.document['outcome']}, {intents} intents, {erased}"


def flash_overlap(job: Job) -> Iterator[Row]:
    """Upload and flash together against the slower of the two."""
    lab = job.lab("nrf52840", [*noise(2), firmware.firmware()], "dead")
    for wire in (Wire(baud, 1) for baud in job.bauds if baud < FAST):
        done = _uploads(job, lab, wire, NRF52840.name)
        transfer = done[0].transfer
        sectors = transfer["units"]["deflate"] + transfer["units"]["raw"]
        flash_s = sectors * (NRF52840.erase_s + SECTOR_SIZE / WORD_SIZE * NRF52840.word_s)
        wire_s = transfer["wire_bytes"] / wire.line_rate
        yield Row(
            "Profile nrf52840: upload and flash together / max(wire time, flash time)",
            str(wire),
            [upload_s(one, wire) / max(flash_s, wire_s) for one in done],
            want=Want.AT_MOST,
            goal=1.10,
            note=f"flash {flash_s:.2f} s ({sectors} sectors), wire {wire_s:.2f} s",
        )


def command(job: Job) -> Iterator[Row]:
    """Process start to exit against the upload phase."""
    lab = job.lab("command", [*noise(2), firmware.firmware()], "dead")
    done = [lab.restore(BENCH) for _run in range(job.runs)]
    uploads = [upload_s(one, BENCH) for one in done]
    values = [(one.wall_s - BOOT_S) / up for one, up in zip(done, uploads, strict=True)]
    middle = sorted(done, key=lambda one: one.wall_s)[len(done) // 2]
    yield Row(
        "The whole restore command, firmware without base / upload phase",
        str(BENCH),
        values,
        want=Want.AT_MOST,
        goal=1.6,
        note=f"{middle.wall_s:.2f} s, {BOOT_S} s of it the lock's boot, its self-test takes none; "
        f"{middle.cpu_s:.2f} s of processor; upload {upload_s(middle, BENCH):.2f} s",
    )


def startup(job: Job) -> Iterator[Row]:
    """`svcport --version` against what click alone costs."""
    script = Path(sys.executable).with_name("svcport")
    ours = [str(script)] if script.exists() else [sys.executable, "-m", "svcport"]
    theirs = [sys.executable, "-c", "import click"]
    values = []
    for _run in range(job.runs):
        # In turns, and the best of several: a machine that is busy only ever adds.
        pairs = [(_wall_s([*ours, "--version"]), _wall_s(theirs)) for _ in range(STARTS)]
        values.append(min(a for a, _b in pairs) / min(b for _a, b in pairs))
    yield Row(
        "Start of the program",
        "svcport --version / python -c 'import click'",
        values,
        want=Want.AT_MOST,
        goal=2.0,
        note=f"best of {STARTS} each",
    )


def _wall_s(command: Sequence[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=as_installed())
    return time.perf_counter() - started
