"""What an operation will do, decided before anything moves: steps, or every refusal. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from images import VerifiedImage
from protocol.objects import EpochStatement, TicketMode, ticket_id
from protocol.values import ZERO_DIGEST, ImageVersion, Op, Phase, SlotState
from svcport.authorisation.credentials import Credential
from svcport.authorisation.policy import Permit, authorise, judge, needs_ticket
from svcport.authorisation.request import PermitRequest
from svcport.authorisation.tickets import HeldTicket
from svcport.catalogue.client import Catalogue
from svcport.errors import Reason, Refusal, RefusedError, in_order
from svcport.locks.snapshot import SlotView, Snapshot
from svcport.operations.source import ChosenImage

BATTERY_FLOOR_MV: Final = 4000
"""Under load, below this a motor may stall: the lock is not worth restoring on such a battery."""

TICKET_WINDOW: Final = 64
"""Counters that a lock remembers one by one; older ones are spent for it."""


@dataclass(frozen=True, slots=True)
class Step:
    """One line of a plan: what is looked at or done, and how it stands."""

    name: str
    result: str
    detail: str

    def as_json(self) -> dict[str, str]:
        """The step as `plan[]` shows it."""
        return {"name": self.name, "result": self.result, "detail": self.detail}


@dataclass(frozen=True, slots=True)
class Plan:
    """What would be done to one lock.

    Attributes:
        op: the smallest right that does it.
        digest: SHA-256 digest of the image that shall run.
        version: of that image.
        refusals: every reason against it, ranked; empty if it may go ahead.
        steps: every check and every step, in order.
    """

    op: Op
    digest: bytes
    version: ImageVersion
    request: PermitRequest
    refusals: tuple[Refusal, ...]
    steps: tuple[Step, ...]

    def as_json(self) -> list[dict[str, str]]:
        """The `plan` member."""
        return [step.as_json() for step in self.steps]


@dataclass(frozen=True, slots=True)
class Powers:
    """Who asks, with which tickets, when.

    `lock_nonce` is the lock's present nonce, asked where a nonce ticket for it is held.
    """

    credential: Credential
    tickets: tuple[HeldTicket, ...]
    epoch: EpochStatement | None
    now: datetime
    lock_nonce: bytes | None = None

    def against(self, request: PermitRequest) -> tuple[Refusal, ...]:
        """Every reason why no permit would be given."""
        return judge(self.credential, request, self.tickets, self.epoch, self.now)

    def permit(self, plan: Plan) -> Permit:
        """The permit for a plan; RefusedError with all of the plan's refusals."""
        if plan.refusals:
            raise RefusedError.of(plan.refusals)
        return authorise(self.credential, plan.request, self.tickets, self.epoch, self.now)


def plan_restore(
    snapshot: Snapshot, chosen: ChosenImage, catalogue: Catalogue, powers: Powers, case: str | None
) -> Plan:
    """The plan of bringing `chosen` onto the lock of `snapshot`."""
    op = _restore_op(snapshot, chosen)
    image = chosen.image
    request = _request(snapshot, powers, op, image.digest, image.security_counter, case)
    refusals = [
        *_image_fits(snapshot, image),
        *_withdrawn(snapshot, catalogue, chosen.version, image.digest),
        *_counter(snapshot, image.security_counter),
        *_battery(snapshot),
        *powers.against(request),
    ]
    if op is Op.UPDATE and catalogue.expired:
        refusals.append(_expired(catalogue))
    target = f"{chosen.version} ({image.digest.hex()[:16]})"
    checks = [
        ("image", f"{target}, signed by {image.signer[:16]}", ("image-model",)),
        ("catalogue", _catalogue_says(chosen, catalogue), ("image-withdrawn", "catalogue-expired")),
        ("security counter", _counters(snapshot, image.security_counter), ("anti-rollback",)),
        ("battery", f"{snapshot.battery_load_mv} mV under load", ("battery-low",)),
        ("permit", _permit_words(powers, op), _PERMIT_REASONS),
    ]
    todo = [
        ("record", "write the signed intent to the ledger"),
        ("write", "send the sectors that differ to the slot that does not run"),
        ("commit", "have the lock verify the whole image"),
        *_trial_steps(snapshot, image.security_counter),
    ]
    steps = _steps(checks, todo, refusals)
    return Plan(op, image.digest, chosen.version, request, in_order(refusals), steps)


