from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from audit.world import act, make_ledger, meet
from clirunner import svcport
from rich.console import Console

from svcport.cli.bars import Bars
from svcport.cli.progress import display

ENTRIES = 6


@pytest.fixture
def home(tmp_path: Path) -> Path:
    with make_ledger(tmp_path / "home" / "ledger") as ledger:
        lock = meet(ledger, "A1")
        for _ in range(ENTRIES // 2):
            act(ledger, lock)
    return tmp_path / "home"


class Recorder:
    """A display that remembers what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, int, int]] = []

    @contextmanager
    def shown(self, **_settings: object) -> Iterator[Recorder]:
        yield self

    def counter(self, _text: str, unit: str) -> Callable[[int, int], None]:
        return lambda done, total: self.told.append((unit, done, total))


def test_audit_verify_shows_how_many_entries_are_verified(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder()
    monkeypatch.setattr("svcport.cli.audit_verify.display", recorder.shown)
    monkeypatch.setattr("svcport.audit.verify.BATCH", 4)
    assert svcport("audit", "verify", "--home", home).code == 0
    assert recorder.told == [("entries", 4, ENTRIES), ("entries", ENTRIES, ENTRIES)]


def test_audit_verify_with_json_shows_no_progress(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder()
    monkeypatch.setattr("svcport.cli.audit_verify.display", recorder.shown)
    ran = svcport("audit", "verify", "--home", home, "--json")
    assert (ran.code, ran.report["entries"]) == (0, ENTRIES)
    assert recorder.told == []


def test_progress_goes_to_a_terminal_only(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("svcport.cli.progress.is_terminal", lambda _stream: False)
    with display(as_json=False, verbosity=0) as shown:
        shown.counter("verifying", "entries")(1, 2)
    assert not isinstance(shown, Bars)
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr("svcport.cli.progress.is_terminal", lambda _stream: True)
    assert isinstance(display(as_json=False, verbosity=0), Bars)


def test_a_counter_shows_entries_and_not_bytes() -> None:
    screen = io.StringIO()
    with Bars(Console(file=screen, force_terminal=True, width=120)) as shown:
        shown.counter("verifying", "entries")(4096, 100_000)
    assert "verifying" in screen.getvalue()
    assert "4096/100000 entries" in screen.getvalue()
    assert "iB" not in screen.getvalue()
