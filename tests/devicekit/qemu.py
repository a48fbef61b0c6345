"""A microcontroller in QEMU: its service UART on a TCP socket, its flash, its power.

Flash is written through the debugger and by no loader, because a loader writes its file again at
every reset. Flash is memory of the QEMU process and is gone with it; `flash()` reads it.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import socket
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from devicekit.running import Running, program, until

CONTROL_TIMEOUT_S: Final = 10.0
GDB_PIECE: Final = 2000
"""Bytes of one debugger packet; the stub takes 4,096 characters."""


SERVICE_LOG: Final = "uart0.log"
"""What the service UART has sent, whoever listened or not."""

SECOND_LOG: Final = "uart1.log"
"""What the second UART has sent, if the machine has one."""


class Qemu:
    """One machine that was started and stands still; made by `machine`.

    Attributes:
        url: of its service UART; QEMU serves one client, a second one waits unheard.
        folder: scratch.
    """

    def __init__(self, options: Sequence[str | Path], folder: Path) -> None:
        self.folder = folder
        command = [program("qemu-system-arm", "qemu-system-arm"), *options, *_connections(folder)]
        self._program = Running("qemu", command, folder)
        self._control: Control | None = None
        try:
            self._program.wait_until((folder / "qmp").exists, "its control socket")
            self._control = Control(folder / "qmp")
            self.url = f"socket://127.0.0.1:{self._uart_port()}"
        except BaseException:
            self.end()
            raise

    def _uart_port(self) -> int:
        ports = self.control("query-chardev")
        name = next(one["filename"] for one in ports if one["label"] == "uart")
        found = re.search(r"127\.0\.0\.1:(\d+)", name)
        assert found is not None, f"the UART is at {name!r}"
        return int(found[1])

    def control(self, command: str, **arguments: Any) -> Any:
        """Execute one command of the QEMU machine protocol."""
        assert self._control is not None
        return self._control.execute(command, **arguments)

    def run(self) -> None:
        """Let the machine run on."""
        self.control("cont")

    def pause(self) -> None:
        """Let the machine stand still, its connections open and silent."""
        self.control("stop")

    def reset(self) -> None:
        """Cut power and switch it on again, at any moment; flash stays, memory is as new."""
        self.control("system_reset")

    def flash(self, address: int, size: int) -> bytes:
        """What is in flash."""
        target = self.folder / "memory"
        # As the processor sees it: m0's flash is on no bus that QEMU's physical memory shows.
        self.control("memsave", val=address, size=size, filename=str(target))
        until(lambda: target.exists() and target.stat().st_size == size, "the memory is saved")
        data = target.read_bytes()
        target.unlink()
        return data

    def program_flash(self, address: int, data: bytes) -> None:
        """Write flash, as a factory does; the machine stands still when this returns."""
        with Debugger(self.folder / "gdb") as debugger:
            for at in range(0, len(data), GDB_PIECE):
                debugger.write(address + at, data[at : at + GDB_PIECE])

    def end(self) -> None:
        """Take the machine away: its connections close."""
        if self._control is not None:
            self._control.close()
        self._program.end()


def _connections(folder: Path) -> list[str]:
    log = folder / SERVICE_LOG
    return [
        *("-nographic", "-monitor", "none", "-S"),
        *("-chardev", f"socket,id=uart,host=127.0.0.1,port=0,server=on,wait=off,logfile={log}"),
        *("-chardev", f"socket,id=gdb,path={folder / 'gdb'},server=on,wait=off"),
        *("-serial", "chardev:uart", "-serial", f"file:{folder / SECOND_LOG}"),
        *("-qmp", f"unix:{folder / 'qmp'},server=on,wait=off", "-gdb", "chardev:gdb"),
    ]


@contextlib.contextmanager
def machine(options: Sequence[str | Path]) -> Iterator[Qemu]:
    """A machine that stands still before its first instruction; `options` are QEMU's."""
    # Not pytest's own folder: the names of sockets are short.
    folder = Path(tempfile.mkdtemp(prefix="svcport-qemu-"))
    try:
        one = Qemu(options, folder)
        try:
            yield one
        finally:
            one.end()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Control:
    """QEMU's machine protocol (QMP): a line of JSON for a line of JSON."""

    def __init__(self, path: Path) -> None:
        self._socket = _connected(path)
        self._lines = self._socket.makefile("rb")
        greeting = json.loads(self._lines.readline())
        assert "QMP" in greeting, greeting
        self.execute("qmp_capabilities")

    def execute(self, command: str, **arguments: Any) -> Any:
        """The command's result; AssertionError if it is refused."""
        request = {"execute": command, "arguments": arguments}
        self._socket.sendall(json.dumps(request).encode() + b"\n")
        while True:
            line = self._lines.readline()
            assert line, f"QEMU closed its control socket at {command}"
            answer = json.loads(line)
            assert "error" not in answer, f"{command}: {answer['error']}"
            if "return" in answer:  # what else comes is an event
                return answer["return"]

    def close(self) -> None:
        self._lines.close()
        self._socket.close()


class Debugger:
    """GDB's remote protocol, as far as memory is written by it."""

    def __init__(self, path: Path) -> None:
        self._socket = _connected(path)
        self._stream = self._socket.makefile("rb")

    def __enter__(self) -> Debugger:
        # QEMU stops the machine when it hears of the connection: not before this is answered, and
        # else perhaps after the machine was told to run.
        self._ask("?")
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()
        self._socket.close()

    def write(self, address: int, data: bytes) -> None:
        answer = self._ask(f"M{address:x},{len(data):x}:{data.hex()}")
        assert answer == "OK", f"the debugger's answer to a write at {address:#x}: {answer!r}"

    def _ask(self, body: str) -> str:
        self._socket.sendall(f"${body}#{sum(body.encode()) & 0xFF:02x}".encode())
        self._until(b"+")
        self._until(b"$")
        answer = self._until(b"#")
        self._stream.read(2)
        self._socket.sendall(b"+")
        return answer.decode()

    def _until(self, end: bytes) -> bytes:
        data = b""
        while not data.endswith(end):
            byte = self._stream.read(1)
            assert byte, "the debugger closed its socket"
            data += byte
        return data[:-1]


def _connected(path: Path) -> socket.socket:
    one = socket.socket(socket.AF_UNIX)
    one.settimeout(CONTROL_TIMEOUT_S)
    one.connect(str(path))
    return one
