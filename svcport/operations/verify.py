"""Judge the image that runs: measured now, signed, known, allowed, confirmed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from protocol.values import SlotState
from svcport.catalogue.release import Release
from svcport.errors import FailedError, Outcome, Reason, RefusedError
from svcport.locks.snapshot import SlotView
from svcport.operations.report import Report
from svcport.operations.source import verified
from svcport.operations.trial import parts_of
from svcport.operations.visit import Visit


class Verdict(StrEnum):
    """How one check came out."""

    PASS = "pass"  # noqa: S105 - a verdict
    FAIL = "fail"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Check:
    """One check and what was seen; `reason` names the report if this is its first failure."""

    name: str
    result: Verdict
    detail: str
    reason: Reason

    def as_json(self) -> dict[str, str]:
        """The check as `checks[]` shows it."""
        return {"name": self.name, "result": str(self.result), "detail": self.detail}


def verify_lock(stay: Visit) -> Report:
    """Whether what runs on the lock is an image that the vendor stands behind.

    The outcome is `differs` if any check fails, else `failed` if one could not be made, else `ok`.
    """
    stay.progress.step("having the lock measure its running image")
    checks = _checks(stay)
    facts = {
        **stay.facts(),
        "checks": [check.as_json() for check in checks],
        "reported": _reported(stay),
    }
    running = stay.snapshot.running
    version = running.version if running else None
    runs = f"runs {version}, as the vendor signed it"
    hint = "svcport diagnose says what to do"
    return verdict_report(f"lock {stay.lock.serial}", runs, checks, facts, hint)


def verdict_report(
    name: str, runs: str, checks: list[Check], facts: dict[str, Any], hint: str
) -> Report:
    """The report that `checks` come to.

    Args:
        name: of the lock, as in a sentence.
        runs: what is said of it if all is well.
        checks: each with the reason that its failure gives the report.
        facts: the report's members.
        hint: what to do if all is not well.
    """
    for outcome, verdict in ((Outcome.DIFFERS, Verdict.FAIL), (Outcome.FAILED, Verdict.UNKNOWN)):
        wrong = [check for check in checks if check.result is verdict]
        if wrong:
            named = "; ".join(f"{check.name}: {check.detail}" for check in wrong)
            message = f"{name} does not verify: {named}"
            return Report(outcome, message, wrong[0].reason, hint, facts)
    return Report(Outcome.OK, f"{name} {runs}", facts=facts)


def _checks(stay: Visit) -> list[Check]:
    running = stay.snapshot.running
    if running is None or running.digest is None:
        detail = "nothing runs on this lock"
        return [Check("measured", Verdict.FAIL, detail, Reason.NOT_BOOTABLE)]
    release = stay.inst.catalogue.find(stay.snapshot.model, digest=running.digest)
    content, signed = _signed(stay, release)
    return [
        _measured(stay, running, content),
        signed,
        _known(release, running),
        _not_withdrawn(stay, running),
        _counter(stay, running),
        _confirmed(running),
    ]


def _signed(stay: Visit, release: Release | None) -> tuple[bytes | None, Check]:
    """The image's bytes from the catalogue, judged here; the lock's own word is not enough."""
    if release is None:
        detail = "the catalogue has no such image to check the signature of"
        return None, Check("signed", Verdict.UNKNOWN, detail, Reason.IMAGE_SIGNATURE)
    try:
        image = verified(stay.inst, stay.inst.catalogue.image(release), release.path)
    except RefusedError as error:
        return None, Check("signed", Verdict.FAIL, error.message, error.reason)
    detail = f"by key {image.signer[:16]}"
    return image.data, Check("signed", Verdict.PASS, detail, Reason.IMAGE_SIGNATURE)


def _measured(stay: Visit, running: SlotView, content: bytes | None) -> Check:
    name, reason = "measured", Reason.IMAGE_HASH
    try:
        statement = stay.lock.measure(running.slot, content)
    except FailedError as error:
        if error.reason is Reason.NOT_MEASURABLE:
            return Check(name, Verdict.FAIL, error.message, reason)
        raise
    if statement.image_digest != running.digest:
        measured = statement.image_digest.hex() if statement.image_digest else "no image"
        return Check(name, Verdict.FAIL, f"the slot measures as {measured}", reason)
    how = "every byte" if content is not None else "the lock's own hash"
    return Check(name, Verdict.PASS, f"{how}, with a fresh nonce, signed by the lock", reason)


def _known(release: Release | None, running: SlotView) -> Check:
    name, reason = "in-catalogue", Reason.IMAGE_SIGNER
    if release is None:
        detail = f"digest {running.digest.hex() if running.digest else ''} is no release"
        return Check(name, Verdict.FAIL, detail, reason)
    return Check(name, Verdict.PASS, f"release {release.version}", reason)


def _not_withdrawn(stay: Visit, running: SlotView) -> Check:
    name, reason, lock = "not-withdrawn", Reason.IMAGE_WITHDRAWN, stay.snapshot
    catalogue = stay.inst.catalogue
    if catalogue.is_withdrawn(lock.model, lock.batch, str(running.version), running.digest):
        return Check(name, Verdict.FAIL, f"the vendor has withdrawn {running.version}", reason)
    if catalogue.expired:
        detail = f"the catalogue expired at {catalogue.expires:%Y-%m-%d}"
        return Check(name, Verdict.UNKNOWN, detail, Reason.CATALOGUE_EXPIRED)
    return Check(name, Verdict.PASS, f"by catalogue version {catalogue.version}", reason)


def _counter(stay: Visit, running: SlotView) -> Check:
    image, lock = running.security_counter, stay.snapshot.security_counter
    verdict = Verdict.PASS if image is not None and image >= lock else Verdict.FAIL
    detail = f"image {image}, lock {lock}"
    return Check("security-counter", verdict, detail, Reason.ANTI_ROLLBACK)


def _confirmed(running: SlotView) -> Check:
    confirmed = running.state is SlotState.RUNNING
    verdict = Verdict.PASS if confirmed else Verdict.FAIL
    detail = "confirmed" if confirmed else "on trial: a reset brings the image before back"
    return Check("confirmed", verdict, detail, Reason.NOT_CONFIRMED)


def _reported(stay: Visit) -> list[dict[str, str]]:
    """What is worth knowing and judges nothing: battery, self-test, the other slot."""
    lock = stay.snapshot
    failed = stay.lock.self_test()
    other = lock.other
    held = f"{other.version or 'no image'} ({other.state.name.lower()})" if other else "none"
    return [
        {
            "name": "battery",
            "detail": f"{lock.battery_rest_mv} mV at rest, {lock.battery_load_mv} mV under load",
        },
        {"name": "self-test", "detail": f"fails: {parts_of(failed)}" if failed else "passes"},
        {"name": "other-slot", "detail": held},
    ]
