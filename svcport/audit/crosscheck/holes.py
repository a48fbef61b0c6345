"""What can be missing or contradict itself between the records of several stations, by name."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from svcport.errors import Reason


class HoleCode(StrEnum):
    """What is wrong, in one word."""

    UNREADABLE = "unreadable"
    CHECKPOINT = "checkpoint"
    CERTIFICATE = "certificate"
    TREE = "tree"
    DROPPED_ENTRY = "dropped-entry"
    REWRITTEN_ENTRY = "rewritten-entry"
    TRUNCATED_TAIL = "truncated-tail"
    FORKED_LOG = "forked-log"
    RECEIPT_INVALID = "receipt-invalid"
    DROPPED_RECEIPT = "dropped-receipt"
    RECEIPT_CHAIN = "receipt-chain"
    RECEIPT_CONFLICT = "receipt-conflict"
    LOCK_HEAD = "lock-head"
    HIDDEN_STATION = "hidden-station"
    FOREIGN_INTENT = "foreign-intent"
    REPLAYED_INTENT = "replayed-intent"
    REPLAYED_TICKET = "replayed-ticket"
    MORE = "more-problems"


HOLE_LIMIT: Final = 1000
"""Most holes named; records with more are told to have so."""


@dataclass(frozen=True, slots=True)
class Hole:
    """One thing that is missing or contradicts another.

    Attributes:
        station: origin of the log at fault, None if it is no single log's.
        entry: index in that log, None if no single entry is at fault.
        serial: the lock that it is about, if any.
    """

    code: HoleCode
    message: str
    station: str | None = None
    entry: int | None = None
    serial: str | None = None

    @property
    def order(self) -> tuple[str, str, str, int, str]:
        """How reports sort holes, whatever was read first."""
        entry = -1 if self.entry is None else self.entry
        return str(self.code), self.station or "", self.serial or "", entry, self.message

    def __str__(self) -> str:
        places = (
            "" if self.station is None else f"{self.station}",
            "" if self.entry is None else f"entry {self.entry}",
            "" if self.serial is None else f"lock {self.serial}",
        )
        where = ", ".join(place for place in places if place)
        return f"{where}: {self.code}: {self.message}" if where else f"{self.code}: {self.message}"


@dataclass(frozen=True, slots=True)
class CrossCheck:
    """What the records of several stations come to.

    Attributes:
        stations, locks, receipts, entries: how many; what stands in two exports counts once.
        holes: sorted, the same in whatever order the exports were given.
    """

    stations: int
    locks: int
    receipts: int
    entries: int
    holes: tuple[Hole, ...]

    @property
    def reason(self) -> Reason | None:
        """The stable word for it, None if there is no hole."""
        codes = {hole.code for hole in self.holes}
        if not codes:
            return None
        return Reason.LEDGER_FORK if HoleCode.FORKED_LOG in codes else Reason.LEDGER_GAP
