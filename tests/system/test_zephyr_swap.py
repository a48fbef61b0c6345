"""A Zephyr application over an MCUboot that swaps two slots: test, confirm, revert for real."""

from __future__ import annotations

from pathlib import Path

import pytest
from devicekit import board_image, m0
from stationkit import At, Station

from svcport.errors import Outcome, Reason, UnknownOutcomeError
from svcport.locks.mcuboot import McubootLock
from svcport.operations import commands
from svcport.operations.report import Report
from svcport.transport.port import open_port

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def station(tmp_path: Path) -> Station:
    return Station(tmp_path)


def states(report: Report) -> dict[str, str]:
    return {slot["version"]: slot["state"] for slot in report.facts["lock"]["slots"]}


def restart(url: str) -> None:
    device = McubootLock.on(open_port(url))
    device.reset()
    device.come_back()
    device.close()


def stop() -> None:
    raise KeyboardInterrupt


def test_a_restore_is_tried_and_confirmed_and_then_there_is_nothing_to_go_back_to(
    station: Station,
) -> None:
    path = station.file("new.bin", board_image("m0", "1.2.3"))
    with m0() as lock:
        report = station.restore(lock.url, path)
        assert report.outcome is Outcome.OK
        assert report.facts["before"]["version"] == "0.0.0+0"
        assert report.facts["after"]["confirmed"] is True
        restart(lock.url)
        assert states(station.run(commands.identify, lock.url))["1.2.3+0"] == "running"
        error = station.stopped(commands.rollback, lock.url)
        assert error.reason is Reason.NO_OLDER_IMAGE
    assert station.verdict().problems == ()


def test_a_trial_that_nobody_confirms_reverts_and_what_was_there_can_be_gone_back_to(
    station: Station,
) -> None:
    path = station.file("new.bin", board_image("m0", "1.2.3"))
    with m0() as lock:
        killed = At(stop, step="confirming")
        error = station.stopped(
            commands.restore, lock.url, image=path, serial="B7", progress=killed
        )
        assert isinstance(error, UnknownOutcomeError)
        assert states(station.run(commands.identify, lock.url)) == {
            "1.2.3+0": "trying",
            "0.0.0+0": "fallback",
        }
        # the image before is still there: going back is a restart
        report = station.run(commands.rollback, lock.url, serial="B7")
        assert report.outcome is Outcome.OK
        assert report.facts["after"]["version"] == "0.0.0+0"
        assert [one.op for one in station.verdict().open_intents]
        settled = station.run(commands.reconcile, lock.url, serial="B7")
        assert len(settled.facts["closed"]) == 1
    assert station.verdict().open_intents == ()
    assert station.verdict().problems == ()


def test_a_trial_that_was_left_is_confirmed_by_the_same_command(station: Station) -> None:
    path = station.file("new.bin", board_image("m0", "1.2.3"))
    with m0() as lock:
        station.stopped(
            commands.restore, lock.url, image=path, progress=At(stop, step="confirming")
        )
        report = station.restore(lock.url, path)
        assert report.outcome is Outcome.OK
        assert report.facts["transfer"] is None
        assert states(station.run(commands.identify, lock.url))["1.2.3+0"] == "running"
