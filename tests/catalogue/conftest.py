from __future__ import annotations

from pathlib import Path

import pytest
from catalogue.vendor_kit import NOW, Vendor

from svcport.catalogue.client import Catalogue


@pytest.fixture
def vendor(tmp_path: Path) -> Vendor:
    return Vendor(tmp_path / "mirror").stock()


@pytest.fixture
def home(tmp_path: Path, vendor: Vendor) -> Path:
    folder = tmp_path / "home"
    Catalogue.refresh(folder, vendor.folder, now=NOW, root=vendor.publisher.root)
    return folder
