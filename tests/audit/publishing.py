"""Ledgers made fast, exported, and checked the way a stranger would."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from audit.world import NOW
from sqlalchemy import insert, update

from protocol.objects import Entry, EntryKind
from svcport.audit import merkle
from svcport.audit.ledger import Ledger
from svcport.audit.proofs.publish import Export, export_log
from svcport.audit.rows import node_reader
from svcport.audit.tables import ENTRIES, LOGS, NODES
from svcport.audit.view import LedgerView

FULL: Final = bool(os.environ.get("SVCPORT_FULL"))
"""Whether the long runs are wanted: `SVCPORT_FULL=1 python -m pytest tests/audit`."""

_BATCH: Final = 5000


def export(folder: Path, out_dir: Path) -> Export:
    with LedgerView.open_for_audit(folder) as view:
        return export_log(view, out_dir)


def append_notes(ledger: Ledger, count: int) -> None:
    """Append signed notes in few transactions: as the ledger would, without a sync for each."""
    size = ledger.size
    for low in range(size, size + count, _BATCH):
        _append_batch(ledger, range(low, min(low + _BATCH, size + count)))
    ledger.checkpoint(NOW)


def _append_batch(ledger: Ledger, indices: range) -> None:
    fresh: dict[merkle.Node, bytes] = {}
    rows = []
    with ledger.store.write() as connection:
        stored = node_reader(connection, ledger.origin)
        for index in indices:
            data = _note(ledger, index)
            leaf = merkle.leaf_hash(data)
            fresh[merkle.Node(0, index)] = leaf
            fresh.update(merkle.append(index, leaf, lambda n: fresh.get(n) or stored(n)))
            rows.append(
                {"origin": ledger.origin, "entry_index": index, "leaf_hash": leaf, "data": data}
            )
        nodes = [
            {"origin": ledger.origin, "last": node.last, "level": node.level, "hash": value}
            for node, value in fresh.items()
            if node.level
        ]
        connection.execute(insert(ENTRIES), rows)
        if nodes:
            connection.execute(insert(NODES), nodes)
        ours = LOGS.c.origin == ledger.origin
        connection.execute(update(LOGS).where(ours).values(size=indices.stop))


def _note(ledger: Ledger, index: int) -> bytes:
    body = Entry(
        origin=ledger.origin, kind=EntryKind.NOTE, host_time=1_795_000_000, note=f"entry {index}"
    )
    return body.seal(ledger.realm, ledger.station).build()


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
