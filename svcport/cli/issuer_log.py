"""`svcport issuer log`: everything that an issuer's folder has handed out."""

from __future__ import annotations

from pathlib import Path

import click

from svcport.cli.answer import Answer
from svcport.cli.command import Command
from svcport.cli.issuer_options import Clerk, folder_argument
from svcport.cli.settings import utc_now
from svcport.cli.words import counted


@click.command("log", cls=Command)
@folder_argument
@click.option("--lock", metavar="SERIAL", help="Only what was issued for this lock.")
def command(directory: Path, lock: str | None) -> Answer:
    r"""List what was issued: who, to whom, for which lock, with which counter. Checks every entry.

    \b
      svcport issuer log V
      svcport issuer log V --lock SL2-000123 --json
    """
    from svcport.authorisation.times import when

    entries = Clerk(directory, utc_now()).desk().log.entries()
    chosen = [entry for entry in entries if lock is None or entry.lock == lock]
    listed = [{**entry.members(), "time": when(entry.time)} for entry in chosen]
    return Answer.ok(
        f"the log holds: {counted(len(entries), 'entry', 'entries')}",
        entries=len(entries),
        list=listed,
    )
