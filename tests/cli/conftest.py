from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from issuerkit import Vendor


@pytest.fixture(scope="module")
def founded(tmp_path_factory: pytest.TempPathFactory) -> Vendor:
    """Made once, copied by each test."""
    vendor = Vendor(tmp_path_factory.mktemp("founded"))
    assert vendor.init().code == 0
    vendor.person()
    limited = ("--ops", "info,logs,update,rollback", "--ticket-class", "1", "--days", "5")
    scope = ("--serial-range", "SL2-000100:SL2-000199", "--model", "LX-200")
    for name, extra in (("narrow", (*limited, *scope)), ("plain", ("--ticket-class", "0"))):
        made = vendor.issuer(
            "credential", "--role", "issuer", "--new-key", *extra, "-o", vendor.root / name
        )
        assert made.code == 0, made.out
    return vendor


@pytest.fixture
def vendor(founded: Vendor, tmp_path: Path) -> Vendor:
    shutil.copytree(founded.root, tmp_path / "all")
    return Vendor(tmp_path / "all")
