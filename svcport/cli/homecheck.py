"""What `doctor` looks at in the home: whether it can be written, and what it holds is in order."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final

from protocol.errors import ProtocolError
from protocol.objects import Entry
from protocol.sealed import Sealed
from svcport.audit.view import LedgerView
from svcport.authorisation.credentials import Certificates, Credential
from svcport.authorisation.keys.locked import Secret
from svcport.authorisation.keys.signers import self_check
from svcport.authorisation.trust import Trust
from svcport.catalogue.client import Catalogue
from svcport.cli.checkup import Check
from svcport.errors import SvcportError
from svcport.home import Home

SPACE_WANTED: Final = 64 * 1024 * 1024
"""Bytes free on the home's disk: a catalogue and years of records."""

CLOCK_SLACK: Final = timedelta(minutes=5)
SOON: Final = timedelta(days=14)
"""A credential or catalogue that ends within this time is named before it does."""

_Look = Callable[[Home, datetime], Check]

_RENEW: Final = "svcport setup --from DIR, with a newer folder"


def home_checks(home: Home, now: datetime, secret: Secret | None = None) -> Iterator[Check]:
    """The home's folder, and what is in it if it was set up.

    Args:
        home: where.
        now: aware.
        secret: asked for the signing key's passphrase or PIN; None where nobody can be asked.
    """
    yield _folder(home.root)
    yield _space(home.root)
    if not home.is_set_up:
        yield Check(
            "set-up", "fail", f"{home.root} holds no credential", "svcport setup --from DIR"
        )
        return
    looks: dict[str, _Look] = {**_LOOKS, "signer": partial(_signer, secret=secret)}
    for name, look in looks.items():
        try:
            yield look(home, now)
        except SvcportError as error:
            yield Check(name, "fail", error.message, error.hint)


def _existing(path: Path) -> Path:
    """The folder itself, or the nearest one above it that is there."""
    return next((place for place in (path, *path.parents) if place.is_dir()), path)


def _folder(root: Path) -> Check:
    place = _existing(root.absolute())
    if os.access(place, os.W_OK | os.X_OK):
        return Check("home", "pass", f"{root} can be written")
    return Check("home", "fail", f"{place} cannot be written", "give another folder with --home")


def _space(root: Path) -> Check:
    free = shutil.disk_usage(_existing(root.absolute())).free
    detail = f"{free // 2**20} MiB free"
    if free >= SPACE_WANTED:
        return Check("space", "pass", detail)
    wanted = f"{detail}, wanted {SPACE_WANTED // 2**20}"
    return Check("space", "fail", wanted, "free space, or give another folder with --home")


def _credential(home: Home, now: datetime) -> Check:
    trust = Trust.load(home)
    certificates = Certificates.load(home, trust)
    refusals = certificates.standing(now, trust.epoch_statement)
    if refusals:
        return Check("credential", "fail", refusals[0].message, refusals[0].hint or _RENEW)
    until = certificates.valid_until
    detail = f"of {certificates.holder}, until {until:%Y-%m-%d}"
    return Check("credential", "pass", detail, _RENEW if until - now < SOON else "")


def _signer(home: Home, _now: datetime, *, secret: Secret | None) -> Check:
    """Open the key and sign once, as an act would: PIN, touch and all."""
    try:
        signer = Credential.load(home, Trust.load(home), secret).signer
        self_check(signer)
    except SvcportError as error:
        return Check("signer", "fail", f"{error.reason}: {error.message}", error.hint)
    return Check("signer", "pass", f"key {signer.subject.key_id.hex()} signs")


def _ledger(home: Home, _now: datetime) -> Check:
    if not home.ledger.is_dir():
        return Check("ledger", "pass", "nothing has been recorded yet")
    with LedgerView.open_for_audit(home.ledger) as view:
        damage, size = view.damage, view.size
    if damage is None:
        return Check("ledger", "pass", f"{size} entries; svcport audit verify checks them all")
    return Check("ledger", "fail", f"damaged: {damage}", "svcport audit export --damaged DIR")


def _clock(home: Home, now: datetime) -> Check:
    last = _last_entry(home) if home.ledger.is_dir() else None
    if last is None:
        return Check("clock", "unknown", f"{now:%Y-%m-%d %H:%M} UTC, and no record to compare with")
    if now + CLOCK_SLACK < last:
        detail = f"{now:%Y-%m-%d %H:%M} UTC, the last record is of {last:%Y-%m-%d %H:%M}"
        return Check("clock", "fail", detail, "set this computer's clock")
    return Check("clock", "pass", f"{now:%Y-%m-%d %H:%M} UTC")


def _last_entry(home: Home) -> datetime | None:
    with LedgerView.open_for_audit(home.ledger) as view:
        stored = next(iter(view.entries(max(view.size - 1, 0))), None)
    if stored is None:
        return None
    try:
        return datetime.fromtimestamp(Entry.read(Sealed.parse(stored.data)).host_time, UTC)
    except (ProtocolError, ValueError, OverflowError, OSError):
        return None


def _catalogue(home: Home, now: datetime) -> Check:
    catalogue = Catalogue.open(home.root, now=now, allow_expired=True)
    detail = f"version {catalogue.version}, good until {catalogue.expires:%Y-%m-%d %H:%M} UTC"
    if catalogue.expired:
        return Check("catalogue", "fail", detail, _RENEW)
    return Check("catalogue", "pass", detail, _RENEW if catalogue.expires - now < SOON else "")


_LOOKS: Final[dict[str, _Look]] = {
    "credential": _credential,
    "ledger": _ledger,
    "clock": _clock,
    "catalogue": _catalogue,
}
