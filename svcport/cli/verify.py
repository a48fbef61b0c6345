"""`svcport verify`: whether a lock runs firmware that may run."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Unpack

import click

from svcport.cli import bench
from svcport.cli.command import Command
from svcport.cli.filebatch import keys_option, read_each
from svcport.cli.options import LockParams, lock_options, locks
from svcport.cli.output import Result


@click.command("verify", cls=Command)
@click.option(
    "--image",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="What should run on a device that no catalogue knows: serial recovery, Zephyr.",
)
@keys_option
@lock_options
def command(image: Path | None, keys: tuple[Path, ...], **lock: Unpack[LockParams]) -> Result:
    r"""Judge the running firmware: measured, signed, in the catalogue, not withdrawn, confirmed.

    Exits 1 if it must not run, 4 if that could not be found out.

    \b
      svcport verify
      svcport verify --port COM5 --port COM6 --json
    """
    from svcport.operations.commands import verify

    return bench.run(locks(lock), partial(verify, image=image, keys=read_each(keys)))
