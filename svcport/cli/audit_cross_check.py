"""`svcport audit cross-check`: whether the records of several stations leave nothing out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from svcport.audit.crosscheck.check import cross_check
from svcport.audit.witness.witness import Seen, Witness
from svcport.authorisation.trust import find_trust
from svcport.cli.answer import Answer
from svcport.cli.audit_cosign import realm_of_home
from svcport.cli.command import Command
from svcport.cli.settings import current
from svcport.cli.words import counted

if TYPE_CHECKING:
    from svcport.audit.crosscheck.holes import CrossCheck, Hole
    from svcport.home import Home


@click.command("cross-check", cls=Command)
@click.argument(
    "folders",
    nargs=-1,
    required=True,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="DIR...",
)
def command(folders: tuple[Path, ...]) -> Answer:
    r"""Merge the exports of any number of stations and name what is missing or contradicts itself.

    Every lock's receipts must run from 1 to the newest that it ever stated, each must answer an
    intent that some station recorded, and every log must be the one that its station signed and
    this home witnessed. In a home that is set up, certificates must come from its vendor.

    \b
      svcport audit cross-check exports/*
      svcport audit cross-check exports/bench-07 exports/van-12 --json
    """
    home = current().home
    trust = find_trust(home)
    found = cross_check(
        folders,
        manufacturer=None if trust is None else trust.manufacturer,
        roots=() if trust is None else trust.roots,
        witnessed=_witnessed(home),
    )
    return _judged(found)


def _witnessed(home: Home) -> dict[str, Seen]:
    """What this home saw of the logs as their witness; nothing if it is none."""
    if not home.witness.is_dir():
        return {}
    with Witness.open(home.witness, realm_of_home(home)) as witness:
        return witness.all_seen()


def _judged(found: CrossCheck) -> Answer:
    members: dict[str, Any] = {
        "stations": found.stations,
        "locks": found.locks,
        "receipts": found.receipts,
        "entries": found.entries,
        "problems": [_hole_json(hole) for hole in found.holes],
    }
    if found.reason is None:
        message = (
            f"nothing is missing: {counted(found.stations, 'station')}, "
            f"{counted(found.locks, 'lock')}, {counted(found.receipts, 'receipt')}"
        )
        return Answer.ok(message, **members)
    message = f"{counted(len(found.holes), 'problem')}: {found.holes[0]}"
    hint = "keep the exports as they are; export the stations named again, and compare"
    return Answer.differs(found.reason, message, hint=hint, **members)


def _hole_json(hole: Hole) -> dict[str, Any]:
    """One hole; members that do not apply are null."""
    return {
        "code": str(hole.code),
        "station": hole.station,
        "entry": hole.entry,
        "lock": hole.serial,
        "message": hole.message,
    }
