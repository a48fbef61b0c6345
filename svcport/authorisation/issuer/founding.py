"""Founding a vendor: its keys, trust, first issuer, issuance log and first EPOCH, in one folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from protocol.scope import ScopeItem
from protocol.sealed import Realm
from protocol.values import Op
from svcport.authorisation.issuer.authority import (
    ISSUER,
    MANUFACTURER,
    ROOT,
    ROOT_NEXT,
    Authority,
    NewKey,
    write_authority,
)
from svcport.authorisation.issuer.certify import IssuerOrder, issuer_certificate, log_issuer
from svcport.authorisation.issuer.desk import Desk
from svcport.authorisation.issuer.limits import ISSUER_DAYS
from svcport.authorisation.issuer.revoke import sign_epoch
from svcport.authorisation.times import unix
from svcport.authorisation.trust import NAME_LIMIT, Trust, Vendor
from svcport.errors import Reason, RefusedError

FIRST_EPOCH: Final = 1
"""The epoch of a new vendor's certificates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Founding:
    """What a new vendor is.

    Attributes:
        image_keys: public keys of firmware, PEM.
        catalogue_root: the catalogue's first root metadata.
        ops: what the first issuer may allow; `scope` where, None for everywhere.
        ticket_class: see `make_issuer_certificate`.
        days: how long the first issuer's certificate is good.
    """

    name: str
    realm: Realm
    image_keys: tuple[bytes, ...]
    catalogue_root: bytes
    ops: Op
    scope: tuple[ScopeItem, ...] | None = None
    ticket_class: int = 2
    days: int = ISSUER_DAYS


def found(
    folder: Path,
    founding: Founding,
    keys: Mapping[str, NewKey],
    *,
    now: datetime,
    operator: str,
    marks: Path | None = None,
) -> Desk:
    """Make a vendor's folder, and open its desk.

    Args:
        folder: new or empty.
        founding: what the vendor is.
        keys: all of `authority.KEYS`, each another key.
        now: aware.
        operator: who does it, for the log.
        marks: as `Authority.log`.

    Raises:
        RefusedError: the folder is not empty, or a value does not fit (`usage`, `no-permit`).
        RecordsError: it cannot be written (`storage`).
    """
    if not 1 <= len(founding.name) <= NAME_LIMIT or not founding.name.isprintable():
        raise RefusedError(
            Reason.USAGE, f"a vendor's name has 1 to {NAME_LIMIT} printable characters"
        )
    if len({key.signer.subject for key in keys.values()}) != len(keys):
        raise RefusedError(
            Reason.USAGE, "two keys of the vendor are the same, wanted a key for each duty"
        )
    root = keys[ROOT].signer
    order = IssuerOrder(
        subject=keys[ISSUER].signer.subject,
        ops=founding.ops,
        scope=founding.scope,
        ticket_class=founding.ticket_class,
        epoch=FIRST_EPOCH,
        not_before=unix(now),
        days=founding.days,
    )
    certificate = issuer_certificate(root, founding.realm, order)
    trust = Trust(
        Vendor(founding.name, founding.realm),
        (root.subject, keys[ROOT_NEXT].signer.subject),
        keys[MANUFACTURER].signer.subject,
        founding.image_keys,
        founding.catalogue_root,
    )
    authority = write_authority(folder, trust, certificate, keys)
    desk = Desk(authority, authority.log(marks), now, operator)
    log_issuer(desk, root.subject, order, certificate)
    sign_epoch(desk, root, min_epoch=FIRST_EPOCH)
    return Desk(Authority.load(folder), desk.log, now, operator)
