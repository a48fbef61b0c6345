"""`svcport verify`: whether a lock runs firmware that may run."""

from __future__ import annotations

from typing import Unpack

import click

from svcport.cli import bench
from svcport.cli.command import Command
from svcport.cli.options import LockParams, lock_options, locks
from svcport.cli.output import Result


@click.command("verify", cls=Command)
@lock_options
def command(**lock: Unpack[LockParams]) -> Result:
    r"""Judge the running firmware: measured, signed, in the catalogue, not withdrawn, confirmed.

    Exits 1 if it must not run, 4 if that could not be found out.

    \b
      svcport verify
      svcport verify --port COM5 --port COM6 --json
    """
    from svcport.operations.verify import verify

    return bench.run(locks(lock), verify)
