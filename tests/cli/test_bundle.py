from __future__ import annotations

import json
import shutil
import stat
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from clirunner import Ran, svcport
from fieldkit import make_cable
from lab.kit import FIRST, SECOND
from locksim import Bench, Cable

from svcport.cli.exits import Exit
from svcport.errors import (
    FailedError,
    Outcome,
    Reason,
    RecordsError,
    RefusedError,
    SvcportError,
    UnfinishedError,
    UnknownOutcomeError,
)
from svcport.home import Home
from svcport.lab.folder import LabFolder
from svcport.operations import commands
from svcport.operations.bundle import KEPT
from svcport.operations.report import Report

MEMBERS = ["README.txt", "report.json", "versions.json", "host.json", "journal.json"]


@dataclass
class Depot:
    """A home that is set up, and two locks on virtual cables that the command line opens."""

    folder: Path
    cables: dict[str, Cable]

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def bundles(self) -> list[Path]:
        place = self.home / "bundles"
        return sorted(place.iterdir()) if place.exists() else []

    def __call__(self, *words: str | Path) -> Ran:
        return svcport(*words, "--home", self.home)

    def held(self, path: Path | None = None) -> dict[str, bytes]:
        with zipfile.ZipFile(path or self.bundles[-1]) as archive:
            return {name: archive.read(name) for name in archive.namelist()}

    def read(self, name: str) -> Any:
        return json.loads(self.held()[name])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    assert svcport("lab", "init", folder / "L", "--locks", "2", "--seed", "bundle").code == 0
    home = folder / "home"
    assert svcport("setup", "--from", folder / "L" / "technician", "--home", home).code == 0
    return folder


@pytest.fixture
def depot(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Depot:
    shutil.copytree(made / "home", tmp_path / "home")
    lab = LabFolder(made / "L")
    cables = {
        name: make_cable(lab, serial, name)
        for name, serial in zip("AB", (FIRST, SECOND), strict=True)
    }
    monkeypatch.setattr("svcport.transport.port.open_port", Bench(*cables.values()))
    return Depot(tmp_path, cables)


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException | Report], None]:
    """Have `identify` open its port, say a word there, and end so."""

    def to_end(end: BaseException | Report) -> None:
        def identify(work: Any, target: Any, progress: Any) -> Report:
            port = work.opener(target.port)
            port.write(b"\0")
            port.close()
            if isinstance(end, Report):
                return end
            raise end

        monkeypatch.setattr(commands, "identify", identify)

    return to_end


def pulled(depot: Depot, *words: str | Path) -> Ran:
    """A restore whose cable is pulled for good amid the upload."""
    cable = depot.cables["A"]
    cable.pull_in(6500)
    opened = cable.open

    def once() -> Any:
        if cable.cut_after is None:
            raise FailedError(Reason.NO_LOCK, "A cannot be opened: it is gone")
        return opened()

    cable.open = once  # type: ignore[method-assign]
    return depot("restore", "--port", "A", *words)


