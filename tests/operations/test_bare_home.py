from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fieldkit import NOW, make_field
from locksim import Answering, Bench, Cable

from protocol.frame import Frame, FrameType
from protocol.sealed import Realm
from svcport.audit.ledger import Ledger
from svcport.cli.setup import set_up
from svcport.errors import Reason, RecordsError, RefusedError
from svcport.home import Home
from svcport.operations import commands
from svcport.operations.progress import Silent
from svcport.operations.report import Report
from svcport.operations.workplace import Target, Workplace


def bare(home: Path, *cables: Cable) -> Workplace:
    return Workplace.bare(Home(home), now=lambda: NOW, opener=Bench(*cables))


@pytest.mark.parametrize(
    "command", [commands.identify, commands.verify, commands.restore, commands.rollback]
)
def test_a_service_port_lock_is_refused_to_a_home_without_credential(
    command: Callable[..., Report], tmp_path: Path
) -> None:
    field = make_field(tmp_path / "other")
    with (
        bare(tmp_path / "home", field.cable) as work,
        pytest.raises(RefusedError) as refused,
    ):
        command(work, Target("P0"), Silent())
    assert refused.value.reason is Reason.NOT_SET_UP
    assert "service-port lock answers at P0" in refused.value.message
    kinds = {Frame.parse(data.strip(b"\0")).type for data in field.cable.written}
    assert kinds == {FrameType.HELLO}
    assert not (tmp_path / "home").exists()
    assert not field.cable.is_open


def test_where_nothing_answers_a_home_without_credential_says_both(tmp_path: Path) -> None:
    silent = Cable("P0", Answering(lambda _data: b""))  # type: ignore[arg-type]
    with bare(tmp_path / "home", silent) as work, pytest.raises(RefusedError) as refused:
        commands.identify(work, Target("P0"), Silent())
    assert refused.value.reason is Reason.NOT_SET_UP
    assert "no lock answers at P0" in refused.value.message
    assert not (tmp_path / "home").exists()


def test_a_home_with_records_of_its_own_does_not_become_a_training_home(tmp_path: Path) -> None:
    field = make_field(tmp_path / "other")
    home = Home(tmp_path / "home")
    Ledger.open(home.ledger, Realm.PRODUCTION, create=True).close()
    with pytest.raises(RefusedError) as refused:
        set_up(home, field.lab.technician, datetime.now(UTC))
    assert refused.value.reason is Reason.LOCK_IDENTITY
    assert not home.is_set_up
    assert not home.trust.exists()


def test_damaged_records_stop_a_home_without_credential_too(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    Ledger.open(home.ledger, Realm.PRODUCTION, create=True).close()
    (home.ledger / "ledger.sqlite").write_bytes(b"no database" * 100)
    with bare(home.root) as work, pytest.raises(RecordsError) as stopped:
        commands.identify(work, Target("P0"), Silent())
    assert stopped.value.reason is Reason.LEDGER_DAMAGED
