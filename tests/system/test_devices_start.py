from __future__ import annotations

from collections.abc import Iterator

import pytest
from devicekit import (
    M0,
    MPS2_BUILDS,
    NATIVE_SIM_BUILDS,
    Damage,
    NativeSim,
    Ser2net,
    ask,
    board_image,
    damaged,
    m0,
    mps2,
    native_sim,
    new_key,
    ser2net,
    until,
)

from protocol.smp import SmpFraming, SmpGroup, SmpOp

ECHO, RESET, PARAMS = 0, 5, 6
NOT_SUPPORTED = {"rc": 8}


def echoes(port: str, framing: SmpFraming) -> bool:
    answer = ask(port, framing, ECHO, {"d": "hello"}, op=SmpOp.WRITE)
    return answer == {"r": "hello"}


def running_version(port: str, framing: SmpFraming) -> str:
    images = ask(port, framing, 0, group=SmpGroup.IMAGE)["images"]
    return str(next(image["version"] for image in images if image["active"]))


@pytest.mark.parametrize("build", MPS2_BUILDS)
def test_a_board_with_empty_flash_is_in_serial_recovery(build: str) -> None:
    with mps2(build) as lock:
        assert "Unable to find bootable image" in lock.log()
        params = ask(lock.url, lock.framing, PARAMS)
        # The four builds with buffers of their own have no such command in their recovery.
        wanted = NOT_SUPPORTED if "buf" in build else {"buf_size": 1024, "buf_count": 1}
        assert params == wanted
        assert lock.slot(0) == lock.slot(1) == b"\xff" * 0x80000


@pytest.mark.parametrize("build", MPS2_BUILDS)
def test_a_board_runs_the_image_that_was_put_into_it(build: str) -> None:
    with mps2(build, image=board_image("mps2", "1.2.3", build=build)) as lock:
        assert "Image version: v1.2.3" in lock.log()
        assert echoes(lock.url, lock.application_framing)
        assert running_version(lock.url, lock.application_framing) == "1.2.3"


def test_a_board_keeps_its_flash_when_power_is_cut() -> None:
    image = board_image("mps2", "1.2.3")
    with mps2(image=image) as lock:
        before = len(lock.log())
        lock.reset()
        lock.wait_for_log("Jumping to", after=before)
        assert lock.slot(0).startswith(image)
        assert running_version(lock.url, lock.application_framing) == "1.2.3"


def test_the_higher_version_of_two_slots_runs() -> None:
    with mps2(image=board_image("mps2", "1.2.3"), second=board_image("mps2", "1.3.0")) as lock:
        assert running_version(lock.url, lock.application_framing) == "1.3.0"


@pytest.mark.parametrize("damage", Damage)
def test_a_damaged_image_leaves_the_board_in_recovery(damage: Damage) -> None:
    with mps2(image=damaged(board_image("mps2", "1.2.3"), damage)) as lock:
        assert "Enter the serial recovery mode" in lock.log()
        assert ask(lock.url, lock.framing, PARAMS) == {"buf_size": 1024, "buf_count": 1}


def test_a_signed_image_runs_where_no_signature_is_wanted(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    key = new_key(tmp_path_factory.mktemp("key"))
    signed, unsigned = board_image("mps2", "2.0.0", key=key), board_image("mps2", "2.0.0")
    assert len(signed) > len(unsigned)
    with mps2(image=signed) as lock:
        assert running_version(lock.url, lock.application_framing) == "2.0.0"


@pytest.fixture
def swapping() -> Iterator[M0]:
    with m0(image=board_image("m0", "1.2.3")) as lock:
        yield lock


def test_the_swapping_board_answers_before_and_after_a_power_cut(swapping: M0) -> None:
    assert echoes(swapping.url, swapping.framing)
    before = len(swapping.log())
    swapping.reset()
    swapping.wait_until_up(after=before)
    assert running_version(swapping.url, swapping.framing) == "1.2.3"
    assert swapping.slot(0).startswith(board_image("m0", "1.2.3"))
    assert swapping.slot(1).strip(b"\xff") == b""


@pytest.mark.parametrize("build", NATIVE_SIM_BUILDS)
def test_a_server_of_linux_answers(build: str) -> None:
    with native_sim(build) as lock:
        assert echoes(lock.path, lock.framing)
        params = ask(lock.path, lock.framing, PARAMS)
        sizes = {"noparams": NOT_SUPPORTED, "fs": 1024, "line512": 2048}
        size = int(build.removeprefix("buf")) if "buf" in build else sizes.get(build, 384)
        assert params in (size, {"buf_size": size, "buf_count": 4})


@pytest.fixture
def native() -> Iterator[NativeSim]:
    with native_sim() as lock:
        yield lock


def test_a_server_of_linux_comes_back_after_a_reset(native: NativeSim) -> None:
    starts = native.starts
    assert ask(native.path, native.framing, RESET, op=SmpOp.WRITE) == {}
    native.wait_for_restart(starts)
    assert echoes(native.path, native.framing)


@pytest.fixture
def server(native: NativeSim) -> Iterator[Ser2net]:
    with ser2net(native.path) as one:
        yield one


@pytest.mark.filterwarnings("ignore:set:DeprecationWarning")  # pyserial 3.5 on newer Pythons
def test_a_serial_server_carries_bytes_and_speeds(server: Ser2net, native: NativeSim) -> None:
    assert echoes(server.raw_url, native.framing)
    # pyserial's client insists on modem lines, which a pseudo terminal does not have.
    assert echoes(f"{server.rfc2217_url}?ign_set_control", native.framing)
    assert server.moved() > 0


def test_a_serial_server_that_is_cut_refuses_until_it_starts_again(
    server: Ser2net, native: NativeSim
) -> None:
    server.cut()
    with pytest.raises(Exception, match="refused"):
        echoes(server.raw_url, native.framing)
    server.start()
    assert echoes(server.raw_url, native.framing)


def test_a_serial_server_stands_before_a_board_too() -> None:
    with mps2() as lock, ser2net(lock.url) as one:
        until(lambda: "recovery" in lock.log(), "recovery")
        assert ask(one.raw_url, lock.framing, PARAMS) == {"buf_size": 1024, "buf_count": 1}
