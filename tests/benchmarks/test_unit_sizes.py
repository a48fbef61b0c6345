from __future__ import annotations

import pytest
import unit_sizes
from unitkit import thumb

CODE = thumb(5, 40_000)
ALONE = unit_sizes.Case("alone", unit_sizes.shipped(CODE, 1))
AGAINST = unit_sizes.Case(
    "against", unit_sizes.shipped(CODE[:9000] + b"!!" + CODE[9002:], 1), unit_sizes.shipped(CODE, 0)
)


def test_every_encoding_has_a_cell_for_each_case() -> None:
    for encoding in unit_sizes.encodings():
        cells = unit_sizes.row(encoding, [ALONE, AGAINST])
        assert [cell == "-" for cell in cells[1:]] == [not encoding.alone, not encoding.against]


def test_ours_is_never_more_than_plain_sectors_and_little_against_a_base() -> None:
    for case in (ALONE, AGAINST):
        plain = unit_sizes.plain_sectors(case.image, case.base)
        assert unit_sizes.units(case.image, case.base) <= plain
    assert unit_sizes.units(AGAINST.image, AGAINST.base) < 1000


@pytest.mark.parametrize("markdown", [False, True])
def test_the_table_is_printed(capsys: pytest.CaptureFixture[str], markdown: bool) -> None:
    unit_sizes.show([["bytes", "x"], ["ours", "1"]], markdown=markdown)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == (["|", "bytes", "|", "x", "|"] if markdown else ["bytes", "x"])
    assert len(lines) == 2 + markdown
