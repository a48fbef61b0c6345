"""The end of an act: the image on trial tested, confirmed, measured and recorded; or given up."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from protocol.objects import Receipt
from protocol.refusal import SelfTestPart
from protocol.sealed import Sealed
from protocol.values import ActResult, Op, Slot, SlotState
from svcport.errors import FailedError, Reason, RefusedError, SvcportError, UnfinishedError
from svcport.operations.act import boots_now, on_trial
from svcport.operations.progress import heed_of
from svcport.operations.report import with_facts
from svcport.operations.settle import op_word, settle, take_receipts
from svcport.operations.visit import Visit


@dataclass(frozen=True, slots=True)
class Finished:
    """An act that the lock itself calls done.

    Attributes:
        after: `after` of the report: what runs now, as measured.
        receipt: the lock's.
        index: ledger index of the RESULT.
    """

    after: dict[str, Any]
    receipt: Receipt
    index: int

    def facts(self, visit: Visit) -> dict[str, Any]:
        """Members of the report."""
        return {
            "after": self.after,
            "receipt": {"seq": self.receipt.seq, "result": self.receipt.result.name.lower()},
            "ledger": {"origin": visit.inst.ledger.origin, "index": self.index},
        }


def try_and_confirm(visit: Visit, intent: Sealed, digest: bytes) -> Finished:
    """After ACTIVATE or ROLLBACK: wait for the lock, then `confirm_trial`."""
    with on_trial(visit, intent):
        visit.progress.step("waiting for the lock to restart")
        _await_restart(visit)
        visit.lock.regain_speed()
        visit.progress.step("asking the lock what runs now")
        visit.look_at_slots()
    return confirm_trial(visit, intent, digest)


def confirm_trial(visit: Visit, intent: Sealed | None, digest: bytes) -> Finished:
    """Test and confirm the image on trial, which should be `digest`; then measure and record.

    Args:
        visit: in a session after the reset.
        intent: this ledger's INTENT of the act; None if another station opened it.
        digest: the image that should be on trial.

    Raises:
        UnknownOutcomeError: an answer is missing.
        UnfinishedError: the lock fell back to the image before, or the new one failed its test.
    """
    with on_trial(visit, intent):
        running = visit.snapshot.running
        if running is None or running.digest != digest or running.state is not SlotState.TRYING:
            raise _fell_back(visit, intent, "the new image did not stay up on trial")
        visit.progress.step("having the lock test itself")
        failed = visit.lock.self_test()
        if failed:
            _give_up(visit)
            raise _fell_back(visit, intent, f"the new image fails its test of {parts_of(failed)}")
        visit.progress.step("confirming the new image")
        return _close(visit, intent, visit.lock.confirm(), running.slot, digest)


def parts_of(failed: SelfTestPart) -> str:
    """The parts that failed, in words."""
    return ", ".join(str(part.name).lower() for part in SelfTestPart if part in failed)


def finish_trial(visit: Visit, digest: bytes, ops: tuple[Op, ...]) -> Finished | None:
    """Deal with an image on trial: keep it if it is what is asked for, else have it given up.

    Afterwards either the act is finished, or nothing is on trial and the snapshot is fresh.
    """
    running, act = visit.snapshot.running, visit.snapshot.act
    if running is None or running.state is not SlotState.TRYING:
        return None
    if running.digest == digest and act.op in ops:
        _require_right(visit, act.op)
        return confirm_trial(visit, _open_intent(visit, act.intent_hash), digest)
    with on_trial(visit, None):
        _give_up(visit)
    settle(visit)
    return None


def _require_right(visit: Visit, op: Op) -> None:
    """Refuse (`no-permit`) to confirm an act of an operation that this credential never allows."""
    credential = visit.inst.credential
    if op not in credential.effective_ops:
        word, role = op_word(op), credential.role.name.lower()
        raise RefusedError(
            Reason.NO_PERMIT,
            f"the image on trial came by a {word}, which your credential as {role} cannot confirm",
            hint="have it confirmed where it was begun, or wait: unconfirmed, it falls back",
        )


def _give_up(visit: Visit) -> None:
    visit.progress.step("giving up the image on trial: going back to the one before")
    visit.lock.reset()
    _await_restart(visit)
    visit.look()


def _await_restart(visit: Visit) -> None:
    """Wait for the lock; whoever wants to stop need not, for it is on trial either way."""
    visit.lock.come_back(heed=heed_of(visit.progress))


def _open_intent(visit: Visit, intent_hash: bytes) -> Sealed | None:
    """This ledger's INTENT of the lock's open act; None if another station opened it."""
    for intent in visit.inst.ledger.open_intents(visit.lock.serial):
        if intent.intent_hash == intent_hash:
            return Sealed.parse(intent.sealed)
    return None


def _close(visit: Visit, intent: Sealed | None, data: bytes, slot: Slot, digest: bytes) -> Finished:
    """Check the receipt, write RESULT and checkpoint, ask the lock once more what runs."""
    receipts = take_receipts(visit, intent, newest=data)
    taken = next((one for one in receipts if one.data == data), None)
    if taken is None or (taken.receipt.result, taken.receipt.image_digest) != (
        ActResult.DONE,
        digest,
    ):
        raise FailedError(Reason.RECEIPT_INVALID, "the lock's receipt is not for this act")
    after = visit.look_at_slots().slot(slot)
    if taken.receipt.after is not None:
        counter = taken.receipt.after.security_counter
        visit.snapshot = replace(visit.snapshot, security_counter=counter)
    statement = visit.lock.measure(slot, None)
    if after.state is not SlotState.RUNNING or statement.image_digest != digest:
        raise FailedError(Reason.NOT_CONFIRMED, "the lock confirmed, then states another image")
    shown = {"version": str(after.version), "digest": digest.hex(), "confirmed": True}
    return Finished(shown, taken.receipt, taken.index)


def _fell_back(visit: Visit, intent: Sealed | None, why: str) -> SvcportError:
    """What to raise after a trial that ended by itself; its receipt goes into the ledger."""
    take_receipts(visit, intent)
    visit.inst.ledger.checkpoint(visit.inst.now())
    boots = boots_now(visit.snapshot)
    error = UnfinishedError(
        Reason.NOT_CONFIRMED,
        f"{why}; {boots or 'nothing'} runs",
        boots=boots,
        hint="svcport diagnose shows why; report the image to the vendor before trying it again",
    )
    return with_facts(error, **visit.facts())
