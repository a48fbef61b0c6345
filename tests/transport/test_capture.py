from __future__ import annotations

import contextlib
import io
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fieldkit import Field, make_field
from hypothesis import given
from hypothesis import strategies as st
from locksim import Bench, VirtualClock

from svcport.errors import FailedError, Outcome, Reason, RefusedError
from svcport.operations import commands
from svcport.operations.installation import Installation
from svcport.operations.workplace import Target
from svcport.transport import capturewriter
from svcport.transport.capture import Recorder, Ring, without_secrets
from svcport.transport.capturefile import (
    BAUD,
    CUT,
    MAGIC,
    OVERHEAD,
    About,
    CaptureError,
    CaptureReader,
    Cut,
    Kind,
    Record,
)
from svcport.transport.capturewriter import CaptureFile
from svcport.transport.port import LinkLostError, Transport

ABOUT = About("0.1.0", "restore", "2026-11-22T23:30:00Z")


class Loop:
    """A port that gives back what it is told, until it is pulled."""

    def __init__(self, name: str, clock: VirtualClock) -> None:
        self.name = name
        self.clock = clock
        self.pulled = False
        self.baud = 115_200
        self._back = b""

    def write(self, data: bytes) -> None:
        self._check()
        self._back += data

    def read(self, timeout_s: float) -> bytes:
        self._check()
        if not self._back:
            self.clock.sleep(timeout_s)
        back, self._back = self._back, b""
        return back

    def set_baud(self, baud: int) -> None:
        self._check()
        self.baud = baud

    def close(self) -> None:
        self._back = b""

    def _check(self) -> None:
        if self.pulled:
            raise LinkLostError(f"{self.name}: pulled")


