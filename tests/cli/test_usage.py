from __future__ import annotations

from pathlib import Path

import pytest
from clirunner import svcport

UNUSABLE = [
    ([], "usage"),
    (["bogus"], "usage"),
    (["--bogus"], "usage"),
    (["restore", "--bogus"], "restore"),
    (["restore", "--port"], "restore"),
    (["restore", "--wait", "nan"], "restore"),
    (["restore", "--wait", "inf"], "restore"),
    (["restore", "--wait", "-1"], "restore"),
    (["restore", "--wait", "soon"], "restore"),
    (["restore", "--ticket", "missing.svc"], "restore"),
    (["restore", "--port", "a", "--port", "a"], "restore"),
    (["restore", "--all", "--port", "a"], "restore"),
    (["restore", "--port", ""], "restore"),
    (["logs", "--port", ""], "logs"),
    (["restore", "--case", "x" * 41], "restore"),
    (["rollback", "--case", ""], "rollback"),
    (["verify", "--case", "4711\n"], "verify"),
    (["reconcile", "--case", "4\x1b[31m"], "reconcile"),
    (["identify", "--case", "Fall-ä"], "identify"),
    (["restore", "--version", ""], "restore"),
    (["restore", "--version", "latest"], "restore"),
    (["restore", "--version", "2.4.65536"], "restore"),
    (["image", "verify"], "image-verify"),
    (["image", "sign", "x"], "image-sign"),
    (["image", "bogus"], "image"),
    (["logs", "--since", "yesterday"], "logs"),
    (["setup"], "setup"),
    (["audit", "export"], "audit-export"),
    (["explain", "bogus"], "explain"),
]


@pytest.mark.parametrize(("words", "command"), UNUSABLE)
def test_a_call_that_makes_no_sense_is_one_json_object_and_exits_2(
    words: list[str], command: str, tmp_path: Path
) -> None:
    ran = svcport("--json", "--home", tmp_path, *words) if words else svcport("--json")
    assert ran.code == 2
    report = ran.report
    assert report["schema"] == f"svcport/{command}/1"
    assert (report["outcome"], report["reason"]) == ("refused", "usage")
    assert report["refusals"][0]["reason"] == "usage"
    assert report["hint"]


@pytest.mark.parametrize(("words", "command"), UNUSABLE)
def test_for_people_it_is_an_error_and_a_hint_on_stderr(
    words: list[str], command: str, tmp_path: Path
) -> None:
    ran = svcport("--home", tmp_path, *words) if words else svcport()
    assert ran.code == 2
    assert ran.out == ""
    error, hint = ran.err.splitlines()[-2:]
    assert error.startswith("error: ")
    assert not error.endswith(".")
    assert hint.startswith("hint: ")


POSITIONS = [
    ["--json", "--home", "{}", "lab", "bogus"],
    ["lab", "--json", "--home", "{}", "bogus"],
    ["lab", "bogus", "--json", "--home", "{}"],
]


@pytest.mark.parametrize("words", POSITIONS)
def test_json_is_heeded_wherever_it_stands_even_if_the_line_cannot_be_parsed(
    words: list[str], tmp_path: Path
) -> None:
    assert svcport(*(word.format(tmp_path) for word in words)).report["reason"] == "usage"


@pytest.mark.parametrize(
    "words",
    [
        ["--home", "{}", "--json", "-v", "audit", "list"],
        ["audit", "--home", "{}", "--json", "-v", "list"],
        ["audit", "list", "--home", "{}", "--json", "-v"],
        ["--json", "audit", "--home", "{}", "list", "-v"],
    ],
)
def test_home_json_and_v_are_accepted_before_and_after_command_and_subcommand(
    words: list[str], tmp_path: Path
) -> None:
    home = tmp_path / "nowhere"
    ran = svcport(*(word.format(home) for word in words))
    assert ran.code == 3
    assert ran.report["schema"] == "svcport/audit-list/1"
    assert str(home) in ran.report["message"]


def test_the_home_named_last_counts(tmp_path: Path) -> None:
    ran = svcport("--home", tmp_path / "a", "identify", "--home", tmp_path / "b", "--json")
    assert str(tmp_path / "b") in ran.report["message"]


def test_the_environment_names_the_home_that_is_not_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SVCPORT_HOME", str(tmp_path / "there"))
    assert str(tmp_path / "there") in svcport("identify", "--json").report["message"]


LOCK_COMMANDS = ["identify", "diagnose", "verify", "restore", "rollback", "logs", "reconcile"]


@pytest.mark.parametrize("command", LOCK_COMMANDS)
def test_a_home_that_was_never_set_up_refuses_every_lock_command(
    command: str, tmp_path: Path
) -> None:
    ran = svcport(command, "--home", tmp_path / "empty", "--json")
    assert (ran.code, ran.report["reason"]) == (3, "not-set-up")
    assert ran.report["schema"] == f"svcport/{command}/1"
    assert not (tmp_path / "empty").exists()


@pytest.mark.parametrize("command", LOCK_COMMANDS[:5])
def test_commands_of_the_bench_take_several_ports(command: str, tmp_path: Path) -> None:
    ran = svcport(command, "--port", "a", "--port", "b", "--home", tmp_path, "--json")
    assert ran.code == 3
    assert {one["port"]: one["reason"] for one in ran.reports} == dict.fromkeys("ab", "not-set-up")


EVERY = [
    "demo", "setup", "doctor", "explain", "ports", *LOCK_COMMANDS, "image", "image inspect",
    "image verify", "image sign", "audit", "audit list", "audit verify", "audit export", "lab",
    "lab init", "lab run",
]  # fmt: skip


@pytest.mark.parametrize("command", EVERY)
def test_every_command_has_a_help_with_examples(command: str) -> None:
    ran = svcport(*command.split(), "--help")
    assert ran.code == 0
    assert "\\b" not in ran.out
    if command not in ("image", "audit", "lab"):
        assert f"    svcport {command}" in ran.out or "svcport --home" in ran.out


@pytest.mark.parametrize("command", EVERY)
def test_every_command_takes_home_json_and_v(command: str) -> None:
    out = svcport(*command.split(), "--help").out
    assert all(option in out for option in ("--home DIR", "--json", "-v, --verbose"))


def test_the_help_of_the_whole_lists_every_command() -> None:
    out = svcport("--help").out
    assert all(f"\n  {command.split()[0]} " in out for command in EVERY)
