"""What a technician could use instead, over the same paced line, in the same run.

lrzsz      `sz -8` to `rz`. The transfer is the longest silence on the way back: from the receiver's
           "go on" to its "got it all". Measured between sockets, where its flushing of terminals
           can lose nothing (on a bare pty it discards what the other side has not read, and hangs).
esptool    computed: a device and a host that take no time. The image deflated as a whole (level 9),
           cut into blocks of 16 KiB; each waits for the answer to the one before. A block takes
           (SLIP(24 + block) + SLIP(10)) * 10 / baud + latency; SLIP adds two ends and a byte for
           each 0xC0 and 0xDB.
smpclient  its own code, in an environment of its own, against a device that answers at once, and
           against real MCUboot serial recovery in QEMU, where the emulation is what is slow.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import tempfile
import time
import venv
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import firmware
import platformdirs
from benchlab import Wire
from ours import SLOW, Job
from pacedlink import End, PacedLink, command_end, running, socket_end, stream_end
from rows import Row

from svcport.simulator.ports import new_terminal

ESPTOOL_BLOCK: Final = 0x4000
ESPTOOL_HEAD: Final = 8 + 16
"""Command header; FLASH_DEFL_DATA's four words."""

ESPTOOL_ANSWER: Final = 8 + 2
SLIP_ESCAPED: Final = (0xC0, 0xDB)

SMPCLIENT: Final = "smpclient[serial]==7.3.0"
SMP_SIZE: Final = 64 * 1024
SMP_FRAMINGS: Final = ("console", "raw")
SMP_BUFFER: Final = 2048
QEMU_BUFFER: Final = 1024
QEMU: Final = ["qemu-system-arm", "-cpu", "cortex-m3", "-machine", "mps2-an385", "-nographic"]
_BUILD: Final = "zephyr_f33aa2bc4a43_smp_server_27c54835_mps2_an385_serial_recovery"
QEMU_IMAGES: Final = {"console": f"{_BUILD}.hex", "raw": f"{_BUILD}_raw.hex"}
PATIENCE_S: Final = 300
BOOT_PATIENCE_S: Final = 20


class LostError(RuntimeError):
    """A peer did not finish, as one without resends may after a lost byte."""


def lrzsz(job: Job) -> Iterator[Row]:
    """ZMODEM."""
    group = "ZMODEM (lrzsz sz -8), incompressible 256 KiB / line rate"
    if not shutil.which("sz") or not shutil.which("rz"):
        yield Row(group, "sz to rz", skipped="sz and rz are not installed (package lrzsz)")
        return
    for wire in job.grid():
        with ThreadPoolExecutor(job.runs if wire.baud <= SLOW else 1) as pool:
            values = list(pool.map(_zmodem, [wire] * job.runs))
        yield Row(group, str(wire), values)


def _zmodem(wire: Wire) -> float:
    data = firmware.incompressible(1)
    with tempfile.TemporaryDirectory() as folder:
        sent, received = Path(folder) / "sent", Path(folder) / "received"
        sent.write_bytes(data)
        received.mkdir()
        with command_end(["rz", "-q", "-b", "-y"], received) as far:
            near, port = socket_end()
            link = PacedLink(near, far, wire.baud, latency_s=wire.latency_ms / 1000)
            with contextlib.closing(near), contextlib.closing(port), running(link) as traffic:
                subprocess.run(
                    ["sz", "-q", "-b", "-8", str(sent)],
                    stdin=port.fileno(),
                    stdout=port.fileno(),
                    stderr=subprocess.DEVNULL,
                    check=True,
                    timeout=PATIENCE_S,
                )
            if (received / "sent").read_bytes() != data:
                raise RuntimeError("rz received other bytes than sz sent")
    seconds = traffic.longest_silence_s - wire.latency_ms / 1000
    return len(data) / seconds / wire.line_rate


def esptool(job: Job) -> Iterator[Row]:
    """An upper bound, computed."""
    group = "esptool's protocol, deflate in 16 KiB blocks, computed / line rate"
    for name, image in (("firmware", firmware.firmware()), ("random", firmware.incompressible(1))):
        for wire in job.grid():
            yield Row(group, f"{name}, {wire}", [esptool_ratio(image, wire)])


def esptool_ratio(image: bytes, wire: Wire) -> float:
    """See above; less one link latency, as everything here."""
    stream = zlib.compress(image, 9)
    blocks = [stream[at : at + ESPTOOL_BLOCK] for at in range(0, len(stream), ESPTOOL_BLOCK)]
    up = sum(2 + ESPTOOL_HEAD + len(block) + _escaped(block) for block in blocks)
    down = len(blocks) * (2 + ESPTOOL_ANSWER)
    seconds = (up + down) / wire.line_rate + (len(blocks) - 1) * wire.latency_ms / 1000
    return len(image) / seconds / wire.line_rate


