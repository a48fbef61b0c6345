"""`svcport audit cosign`: this station as witness of another's ledger."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from svcport.audit import merkle
from svcport.audit.note import NoteError, VerifierKey
from svcport.audit.proofs.published import PublishedLog, read_part, read_vkey
from svcport.audit.view import LedgerView
from svcport.audit.witness.addcheckpoint import AddCheckpoint
from svcport.audit.witness.witness import MALFORMED, Witness, refused
from svcport.authorisation.trust import find_trust
from svcport.cli.answer import Answer
from svcport.cli.command import Command
from svcport.cli.files import write_output
from svcport.cli.settings import current

if TYPE_CHECKING:
    from protocol.sealed import Realm
    from svcport.home import Home


@click.command("cosign", cls=Command)
@click.argument("request", type=click.Path(path_type=Path, exists=True), metavar="REQUEST")
@click.option(
    "--old",
    type=click.IntRange(min=0),
    metavar="SIZE",
    help="With an export folder: the size witnessed last; left out, what this witness saw.",
)
@click.option(
    "--vkey",
    "key_file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="Know the log with this key from now on.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Where the cosignature line goes, besides the report.",
)
def command(request: Path, old: int | None, key_file: Path | None, output: Path | None) -> Answer:
    r"""Cosign another station's checkpoint, if nothing that was witnessed before is taken back.

    REQUEST is a file made by `audit prove --since SIZE`, or the other's export folder. What is
    witnessed is kept, and never goes back. Exits 3 with a `status` as witnesses use them: 404 the
    log is not known, 403 it did not sign, 409 another size was witnessed last, 422 it was
    rewritten or cut.

    \b
      svcport audit cosign for-the-witness --vkey bench-07.vkey -o cosignature
      svcport audit cosign exports/bench-07
    """
    home = current().home
    with Witness.open(home.witness, realm_of_home(home)) as witness:
        if key_file is not None:
            witness.introduce(_key(key_file))
        asked = _request(witness, request, old)
        signature = witness.add_checkpoint(asked, datetime.now(UTC))
        key = witness.vkey
    line = str(signature)
    if output is not None:
        write_output(output, line.encode())
    origin, size = asked.note.decode().split("\n")[:2]
    return Answer.ok(
        f"witnessed {size} entries of {origin}",
        origin=origin,
        size=int(size),
        old=asked.old,
        cosignature=line.rstrip("\n"),
        witness=str(key),
    )


def realm_of_home(home: Home) -> Realm:
    """Real or training, as its vendor or else its ledger says.

    Raises:
        RefusedError: the home has neither (reason `not-set-up`).
    """
    trust = find_trust(home)
    if trust is not None:
        return trust.vendor.realm
    with LedgerView.open_for_audit(home.ledger) as view:
        return view.realm


def _key(path: Path) -> VerifierKey:
    try:
        return read_vkey(path)
    except NoteError as error:
        raise refused(MALFORMED, str(error)) from error


def _request(witness: Witness, path: Path, old: int | None) -> AddCheckpoint:
    try:
        if not path.is_dir():
            if old is not None:
                raise click.UsageError("--old goes with an export folder; the file has its own")
            return AddCheckpoint.parse(read_part(path))
        log = PublishedLog.open(path)
        if old is None:
            seen = witness.seen(log.origin)
            old = 0 if seen is None else seen.size
        if old >= log.size:
            return AddCheckpoint(old, (), log.note)
        proof = merkle.consistency_proof(old, log.size, log.node_reader)
    except NoteError as error:
        raise refused(MALFORMED, str(error)) from error
    return AddCheckpoint(old, proof, log.note)
