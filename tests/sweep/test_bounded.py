"""The part of the sweep that runs with every test run: all of the short flows, and a sample."""

from __future__ import annotations

import functools
import random

import pytest
from sweep import cases, power
from sweep.disk import is_available
from sweep.promises import MEANING, Promise
from sweep.runner import sample, table
from sweep.speed import share_compiled_statements

SEED = "bounded"
PARTS = 2
SHORT = ("rollback", "confirm", "confirm-raise", "confirm-rollback")
SAMPLED = {
    "power": 32,
    "power-pairs": 12,
    "kill": 36,
    "ctrl-c": 20,
    "sigterm": 10,
    "disk": 32,
    "order": 16,
    "wire": 28,
    "cable": 32,
}


@functools.cache
def names(family: str) -> tuple[str, ...]:
    return tuple(name for name in cases.names((family,)) if name.startswith(f"{family}/"))


def hold(chosen: list[str]) -> None:
    share_compiled_statements()
    found = [cases.run(name) for name in chosen]
    broken = [f"{ran.name}: {ran.what}" for ran in found if ran.promise]
    assert not broken, "\n".join(broken)


@pytest.mark.parametrize("flow", SHORT)
def test_power_may_fail_at_every_operation_of_a_short_flow(flow: str) -> None:
    chosen = [name for name in names("power") if name.split("/")[1] == flow]
    assert len(chosen) >= 3 * 4
    hold(chosen)


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("family", SAMPLED)
def test_nothing_that_is_promised_breaks_in_a_sample_of_the_sweep(family: str, part: int) -> None:
    chosen = sample(names(family), SAMPLED[family], SEED)
    hold(chosen[part::PARTS])


def test_power_may_fail_again_while_the_lock_recovers() -> None:
    dice = random.Random(SEED)
    firsts = power.first_cuts("restore")
    hows = ("before", "during", "after")
    hold(
        [
            f"power-again/restore/{dice.choice(hows)}/{dice.choice(firsts)}"
            f"/{dice.choice(hows)}/{dice.randint(1, 30)}"
            for _case in range(14)
        ]
    )


def test_a_case_has_one_name_and_one_family() -> None:
    for family in cases.FAMILIES:
        if family != "power-again" and (family != "disk" or is_available()):
            assert len(set(names(family))) == len(names(family)) > 0


def test_every_promise_has_its_meaning_and_the_table_its_row() -> None:
    assert set(MEANING) == set(Promise)
    ran = cases.Ran("power/restore/during/3", "brick", "brick: nothing runs", "failed", 0.2)
    lines = table([ran]).splitlines()
    assert lines[1].split() == ["power", "1", "1", "0", "0", "0", "0", "0"]
    assert lines[-1].split()[0] == "all"
