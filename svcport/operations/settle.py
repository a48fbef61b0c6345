"""Receipts that this ledger lacks, and intents that nothing can carry out any more.

Every operation that changes a lock starts here, so that no hole outlives a visit (protocol/README,
"Receipts"). `reconcile` is this and nothing else.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from protocol.errors import MalformedObjectError, SignatureError
from protocol.objects import Receipt, chain_next
from protocol.sealed import Sealed
from protocol.values import Head, Phase
from svcport.errors import FailedError, Reason, Refusal
from svcport.operations.visit import Visit

if TYPE_CHECKING:
    from svcport.audit.view import OpenIntent


@dataclass(frozen=True, slots=True)
class Settled:
    """What a settlement found.

    Attributes:
        recovered: receipts that were fetched into the ledger, as JSON.
        closed: intents of this ledger that are closed now, as JSON.
        open: what the lock may still carry out, as JSON: intents of this ledger, and the lock's
            open act if another station's intent opened it (`index` is None then).
    """

    recovered: tuple[dict[str, Any], ...]
    closed: tuple[dict[str, Any], ...]
    open: tuple[dict[str, Any], ...]


def settle(visit: Visit) -> Settled:
    """Fetch and check the receipts that are missing, then close what they answer or rule out.

    Warns (`ledger-gap`) of receipts for this technician's own intents that this ledger lacks: it
    was put back from an old copy, or the same key works at another station.

    Raises:
        FailedError: a receipt is not this lock's (`receipt-invalid`), or the lock's chain
            contradicts this ledger (`ledger-gap`).
    """
    ledger, serial = visit.inst.ledger, visit.lock.serial
    before = {intent.intent_hash: intent for intent in ledger.open_intents(serial)}
    taken = take_receipts(visit, None)
    recovered = [_receipt_json(one) for one in taken]
    _warn_of_lost(visit, [one.receipt for one in taken if one.receipt.intent_hash not in before])
    _rule_out(visit, visit.lock.head)
    after = {intent.intent_hash for intent in ledger.open_intents(serial)}
    closed = [intent_json(intent) for key, intent in before.items() if key not in after]
    still = [intent_json(intent) for key, intent in before.items() if key in after]
    still += _foreign_act(visit, after)
    if recovered or closed:
        ledger.checkpoint(visit.inst.now())
    return Settled(tuple(recovered), tuple(closed), tuple(still))


def _warn_of_lost(visit: Visit, unknown: Sequence[Receipt]) -> None:
    """Say that intents of this technician's key are missing here; kept in the ledger as a note."""
    mine = visit.inst.credential.technician.subject.key_id
    lost = [str(receipt.seq) for receipt in unknown if receipt.intent_key == mine]
    if not lost:
        return
    message = (
        f"receipt {', '.join(lost)} of lock {visit.lock.serial} answers an intent signed with your "
        "key that this ledger lacks: the ledger was put back from an old copy, or your key was "
        "used at another station"
    )
    visit.warn(Refusal(Reason.LEDGER_GAP, message, _LOST_HINT))
    note = f"receipt {', '.join(lost)}: its intent is by this key and not in this ledger"
    visit.inst.ledger.record_note(text=note, now=visit.inst.now(), serial=visit.lock.serial)
    visit.inst.ledger.checkpoint(visit.inst.now())


_LOST_HINT = (
    "if this home was put back from a backup, keep it as it is and tell your depot: a witness's "
    "checkpoint shows which entries are gone; if you work at two stations, both ledgers are needed"
)


def _foreign_act(visit: Visit, mine: Collection[bytes]) -> list[dict[str, Any]]:
    """The lock's open act, if none of this ledger's open intents opened it."""
    act = visit.snapshot.act
    if act.phase is Phase.NONE or act.intent_hash in mine:
        return []
    return [{"index": None, "op": op_word(act.op), "image": act.image_digest.hex()}]


@dataclass(frozen=True, slots=True)
class Taken:
    """A receipt that this ledger lacked until now, and where it stands there."""

    data: bytes
    receipt: Receipt
    index: int


