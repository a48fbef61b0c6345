from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from lab.kit import FIRST, SECOND, connect, look, running

from svcport.errors import FailedError, Reason, RefusedError
from svcport.lab import run
from svcport.lab.folder import LabFolder
from svcport.lab.run import parse_address
from svcport.simulator.board import Board
from svcport.simulator.flash import FLASH_SIZE
from svcport.simulator.line import Line

needs_pty = pytest.mark.skipif(not hasattr(os, "openpty"), reason="this platform has no ptys")

CHILD = """
import sys, threading
from pathlib import Path
from svcport.lab.run import run_lab
run_lab(Path(sys.argv[1]), ["TR-100001"], on_listen=lambda serial, port: print(port, flush=True),
        stop=threading.Event())
"""


def port_number(name: str) -> int:
    number = urlsplit(name).port
    assert number is not None
    return number


def free_ports(count: int) -> int:
    """The first of so many ports in a row that nobody uses just now."""
    for first in range(20_000 + os.getpid() % 20_000, 65_000, count):
        with contextlib.ExitStack() as stack:
            try:
                for port in range(first, first + count):
                    stack.enter_context(socket.create_server(("127.0.0.1", port)))
            except OSError:
                continue
            return first
    pytest.skip("no free ports in a row")


@contextlib.contextmanager
def child(lab: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process of its own that serves the first lock; gives it and the port."""
    command = [sys.executable, "-c", CHILD, str(lab)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


def test_every_lock_listens_on_a_port_of_its_own(lab: Path) -> None:
    with running(lab) as ports:
        assert list(ports) == [FIRST, SECOND]
        assert len(set(ports.values())) == 2
        for serial, port in ports.items():
            assert look(lab, port).serial == serial


def test_chosen_locks_only_and_in_their_order(lab: Path) -> None:
    with running(lab, SECOND) as ports:
        assert list(ports) == [SECOND]
        with running(lab, FIRST) as others:
            assert look(lab, others[FIRST]).serial == FIRST


def test_with_a_port_given_the_locks_follow_on_one_after_the_other(lab: Path) -> None:
    first = free_ports(2)
    with running(lab, listen=f"127.0.0.1:{first}") as ports:
        assert [port_number(port) for port in ports.values()] == [first, first + 1]


def test_the_same_port_can_be_served_again_at_once(lab: Path) -> None:
    first = free_ports(1)
    for _again in range(3):
        with running(lab, FIRST, listen=f"127.0.0.1:{first}") as ports:
            assert look(lab, ports[FIRST]).serial == FIRST


def test_stopping_does_not_wait_for_a_host_to_go(lab: Path) -> None:
    with running(lab, FIRST) as ports:
        lock = connect(lab, ports[FIRST])
    # it has stopped, or `running` fails
    with pytest.raises(FailedError):
        lock.snapshot()
    lock.drop()


def test_a_lock_is_served_by_one_process_at_a_time(lab: Path) -> None:
    with child(lab) as (process, _port):
        with pytest.raises(FailedError, match=FIRST) as caught, running(lab, FIRST):
            pass
        assert caught.value.reason is Reason.PORT_BUSY
        process.kill()
        process.wait()
        with running(lab, FIRST) as ports:
            assert look(lab, ports[FIRST]).serial == FIRST


@pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is of POSIX")
def test_what_the_lock_wrote_survives_a_kill_of_the_lab(lab: Path) -> None:
    before = (LabFolder(lab).lock(FIRST).flash_file).read_bytes()
    with child(lab) as (process, port):
        lock = connect(lab, port)
        lock.snapshot()
        head = lock.recent_events(100)
        process.send_signal(signal.SIGKILL)
        process.wait()
        lock.drop()
    # A boot is an event in the lock's log, and the log is in its flash.
    assert (LabFolder(lab).lock(FIRST).flash_file).read_bytes() != before
    with running(lab, FIRST) as ports:
        lock = connect(lab, ports[FIRST])
        assert lock.recent_events(100)[: len(head)] == head
        lock.close()


def test_time_that_a_line_takes_can_be_asked_for(
    lab: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, float]] = []

    def made(board: Board, **options: Any) -> Line:
        asked.append((options["baud"], options["latency_s"]))
        return Line(board, **options)

    monkeypatch.setattr(run, "Line", made)
    with running(lab, FIRST) as ports:
        look(lab, ports[FIRST])
    with running(lab, FIRST, baud=19_200, latency_ms=16) as ports:
        look(lab, ports[FIRST])
    assert asked == [(0, 0.0), (19_200, 0.016)]


@pytest.mark.parametrize(("cap", "agreed"), [(0, 3_000_000), (921_600, 921_600), (9600, 115_200)])
def test_host_and_lock_agree_on_no_speed_beyond_that_of_the_line(
    lab: Path, cap: int, agreed: int
) -> None:
    with running(lab, FIRST, baud=cap) as ports:
        lock = connect(lab, ports[FIRST])
        try:
            assert lock.raise_speed(lock.snapshot().max_baud) == agreed
        finally:
            lock.close()


def test_a_pulled_cable_drops_the_host_once_and_the_port_stays(lab: Path) -> None:
    with running(lab, FIRST, faults="cut-after=600") as ports:
        with pytest.raises(FailedError):
            look(lab, ports[FIRST])
        assert look(lab, ports[FIRST]).serial == FIRST


def test_power_that_fails_while_the_lock_boots_is_survived(lab: Path) -> None:
    with running(lab, FIRST, faults="power-cut=1") as ports:
        assert look(lab, ports[FIRST]).serial == FIRST


def test_a_noisy_line_is_survived(lab: Path) -> None:
    with running(lab, FIRST, faults="ber=2e-5,drop=1e-4,dup=1e-4", seed="7") as ports:
        assert look(lab, ports[FIRST]).serial == FIRST


@needs_pty
def test_a_lock_on_a_pseudo_terminal_answers(lab: Path) -> None:
    with running(lab, FIRST, use_pty=True) as ports:
        assert look(lab, ports[FIRST]).serial == FIRST
        assert look(lab, ports[FIRST]).serial == FIRST


@pytest.mark.parametrize(
    "options",
    [
        {"listen": "here"},
        {"listen": "127.0.0.1"},
        {"listen": "127.0.0.1:70000"},
        {"listen": ":0"},
        {"listen": "::1:0"},
        {"listen": "127.0.0.1:65535"},
        {"profile": "fast"},
        {"baud": -1},
        {"baud": 100_000_000},
        {"latency_ms": -1},
        {"latency_ms": 256},
        {"faults": "melt=1"},
    ],
    ids=str,
)
def test_a_wrong_argument_is_refused(lab: Path, options: dict[str, Any]) -> None:
    with pytest.raises(RefusedError) as caught, running(lab, **options):
        pass
    assert caught.value.reason is Reason.USAGE


def test_a_lock_that_is_not_there_is_refused(lab: Path) -> None:
    with pytest.raises(RefusedError, match="TR-1") as caught, running(lab, "TR-1"):
        pass
    assert caught.value.reason is Reason.USAGE


@pytest.mark.parametrize("serial", ["../TR-100001", "", "."])
def test_a_serial_is_never_a_path(lab: Path, serial: str) -> None:
    with pytest.raises(RefusedError):
        LabFolder(lab).lock(serial)


def test_a_folder_that_is_no_lab_is_refused(tmp_path: Path) -> None:
    (tmp_path / "locks").mkdir()
    with pytest.raises(RefusedError, match="no lab") as caught, running(tmp_path, FIRST):
        pass
    assert caught.value.reason is Reason.USAGE


def test_an_address_in_use_is_refused_by_name(lab: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        address = f"127.0.0.1:{port}"
        with pytest.raises(FailedError, match=str(port)) as caught, running(lab, listen=address):
            pass
    assert caught.value.reason is Reason.PORT_BUSY


def damage_flash(lab: Path) -> None:
    (lab / "locks" / FIRST / "flash.bin").write_bytes(bytes(FLASH_SIZE - 1))


def blank_flash(lab: Path) -> None:
    (lab / "locks" / FIRST / "flash.bin").write_bytes(b"\xff" * FLASH_SIZE)


def lose_flash(lab: Path) -> None:
    (lab / "locks" / FIRST / "flash.bin").unlink()


def damage_factory(lab: Path) -> None:
    (lab / "locks" / FIRST / "factory.json").write_text('{"serial": 1}')


@pytest.mark.parametrize("damage", [damage_flash, blank_flash, lose_flash, damage_factory])
def test_a_damaged_lock_is_named(lab: Path, damage: Any) -> None:
    damage(lab)
    with pytest.raises(Exception, match=FIRST) as caught, running(lab, FIRST):
        pass
    assert getattr(caught.value, "reason", None) is Reason.STORAGE


def test_addresses_are_read() -> None:
    assert parse_address("127.0.0.1:0") == ("127.0.0.1", 0)
    assert parse_address("localhost:5000") == ("localhost", 5000)
    assert parse_address("[::1]:7") == ("::1", 7)
