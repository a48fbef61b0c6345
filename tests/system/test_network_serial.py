"""A lock's terminal behind a real ser2net, and the whole tool in front of it."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from devicekit import Ser2net, ser2net, until

from svcport.errors import FailedError, Reason
from svcport.transport import rfc2217
from svcport.transport.port import LinkLostError, open_port

termios = pytest.importorskip("termios", reason="this platform has no terminals")
tty = pytest.importorskip("tty")

pytestmark = pytest.mark.timeout(180)

SVCPORT = [sys.executable, "-m", "svcport", "--json"]
HANG_S = 30.0
"""What takes milliseconds and has not happened by then never will."""

PAYLOAD = 60_000
CAP = 460_800
"""Of the lab's line: a restore takes some seconds, and its speed is neither the first nor 3 M."""

SPEEDS = {getattr(termios, name): int(name[1:]) for name in dir(termios) if name[1:].isdigit()}


@dataclass
class Yard:
    """A technician's home, and a lab's one lock on a terminal behind a serial server."""

    home: Path
    server: Ser2net
    speeds: Speeds

    def port(self, kind: str) -> str:
        """What `--port` takes: `rfc2217` or `socket`."""
        return self.server.rfc2217_url if kind == "rfc2217" else self.server.raw_url

    def call(self, *arguments: str) -> tuple[int, dict[str, Any]]:
        command = [*SVCPORT, "--home", str(self.home), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        return done.returncode, json.loads(done.stdout)

    def restore_broken_off(self, port: str, how: Callable[[], None]) -> tuple[int, dict[str, Any]]:
        """A restore to which `how` happens when a third of the image has gone to the lock."""
        before = self.server.moved()
        command = [*SVCPORT, "--home", str(self.home), "restore", "--port", port]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                until(lambda: self.server.moved() > before + PAYLOAD // 3, "a third of the image")
                how()
                # tells a hang from slowness: on an idle computer it is 8 s
                out, _err = process.communicate(timeout=100)
            finally:
                process.kill()
        return process.returncode, json.loads(out)

    def verified(self) -> dict[str, Any]:
        """What the ledger says of itself, which must hold."""
        code, report = self.call("audit", "verify")
        assert (code, report["problems"]) == (0, []), report
        return report


class Speeds:
    """Every speed that a terminal was seen at, in their order."""

    def __init__(self, terminal: Path) -> None:
        self.seen: list[int] = []
        self._descriptor = os.open(terminal, os.O_RDWR | os.O_NOCTTY)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()

    def now(self) -> int:
        return SPEEDS[termios.tcgetattr(self._descriptor)[5]]

    def _look(self) -> None:
        while not self._over.wait(0.002):
            if self.seen[-1:] != [self.now()]:
                self.seen.append(self.now())

    def close(self) -> None:
        self._over.set()
        self._thread.join()
        os.close(self._descriptor)


def call_in(home: Path, *arguments: str) -> None:
    subprocess.run([*SVCPORT, "--home", str(home), *arguments], check=True, capture_output=True)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a lab and a home; the releases share no byte, so an upload takes its time."""
    folder = tmp_path_factory.mktemp("network")
    options = []
    for number in range(3):
        payload = folder / f"payload{number}.bin"
        payload.write_bytes(random.Random(number).randbytes(PAYLOAD))
        options += ["--payload", str(payload)]
    call_in(folder / "home", "lab", "init", str(folder / "lab"), "--seed", "net", *options)
    return folder


@contextlib.contextmanager
def lab_running(lab: Path) -> Iterator[Path]:
    command = [*SVCPORT, "lab", "run", str(lab), "--pty", "--baud", str(CAP)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield Path(json.loads(process.stdout.readline())["port"])
        finally:
            process.terminate()


@pytest.fixture
def yard(made: Path, tmp_path: Path) -> Iterator[Yard]:
    lab, home = tmp_path / "lab", tmp_path / "home"
    shutil.copytree(made / "lab", lab)
    call_in(home, "setup", "--from", str(lab / "technician"))
    with (
        lab_running(lab) as terminal,
        contextlib.closing(Speeds(terminal)) as speeds,
        ser2net(str(terminal)) as server,
    ):
        yield Yard(home, server, speeds)


def test_a_restore_over_rfc2217_runs_at_the_speed_that_was_agreed_on(yard: Yard) -> None:
    code, report = yard.call("restore", "--port", yard.server.rfc2217_url)
    assert code == 0, report
    assert report["outcome"] == "ok"
    assert report["transfer"]["baud"] == CAP
    # The terminal's own speed, 115200 for the handshake, as agreed, and again after the restart.
    assert yard.speeds.seen[1:5] == [115_200, CAP, 115_200, CAP]
    assert yard.verified()["receipts"] == 1


def test_a_restore_over_a_raw_socket_leaves_the_line_at_its_first_speed(yard: Yard) -> None:
    code, report = yard.call("restore", "--port", yard.server.raw_url)
    assert code == 0, report
    assert report["outcome"] == "ok"
    assert max(yard.speeds.seen) == 115_200
    assert yard.verified()["receipts"] == 1


def succeeds_when_run_again(yard: Yard, port: str) -> None:
    code, report = yard.call("restore", "--port", port)
    assert code == 0, report
    assert report["outcome"] == "ok"
    assert report["transfer"]["resumed"] is True
    assert yard.verified()["open"] == []


@pytest.mark.parametrize("kind", ["rfc2217", "socket"])
def test_a_connection_cut_in_mid_restore_costs_nothing_but_time(yard: Yard, kind: str) -> None:
    port = yard.port(kind)
    code, report = yard.restore_broken_off(port, yard.server.cut)
    assert (code, report["outcome"]) in ((5, "failed"), (6, "unknown")), report
    assert report["reason"] == "link-lost"
    code, report = yard.call("identify", "--port", port)
    assert (code, report["reason"]) == (4, "no-lock")  # refused: nobody listens any more
    yard.verified()
    yard.server.start()
    succeeds_when_run_again(yard, port)


def test_a_network_that_falls_silent_in_mid_restore_is_given_up(yard: Yard) -> None:
    port = yard.server.rfc2217_url
    code, report = yard.restore_broken_off(port, yard.server.freeze)
    assert (code, report["outcome"]) in ((5, "failed"), (6, "unknown")), report
    assert report["reason"] == "link-lost"
    yard.server.thaw()
    succeeds_when_run_again(yard, port)


@pytest.mark.parametrize("kind", ["rfc2217", "socket"])
@pytest.mark.parametrize("held", ["rfc2217", "socket"])
def test_a_second_client_is_told_that_the_port_is_busy(yard: Yard, held: str, kind: str) -> None:
    first = open_port(yard.port(held))
    until(yard.server.holds_its_terminal, "the first client let in")
    try:
        code, report = yard.call("identify", "--port", yard.port(kind))
        assert (code, report["reason"]) == (4, "port-busy")
        first.write(b"still here")
    finally:
        first.close()
    assert yard.call("identify", "--port", yard.port(kind))[0] == 0


@dataclass
class Line:
    """A serial server, and the far end of the line that it serves."""

    server: Ser2net
    far: int

    def speed(self) -> int:
        return SPEEDS[termios.tcgetattr(self.far)[5]]


@pytest.fixture
def line() -> Iterator[Line]:
    far, near = os.openpty()
    tty.setraw(near)
    try:
        with ser2net(os.ttyname(near)) as server:
            yield Line(server, far)
    finally:
        os.close(near)
        os.close(far)


EVERY_BYTE = bytes(range(256)) * 8


def test_every_byte_passes_both_ways(line: Line) -> None:
    port = open_port(line.server.rfc2217_url)
    port.write(EVERY_BYTE)
    sent = b""
    while len(sent) < len(EVERY_BYTE):
        sent += os.read(line.far, 4096)
    assert sent == EVERY_BYTE
    os.write(line.far, EVERY_BYTE)
    heard = b""
    while len(heard) < len(EVERY_BYTE):
        piece = port.read(HANG_S)
        assert piece, "bytes that were written never came"
        heard += piece
    assert heard == EVERY_BYTE
    assert port.read(0.1) == b""
    port.close()


def test_the_line_has_each_speed_when_the_call_returns(line: Line) -> None:
    port = open_port(line.server.rfc2217_url)
    assert line.speed() == 115_200
    for baud in (921_600, 3_000_000, 230_400, 115_200):
        port.set_baud(baud)
        assert line.speed() == baud
    port.close()


def test_a_server_that_vanishes_is_a_lost_link(line: Line) -> None:
    port = open_port(line.server.rfc2217_url)
    line.server.cut()
    with pytest.raises(LinkLostError):
        port.read(HANG_S)

    def is_lost() -> bool:
        try:
            port.write(b"x")  # the system takes it until it hears that nobody is there
        except LinkLostError:
            return True
        return False

    until(is_lost, "a lost link when written to")
    with pytest.raises(LinkLostError):
        port.set_baud(230_400)
    port.close()


def test_a_server_that_falls_silent_is_given_up(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = open_port(line.server.rfc2217_url)
    line.server.freeze()
    # that they are kept to is in transport/test_rfc2217_time
    for limit in ("AGREE_TIMEOUT_S", "SETTING_TIMEOUT_S"):
        monkeypatch.setattr(rfc2217, limit, 0.2)
    assert port.read(0.1) == b""
    with pytest.raises(LinkLostError, match="no 230400 baud: the server does not answer"):
        port.set_baud(230_400)
    with pytest.raises(FailedError, match="no RFC 2217 server answers within 0 s") as caught:
        open_port(line.server.rfc2217_url)
    assert caught.value.reason is Reason.NO_LOCK
    line.server.thaw()
    port.close()


def test_the_reason_that_a_server_gives_is_told() -> None:
    with (
        ser2net("/dev/no-such-terminal") as server,
        pytest.raises(FailedError, match="Device open failure") as caught,
    ):
        open_port(server.rfc2217_url)
    assert caught.value.reason is Reason.NO_LOCK


def test_a_client_is_let_in_directly_after_another_left(line: Line) -> None:
    for _again in range(100):
        open_port(line.server.rfc2217_url).close()
