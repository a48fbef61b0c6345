from __future__ import annotations

import os

import pytest
from smpserver import Device, DevicePort

from protocol.frame import DELIMITER, Frame, FrameType
from protocol.handshake import HELLO_RANDOM_SIZE, HostHandshake
from protocol.noise import KEY_SIZE
from protocol.smp import SmpFraming
from svcport.locks.mcuboot import McubootLock
from svcport.locks.smp_detect import ZEROS, detect
from svcport.locks.snapshot import LockKind

FRAMINGS = list(SmpFraming)


def hello() -> bytes:
    handshake = HostHandshake(os.urandom(HELLO_RANDOM_SIZE), os.urandom(KEY_SIZE))
    return DELIMITER + Frame(FrameType.HELLO, 0, handshake.hello()).build()


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("hellos", [0, 1, 2, 3, 5, 9])
def test_a_device_is_found_behind_our_own_hellos(framing: SmpFraming, hellos: int) -> None:
    port = DevicePort(Device(framing))
    for _hello in range(hellos):
        port.write(hello())
    lock = McubootLock.on(port)
    assert (lock.kind, lock.framing) == (LockKind.MCUBOOT_RECOVERY, framing)
    assert port.clock.time - 1000 < 3.5
    assert not set(port.device.said) & {"upload", "erase", "reset", "shell"}


@pytest.mark.parametrize("begun", range(4, 17))
def test_a_raw_server_is_found_behind_the_start_of_a_packet(begun: int) -> None:
    port = DevicePort(Device(SmpFraming.RAW))
    # its length is known to the server: with less, our question would be taken for a length
    port.write((bytes([8, 0, 0, 200, 15, 1, 0, 0]) + b"\xa0" * 16)[:begun])
    assert McubootLock.on(port).framing is SmpFraming.RAW


def test_zeros_come_a_few_at_a_time_because_many_echoes_at_once_end_a_server() -> None:
    port = DevicePort(Device(SmpFraming.RAW))
    port.write(hello())
    assert detect(port) is not None
    zeros = [data for data in port.written if not data.strip(b"\0")]
    assert zeros
    assert max(map(len, zeros)) == ZEROS <= 16


@pytest.mark.parametrize("framing", FRAMINGS)
def test_an_answer_may_come_while_the_next_question_waits(framing: SmpFraming) -> None:
    port = DevicePort(Device(framing, answer_s=0.4))
    link = detect(port)
    assert link is not None
    assert link.framing is framing


def test_a_line_that_sends_everything_back_is_no_device() -> None:
    port = DevicePort(Device(mishaps=dict.fromkeys(range(99), "lost")))
    write = port.write

    def echoing(data: bytes) -> None:
        write(data)
        port.say(data, 0.001)

    port.write = echoing  # type: ignore[method-assign]
    assert detect(port) is None
    assert port.clock.time - 1000 < 8
