from __future__ import annotations

import base64
import struct
from pathlib import Path

import click
import pytest
from audit.publishing import export
from audit.world import fill
from cryptography.exceptions import UnsupportedAlgorithm
from fuzz.harnesses import HARNESSES
from sealed_samples import CURVE
from simulator.trainer import factory

from protocol.sealed import Realm
from svcport.audit.checkpoint import Checkpoint
from svcport.audit.crosscheck.check import cross_check
from svcport.audit.crosscheck.holes import HoleCode
from svcport.audit.ledger import Ledger
from svcport.authorisation.holders import find_key
from svcport.authorisation.keys.keyfile import load_public_line
from svcport.cli.logs import Since
from svcport.errors import RefusedError
from svcport.simulator.factory import Factory


def _compressed_key() -> bytes:
    parts = (b"ecdsa-sha2-nistp256", b"nistp256", b"\x02" + CURVE.subject.raw[2:34])
    blob = b"".join(struct.pack(">I", len(part)) + part for part in parts)
    return parts[0] + b" " + base64.b64encode(blob)


def test_a_public_key_with_a_compressed_point_is_refused_and_no_bug(tmp_path: Path) -> None:
    path = tmp_path / "key.pub"
    path.write_bytes(_compressed_key())
    with pytest.raises(UnsupportedAlgorithm):
        load_public_line(_compressed_key())
    with pytest.raises(RefusedError):
        find_key(str(path))


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-01:00"])
def test_a_moment_beyond_the_years_that_there_are_is_refused(text: str) -> None:
    with pytest.raises(click.UsageError):
        Since().convert(text, None, None)


@pytest.mark.timeout(20)
def test_a_cross_check_ends_whatever_size_a_station_signs(tmp_path: Path) -> None:
    fill(tmp_path / "ledger")
    out = tmp_path / "out"
    export(tmp_path / "ledger", out)
    with Ledger.open(tmp_path / "ledger", Realm.TRAINING, create=False) as ledger:
        forged = Checkpoint(ledger.origin, 2**62, bytes(32)).sign(ledger.station)
    (out / "checkpoint").write_bytes(forged)
    found = cross_check([out])
    assert HoleCode.TRUNCATED_TAIL in {hole.code for hole in found.holes}
    assert len(found.holes) < 10


@pytest.mark.parametrize(
    "text", ["[" * 100_000, factory().to_json().replace("3000000", "Infinity")]
)
def test_a_labs_lock_whose_file_is_damaged_in_odd_ways_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="a factory record"):
        Factory.from_json(text)


def test_a_lock_that_never_ends_its_lists_is_left() -> None:
    for question in (1, 2):
        endless = [one for one in HARNESSES["hostile-lock"].inputs() if one[0] == question]
        assert not all(HARNESSES["hostile-lock"](one) for one in endless)


def test_each_find_is_kept_among_the_inputs() -> None:
    assert _compressed_key() in HARNESSES["public-key"].inputs()
