"""Zephyr servers on a pseudo terminal: every framing and buffer size, as technicians meet them."""

from __future__ import annotations

from pathlib import Path

import pytest
from devicekit import NATIVE_SIM_BUILDS, board_image, native_sim
from stationkit import Station

from protocol.smp_files import FileUpload
from svcport.errors import Outcome, Reason
from svcport.locks.mcuboot import McubootLock
from svcport.operations import commands
from svcport.transport.port import open_port


@pytest.fixture
def station(tmp_path: Path) -> Station:
    return Station(tmp_path)


@pytest.mark.parametrize("build", NATIVE_SIM_BUILDS)
def test_every_server_is_recognised_and_nothing_is_promised_of_it(
    build: str, station: Station
) -> None:
    with native_sim(build) as server:
        report = station.run(commands.identify, server.path, serial="Z1")
        assert report.outcome is Outcome.OK
        assert report.facts["framing"] == server.framing.value
        assert report.facts["lock"]["kind"] == "zephyr-smp"
        assert report.facts["lock"]["serial"] == "Z1"
        assert report.facts["assurance"] == "unauthenticated-port"
    assert not station.home.root.exists()


def test_log_files_are_fetched_over_lines_that_lose_bursts(station: Station) -> None:
    text = "".join(f"{number}: bolt moved\n" for number in range(60))
    with native_sim("fs") as server:
        put(server.path, "/lfs1/log.0000", text.encode())
        report = station.run(commands.logs, server.path)
        told = [one["text"] for one in report.facts["events"] if one["source"] == "/lfs1/log.0000"]
        assert told == text.splitlines()


def put(port: str, name: str, body: bytes) -> None:
    device = McubootLock.on(open_port(port))
    link = device._conversation
    try:
        at = 0
        while at < len(body):
            size = len(body) if at == 0 else None
            reply = link.call(FileUpload(at, body[at : at + 64], name, size), "take a file")
            at = reply.off
    finally:
        device.close()


def test_a_server_that_restarted_is_found_again_at_its_new_terminal(station: Station) -> None:
    with native_sim("serial") as server:
        device = McubootLock.on(open_port(server.path))
        before = server.starts
        device.reset()
        view = device.come_back()
        device.close()
        assert server.starts == before + 1
        assert view.slots == ()
        assert station.run(commands.identify, server.path).outcome is Outcome.OK


def test_a_device_without_images_is_not_written_to(station: Station) -> None:
    path = station.file("image.bin", board_image("m0", "1.2.3"))
    with native_sim("bigrx") as server:
        error = station.stopped(commands.restore, server.path, image=path)
        assert error.reason is Reason.LOCK_REFUSED
        assert station.run(commands.identify, server.path).outcome is Outcome.OK
