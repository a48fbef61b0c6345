"""`svcport image verify`: whether a lock would take these image files."""

from __future__ import annotations

from pathlib import Path

import click

from images import Image, ImageError, TrustStore
from svcport.cli import imagefiles
from svcport.cli.answer import Answer
from svcport.cli.command import Command
from svcport.cli.filebatch import files_argument, for_each_file, keys_option
from svcport.cli.output import Result
from svcport.cli.settings import current
from svcport.errors import Reason


@click.command("verify", cls=Command)
@files_argument
@keys_option
def command(files: tuple[Path, ...], keys: tuple[Path, ...]) -> Result:
    r"""Judge each FILE as MCUboot would, or more strictly: structure, hash and signature.

    Without --key the keys of this home count. Exits 1 if a file does not hold.

    \b
      svcport image verify firmware.bin --key vendor.pem
      svcport image verify *.bin --json
    """
    trust = imagefiles.read_keys(keys, current().home)
    return for_each_file(files, lambda path: _judged(path, trust))


def _judged(path: Path, trust: TrustStore) -> Answer:
    data = imagefiles.read_bytes(path)
    try:
        image = imagefiles.parsed(data)
    except ImageError as error:
        return Answer.differs(Reason(error.reason), str(error), **imagefiles.UNREADABLE)
    found = imagefiles.problem(image, trust)
    if found is None:
        return Answer.ok(f"image of version {image.version} holds", **imagefiles.members(image))
    return _refused(image, found, trust)


def _refused(image: Image, found: ImageError, trust: TrustStore) -> Answer:
    reason = Reason(found.reason)
    hint = ""
    if reason is Reason.IMAGE_SIGNER and not len(trust):
        hint = "no key is known here: give the vendor's with --key, or run svcport setup"
    return Answer.differs(reason, str(found), hint=hint, **imagefiles.members(image))
