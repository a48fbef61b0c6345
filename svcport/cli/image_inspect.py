"""`svcport image inspect`: what image files say they are, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import click

from images import ImageError, TrustStore
from svcport.cli import imagefiles
from svcport.cli.answer import Answer
from svcport.cli.command import Command
from svcport.cli.filebatch import files_argument, for_each_file, keys_option
from svcport.cli.output import Result
from svcport.cli.settings import current
from svcport.errors import Reason, RefusedError


@click.command("inspect", cls=Command)
@files_argument
@keys_option
def command(files: tuple[Path, ...], keys: tuple[Path, ...]) -> Result:
    r"""Show version, digest, signer and lock metadata of each FILE: MCUboot image or Intel HEX.

    Ends well for every file that is an image; `problem` says whether a lock would take it.

    \b
      svcport image inspect firmware.bin
      svcport image inspect *.bin --key vendor.pem --json
    """
    trust = imagefiles.read_keys(keys, current().home)
    return for_each_file(files, lambda path: _inspected(path, trust))


def _inspected(path: Path, trust: TrustStore) -> Answer:
    data = imagefiles.read_bytes(path)
    try:
        image = imagefiles.parsed(data)
    except ImageError as error:
        refusal = RefusedError(Reason(error.reason), str(error), hint="it is not an MCUboot image")
        refusal.facts.update(imagefiles.UNREADABLE)
        raise refusal from error
    found = imagefiles.problem(image, trust)
    problem = None if found is None else {"reason": found.reason, "message": str(found)}
    text = f"image of version {image.version}, {len(image.data)} bytes"
    return Answer.ok(text, **imagefiles.members(image), problem=problem)
