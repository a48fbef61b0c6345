from __future__ import annotations

import hashlib
import zlib

import pytest

from svcport.lab.payload import LEAST_SIZE, PAYLOAD_SIZE, identify, make_payload


@pytest.fixture(scope="module")
def payload() -> bytes:
    return make_payload("seed", "LX-200", "2.3.1")


def test_a_payload_is_as_big_as_real_firmware(payload: bytes) -> None:
    assert len(payload) == PAYLOAD_SIZE >= 200_000


@pytest.mark.parametrize("seed", ["1", "2", "three"])
def test_a_payload_deflates_as_real_firmware_does(seed: str) -> None:
    data = make_payload(seed, "LX-200", "2.3.1")
    assert len(zlib.compress(data, 9)) / len(data) == pytest.approx(0.71, abs=0.03)
    sectors = [data[at : at + 4096] for at in range(0, len(data), 4096)]
    alone = sum(len(zlib.compress(sector, 9)) for sector in sectors)
    assert alone / len(data) == pytest.approx(0.75, abs=0.04)


def test_a_payload_is_the_same_on_every_platform_and_python() -> None:
    digest = hashlib.sha256(make_payload("seed", "LX-200", "2.3.1")).hexdigest()
    assert digest == "8694e2393cadf7022123dd802db1bdb07a9ebb164fad0d292a9ab0a6a5e1f1ee"


def test_another_seed_gives_other_code(payload: bytes) -> None:
    other = make_payload("other", "LX-200", "2.3.1")
    same = sum(a == b for a, b in zip(payload, other, strict=True))
    assert same < len(payload) / 4


def test_a_payload_says_what_it_is_and_the_version_changes_nothing_else(payload: bytes) -> None:
    other = make_payload("seed", "LX-200", "2.4.0")
    assert b"LOCKFW:LX-200 2.4.0\0" in other
    assert sum(a != b for a, b in zip(payload, other, strict=True)) == 2
    assert identify(other, "LX-200", "2.3.1") == payload


def test_firmware_without_an_identity_text_stays_as_it_is() -> None:
    assert identify(b"\1\2\3", "LX-200", "2.3.1") == b"\1\2\3"


def test_the_vector_table_points_into_ram_and_at_thumb_code(payload: bytes) -> None:
    stack, *entries = (int.from_bytes(payload[at : at + 4], "little") for at in range(0, 256, 4))
    assert 0x2000_0000 < stack <= 0x2004_0000
    assert all(entry & 1 and entry < 0x10200 + len(payload) for entry in entries)


@pytest.mark.parametrize("size", [0, LEAST_SIZE - 4, LEAST_SIZE + 1])
def test_a_size_that_cannot_be_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match=str(size)):
        make_payload("seed", "LX-200", "2.3.1", size=size)
