"""What is looked at after each case: the bytes of the lock's flash, and the home's ledger."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from sweep.promises import Broken, Promise
from sweep.starts import Start
from sweep.yard import Ended, Yard

from protocol.objects import Entry, EntryKind, Receipt
from protocol.sealed import Sealed
from protocol.values import SECTOR_SIZE, ZERO_DIGEST, ActResult, Phase, Slot
from svcport.audit.ledger import Ledger
from svcport.audit.verify import verify_ledger
from svcport.audit.view import LedgerView
from svcport.authorisation.trust import Trust
from svcport.errors import FailedError, RefusedError, UnfinishedError
from svcport.simulator.board import Board
from svcport.simulator.flash import SLOT_ADDRESS, SLOT_SIZE, NorFlash
from svcport.simulator.nvm import Nvm
from svcport.simulator.state import LockState, Trial

COUNTERS = {"2.3.1": 3, "2.4.0": 3, "2.4.1": 3, "2.5.0": 4}
"""Security counters of the training vendor's releases."""


@dataclass(frozen=True)
class Facts:
    """A lock as its flash states it."""

    flash: bytes
    nvm: Nvm
    receipts: tuple[Receipt, ...]

    @property
    def state(self) -> LockState:
        return self.nvm.state

    @classmethod
    def of(cls, flash: NorFlash) -> Facts:
        content = bytes(flash._buffer)
        nvm = Nvm(NorFlash(bytearray(content)))
        receipts = tuple(Receipt.read(Sealed.parse(data)) for data in nvm.receipts(0))
        return cls(content, nvm, receipts)


def check_station(yard: Yard, ended: Ended) -> None:
    """All that must hold whenever a command has ended, however it did."""
    facts = Facts.of(yard.flash)
    _check_boots(yard, facts)
    _check_counter(yard.start, facts)
    _check_trial(yard.start, facts)
    _check_marks(yard.start, facts)
    _check_tickets(facts)
    _check_audited(yard, facts)
    if ended.is_success:
        _check_success(yard, facts, ended)
    else:
        _check_said(yard, facts, ended)


def check_reconciled(yard: Yard) -> None:
    """After `reconcile`: the ledger verifies; open is only what the lock may still carry out."""
    act = Facts.of(yard.flash).state.act
    still = {act.intent_hash} if act.is_open else set()
    _check_ledger(yard, still)


def has_open_intents(yard: Yard) -> bool:
    """Whether there is something left for `reconcile`."""
    with LedgerView.open_for_audit(yard.home.ledger) as view:
        return bool(view.open_intents())


def check_end(yard: Yard) -> None:
    """After the last command: the ledger verifies, has every receipt and nothing open."""
    _check_ledger(yard, set())


def _check_ledger(yard: Yard, may_be_open: set[bytes]) -> None:
    facts = Facts.of(yard.flash)
    trust = Trust.load(yard.home)
    with LedgerView.open_for_audit(yard.home.ledger) as view:
        verdict = verify_ledger(view, manufacturer=trust.manufacturer, roots=trust.roots, workers=0)
        held = view.receipts(yard.start.factory.serial)
    if verdict.problems:
        raise Broken(Promise.LEDGER, f"the ledger does not verify: {verdict.problems[0]}")
    open_ones = [one for one in verdict.open_intents if one.intent_hash not in may_be_open]
    if open_ones:
        raise Broken(Promise.LEDGER, f"an intent is open: entry {open_ones[0].index}")
    missing = {one.seq for one in facts.receipts} - set(held)
    if missing:
        raise Broken(Promise.LEDGER, f"receipts {sorted(missing)} are not in the ledger")


def _check_boots(yard: Yard, facts: Facts) -> None:
    """What runs, and what would run if the power failed now, is one of the flow's two images."""
    start = yard.start
    goal = _digest(start, start.flow.goal)
    done = any((one.result, one.image_digest) == (ActResult.DONE, goal) for one in facts.receipts)
    allowed = {start.flow.goal} if done else {start.runs, start.flow.goal}
    boards = {
        "as it is": yard.board,
        "after a power cut": Board(
            start.factory,
            NorFlash(bytearray(facts.flash)),
            entropy=hashlib.sha256(b"").digest().__getitem__,  # never asked while booting
            now=0.0,
        ),
    }
    for when, board in boards.items():
        running = board.core.running
        runs = None if running is None else start.holds(bytes(board._flash._buffer), running)
        if running is not None and runs is None:
            raise Broken(Promise.BRICK, f"{when} slot {running.name} runs, whose image is nobody's")
        if runs not in allowed:
            raise Broken(Promise.BRICK, f"{when} {runs or 'nothing'} runs, allowed {allowed}")


def _check_counter(start: Start, facts: Facts) -> None:
    before, now = start.state.security_counter, facts.state.security_counter
    if now < before:
        raise Broken(Promise.COUNTER, f"the security counter fell from {before} to {now}")
    digests = {_digest(start, version): COUNTERS[version] for version in start.images}
    confirmed = [
        digests.get(one.image_digest or b"", 0)
        for one in facts.receipts
        if one.result is ActResult.DONE
    ]
    if now > max([before, *confirmed]):
        raise Broken(Promise.COUNTER, f"the counter rose from {before} to {now} before a confirm")


