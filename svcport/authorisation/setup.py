"""Setting up a home from a vendor's bundle: a folder with `trust`, `credential` and `tickets`.

A bundle is laid out as a home is. All of it is checked before anything is written, and the
technician's certificate is written last: a home either is set up or says that it is not. Running
it again, with the same bundle or a renewed one, heals whatever was left half written.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from protocol.errors import ProtocolError
from protocol.sealed import Realm, SubjectKey
from protocol.values import Role
from svcport.authorisation.credentials import Certificates, store_credential
from svcport.authorisation.files import not_set_up, read_small, write_changed
from svcport.authorisation.keys.keyfile import inspect_key
from svcport.authorisation.keys.keyplace import (
    KEY_FILE,
    REFERENCE_FILE,
    KeyPlace,
    StoredReference,
    find_key,
    try_key,
)
from svcport.authorisation.keys.locked import Secret
from svcport.authorisation.keys.references import KeyFile, KeyReference
from svcport.authorisation.tickets import (
    TICKET_FILE_LIMIT,
    HeldTicket,
    TicketReader,
    states_time,
    ticket_file_name,
)
from svcport.authorisation.timestatement import HeldTime, read_time
from svcport.authorisation.trust import REALM_NAMES, Trust, find_trust, find_vendor, supersedes
from svcport.errors import Reason, RecordsError, RefusedError
from svcport.home import Home


@dataclass(frozen=True, slots=True)
class SetupReport:
    """What was imported; `valid_until` is when the credential ends, `tickets` how many."""

    holder: str
    role: Role
    valid_until: datetime
    training: bool
    tickets: int


@dataclass(frozen=True, slots=True)
class _Bundle:
    trust: Trust
    certificates: Certificates
    key: bytes | StoredReference | None
    tickets: tuple[HeldTicket, ...]
    times: tuple[HeldTime, ...]


def import_bundle(
    source: Path,
    home: Home,
    now: datetime,
    *,
    key: KeyReference | None = None,
    secret: Secret | None = None,
) -> SetupReport:
    """Import trust, credential and tickets; the catalogue is imported elsewhere.

    Args:
        source: the bundle's folder.
        home: what to set up; may be set up already, by the same vendor.
        now: aware; a credential that has ended is not imported.
        key: where the technician's key is and stays; it is opened, and signs once. None takes the
            bundle's key file, or keeps the key that the home has.
        secret: asked for the passphrase or PIN of `key`.

    Raises:
        RefusedError: a piece is missing, damaged or not signed as it must be (`not-set-up`); the
            home belongs to another vendor or kind (`lock-identity`); the credential is no good any
            more (`credential-expired`, `revoked`); `key` stays locked (`signer-locked`). Nothing
            was written.
        FailedError: `key` does not sign (`signer-locked`).
        RecordsError: the home cannot be written (`storage`).
    """
    if not source.is_dir():
        raise RefusedError(
            Reason.USAGE, f"{source} is no folder", hint="give the folder you got from the vendor"
        )
    try:
        bundle = _read_bundle(Home(source), home, ask_key=key is None)
    except RecordsError as error:
        raise not_set_up(f"the bundle cannot be read: {error}") from error
    _refuse_other_vendor(home, bundle.trust)
    trust = _with_known_epoch(bundle.trust, find_trust(home))
    refusals = bundle.certificates.standing(now, trust.epoch_statement)
    if refusals:
        raise RefusedError.of(refusals)
    certificates = bundle.certificates
    if key is not None:
        stored = try_key(key, certificates.technician.subject, secret)
        bundle = dataclasses.replace(bundle, key=stored)
    _write(bundle, trust, home)
    return SetupReport(
        certificates.holder,
        certificates.role,
        certificates.valid_until,
        trust.realm is Realm.TRAINING,
        len(bundle.tickets),
    )


def _read_bundle(bundle: Home, home: Home, *, ask_key: bool) -> _Bundle:
    trust = Trust.load(bundle)
    certificates = Certificates.load(bundle, trust)
    key = _offered_key(bundle, home, certificates.technician.subject) if ask_key else None
    holder = certificates.technician.subject.key_id
    reader = TicketReader(trust)
    found = [_read_ticket(p, reader, holder) for p in sorted(bundle.tickets.glob("*.svc"))]
    return _Bundle(
        trust,
        certificates,
        key,
        tuple(one for one in found if isinstance(one, HeldTicket)),
        tuple(one for one in found if isinstance(one, HeldTime)),
    )


def _offered_key(bundle: Home, home: Home, subject: SubjectKey) -> bytes | None:
    """The bundle's key file; None if there is none, but the home has the key already."""
    path = bundle.credential / KEY_FILE
    if path.exists():
        data = read_small(path)
        KeyPlace(KeyFile(path), inspect_key(data, str(path)).subject).require(subject)
        return data
    if not any((home.credential / name).exists() for name in (KEY_FILE, REFERENCE_FILE)):
        raise RefusedError(
            Reason.NOT_SET_UP,
            f"{path} is missing, and {home.root} has no key",
            hint="say where the key is: svcport setup --from DIR --key FILE, pkcs11:... or "
            "ssh-agent:...",
        )
    find_key(home, subject).require(subject)
    return None


