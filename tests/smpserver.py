"""An SMP server as a port in this process: virtual time, and every mishap that a test asks for.

It is written from Zephyr's and MCUboot's documents with cbor2 alone; of ours it uses the framing.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import cbor2
from locksim import VirtualClock

from protocol.smp import HEADER_SIZE, SmpFraming, SmpHeader, SmpPacket
from protocol.smp_stream import decoder_for
from svcport.transport.port import LinkLostError

Map = dict[str, Any]
UNSUPPORTED: Map = {"rc": 8}


NAMES: Final = {
    (0, 0): "echo",
    (0, 5): "reset",
    (0, 6): "params",
    (0, 7): "info",
    (0, 8): "bootloader",
    (1, 0): "state",
    (1, 1): "upload",
    (1, 5): "erase",
    (1, 6): "slots",
    (2, 0): "stat",
    (2, 1): "stats",
    (8, 0): "file",
    (9, 0): "shell",
}
"""What groups and commands are called here."""


@dataclass
class Device:
    """What stands behind the port.

    Attributes:
        answer_s: from a request's last byte to its answer.
        latency_s: how long its answers are on their way.
        erase_s: the same for the first chunk of an upload.
        buffer: bytes of a message and its framing that it takes; longer ones it drops.
        count: how many buffers it states.
        burst: console lines that it takes in one go.
        align: it takes what of a chunk fills whole units of so many bytes.
        recovery: it answers as MCUboot's serial recovery does.
        mishaps: what becomes of the n-th request, from 0: "lost", "unanswered", "late", "stale".
        chatter: text that goes between the lines of its answers.
        taken: the image that was sent so far.
        said: every request's name, in order.
        asked: every request's map.
    """

    framing: SmpFraming = SmpFraming.CONSOLE
    answer_s: float = 0.01
    erase_s: float = 0.0
    latency_s: float = 0.0
    buffer: int = 1024
    count: int = 1
    states_buffers: bool = True
    burst: int = 1000
    align: int = 1
    recovery: bool = True
    mishaps: dict[int, str] = field(default_factory=dict)
    chatter: bytes = b""
    images: list[Map] = field(default_factory=list)
    spaces: list[Map] | None = None
    special: Callable[[str, Map], Map | None] = lambda _name, _asked: None
    taken: bytearray = field(default_factory=bytearray)
    size: int = 0
    said: list[str] = field(default_factory=list)
    asked: list[Map] = field(default_factory=list)

    def answer(self, name: str, asked: Map) -> Map:
        special = self.special(name, asked)
        if special is not None:
            return special
        match name:
            case "params" if self.states_buffers:
                return {"buf_size": self.buffer, "buf_count": self.count}
            case "echo" if not self.recovery:
                return {"r": asked["d"]} if "d" in asked else {"rc": 3}
            case "upload":
                return self.take(asked)
            case "state":
                return {"images": self.images}
            case "slots" if self.spaces is not None:
                return {"images": self.spaces}
            case "reset":
                return {"rc": 0}
        return UNSUPPORTED

    def take(self, asked: Map) -> Map:
        off, data = asked["off"], asked["data"]
        if off == 0:
            self.taken.clear()
            self.size = asked["len"]
        if off != len(self.taken):
            return {"rc": 0, "off": len(self.taken)}
        whole = off + len(data) == self.size
        self.taken += data if whole else data[: len(data) // self.align * self.align]
        return {"rc": 0, "off": len(self.taken)}


class DevicePort:
    """The host's end of the line to a device; a Transport.

    Attributes:
        most_open: how many requests were on their way at once.
    """

    name = "scripted"

    def __init__(self, device: Device) -> None:
        self.device = device
        self.clock = VirtualClock()
        self.written: list[bytes] = []
        self.closed = False
        self.lost = False
        self.most_open = 0
        self._decoder = decoder_for(device.framing)
        self._raw = b""
        self._coming: list[tuple[float, int, bytes]] = []
        self._order = itertools.count()
        self._free_at = 0.0

    def write(self, data: bytes) -> None:
        self._check()
        self.written.append(data)
        if data.count(b"\n") > self.device.burst:
            return
        for packet in self._packets(data):
            if len(packet.build()) + 4 <= self.device.buffer:
                self._receive(packet)

    def read(self, timeout_s: float) -> bytes:
        self._check()
        until = self.clock.time + max(timeout_s, 0)
        if self._coming and self._coming[0][0] <= until:
            at, _order, data = heapq.heappop(self._coming)
            self.clock.time = max(self.clock.time, at)
            return data
        self.clock.time = until
        return b""

    def say(self, data: bytes, after_s: float = 0.0) -> None:
        """Have bytes arrive at the host."""
        heapq.heappush(self._coming, (self.clock.time + after_s, next(self._order), data))

    def set_baud(self, baud: int) -> None:
        raise AssertionError("nobody changes the speed of such a port")

    def close(self) -> None:
        self.closed = True

    def _check(self) -> None:
        if self.lost or self.closed:
            raise LinkLostError("scripted: gone")

    def _packets(self, data: bytes) -> list[SmpPacket]:
        if self.device.framing is not SmpFraming.RAW:
            return self._decoder.feed(data)
        self._raw += data
        found = []
        while len(self._raw) >= HEADER_SIZE:
            header = SmpHeader.parse(self._raw[:HEADER_SIZE])
            end = HEADER_SIZE + header.length
            if len(self._raw) < end:
                break
            found.append(SmpPacket(header, self._raw[HEADER_SIZE:end]))
            self._raw = self._raw[end:]
        return found

    def _receive(self, packet: SmpPacket) -> None:
        header, device = packet.header, self.device
        name = NAMES.get((header.group, header.command), "unknown")
        asked = _map_in(packet.payload)
        mishap = device.mishaps.get(len(device.said))
        device.said.append(name)
        device.asked.append(asked)
        if mishap == "lost":
            return
        body = cbor2.dumps(device.answer(name, asked))
        first = header.first & ~0x07 | header.op + 1
        seq = header.seq if mishap != "stale" else header.seq ^ 0x80
        reply = SmpHeader(first, 0, len(body), header.group, seq, header.command)
        takes_s = device.erase_s if name == "upload" and asked["off"] == 0 else 0.0
        # one after the other, as a device with one thread does
        self._free_at = max(self._free_at, self.clock.time) + device.answer_s + takes_s
        if mishap == "unanswered":
            return
        late_s = device.latency_s + (5.0 if mishap == "late" else 0.0)
        self.most_open = max(self.most_open, 1 + len(self._coming))
        framed = SmpPacket(reply, body).framed(device.framing)
        if device.chatter:
            framed = device.chatter.join(framed.splitlines(keepends=True)) + device.chatter
        self.say(framed, self._free_at - self.clock.time + late_s)


def _map_in(payload: bytes) -> Map:
    """What was asked; nothing if it is no map, as when noise was taken for a request."""
    try:
        asked = cbor2.loads(payload)
    except cbor2.CBORDecodeError:
        return {}
    return asked if isinstance(asked, dict) else {}
