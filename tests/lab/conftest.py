from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from lab.kit import NOW

from svcport.lab.init import init_lab


@pytest.fixture(scope="session")
def made_lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lab of two locks that nobody may change."""
    directory = tmp_path_factory.mktemp("lab") / "made"
    init_lab(directory, locks=2, seed="seed", now=NOW)
    return directory


@pytest.fixture
def lab(made_lab: Path, tmp_path: Path) -> Path:
    """A lab of two locks of the test's own."""
    return Path(shutil.copytree(made_lab, tmp_path / "lab"))