def test_a_restore_that_lost_its_cable_leaves_a_bundle(depot: Depot) -> None:
    ran = pulled(depot, "--json")
    assert ran.code in (Exit.UNFINISHED, Exit.UNKNOWN)
    report = ran.report
    (path,) = depot.bundles
    assert report["bundle"] == str(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert FIRST in path.name
    assert "restore" in path.name
    held = depot.held()
    assert [*held] == [*MEMBERS, "traffic.capture"]
    kept = depot.read("report.json")
    assert {key: kept[key] for key in ("outcome", "reason")} == {
        key: report[key] for key in ("outcome", "reason")
    }
    versions = depot.read("versions.json")
    assert versions["packages"]["cryptography"]
    assert depot.read("host.json")["system"]
    journal = depot.read("journal.json")
    assert [entry["kind"] for entry in journal["entries"]] == ["intent", "note"]
    assert journal["entries"][0]["op"] in ("update", "restore")
    shown = svcport("replay", path, "--json")
    assert shown.code == 0
    (port,) = shown.report["summary"]["ports"]
    assert (port["port"], port["lost"]) == ("A", 1)
    assert port["not_opened"] > 0
    assert port["frames"]["host"]["block"] > 0


def test_people_are_told_where_the_bundle_is(depot: Depot) -> None:
    ran = pulled(depot)
    assert f"bundle     {depot.bundles[0]} (" in ran.out


def test_a_bundle_holds_no_secret_and_no_name_of_the_user(
    depot: Depot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(depot.folder))
    pulled(depot)
    everything = b"\n".join(depot.held().values())
    files = [path for path in depot.home.rglob("*") if path.is_file()]
    # what the ledger says of the act, the report says too; digests of images are no secret
    read = {
        path.name: path.read_bytes()
        for path in files
        if path.suffix != ".zip" and "sqlite" not in path.name and "catalogue" not in path.parts
    }
    assert len(read) > 10
    for name, data in read.items():
        for start in range(0, max(1, len(data) - 32), 32):
            piece = data[start : start + 32]
            assert len(piece) < 32 or piece not in everything, name
    assert str(depot.folder).encode() not in everything
    assert b"Training technician" not in everything


def test_paths_and_users_in_messages_are_blanked(
    depot: Depot, ends: Callable[[BaseException], None]
) -> None:
    told = f"{depot.home}/ledger: /home/bob/fw.bin C:\\Users\\eve\\fw.bin /Users/al/x failed"
    ends(FailedError(Reason.STORAGE, told))
    assert depot("identify", "--port", "A", "--json").report["message"] == told
    message = depot.read("report.json")["message"]
    first, *others = message.split()
    assert first == "<svcport-home>/ledger:"
    assert others == [
        "/home/<user>/fw.bin",
        "C:\\Users\\<user>\\fw.bin",
        "/Users/<user>/x",
        "failed",
    ]


FAILURES = [
    FailedError(Reason.LINK_LOST, "gone"),
    UnfinishedError(Reason.LINK_LOST, "gone", boots="1.0.0"),
    UnknownOutcomeError(Reason.LINK_LOST, "gone"),
    RecordsError(Reason.LEDGER_DAMAGED, "damaged"),
    Report(Outcome.FAILED, "not measurable", Reason.NOT_MEASURABLE),
    ZeroDivisionError("a fault of ours"),
]


@pytest.mark.parametrize("end", FAILURES, ids=lambda end: type(end).__name__)
def test_a_bundle_changes_nothing_of_how_a_failure_ends(
    depot: Depot, ends: Callable[[BaseException | Report], None], end: BaseException | Report
) -> None:
    ends(end)
    without = depot("identify", "--port", "A", "--json", "--no-bundle")
    assert not depot.bundles
    with_one = depot("identify", "--port", "A", "--json")
    assert without.code == with_one.code
    assert with_one.code >= Exit.FAILED
    assert {**without.report, "bundle": str(depot.bundles[0])} == with_one.report
    assert ("traceback.txt" in depot.held()) == isinstance(end, ZeroDivisionError)


NO_FAILURES = [
    RefusedError(Reason.WRONG_LOCK, "another lock"),
    Report(Outcome.DIFFERS, "no", Reason.IMAGE_HASH),
    Report(Outcome.OK, "yes"),
    Report(Outcome.NOTHING_TO_DO, "done"),
    KeyboardInterrupt(),
]


@pytest.mark.parametrize("end", NO_FAILURES, ids=lambda end: type(end).__name__)
def test_what_is_no_failure_leaves_none(
    depot: Depot, ends: Callable[[BaseException | Report], None], end: BaseException | Report
) -> None:
    ends(end)
    assert "bundle" not in depot("identify", "--port", "A", "--json").report
    assert not (depot.home / "bundles").exists()


def test_a_port_that_was_never_open_leaves_none(depot: Depot) -> None:
    ran = depot("identify", "--port", "nowhere", "--json")
    assert (ran.code, ran.report["reason"]) == (4, "no-lock")
    assert "bundle" not in ran.report
    assert not depot.bundles


@pytest.mark.parametrize(
    "words", [("identify", "--port", "nowhere"), ("identify", "--port"), ("rollback", "--port", "")]
)
def test_a_home_that_does_not_exist_is_not_made_for_one(
    words: tuple[str, ...], tmp_path: Path
) -> None:
    assert svcport(*words, "--home", tmp_path / "no", "--json").code >= 2
    assert not (tmp_path / "no" / "bundles").exists()


def test_a_disk_that_takes_no_bundle_is_a_warning(
    depot: Depot, ends: Callable[[BaseException], None]
) -> None:
    ends(FailedError(Reason.LINK_LOST, "gone"))
    (depot.home / "bundles").write_bytes(b"in the way")
    ran = depot("identify", "--port", "A", "--json")
    assert (ran.code, ran.report["reason"]) == (4, "link-lost")
    (warning,) = ran.report["warnings"]
    assert warning["reason"] == "storage"
    assert "no failure bundle" in warning["message"]
    assert "[!] no failure bundle" in depot("identify", "--port", "A").out


def test_a_fault_while_a_bundle_is_made_is_a_warning(
    depot: Depot, ends: Callable[[BaseException], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise ZeroDivisionError

    ends(UnknownOutcomeError(Reason.LINK_LOST, "gone"))
    monkeypatch.setattr("svcport.operations.bundle.found_ports", broken)
    ran = depot("identify", "--port", "A", "--json")
    assert (ran.code, ran.report["reason"]) == (6, "link-lost")
    assert "ZeroDivisionError" in ran.report["warnings"][0]["message"]


def test_the_oldest_bundles_go_and_nothing_else(
    depot: Depot, ends: Callable[[BaseException], None]
) -> None:
    place = depot.home / "bundles"
    place.mkdir()
    (place / "mine.zip").write_bytes(b"")
    for number in range(KEPT + 5):
        (place / f"20200101T0000{number:02}.000Z-restore-A-0000.zip").write_bytes(b"")
    ends(FailedError(Reason.LINK_LOST, "gone"))
    depot("identify", "--port", "A")
    names = [path.name for path in depot.bundles]
    assert "mine.zip" in names
    assert len(names) == KEPT + 1
    assert names[0] == "20200101T000006.000Z-restore-A-0000.zip"


def test_each_port_has_a_bundle_of_its_own_with_its_own_traffic(
    depot: Depot, ends: Callable[[BaseException], None]
) -> None:
    ends(FailedError(Reason.LINK_LOST, "gone"))
    reports = depot("identify", "--port", "A", "--port", "B", "--json").reports
    assert {one["port"] for one in reports} == {"A", "B"}
    for one in reports:
        shown = svcport("replay", one["bundle"], "--json").report
        assert [port["port"] for port in shown["summary"]["ports"]] == [one["port"]]
        assert json.loads(depot.held(Path(one["bundle"]))["report.json"])["port"] == one["port"]
    ran = depot("identify", "--port", "A", "--port", "B")
    assert "bundle     A: " in ran.out
    assert "bundle     B: " in ran.out


def test_an_adapter_without_a_lock_leaves_none_where_all_are_tried(
    depot: Depot, ends: Callable[[BaseException], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("svcport.cli.bench._adapters", lambda _wait_s: ("A", "B"))
    ends(FailedError(Reason.NO_LOCK, "silence"))
    assert depot("identify", "--all", "--json").code == 4
    assert not depot.bundles
    assert "bundle" in depot("identify", "--port", "A", "--json").report


def test_several_ports_share_one_capture(depot: Depot) -> None:
    place = depot.folder / "bench.capture"
    reports = depot("identify", "--port", "A", "--port", "B", "--capture", place, "--json").reports
    assert [one["outcome"] for one in reports] == ["ok", "ok"]
    ports = svcport("replay", place, "--json").report["summary"]["ports"]
    assert {port["port"] for port in ports} == {"A", "B"}
    assert all(port["frames"]["lock"]["hello-reply"] == 1 for port in ports)
    text = svcport("replay", place).out
    assert " A > hello 0" in text
    assert " B > hello 0" in text


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def no_room(_descriptor: int, _data: bytes) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("svcport.transport.capturewriter.os.write", no_room)
        yield


@pytest.mark.usefixtures("full_disk")
def test_a_capture_that_fills_the_disk_is_a_warning_and_the_restore_goes_on(depot: Depot) -> None:
    place = depot.folder / "x.capture"
    ran = depot("restore", "--port", "A", "--capture", place, "--json")
    assert (ran.code, ran.report["outcome"]) == (0, "ok")
    (warning,) = ran.report["warnings"]
    assert warning["reason"] == "storage"
    assert "No space left on device" in warning["message"]
    assert not place.read_bytes()


def test_a_capture_goes_on_after_ctrl_c_and_errors(
    depot: Depot, ends: Callable[[BaseException], None]
) -> None:
    for end in (KeyboardInterrupt(), SvcportError(Reason.STORAGE, "x"), ZeroDivisionError()):
        ends(end)
        place = depot.folder / f"{type(end).__name__}.capture"
        depot("identify", "--port", "A", "--capture", place)
        kinds = [one["kind"] for one in svcport("replay", place, "--json").report["records"]]
        assert kinds == ["opened", "closed"]


def test_the_ledger_is_read_as_it_is_and_may_be_damaged(
    depot: Depot, ends: Callable[[BaseException], None]
) -> None:
    assert depot("restore", "--port", "A", "--json").code == 0
    error = FailedError(Reason.LINK_LOST, "gone")
    error.facts["lock"] = {"serial": FIRST}
    ends(error)
    depot("identify", "--port", "A")
    entries = depot.read("journal.json")["entries"]
    assert [(one["kind"], one["result"]) for one in entries] == [
        ("intent", None),
        ("result", "done"),
    ]
    for path in Home(depot.home).ledger.glob("*sqlite*"):
        path.write_bytes(b"no database")
    ran = depot("identify", "--port", "A", "--json")
    assert ran.report["reason"] in ("link-lost", "ledger-damaged")
    assert depot.read("journal.json")["entries"] == []
    assert depot.read("journal.json")["why"]
