from __future__ import annotations

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from svcport.cli.repeats import spread

PARAMS = [
    click.Argument(["source"]),
    click.Option(["--hardware"], multiple=True),
    click.Option(["-o", "--output"]),
    click.Option(["--flag"], is_flag=True),
    click.Option(["-v"], count=True),
]


@pytest.mark.parametrize(
    ("given_words", "wanted"),
    [
        ("IN --hardware A B", "IN --hardware A --hardware B"),
        ("--hardware A B IN", "--hardware A --hardware B IN"),
        ("--hardware A IN -o OUT", "--hardware A -o OUT IN"),
        ("-o OUT IN --hardware A B --flag -v", "-o OUT IN --hardware A --hardware B --flag -v"),
        ("--hardware A --hardware B IN", "--hardware A --hardware B IN"),
        ("--hardware A -- IN", "--hardware A -- IN"),
        ("--hardware A B -- IN", "--hardware A --hardware B -- IN"),
        ("--hardware=A IN", "--hardware=A IN"),
        ("--hardware", "--hardware"),
        ("--unknown x", "--unknown x"),
        ("", ""),
    ],
)
def test_words_behind_a_repeatable_option_belong_to_it_but_for_the_arguments(
    given_words: str, wanted: str
) -> None:
    assert spread(given_words.split(), PARAMS) == wanted.split()


@given(st.lists(st.sampled_from(["IN", "-o", "--hardware", "A", "--flag", "-v", "--", "--x=1"])))
def test_no_word_is_lost_or_invented_but_the_options_name(words: list[str]) -> None:
    made = spread(words, PARAMS)
    without = [word for word in made if word != "--hardware"]
    assert sorted(without) == sorted(word for word in words if word != "--hardware")
