"""`svcport restore`: approved firmware onto a lock, and proof that it runs."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Unpack

import click

from svcport.cli import bench
from svcport.cli.command import Command
from svcport.cli.filebatch import keys_option, read_each
from svcport.cli.options import LockParams, contradiction, lock_options, locks
from svcport.cli.output import Result


@click.command("restore", cls=Command, changes=True)
@click.option(
    "--image",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Take this image; needs a ticket unless the catalogue approves it. On MCUboot's serial "
    "recovery and Zephyr devices naming it is the permit.",
)
@click.option("--version", metavar="V", help="Take this version of the catalogue.")
@keys_option
@click.option("--dry-run", is_flag=True, help="Say what would be done, and change nothing.")
@lock_options
def command(
    image: Path | None,
    version: str | None,
    keys: tuple[Path, ...],
    dry_run: bool,
    **lock: Unpack[LockParams],
) -> Result:
    r"""Put firmware on the lock, restart it, and prove that it runs.

    Takes what the catalogue approves for this lock, unless told otherwise. If it was interrupted,
    the same command continues.

    \b
      svcport restore
      svcport restore --dry-run
      svcport restore --expect-serial SL-000042 --case 4711
      svcport restore --version 2.3.1 --ticket ticket.svc
      svcport restore --all --json
      svcport restore --image app.signed.bin --key vendor.pem --serial A1234   (serial recovery)
    """
    if image is not None and version is not None:
        raise contradiction("--image and --version both name an image")

    if version is not None:
        _check_version(version)

    from svcport.operations.commands import restore

    asked = partial(restore, image=image, version=version, keys=read_each(keys), dry_run=dry_run)
    return bench.run(locks(lock), asked)


def _check_version(text: str) -> None:
    """See that it is one, before a lock is asked; RefusedError (`usage`) if it is none."""
    from images import ImageError, Version

    try:
        Version.parse(text)
    except ImageError as error:
        raise contradiction(f"--{error}") from error
