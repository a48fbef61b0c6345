"""`lab init`: writes a training vendor, a catalogue, a technician's bundle, simulated locks."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from protocol.sealed import Sealed
from svcport.authorisation.credentials import store_credential
from svcport.authorisation.issuer.authority import NewKey, write_authority
from svcport.authorisation.issuer.issuance import IssuanceLog, Issued, IssuedKind
from svcport.authorisation.keys.keyfile import KeyFileSigner, key_file_bytes
from svcport.authorisation.tickets import ticket_file, ticket_file_name
from svcport.authorisation.times import unix
from svcport.catalogue.advisory import Action, Advisory, Affected
from svcport.catalogue.keys import Validity
from svcport.catalogue.publisher import Publisher
from svcport.catalogue.release import ReleaseFacts
from svcport.errors import Reason, RefusedError
from svcport.home import Home, storage_error, write_whole
from svcport.lab.folder import LabFolder, LockFolder
from svcport.lab.history import fresh_flash
from svcport.lab.releases import (
    BAD,
    BATCHES,
    HARDWARE,
    MODEL,
    Release,
    SignedRelease,
    make_releases,
)
from svcport.lab.vendor import TICKETS_OF_A_LOCK, VALIDITY, TrainingVendor
from svcport.simulator.factory import Factory
from svcport.simulator.provision import Condition

FIRST_SERIAL: Final = 100_001
LOCKS_LIMIT: Final = 64
"""As many as the largest bench has sockets."""

_SEED_SIZE: Final = 16


@dataclass(frozen=True, slots=True)
class LabReport:
    """What was made: the bundle for `setup --from`, the serials, and the seed to make it again."""

    technician: Path
    locks: tuple[str, ...]
    seed: str


def init_lab(
    directory: Path,
    *,
    locks: int = 1,
    seed: str | None = None,
    condition: Condition = Condition.BAD_UPDATE,
    payloads: Sequence[Path] = (),
    now: datetime,
) -> LabReport:
    """Make a lab in a new or empty folder.

    Args:
        directory: made if it is missing.
        locks: 1 to 64.
        seed: the same gives the same keys, images and serials; None takes a random one, so that no
            two labs share keys.
        condition: the state that every lock is in.
        payloads: as `releases.make_releases`.
        now: aware; everything is valid for ten years from here.

    Raises:
        RefusedError: the folder has something in it, a number or a payload is wrong (`usage`).
        RecordsError: the folder cannot be written (`storage`).
    """
    if not 1 <= locks <= LOCKS_LIMIT:
        raise RefusedError(Reason.USAGE, f"{locks} locks, wanted 1 to {LOCKS_LIMIT}")
    folder = LabFolder(directory)
    seed = secrets.token_hex(_SEED_SIZE) if seed is None else seed
    vendor = TrainingVendor(seed, now)
    releases = make_releases(seed, vendor.image_key, payloads)
    serials = tuple(f"TR-{FIRST_SERIAL + number}" for number in range(locks))
    try:
        _claim(directory)
        _write_images(folder, releases)
        for serial in serials:
            _write_lock(folder.locks / serial, vendor.factory(serial), condition, releases, now)
        _write_technician(folder, vendor, serials, releases, now)
        _write_vendor(folder, vendor, {"seed": seed, "condition": condition.value})
    except OSError as error:
        raise storage_error(directory, error) from error
    return LabReport(folder.technician, serials, seed)


def _claim(directory: Path) -> None:
    """Make the folder; what is in it already may be somebody's lab, and is not touched."""
    hint = "give a new folder, or delete this one if its lab is no longer needed"
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise RefusedError(Reason.USAGE, f"{directory} is a file", hint=hint) from error
    if any(directory.iterdir()):
        raise RefusedError(
            Reason.USAGE, f"{directory} has something in it, wanted an empty folder", hint=hint
        )


def _write_images(folder: LabFolder, releases: Mapping[Release, SignedRelease]) -> None:
    folder.images.mkdir()
    for signed in releases.values():
        (folder.images / signed.release.file_name).write_bytes(signed.image.data)


def _write_lock(
    root: Path,
    factory: Factory,
    condition: Condition,
    releases: Mapping[Release, SignedRelease],
    now: datetime,
) -> None:
    lock = LockFolder(root)
    flash = fresh_flash(factory, condition, releases, unix(now))
    root.mkdir(parents=True)
    lock.flash_file.write_bytes(flash)
    write_whole(lock.factory_file, factory.to_json().encode() + b"\n", private=True)


