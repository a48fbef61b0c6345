"""What one sealed ENTRY means to the ledger: its body, the receipt inside, the intent it answers.

Pure; who signed the entry and the receipt is judged elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from protocol.errors import MalformedObjectError
from protocol.objects import Entry, EntryKind, Receipt, RefusalStatement
from protocol.sealed import ObjectType, Realm, Sealed

SEQ_LIMIT: Final = 2**63 - 1
"""Largest receipt number kept: what a signed 64-bit column holds. No lock gets there."""

_ANSWERS: Final = (EntryKind.RESULT, EntryKind.RECOVERED)


class MalformedReceiptError(MalformedObjectError):
    """The bytes where a receipt should stand are none, or belong to another lock or intent."""


@dataclass(frozen=True, slots=True)
class Statement:
    """What a lock signed about an intent: a RECEIPT, or a REFUSAL, which has no number."""

    sealed: Sealed
    body: Receipt | RefusalStatement

    @property
    def seq(self) -> int | None:
        """The receipt's number, None for a refusal."""
        return self.body.seq if isinstance(self.body, Receipt) else None


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One entry, read and consistent with itself; its signature has not been checked."""

    sealed: Sealed
    body: Entry
    statement: Statement | None

    @property
    def answers(self) -> bytes | None:
        """Hash of the intent that this entry closes."""
        return self.body.intent_hash if self.body.kind in _ANSWERS else None

    @property
    def numbered(self) -> tuple[str, int] | None:
        """Serial and number of the receipt inside, if there is one."""
        if self.statement is None or self.statement.seq is None:
            return None
        return self.statement.body.serial, self.statement.seq


def read_entry(sealed: Sealed, realm: Realm, origin: str) -> LedgerEntry:
    """The entry in `sealed`.

    Raises:
        MalformedReceiptError: the receipt inside is at fault.
        MalformedObjectError: it is no entry of this ledger, or lacks what its kind must have.
    """
    if sealed.realm is not realm:
        raise MalformedObjectError(f"an entry of {sealed.realm.name}, this ledger is {realm.name}")
    body = Entry.read(sealed)
    if body.origin != origin:
        raise MalformedObjectError(f"an entry of {body.origin}, this ledger is {origin}")
    _check_kind(body)
    statement = None if body.receipt is None else read_statement(body.receipt, realm)
    if statement is not None:
        _check_same(body, statement)
    return LedgerEntry(sealed, body, statement)


def read_statement(data: bytes, realm: Realm) -> Statement:
    """The RECEIPT or REFUSAL in `data`; anything else is MalformedReceiptError."""
    try:
        sealed = Sealed.parse(data)
        wanted = RefusalStatement if sealed.type is ObjectType.REFUSAL else Receipt
        body = wanted.read(sealed)
    except MalformedObjectError as error:
        raise MalformedReceiptError(f"no receipt: {error}") from error
    if sealed.realm is not realm:
        raise MalformedReceiptError(
            f"a receipt of {sealed.realm.name}, this ledger is {realm.name}"
        )
    if isinstance(body, Receipt) and not 1 <= body.seq <= SEQ_LIMIT:
        raise MalformedReceiptError(f"receipt number {body.seq} is not 1..{SEQ_LIMIT}")
    return Statement(sealed, body)


def _check_kind(body: Entry) -> None:
    kind = body.kind
    if kind in (EntryKind.INTENT, EntryKind.NOTE) and body.receipt is not None:
        raise MalformedObjectError(f"{kind.name} holds a receipt")
    if kind is EntryKind.INTENT and (body.op is None or body.intent_hash is not None):
        raise MalformedObjectError("INTENT names no operation, or another intent")
    if kind in _ANSWERS and body.intent_hash is None:
        raise MalformedObjectError(f"{kind.name} names no intent")
    if kind is EntryKind.IMPORT and body.receipt is None:
        raise MalformedObjectError("IMPORT holds no receipt")


def _check_same(body: Entry, statement: Statement) -> None:
    if statement.body.serial != body.lock_serial:
        raise MalformedReceiptError(
            f"the receipt is of lock {statement.body.serial}, the entry of {body.lock_serial}"
        )
    if body.intent_hash is not None and statement.body.intent_hash != body.intent_hash:
        raise MalformedReceiptError(
            f"the receipt answers intent {statement.body.intent_hash.hex()}, "
            f"the entry {body.intent_hash.hex()}"
        )
