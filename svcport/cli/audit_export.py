"""`svcport audit export --damaged`: out of a damaged ledger, what still verifies."""

from __future__ import annotations

from pathlib import Path

import click

from svcport.audit.export import export_damaged
from svcport.audit.view import LedgerView
from svcport.cli.answer import Answer
from svcport.cli.audit_verify import problem_json
from svcport.cli.command import Command
from svcport.cli.settings import current
from svcport.cli.words import counted


@click.command("export", cls=Command)
@click.option(
    "--damaged",
    "folder",
    required=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="New folder for the entries that verify and a list of the others.",
)
def command(folder: Path) -> Answer:
    r"""Write every entry that verifies by itself into DIR, one file each, and what is wrong.

    \b
      svcport audit export --damaged saved-records
    """
    with LedgerView.open_for_audit(current().home.ledger) as view:
        done = export_damaged(view, folder)
        origin, vkey = view.origin, view.vkey
    problems = [problem_json(problem) for problem in done.problems]
    message = f"wrote {counted(done.entries, 'sound entry', 'sound entries')} to {done.folder}"
    return Answer.ok(message, entries=done.entries, problems=problems, origin=origin, vkey=vkey)
