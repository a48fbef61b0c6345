from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from fieldkit import AtStep, Field, LoudSilence, make_field
from locksim import Bench, Cable

from svcport.errors import FailedError, Outcome, Reason, RefusedError, UnfinishedError
from svcport.operations import commands, finding, meeting
from svcport.operations.installation import Installation
from svcport.operations.report import Report
from svcport.operations.workplace import Target

AWAY_S = 100.0


class Sockets:
    """A computer's USB sockets. After each look at them, the next entry of `plugged` is true."""

    def __init__(self, *plugged: Cable | None) -> None:
        self._plugged = list(plugged)
        self.bench = Bench()

    def found(self) -> list[SimpleNamespace]:
        cable = self._plugged[0]
        if len(self._plugged) > 1:
            del self._plugged[0]
        self.bench.cables = {} if cable is None else {cable.name: cable}
        if cable is None:
            return []
        return [SimpleNamespace(device=cable.name, known=True)]


def elsewhere(cable: Cable, name: str) -> Cable:
    """The same lock at another socket, minutes later."""
    cable.clock.sleep(AWAY_S)
    return Cable(name, cable.board, cable.clock)


@contextmanager
def opened(
    field: Field, sockets: Sockets, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Installation]:
    monkeypatch.setattr(finding, "found_ports", sockets.found)
    with Installation.open(field.home, secret=None, now=field.tick, opener=sockets.bench) as inst:
        yield inst


def restored(
    field: Field, sockets: Sockets, monkeypatch: pytest.MonkeyPatch, wait_s: float
) -> Report:
    with opened(field, sockets, monkeypatch) as inst:
        return commands.restore(inst, Target(None, wait_s=wait_s), field.progress)


def test_a_lock_that_comes_back_at_another_socket_is_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    field = make_field(tmp_path, "dead", payload_bytes=96 * 1024)
    first = field.cable
    field.pull_while_sending(50_000)
    second = elsewhere(first, "P7")
    sockets = Sockets(first, None, None, second)
    report = restored(field, sockets, monkeypatch, wait_s=20)
    assert report.outcome is Outcome.OK
    assert report.members()["transfer"]["resumed"] is True
    assert any("is gone: waiting up to 20 s" in step for step in field.progress.steps)
    assert field.verify().outcome is Outcome.OK


def test_without_wait_a_lost_link_ends_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    field = make_field(tmp_path)
    field.pull_while_sending()
    with pytest.raises(UnfinishedError) as ended:
        restored(field, Sockets(field.cable), monkeypatch, wait_s=0)
    assert ended.value.reason is Reason.LINK_LOST


def test_an_adapter_that_is_not_there_yet_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    field = make_field(tmp_path)
    sockets = Sockets(None, None, None, field.cable)
    assert restored(field, sockets, monkeypatch, wait_s=20).outcome is Outcome.OK
    with pytest.raises(FailedError) as ended:
        restored(field, Sockets(None), monkeypatch, wait_s=0.3)
    assert ended.value.reason is Reason.NO_LOCK


def test_a_lock_that_stays_away_is_reported_as_what_it_was_left_as(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    field = make_field(tmp_path)
    field.pull_while_sending()
    with pytest.raises(UnfinishedError) as ended:
        restored(field, Sockets(field.cable, None), monkeypatch, wait_s=0.3)
    assert (ended.value.reason, ended.value.boots) == (Reason.LINK_LOST, "2.4.0+0")


def test_another_lock_that_is_plugged_in_meanwhile_is_not_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    field = make_field(tmp_path, locks=2)
    first, other = field.cables.values()
    field.pull_while_sending()
    flash = bytes(other.board._flash._buffer)
    with pytest.raises(UnfinishedError) as ended:
        restored(field, Sockets(first, other), monkeypatch, wait_s=5)
    assert ended.value.reason is Reason.LINK_LOST
    assert isinstance(ended.value.__cause__, RefusedError)
    assert ended.value.__cause__.reason is Reason.WRONG_LOCK
    assert bytes(other.board._flash._buffer) == flash


def test_a_lock_that_goes_away_again_and_again_ends_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    field = make_field(tmp_path)
    monkeypatch.setattr(meeting, "RETURNS", 2)
    lost: list[int] = []

    def pulled(act: Callable[..., None]) -> Callable[..., None]:
        def step(text: str) -> None:
            act(text)
            if text.startswith("asking the lock about its state"):
                lost.append(1)
                field.cable.pull_in(10)

        return step

    monkeypatch.setattr(field.progress, "step", pulled(field.progress.step))
    with pytest.raises(FailedError) as ended:
        restored(field, Sockets(field.cable), monkeypatch, wait_s=5)
    assert ended.value.reason is Reason.LINK_LOST
    assert len(lost) == 3


class TiredOf(LoudSilence):
    """Has enough at the second look for a lock that is not there."""

    looks = 0

    def advance(self, to_bytes: int) -> None:
        self.looks += to_bytes == 0
        if self.looks == 2:
            raise KeyboardInterrupt


@pytest.mark.parametrize("port", [None, "P9"])
def test_waiting_can_be_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, port: str | None
) -> None:
    field = make_field(tmp_path)
    with (
        opened(field, Sockets(None), monkeypatch) as inst,
        pytest.raises(KeyboardInterrupt),
    ):
        commands.restore(inst, Target(port, wait_s=600), TiredOf())


def test_waiting_that_is_stopped_after_a_loss_says_what_the_loss_has_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    field = make_field(tmp_path)
    field.pull_while_sending()

    class Tired(AtStep):
        def advance(self, to_bytes: int) -> None:
            if any("is gone" in step for step in self.steps):
                raise KeyboardInterrupt

    field.progress = Tired("sending the new image", lambda: field.cable.pull_in(1200))
    with pytest.raises(UnfinishedError) as ended:
        restored(field, Sockets(field.cable, None), monkeypatch, wait_s=600)
    assert (ended.value.reason, ended.value.boots) == (Reason.LINK_LOST, "2.4.0+0")
