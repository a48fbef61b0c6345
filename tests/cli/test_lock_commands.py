from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from clirunner import Ran, svcport
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_ssh_private_key,
)
from lab.kit import running

COMMON = ("schema", "outcome", "message", "hint")
LOCK = (
    "kind", "serial", "model", "hardware", "batch", "bootloader", "slots", "security_counter",
    "battery_mv", "receipts",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Bench:
    """A lab that serves its locks, and a home that is set up for it."""

    folder: Path
    ports: tuple[str, ...]

    @property
    def home(self) -> Path:
        return self.folder / "home"

    def __call__(self, *words: str | Path) -> Ran:
        return svcport(*words, "--home", self.home)

    def json(self, command: str, *words: str | Path, lock: int = 0) -> Ran:
        return self(command, "--port", self.ports[lock], *words, "--json")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made once, copied by each test."""
    folder = tmp_path_factory.mktemp("lab") / "L"
    assert svcport("lab", "init", folder, "--locks", "2", "--seed", "cli").code == 0
    return folder


@pytest.fixture
def bench(tmp_path: Path, lab: Path) -> Iterator[Bench]:
    shutil.copytree(lab, tmp_path / "L")
    with running(tmp_path / "L") as ports:
        ready = Bench(tmp_path, tuple(ports.values()))
        assert ready("setup", "--from", tmp_path / "L" / "technician").code == 0
        yield ready


def test_the_story_of_one_lock_by_json(bench: Bench) -> None:
    assert tuple(bench.json("identify").report["lock"]) == LOCK
    found = bench.json("diagnose")
    assert found.code == 0
    assert "advisory" in [finding["code"] for finding in found.report["findings"]]
    assert bench.json("verify").code == 1
    back = bench.json("rollback", "--case", "4711")
    assert (back.code, back.report["after"]["version"]) == (0, "2.3.1+0")
    done = bench.json("restore")
    assert (done.code, done.report["after"]["version"]) == (0, "2.4.1+0")
    assert done.report["after"]["confirmed"] is True
    assert {"before", "transfer", "receipt", "ledger"} < set(done.report)
    assert bench.json("verify").code == 0
    again = bench.json("restore")
    assert (again.code, again.report["outcome"]) == (0, "nothing-to-do")
    held = bench("audit", "verify", "--json")
    assert (held.code, held.report["receipts"], held.report["problems"]) == (0, 2, [])
    listed = bench("audit", "list", "--case", "4711", "--json").report["list"]
    assert [entry["op"] for entry in listed] == ["rollback", "rollback"][: len(listed)]
    assert listed


def test_the_story_of_one_lock_for_people(bench: Bench) -> None:
    port = bench.ports[0]
    assert "* advisory (critical" in bench("diagnose", "--port", port).out
    judged = bench("verify", "--port", port)
    assert "[FAIL]  not-withdrawn" in judged.out
    assert judged.err.startswith("no: ")
    plan = bench("restore", "--port", port, "--dry-run")
    assert "1. [ok] image: 2.4.1+0" in plan.out
    done = bench("restore", "--port", port)
    assert "after      2.4.1+0 (" in done.out
    assert done.err == ""
    assert "cloud-auth-failed" in bench("logs", "--port", port).out
    assert "acts still open: 0" in bench("reconcile", "--port", port).out
    assert "holds: 2 entries, 1 receipt" in bench("audit", "verify").out
    assert "update" in bench("audit", "list").out


def test_a_dry_run_that_would_be_refused_exits_3_with_plan_and_refusals(bench: Bench) -> None:
    assert bench.json("restore").code == 0
    ran = bench.json("rollback", "--dry-run")
    assert (ran.code, ran.report["reason"]) == (3, "image-withdrawn")
    assert ran.report["plan"]
    assert "image-withdrawn" in [no["reason"] for no in ran.report["refusals"]]
    assert "[no] image-withdrawn" in bench("rollback", "--dry-run", "--port", bench.ports[0]).out


def test_a_bench_gives_one_line_a_lock_and_one_ledger(bench: Bench) -> None:
    first, second = bench.ports
    ran = bench("restore", "--port", first, "--port", second, "--json")
    assert ran.code == 0
    assert {one["port"] for one in ran.reports} == {first, second}
    assert {one["outcome"] for one in ran.reports} == {"ok"}
    assert bench("audit", "verify", "--json").report["receipts"] == 2


def test_a_lock_that_fails_does_not_stop_the_others(bench: Bench) -> None:
    ran = bench("identify", "--port", bench.ports[0], "--port", "socket://127.0.0.1:1", "--json")
    by_port = {one["port"]: one for one in ran.reports}
    assert by_port[bench.ports[0]]["outcome"] == "ok"
    assert by_port["socket://127.0.0.1:1"]["reason"] == "no-lock"
    assert ran.code == 4


def test_all_ports_without_any_known_adapter_gives_one_no_lock(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("svcport.transport.adapters.found_ports", lambda: ())
    ran = bench("identify", "--all", "--json")
    assert (ran.code, ran.report["reason"]) == (4, "no-lock")


def test_another_lock_than_the_expected_one_is_refused(bench: Bench) -> None:
    ran = bench.json("restore", "--expect-serial", "TR-999999")
    assert (ran.code, ran.report["reason"]) == (3, "wrong-lock")


def test_the_event_log_can_be_kept_as_a_file(bench: Bench, tmp_path: Path) -> None:
    ran = bench.json("logs", "--since", "10m", "-o", tmp_path / "events.json")
    assert json.loads((tmp_path / "events.json").read_text("utf-8")) == ran.report
    folder = tmp_path / "file"
    folder.write_text("in the way")
    ran = bench.json("logs", "-o", folder / "events.json")
    assert (ran.code, ran.report["reason"]) == (4, "storage")


def test_doctor_finds_the_home_in_order_and_tries_the_port(bench: Bench) -> None:
    ran = bench("doctor", "--port", bench.ports[0], "--json")
    assert ran.code == 0
    results = {check["name"]: check["result"] for check in ran.report["checks"]}
    wanted = ("home", "space", "credential", "signer", "ledger", "clock", "catalogue", "port")
    assert {name: results[name] for name in wanted} == dict.fromkeys(wanted, "pass") | {
        "clock": results["clock"]
    }


def test_people_are_told_once_that_the_records_were_put_back(bench: Bench, tmp_path: Path) -> None:
    shutil.copytree(bench.home, tmp_path / "backup")
    assert bench.json("restore").code == 0
    shutil.rmtree(bench.home)
    shutil.copytree(tmp_path / "backup", bench.home)
    ran = bench("restore", "--port", bench.ports[0], "--version", "2.3.1")
    assert ran.code == 0
    assert ran.out.count("put back from an old copy") == 1
    assert ran.err == ""


def lock_key(home: Path, passphrase: bytes) -> None:
    """Put a passphrase on a home's signing key."""
    path = next(path for path in (home / "credential").iterdir() if "key" in path.name)
    private = load_ssh_private_key(path.read_bytes(), None)
    form, lock = PrivateFormat.OpenSSH, BestAvailableEncryption(passphrase)
    path.write_bytes(private.private_bytes(Encoding.PEM, form, lock))


def signer_check(ran: Ran) -> tuple[str, str]:
    """What doctor found out about the signing key, and the cure."""
    assert ran.code == 0
    [check] = [check for check in ran.report["checks"] if check["name"] == "signer"]
    return f"{check['result']}: {check['detail']}", check["cure"] or ""


def test_doctor_says_whether_the_key_signs_and_why_not(bench: Bench, tmp_path: Path) -> None:
    found, cure = signer_check(bench("doctor", "--json"))
    assert found.startswith("pass: key ")
    assert cure == ""
    lock_key(bench.home, b"open sesame")
    found, cure = signer_check(bench("doctor", "--json"))
    assert found.startswith("fail: signer-locked: ")
    assert cure
    for text, result in ((b"open sesame\n", "pass"), (b"close sesame\n", "fail: signer-locked")):
        (tmp_path / "passphrase").write_bytes(text)
        with (tmp_path / "passphrase").open("rb") as file:
            ran = bench("doctor", "--passphrase-fd", str(file.fileno()), "--json")
        assert signer_check(ran)[0].startswith(result)
        assert "sesame" not in ran.out + ran.err
    (bench.home / "credential" / "technician.key").unlink()
    assert signer_check(bench("doctor", "--json"))[0].startswith("fail: not-set-up")


def test_a_locked_key_is_opened_with_the_passphrase_of_a_descriptor(
    bench: Bench, tmp_path: Path
) -> None:
    lock_key(bench.home, b"open sesame")
    assert bench.json("identify").report["reason"] == "signer-locked"
    for text, code in ((b"open sesame\n", 0), (b"close sesame\n", 3)):
        (tmp_path / "passphrase").write_bytes(text)
        with (tmp_path / "passphrase").open("rb") as file:
            ran = bench.json("identify", "--passphrase-fd", str(file.fileno()))
        assert ran.code == code
        assert "sesame" not in ran.out + ran.err


def test_a_damaged_ledger_stops_lock_commands_and_setup_but_can_be_saved(
    bench: Bench, tmp_path: Path
) -> None:
    assert bench.json("restore").code == 0
    (bench.home / "ledger" / "damaged").write_text("entry 0: leaf-hash: made up\n")
    for words in (["identify", "--port", bench.ports[0]], ["setup", "--from", "L"]):
        ran = bench(*words, "--json")
        assert (ran.code, ran.report["reason"]) == (7, "ledger-damaged")
    assert "damaged" in bench("doctor").out
    saved = bench("audit", "export", "--damaged", tmp_path / "saved", "--json")
    assert (saved.code, saved.report["entries"]) == (0, 2)
    # nothing is wrong with it, after all
    assert bench("audit", "verify").code == 0
    assert bench.json("identify").code == 0


def test_setup_needs_a_catalogue_once(tmp_path: Path, lab: Path) -> None:
    bundle = Path(shutil.copytree(lab / "technician", tmp_path / "bundle"))
    bundle.joinpath("catalogue").rename(tmp_path / "aside")
    ran = svcport("setup", "--from", bundle, "--home", tmp_path / "home", "--json")
    assert (ran.code, ran.report["reason"]) == (3, "not-set-up")
    (tmp_path / "aside").rename(bundle / "catalogue")
    assert svcport("setup", "--from", bundle, "--home", tmp_path / "home").code == 0
    bundle.joinpath("catalogue").rename(tmp_path / "aside")
    ran = svcport("setup", "--from", bundle, "--home", tmp_path / "home", "--json")
    assert (ran.code, ran.report["catalogue"]) == (0, None)
    members = {"holder", "role", "valid_until", "training"}
    assert members < set(ran.report)


def test_audit_of_a_fresh_home_holds(tmp_path: Path, lab: Path) -> None:
    assert svcport("setup", "--from", lab / "technician", "--home", tmp_path / "home").code == 0
    ran = svcport("audit", "verify", "--home", tmp_path / "home", "--json")
    assert (ran.code, ran.report["entries"]) == (0, 0)


def test_the_demo_ends_well_and_lists_its_steps() -> None:
    ran = svcport("demo", "--json")
    assert ran.code == 0
    commands = [step["command"].split()[0] for step in ran.report["steps"]]
    assert commands == ["setup", "diagnose", "restore", "verify", "audit"]


def test_lab_run_announces_its_locks_and_stops_cleanly_on_sigterm(
    tmp_path: Path, lab: Path
) -> None:
    if os.name == "nt":
        pytest.skip("Windows has no SIGTERM to send")
    shutil.copytree(lab, tmp_path / "L")
    with subprocess.Popen(
        [sys.executable, "-m", "svcport", "lab", "run", str(tmp_path / "L")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        lines = [json.loads(process.stdout.readline()) for _ in range(2)]
        assert [list(line) for line in lines] == [["serial", "port"]] * 2
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (0, b"", b"")


@pytest.mark.parametrize(
    "words",
    [["--fault", "bogus"], ["--profile", "bogus"], ["--listen", "bogus"], ["--lock", "bogus"],
     ["--pty", "--listen", "127.0.0.1:0"]],
)  # fmt: skip
def test_lab_run_refuses_what_it_cannot_serve(words: list[str], lab: Path) -> None:
    ran = svcport("lab", "run", lab, *words, "--json")
    assert (ran.code, ran.report["reason"]) == (2, "usage")
