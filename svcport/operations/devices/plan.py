"""How an image gets to run on a device, decided before anything moves: a way, or the refusals.

* Serial recovery writes over the image in slot 0; the boot loader judges it at the next reset.
* A boot loader that can try images: to the slot that does not run, a trial, confirm.
* One that starts the highest version: a newer image to the other slot; an older one only through
  serial recovery, once the other slot is empty.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from images import VerifiedImage
from svcport.catalogue.client import Catalogue
from svcport.errors import Reason, Refusal, in_order
from svcport.locks.device import DeviceSlot, DeviceView
from svcport.locks.snapshot import LockKind
from svcport.operations.plan import Step


class Way(Enum):
    """How an image gets to run."""

    OVERWRITE = "overwrite slot 0 in serial recovery"
    TRIAL = "write the other slot, start it on trial, confirm"
    HIGHER = "write the other slot, whose higher version starts"
    RECOVERY = "go into serial recovery and overwrite slot 0"
    CLEARED = "empty the other slot, go into serial recovery and overwrite slot 0"


@dataclass(frozen=True, slots=True)
class DevicePlan:
    """What would be done to one device.

    Attributes:
        way: how; of a plan that is refused, how it would have been.
        digest: of the image that shall run, value of its hash TLV.
        version: of that image, as reports write it.
        refusals: every reason against it, ranked.
        steps: every check and every step, in order.
    """

    way: Way
    digest: bytes
    version: str
    refusals: tuple[Refusal, ...]
    steps: tuple[Step, ...]


def plan_restore(view: DeviceView, image: VerifiedImage, *, can_try: bool) -> DevicePlan:
    """The plan of bringing `image` onto a device.

    Args:
        view: what it says of itself.
        image: verified here.
        can_try: whether its boot loader starts images on trial.
    """
    way = _way(view, image, can_try=can_try)
    refusals = [*_too_large(view, image), *_outranked(view, image, way)]
    signed = f"signed by {image.signer[:16]}" if image.signer else "not signed: hash only"
    checks = [
        ("image", f"{image.version} ({image.digest.hex()[:16]}), {signed}", ""),
        ("room", _room(view, image), "image-model"),
        ("starts", way.value, "not-bootable"),
        ("security counter", _counter_words(image.security_counter), ""),
    ]
    todo = [
        ("record", "write the signed intent to the ledger"),
        *_steps(way),
        ("prove", "read version and hash of what runs after the restart"),
    ]
    steps = _as_steps(checks, todo, refusals)
    return DevicePlan(way, image.digest, str(image.version), in_order(refusals), steps)


def plan_rollback(view: DeviceView, releases: Catalogue | None, *, can_try: bool) -> DevicePlan:
    """The plan of going back to the image in the other slot."""
    running, other = view.running, view.other
    refusals = _not_older(view, other, can_try=can_try)
    if not refusals and running is not None and other is not None:
        refusals = _lower_counter(running, other, releases)
    version = str(other.version) if other is not None and other.version else "none"
    digest = other.digest if other is not None and other.digest else b""
    checks = [
        ("image", f"{version} ({digest.hex()[:16]}) in the other slot", "no-older-image"),
        ("security counter", _counters(running, other, releases), "anti-rollback"),
    ]
    todo = [
        ("record", "write the signed intent to the ledger"),
        *_steps(Way.TRIAL)[1:],
        ("prove", "read version and hash of what runs after the restart"),
    ]
    steps = _as_steps(checks, todo, refusals)
    return DevicePlan(Way.TRIAL, digest, version, in_order(refusals), steps)


def _way(view: DeviceView, image: VerifiedImage, *, can_try: bool) -> Way:
    if view.kind is LockKind.MCUBOOT_RECOVERY:
        return Way.OVERWRITE
    if can_try:
        return Way.TRIAL
    running = view.running
    if running is not None and running.slot != 0:
        return Way.RECOVERY
    newest = max((slot.version for slot in view.slots if slot.version), default=None)
    return Way.HIGHER if newest is None or image.version > newest else Way.CLEARED


def _steps(way: Way) -> list[tuple[str, str]]:
    write = ("write", "send the image to the slot that does not run")
    over = ("write", "send the image over slot 0: what was there is gone from the first byte on")
    start = ("restart", "have the boot loader judge and start it")
    match way:
        case Way.TRIAL:
            trial = ("trial", "boot it once on trial; any reset brings the present image back")
            return [write, trial, ("confirm", "keep it")]
        case Way.HIGHER:
            return [write, start]
        case Way.OVERWRITE:
            return [over, start]
        case Way.RECOVERY | Way.CLEARED:
            enter = ("recovery", "restart the device into serial recovery")
            clear = [("erase", "empty the other slot")] if way is Way.CLEARED else []
            return [*clear, enter, over, start]


def _too_large(view: DeviceView, image: VerifiedImage) -> list[Refusal]:
    size = view.slot_size
    if size is None or image.size <= size:
        return []
    no = f"the image has {image.size} bytes, the device's slot {size}"
    return [Refusal(Reason.IMAGE_MODEL, no, "take the image that was built for this device")]


def _outranked(view: DeviceView, image: VerifiedImage, way: Way) -> list[Refusal]:
    """Where the highest version starts, an image in slot 0 loses against a higher one in slot 1."""
    if way is Way.RECOVERY or (way is Way.OVERWRITE and "ram-load" in image.features):
        rivals = [slot for slot in view.slots if slot.slot != 0 and slot.version is not None]
        for rival in rivals:
            if rival.version is not None and rival.version >= image.version:
                no = (
                    f"slot {rival.slot} holds {rival.version}, which this boot loader would start "
                    f"instead of {image.version} in slot 0, and it cannot be emptied from here"
                )
                return [Refusal(Reason.NOT_BOOTABLE, no, "restore a version above that one")]
    return []


def _not_older(view: DeviceView, other: DeviceSlot | None, *, can_try: bool) -> list[Refusal]:
    hint = "svcport restore --image FILE brings one"
    running = view.running
    if running is None or running.version is None:
        no = "no application runs on this device, so there is nothing to go back from"
        return [Refusal(Reason.NO_OLDER_IMAGE, no, hint)]
    if not can_try:
        no = "this boot loader starts the highest version: it does not go back by itself"
        return [Refusal(Reason.NO_OLDER_IMAGE, no, hint)]
    if other is None or other.version is None or other.digest is None:
        no = "the device holds no other image: the one before is gone, or was never listed"
        return [Refusal(Reason.NO_OLDER_IMAGE, no, hint)]
    if other.version >= running.version:
        no = f"the other slot holds {other.version}, not lower than {running.version} that runs"
        return [Refusal(Reason.NO_OLDER_IMAGE, no, "to go up again use svcport restore")]
    if other.bootable is False:
        no = f"the device says that {other.version} in the other slot would not boot"
        return [Refusal(Reason.NOT_BOOTABLE, no, hint)]
    return []


def _lower_counter(
    running: DeviceSlot, other: DeviceSlot, releases: Catalogue | None
) -> list[Refusal]:
    now, then = _counter(running, releases), _counter(other, releases)
    if now is None or then is None or then >= now:
        return []
    no = f"the older image's security counter is {then}, that of the running one {now}"
    hint = "a boot loader that counts would refuse it: have it signed with a higher counter"
    return [Refusal(Reason.ANTI_ROLLBACK, no, hint)]


def _counter(slot: DeviceSlot | None, releases: Catalogue | None) -> int | None:
    """What the catalogue knows of an image's security counter; the device tells none."""
    if slot is None or slot.digest is None or releases is None:
        return None
    known = (one for model in releases.models for one in releases.releases(model))
    return next((one.security_counter for one in known if one.digest == slot.digest), None)


def _counters(
    running: DeviceSlot | None, other: DeviceSlot | None, releases: Catalogue | None
) -> str:
    now, then = _counter(running, releases), _counter(other, releases)
    if now is None or then is None:
        return (
            "this port tells none, and the catalogue does not know both images: a boot loader that "
            "counts refuses a lower one at the trial, and the present image stays"
        )
    return f"running image {now}, older image {then}"


def _counter_words(counter: int | None) -> str:
    if counter is None:
        return "the image has none"
    return f"{counter}: after it is confirmed, a boot loader that counts refuses images below it"


def _room(view: DeviceView, image: VerifiedImage) -> str:
    size = "a slot whose size it does not tell" if view.slot_size is None else str(view.slot_size)
    return f"{image.size} bytes into {size}"


def _as_steps(
    checks: list[tuple[str, str, str]], todo: list[tuple[str, str]], refusals: list[Refusal]
) -> tuple[Step, ...]:
    against = {str(refusal.reason) for refusal in refusals}
    judged = [
        Step(name, "refused" if reason in against else "pass", detail)
        for name, detail, reason in checks
    ]
    return (*judged, *(Step(name, "todo", detail) for name, detail in todo))
