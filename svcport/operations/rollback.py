"""Go back to the image in the slot that does not run, if it is older, sound and allowed."""

from __future__ import annotations

from typing import Any

from protocol.acts import Rollback
from protocol.values import ActResult, Op, SlotState
from svcport.authorisation.policy import Permit
from svcport.errors import Outcome
from svcport.operations.act import opening, record_intent, under_way
from svcport.operations.plan import Plan, Powers, plan_rollback
from svcport.operations.report import Report
from svcport.operations.restore import before_json, dry_run_report, powers
from svcport.operations.settle import settle
from svcport.operations.trial import Finished, finish_trial, try_and_confirm
from svcport.operations.visit import Visit


def rollback_lock(stay: Visit, *, dry_run: bool = False) -> Report:
    """Bring the other slot's image back; both slots and both counters are read first.

    Raises:
        RefusedError: `no-older-image`, `not-bootable`, `image-withdrawn`, `anti-rollback`,
            `battery-low`, or no permit.
        SvcportError: see docs/contract.md.
    """
    if _is_done(stay):
        return _nothing_to_do(stay)
    if dry_run:
        return dry_run_report(stay, _plan(stay, powers(stay)))
    settle(stay)
    before = before_json(stay.snapshot)
    running = stay.snapshot.running
    if stay.snapshot.on_trial and running is not None and running.digest is not None:
        finished = finish_trial(stay, running.digest, (Op.ROLLBACK,))
        if finished is not None:
            return _done(stay, before, finished)
    mine = powers(stay)
    permit = mine.permit(_plan(stay, mine))
    return _done(stay, before, _act(stay, permit))


def _plan(stay: Visit, mine: Powers) -> Plan:
    return plan_rollback(stay.snapshot, stay.inst.catalogue, mine, stay.target.case_id)


def _act(stay: Visit, permit: Permit) -> Finished:
    intent = record_intent(stay, permit)
    request = Rollback(intent.build(), permit.ticket or b"", permit.ticket_issuer or b"")
    with under_way():
        with opening(stay, intent, "ROLLBACK"):
            stay.progress.step("starting the image before on trial")
            stay.lock.roll_back(request)
        return try_and_confirm(stay, intent, permit.image_digest)


def _is_done(stay: Visit) -> bool:
    """Whether the last closed act was this rollback, and what it brought still runs."""
    act, running = stay.snapshot.act, stay.snapshot.running
    return (
        running is not None
        and running.state is SlotState.RUNNING
        and (act.last_op, act.last_result) == (Op.ROLLBACK, ActResult.DONE)
        and act.last_digest == running.digest
    )


def _nothing_to_do(stay: Visit) -> Report:
    before = before_json(stay.snapshot)
    return Report(
        Outcome.NOTHING_TO_DO,
        f"lock {stay.lock.serial} has been rolled back to {before['version']} already",
        hint="to go up again use svcport restore",
        facts={**stay.facts(), "before": before, "after": before},
    )


def _done(stay: Visit, before: dict[str, Any], finished: Finished) -> Report:
    return Report(
        Outcome.OK,
        f"lock {stay.lock.serial} runs {finished.after['version']} again: "
        "restarted, tested and confirmed",
        facts={**stay.facts(), "before": before, **finished.facts(stay)},
    )
