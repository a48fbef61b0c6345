"""`svcport rollback`: back to the older image in the other slot."""

from __future__ import annotations

from functools import partial
from typing import Unpack

import click

from svcport.cli import bench
from svcport.cli.command import Command
from svcport.cli.options import LockParams, lock_options, locks
from svcport.cli.output import Result


@click.command("rollback", cls=Command, changes=True)
@click.option("--dry-run", is_flag=True, help="Say what would be done, and change nothing.")
@lock_options
def command(dry_run: bool, **lock: Unpack[LockParams]) -> Result:
    r"""Go back to the image in the other slot, if its version is lower.

    Needs a ticket for this lock. Both slots and both counters are read before anything moves.

    \b
      svcport rollback
      svcport rollback --dry-run
      svcport rollback --expect-serial SL-000042 --ticket ticket.svc
    """
    from svcport.operations.commands import rollback

    return bench.run(locks(lock), partial(rollback, dry_run=dry_run))
