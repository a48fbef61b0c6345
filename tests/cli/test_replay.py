from __future__ import annotations

import contextlib
import io
import re
import stat
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from clirunner import Ran, svcport
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lab.kit import running

from svcport.operations.bundle import CAPTURE, capture_of
from svcport.transport.capturefile import (
    CUT,
    FILE_LIMIT,
    MAGIC,
    About,
    CaptureError,
    CaptureReader,
    Cut,
    Kind,
    Record,
)


@dataclass(frozen=True, slots=True)
class Visit:
    """A capture of one restore over TCP, and how that ended."""

    path: Path
    port: str
    ran: Ran

    def changed(self, to: Path, data: bytes) -> Path:
        to.write_bytes(data)
        return to


@pytest.fixture(scope="module")
def visit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visit]:
    folder = tmp_path_factory.mktemp("visit")
    assert svcport("lab", "init", folder / "L", "--seed", "replay").code == 0
    home = folder / "home"
    with running(folder / "L") as ports:
        port = next(iter(ports.values()))
        assert svcport("setup", "--from", folder / "L" / "technician", "--home", home).code == 0
        path = folder / "visit.capture"
        words = ("restore", "--port", port, "--capture", path, "--json", "--home", home)
        yield Visit(path, port, svcport(*words))


def test_a_restore_with_a_capture_is_a_restore(visit: Visit) -> None:
    assert visit.ran.code == 0
    assert "warnings" not in visit.ran.report
    assert "bundle" not in visit.ran.report
    assert stat.S_IMODE(visit.path.stat().st_mode) == 0o600


def test_a_capture_is_told_as_json(visit: Visit) -> None:
    ran = svcport("replay", visit.path, "--json")
    assert ran.code == 0
    report = ran.report
    assert report["schema"] == "svcport/replay/1"
    assert report["capture"]["command"] == "restore"
    records, summary = report["records"], report["summary"]
    assert [one["kind"] for one in records[:3]] == ["opened", "frame", "frame"]
    assert records[1]["versions"] == [1, 1]
    assert {one["from"] for one in records[1:8]} == {"host", "lock"}
    times = [one["time"] for one in records]
    assert times == sorted(times)
    (port,) = summary["ports"]
    assert port["port"] == visit.port
    assert port["bytes"]["host"] >= visit.ran.report["transfer"]["wire_bytes"]
    assert port["frames"]["host"]["block"] > 0
    assert port["frames"]["lock"]["ack"] > 0
    assert port["bauds"] == [115_200, 3_000_000]
    assert port["crc_errors"] == {"host": 0, "lock": 0}
    assert {key: summary[key] for key in ("torn_bytes", "damaged_at", "left_out")} == {
        "torn_bytes": 0,
        "damaged_at": None,
        "left_out": 0,
    }


def test_a_capture_is_told_to_people_without_a_secret(visit: Visit) -> None:
    ran = svcport("replay", visit.path)
    assert ran.code == 0
    assert re.search(r"^ +\d+\.\d{6} > hello 0: versions 1 to 1$", ran.out, re.MULTILINE)
    assert re.search(r"> control 0: sealed, \d+ bytes", ran.out)
    assert re.search(r"< ack \d+: number \d+, sealed, \d+ bytes", ran.out)
    assert "- 3000000 baud" in ran.out
    assert f"port       {visit.port}" in ran.out
    assert re.search(r"[0-9a-f]{16}", ran.out) is None


def test_only_one_port_is_shown_where_one_is_named(visit: Visit) -> None:
    both = svcport("replay", visit.path, "--port", visit.port, "--json").report
    assert len(both["records"]) > 10
    ran = svcport("replay", visit.path, "--port", "COM9", "--json")
    assert (ran.code, ran.report["reason"]) == (2, "usage")
    assert visit.port in ran.report["message"]


def test_a_torn_capture_is_shown_with_a_warning(visit: Visit, tmp_path: Path) -> None:
    whole = visit.path.read_bytes()
    ran = svcport("replay", visit.changed(tmp_path / "x", whole[:-3]), "--json")
    assert ran.code == 0
    assert ran.report["summary"]["torn_bytes"] == len(Record(Kind.CLOSED, 0, 0, b"").build()) - 3
    assert "was killed" in ran.report["warnings"][0]["hint"]
    assert "[!] the capture ends within a record" in svcport("replay", tmp_path / "x").out


