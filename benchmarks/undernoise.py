"""Goodput under noise: our upload and ZMODEM's, side by side on the same noisy paced link.

Bits are flipped each way with the same chance, by seed; the link has 921600 baud and 1 ms, the file
is 256 KiB that nothing can compress. What arrived has to be what was sent.

ours       image bytes / (first block written to last acknowledgement) / line rate, less one
           latency. The host opens a terminal whose speed the link follows, so a host that falls
           back in mid-upload pays for it. The lock offers 921600 baud at most and paces nothing.
ZMODEM     bytes / (start of `sz` to its end) / line rate; and, as a row of its own, from the header
           of the first data to the goodbye after the receiver's "got it all", which leaves out the
           start of the program, the file's name and the farewells. The link has its full speed from
           the beginning. The better of the two rows is what ours must exceed.

ZMODEM that has not ended by the deadline, or gave up, counts with what it had brought by then, over
the whole deadline. A restore that does not end `ok` counts as nothing.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

import benchlab
import firmware
from benchlab import SVCPORT, BenchLab, Wire, served
from ours import BENCH, UNPACED, Job
from pacedlink import End, PacedLink, command_end, pty_speed, running, socket_end, tcp_end
from rows import Row, Want

from svcport.simulator.faults import Faults
from svcport.simulator.ports import new_terminal

RATES: Final = ("0", "1e-6", "1e-5", "1e-4")
"""Bit error rates at which both are measured, each way."""

HARD: Final = "3e-4"
"""Here the restore still has to end `ok`."""

HOPELESS: Final = "1e-3"
"""Here one AUTH in 45 arrives: `link-lost` with nothing harmed will do."""

SEEDS: Final = 5
"""Runs of a row at least."""

DEADLINE_S: Final = 60.0
"""Of ZMODEM: twenty times what the file takes without noise."""

ENDS_S: Final = 300.0
"""A restore that has not ended by then hangs."""

FIRST_DATA: Final = (b"*\x18C\x0a", b"*\x18A\x0a")
"""Header ZDATA with either CRC, as sz writes it."""

GOODBYE: Final = (b"**\x18B08",)
"""Header ZFIN: the receiver has confirmed the file."""

GROUP: Final = f"Under noise, incompressible 256 KiB, {BENCH}: goodput / line rate"


def under_noise(job: Job) -> Iterator[Row]:
    """Ours and ZMODEM's at each rate, then how a restore ends where the noise is worse."""
    lab = job.lab("noise", benchlab.noise(), "dead")
    seeds = range(max(job.runs, SEEDS))
    for rate in RATES:
        theirs = [_zmodem(BENCH, rate, seed) for seed in seeds] if shutil.which("sz") else []
        yield from _beside(rate, [_ours(lab, BENCH, rate, seed) for seed in seeds], theirs)
    for rate in (HARD, HOPELESS):
        yield _endings(rate, [_ours(lab, BENCH, rate, seed) for seed in seeds])


@dataclass(frozen=True, slots=True)
class Restored:
    """A restore over a noisy link.

    Attributes:
        goodput: over the line rate; 0 unless it ended `ok`.
        ended: outcome, or reason where there is one.
        baud: that host and lock agreed on; 0 without an upload.
        wall_s: the whole command.
    """

    goodput: float
    ended: str
    baud: int
    wall_s: float


@dataclass(frozen=True, slots=True)
class Sent:
    """A ZMODEM transfer over a noisy link.

    Attributes:
        whole: goodput over the line rate, program start to end.
        data: the same from the first data to the goodbye.
        ended: "ok", or what went wrong.
    """

    whole: float
    data: float
    ended: str


def _beside(rate: str, ours: Sequence[Restored], theirs: Sequence[Sent]) -> Iterator[Row]:
    wholes, datas = [one.whole for one in theirs], [one.data for one in theirs]
    best = max(median(wholes), median(datas)) if theirs else 0.0
    bauds = ", ".join(str(baud) for baud in sorted({one.baud for one in ours}))
    yield Row(
        GROUP,
        f"bit errors {rate}: svcport, upload",
        [one.goodput for one in ours],
        want=Want.AT_LEAST,
        # higher, not as high, in the digits that are shown
        goal=round(best, 3) + 0.001,
        note=f"{_counted([one.ended for one in ours])}; at {bauds} baud",
    )
    if not theirs:
        why = "sz and rz are not installed (package lrzsz)"
        yield Row(GROUP, f"bit errors {rate}: ZMODEM", skipped=why)
        return
    note = _counted([one.ended for one in theirs])
    yield Row(GROUP, f"bit errors {rate}: ZMODEM, whole transfer", wholes, note=note)
    yield Row(GROUP, f"bit errors {rate}: ZMODEM, from first data", datas, note=note)


def _endings(rate: str, ours: Sequence[Restored]) -> Row:
    """One row: how many of the restores did end as they must."""
    may = ("ok",) if rate == HARD else ("ok", "link-lost", "no-lock")
    well = sum(one.ended in may for one in ours)
    seconds = [one.wall_s for one in ours]
    return Row(
        f"{GROUP.partition(':')[0]}: the whole restore command",
        f"bit errors {rate}: restores that end {' or '.join(may)}, of {len(ours)}",
        [float(well)],
        "",
        Want.AT_LEAST,
        len(ours),
        f"{_counted([one.ended for one in ours])}; {min(seconds):.0f} to {max(seconds):.0f} s; "
        "whatever did not end ok was restored afterwards on a quiet line",
    )


