from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import serial

from svcport.transport.port import LinkLostError, SerialTransport, open_port


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


def test_what_has_arrived_comes_in_few_pieces(device: Device) -> None:
    os.write(device.far, b"x" * 3000)
    pieces = []
    while len(b"".join(pieces)) < 3000:  # the system hands a terminal's bytes over as it likes
        pieces.append(device.port.read(1.0))
        assert pieces[-1], "bytes that were written never came"
    assert b"".join(pieces) == b"x" * 3000
    assert len(pieces) < 10
    device.port.write(b"answer")
    assert os.read(device.far, 100) == b"answer"


def test_silence_is_empty_and_lasts_as_long_as_was_asked(device: Device) -> None:
    assert device.port.read(0.0) == b""
    started = time.monotonic()
    assert device.port.read(0.05) == b""
    assert 0.04 < time.monotonic() - started < 1


def test_reading_leaves_the_port_as_it_is_set(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_arguments: object, **_options: object) -> None:
        raise AssertionError("a read set the port's attributes anew")

    monkeypatch.setattr(serial.Serial, "_reconfigure_port", refuse)
    os.write(device.far, b"x")
    assert device.port.read(0.3) == b"x"
    assert device.port.read(0.0) == b""


@pytest.mark.parametrize("baud", [230_400, 921_600, 3_000_000])
def test_the_fast_speeds_can_be_set(device: Device, baud: int) -> None:
    device.port.set_baud(baud)
    os.write(device.far, b"still there")
    assert device.port.read(1.0) == b"still there"


def test_a_closed_port_is_a_lost_link(device: Device) -> None:
    device.port.close()
    with pytest.raises(LinkLostError):
        device.port.read(0.1)


def test_a_url_that_is_no_device_is_read_too() -> None:
    port = open_port("loop://")
    port.write(b"abc")
    assert port.read(0.5)[:1] == b"a"
    port.close()
