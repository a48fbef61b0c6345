from __future__ import annotations

import random
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from images import SECTOR_SIZE, Unit, UnitEncoder, encode_units
from svcport.operations.encoding import Encoding, encoding_of

SECTORS = range(12)
IMAGE = random.Random(1).randbytes(len(SECTORS) * SECTOR_SIZE - 100)
BASE = IMAGE[:9000] + b"?" + IMAGE[9001:]


def test_a_bench_of_locks_has_every_unit_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made: Counter[int] = Counter()
    original = UnitEncoder.unit

    def counting(self: UnitEncoder, sector: int) -> Unit:
        made[sector] += 1
        return original(self, sector)

    monkeypatch.setattr(UnitEncoder, "unit", counting)
    image = b"bench" + IMAGE[5:]
    together = threading.Barrier(32)

    def lock(_number: int) -> list[Unit]:
        together.wait(20)
        # every lock has read its image anew, as workers of a bench do
        encoding = encoding_of(bytes(bytearray(image)), bytes(bytearray(BASE)))
        encoding.start()
        return [encoding.unit(sector) for sector in SECTORS]

    with ThreadPoolExecutor(32) as pool:
        runs = list(pool.map(lock, range(32)))
    monkeypatch.undo()
    assert made == dict.fromkeys(SECTORS, 1)
    assert all(run == list(encode_units(image, SECTORS, BASE)) for run in runs)


def test_the_first_unit_does_not_wait_for_the_last() -> None:
    encoding = Encoding(IMAGE, BASE)
    encoding.unit(0)
    assert list(encoding._units) == [0]


def test_a_unit_made_raw_is_not_kept_for_others() -> None:
    encoding = Encoding(IMAGE, BASE)
    raw = encoding.raw(3)
    assert raw.payload == IMAGE[3 * SECTOR_SIZE : 4 * SECTOR_SIZE]
    assert len(encoding.unit(3).payload) < 10


def test_a_sector_beyond_the_image_is_an_error_and_harms_nobody() -> None:
    encoding = Encoding(IMAGE, b"")
    with pytest.raises(ValueError, match="must be 0 to 11"):
        encoding.unit(12)
    assert encoding.unit(11).sector == 11
