"""Put an approved image on a lock and prove that it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from images import VerifiedImage
from protocol.objects import TicketMode
from protocol.values import Op, SlotState
from svcport.authorisation.policy import Permit
from svcport.errors import Outcome, RefusedError
from svcport.locks.snapshot import Snapshot
from svcport.operations.act import opening_trial, record_intent, under_way
from svcport.operations.measuring import runs_confirmed
from svcport.operations.plan import Plan, Powers, plan_restore
from svcport.operations.report import Report, refusals_json
from svcport.operations.settle import settle
from svcport.operations.source import ChosenImage, choose
from svcport.operations.transfer import Tally, bring, encode_ahead
from svcport.operations.trial import Finished, finish_trial, try_and_confirm
from svcport.operations.visit import Visit


def restore_lock(
    stay: Visit,
    *,
    image: Path | None = None,
    version: str | None = None,
    dry_run: bool = False,
) -> Report:
    """Bring an image onto the lock.

    Args:
        stay: the visit.
        image: a file; else `version` of the catalogue; else what the catalogue approves.
        version: see `image`.
        dry_run: only say what would be done.

    Raises:
        SvcportError: see docs/contract.md; what it means for the lock is its class.
    """
    stay.progress.step("choosing the image")
    chosen = choose(stay.inst, stay.snapshot, file=image, version=version)
    if dry_run:
        return _dry_run(stay, chosen)
    if stay.snapshot.running_digest != chosen.image.digest:
        encode_ahead(stay, chosen.image)
        stay.lock.raise_speed(stay.snapshot.max_baud)
    settle(stay)
    before = before_json(stay.snapshot)
    if runs_confirmed(stay, chosen.image.digest, chosen.image.data):
        return _nothing_to_do(stay, chosen, before)
    finished = finish_trial(stay, chosen.image.digest, (Op.UPDATE, Op.RESTORE))
    if finished is not None:
        return _done(stay, chosen, before, finished, None)
    mine = powers(stay)
    permit = mine.permit(_plan(stay, chosen, mine))
    finished, tally = _act(stay, chosen.image, permit)
    return _done(stay, chosen, before, finished, tally)


def powers(stay: Visit) -> Powers:
    """Who asks, with which tickets, now; a lock's nonce is asked only where a ticket names one."""
    inst, serial = stay.inst, stay.lock.serial
    tickets = inst.tickets(serial, stay.target.tickets).tickets
    by_nonce = any(
        (held.ticket.mode, held.ticket.lock_serial) == (TicketMode.NONCE, serial)
        for held in tickets
    )
    nonce = stay.lock.nonce() if by_nonce else None
    return Powers(inst.credential, tickets, inst.newest_epoch(), inst.now(), nonce)


def before_json(snapshot: Snapshot) -> dict[str, Any]:
    """The `before` member: what ran when the visit began."""
    running = snapshot.running
    if running is None or running.digest is None:
        return {"version": None, "digest": None, "confirmed": False}
    return {
        "version": str(running.version),
        "digest": running.digest.hex(),
        "confirmed": running.state is SlotState.RUNNING,
    }


def _plan(stay: Visit, chosen: ChosenImage, mine: Powers) -> Plan:
    catalogue, case = stay.inst.catalogue, stay.target.case_id
    return plan_restore(stay.snapshot, chosen, catalogue, mine, case)


def _act(stay: Visit, image: VerifiedImage, permit: Permit) -> tuple[Finished, Tally]:
    intent = record_intent(stay, permit)
    with under_way():
        tally = bring(stay, image, permit, intent)
        with opening_trial(stay, intent):
            stay.progress.step("starting the new image on trial")
            stay.lock.activate()
        return try_and_confirm(stay, intent, image.digest), tally


def _dry_run(stay: Visit, chosen: ChosenImage) -> Report:
    plan = _plan(stay, chosen, powers(stay))
    if runs_confirmed(stay, chosen.image.digest, chosen.image.data):
        return Report(
            Outcome.NOTHING_TO_DO,
            f"lock {stay.lock.serial} runs {chosen.version} already",
            facts={**stay.facts(), "plan": [], "refusals": []},
        )
    return dry_run_report(stay, plan)


def dry_run_report(stay: Visit, plan: Plan) -> Report:
    """The report of a dry run; RefusedError with the plan where it would be refused."""
    facts = {**stay.facts(), "plan": plan.as_json()}
    if plan.refusals:
        error = RefusedError.of(plan.refusals)
        error.facts = facts
        raise error
    word = str(plan.op.name).lower()
    return Report(
        Outcome.OK,
        f"would {word} lock {stay.lock.serial} to {plan.version}; nothing was changed",
        facts={**facts, "refusals": refusals_json(())},
    )


def _nothing_to_do(stay: Visit, chosen: ChosenImage, before: dict[str, Any]) -> Report:
    return Report(
        Outcome.NOTHING_TO_DO,
        f"lock {stay.lock.serial} runs {chosen.version} already, measured and confirmed",
        facts={**stay.facts(), "before": before, "after": before},
    )


def _done(
    stay: Visit,
    chosen: ChosenImage,
    before: dict[str, Any],
    finished: Finished,
    tally: Tally | None,
) -> Report:
    return Report(
        Outcome.OK,
        f"lock {stay.lock.serial} runs {chosen.version}: restarted, tested and confirmed",
        facts={
            **stay.facts(),
            "before": before,
            "transfer": tally.as_json() if tally else None,
            **finished.facts(stay),
        },
    )
