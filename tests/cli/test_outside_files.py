from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import pytest

from svcport.cli.files import write_output
from svcport.errors import FailedError, Reason


@pytest.mark.skipif(sys.platform == "win32", reason="no named pipes in the file system")
def test_what_is_no_file_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    reader.start()
    write_output(pipe, b"report")
    reader.join(10)
    assert got == [b"report"]
    assert pipe.is_fifo()


def test_a_folder_in_the_place_of_a_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FailedError) as caught:
        write_output(tmp_path, b"report")
    assert caught.value.reason is Reason.STORAGE
