from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from audit.publishing import append_notes
from audit.world import NOW, act, make_ledger, meet
from clirunner import Ran, svcport

from svcport.audit.note import Note, VerifierKey
from svcport.audit.proofs.proof import EntryProof
from svcport.audit.proofs.published import PublishedLog
from svcport.audit.witness.addcheckpoint import AddCheckpoint
from svcport.audit.witness.cosignature import WitnessKey


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return make_home(tmp_path / "home")


def make_home(folder: Path, serial: str = "A1") -> Path:
    with make_ledger(folder / "ledger") as ledger:
        lock = meet(ledger, serial)
        for _ in range(3):
            act(ledger, lock)
        ledger.record_note(text="after the checkpoint", now=NOW)
    return folder


def run(home: Path, *words: str | Path) -> Ran:
    return svcport("audit", *words, "--home", home, "--json")


def grow(home: Path, count: int) -> None:
    with make_ledger(home / "ledger") as ledger:
        append_notes(ledger, count)


def test_export_writes_every_entry_and_a_second_one_what_is_new(home: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    ran = run(home, "export", out)
    assert ran.code == 0
    assert ran.report["schema"] == "svcport/audit-export/1"
    assert (ran.report["entries"], ran.report["before"], ran.report["problems"]) == (7, 0, [])
    log = PublishedLog.open(out)
    assert (log.size, log.root(7).hex()) == (7, ran.report["root"])
    assert ran.report["vkey"] == str(log.key)
    grow(home, 3)
    again = run(home, "export", out).report
    assert (again["entries"], again["before"]) == (10, 7)
    assert "10 entries, 3 new entries" in again["message"]


def test_export_into_another_logs_folder_exits_2(home: Path, tmp_path: Path) -> None:
    other = make_home(tmp_path / "other")
    assert run(other, "export", tmp_path / "out").code == 0
    ran = run(home, "export", tmp_path / "out")
    assert (ran.code, ran.report["reason"]) == (2, "usage")
    assert (
        PublishedLog.open(tmp_path / "out").key.name == PublishedLog.open(tmp_path / "out").origin
    )


@pytest.mark.parametrize(
    "words",
    [
        ["export"],
        ["export", "a", "--damaged", "b"],
        ["prove", "1"],
        ["prove", "-o", "f"],
        ["prove", "1", "--since", "0", "-o", "f"],
        ["prove", "-1", "-o", "f"],
        ["prove", "7.5", "-o", "f"],
        ["cross-check"],
        ["cross-check", "missing"],
        ["cosign"],
        ["cosign", "missing"],
        ["verify", "--against", "missing"],
    ],
)
def test_audit_calls_that_make_no_sense_exit_2(home: Path, words: list[str]) -> None:
    ran = run(home, *words)
    assert (ran.code, ran.report["reason"]) == (2, "usage")


@pytest.mark.parametrize("words", [["export", "out"], ["prove", "0", "-o", "f"]])
def test_without_a_ledger_there_is_nothing_to_show(tmp_path: Path, words: list[str]) -> None:
    ran = run(tmp_path / "empty", *words)
    assert (ran.code, ran.report["reason"]) == (3, "not-set-up")


def test_prove_writes_one_file_that_verifies_with_the_key_reported(
    home: Path, tmp_path: Path
) -> None:
    ran = run(home, "prove", "2", "-o", tmp_path / "proof")
    assert ran.code == 0
    key = VerifierKey.parse(ran.report["vkey"])
    proof = EntryProof.parse((tmp_path / "proof").read_bytes())
    assert proof.index == ran.report["entry"] == 2
    assert proof.verify(key).root.hex() == ran.report["root"]
    beyond = run(home, "prove", "99", "-o", tmp_path / "beyond")
    assert (beyond.code, beyond.report["reason"]) == (2, "usage")
    assert not (tmp_path / "beyond").exists()


def test_a_witness_follows_a_log_by_files_and_by_export_folders(home: Path, tmp_path: Path) -> None:
    depot, out, asked = make_home(tmp_path / "depot", "B2"), tmp_path / "out", tmp_path / "asked"
    run(home, "export", out)
    run(home, "prove", "--since", "0", "-o", asked)
    unknown = run(depot, "cosign", asked)
    assert (unknown.code, unknown.report["outcome"]) == (3, "refused")
    assert (unknown.report["reason"], unknown.report["status"]) == ("checkpoint-refused", 404)
    ran = run(depot, "cosign", asked, "--vkey", out / "vkey", "-o", tmp_path / "line")
    assert ran.code == 0
    assert (ran.report["size"], ran.report["old"]) == (7, 0)
    line = (tmp_path / "line").read_bytes()
    assert line.decode() == ran.report["cosignature"] + "\n"
    note = Note.parse(AddCheckpoint.parse(asked.read_bytes()).note + line)
    WitnessKey.parse(ran.report["witness"]).verify(note)
    wrong = run(depot, "cosign", asked)
    assert (wrong.code, wrong.report["status"], wrong.report["size"]) == (3, 409, 7)
    grow(home, 5)
    run(home, "export", out)
    assert run(depot, "cosign", out, "--old", "3").report["status"] == 409
    assert run(depot, "cosign", out).report["size"] == 12
    assert run(depot, "cosign", asked, "--old", "0").code == 2
    (tmp_path / "bad").write_text("nonsense")
    bad = run(depot, "cosign", tmp_path / "bad")
    assert (bad.code, bad.report["status"]) == (3, 400)
    text = svcport("audit", "cosign", out, "--home", depot)
    assert text.code == 0
    assert "witness" in text.out


def test_a_ledger_put_back_from_an_old_copy_is_seen_by_its_witness_and_by_verify(
    home: Path, tmp_path: Path
) -> None:
    depot, out = make_home(tmp_path / "depot", "B2"), tmp_path / "out"
    run(home, "export", out)
    old = tmp_path / "old-home"
    shutil.copytree(home, old)
    grow(home, 5)
    run(home, "export", out)
    run(depot, "cosign", out, "--vkey", out / "vkey")
    grow(old, 2)
    ran = run(old, "export", tmp_path / "out-2")
    assert ran.code == 0
    went_back = run(depot, "cosign", tmp_path / "out-2")
    assert (went_back.code, went_back.report["status"]) == (3, 422)
    assert went_back.report["reason"] == "ledger-fork"
    crossed = run(depot, "cross-check", tmp_path / "out-2")
    assert (crossed.code, crossed.report["problems"][0]["code"]) == (1, "truncated-tail")
    cut = run(old, "verify", "--against", out / "checkpoint")
    assert (cut.code, cut.report["reason"]) == (1, "ledger-fork")
    assert cut.report["problems"][0]["code"] == "truncated-tail"
    assert cut.report["against"]["consistent"] is False
    refused = run(old, "export", out)
    assert refused.code == 7
    assert run(old, "verify").code == 0
    assert run(old, "export", tmp_path / "out-3").code == 7  # that alone does not clear a fork


def test_verify_proves_that_the_ledger_extends_an_earlier_checkpoint(
    home: Path, tmp_path: Path
) -> None:
    run(home, "export", tmp_path / "out")
    grow(home, 5)
    ran = run(home, "verify", "--against", tmp_path / "out" / "checkpoint")
    assert ran.code == 0
    assert (ran.report["against"]["size"], ran.report["against"]["consistent"]) == (7, True)
    assert ran.report["against"]["proof"]
    stranger = make_home(tmp_path / "stranger")
    other = run(stranger, "verify", "--against", tmp_path / "out" / "checkpoint")
    assert (other.code, other.report["reason"]) == (2, "usage")


def test_a_fork_of_the_same_size_is_named_by_verify(home: Path, tmp_path: Path) -> None:
    old = tmp_path / "old-home"
    shutil.copytree(home, old)
    grow(home, 2)
    run(home, "export", tmp_path / "out")
    with make_ledger(old / "ledger") as ledger:
        ledger.record_note(text="another history", now=NOW)
    grow(old, 1)
    ran = run(old, "verify", "--against", tmp_path / "out" / "checkpoint")
    assert (ran.code, ran.report["reason"]) == (1, "ledger-fork")
    assert ran.report["problems"][0]["code"] == "forked-log"
    assert run(home, "verify", "--against", tmp_path / "out" / "checkpoint").code == 0


def test_cross_check_names_holes_and_exits_1(home: Path, tmp_path: Path) -> None:
    other = make_home(tmp_path / "other", "B2")
    for name, one in (("a", home), ("b", other)):
        run(one, "export", tmp_path / "exports" / name)
    folders = sorted((tmp_path / "exports").iterdir())
    ran = run(home, "cross-check", *folders)
    assert ran.code == 0
    report = ran.report
    assert (report["stations"], report["locks"], report["receipts"]) == (2, 2, 6)
    assert report["problems"] == []
    (folders[0] / "tile" / "entries" / "000.p" / "7").unlink()
    ran = run(home, "cross-check", *folders)
    assert (ran.code, ran.report["outcome"]) == (1, "differs")
    assert ran.report["reason"] == "ledger-gap"
    assert ran.report["problems"][0] == {
        "code": "truncated-tail",
        "station": PublishedLog.open(folders[0]).origin,
        "entry": 0,
        "lock": None,
        "message": ran.report["problems"][0]["message"],
    }
    text = svcport("audit", "cross-check", *folders, "--home", home)
    assert "truncated-tail" in text.out


def test_an_emptied_ledger_is_damage_and_not_a_new_home(home: Path) -> None:
    for file in (home / "ledger").glob("ledger.sqlite*"):
        file.write_bytes(b"")
    for words in (("verify",), ("list",)):
        ran = run(home, *words)
        assert (ran.code, ran.report["reason"]) == (7, "ledger-damaged")
