from __future__ import annotations

import random
import shutil
import sys

import pytest
import undernoise
from benchlab import BenchLab, Wire
from undernoise import Restored, Sent, _beside, _endings, _ours, _zmodem

FAST = Wire(3_000_000, 0)
SMALL = 24 * 1024

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo terminals")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> BenchLab:
    payloads = [random.Random(seed).randbytes(SMALL) for seed in range(3)]
    return BenchLab(tmp_path_factory.mktemp("noise") / "lab", payloads, condition="dead")


@pytest.mark.timeout(120)
@pytest.mark.parametrize("rate", ["0", "1e-4"])
def test_a_restore_over_the_noisy_link_is_measured_at_the_speed_that_was_agreed_on(
    lab: BenchLab, rate: str
) -> None:
    done = _ours(lab, FAST, rate, 1)
    assert (done.ended, done.baud) == ("ok", FAST.baud)
    assert 0 < done.goodput < 1


@pytest.mark.timeout(120)
def test_a_restore_that_fails_counts_as_nothing_and_its_lock_is_restored_afterwards(
    lab: BenchLab,
) -> None:
    done = _ours(lab, FAST, "1e-2", 1)
    assert (done.goodput, done.baud) == (0.0, 0)
    assert done.ended in ("link-lost", "no-lock")


@pytest.mark.skipif(not shutil.which("sz"), reason="lrzsz is not installed")
def test_zmodem_is_measured_as_a_whole_and_from_its_first_data(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = random.Random(1).randbytes(SMALL)
    monkeypatch.setattr(undernoise.firmware, "incompressible", lambda _seed: data)
    sent = _zmodem(FAST, "0", 1)
    assert sent.ended == "ok"
    assert 0 < sent.whole < sent.data < 1


@pytest.mark.skipif(not shutil.which("sz"), reason="lrzsz is not installed")
def test_zmodem_that_gets_nowhere_says_so_and_counts_what_it_brought(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(undernoise, "DEADLINE_S", 1.0)
    sent = _zmodem(Wire(921_600, 1), "3e-3", 1)
    assert sent.ended.startswith("not ended in 1 s with")
    assert sent.whole == sent.data < 0.1


def test_ours_must_exceed_the_better_of_their_two_figures() -> None:
    ours = [Restored(0.8, "ok", 921_600, 5.0)]
    rows = list(_beside("1e-5", ours, [Sent(0.7, 0.8, "ok")]))
    assert [row.verdict for row in rows] == ["MISSED", "", ""]
    rows = list(_beside("1e-5", ours, [Sent(0.7, 0.79, "ok")]))
    assert rows[0].verdict == "ok"
    alone = list(_beside("0", ours, []))
    assert [row.verdict for row in alone] == ["ok", "skipped"]


def test_an_ending_that_is_not_allowed_misses_the_goal() -> None:
    ok, lost = Restored(0.5, "ok", 921_600, 15.0), Restored(0.0, "link-lost", 0, 20.0)
    assert _endings(undernoise.HARD, [ok, ok]).verdict == "ok"
    assert _endings(undernoise.HARD, [ok, lost]).verdict == "MISSED"
    assert _endings(undernoise.HOPELESS, [ok, lost]).verdict == "ok"
    assert _endings(undernoise.HOPELESS, [Restored(0.0, "storage", 0, 1.0)]).verdict == "MISSED"
