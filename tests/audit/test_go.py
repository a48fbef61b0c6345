"""Exported ledgers under golang.org/x/mod/sumdb: note, tlog, and a cosignature beside them."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from audit.publishing import FULL, append_notes, export
from audit.world import NOW, make_ledger

from protocol.sealed import Realm
from svcport.audit.proofs.proof import prove_entry
from svcport.audit.proofs.tiles import Tile
from svcport.audit.view import LedgerView
from svcport.audit.witness.addcheckpoint import request_witness
from svcport.audit.witness.witness import Witness

SOURCES = Path("/usr/share/gocode")
PROGRAM = Path(__file__).parent.parent / "go" / "verify.go"

pytestmark = [
    pytest.mark.skipif(shutil.which("go") is None, reason="Go is missing: Debian golang-go"),
    pytest.mark.skipif(
        not (SOURCES / "src/golang.org/x/mod/sumdb").is_dir(),
        reason="golang.org/x/mod is missing: Debian golang-golang-x-mod-dev",
    ),
    pytest.mark.timeout(900 if FULL else 120),
]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("go")
    environment = {
        **os.environ,
        "GO111MODULE": "off",
        "GOPATH": str(SOURCES),
        "GOCACHE": str(folder / "cache"),
        "GOFLAGS": "",
        "CGO_ENABLED": "0",
    }
    built = folder / "verify"
    subprocess.run(["go", "build", "-o", built, PROGRAM], env=environment, check=True)
    return built


def run(program: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([program, *words], capture_output=True, text=True)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`ledger`, `old` and `new` exports, proofs and a cosigned checkpoint."""
    folder = tmp_path_factory.mktemp("exported")
    entries = 70_000 if FULL else 2_000
    with make_ledger(folder / "ledger") as ledger:
        append_notes(ledger, entries // 3)
        export(folder / "ledger", folder / "old")
        append_notes(ledger, entries - entries // 3)
    export(folder / "ledger", folder / "new")
    with LedgerView.open_for_audit(folder / "ledger") as view:
        for index in (0, entries // 2, entries - 1):
            (folder / f"{index}.proof").write_bytes(prove_entry(view, index).build())
        with Witness.open(folder / "witness", Realm.TRAINING) as witness:
            witness.introduce(view.verifier)
            request = request_witness(view, 0)
            line = witness.add_checkpoint(request, NOW)
            (folder / "cosigned").write_bytes(request.note + str(line).encode())
            (folder / "witness.vkey").write_text(str(witness.vkey))
    return folder


def test_go_verifies_checkpoint_entries_tiles_proofs_and_cosignature(
    program: Path, exported: Path
) -> None:
    proofs = [word for path in sorted(exported.glob("*.proof")) for word in ("-proof", path)]
    words = ["-old", exported / "old", *proofs, "-cosigned", exported / "cosigned"]
    key = (exported / "witness.vkey").read_text()
    ran = run(program, *words, "-witness", key, exported / "new")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    size = 70_000 if FULL else 2_000
    for line in (
        "ok checkpoint",
        f"ok entries {size}",
        f"ok consistency {size // 3}",
        f"ok proof {size // 2}.proof",
        "ok cosignature",
    ):
        assert line in ran.stdout.splitlines()
    assert "ok inclusion" in ran.stdout


@pytest.mark.parametrize(
    ("path", "check"),
    [
        ("checkpoint", "checkpoint"),
        (Tile(0, 1, 256).bundle_path, "entries"),
        (Tile(0, 0, 256).path, "inclusion"),
    ],
)
def test_go_sees_a_changed_byte(
    program: Path, exported: Path, tmp_path: Path, path: Path, check: str
) -> None:
    changed = shutil.copytree(exported / "new", tmp_path / "changed")
    content = bytearray((changed / path).read_bytes())
    content[len(content) // 2] ^= 1
    (changed / path).write_bytes(bytes(content))
    ran = run(program, changed)
    assert ran.returncode == 1
    assert ran.stdout.splitlines()[-1].startswith(f"FAIL {check}")


def test_go_sees_a_fork_and_a_foreign_witness(
    program: Path, exported: Path, tmp_path: Path
) -> None:
    key = (exported / "witness.vkey").read_text()
    ran = run(
        program, "-cosigned", exported / "new" / "checkpoint", "-witness", key, exported / "new"
    )
    assert ran.stdout.splitlines()[-1] == "FAIL cosignature: 1 of 2 signatures verified"
    with make_ledger(tmp_path / "other") as ledger:
        append_notes(ledger, 10)
    export(tmp_path / "other", tmp_path / "export")
    ran = run(program, "-old", tmp_path / "export", exported / "new")
    assert ran.stdout.splitlines()[-1].startswith("FAIL consistency")
