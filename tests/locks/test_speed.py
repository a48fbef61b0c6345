from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest
from fieldkit import Field, make_field
from locksim import BoardTransport, Cable

from protocol.queries import Battery, SetBaud
from svcport.errors import Outcome
from svcport.locks import line, service_port
from svcport.locks.service_port import ServicePortLock
from svcport.operations.visit import Visit, visit
from svcport.operations.workplace import Target
from svcport.simulator.board import Board
from svcport.transport.port import FIRST_BAUD, LinkLostError

FAST = 3_000_000


class Uart:
    """A board, and the speed at which its answers leave: it switches, or resets, after them."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self.said_at = board.baud

    def look(self, now: float) -> None:
        self._board.receive(b"", now)  # its timers have run
        self.said_at = self._board.baud

    def __getattr__(self, name: str) -> Any:
        return getattr(self._board, name)


@dataclass
class SpeedCable(Cable):
    """A cable at whose ends the speeds may differ: then nothing but noise arrives.

    Attributes:
        fastest: what the host's adapter can be set to.
        carries: the highest speed at which bytes arrive whole.
        host_baud: at which the host stands.
        set: every speed that the host has set.
    """

    fastest: int = 12_000_000
    carries: int = 12_000_000
    host_baud: int = FIRST_BAUD
    set: list[int] = field(default_factory=list)

    def open(self) -> BoardTransport:
        super().open()
        self.host_baud = FIRST_BAUD
        return SpeedTransport(self)

    def carry(self, data: bytes) -> bytes:
        lock_baud = cast(Uart, self.board).said_at
        same = self.host_baud == lock_baud <= self.carries
        return super().carry(data if same else bytes(byte ^ 0xA5 for byte in data))


class SpeedTransport(BoardTransport):
    """The host's end of it."""

    def __init__(self, cable: SpeedCable) -> None:
        super().__init__(cable)
        self._own = cable

    def write(self, data: bytes) -> None:
        cast(Uart, self._own.board).look(self.clock.now())
        super().write(data)

    def set_baud(self, baud: int) -> None:
        super().set_baud(baud)
        if baud > self._own.fastest:
            raise LinkLostError(f"no {baud} baud")
        self._own.host_baud = baud
        self._own.set.append(baud)


@dataclass
class Technician:
    world: Field
    cable: SpeedCable


@pytest.fixture
def technician(tmp_path: Path) -> Technician:
    world = make_field(tmp_path)
    cable = SpeedCable("P0", cast(Board, Uart(world.board)))
    world.cables["P0"] = cable
    return Technician(world, cable)


def raised(stay: Visit) -> ServicePortLock:
    assert stay.lock.raise_speed(FAST) == FAST
    return stay.lock


def test_the_fastest_speed_is_proved_once_and_not_again(technician: Technician) -> None:
    with (
        technician.world.installation() as inst,
        visit(inst, Target("P0"), technician.world.progress) as stay,
    ):
        assert stay.lock.raise_speed(FAST) == stay.lock.raise_speed(FAST) == FAST
        assert technician.cable.board.baud == FAST
    assert technician.cable.set == [FAST]
    technician.cable.board.poll(technician.cable.clock.now())
    assert technician.cable.board.baud == FIRST_BAUD, "the lock was told that the session is over"


@pytest.mark.parametrize("limits", [{"fastest": 1_000_000}, {"carries": 2_000_000}])
def test_a_speed_that_fails_leaves_both_sides_at_one_that_works(
    technician: Technician, limits: dict[str, int]
) -> None:
    for name, value in limits.items():
        setattr(technician.cable, name, value)
    with (
        technician.world.installation() as inst,
        visit(inst, Target("P0"), technician.world.progress) as stay,
    ):
        agreed = stay.lock.raise_speed(FAST)
        assert agreed == (1_000_000 if "fastest" in limits else 2_000_000)
        assert technician.cable.host_baud == technician.cable.board.baud == agreed
        before = len(technician.cable.set)
        assert stay.lock.raise_speed(FAST) == agreed
        assert len(technician.cable.set) == before, "what was not proved is not tried again"


@pytest.mark.parametrize("pause_s", [0.0, 1.9, 2.1, 2.9, 3.0, 3.1, 10.0, 100.0])
def test_a_host_that_pauses_at_a_raised_speed_meets_the_lock_where_it_is(
    technician: Technician, pause_s: float
) -> None:
    clock = technician.cable.clock
    with (
        technician.world.installation() as inst,
        visit(inst, Target("P0"), technician.world.progress) as stay,
    ):
        lock = raised(stay)
        started = clock.now()
        clock.sleep(pause_s)
        lock.session.call(Battery(), "measure its battery")
        assert clock.now() - started < max(pause_s, 3.5) + 0.1
        assert lock.baud == technician.cable.board.baud == (FAST if pause_s < 2 else FIRST_BAUD)
        assert lock.raise_speed(FAST) == FAST


def test_a_lock_that_went_back_while_it_was_asked_is_found_there(technician: Technician) -> None:
    with (
        technician.world.installation() as inst,
        visit(inst, Target("P0"), technician.world.progress) as stay,
    ):
        lock = raised(stay)
        technician.cable.board.receive(b"noise\0" * 16, technician.cable.clock.now())
        assert technician.cable.board.baud == FIRST_BAUD
        lock.session.call(Battery(), "measure its battery")
        assert lock.baud == FIRST_BAUD


def test_a_killed_hosts_lock_answers_the_next_one_within_seconds(technician: Technician) -> None:
    clock = technician.cable.clock
    with technician.world.installation() as inst:
        lock = ServicePortLock(inst.anchors, inst.opener("P0"), inst.opener)
        lock.authenticate(inst.auth)
        lock.session.call(SetBaud(FAST), "change the speed")
        lock._link.set_baud(FAST)
        lock.session.call(Battery(), "measure its battery")
        technician.cable.is_open = False  # killed: nothing is said, the port is let go
    started = clock.now()
    assert technician.world.identify().outcome is Outcome.OK
    assert clock.now() - started < 4.5


def test_an_upload_survives_a_lock_that_went_back_to_its_first_speed(
    technician: Technician, monkeypatch: pytest.MonkeyPatch
) -> None:
    def noisy(*arguments: Any, **options: Any) -> line.UploadEnd:
        technician.cable.board.receive(b"noise\0" * 16, technician.cable.clock.now())
        assert technician.cable.board.baud == FIRST_BAUD
        return line.upload(*arguments, **options)

    monkeypatch.setattr(service_port, "upload", noisy)
    report = technician.world.restore()
    assert report.outcome is Outcome.OK
    # then a window of eight blocks goes again at 115200 baud
    assert 3.4 <= report.members()["transfer"]["seconds"] < 6 + 8 * 4096 / 11_520
    assert technician.cable.set == [FAST, FIRST_BAUD, FIRST_BAUD, FAST]
