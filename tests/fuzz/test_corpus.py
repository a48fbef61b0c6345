from __future__ import annotations

import pytest
from fuzz.harness import CORPUS, Harness
from fuzz.harnesses import HARNESSES

ALL = list(HARNESSES.values())


@pytest.mark.parametrize("harness", ALL, ids=list(HARNESSES))
def test_every_committed_input_gives_a_value_or_a_declared_error(harness: Harness) -> None:
    inputs = harness.inputs()
    taken = sum(harness(data) for data in inputs)
    assert taken, f"none of {len(inputs)} inputs is taken"


@pytest.mark.parametrize("harness", ALL, ids=list(HARNESSES))
def test_the_seeds_are_the_same_each_time_and_one_at_least_is_taken(harness: Harness) -> None:
    seeds = list(harness.seeds())
    assert seeds == list(harness.seeds())
    assert any(harness(seed) for seed in seeds)


def test_every_file_of_the_corpus_has_its_harness_and_all_of_it_is_small() -> None:
    assert {path.stem for path in CORPUS.iterdir()} == set(HARNESSES)
    assert sum(path.stat().st_size for path in CORPUS.iterdir()) < 300_000