def _escaped(data: bytes) -> int:
    return sum(data.count(value) for value in SLIP_ESCAPED)


def smpclient(job: Job) -> Iterator[Row]:
    """SMP, to an ideal device and to MCUboot."""
    group = "smpclient 7.3.0, random 64 KiB / line rate"
    python = environment()
    if python is None:
        yield Row(group, "smpclient", skipped=f"{SMPCLIENT} could not be installed with pip")
        return
    for framing in SMP_FRAMINGS:
        for wire in job.grid():
            if wire.baud > 921_600:
                continue
            with ThreadPoolExecutor(job.runs if wire.baud <= SLOW else 1) as pool:
                runs = [pool.submit(_to_ideal, python, wire, framing) for _ in range(job.runs)]
                values = [run.result() for run in runs]
            yield Row(group, f"ideal device, {framing}, {wire}", values)
    yield from _recovery_rows(job, group, python)


def _recovery_rows(job: Job, group: str, python: Path) -> Iterator[Row]:
    if not shutil.which(QEMU[0]):
        yield Row(group, "MCUboot in QEMU", skipped=f"{QEMU[0]} is not installed")
        return
    for framing in SMP_FRAMINGS:
        for wire in (Wire(115_200, 1), Wire(921_600, 1)):
            values, lost = [], 0
            for _run in range(job.runs):
                try:
                    values.append(_to_recovery(python, wire, framing))
                except LostError:
                    lost += 1
            case, note = f"MCUboot in QEMU, {framing}, {wire}", f"{lost} of {job.runs} runs hung"
            if not values:
                yield Row(group, case, skipped=note)
            else:
                yield Row(group, case, values, note=note if lost else "")


def environment(requirement: str = SMPCLIENT) -> Path | None:
    """The interpreter of an environment with one program, made once in the user's cache."""
    folder = Path(platformdirs.user_cache_dir("svcport-benchmarks")) / requirement
    python = folder / "bin" / "python"
    ready = folder / "ready"
    if ready.exists():
        return python
    venv.create(folder, clear=True, with_pip=True)
    pip = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", requirement]
    done = subprocess.run(pip, capture_output=True, check=False)
    if done.returncode:
        return None
    ready.touch()
    return python


def _to_ideal(python: Path, wire: Wire, framing: str) -> float:
    script = Path(__file__).with_name("smppeer.py")
    with command_end([python, script, "device", framing, str(SMP_BUFFER)]) as far:
        return _upload(python, wire, framing, SMP_BUFFER, far)


def _to_recovery(python: Path, wire: Wire, framing: str) -> float:
    """MCUboot with empty flash goes into serial recovery by itself."""
    image = firmware.sources() / "tests" / "fixtures" / "smp-server" / QEMU_IMAGES[framing]
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "uart")
        console = ["-chardev", f"socket,id=con,path={path},server=on,wait=off"]
        rest = ["-serial", "chardev:con", "-serial", "null", "-monitor", "none"]
        command = [*QEMU, *console, *rest, "-device", f"loader,file={image}"]
        quiet = subprocess.DEVNULL
        with subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet) as qemu:
            try:
                with contextlib.closing(stream_end(_connected(path))) as far:
                    time.sleep(1)  # until MCUboot has looked for an image
                    return _upload(python, wire, framing, QEMU_BUFFER, far)
            finally:
                qemu.terminate()


def _connected(path: str) -> socket.socket:
    deadline = time.monotonic() + BOOT_PATIENCE_S
    while True:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(path)
        except OSError:
            connection.close()
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return connection


def _upload(python: Path, wire: Wire, framing: str, buffer: int, far: End) -> float:
    """What smpclient reaches, as a ratio."""
    script = Path(__file__).with_name("smppeer.py")
    near, name = new_terminal()
    link = PacedLink(near, far, wire.baud, latency_s=wire.latency_ms / 1000)
    told = [name, str(wire.baud), framing, str(buffer), str(SMP_SIZE)]
    with contextlib.closing(near), running(link):
        command = [str(python), str(script), "upload", *told]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=PATIENCE_S
        )
    if done.returncode:
        raise LostError(f"smpclient failed over {framing}: {done.stderr[-100:]}")
    seconds = float(done.stdout) - wire.latency_ms / 1000
    return SMP_SIZE / seconds / wire.line_rate
