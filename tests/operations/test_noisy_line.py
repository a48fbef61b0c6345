from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest
from fieldkit import make_field
from locksim import Cable

from svcport.errors import Outcome
from svcport.simulator.faults import Faults, Noise


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
