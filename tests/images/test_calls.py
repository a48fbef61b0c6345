from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unitkit import called, thumb

from images.calls import call_form

HALVES = st.sampled_from([0xF000, 0xF7FF, 0xF800, 0xFFFF, 0xF234, 0xF9AB, 0x0000, 0x4770])
CODE = st.lists(HALVES, max_size=60).map(lambda hs: b"".join(h.to_bytes(2, "little") for h in hs))


@pytest.mark.parametrize(
    ("code", "form"),
    [
        # bl .+4 at address 0: the distance 0 halfwords is the address 2 halfwords
        ("00f000f8", "00f002f8"),
        # bl .+0 at address 4, a distance of -2 halfwords: address 2 halfwords
        ("00bf00bffff7feff", "00bf00bf00f002f8"),
        # 22 bits, round and round
        ("fff7ffff", "00f001f8"),
        # nothing else is a call: halves alone, the wrong way round, at an odd address
        ("00f000f000f8", "00f000f003f8"),
        ("00f800f0", "00f800f0"),
        ("00f0", "00f0"),
        ("00f000", "00f000"),
        ("aa00f000f8", "aa00f000f8"),
    ],
)
def test_a_call_is_rewritten_by_where_it_goes(code: str, form: str) -> None:
    assert call_form(bytes.fromhex(code)).hex() == form


def test_a_call_across_the_end_of_a_sector_stays_as_it_is() -> None:
    code = bytes(4094) + bytes.fromhex("00f000f8") + bytes.fromhex("00f000f8")
    assert call_form(code)[:4098] == code[:4098]
    assert call_form(code)[4098:] != code[4098:]


@given(st.one_of(CODE, st.binary(max_size=200), st.integers(0, 9000).map(lambda n: thumb(1, n))))
def test_the_form_is_as_long_as_the_image_and_gives_it_back(image: bytes) -> None:
    form = call_form(image)
    assert form == called(image)
    assert called(form, -1) == image