def _write_technician(
    folder: LabFolder,
    vendor: TrainingVendor,
    serials: Sequence[str],
    releases: Mapping[Release, SignedRelease],
    now: datetime,
) -> None:
    bundle = Home(folder.technician)
    root = _publish(bundle.catalogue, vendor, releases, now)
    vendor.trust(root).write(bundle)
    issuer = vendor.issuer_certificate()
    log = _write_authority(folder.vendor, vendor, root)
    bundle.tickets.mkdir()
    for serial in serials:
        counters = log.reserve_counters(_wish(vendor, serial, now), TICKETS_OF_A_LOCK)
        for ticket in vendor.tickets(serial, releases, counters):
            _write_ticket(bundle.tickets, serial, ticket, issuer)
    key = key_file_bytes(vendor.technician)
    store_credential(bundle, issuer, vendor.technician_certificate(), key)


def _write_authority(folder: Path, vendor: TrainingVendor, catalogue_root: bytes) -> IssuanceLog:
    """Make the vendor's folder one that `svcport issuer` works with; gives its log."""
    keys = {
        name: NewKey(KeyFileSigner.of(key), f"{name}.key", key_file_bytes(key))
        for name, key in vendor.keys.items()
    }
    trust, certificate = vendor.trust(catalogue_root), vendor.issuer_certificate()
    return write_authority(folder, trust, certificate, keys).log()


def _wish(vendor: TrainingVendor, serial: str, now: datetime) -> Issued:
    """What the log says of a lock's prepared tickets."""
    return Issued(
        kind=IssuedKind.RESERVED,
        time=unix(now),
        operator="svcport lab init",
        signer=vendor.issuer.subject.key_id.hex(),
        holder=vendor.holder.key_id.hex(),
        lock=serial,
        mode="counter",
    )


def _write_ticket(folder: Path, serial: str, ticket: Sealed, issuer: Sealed) -> None:
    content = ticket_file(ticket, issuer)
    # Not synced one by one: there are hundreds, and a lab that was cut short is made again.
    (folder / ticket_file_name(serial, content)).write_bytes(content)


def _publish(
    folder: Path,
    vendor: TrainingVendor,
    releases: Mapping[Release, SignedRelease],
    now: datetime,
) -> bytes:
    """Write the catalogue; gives its first root file."""
    validity = Validity.uniform(VALIDITY)
    publisher = Publisher.create(folder, vendor.catalogue, now=now, validity=validity)
    for signed in releases.values():
        if signed.release.published:
            publisher.add_release(signed.image.data, _facts(signed))
    publisher.publish_advisory(_advisory(now))
    publisher.set_epoch(vendor.epoch().build())
    publisher.publish(now)
    return publisher.root


def _facts(signed: SignedRelease) -> ReleaseFacts:
    release, image = signed.release, signed.image
    return ReleaseFacts(
        model=release.model,
        version=str(release.version),
        security_counter=release.security_counter,
        digest=image.digest,
        key_hash=image.signer,
        hardware=HARDWARE,
        batches=BATCHES,
        approved=release.approved,
        rollback_ok=not release.withdrawn,
        withdrawn=release.withdrawn,
    )


def _advisory(now: datetime) -> Advisory:
    return Advisory(
        id="SVA-2026-001",
        title="Locks lose their cloud connection after the update to 2.4.0",
        summary=(
            "Minutes after a start, cloud authentication fails for good: the app shows the lock"
            " offline, fresh batteries change nothing. Restore 2.4.1, or roll back to 2.3.1."
        ),
        published=now.replace(microsecond=0),
        action=Action.WITHDRAW,
        # Rolled out to these batches only.
        affects=(Affected(MODEL, BATCHES[1:], (str(BAD.version),)),),
    )


def _write_vendor(folder: LabFolder, vendor: TrainingVendor, facts: dict[str, str]) -> None:
    pem = vendor.image_key.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    write_whole(folder.vendor / "image.pem", pem, private=True)
    content = json.dumps(facts, sort_keys=True).encode() + b"\n"
    write_whole(folder.vendor / "lab.json", content, private=True)
