"""What the sweep found, each as a test of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from fieldkit import make_field

from svcport.errors import Outcome
from svcport.locks.session import Session


def test_ctrl_c_while_the_session_is_closed_does_not_call_a_restore_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    field = make_field(tmp_path)
    pressed: list[bool] = []

    def press(_session: Session) -> None:
        pressed.append(True)
        raise KeyboardInterrupt

    monkeypatch.setattr(Session, "close", press)
    report = field.restore()
    assert pressed
    assert report.outcome is Outcome.OK
    assert field.cable.is_open is False
