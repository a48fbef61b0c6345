"""Both ends of an SMP image upload for the comparison; runs in an environment of its own.

Run there: python smppeer.py upload PORT BAUD console|raw BUFFER BYTES   (smpclient's own code)
           python smppeer.py image URL console|raw|cobs BUFFER FILE      (smpclient's own code)
           python smppeer.py device console|raw BUFFER                   (on stdin and stdout)

The device is ideal: it answers a request the moment its last byte is there, and keeps nothing.
`upload` prints the seconds from the first request to the last answer; `image`, to a device at a
TCP endpoint (socket://HOST:PORT), prints them and the bytes that were written meanwhile.
"""

# mypy: ignore-errors
from __future__ import annotations

import asyncio
import base64
import binascii
import os
import socket
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Final

import cbor2

HEADER: Final = struct.Struct(">BBHHBB")
"""Version and operation, flags, length, group, sequence, command."""

PARAMS: Final = (0, 6)
UPLOAD: Final = (1, 1)
START: Final = b"\x06\x09"
MORE: Final = b"\x04\x14"
ANSWER_S: Final = 10
LINE_PAYLOAD: Final = 93
"""Bytes that a console line of 128 carries: 124 of base64."""


def crc(data: bytes) -> bytes:
    """CRC-16/XMODEM, as the console framing ends with it."""
    return binascii.crc_hqx(data, 0).to_bytes(2, "big")


def console_lines(message: bytes) -> bytes:
    """A message as console lines."""
    packet = (len(message) + 2).to_bytes(2, "big") + message + crc(message)
    parts = [packet[at : at + LINE_PAYLOAD] for at in range(0, len(packet), LINE_PAYLOAD)]
    marks = [START] + [MORE] * (len(parts) - 1)
    encoded = (
        mark + base64.b64encode(part) + b"\n" for mark, part in zip(marks, parts, strict=True)
    )
    return b"".join(encoded)


class Console:
    """Messages out of console lines in any pieces."""

    def __init__(self) -> None:
        self._line = bytearray()
        self._packet = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Whole messages."""
        *lines, rest = (self._line + data).split(b"\n")
        self._line = bytearray(rest)
        for line in lines:
            if line[:2] == START:
                self._packet.clear()
            self._packet += base64.b64decode(line[2:])
            if len(self._packet) >= 2 + int.from_bytes(self._packet[:2], "big"):
                yield bytes(self._packet[2:-2])


class Raw:
    """Messages that follow one another without framing."""

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Whole messages."""
        self._data += data
        while len(self._data) >= HEADER.size:
            end = HEADER.size + HEADER.unpack_from(self._data)[2]
            if len(self._data) < end:
                return
            yield bytes(self._data[:end])
            del self._data[:end]


def answer(message: bytes, buffer: int) -> bytes:
    """What an ideal device says to a message."""
    operation, flags, _length, group, sequence, command = HEADER.unpack_from(message)
    asked = cbor2.loads(message[HEADER.size :])
    match group, command:
        case (0, 6):
            said = {"buf_size": buffer, "buf_count": 1}
        case (1, 1):
            said = {"rc": 0, "off": asked["off"] + len(asked["data"])}
        case _:
            said = {"rc": 8}
    body = cbor2.dumps(said)
    return HEADER.pack(operation + 1, flags, len(body), group, sequence, command) + body


def device(framing: str, buffer: int) -> None:
    """Answer until the host has gone."""
    decoder = Console() if framing == "console" else Raw()
    while data := os.read(0, 65_536):
        for message in decoder.feed(data):
            reply = answer(message, buffer)
            os.write(1, console_lines(reply) if framing == "console" else reply)


async def upload(port: str, baud: int, framing: str, buffer: int, size: int) -> float:
    """Upload so many random bytes with smpclient."""
    from smpclient import SMPClient
    from smpclient.transport.serial import SMPSerialRawTransport, SMPSerialTransport

    if framing == "console":
        transport = SMPSerialTransport(baudrate=baud)
    else:
        transport = SMPSerialRawTransport(mtu=buffer - 4, baudrate=baud)
    client = SMPClient(transport, port, timeout_s=ANSWER_S)
    await client.connect()
    started = time.perf_counter()
    async for _offset in client.upload(Random(1).randbytes(size)):
        pass
    seconds = time.perf_counter() - started
    await client.disconnect()
    return seconds


class Endpoint:
    """A TCP endpoint as smpclient uses a serial port, which cannot be one with it.

    Its own tests put pyserial's `socket://` there, which gives one byte a read: slower than this.
    """

    out_waiting = 0

    def __init__(self, url: str) -> None:
        host, number = url.removeprefix("socket://").rsplit(":", 1)
        self.port, self.written = url, 0
        self._socket = socket.create_connection((host, int(number)), ANSWER_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.settimeout(None)

    def write(self, data: bytes) -> None:
        """All of it."""
        self._socket.sendall(data)
        self.written += len(data)

    def read_all(self) -> bytes:
        """What has come; nothing also if nothing ever will."""
        try:
            return self._socket.recv(65_536, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return b""

    def close(self) -> None:
        """Let it go."""
        self._socket.close()


def transport_of(framing: str, buffer: int) -> object:
    """As smpclient fills a device's buffers best; 0: it asks for their size, on a console only."""
    from smpclient.transport.serial import (
        BufferSize,
        Cobs,
        SMPSerialRawTransport,
        SMPSerialTransport,
    )

    match framing:
        case "console":
            return SMPSerialTransport(BufferSize(buffer)) if buffer else SMPSerialTransport()
        case "cobs":
            return SMPSerialRawTransport(mtu=buffer - 4, framing=Cobs())
        case _:
            return SMPSerialRawTransport(mtu=buffer - 4)


async def send_image(url: str, framing: str, buffer: int, image: bytes) -> tuple[float, int]:
    """Upload an image with smpclient; seconds and bytes written from the first chunk on."""
    from smpclient import SMPClient

    endpoint, transport = Endpoint(url), transport_of(framing, buffer)

    async def connect(_address: str, _timeout_s: float) -> None:
        transport._reset_state()  # noqa: SLF001 - what its own `connect` does
        transport._conn = endpoint  # noqa: SLF001

    transport.connect = connect
    client = SMPClient(transport, url, timeout_s=ANSWER_S)
    await client.connect()
    started, before = time.perf_counter(), endpoint.written
    async for _offset in client.upload(image):
        pass
    seconds = time.perf_counter() - started
    await client.disconnect()
    return seconds, endpoint.written - before


def main() -> None:
    """One end."""
    match sys.argv[1:]:
        case ["device", framing, buffer]:
            device(framing, int(buffer))
        case ["upload", port, baud, framing, buffer, size]:
            print(asyncio.run(upload(port, int(baud), framing, int(buffer), int(size))))
        case ["image", url, framing, buffer, file]:
            print(*asyncio.run(send_image(url, framing, int(buffer), Path(file).read_bytes())))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
