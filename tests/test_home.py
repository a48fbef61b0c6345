from __future__ import annotations

from pathlib import Path

import pytest

from svcport.errors import Reason, RecordsError
from svcport.home import READ_LIMIT, Home, read_file


def test_a_file_that_has_become_endless_is_not_read_to_the_end(tmp_path: Path) -> None:
    path = tmp_path / "station.pem"
    with path.open("wb") as file:
        file.truncate(1 << 34)
    assert len(read_file(path)) == READ_LIMIT


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecordsError, match="missing") as caught:
        read_file(tmp_path / "missing")
    assert caught.value.reason is Reason.STORAGE


def test_a_credential_folder_that_may_not_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(_path: Path, **_options: bool) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "is_file", denied)
    with pytest.raises(RecordsError, match="Permission denied") as caught:
        _ = Home(tmp_path).is_set_up
    assert caught.value.reason is Reason.STORAGE
