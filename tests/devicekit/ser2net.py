"""A real ser2net in front of a terminal or a TCP endpoint: a serial server of the network."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from devicekit.running import Running, free_port, listens, opened, program

ATTEMPTS: Final = 3
"""Another program may take a free port first."""

_CONFIG: Final = """%YAML 1.1
---
connection: &raw
  accepter: tcp,127.0.0.1,{raw}
  connector: {connector}
  options:
    kickolduser: false
connection: &rfc2217
  accepter: telnet(rfc2217),tcp,127.0.0.1,{rfc2217}
  connector: {connector}
  options:
    kickolduser: false
"""


class Ser2net:
    """One server, running, with both of its ports on the same line.

    Attributes:
        raw_url: bytes as they are, no speed.
        rfc2217_url: with the line's settings; ports and clients exclude each other.
    """

    def __init__(self, endpoint: str, folder: Path) -> None:
        self._endpoint, self._folder = endpoint, folder
        for attempt in range(ATTEMPTS):
            self._ports = (free_port(), free_port())
            try:
                self.start()
            except AssertionError:
                if attempt + 1 == ATTEMPTS:
                    raise
            else:
                break

    @property
    def raw_url(self) -> str:
        return f"socket://127.0.0.1:{self._ports[0]}"

    @property
    def rfc2217_url(self) -> str:
        return f"rfc2217://127.0.0.1:{self._ports[1]}"

    def start(self) -> None:
        """Start it, after `cut` on the same ports."""
        config = self._folder / "ser2net.yaml"
        raw, rfc2217 = self._ports
        connector = _connector(self._endpoint)
        config.write_text(_CONFIG.format(raw=raw, rfc2217=rfc2217, connector=connector))
        # In the foreground, its words to standard error, its process id into a file of its own.
        options: list[str | Path] = ["-n", "-d", "-P", self._folder / "pid", "-c", config]
        command = [program("ser2net", "ser2net"), *options]
        self._program = Running("ser2net", command, self._folder)
        try:
            self._program.wait_until(self._listens, f"listening on {self._ports}")
        except BaseException:
            self._program.end()
            raise

    def _listens(self) -> bool:
        return all(listens(self._program.pid, port) for port in self._ports)

    def moved(self) -> int:
        """Bytes that it has written since its start, to its clients and to the line together."""
        text = Path(f"/proc/{self._program.pid}/io").read_text()
        return int(dict(line.split(": ") for line in text.splitlines())["wchar"])

    def holds_its_terminal(self) -> bool:
        """Whether it has let a client in: only then is the terminal open."""
        return str(Path(self._endpoint).resolve()) in opened(self._program.pid)

    def freeze(self) -> None:
        """Be silent, as behind a network cable that was pulled."""
        self._program.freeze()

    def thaw(self) -> None:
        self._program.thaw()

    def cut(self) -> None:
        """End it in mid-flight: its connections are closed, new ones are refused."""
        self._program.end()

    def said(self) -> str:
        return self._program.said()


def _connector(endpoint: str) -> str:
    if endpoint.startswith("socket://"):
        host, port = endpoint.removeprefix("socket://").rsplit(":", 1)
        return f"tcp,{host},{port}"
    return f"serialdev(nouucplock=true),{endpoint},115200n81,local"


@contextlib.contextmanager
def ser2net(endpoint: str) -> Iterator[Ser2net]:
    """A serial server in front of a terminal's path, or of `socket://HOST:PORT`.

    A TCP endpoint has no line settings; what RFC 2217 asks for is not answered there.
    """
    folder = Path(tempfile.mkdtemp(prefix="svcport-ser2net-"))
    try:
        one = Ser2net(endpoint, folder)
        try:
            yield one
        finally:
            one.cut()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