def plan_rollback(
    snapshot: Snapshot, catalogue: Catalogue, powers: Powers, case: str | None
) -> Plan:
    """The plan of going back to the image in the slot that does not run."""
    other = snapshot.other
    version = other.version if other and other.version else ImageVersion(0, 0, 0, 0)
    digest = other.digest if other and other.digest else ZERO_DIGEST
    counter = other.security_counter if other else None
    request = _request(snapshot, powers, Op.ROLLBACK, digest, counter, case)
    refusals = [*_not_older(snapshot, other), *_battery(snapshot)]
    if other is not None and other.version is not None:
        refusals += [
            *_withdrawn(snapshot, catalogue, version, digest),
            *_counter(snapshot, counter),
            *powers.against(request),
        ]
    checks = [
        ("other slot", _slot_words(other), ("no-older-image", "not-bootable")),
        ("catalogue", f"version {catalogue.version}", ("image-withdrawn", "catalogue-expired")),
        ("security counter", _counters(snapshot, counter), ("anti-rollback",)),
        ("battery", f"{snapshot.battery_load_mv} mV under load", ("battery-low",)),
        ("permit", _permit_words(powers, Op.ROLLBACK), _PERMIT_REASONS),
    ]
    todo = [
        ("record", "write the signed intent to the ledger"),
        *_trial_steps(snapshot, counter),
    ]
    steps = _steps(checks, todo, refusals)
    return Plan(Op.ROLLBACK, digest, version, request, in_order(refusals), steps)


_PERMIT_REASONS: Final = (
    "revoked",
    "credential-expired",
    "permit-expired",
    "permit-lock",
    "permit-image",
    "permit-used",
    "no-permit",
)


def _restore_op(snapshot: Snapshot, chosen: ChosenImage) -> Op:
    """The smallest right: `update` for an approved image that is newer, or where nothing runs."""
    running = snapshot.running
    forward = running is None or running.version is None or chosen.version > running.version
    return Op.UPDATE if chosen.approved and forward else Op.RESTORE


def _request(
    snapshot: Snapshot,
    powers: Powers,
    op: Op,
    digest: bytes,
    counter: int | None,
    case: str | None,
) -> PermitRequest:
    act = snapshot.act
    same_act = act.phase is not Phase.NONE and (act.op, act.image_digest) == (op, digest)
    going_on = act.ticket_id if same_act and act.ticket_id != ZERO_DIGEST else None
    return PermitRequest(
        op=op,
        lock_serial=snapshot.serial,
        lock_model=snapshot.model,
        lock_batch=snapshot.batch,
        image_digest=digest,
        security_counter=counter,
        case_id=case,
        lock_nonce=powers.lock_nonce,
        unusable=spent_tickets(snapshot, powers.tickets) - {going_on or b""},
        continue_ticket_id=going_on,
    )


def spent_tickets(snapshot: Snapshot, tickets: tuple[HeldTicket, ...]) -> frozenset[bytes]:
    """Ids of the counter tickets that this lock has consumed, or counts as too old."""
    act = snapshot.act

    def spent(counter: int) -> bool:
        behind = act.ticket_high - counter
        if behind < 0 or act.ticket_high == 0:
            return False
        return behind >= TICKET_WINDOW or bool(act.ticket_window >> behind & 1)

    return frozenset(
        ticket_id(held.sealed.signer, held.ticket)
        for held in tickets
        if held.ticket.lock_serial == snapshot.serial
        and held.ticket.mode is TicketMode.COUNTER
        and held.ticket.counter is not None
        and spent(held.ticket.counter)
    )


def _image_fits(snapshot: Snapshot, image: VerifiedImage) -> list[Refusal]:
    lock = f"model {snapshot.model}, hardware {snapshot.hardware}, batch {snapshot.batch}"
    hint = "take the image that the catalogue has for this model"
    if image.metadata is None:
        no = f"the image does not say which locks it is for; this one is {lock}"
        return [Refusal(Reason.IMAGE_MODEL, no, hint)]
    if not image.metadata.covers(snapshot.model, snapshot.hardware, snapshot.batch):
        made_for = f"model {image.metadata.model}, hardware {', '.join(image.metadata.hardware)}"
        no = f"the image is for {made_for}; this lock is {lock}"
        return [Refusal(Reason.IMAGE_MODEL, no, hint)]
    if len(image.data) > snapshot.slot_size:
        no = f"the image has {len(image.data)} bytes, the slot {snapshot.slot_size}"
        return [Refusal(Reason.IMAGE_MODEL, no, hint)]
    return []