def _read_ticket(path: Path, reader: TicketReader, holder: bytes) -> HeldTicket | HeldTime:
    data = read_small(path, TICKET_FILE_LIMIT)
    try:
        if states_time(data):
            return read_time(data, path, reader)
        held = reader.open(data, path.name)
    except ProtocolError as error:
        raise not_set_up(f"{path} is no ticket of this vendor: {error}") from error
    if held.ticket.holder != holder:
        raise not_set_up(
            f"{path} is for the holder of key {held.ticket.holder.hex()}, "
            f"the credential is key {holder.hex()}"
        )
    return held


def _refuse_other_vendor(home: Home, offered: Trust) -> None:
    hint = "give each vendor a home of its own with --home"
    vendor = find_vendor(home)
    if vendor is not None and vendor.realm is not offered.realm:
        raise RefusedError(
            Reason.LOCK_IDENTITY,
            f"this home is for {REALM_NAMES[vendor.realm]}, "
            f"the bundle is for {REALM_NAMES[offered.realm]}",
            hint=hint,
        )
    held = find_trust(home)
    if held is not None and offered.roots[0] not in held.roots:
        raise RefusedError(
            Reason.LOCK_IDENTITY,
            f"this home trusts the root key {held.roots[0].key_id.hex()} of {held.vendor.name}, "
            f"the bundle is of root key {offered.roots[0].key_id.hex()}",
            hint=hint,
        )


def _with_known_epoch(offered: Trust, held: Trust | None) -> Trust:
    """The offered trust, but never with an older EPOCH than this home has seen."""
    if held is None or held.epoch is None or held.epoch == offered.epoch:
        return offered
    if offered.epoch_statement is not None and supersedes(
        offered.epoch_statement, held.epoch_statement
    ):
        return offered
    try:
        offered.read_epoch(held.epoch)
    except ProtocolError as error:
        raise not_set_up(
            f"this home has a newer EPOCH that the bundle's root did not sign: {error}"
        ) from error
    return dataclasses.replace(offered, epoch=held.epoch)


def _write(bundle: _Bundle, trust: Trust, home: Home) -> None:
    trust.write(home)
    for held in bundle.tickets:
        content = held.build()
        name = ticket_file_name(held.ticket.lock_serial, content)
        write_changed(home.tickets / name, content)
    for time in bundle.times:
        content = time.build()
        write_changed(home.tickets / ticket_file_name("time", content), content)
    certificates = bundle.certificates
    store_credential(home, certificates.issuer_sealed, certificates.technician_sealed, bundle.key)
