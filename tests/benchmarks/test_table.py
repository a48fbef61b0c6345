from __future__ import annotations

import random
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import manylocks
import ours
import peers
import pytest
import table
from benchlab import BenchLab, Done, Wire, upload_ratio
from ours import Job
from rows import Row, Want, as_markdown, as_text, put_between_marks

FAST = 12_000_000
SMALL = 16_384

pytestmark = pytest.mark.skipif(
    sys.platform == "win32", reason="the benchmarks ask the system for a command's processor time"
)


def payloads() -> list[bytes]:
    return [random.Random(seed).randbytes(SMALL) for seed in range(3)]


@dataclass(frozen=True, slots=True)
class SmallJob(Job):
    """Every part of one run at one speed; those that may have any lab share `given`."""

    given: BenchLab | None = None

    def lab(self, name: str, payloads: Sequence[bytes], condition: str = "bad-update") -> BenchLab:
        if self.given is not None and condition != "healthy":
            return self.given
        return BenchLab(self.root / name, payloads, condition=condition)


def job(root: Path, given: BenchLab | None = None) -> Job:
    return SmallJob(root, runs=1, bauds=(921_600,), latencies_ms=(0,), benches=(2,), given=given)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> BenchLab:
    return BenchLab(tmp_path_factory.mktemp("bench") / "lab", payloads(), condition="dead")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manylocks, "LOCK_PROCESSES", 1)
    for part in (ours, manylocks):
        monkeypatch.setattr(part, "noise", lambda count=3: payloads()[:count])
    monkeypatch.setattr(ours.firmware, "firmware", lambda: payloads()[2])
    monkeypatch.setattr(ours.firmware, "incompressible", lambda _seed: payloads()[0])


def done(image: int, wire_bytes: int, seconds: float) -> Done:
    transfer = {"image_bytes": image, "wire_bytes": wire_bytes, "seconds": seconds}
    return Done(2.0, 1.0, [{"transfer": transfer}])


def test_a_ratio_is_image_bytes_a_second_less_one_latency() -> None:
    wire = Wire(115_200, 16)
    assert upload_ratio(done(11_520, 9_000, 1.016), wire) == pytest.approx(1.0)
    assert upload_ratio(done(11_520, 9_000, 0.516), wire) == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("want", "values", "verdict"),
    [
        (Want.AT_LEAST, (0.9, 0.98, 0.99), "ok"),
        (Want.AT_LEAST, (0.9, 0.979, 0.99), "MISSED"),
        (Want.AT_MOST, (0.9, 0.98, 0.99), "ok"),
        (Want.AT_MOST, (0.9, 0.981, 0.99), "MISSED"),
        (Want.STATED, (1.0,), ""),
    ],
)
def test_the_median_is_what_is_judged(want: Want, values: tuple[float, ...], verdict: str) -> None:
    assert Row("group", "case", values, want=want, goal=0.98).verdict == verdict


def test_a_part_that_cannot_run_is_a_row_with_its_reason() -> None:
    row = Row("group", "case", skipped="no sz")
    assert row.verdict == "skipped"
    assert "no sz" in as_text(row)
    assert "no sz" in as_markdown([row], "where")["group"]


def test_a_new_measurement_replaces_its_own_section_and_nothing_else() -> None:
    text = "head\n<!-- table begins -->\n<!-- table ends -->\ntail\n"
    first = Row("first", "case", (1.0,))
    both = put_between_marks(text, as_markdown([first, Row("second", "case", (2.0,))], "here"))
    assert put_between_marks(both, as_markdown([first], "here")) == both
    again = put_between_marks(both, as_markdown([Row("first", "case", (3.0,))], "there"))
    assert again == both.replace("1.000", "3.000").replace("here", "there", 1)
    assert again.startswith("head\n")
    assert again.endswith("\ntail\n")
    with pytest.raises(ValueError, match="lacks"):
        put_between_marks("no marks", {})


def test_the_document_has_a_place_for_the_table() -> None:
    sections = as_markdown([Row("new", "case", (1.0,))], "here")
    assert "### new" in put_between_marks(table.DOCUMENT.read_text("utf-8"), sections)


def test_esptools_time_is_its_blocks_their_answers_and_their_latencies() -> None:
    data = bytes(range(1, 0xC0)) * 100  # nothing that SLIP escapes but what deflate makes
    wire = Wire(115_200, 0)
    noise = random.Random(1).randbytes(4 * peers.ESPTOOL_BLOCK)
    slow = peers.esptool_ratio(noise, Wire(115_200, 16))
    fast = peers.esptool_ratio(noise, wire)
    seconds = len(noise) / 11_520
    # five blocks of a stream that is a little longer than the data: four waits besides the last
    assert seconds / slow - seconds / fast == pytest.approx(4 * 0.016)
    assert 0.98 < fast < 1 < peers.esptool_ratio(data, wire)


@pytest.mark.timeout(180)  # many processes, on machines that may have much else to do
@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    "part", ["random", "same", "firmware", "flash", "unchanged", "command", "many"]
)
def test_a_part_runs_on_small_images(part: str, lab: BenchLab, tmp_path: Path) -> None:
    rows = list(table.PARTS[part](job(tmp_path, lab)))
    assert rows
    for row in rows:
        assert not row.skipped
        assert all(value > 0 for value in row.values)
        assert as_text(row)


@pytest.mark.usefixtures("small")
@pytest.mark.skipif(not shutil.which("sz"), reason="lrzsz is not installed")
def test_zmodem_brings_every_byte(tmp_path: Path) -> None:
    (row,) = peers.lrzsz(job(tmp_path))
    assert row.values[0] > 0


def test_every_run_starts_from_the_same_lock(lab: BenchLab) -> None:
    with lab.copy() as (folder, home):
        flash = next(folder.glob("locks/*/flash.bin"))
        fresh = flash.read_bytes()
        flash.write_bytes(b"used")
        shutil.rmtree(home)
    with lab.copy() as (folder, home):
        assert next(folder.glob("locks/*/flash.bin")).read_bytes() == fresh
        assert home.is_dir()
