"""Commands over many files: one answer each, a bad one does not stop the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from svcport.cli.answer import Answer
from svcport.cli.output import Batch, Result
from svcport.errors import SvcportError

if TYPE_CHECKING:
    from images import PublicKey

files_argument: Final = click.argument(
    "files", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path)
)
keys_option: Final = click.option(
    "--key",
    "keys",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="PUB.pem",
    help="Public key that images must be signed with; may be repeated.",
)


def read_each(keys: tuple[Path, ...]) -> tuple[PublicKey, ...]:
    """The public keys that `keys_option` names; raises as `imagefiles.read_key`."""
    if not keys:
        return ()
    from svcport.cli.imagefiles import read_key

    return tuple(read_key(path) for path in keys)


def for_each_file(files: tuple[Path, ...], act: Callable[[Path], Answer]) -> Result:
    """What `act` says of each file, in the order given; errors of svcport become answers."""
    answers = _answers(files, act)
    return next(answers) if len(files) == 1 else Batch(answers, "file")


def _answers(files: tuple[Path, ...], act: Callable[[Path], Answer]) -> Iterator[Answer]:
    for path in files:
        try:
            answer = act(path)
        except SvcportError as error:
            answer = Answer.of_error(error)
        yield answer.about("file", str(path))
