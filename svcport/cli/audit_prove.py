"""`svcport audit prove`: one file that shows an entry's place in the signed ledger."""

from __future__ import annotations

from pathlib import Path

import click

from svcport.audit.checkpoint import Checkpoint
from svcport.audit.proofs.proof import prove_entry
from svcport.audit.view import LedgerView
from svcport.audit.witness.addcheckpoint import request_witness
from svcport.cli.answer import Answer
from svcport.cli.command import Command
from svcport.cli.files import write_output
from svcport.cli.settings import current


@click.command("prove", cls=Command)
@click.argument("entry", type=click.IntRange(min=0), required=False, metavar="[N]")
@click.option(
    "--since",
    type=click.IntRange(min=0),
    metavar="SIZE",
    help="Instead: ask a witness that saw SIZE entries for a cosignature.",
)
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Where the proof goes.",
)
def command(entry: int | None, since: int | None, output: Path) -> Answer:
    r"""Prove that entry N is in the ledger (C2SP tlog-proof, with the entry inside).

    Whoever has FILE and this station's key (`vkey`) can check it without anything else. With
    --since, write what a witness needs instead (C2SP add-checkpoint), for its `audit cosign`.

    \b
      svcport audit prove 17 -o entry-17.proof
      svcport audit prove --since 120 -o for-the-witness
    """
    if (entry is None) == (since is None):
        raise click.UsageError("give N, the entry to prove, or --since SIZE")
    with LedgerView.open_for_audit(current().home.ledger) as view:
        if entry is not None:
            proof = prove_entry(view, entry)
            data, note, what = proof.build(), proof.note, f"entry {entry}"
        else:
            request = request_witness(view, since or 0)
            data, note, what = request.build(), request.note, f"what was added since {since}"
        checkpoint = Checkpoint.open(note, view.verifier)
        vkey = view.vkey
    write_output(output, data)
    return Answer.ok(
        f"{output} proves {what} among {checkpoint.size} entries",
        entry=entry,
        since=since,
        file=str(output),
        entries=checkpoint.size,
        origin=checkpoint.origin,
        root=checkpoint.root.hex(),
        vkey=vkey,
    )