def _check_trial(start: Start, facts: Facts) -> None:
    boot, act = facts.state.boot, facts.state.act
    if boot.trial is Trial.NONE:
        return
    if start.holds(facts.flash, boot.candidate) is None:
        raise Broken(Promise.TRIAL, f"slot {boot.candidate.name} was written while on trial")
    if act.phase not in (Phase.PENDING, Phase.TRYING):
        raise Broken(Promise.TRIAL, f"the act is {act.phase.name}, its image is on trial")


def _check_marks(start: Start, facts: Facts) -> None:
    """Every marked sector holds that sector of an image of the vendor, or what it held before."""
    for slot in Slot:
        for sector in range(SLOT_SIZE // SECTOR_SIZE):
            if not facts.nvm.is_marked(slot, sector):
                continue
            offset = sector * SECTOR_SIZE
            at = SLOT_ADDRESS[slot] + offset
            content = facts.flash[at : at + SECTOR_SIZE]
            known = [
                data[offset : offset + SECTOR_SIZE].ljust(SECTOR_SIZE, b"\xff")
                for data in start.images.values()
            ]
            if content not in known and content != start.flash[at : at + SECTOR_SIZE]:
                raise Broken(
                    Promise.MARK,
                    f"slot {slot.name} sector {sector} is marked, holds something else",
                )


def _check_tickets(facts: Facts) -> None:
    used = facts.state.tickets.bits.bit_count()
    told = {one.ticket_id for one in facts.receipts} | {
        facts.state.act.ticket_id if facts.state.act.is_open else ZERO_DIGEST
    }
    told -= {ZERO_DIGEST, None}
    if used != len(told):
        raise Broken(
            Promise.UNAUDITED, f"{used} tickets are used, the act and the receipts tell {len(told)}"
        )


def _check_audited(yard: Yard, facts: Facts) -> None:
    """Whatever this technician's acts did to the lock, the intent is in the home."""
    start, state = yard.start, facts.state
    since = start.state.head.seq
    acts = {one.intent_hash for one in facts.receipts if one.seq > since}
    foreign = {start.state.act.intent_hash} if start.flow.made == "interrupted" else set()
    if state.act.is_open:
        acts.add(state.act.intent_hash)
    unknown = acts - foreign - _intents(yard)
    if unknown:
        raise Broken(Promise.UNAUDITED, f"{len(unknown)} acts have no intent in the ledger")
    if state.boot.active is not start.state.boot.active:
        done = [one for one in facts.receipts if one.result is ActResult.DONE]
        active = start.holds(facts.flash, state.boot.active)
        if not done or active is None or done[-1].image_digest != _digest(start, active):
            raise Broken(Promise.UNAUDITED, f"{active} became active, and no receipt says so")
    slots = slice(min(SLOT_ADDRESS.values()), max(SLOT_ADDRESS.values()) + SLOT_SIZE)
    if not acts and facts.flash[slots] != start.flash[slots]:
        raise Broken(Promise.UNAUDITED, "a slot was written, and no act says so")


def _intents(yard: Yard) -> set[bytes]:
    if yard.start.flow.made == "first":
        _complete_ledger(yard)
    with LedgerView.open_for_audit(yard.home.ledger) as view:
        entries = [Sealed.parse(stored.data) for stored in view.entries()]
    return {entry.digest for entry in entries if _kind(entry) is EntryKind.INTENT}


def _complete_ledger(yard: Yard) -> None:
    """A ledger that is half made is made whole by whoever opens it next."""
    trust = Trust.load(yard.home)
    with Ledger.open(yard.home.ledger, trust.realm, create=True):
        pass


def _kind(entry: Sealed) -> EntryKind:
    return Entry.read(entry).kind


def _check_said(yard: Yard, facts: Facts, ended: Ended) -> None:
    """A command that failed is right about what it has left (docs/contract.md, "Exit codes").

    An image on trial that the lock gave up by itself, at a reset, is no deed of the command.
    """
    error, running = ended.error, yard.board.core.running_version
    if isinstance(error, UnfinishedError):
        runs = None if running is None else str(running)
        if error.boots != runs:
            raise Broken(Promise.DECLARED, f"it says that {error.boots} boots, {runs} does")
    nothing = isinstance(error, FailedError | RefusedError | KeyboardInterrupt)
    gave_up = facts.receipts and facts.receipts[-1].result is ActResult.REVERTED
    if nothing and not gave_up and yard.touch_marks() != yard.touched:
        raise Broken(Promise.DECLARED, f"{ended}: it says that nothing was changed, and it was")


def _check_success(yard: Yard, facts: Facts, ended: Ended) -> None:
    start, state = yard.start, facts.state
    goal, running = start.flow.goal, yard.board.core.running
    runs = None if running is None else start.holds(facts.flash, running)
    if runs != goal or running is not state.boot.active or state.boot.trial is not Trial.NONE:
        raise Broken(
            Promise.FALSE_SUCCESS,
            f"{ended.outcome} was said, {runs or 'nothing'} runs, trial {state.boot.trial.name}",
        )
    if state.act.is_open:
        raise Broken(Promise.FALSE_SUCCESS, f"{ended.outcome} was said, the act is still open")
    last = facts.receipts[-1] if facts.receipts else None
    if last is None or (last.result, last.image_digest) != (ActResult.DONE, _digest(start, goal)):
        raise Broken(Promise.FALSE_SUCCESS, f"{ended.outcome} was said without the lock's receipt")


def _digest(start: Start, version: str) -> bytes:
    return start.digests[version]
