"""Go back to the image in a device's other slot, as long as it is there."""

from __future__ import annotations

from protocol.values import Op
from svcport.errors import Outcome, RefusedError
from svcport.locks.snapshot import LockKind
from svcport.operations.devices.act import (
    before_restart,
    boots_next,
    device_act,
    done_facts,
    prove,
    restarting,
    state_json,
)
from svcport.operations.devices.plan import plan_rollback
from svcport.operations.devices.restore import dry_run_report
from svcport.operations.devices.visit import DeviceVisit
from svcport.operations.report import Report


def rollback_device(stay: DeviceVisit, *, dry_run: bool) -> Report:
    """Start the older image in the other slot on trial, and confirm it.

    A running image that is itself on trial is given up by a restart, which is the same thing.

    Raises:
        RefusedError: `no-older-image`, `not-bootable`, `anti-rollback`.
        SvcportError: see docs/contract.md.
    """
    can_try = stay.view.kind is LockKind.ZEPHYR_SMP and stay.lock.can_try()
    plan = plan_rollback(stay.view, stay.work.known_releases, can_try=can_try)
    if dry_run:
        return dry_run_report(stay, plan, "roll back")
    if plan.refusals:
        raise RefusedError.of(plan.refusals)
    before, running = state_json(stay.view), stay.view.running
    with device_act(stay, Op.ROLLBACK, plan.digest, plan.version) as act:
        if running is None or running.confirmed is not False:
            with before_restart(act, boots_next(stay.view)):
                stay.progress.step("starting the image before on trial")
                stay.lock.mark_test(plan.digest)
        with restarting(act):
            stay.restart()
            prove(act)
        facts = done_facts(act, before)
        return Report(
            Outcome.OK,
            f"the {stay.name} runs {plan.version} again, as its application claims",
            facts=facts,
        )
