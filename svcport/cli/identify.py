"""`svcport identify`: who the lock says it is, authenticated."""

from __future__ import annotations

from typing import Unpack

import click

from svcport.cli import bench
from svcport.cli.command import Command
from svcport.cli.options import LockParams, lock_options, locks
from svcport.cli.output import Result


@click.command("identify", cls=Command)
@lock_options
def command(**lock: Unpack[LockParams]) -> Result:
    r"""Ask the lock who it is and what it holds; believe only what it can prove.

    \b
      svcport identify
      svcport identify --port COM5 --expect-serial SL-000042
      svcport identify --all --json
    """
    from svcport.operations.commands import identify

    return bench.run(locks(lock), identify)
