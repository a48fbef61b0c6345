from __future__ import annotations

import os

import pytest
from devicekit import MPS2_BUILDS, board_image, m0, mps2, native_sim

from images import Version
from protocol.frame import DELIMITER, Frame, FrameType
from protocol.handshake import HELLO_RANDOM_SIZE, HostHandshake
from protocol.noise import KEY_SIZE
from protocol.smp import SmpFraming
from protocol.smp_messages import Echo
from svcport.locks.mcuboot import McubootLock
from svcport.locks.smp_boot import BootProof
from svcport.locks.snapshot import LockKind
from svcport.transport.port import Transport, open_port

pytestmark = pytest.mark.timeout(180)

HELLO = (
    DELIMITER
    + Frame(
        FrameType.HELLO,
        0,
        HostHandshake(os.urandom(HELLO_RANDOM_SIZE), os.urandom(KEY_SIZE)).hello(),
    ).build()
)

FULL = bool(os.environ.get("SVCPORT_FULL"))
"""Every build: `SVCPORT_FULL=1 python -m pytest tests/locks/test_mcuboot_devices.py`. Emulated raw
recovery loses packets when this computer is busy, and each loss costs seconds."""

UPLOADS = MPS2_BUILDS if FULL else ("cobs", "buf400")


@pytest.mark.parametrize("build", UPLOADS)
def test_an_empty_board_takes_an_image_and_boots_it(build: str) -> None:
    image = board_image("mps2", "1.2.3", build=build)
    with mps2(build) as board:
        lock = McubootLock.on(open_port(board.url))
        view = lock.look()
        assert view.kind is LockKind.MCUBOOT_RECOVERY
        assert view.framing is board.framing
        assert view.slots == ()
        seen: list[int] = []
        tally = lock.upload(image, seen.append)
        assert seen[-1] == len(image)
        assert board.slot(0).startswith(image)
        assert tally.wire_bytes > len(image)
        lock.reset()
        view = lock.come_back()
        lock.close()
        assert lock.boot_proof is BootProof.KIND
        assert view.kind is LockKind.ZEPHYR_SMP
        assert view.framing is board.application_framing
        assert view.running is not None
        assert view.running.version == Version(1, 2, 3)


def test_raw_recovery_takes_what_is_sent_byte_for_byte() -> None:
    data = board_image("mps2", "1.2.3", build="raw")[:8192]
    with mps2("raw") as board:
        lock = McubootLock.on(open_port(board.url))
        assert lock.look().framing is SmpFraming.RAW
        tally = lock.upload(data, lambda _taken: None)
        lock.close()
        assert board.slot(0).startswith(data)
        assert tally.wire_bytes > len(data)


def greeted(name: str, hellos: int) -> Transport:
    """A port at which so many HELLOs of ours went unanswered."""
    port = open_port(name)
    for _hello in range(hellos):
        port.write(HELLO)
        port.read(0.3)
    return port


@pytest.mark.parametrize("build", ["console", "raw", "cobs"])
@pytest.mark.parametrize("hellos", [1, 2, 3])
def test_a_boot_loader_is_found_right_after_our_own_hellos(build: str, hellos: int) -> None:
    with mps2(build) as board:
        lock = McubootLock.on(greeted(board.url, hellos))
        assert lock.kind is LockKind.MCUBOOT_RECOVERY
        assert lock.framing is board.framing
        assert lock.look().slots == ()
        lock.close()


@pytest.mark.parametrize("hellos", [0, 2, 3])
@pytest.mark.parametrize("build", ["serial", "raw", "shell", "noparams", "bigrx", "line512"])
def test_a_server_is_found_and_answers_after_our_own_hellos(build: str, hellos: int) -> None:
    with native_sim(build) as server:
        lock = McubootLock.on(greeted(server.path, hellos))
        assert lock.kind is LockKind.ZEPHYR_SMP
        assert lock.framing is server.framing
        assert "native_sim" in lock.look().application
        lock.close()
        # nothing that was asked has ended it
        assert server.starts == 1


@pytest.mark.parametrize("build", ["serial", "raw", "bigrx"])
def test_a_server_that_restarts_is_found_at_its_new_terminal(build: str) -> None:
    with native_sim(build) as server:
        lock = McubootLock.on(open_port(server.path))
        lock.reset()
        view = lock.come_back()
        assert lock.boot_proof is BootProof.PORT
        assert view.kind is LockKind.ZEPHYR_SMP
        assert server.starts == 2
        lock.close()


def test_long_messages_reach_a_server_that_loses_bursts() -> None:
    with native_sim("serial") as server:
        lock = McubootLock.on(open_port(server.path))
        link = lock._conversation
        text = "x" * 340
        assert link.call(Echo(text), "echo").r == text
        assert link.paced
        lock.close()


def test_an_application_goes_into_recovery_and_back() -> None:
    with mps2("console", image=board_image("mps2", "1.2.3")) as board:
        lock = McubootLock.on(open_port(board.url))
        view = lock.look()
        assert view.kind is LockKind.ZEPHYR_SMP
        assert view.slot_size == 0x80000
        assert not lock.can_try()
        assert lock.enter_recovery().kind is LockKind.MCUBOOT_RECOVERY
        lock.reset()
        assert lock.come_back().kind is LockKind.ZEPHYR_SMP
        lock.close()


def test_a_swap_board_takes_an_image_on_trial_and_keeps_it_once_confirmed() -> None:
    image = board_image("m0", "1.2.3")
    with m0() as board:
        lock = McubootLock.on(open_port(board.url))
        assert lock.can_try()
        lock.upload(image, lambda _done: None)
        other = lock.look().other
        assert other is not None
        assert other.digest is not None
        lock.mark_test(other.digest)
        lock.reset()
        view = lock.come_back()
        assert lock.boot_proof is BootProof.TEXT
        assert view.running is not None
        assert (view.running.version, view.running.confirmed) == (Version(1, 2, 3), False)
        lock.confirm()
        running = lock.look().running
        assert running is not None
        assert running.confirmed
        lock.close()
