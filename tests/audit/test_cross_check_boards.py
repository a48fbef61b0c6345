"""The same merging, of what real operations on simulated boards record while cables are pulled.

The long run, 200 operations: `SVCPORT_FULL=1 python -m pytest tests/audit`.
"""

from __future__ import annotations

import random
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest
from audit.publishing import FULL
from fieldkit import Field, copy_home, make_field

from svcport.audit.crosscheck.check import cross_check
from svcport.audit.crosscheck.holes import HoleCode
from svcport.audit.ledger import Ledger
from svcport.audit.proofs.publish import export_log
from svcport.authorisation.trust import Trust
from svcport.errors import SvcportError

OPERATIONS = 200 if FULL else 12

pytestmark = pytest.mark.timeout(1800 if FULL else 120)


def work(stations: list[Field], seed: int) -> Counter[str]:
    """Random operations of random stations on random locks, some of them cut short."""
    chance = random.Random(seed)
    ends: Counter[str] = Counter()
    for number in range(OPERATIONS):
        station = chance.choice(stations)
        port = chance.choice(sorted(station.cables))
        cable = station.cables[port]
        cable.cut_after = chance.choice([None, None, cable.carried + chance.randrange(1, 14_000)])
        # every station's clock is the same, whoever worked last
        for one in stations:
            one.now += timedelta(seconds=60)
        try:
            ends[str(operate(station, port, number).outcome)] += 1
        except SvcportError as error:
            ends[str(error.reason)] += 1
        cable.cut_after = None
    return ends


def operate(station: Field, port: str, number: int):  # noqa: ANN201 - whatever an operation reports
    if number % 3 == 1:
        return station.rollback(port=port)
    return station.restore(port=port, version="2.3.1" if number % 3 == 2 else None)


def test_nothing_is_missing_after_operations_on_boards_whose_cables_are_pulled(
    tmp_path: Path,
) -> None:
    first = make_field(tmp_path / "first", locks=3)
    homes = [first.home, *(copy_home(first.home, tmp_path / name) for name in ("second", "third"))]
    stations = [Field(first.lab, home, first.cables) for home in homes]
    ends = work(stations, seed=4)
    assert ends["ok"] > OPERATIONS // 4, ends
    assert ends["link-lost"], ends
    exports = []
    for number, station in enumerate(stations):
        with station.installation() as inst:
            ledger: Ledger = inst.ledger
            ledger.checkpoint(station.tick())
            export_log(ledger, tmp_path / "exports" / str(number))
            exports.append(tmp_path / "exports" / str(number))
    trust = Trust.load(first.home)
    found = cross_check(exports[::-1], manufacturer=trust.manufacturer, roots=trust.roots)
    assert found.holes == ()
    assert found.stations == 3
    assert found.locks == 3
    assert found.receipts >= ends["ok"]
    without = cross_check(exports[1:], manufacturer=trust.manufacturer, roots=trust.roots)
    assert {hole.code for hole in without.holes} <= {
        HoleCode.HIDDEN_STATION,
        HoleCode.DROPPED_RECEIPT,
    }
    assert without.holes
