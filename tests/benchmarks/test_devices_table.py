from __future__ import annotations

import itertools
import os
import socket
import sys
import threading
from types import SimpleNamespace

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="its devices run on Linux only")
if sys.platform != "win32":
    import devices
    from devices import Compared, Upload, as_markdown
    from rows import put_between_marks
    from tcpterminal import tcp_terminal


def compared(ours: list[float], theirs: list[float], runs: int = 3) -> Compared:
    first, second = ([Upload(one, 100) for one in seconds] for seconds in (ours, theirs))
    return Compared("board", runs, "console", None, 99, first, second)


def test_the_ratio_is_of_medians_and_a_hung_run_is_in_none() -> None:
    row = compared([1.0, 2.0, 9.0], [3.0, 5.0])
    assert row.times_as_fast == 2
    assert not row.missed
    assert row.cells[-1] == "1.00 2.00 9.00; 3.00 5.00 (1 of 3 hung)"


@pytest.mark.parametrize(
    ("ours", "theirs", "missed"),
    [
        ([2.0, 2.0, 2.0], [1.98, 1.98, 1.98], True),
        ([2.0, 2.0, 2.0], [1.995, 1.995, 1.995], False),
        ([2.0, 2.0, 2.0], [], False),
        ([2.0, 2.0], [9.0, 9.0, 9.0], True),
        ([], [], True),
    ],
)
def test_slower_than_smpclient_or_broken_off_is_missed(
    ours: list[float], theirs: list[float], missed: bool
) -> None:
    assert compared(ours, theirs).missed is missed


def test_what_never_ended_is_said_and_not_divided() -> None:
    row = compared([1.0, 1.0, 1.0], [])
    assert row.times_as_fast is None
    assert "none ended" in row.cells
    assert row.cells[-1].endswith("; (3 of 3 hung)")


def test_a_device_that_is_not_there_is_a_row_with_its_reason() -> None:
    row = Compared("board", 3, skipped="no qemu")
    assert not row.missed
    assert len(row.cells) == len(devices.HEADS)
    assert "no qemu" in as_markdown([row], "here")[devices.SECTION]


def test_the_document_has_a_place_for_the_table() -> None:
    text = devices.DOCUMENT.read_text("utf-8")
    assert "| board |" in put_between_marks(text, as_markdown([compared([1], [1])], "here"))


def test_a_terminal_reckons_an_upload_from_its_first_long_message(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # one more each time that it is asked: as a message begins, and at its answer
    ticking = SimpleNamespace(perf_counter=itertools.count(1.0).__next__)
    monkeypatch.setattr("tcpterminal.time", ticking)
    sizes = (20, 150, 60)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                for size in sizes:
                    connection.recv(size, socket.MSG_WAITALL)
                    connection.sendall(b"ok")

        device = threading.Thread(target=answer)
        device.start()
        with tcp_terminal(f"socket://127.0.0.1:{server.getsockname()[1]}") as terminal:
            program = os.open(terminal.path, os.O_RDWR | os.O_NOCTTY)
            assert terminal.seconds == 0
            for size in sizes:
                os.write(program, bytes(size))
                assert os.read(program, 100) == b"ok"
            os.close(program)
            device.join()
            terminal.ended.wait()  # the device has hung up, which is no answer
    assert terminal.wire_bytes == 210
    assert terminal.seconds == 6.0 - 3.0
