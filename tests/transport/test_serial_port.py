from __future__ import annotations

import os
import select
from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
import serial

from svcport.transport import serialport
from svcport.transport.port import LinkLostError, SerialTransport, Transport, open_port

HANG_S = 30.0
"""What takes milliseconds and has not happened by then never will."""


@dataclass
class Device:
    """A device of the system, and the far end of its cable."""

    port: SerialTransport
    far: int


@pytest.fixture
def device() -> Iterator[Device]:
    if not hasattr(os, "openpty"):
        pytest.skip("this platform has no pseudo terminals")
    master, slave = os.openpty()
    port = SerialTransport(os.ttyname(slave))
    os.close(slave)
    yield Device(port, master)
    port.close()
    os.close(master)


def heard(port: Transport, size: int) -> list[bytes]:
    """So many bytes, in the pieces in which they come: the system hands them over as it likes."""
    pieces: list[bytes] = []
    while sum(map(len, pieces)) < size:
        pieces.append(port.read(HANG_S))
        assert pieces[-1], "bytes that were written never came"
    return pieces


def test_what_has_arrived_comes_in_few_pieces(device: Device) -> None:
    os.write(device.far, b"x" * 3000)
    pieces = heard(device.port, 3000)
    assert b"".join(pieces) == b"x" * 3000
    assert len(pieces) < 10
    device.port.write(b"answer")
    assert os.read(device.far, 100) == b"answer"


def test_silence_is_empty_and_lasts_as_long_as_was_asked(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []

    def waited(*arguments: Any) -> tuple[list[Any], list[Any], list[Any]]:
        waits.append(arguments[-1])
        return select.select(*arguments)

    monkeypatch.setattr(serialport, "select", SimpleNamespace(select=waited))
    for seconds in (0.0, 0.05, -1.0):
        assert device.port.read(seconds) == b""
    assert waits == [0.0, 0.05, 0.0]


def test_reading_leaves_the_port_as_it_is_set(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_arguments: object, **_options: object) -> None:
        raise AssertionError("a read set the port's attributes anew")

    monkeypatch.setattr(serial.Serial, "_reconfigure_port", refuse)
    os.write(device.far, b"x")
    assert device.port.read(HANG_S) == b"x"
    assert device.port.read(0.0) == b""


@pytest.mark.parametrize("baud", [230_400, 921_600, 3_000_000])
def test_the_fast_speeds_can_be_set(device: Device, baud: int) -> None:
    device.port.set_baud(baud)
    os.write(device.far, b"still there")
    assert b"".join(heard(device.port, 11)) == b"still there"


def test_a_closed_port_is_a_lost_link(device: Device) -> None:
    device.port.close()
    with pytest.raises(LinkLostError):
        device.port.read(0.1)


def test_a_url_that_is_no_device_is_read_too() -> None:
    port = open_port("loop://")
    port.write(b"abc")
    assert b"".join(heard(port, 3)) == b"abc"
    port.close()
