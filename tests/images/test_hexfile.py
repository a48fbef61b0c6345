from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from intelhex import IntelHex

from images import HexFile, MalformedImageError, firmware_bytes, is_hex, parse_hex
from images.hexfile import MAX_FILL


def record(kind: int, offset: int, data: bytes = b"") -> bytes:
    raw = bytes([len(data)]) + offset.to_bytes(2, "big") + bytes([kind]) + data
    return b":" + (raw + bytes([-sum(raw) % 256])).hex().upper().encode() + b"\n"


END = record(1, 0)
SAMPLE = record(4, 0, b"\x08\x01") + record(0, 0x10, b"ABCD") + record(0, 0x14, b"EF") + END


def written_by_intelhex(chunks: dict[int, bytes]) -> bytes:
    file = IntelHex()
    for address, data in chunks.items():
        file.puts(address, data)
    text = io.StringIO()
    file.write_hex_file(text)
    return text.getvalue().encode()


@given(
    st.integers(0, 0xFFFF0000),
    st.lists(
        st.tuples(st.integers(0, 300), st.binary(min_size=1, max_size=80)), min_size=1, max_size=6
    ),
)
def test_what_intelhex_writes_is_read_back(base: int, parts: list[tuple[int, bytes]]) -> None:
    chunks: dict[int, bytes] = {}
    expected = b""
    for gap, data in parts:
        expected += b"\xff" * (gap if expected else 0)
        chunks[base + len(expected)] = data
        expected += data
    assert parse_hex(written_by_intelhex(chunks)) == HexFile(base, expected)


def test_a_linear_base_is_added() -> None:
    assert parse_hex(SAMPLE) == HexFile(0x08010010, b"ABCDEF")


def test_a_segment_base_is_added() -> None:
    text = record(2, 0, b"\x12\x34") + record(0, 0x10, b"A") + END
    assert parse_hex(text) == HexFile(0x12350, b"A")


def test_start_addresses_are_read_over() -> None:
    text = record(3, 0, bytes(4)) + record(5, 0, bytes(4)) + record(0, 0, b"A") + END
    assert parse_hex(text) == HexFile(0, b"A")


def test_records_may_come_in_any_order_and_gaps_are_erased_flash() -> None:
    text = record(0, 8, b"B") + record(0, 4, b"A") + END
    assert parse_hex(text) == HexFile(4, b"A\xff\xff\xffB")


def test_lower_case_and_other_line_ends_are_read() -> None:
    expected = parse_hex(SAMPLE)
    assert parse_hex(SAMPLE.lower()) == expected
    assert parse_hex(SAMPLE.replace(b"\n", b"\r\n")) == expected
    assert parse_hex(SAMPLE.rstrip()) == expected
    assert parse_hex(SAMPLE + b"\n\n") == expected


A = record(0, 0, b"A")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "has no end record"),
        (A, "has no end record"),
        (END, "holds no data"),
        (A + END + A, "line 3 follows the end record"),
        (A + END + END, "line 3 follows the end record"),
        (A + A + END, "two values for address 0x00000000"),
        (record(0, 0, b"AB") + record(0, 1, b"B") + END, "two values for address 0x00000001"),
        (record(0, 0xFFFF, b"AB") + END, "line 1 runs over a 64 KiB boundary"),
        (record(6, 0) + END, "line 1 is of unknown type 6"),
        (record(1, 0, b"A"), "line 1 has 1 bytes, a END record has 0"),
        (record(2, 0, b"A") + END, "line 1 has 1 bytes, a SEGMENT record has 2"),
        (record(4, 0, b"ABC") + END, "line 1 has 3 bytes, a LINEAR record has 2"),
        (record(3, 0, b"A") + END, "a START_SEGMENT record has 4"),
        (record(5, 0, b"A") + END, "a START_LINEAR record has 4"),
        (b":0000000001\n" + END, "line 1 has checksum 0x01, must be 0x00"),
        (b":02000000AA54\n" + END, "line 1 has 6 bytes, must have 7 by its count"),
        (b":00000001\n", "line 1 is not a record"),
        (b"00000001FF\n", "line 1 is not a record"),
        (b":00000001F\n", "line 1 is not a record"),
        (b":00 0000 01FF\n", "line 1 is not a record"),
        (b":00000001FG\n", "line 1 is not a record"),
        (b" :00000001FF\n", "line 1 is not a record"),
        (b"# note\n" + A + END, "line 1 is not a record"),
        (b":" + b"00" * 261 + b"\n", "line 1 is not a record"),
        ("\uff1a00000001FF\n".encode(), "line 1 is not a record"),
    ],
)
def test_a_file_that_breaks_one_rule_is_refused(text: bytes, message: str) -> None:
    with pytest.raises(MalformedImageError, match=message):
        parse_hex(text)


def test_gaps_are_filled_up_to_a_limit_over_the_whole_file() -> None:
    def with_second_at(address: int) -> bytes:
        high, low = divmod(address, 0x10000)
        return A + record(4, 0, high.to_bytes(2, "big")) + record(0, low, b"B") + END

    assert len(parse_hex(with_second_at(MAX_FILL + 1)).data) == MAX_FILL + 2
    with pytest.raises(MalformedImageError, match="bytes of gaps"):
        parse_hex(with_second_at(MAX_FILL + 2))


def test_every_wrong_digit_is_found() -> None:
    accepted = []
    for place, digit in enumerate(SAMPLE):
        for instead in b"0123456789ABCDEF:\n g":
            text = SAMPLE[:place] + bytes([instead]) + SAMPLE[place + 1 :]
            try:
                parse_hex(text)
            except MalformedImageError:
                continue
            accepted.append((place, digit, instead))
    # The line end behind the last record is the one character that may be missing.
    same = [entry for entry in accepted if entry[1] == entry[2]]
    assert accepted == same or {entry[0] for entry in accepted if entry not in same} <= {
        len(SAMPLE) - 1
    }


@given(st.binary(max_size=60))
def test_any_bytes_are_hex_or_malformed(data: bytes) -> None:
    try:
        parsed = parse_hex(data)
    except MalformedImageError:
        return
    assert parsed.data


def test_only_what_starts_with_a_colon_is_taken_for_hex() -> None:
    assert is_hex(SAMPLE)
    assert firmware_bytes(SAMPLE) == b"ABCDEF"
    assert firmware_bytes(b"\x3d\xb8\xf3\x96") == b"\x3d\xb8\xf3\x96"
    assert firmware_bytes(b"") == b""
    with pytest.raises(MalformedImageError):
        firmware_bytes(b":not hex")