def _counted(words: Sequence[str]) -> str:
    return ", ".join(f"{words.count(word)} {word}" for word in dict.fromkeys(words))


def _link(near: End, far: End, wire: Wire, rate: str, seed: int, host: End | None) -> PacedLink:
    """The link; at the speed of the terminal `host` where there is one, the wire's at most."""

    def speed() -> int:
        return wire.baud if host is None else min(wire.baud, pty_speed(host))

    faults = Faults(ber=float(rate))
    latency_s = wire.latency_ms / 1000
    return PacedLink(near, far, speed, latency_s=latency_s, faults=faults, seed=f"noise/{seed}")


def _ours(lab: BenchLab, wire: Wire, rate: str, seed: int) -> Restored:
    with lab.copy() as (folder, home):
        for factory in folder.glob("locks/*/factory.json"):
            fields = json.loads(factory.read_text("utf-8"))
            factory.write_text(json.dumps(fields | {"max_baud": wire.baud}), "utf-8")
        with served(folder, UNPACED) as locks:
            done = _restore_over(locks.ports[0], home, wire, rate, seed)
        if done.ended != "ok":
            with served(folder, UNPACED) as locks:
                # raises if the lock or the home is not as it must be
                benchlab.svcport("--home", home, "restore", "--port", locks.ports[0])
            benchlab.svcport("--home", home, "audit", "verify")
        return done


def _restore_over(port: str, home: Path, wire: Wire, rate: str, seed: int) -> Restored:
    host, _colon, number = port.removeprefix("socket://").rpartition(":")
    near, name = new_terminal()
    far = tcp_end(socket.create_connection((host, int(number))))
    link = _link(near, far, wire, rate, seed, near)
    command = [*SVCPORT, "--json", "--home", str(home), "restore", "--port", name]
    with contextlib.closing(near), contextlib.closing(far), running(link):
        started = time.perf_counter()
        said = subprocess.run(command, capture_output=True, timeout=ENDS_S, check=False).stdout
        wall_s = time.perf_counter() - started
    report = json.loads(said)
    ended, transfer = report.get("reason", report["outcome"]), report.get("transfer")
    if ended != "ok" or transfer is None:
        return Restored(0.0, ended, 0, wall_s)
    seconds = transfer["seconds"] - wire.latency_ms / 1000
    goodput = transfer["image_bytes"] / seconds / wire.line_rate
    return Restored(goodput, ended, transfer["baud"], wall_s)


class _Overheard:
    """The host's end, and when certain bytes first came out of it."""

    def __init__(self, end: End, *wanted: Sequence[bytes]) -> None:
        self._end = end
        self._wanted = wanted
        self._tail = b""
        self.at: list[float | None] = [None] * len(wanted)

    def fileno(self) -> int:
        return self._end.fileno()

    def read(self, size: int) -> bytes | None:
        data = self._end.read(size)
        seen = self._tail + (data or b"")
        for place, marks in enumerate(self._wanted):
            if self.at[place] is None and any(mark in seen for mark in marks):
                self.at[place] = time.perf_counter()
        self._tail = seen[-16:]
        return data

    def write(self, data: bytes) -> int:
        return self._end.write(data)

    def close(self) -> None:
        self._end.close()


def _zmodem(wire: Wire, rate: str, seed: int) -> Sent:
    data = firmware.incompressible(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "sent").write_bytes(data)
        (folder / "received").mkdir()
        near, port = socket_end()
        heard = _Overheard(near, FIRST_DATA, GOODBYE)
        with (
            command_end(["rz", "-q", "-b", "-y"], folder / "received") as far,
            contextlib.closing(near),
            contextlib.closing(port),
            running(_link(heard, far, wire, rate, seed, None)),
        ):
            started = time.perf_counter()
            ended = _send(folder / "sent", port)
            seconds = time.perf_counter() - started
        arrived = folder / "received" / "sent"
        brought = arrived.read_bytes() if arrived.exists() else b""
    if ended == "ok" and brought == data:
        first, last = heard.at
        inner = last - first if first is not None and last is not None else seconds
        return Sent(*(len(data) / took / wire.line_rate for took in (seconds, inner)), "ok")
    counted = len(brought) / DEADLINE_S / wire.line_rate
    return Sent(
        counted, counted, f"{ended} with {len(brought)} bytes" if ended != "ok" else "wrong"
    )


def _send(file: Path, port: socket.socket) -> str:
    """Run `sz` on its side of the link: "ok", or how it failed."""
    command = ["sz", "-q", "-b", "-8", str(file)]
    quiet, mine = subprocess.DEVNULL, port.fileno()
    try:
        done = subprocess.run(
            command, stdin=mine, stdout=mine, stderr=quiet, check=False, timeout=DEADLINE_S
        )
    except subprocess.TimeoutExpired:
        return f"not ended in {DEADLINE_S:.0f} s"
    return "ok" if done.returncode == 0 else f"gave up ({done.returncode})"
