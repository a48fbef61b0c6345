"""`svcport audit export`: the ledger where others can check it, or what of it still verifies."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from svcport.audit.ledger import Ledger
from svcport.audit.proofs.export import export_damaged
from svcport.audit.proofs.publish import export_log
from svcport.audit.view import LedgerView
from svcport.cli.answer import Answer
from svcport.cli.audit_verify import problem_json
from svcport.cli.command import Command
from svcport.cli.settings import current
from svcport.cli.words import counted


@click.command("export", cls=Command)
@click.argument("folder", required=False, type=click.Path(path_type=Path), metavar="[DIR]")
@click.option(
    "--damaged",
    "rescue",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="New folder for the entries that verify and a list of the others.",
)
def command(folder: Path | None, rescue: Path | None) -> Answer:
    r"""Write the ledger into DIR: signed checkpoint, tiles, entries, certificates and the key.

    A folder that holds an older export of this ledger is brought up to date. With --damaged,
    write every entry that verifies by itself, one file each, and what is wrong.

    \b
      svcport audit export for-the-depot
      svcport audit export --damaged saved-records
    """
    if (folder is None) == (rescue is None):
        raise click.UsageError("give DIR, or --damaged DIR for a damaged ledger")
    if folder is not None:
        return _whole(folder)
    return _damaged(rescue or Path())


def _whole(folder: Path) -> Answer:
    ledger = current().home.ledger
    with LedgerView.open_for_audit(ledger) as view:
        realm = view.realm
    with Ledger.open(ledger, realm, create=False) as opened:
        # entries after the last act, or of an act cut short, belong to the export too
        opened.checkpoint(datetime.now(UTC))
        done = export_log(opened, folder)
        origin, vkey = opened.origin, opened.vkey
    new = counted(done.entries - done.before, "new entry", "new entries")
    message = f"{done.folder} holds {counted(done.entries, 'entry', 'entries')}, {new}"
    return Answer.ok(
        message,
        entries=done.entries,
        before=done.before,
        problems=[],
        origin=origin,
        root=done.root.hex(),
        vkey=vkey,
    )


def _damaged(folder: Path) -> Answer:
    with LedgerView.open_for_audit(current().home.ledger) as view:
        done = export_damaged(view, folder)
        origin, vkey = view.origin, view.vkey
    problems = [problem_json(problem) for problem in done.problems]
    message = f"wrote {counted(done.entries, 'sound entry', 'sound entries')} to {done.folder}"
    return Answer.ok(message, entries=done.entries, problems=problems, origin=origin, vkey=vkey)
