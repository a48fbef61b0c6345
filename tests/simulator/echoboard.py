"""A board that says back what it hears, for tests of the line and of serving."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class EchoBoard:
    baud: int = 115200
    echo: bool = True
    heard: list[tuple[float, bytes]] = field(default_factory=list)
    says: list[tuple[float, bytes]] = field(default_factory=list)
    polls: list[float] = field(default_factory=list)
    _out: bytearray = field(default_factory=bytearray)

    @property
    def all_heard(self) -> bytes:
        return b"".join(data for _when, data in self.heard)

    def receive(self, data: bytes, now: float) -> None:
        self.heard.append((now, data))
        if self.echo:
            self._out += data

    def poll(self, now: float) -> bytes:
        self.polls.append(now)
        while self.says and self.says[0][0] <= now:
            self._out += self.says.pop(0)[1]
        out = bytes(self._out)
        self._out.clear()
        return out

    def wake_at(self) -> float | None:
        return self.says[0][0] if self.says else None
