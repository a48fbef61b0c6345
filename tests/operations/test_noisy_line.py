from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest
from fieldkit import Field, LoudSilence, make_field
from locksim import Cable
from pacedcable import pace

from protocol.acts import Activate
from svcport.errors import Outcome, Reason, SvcportError
from svcport.locks.session import Session
from svcport.simulator.faults import Faults, Noise

PAYLOAD = 96 * 1024


@dataclass
class NoisyCable(Cable):
    """A cable on which bytes are damaged, lost and doubled, both ways."""

    noise: Noise = field(default_factory=lambda: Noise(Faults(), ""))

    def carry(self, data: bytes) -> bytes:
        return super().carry(self.noise.damage(data))


@pytest.mark.parametrize("spec", ["ber=1e-4", "drop=0.0005,dup=0.0005"])
def test_an_upload_gets_through_where_no_large_block_would(tmp_path: Path, spec: str) -> None:
    technician = make_field(tmp_path, "dead")
    noise = Noise(Faults.parse(spec), "noisy")
    board = technician.board
    technician.cables["P0"] = NoisyCable("P0", board, noise=noise)
    report = technician.restore()
    assert report.outcome is Outcome.OK
    assert report.members()["after"]["confirmed"] is True


def test_on_a_clean_line_blocks_grow_to_what_the_lock_takes(tmp_path: Path) -> None:
    technician = make_field(tmp_path, "dead")
    assert technician.restore().outcome is Outcome.OK
    largest = max(map(len, technician.cable.written))
    assert largest > 4096


def goodput(root: Path, spec: str, seed: str = "1", *, baud: int = 921_600, ms: int = 1) -> float:
    """Bytes of the unit stream a second over the line rate, where the line has no noise."""
    field = make_field(root, "dead", payload_bytes=PAYLOAD)
    pace(field, spec, seed, baud=baud, latency_s=ms / 1000)
    transfer = field.restore().members()["transfer"]
    assert transfer["baud"] == baud
    return float(transfer["image_bytes"] / (transfer["seconds"] - ms / 1000) / (baud / 10))


# ZMODEM's on the same line at 921600 baud: 0.82, 0.53 and 0.02 (docs/sweep.md)
@pytest.mark.parametrize(
    ("rate", "share"), [("1e-6", 0.93), ("1e-5", 0.85), ("1e-4", 0.66), ("3e-4", 0.4)]
)
@pytest.mark.parametrize(("baud", "ms"), [(115_200, 16), (921_600, 1), (3_000_000, 1)])
def test_noise_costs_an_upload_little_more_than_it_must(
    tmp_path: Path, rate: str, share: float, baud: int, ms: int
) -> None:
    clean = goodput(tmp_path / "clean", "", baud=baud, ms=ms)
    assert goodput(tmp_path / "noisy", f"ber={rate}", baud=baud, ms=ms) > share * clean


@pytest.mark.parametrize("spec", ["ber=3e-4", "drop=0.001,dup=0.001"])
@pytest.mark.parametrize("seed", range(6))
def test_a_restore_ends_well_where_one_long_frame_in_six_arrives(
    tmp_path: Path, spec: str, seed: int
) -> None:
    field = make_field(tmp_path, "bad-update")
    pace(field, spec, f"hard {seed}")
    assert field.restore().outcome is Outcome.OK


@pytest.mark.parametrize("seed", range(6))
def test_long_pages_arrive_there_too(tmp_path: Path, seed: int) -> None:
    field = make_field(tmp_path, "bad-update")
    cable = pace(field, "drop=0.001,dup=0.001", f"pages {seed}")
    assert field.logs().outcome is Outcome.OK
    assert cable.clock.now() < 1000 + 30


@pytest.mark.parametrize("seed", range(4))
def test_a_hopeless_line_ends_as_a_lost_link_in_time_and_harms_nothing(
    tmp_path: Path, seed: int
) -> None:
    field = make_field(tmp_path, "bad-update")
    cable = pace(field, "ber=1e-3", f"hopeless {seed}")
    started = cable.clock.now()
    with pytest.raises(SvcportError) as ended:
        field.restore()
    assert ended.value.reason in (Reason.LINK_LOST, Reason.NO_LOCK)
    assert cable.clock.now() - started < 120
    pace_quietly(field, cable)
    assert field.restore().outcome is Outcome.OK
    assert field.verify().outcome is Outcome.OK


def pace_quietly(field: Field, cable: object) -> None:
    """The same lock, whose noise has ended."""
    line = cable.line  # type: ignore[attr-defined]  # a PacedCable
    line._up_noise = line._down_noise = Noise(Faults(), "")


def test_blocks_shrink_while_the_line_is_noisy_and_grow_back(tmp_path: Path) -> None:
    field = make_field(tmp_path, "dead", payload_bytes=PAYLOAD)
    cable = pace(field, "ber=2e-4", "shrink")
    sizes: list[tuple[float, int]] = []
    real = cable.line.to_board

    def watched(data: bytes, now: float) -> int:
        taken = real(data, now)
        sizes.append((cable.clock.now(), taken))
        return taken

    cable.line.to_board = watched  # type: ignore[method-assign]
    started = len(sizes)

    class Quiet(LoudSilence):
        def advance(self, count: int) -> None:
            if count > PAYLOAD // 3:
                pace_quietly(field, cable)
                marks.append(len(sizes))

    marks: list[int] = []
    field.progress = Quiet()
    assert field.restore().outcome is Outcome.OK
    noisy = max(size for _at, size in sizes[marks[0] - 60 : marks[0]])
    later = max(size for _at, size in sizes[marks[0] :])
    assert started == 0
    assert noisy < 512 < later


def test_a_lost_answer_to_activate_is_found_out_where_the_lock_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    field = make_field(tmp_path)
    call = Session.call

    def losing(self: Session, request: object, doing: str) -> object:
        if isinstance(request, Activate):
            transport = self.link.transport
            read = transport.read

            def deaf(timeout_s: float) -> bytes:
                read(timeout_s)
                transport.read = read  # type: ignore[method-assign]
                return b""

            transport.read = deaf  # type: ignore[method-assign]
        return call(self, request, doing)  # type: ignore[arg-type]

    monkeypatch.setattr(Session, "call", losing)
    assert field.restore().outcome is Outcome.OK


def test_a_lock_that_was_reset_before_activate_is_said_to_run_what_it_runs(tmp_path: Path) -> None:
    from fieldkit import AtStep

    field = make_field(tmp_path)
    cut = lambda: field.board.power_cycle(field.cable.clock.now())  # noqa: E731
    field.progress = AtStep("starting the new image", cut)
    with pytest.raises(SvcportError) as ended:
        field.restore()
    assert getattr(ended.value, "boots", None) == "2.4.0+0"
    field.progress = LoudSilence()
    assert field.restore().outcome is Outcome.OK
