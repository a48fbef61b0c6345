"""`svcport reconcile`: ask the lock what became of acts whose end is not known."""

from __future__ import annotations

from typing import Unpack

import click

from svcport.cli import bench
from svcport.cli.command import Command
from svcport.cli.options import OneLockParams, one_lock, one_lock_options
from svcport.cli.output import Result


@click.command("reconcile", cls=Command)
@one_lock_options
def command(**lock: Unpack[OneLockParams]) -> Result:
    r"""Ask the lock for receipts that this ledger lacks, and close what they answer.

    This is what to run after exit code 6.

    \b
      svcport reconcile
      svcport reconcile --port COM5 --json
    """
    from svcport.operations.commands import reconcile

    return bench.run(one_lock(lock), reconcile)
