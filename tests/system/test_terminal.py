from __future__ import annotations

import json
import os
import random
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
)

SVCPORT = [sys.executable, "-m", "svcport"]
DEADLINE_S = 40
OVER = b"<over>"
HIDE, SHOW = b"\x1b[?25l", b"\x1b[?25h"

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo terminals"),
    pytest.mark.timeout(90),
]


@dataclass
class Terminal:
    """A terminal with a command on it."""

    command: Sequence[str | Path]
    said: bytes = b""

    def __post_init__(self) -> None:
        import termios

        self.master, slave = os.openpty()
        self.slave = slave
        self.before = termios.tcgetattr(slave)
        self.process = subprocess.Popen(
            list(map(str, self.command)),
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=os.environ | {"TERM": "xterm"},
            start_new_session=True,
        )

    def until(self, words: bytes) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while words not in self.said:
            assert self.process.poll() is None, self.said[-500:]
            assert time.monotonic() < deadline, self.said[-500:]
            self._listen()

    def after(self, number: signal.Signals) -> int:
        """The exit code after that signal."""
        self.process.send_signal(number)
        deadline = time.monotonic() + DEADLINE_S
        while self.process.poll() is None:
            assert time.monotonic() < deadline, self.said[-500:]
            self._listen()
        # what the command has said comes before this, however late the system hands it over
        os.write(self.slave, OVER)
        while OVER not in self.said:
            assert time.monotonic() < deadline, self.said[-500:]
            self._listen()
        return self.process.returncode

    def is_sane(self) -> bool:
        """Whether it echoes as before, and shows its cursor."""
        import termios

        return termios.tcgetattr(self.slave) == self.before and (
            self.said.rfind(SHOW) >= self.said.rfind(HIDE)
        )

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.master)
        os.close(self.slave)

    def _listen(self) -> None:
        while select.select([self.master], [], [], 0.05)[0]:
            self.said += os.read(self.master, 4096)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("terminal")
    options: list[str | Path] = []
    for number in range(3):
        payload = root / f"{number}.bin"
        payload.write_bytes(random.Random(number).randbytes(60_000))
        options += ["--payload", payload]
    init = [*SVCPORT, "lab", "init", root / "lab", "--locks", "3", *options]
    subprocess.run([*map(str, init)], check=True, stdout=subprocess.DEVNULL)
    return root / "lab"


@pytest.mark.parametrize(
    ("number", "kind"), [(signal.SIGINT, 0), (signal.SIGTERM, 1), (signal.SIGINT, 2)]
)
def test_a_signal_in_mid_upload_leaves_the_terminal_as_it_was(
    lab: Path, tmp_path: Path, number: signal.Signals, kind: int
) -> None:
    home = tmp_path / "home"
    setup = [*SVCPORT, "--home", home, "setup", "--from", lab / "technician"]
    subprocess.run([*map(str, setup)], check=True, stdout=subprocess.DEVNULL)
    serial = sorted(path.name for path in (lab / "locks").iterdir())[kind]
    run = [*SVCPORT, "lab", "run", str(lab), "--lock", serial, "--baud", "115200"]
    with subprocess.Popen(run, stdout=subprocess.PIPE, text=True) as locks:
        assert locks.stdout is not None
        port = json.loads(locks.stdout.readline())["port"]
        # two ports are two workers: the signal reaches neither of their threads
        ports = ["--port", port] if kind < 2 else ["--port", port, "--port", "/dev/no-such-port"]
        terminal = Terminal([*SVCPORT, "--home", home, "restore", *ports])
        try:
            terminal.until(b"sending the new image")
            time.sleep(0.5)
            assert terminal.after(number) == 5
            assert b"still runs" in terminal.said
            assert HIDE in terminal.said
            assert terminal.is_sane()
        finally:
            terminal.close()
            locks.terminate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_a_passphrase_is_typed_gives_the_echo_back(
    tmp_path: Path, number: signal.Signals
) -> None:
    import termios

    key = tmp_path / "key.pem"
    key.write_bytes(
        generate_private_key(SECP256R1()).private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"open")
        )
    )
    payload = tmp_path / "payload.bin"
    payload.write_bytes(bytes(1000))
    command = [*SVCPORT, "image", "sign", payload, "--key", key, "--version", "1.0.0"]
    terminal = Terminal([*command, "--output", tmp_path / "signed.bin"])
    try:
        terminal.until(b"passphrase")
        deadline = time.monotonic() + DEADLINE_S
        while termios.tcgetattr(terminal.slave)[3] & termios.ECHO:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert terminal.after(number) == 4
        assert terminal.is_sane()
    finally:
        terminal.close()