class Desk:
    """Opens loops; stands for `open_port`."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.last: Loop | None = None

    def __call__(self, name: str) -> Transport:
        if "missing" in name:
            raise FailedError(Reason.NO_LOCK, f"{name} cannot be opened")
        self.last = Loop(name, self.clock)
        return self.last


def records_in(data: bytes) -> list[Record]:
    return list(CaptureReader(io.BytesIO(data)))


def bytes_of(records: list[Record], kind: Kind) -> bytes:
    return b"".join(record.payload for record in records if record.kind == kind)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "visit.capture"


@pytest.fixture
def field(tmp_path: Path) -> Field:
    return make_field(tmp_path)


@contextlib.contextmanager
def recorded(field: Field, path: Path) -> Iterator[tuple[Recorder, Installation]]:
    file = CaptureFile(path, ABOUT)
    recorder = Recorder(Bench(*field.cables.values()), file, clock=field.cable.clock)
    with (
        contextlib.closing(file),
        Installation.open(field.home, secret=None, now=field.tick, opener=recorder) as opened,
    ):
        yield recorder, opened


def test_a_restore_is_recorded_byte_for_byte(field: Field, path: Path) -> None:
    with recorded(field, path) as (recorder, opened):
        report = commands.restore(opened, Target("P0"), field.progress)
        assert report.outcome is Outcome.OK
        in_memory = records_in(recorder.kept(ABOUT))
    found = records_in(path.read_bytes())
    assert bytes_of(found, Kind.SENT) == b"".join(field.cable.written)
    carried = sum(len(r.payload) for r in found if r.kind in (Kind.SENT, Kind.HEARD))
    assert carried == field.cable.carried
    assert found == in_memory
    speeds = [BAUD.unpack(record.payload)[0] for record in found if record.kind == Kind.BAUD]
    assert 3_000_000 in speeds
    assert [record.kind for record in found[:3]] == [Kind.ABOUT, Kind.PORT, Kind.OPENED]
    assert found[-1].kind == Kind.CLOSED
    assert About.parse(found[0].payload) == ABOUT


def test_times_are_those_of_the_clock_and_rise(field: Field, path: Path) -> None:
    start = field.cable.clock.now()
    with recorded(field, path) as (_recorder, opened):
        commands.identify(opened, Target("P0"), field.progress)
    times = [record.time_us for record in records_in(path.read_bytes())]
    assert times == sorted(times)
    assert times[0] == int(start * 1_000_000)
    assert times[-1] <= int(field.cable.clock.now() * 1_000_000)


def test_a_port_keeps_its_number_over_reopenings_and_failures_are_told(path: Path) -> None:
    desk, file = Desk(), CaptureFile(path, ABOUT)
    recorder = Recorder(desk, file, clock=desk.clock)
    for _time in range(2):
        port = recorder("socket://u:secret@host:1/x")
        port.write(b"hello")
        assert port.read(1.0) == b"hello"
        assert port.read(1.0) == b""
        port.set_baud(3_000_000)
        port.close()
        port.close()
    with pytest.raises(FailedError, match="missing"):
        recorder("socket://u:secret@missing")
    lost = recorder("B")
    assert desk.last is not None
    desk.last.pulled = True
    for act in (lambda: lost.write(b"x"), lambda: lost.read(0.0), lambda: lost.set_baud(1)):
        with pytest.raises(LinkLostError):
            act()
    file.close()
    data = path.read_bytes()
    assert b"secret" not in data
    once = [Kind.OPENED, Kind.SENT, Kind.HEARD, Kind.BAUD, Kind.CLOSED]
    kinds = {number: [] for number in range(3)}  # type: dict[int, list[int]]
    for record in records_in(data)[1:]:
        kinds[record.port].append(record.kind)
    assert kinds[0] == [Kind.PORT, *once, *once]
    assert kinds[1] == [Kind.PORT, Kind.NOT_OPENED]
    assert kinds[2] == [Kind.PORT, Kind.OPENED, Kind.SENT, Kind.LOST]
    assert (recorder.opened(), recorder.opened("B"), recorder.opened("C")) == (True, True, False)
    assert b"missing" in bytes_of(records_in(data), Kind.NOT_OPENED)
    assert {record.port for record in records_in(recorder.kept(ABOUT, "B"))} == {0, 2}


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("/dev/ttyUSB0", "/dev/ttyUSB0"),
        ("COM5", "COM5"),
        ("socket://10.0.0.1:7000", "socket://10.0.0.1:7000"),
        ("rfc2217://bob:pw@host:2217/a?b@c", "rfc2217://host:2217/a?b@c"),
    ],
)
def test_a_url_is_kept_without_user_and_password(name: str, shown: str) -> None:
    assert without_secrets(name) == shown


def test_the_file_is_its_owners_alone_also_where_an_older_one_was_not(path: Path) -> None:
    path.write_bytes(MAGIC + bytes(1000))
    path.chmod(0o644)
    CaptureFile(path, ABOUT).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_an_older_capture_goes_with_the_first_record_and_not_before(path: Path) -> None:
    old = MAGIC + Record(Kind.PORT, 0, 1, b"old" * 1000).build()
    path.write_bytes(old)
    CaptureFile(path, ABOUT).close()
    assert path.read_bytes() == old
    file = CaptureFile(path, ABOUT)
    file.add(Record(Kind.PORT, 0, 1, b"new"))
    file.close()
    assert [record.kind for record in records_in(path.read_bytes())] == [Kind.ABOUT, Kind.PORT]


def test_a_capture_of_nothing_is_a_capture(path: Path) -> None:
    CaptureFile(path, ABOUT).close()
    assert [record.kind for record in records_in(path.read_bytes())] == [Kind.ABOUT]


def test_what_is_no_capture_is_left_alone(tmp_path: Path, path: Path) -> None:
    path.write_bytes(b"firmware")
    with pytest.raises(RefusedError, match="left alone") as caught:
        CaptureFile(path, ABOUT)
    assert (caught.value.reason, path.read_bytes()) == (Reason.USAGE, b"firmware")
    with pytest.raises(RefusedError, match="a folder"):
        CaptureFile(tmp_path, ABOUT)
    with pytest.raises(FailedError, match="No such file") as failed:
        CaptureFile(tmp_path / "no" / "x", ABOUT)
    assert failed.value.reason is Reason.STORAGE
    with pytest.raises(FailedError):
        CaptureFile(Path("a\0b"), ABOUT)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no fifo")
def test_a_pipe_is_refused_without_waiting_for_its_reader(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for place in (fifo, Path("/dev/null")):
        with pytest.raises(RefusedError, match="no file"):
            CaptureFile(place, ABOUT)


@pytest.mark.parametrize("room", [0, 5, 60, 300, 5000, 9000])
def test_a_disk_that_fills_up_ends_the_capture_and_not_the_work(
    field: Field, path: Path, room: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, left = os.write, [room]

    def small_disk(descriptor: int, data: bytes) -> int:
        if not left[0]:
            raise OSError(28, "No space left on device")
        taken = write(descriptor, data[: left[0]])
        left[0] -= taken
        return taken

    monkeypatch.setattr(capturewriter.os, "write", small_disk)
    file = CaptureFile(path, ABOUT)
    recorder = Recorder(Bench(*field.cables.values()), file, clock=field.cable.clock)
    with Installation.open(field.home, secret=None, now=field.tick, opener=recorder) as opened:
        report = commands.restore(opened, Target("P0"), field.progress)
    file.close()
    assert report.outcome is Outcome.OK
    assert file.trouble == "No space left on device"
    data = path.read_bytes()
    assert len(data) <= room
    if data:
        reader = CaptureReader(io.BytesIO(data))
        assert list(reader)
        assert reader.torn == 0


def test_a_file_that_reaches_its_limit_says_so_and_stops(path: Path) -> None:
    file = CaptureFile(path, ABOUT, limit=10_000)
    for number in range(1000):
        file.add(Record(Kind.SENT, 0, number, bytes(100)))
    assert "10000 bytes" in file.trouble
    file.close()
    found = records_in(path.read_bytes())
    assert path.stat().st_size <= 10_000
    assert path.stat().st_size > 10_000 - 2 * (OVERHEAD + 100)
    assert found[-1].kind == Kind.CUT
    assert CUT.unpack(found[-1].payload) == (Cut.LIMIT, 0)


def test_memory_keeps_the_beginning_and_the_end_and_says_what_is_missing() -> None:
    ring = Ring(head=500, tail=2000)
    sent = [Record(Kind.SENT, 0, number, bytes([number]) * 100) for number in range(100)]
    for record in [Record(Kind.OPENED, 0, 0, b""), *sent]:
        ring.add(record)
    kept = ring.records()
    assert kept[:2] == [Record(Kind.OPENED, 0, 0, b""), sent[0]]
    assert kept[-1] == sent[-1]
    (cut,) = [record for record in kept if record.kind == Kind.CUT]
    carried = sum(len(record.payload) for record in kept if record.kind == Kind.SENT)
    assert CUT.unpack(cut.payload) == (Cut.RING, 100 * 100 - carried)
    assert sum(len(record.build()) for record in kept) <= 500 + 2000 + OVERHEAD + CUT.size


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path[:0] = {path!r}
from transport.test_capture import ABOUT, CaptureFile, Desk, Recorder
desk = Desk()
port = Recorder(desk, CaptureFile(Path(sys.argv[1]), ABOUT), clock=desk.clock)("A")
for number in range(200):
    port.write(bytes([number]) * 500)
    port.read(0.0)
port.read(0.5)
port.write(b"after the last wait")
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_a_killed_process_leaves_all_up_to_its_last_wait(path: Path) -> None:
    script = KILLED.format(path=[str(Path(__file__).parents[1])])
    ran = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True)
    assert ran.returncode == -signal.SIGKILL, ran.stderr
    sent = bytes_of(records_in(path.read_bytes()), Kind.SENT)
    assert sent == b"".join(bytes([number]) * 500 for number in range(200))


RECORDS = st.builds(
    Record, st.integers(0, 255), st.integers(0, 0xFFFF), st.integers(0, 2**64 - 1), st.binary()
)


@given(st.lists(RECORDS, max_size=5), st.data())
def test_a_capture_reads_back_and_its_every_beginning_does(
    records: list[Record], data: st.DataObject
) -> None:
    whole = MAGIC + b"".join(record.build() for record in records)
    assert records_in(whole) == records
    cut = data.draw(st.integers(len(MAGIC), len(whole)))
    reader = CaptureReader(io.BytesIO(whole[:cut]))
    found = list(reader)
    assert found == records[: len(found)]
    read = len(MAGIC) + sum(len(record.build()) for record in found)
    assert reader.torn == cut - read


@given(st.binary(max_size=300), st.booleans())
def test_any_bytes_give_records_or_the_named_error(data: bytes, ours: bool) -> None:
    whole = MAGIC + data if ours else data
    found: list[Record] = []
    with contextlib.suppress(CaptureError):
        found += CaptureReader(io.BytesIO(whole))
        assert whole.startswith(MAGIC)
    assert not found or whole.startswith(MAGIC + b"".join(record.build() for record in found))


@given(st.lists(RECORDS, min_size=1, max_size=3), st.data())
def test_damage_never_gives_a_record_that_was_not_written(
    records: list[Record], data: st.DataObject
) -> None:
    whole = bytearray(MAGIC + b"".join(record.build() for record in records))
    at = data.draw(st.integers(len(MAGIC), len(whole) - 1))
    whole[at] ^= 1 << data.draw(st.integers(0, 7))
    found = []
    with contextlib.suppress(CaptureError):
        found += CaptureReader(io.BytesIO(bytes(whole)))
    assert found == records[: len(found)]
    assert len(found) < len(records)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "the file is empty"),
        (b"svcport capture 2\n", "format '2'"),
        (b"\x89PNG\r\n", "begins with"),
        (MAGIC[:-1], "format '1'"),
        (MAGIC + b"\x04\0\0" + bytes(8) + b"\xff\xff\xff\xff", "damaged at byte 18"),
    ],
)
def test_what_is_wrong_with_a_file_is_named(data: bytes, words: str) -> None:
    with pytest.raises(CaptureError, match=words):
        records_in(data)


@pytest.mark.parametrize("payload", [b"", b"[1]", b"{", b'{"svcport": 3}', b"[" * 50_000])
def test_whoever_wrote_a_capture_may_say_nothing_useful(payload: bytes) -> None:
    assert About.parse(payload) == About("", "", "")
