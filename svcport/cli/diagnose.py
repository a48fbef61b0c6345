"""`svcport diagnose`: what is wrong with a lock, and what to do about it."""

from __future__ import annotations

from typing import Unpack

import click

from svcport.cli import bench
from svcport.cli.command import Command
from svcport.cli.options import LockParams, lock_options, locks
from svcport.cli.output import Result


@click.command("diagnose", cls=Command)
@lock_options
def command(**lock: Unpack[LockParams]) -> Result:
    r"""Say what is wrong with the lock, which advisories apply, and what to do next.

    Changes nothing. Exits 0 whatever it finds.

    \b
      svcport diagnose
      svcport diagnose --port COM5 --json
    """
    from svcport.operations.commands import diagnose

    return bench.run(locks(lock), diagnose)
