"""`svcport lab init`: a training vendor with simulated locks, in a new folder."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from svcport.cli.answer import Answer
from svcport.cli.command import Command
from svcport.cli.settings import utc_now
from svcport.cli.words import counted

CONDITIONS: Final = ("bad-update", "healthy", "dead", "weak-battery", "interrupted")


@click.command("init", cls=Command, spreads=True)
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--locks", type=click.IntRange(1, 64), default=1, metavar="N", help="How many locks.")
@click.option("--seed", metavar="S", help="The same seed makes the same keys and images.")
@click.option(
    "--condition",
    type=click.Choice(CONDITIONS),
    default=CONDITIONS[0],
    metavar="C",
    help=f"State of the locks: {', '.join(CONDITIONS)}.",
)
@click.option(
    "--payload",
    "payloads",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="FILE",
    help="Real firmware to make the releases of; may be repeated.",
)
def command(
    directory: Path, locks: int, seed: str | None, condition: str, payloads: tuple[Path, ...]
) -> Answer:
    r"""Make a training vendor in DIR: keys, catalogue, credential, tickets, simulated locks.

    \b
      svcport lab init L
      svcport lab init L --locks 8 --condition dead
      svcport lab run L &
      svcport setup --from L/technician
    """
    from svcport.lab.init import init_lab
    from svcport.simulator.provision import Condition

    made = init_lab(
        directory,
        locks=locks,
        seed=seed,
        condition=Condition(condition),
        payloads=payloads,
        now=utc_now(),
    )
    return Answer.ok(
        f"{counted(len(made.locks), 'simulated lock')} of condition {condition} in {directory}",
        hint=f"svcport lab run {directory} serves them;"
        f" svcport setup --from {made.technician} makes you their technician",
        technician=str(made.technician),
        locks=list(made.locks),
        seed=made.seed,
    )
