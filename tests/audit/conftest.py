from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from audit.postgreskit import Postgres, missing
from audit.world import fill


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("filled")
    fill(folder)
    return folder


@pytest.fixture
def copy(filled: Path, tmp_path: Path) -> Path:
    return shutil.copytree(filled, tmp_path / "ledger")


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    why = missing()
    if why is not None:
        pytest.skip(why)
    server = Postgres()
    try:
        yield server
    finally:
        server.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger_folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The folder of a ledger yet to be made, in either kind of store."""
    folder = tmp_path / "ledger"
    if request.param == "postgresql":
        server = request.getfixturevalue("postgres")
        folder.mkdir()
        (folder / "database.url").write_text(server.new_database() + "\n")
    return folder