def _withdrawn(
    snapshot: Snapshot, catalogue: Catalogue, version: ImageVersion, digest: bytes
) -> list[Refusal]:
    if catalogue.is_withdrawn(snapshot.model, snapshot.batch, str(version), digest):
        no = f"the vendor has withdrawn version {version}"
        hint = "restore the version that the catalogue approves: svcport restore"
        return [Refusal(Reason.IMAGE_WITHDRAWN, no, hint)]
    return []


def _counter(snapshot: Snapshot, counter: int | None) -> list[Refusal]:
    if counter is not None and counter >= snapshot.security_counter:
        return []
    seen = "none" if counter is None else str(counter)
    no = f"the image's security counter is {seen}, the lock's is {snapshot.security_counter}"
    hint = "no flag crosses this: the vendor must sign the old code again with a higher counter"
    return [Refusal(Reason.ANTI_ROLLBACK, no, hint)]


def _not_older(snapshot: Snapshot, other: SlotView | None) -> list[Refusal]:
    running = snapshot.running
    if other is None or running is None or running.version is None:
        no = "nothing runs on this lock, so there is nothing to go back from"
        return [Refusal(Reason.NO_OLDER_IMAGE, no, "svcport restore brings an image")]
    if other.version is None:
        if other.state is SlotState.EMPTY:
            no = "the other slot is empty"
            return [Refusal(Reason.NO_OLDER_IMAGE, no, "svcport restore --version brings one")]
        no = f"the other slot holds no image that verifies ({other.state.name.lower()})"
        return [Refusal(Reason.NOT_BOOTABLE, no, "svcport restore --version brings one")]
    if other.version >= running.version:
        no = f"the other slot holds {other.version}, not lower than {running.version} that runs"
        return [Refusal(Reason.NO_OLDER_IMAGE, no, "to go up again use svcport restore")]
    counter = other.security_counter
    if not other.bootable and counter is not None and counter >= snapshot.security_counter:
        no = f"the lock says that {other.version} in the other slot would not boot"
        return [Refusal(Reason.NOT_BOOTABLE, no, "svcport restore --version brings it anew")]
    return []


def _battery(snapshot: Snapshot) -> list[Refusal]:
    if snapshot.battery_load_mv >= BATTERY_FLOOR_MV:
        return []
    no = (
        f"the battery gives {snapshot.battery_load_mv} mV under load, {BATTERY_FLOOR_MV} are needed"
    )
    return [Refusal(Reason.BATTERY_LOW, no, "put fresh batteries in, then run it again")]


def _expired(catalogue: Catalogue) -> Refusal:
    return Refusal(
        Reason.CATALOGUE_EXPIRED,
        f"the catalogue expired at {catalogue.expires:%Y-%m-%d %H:%M} UTC",
        "run svcport setup with a fresh catalogue, or use a ticket that names the image",
    )


def _catalogue_says(chosen: ChosenImage, catalogue: Catalogue) -> str:
    if chosen.approved:
        return f"approved for this lock by catalogue version {catalogue.version}"
    known = "listed, not what is approved" if chosen.release else "not listed"
    return f"{known} in catalogue version {catalogue.version}: a restore ticket must name it"


def _counters(snapshot: Snapshot, counter: int | None) -> str:
    return f"image {'none' if counter is None else counter}, lock {snapshot.security_counter}"


def _slot_words(slot: SlotView | None) -> str:
    if slot is None:
        return "nothing runs"
    return f"{slot.version or 'no image'} ({slot.state.name.lower()})"


def _permit_words(powers: Powers, op: Op) -> str:
    with_ticket = needs_ticket(powers.credential.role, op)
    word = str(op.name).lower()
    return f"right to {word}" + (", with a ticket for this lock" if with_ticket else "")


def _trial_steps(snapshot: Snapshot, counter: int | None) -> list[tuple[str, str]]:
    keep = "confirm it, and take the lock's signed receipt"
    if counter is not None and counter > snapshot.security_counter:
        keep += f"; images with a counter below {counter} are gone for ever then"
    return [
        ("trial", "boot it once on trial; any reset brings the present image back"),
        ("self-test", "have the lock test itself"),
        ("confirm", keep),
    ]


def _steps(
    checks: list[tuple[str, str, tuple[str, ...]]],
    todo: list[tuple[str, str]],
    refusals: list[Refusal],
) -> tuple[Step, ...]:
    against = {str(refusal.reason) for refusal in refusals}
    judged = [
        Step(name, "refused" if against & set(reasons) else "pass", detail)
        for name, detail, reasons in checks
    ]
    return (*judged, *(Step(name, "todo", detail) for name, detail in todo))
