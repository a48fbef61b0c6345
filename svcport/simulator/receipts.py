"""Receipts: signed when an act closes, chained, kept until a host has collected them."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from protocol.objects import Receipt, chain_next
from protocol.refusal import RefusalCode
from protocol.values import ActResult, AfterState, Head
from svcport.simulator.factory import Factory, Identity
from svcport.simulator.nvm import Nvm
from svcport.simulator.refusals import RefusedError
from svcport.simulator.state import NO_ACT, ClosedAct, LockState

UNCOLLECTED_LIMIT: Final = 60
"""Receipts waiting for a host, from which on no new act is opened."""

_RECEIPT_SIZE: Final = 340
"""Bytes of the longest receipt, with every field."""

_ROOM_NEEDED: Final = 8
"""Cells that must be free of uncollected receipts when an act opens: it takes two, and each power
cut between a cell and its state record wastes one."""


class Receipts:
    """Makes receipts for one lock."""

    def __init__(self, factory: Factory, identity: Identity, nvm: Nvm) -> None:
        self._factory = factory
        self._identity = identity
        self._nvm = nvm

    def check_room(self) -> None:
        """Refuse a new act while too many receipts wait to be collected."""
        state = self._nvm.state
        waiting = state.head.seq - state.collected
        full = waiting >= UNCOLLECTED_LIMIT
        if full or self._nvm.receipt_room(_RECEIPT_SIZE) < _ROOM_NEEDED:
            raise RefusedError(RefusalCode.RECEIPTS_FULL, waiting)

    def close(
        self,
        state: LockState,
        result: ActResult,
        after: AfterState | None,
        *,
        confirm_key: bytes | None = None,
    ) -> LockState:
        """Sign and store the receipt of the open act; the state in which it counts.

        The cell is durable on return, but counts for nothing until the caller writes the state,
        together with whatever else changes.
        """
        act = state.act
        receipt = Receipt(
            serial=self._factory.serial,
            seq=state.head.seq + 1,
            op=act.op,
            chain_before=state.head.chain,
            intent_hash=act.intent_hash,
            intent_key=act.intent_key,
            result=result,
            image_digest=act.image_digest,
            after=after,
            ticket_id=act.ticket_id,
            time_floor=state.time_floor,
            reset_count=state.reset_count,
            refusals=state.refusals,
            confirm_key=confirm_key,
        )
        sealed = receipt.seal(self._factory.realm, self._identity).build()
        self._nvm.add_receipt(receipt.seq, sealed)
        return replace(
            state,
            act=NO_ACT,
            last=ClosedAct(act.op, result, act.image_digest, act.intent_hash),
            head=Head(receipt.seq, chain_next(state.head.chain, sealed)),
            refusals=0,
        )
