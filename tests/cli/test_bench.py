from __future__ import annotations

import contextlib
import io
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import pytest
from rich.console import Console

from svcport.cli import bench, signals
from svcport.cli.bars import Bars
from svcport.cli.bench import _Bench
from svcport.cli.command import Command, Running
from svcport.cli.options import LockOptions
from svcport.cli.output import Output, write
from svcport.cli.progress import Hidden, Told, display
from svcport.errors import Outcome, Reason, UnknownOutcomeError


@dataclass(frozen=True, slots=True)
class Fine:
    message: str
    outcome: Outcome = Outcome.OK
    reason: Reason | None = None
    hint: str = ""
    facts: dict[str, Any] = field(default_factory=dict)

    def members(self) -> dict[str, Any]:
        return self.facts


def started(ports: tuple[str, ...], work: Callable[[str, Told], Fine]) -> _Bench:
    bench = _Bench(ports, Hidden())
    bench.start(work)
    return bench


def test_ports_work_at_the_same_time_and_are_told_as_they_finish() -> None:
    everybody = threading.Barrier(3)
    order = {"a": threading.Event(), "b": threading.Event(), "c": threading.Event()}
    order["c"].set()

    def work(port: str, _told: Told) -> Fine:
        everybody.wait(timeout=30)
        assert order[port].wait(timeout=30)
        return Fine(port)

    seen = []
    for port, future in started(("a", "b", "c"), work).finished():
        seen.append((port, future.result().message))
        follower = {"c": "b", "b": "a"}.get(port)
        if follower:
            order[follower].set()
    assert seen == [("c", "c"), ("b", "b"), ("a", "a")]


def test_what_one_worker_raises_is_its_own_answer() -> None:
    def work(port: str, _told: Told) -> Fine:
        if port == "bad":
            raise ZeroDivisionError
        return Fine(port)

    ended = dict(started(("bad", "good"), work).finished())
    assert isinstance(ended["bad"].exception(), ZeroDivisionError)
    assert ended["good"].result().message == "good"


def test_ctrl_c_asks_every_worker_to_stop_and_waits_for_its_answer(
    capfd: pytest.CaptureFixture[str],
) -> None:
    running = threading.Barrier(3)

    def work(port: str, told: Told) -> Fine:
        running.wait(timeout=30)
        try:
            while True:
                told.advance(1)
                time.sleep(0.005)
        except KeyboardInterrupt:
            return Fine(f"{port} is safe")

    bench = started(("a", "b"), work)
    running.wait(timeout=30)
    bench.heed(signal.SIGINT, None)
    assert {future.result().message for _port, future in bench.finished()} == {
        "a is safe", "b is safe",
    }  # fmt: skip
    assert "2 locks" in capfd.readouterr().err


@pytest.fixture
def ours() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signals.start()
    signals.begin()
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("ours")
def test_a_second_ctrl_c_leaves_at_once() -> None:
    release = threading.Event()

    def work(port: str, _told: Told) -> Fine:
        if port == "a":
            release.wait(timeout=30)
        return Fine(port)

    ended = started(("a", "b"), work).finished()
    assert next(ended)[0] == "b"
    signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGTERM)
    release.set()


@pytest.mark.usefixtures("ours")
def test_ctrl_c_while_an_answer_is_told_loses_no_other(capfd: pytest.CaptureFixture[str]) -> None:
    first = threading.Event()

    def work(port: str, told: Told) -> Fine:
        if port == "a":
            return Fine("a")
        assert first.wait(timeout=30)
        with pytest.raises(KeyboardInterrupt):
            told.step("going on")
        return Fine("b is safe")

    said = []
    for port, future in started(("a", "b"), work).finished():
        said.append(future.result().message)
        if port == "a":
            signal.raise_signal(signal.SIGINT)
            first.set()
    assert said == ["a", "b is safe"]
    assert "1 lock " in capfd.readouterr().err
    # all have been told: nothing is left to be stopped
    signal.raise_signal(signal.SIGINT)


def test_text_told_while_bars_are_shown_goes_above_them() -> None:
    screen = io.StringIO()
    with Bars(Console(file=screen, force_terminal=True, width=120)):
        write(sys.stderr, "stopping\n")
    assert "stopping" in screen.getvalue()


def test_progress_is_hidden_where_nobody_looks(capfd: pytest.CaptureFixture[str]) -> None:
    with display(as_json=False, verbosity=0) as shown:
        told = shown.worker("COM5", threading.Event())
        told.step("opening a session")
        told.start(100)
        told.advance(50)
        told.finish()
    assert isinstance(shown, Hidden)
    assert capfd.readouterr() == ("", "")


def test_bars_show_port_step_and_bytes() -> None:
    screen = io.StringIO()
    with Bars(Console(file=screen, force_terminal=True, width=120)) as shown:
        told = shown.worker("COM5", threading.Event())
        told.step("sending \x1b[2Jthe image")
        told.start(2048)
        told.advance(1024)
        shown._bars.refresh()
        told.finish()
        told.step("restarting")
        before = len(screen.getvalue())
        shown._bars.refresh()
        assert "KiB" not in screen.getvalue()[before:]
    assert "COM5 sending ?[2Jthe image" in screen.getvalue()
    assert "1.0/2.0 KiB" in screen.getvalue()


@pytest.mark.usefixtures("ours")
@pytest.mark.parametrize(
    ("changes", "error"), [(True, UnknownOutcomeError), (False, KeyboardInterrupt)]
)
def test_whoever_leaves_locks_to_themselves_is_not_told_that_nothing_was_changed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, changes: bool, error: type[BaseException]
) -> None:
    release, running = threading.Event(), threading.Barrier(2)

    def operation(_work: Any, _target: Any, _told: Told) -> Fine:
        if running.wait(timeout=30) == 0:
            signal.raise_signal(signal.SIGINT)
        release.wait(timeout=30)
        return Fine("")

    def again(_waiting: int) -> None:
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(bench, "_say_that_it_stops", again)
    monkeypatch.setattr(bench, "_opened", lambda *_: contextlib.nullcontext())
    options = LockOptions(("a", "b"), False, None, None, 0.0, (), None, None, bundle=False)
    with click.Context(Command("restore", changes=changes)) as ctx:
        ctx.meta["svcport.running"] = Running(Output("restore", as_json=True), changes)
        ctx.meta["svcport.home"] = tmp_path
        with pytest.raises(error):
            list(bench._workers(options, operation))
    release.set()
