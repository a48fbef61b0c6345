"""`svcport audit list`: what this installation recorded, entry by entry."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import click

from protocol.errors import ProtocolError
from protocol.objects import Entry
from protocol.sealed import Sealed
from svcport.audit.entries import read_entry
from svcport.audit.view import LedgerView
from svcport.cli.answer import Answer
from svcport.cli.command import Command
from svcport.cli.settings import current
from svcport.cli.words import counted


@click.command("list", cls=Command)
@click.option("--serial", metavar="S", help="Only entries about this lock.")
@click.option("--case", "case_id", metavar="ID", help="Only entries of this case.")
def command(serial: str | None, case_id: str | None) -> Answer:
    r"""List the ledger. This reads, it does not check: use `audit verify` for that.

    \b
      svcport audit list
      svcport audit list --serial SL-000042 --json
    """
    with LedgerView.open_for_audit(current().home.ledger) as view:
        listed = [
            entry
            for entry in _entries(view)
            if serial in (None, entry["serial"]) and case_id in (None, entry["case"])
        ]
        origin, vkey, size = view.origin, view.vkey, view.size
    message = f"{len(listed)} of {counted(size, 'entry', 'entries')}"
    return Answer.ok(message, entries=size, origin=origin, vkey=vkey, list=listed)


def _entries(view: LedgerView) -> Iterator[dict[str, Any]]:
    for stored in view.entries():
        try:
            read = read_entry(Sealed.parse(stored.data), view.realm, view.origin)
        except ProtocolError as error:
            yield {**_line(stored.index), "kind": "unreadable", "note": str(error)}
            continue
        yield _described(stored.index, read.body, read.numbered)


def _line(index: int) -> dict[str, Any]:
    names = ("time", "kind", "op", "serial", "image", "receipt", "case", "note", "assurance")
    return {"index": index, **dict.fromkeys(names)}


def _described(index: int, body: Entry, numbered: tuple[str, int] | None) -> dict[str, Any]:
    moment = datetime.fromtimestamp(body.host_time, UTC)
    return {
        **_line(index),
        "time": f"{moment:%Y-%m-%dT%H:%M:%SZ}",
        "kind": body.kind.name.lower(),
        "op": body.op.name.lower() if body.op is not None and body.op.name else None,
        "serial": body.lock_serial,
        "image": None if body.image_digest is None else body.image_digest.hex()[:16],
        "receipt": None if numbered is None else numbered[1],
        "case": body.case_id,
        "note": body.note,
        "assurance": body.assurance,
    }
