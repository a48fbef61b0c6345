"""Getting out of a damaged ledger what still verifies, as one file an object."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select

from svcport.audit.certificates import Keyring
from svcport.audit.checking import Examiner
from svcport.audit.problems import Problem
from svcport.audit.rows import BATCH, salvage
from svcport.audit.tables import CERTIFICATES
from svcport.audit.verify import verify_ledger
from svcport.audit.view import LedgerView
from svcport.errors import Reason, RefusedError
from svcport.home import storage_error, write_whole


@dataclass(frozen=True, slots=True)
class DamagedExport:
    """What was written, and what was not and why."""

    folder: Path
    entries: int
    problems: tuple[Problem, ...]


def export_damaged(view: LedgerView, out_dir: Path) -> DamagedExport:
    """Write every entry that verifies by itself into `out_dir`, and a list of what does not.

    Writes `entries/<index>.svc`, `certificates/<sha256>.svc`, `vkey`, `checkpoint` if there is
    one, and `problems.txt`, one line a problem.

    Raises:
        RefusedError: `out_dir` is there and not empty (reason `usage`).
        RecordsError: the ledger cannot be read at all, or `out_dir` not be written.
    """
    _make(out_dir)
    verdict = verify_ledger(view)
    keyring = Keyring(view.store, view.realm)
    examiner = Examiner(view.realm, view.origin, view.verifier.subject, keyring)
    written = 0
    for low in range(0, verdict.entries, BATCH):
        high = min(low + BATCH, verdict.entries)
        rows = salvage(view.store, view.origin, low, high)
        for index, examined in examiner.examine_all(rows).items():
            data = rows[index].data
            if not examined.problems and isinstance(data, bytes):
                write_whole(out_dir / "entries" / f"{index:012d}.svc", data)
                written += 1
    _write_beside(view, out_dir)
    lines = "".join(f"{problem}\n" for problem in verdict.problems)
    write_whole(out_dir / "problems.txt", lines.encode())
    return DamagedExport(out_dir, written, verdict.problems)


def _write_beside(view: LedgerView, out_dir: Path) -> None:
    write_whole(out_dir / "vkey", f"{view.vkey}\n".encode())
    checkpoint: object = view.last_checkpoint()
    if isinstance(checkpoint, bytes):
        write_whole(out_dir / "checkpoint", checkpoint)
    with view.store.read() as connection:
        query = select(CERTIFICATES.c.sha256, CERTIFICATES.c.data)
        for row in connection.execute(query):
            sha256: object = row[0]
            data: object = row[1]
            if isinstance(sha256, bytes) and isinstance(data, bytes):
                write_whole(out_dir / "certificates" / f"{sha256.hex()}.svc", data)


def _make(out_dir: Path) -> None:
    try:
        out_dir.mkdir(parents=True, exist_ok=True)
        used = any(out_dir.iterdir())
    except OSError as error:
        raise storage_error(out_dir, error) from error
    if used:
        raise RefusedError(Reason.USAGE, f"{out_dir} is not empty, wanted a new folder")
