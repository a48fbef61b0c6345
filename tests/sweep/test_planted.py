"""The sweep sees what it is there for: a fault planted in the lock breaks a promise."""

from __future__ import annotations

import random

import pytest
from sweep import cases
from sweep.planted import FAULTS, planted
from sweep.promises import Promise
from sweep.speed import share_compiled_statements


@pytest.mark.parametrize("name", sorted(FAULTS))
def test_a_planted_fault_is_found_by_a_few_dozen_cases(name: str) -> None:
    share_compiled_statements()
    fault = FAULTS[name]
    chosen = random.Random(name).sample(fault.cases, len(fault.cases))
    with planted(fault):
        found = next((ran for ran in map(cases.run, chosen) if ran.promise), None)
    assert found is not None, f"nothing found that {fault.what}"
    assert found.promise in fault.promises, found.what
    assert not cases.run(found.name).promise, "the case breaks without the fault too"


def test_a_fault_is_gone_after_it_was_planted() -> None:
    fault = FAULTS["write-on-trial"]
    before = [(owner, name, getattr(owner, name)) for owner, name, _new in fault.plant()]
    with planted(fault):
        pass
    assert before == [(owner, name, getattr(owner, name)) for owner, name, _old in before]


def test_a_fault_names_promises_that_exist() -> None:
    assert all(fault.promises <= set(Promise) for fault in FAULTS.values())