def test_a_damaged_capture_is_shown_up_to_the_damage(visit: Visit, tmp_path: Path) -> None:
    whole = bytearray(visit.path.read_bytes())
    whole[len(whole) // 2] ^= 1
    ran = svcport("replay", visit.changed(tmp_path / "x", bytes(whole)), "--json")
    assert (ran.code, ran.report["outcome"], ran.report["reason"]) == (4, "failed", "storage")
    assert len(ran.report["records"]) > 5
    assert 0 < ran.report["summary"]["damaged_at"] <= len(whole) // 2
    assert "damaged at byte" in svcport("replay", tmp_path / "x").err


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (b"\x7fELF", "begins with"),
        (b"svcport capture 7\n" + bytes(100), "format '7'"),
        (b"PK\x03\x04" + bytes(100), "zip file cannot be read"),
    ],
)
def test_what_is_no_capture_is_refused_by_name(tmp_path: Path, data: bytes, words: str) -> None:
    (tmp_path / "x").write_bytes(data)
    ran = svcport("replay", tmp_path / "x", "--json")
    assert (ran.code, ran.report["reason"]) == (2, "usage")
    assert words in ran.report["message"]


def test_what_is_no_file_is_refused_too(tmp_path: Path) -> None:
    ran = svcport("replay", tmp_path, "--json")
    assert (ran.code, ran.report["reason"]) == (2, "usage")
    ran = svcport("replay", tmp_path / "missing", "--json")
    assert (ran.code, ran.report["reason"]) == (4, "storage")
    assert svcport("replay", "--json").code == 2


def test_a_file_longer_than_any_capture_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "x").open("wb") as file:
        file.write(MAGIC)
        file.truncate(FILE_LIMIT + 1)
    ran = svcport("replay", tmp_path / "x", "--json")
    assert (ran.code, ran.report["reason"]) == (2, "usage")
    assert str(FILE_LIMIT) in ran.report["message"]


def test_text_of_a_device_cannot_move_the_terminal(tmp_path: Path) -> None:
    sent = Record(
        Kind.HEARD, 0, 1, b"a long line \x1b]0;title\x07evil\x9b31m\xe2\x80\xae and its end\n"
    ).build()
    name = Record(Kind.PORT, 0, 0, b"P\x1b[2J").build()
    (tmp_path / "x").write_bytes(MAGIC + name + sent)
    ran = svcport("replay", tmp_path / "x")
    assert ran.code == 0
    assert "evil" in ran.out
    assert {char for char in ran.out if ord(char) < 32} == {"\n"}
    assert "\u202e" not in ran.out


def test_a_cut_is_told(tmp_path: Path) -> None:
    records = (
        Record(Kind.ABOUT, 0, 0, About("9.9", "restore", "").build()),
        Record(Kind.PORT, 0, 0, b"A"),
        Record(Kind.OPENED, 0, 0, b""),
        Record(Kind.CUT, 0, 5, CUT.pack(Cut.RING, 1234)),
    )
    (tmp_path / "x").write_bytes(MAGIC + b"".join(record.build() for record in records))
    ran = svcport("replay", tmp_path / "x")
    assert "1234 bytes are missing here (kept in memory)" in ran.out
    assert "capture of svcport 9.9, command restore" in ran.out


def packed(name: str, content: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return stream.getvalue()


def test_the_capture_in_a_zip_file_is_shown(visit: Visit, tmp_path: Path) -> None:
    whole = visit.path.read_bytes()
    plain = svcport("replay", visit.path, "--json").report["records"]
    ran = svcport("replay", visit.changed(tmp_path / "x", packed(CAPTURE, whole)), "--json")
    assert ran.report["records"] == plain
    ran = svcport("replay", visit.changed(tmp_path / "x", packed("other", whole)), "--json")
    assert (ran.code, ran.report["reason"]) == (2, "usage")
    assert "no bundle" in ran.report["message"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_damaged_zip_file_gives_a_capture_or_the_named_error(
    tmp_path: Path, data: st.DataObject
) -> None:
    whole = bytearray(packed(CAPTURE, MAGIC + Record(Kind.SENT, 0, 0, b"x" * 50).build()))
    for _change in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "x"
    path.write_bytes(bytes(whole[: data.draw(st.integers(0, len(whole)))]))
    with contextlib.suppress(CaptureError):
        list(CaptureReader(io.BytesIO(capture_of(path))))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(st.binary(max_size=200), st.sampled_from([b"", MAGIC, b"PK\x03\x04"]))
def test_no_file_gives_a_traceback(tmp_path: Path, data: bytes, start: bytes) -> None:
    path = tmp_path / "x"
    path.write_bytes(start + data)
    ran = svcport("replay", path, "--json")
    assert ran.code in (0, 2, 4)
    assert "bug" not in ran.report["message"]


def test_a_capture_that_cannot_be_written_stops_a_command_before_it_begins(
    visit: Visit, tmp_path: Path
) -> None:
    (tmp_path / "firmware").write_bytes(b"precious")
    words = ("identify", "--port", visit.port, "--home", visit.path.parent / "home", "--json")
    ran = svcport(*words, "--capture", tmp_path / "firmware")
    assert (ran.code, ran.report["reason"]) == (2, "usage")
    assert (tmp_path / "firmware").read_bytes() == b"precious"
    ran = svcport(*words, "--capture", tmp_path / "no" / "x")
    assert (ran.code, ran.report["reason"]) == (4, "storage")
    assert not (tmp_path / "no").exists()
