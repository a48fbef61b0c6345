from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from images import Header, MalformedImageError, Version
from images.header import HEADER_SIZE

U8, U16, U32 = st.integers(0, 0xFF), st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF)
VERSIONS = st.builds(Version, U8, U8, U16, U32)


@given(VERSIONS)
def test_a_version_survives_text_and_bytes(version: Version) -> None:
    assert Version.parse(str(version)) == version
    assert Version.from_bytes(bytes(version)) == version


def test_a_version_stands_in_the_header_little_endian() -> None:
    assert bytes(Version(1, 2, 0x0304, 0x05060708)) == bytes.fromhex("0102040308070605")


def test_a_build_number_of_zero_may_be_left_out_but_is_always_told() -> None:
    assert Version.parse("2.4.1") == Version.parse("2.4.1+0") == Version(2, 4, 1, 0)
    assert str(Version.parse("2.4.1")) == "2.4.1+0"


@pytest.mark.parametrize(
    "text",
    [
        *("", "1", "1.2", "1.2.3.4", "1.2.3+", "1.2.3-4", "v1.2.3", " 1.2.3", "1.2.3\n", "1.2.3 "),
        *(
            "01.2.3",
            "1.2.3+04",
            "-1.2.3",
            "+1.2.3",
            "1.2.x",
            "1_0.2.3",
            "\u0661.\u0662.\u0663",
            "1..3",
        ),
        *("256.0.0", "0.256.0", "0.0.65536", "0.0.0+4294967296", "9999999999999999999.0.0"),
    ],
)
def test_any_other_spelling_of_a_version_is_refused(text: str) -> None:
    with pytest.raises(MalformedImageError):
        Version.parse(text)


@given(st.text(max_size=12))
def test_any_text_is_a_version_or_malformed(text: str) -> None:
    try:
        version = Version.parse(text)
    except MalformedImageError:
        return
    assert str(version) in (text, f"{text}+0")


def test_versions_are_ordered_by_each_number_in_turn() -> None:
    texts = ["0.0.0+1", "0.0.1", "0.1.0", "0.1.0+9", "0.1.10", "0.9.0", "0.10.0", "1.0.0", "10.0.0"]
    versions = [Version.parse(text) for text in texts]
    shuffled = [*versions[5:], *versions[:5]]
    assert sorted(shuffled) == versions


@pytest.mark.parametrize("numbers", [(256, 0, 0), (0, -1, 0), (0, 0, 65536), (0, 0, 0, 1 << 32)])
def test_a_version_number_that_does_not_fit_is_refused(numbers: tuple[int, ...]) -> None:
    with pytest.raises(MalformedImageError):
        Version(*numbers)


@pytest.mark.parametrize("size", [0, 7, 9])
def test_version_bytes_of_another_length_are_refused(size: int) -> None:
    with pytest.raises(MalformedImageError, match=f"version has {size} bytes"):
        Version.from_bytes(bytes(size))


@given(
    st.builds(
        Header,
        load_addr=U32,
        header_size=st.integers(HEADER_SIZE, 0xFFFF),
        protected_size=U16,
        image_size=U32,
        flags=U32,
        version=VERSIONS,
        pad=U32,
    ),
    st.binary(max_size=4),
)
def test_a_header_builds_to_the_bytes_it_parses_from(header: Header, behind: bytes) -> None:
    assert Header.parse(header.build() + behind) == header
    assert len(header.build()) == HEADER_SIZE


def test_the_header_has_the_layout_of_mcuboot() -> None:
    header = Header(
        load_addr=0x04030201,
        header_size=0x0605,
        protected_size=0x0807,
        image_size=0x0C0B0A09,
        flags=0x100F0E0D,
        version=Version(0x11, 0x12, 0x1413, 0x18171615),
        pad=0x1C1B1A19,
    )
    assert header.build() == bytes.fromhex("3db8f396") + bytes(range(1, 0x1D))


@given(st.binary(max_size=40))
def test_any_bytes_are_a_header_that_rebuilds_them_or_malformed(data: bytes) -> None:
    try:
        header = Header.parse(data)
    except MalformedImageError:
        return
    assert header.build() == data[:HEADER_SIZE]


@pytest.mark.parametrize("field", ["load_addr", "header_size", "protected_size", "image_size"])
def test_a_header_with_a_number_that_does_not_fit_is_not_built(field: str) -> None:
    values = {"load_addr": 0, "header_size": 32, "protected_size": 0, "image_size": 1}
    with pytest.raises(MalformedImageError):
        Header(**(values | {field: 1 << 32}), flags=0, version=Version(1, 0, 0)).build()
