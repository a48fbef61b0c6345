"""What can be learned of a device without changing it: who it claims to be, and what it runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from images import PublicKey
from svcport.errors import Outcome, Reason
from svcport.locks.device import DeviceSlot
from svcport.locks.snapshot import LockKind
from svcport.operations.devices.act import boots_now
from svcport.operations.devices.choice import judged
from svcport.operations.devices.visit import DeviceVisit
from svcport.operations.report import Report
from svcport.operations.verify import Check, Verdict, verdict_report

_OPEN = "this port asks nobody for a credential: whoever has a cable can do what svcport can"


def identify_device(stay: DeviceVisit) -> Report:
    """What answers, and what it says of its slots; nothing of it is proved."""
    runs = boots_now(stay.view)
    if stay.view.kind is LockKind.MCUBOOT_RECOVERY:
        state = "its boot loader waits in serial recovery, no application runs"
    else:
        state = f"runs {runs or 'an application that states no version'}, as it claims"
    return Report(
        Outcome.OK,
        f"{stay.name} at {stay.lock.port}, {stay.view.framing.value} framing: {state}; {_OPEN}",
        facts={**stay.facts(), "nonce": None, "framing": stay.view.framing.value},
    )


def verify_device(stay: DeviceVisit, *, file: Path | None, keys: Sequence[PublicKey]) -> Report:
    """Whether what runs, as it claims, is the image in `file`, or one that the catalogue knows."""
    running = stay.view.running
    if running is None:
        detail = "no application runs: the boot loader waits in serial recovery"
        checks = [Check("running", Verdict.FAIL, detail, Reason.NOT_BOOTABLE)]
    else:
        wanted = judged(stay.work, file, keys).digest if file is not None else None
        known = _known(stay, running) if wanted is None else _expected(running, wanted, str(file))
        checks = [_running(running), known, _confirmed(running)]
    facts = {
        **stay.facts(),
        "checks": [check.as_json() for check in checks],
        "reported": [{"name": "measured", "detail": f"cannot be: {_OPEN}"}],
    }
    version = boots_now(stay.view)
    runs = f"runs {version}, as its application claims"
    hint = "svcport verify --image FILE compares, svcport restore --image FILE mends"
    return verdict_report(stay.name, runs, checks, facts, hint)


def _running(running: DeviceSlot) -> Check:
    detail = f"version {running.version}, as the running application claims"
    verdict = Verdict.UNKNOWN if running.digest is None else Verdict.PASS
    return Check("running", verdict, detail, Reason.NOT_MEASURABLE)


def _expected(running: DeviceSlot, wanted: bytes, name: str) -> Check:
    if running.digest == wanted:
        return Check("expected-image", Verdict.PASS, name, Reason.IMAGE_HASH)
    seen = running.digest.hex() if running.digest else "no digest"
    detail = f"it claims {seen}, {name} has {wanted.hex()}"
    return Check("expected-image", Verdict.FAIL, detail, Reason.IMAGE_HASH)


def _known(stay: DeviceVisit, running: DeviceSlot) -> Check:
    name, reason = "in-catalogue", Reason.IMAGE_SIGNER
    releases = stay.work.known_releases
    if releases is None or running.digest is None:
        detail = "this home has no catalogue; compare with a file: svcport verify --image FILE"
        return Check(name, Verdict.UNKNOWN, detail, reason)
    found: dict[str, Any] = {
        one.version: model
        for model in releases.models
        for one in releases.releases(model)
        if one.digest == running.digest
    }
    if not found:
        detail = f"digest {running.digest.hex()} is no release of this home's catalogue"
        return Check(name, Verdict.UNKNOWN, detail, reason)
    version, model = next(iter(found.items()))
    return Check(name, Verdict.PASS, f"release {version} for {model}", reason)


def _confirmed(running: DeviceSlot) -> Check:
    detail = {
        True: "confirmed",
        False: "on trial: a reset brings the image before back",
        None: "the device does not tell",
    }[running.confirmed]
    verdict = Verdict.FAIL if running.confirmed is False else Verdict.PASS
    return Check("confirmed", verdict, detail, Reason.NOT_CONFIRMED)
