from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from svcport import __version__
from svcport.cli.guard import check_companions
from svcport.errors import Reason, RefusedError

HEAVY = ("cryptography", "sqlalchemy", "tuf", "rich", "serial", "construct", "platformdirs")

IMPORTS = """
import sys
from svcport.cli.main import root
code = root.main(sys.argv[1:], standalone_mode=False)
print(code, *sorted(set(sys.modules) & set({heavy!r})))
"""


@pytest.mark.parametrize("words", [["--version"], ["--help"], ["lab", "--help"], ["explain"]])
def test_what_needs_no_lock_loads_nothing_heavy(words: list[str]) -> None:
    script = IMPORTS.format(heavy=HEAVY)
    ran = subprocess.run(
        [sys.executable, "-c", script, *words], capture_output=True, text=True, check=True
    )
    assert ran.stdout.splitlines()[-1] == "0"


def test_python_m_svcport_is_the_same_command() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "svcport", "--version"], capture_output=True, text=True
    )
    assert (ran.returncode, ran.stdout) == (0, f"svcport {__version__}\n")


def test_a_pipe_that_is_closed_early_gives_no_traceback() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "svcport", "explain"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


def test_sigterm_ends_with_a_report_and_a_code(tmp_path: Path) -> None:
    if os.name == "nt":
        pytest.skip("Windows has no SIGTERM to send")
    fifo = tmp_path / "image.bin"
    os.mkfifo(fifo)
    command = [sys.executable, "-m", "svcport", "image", "inspect", str(fifo), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        deadline = time.monotonic() + 20
        # opening a fifo for writing succeeds once svcport has it open for reading
        while True:
            try:
                writer = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
                break
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.02)
        # a signal that comes just before the read begins is seen only when the read returns
        while process.poll() is None:
            assert time.monotonic() < deadline
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=0.5)
        out, err = process.communicate()
        os.close(writer)
    assert process.returncode == 4
    assert b'"reason":"interrupted"' in out
    assert b"Traceback" not in err


def test_somebody_elses_images_package_is_refused(tmp_path: Path) -> None:
    ours = {"protocol": tmp_path / "protocol" / "__init__.py"}
    theirs = {"images": tmp_path / "elsewhere" / "images" / "__init__.py"}
    with pytest.raises(RefusedError, match="elsewhere") as caught:
        check_companions(tmp_path, lambda name: str({**ours, **theirs}[name]))
    assert caught.value.reason is Reason.NOT_SET_UP


def test_a_missing_companion_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="missing"):
        check_companions(tmp_path, lambda _name: None)


def test_the_copies_beside_svcport_are_taken() -> None:
    check_companions()


CTRL_C_WHILE_LOADING = """
import builtins, os, signal
import svcport.__main__ as program

load = builtins.__import__

def interrupted(name, *rest):
    if name == "svcport.cli.exits":
        os.kill(os.getpid(), signal.SIGINT)
    return load(name, *rest)

builtins.__import__ = interrupted
program.main()
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT to send to one process")
def test_ctrl_c_while_the_program_is_loaded_gives_no_traceback() -> None:
    ran = subprocess.run([sys.executable, "-c", CTRL_C_WHILE_LOADING], capture_output=True)
    assert (ran.returncode, ran.stdout, ran.stderr) == (-signal.SIGINT, b"", b"")