def take_receipts(
    visit: Visit, intent: Sealed | None, *, newest: bytes | None = None
) -> tuple[Taken, ...]:
    """Every receipt that this ledger lacks, into it: as RESULT of `intent`, else as RECOVERED.

    They and the checkpoint over them are recorded together.

    Args:
        visit: with an authenticated session.
        intent: whose receipt is RESULT.
        newest: a receipt that the lock has just handed out; need not be fetched if it is the next.

    Raises:
        FailedError: as `settle`.
    """
    ledger, lock = visit.inst.ledger, visit.lock
    missing = ledger.missing(lock.serial, lock.head)
    since = missing[0] - 1 if missing else lock.head.seq
    if newest is not None and not missing and _follows(visit, newest):
        receipts: tuple[bytes, ...] = (newest,)
        head = Head(lock.head.seq + 1, chain_next(lock.head.chain, newest))
    else:
        head, receipts = lock.receipts_since(since)
    held = ledger.receipts(lock.serial, since + 1)
    new = [one for one in _checked(visit, head, receipts) if one[1].seq not in held]
    indices = ledger.record_receipts(
        serial=lock.serial,
        receipts=[data for data, _receipt in new],
        intent=intent,
        now=visit.inst.now(),
    )
    if new and (stated := lock.collected(head.seq)) != head:
        raise _invalid(f"the receipts end at {head.seq}, the lock states {stated.seq}")
    return tuple(Taken(*one, index) for one, index in zip(new, indices, strict=True))


def _follows(visit: Visit, data: bytes) -> bool:
    """Whether the receipt is the one after the lock's head."""
    receipt, head = _signed_receipt(visit, data), visit.lock.head
    return (receipt.seq, receipt.chain_before) == (head.seq + 1, head.chain)


def _checked(visit: Visit, head: Head, receipts: tuple[bytes, ...]) -> list[tuple[bytes, Receipt]]:
    """Receipts whose signature and chain hold up to the lock's head; FailedError otherwise."""
    checked: list[tuple[bytes, Receipt]] = []
    chain: bytes | None = None
    for data in receipts:
        receipt = _signed_receipt(visit, data)
        if chain is not None and receipt.chain_before != chain:
            raise _invalid(f"receipt {receipt.seq} does not follow the one before it")
        chain = chain_next(receipt.chain_before, data)
        checked.append((data, receipt))
    if checked and (checked[-1][1].seq, chain) != (head.seq, head.chain):
        raise _invalid(f"the receipts end at {checked[-1][1].seq}, the lock states {head.seq}")
    return checked


def _signed_receipt(visit: Visit, data: bytes) -> Receipt:
    try:
        sealed = Sealed.parse(data)
        sealed.verify(visit.lock.session.subject)
        receipt = Receipt.read(sealed)
    except (MalformedObjectError, SignatureError) as error:
        raise _invalid(f"a receipt does not hold: {error}") from error
    if receipt.serial != visit.lock.serial:
        raise _invalid(f"a receipt speaks of lock {receipt.serial}")
    return receipt


def _invalid(message: str) -> FailedError:
    return FailedError(
        Reason.RECEIPT_INVALID, message, hint="keep the lock: what it states does not hold together"
    )


def _receipt_json(taken: Taken) -> dict[str, Any]:
    return {
        "seq": taken.receipt.seq,
        "op": op_word(taken.receipt.op),
        "result": taken.receipt.result.name.lower(),
        "index": taken.index,
    }


def _rule_out(visit: Visit, head: Head) -> None:
    """Close intents of ended sessions that the lock does not name and no receipt answers."""
    ledger, act = visit.inst.ledger, visit.snapshot.act
    for intent in ledger.open_intents(visit.lock.serial):
        if act.phase is not Phase.NONE and act.intent_hash == intent.intent_hash:
            continue
        if intent.lock_head is None or intent.session == visit.lock.session.handshake_hash:
            continue
        if ledger.covers(visit.lock.serial, intent.lock_head, head):
            ledger.record_recovered(
                serial=visit.lock.serial,
                now=visit.inst.now(),
                intent_hash=intent.intent_hash,
                note="not-executed",
            )


def intent_json(intent: OpenIntent) -> dict[str, Any]:
    """An intent as reports show it."""
    return {
        "index": intent.index,
        "op": op_word(intent.op) if intent.op is not None else None,
        "image": intent.image_digest.hex() if intent.image_digest else None,
    }


def op_word(op: Any) -> str:  # noqa: ANN401 - an Op, named or not
    """An operation in a report."""
    return op.name.lower() if op.name else f"op-{int(op):#06x}"
