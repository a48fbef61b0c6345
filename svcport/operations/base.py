"""The base of a transfer: the image in the slot that is not written, if its bytes are known."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Final

from images import VerifiedImage
from protocol.values import ZERO_DIGEST
from svcport.errors import RecordsError, RefusedError
from svcport.operations.source import verified
from svcport.operations.visit import Visit

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Base:
    """What BEGIN names, and the bytes that stand behind it."""

    digest: bytes
    data: bytes


NO_BASE: Final = Base(ZERO_DIGEST, b"")


def base_for(visit: Visit, image: VerifiedImage) -> Base:
    """The image that the lock holds beside the slot to be written; NO_BASE if it is unknown here.

    A base is worth time and never more than that, so nothing that is wrong with one stops anything.
    """
    snapshot = visit.snapshot
    view = snapshot.slot(snapshot.target.other)
    if view.digest is None:
        return NO_BASE
    found = image if view.digest == image.digest else _from_catalogue(visit, view.digest)
    # Where the sizes differ, the bytes behind the digest's end do, and spans would end elsewhere.
    if found is None or len(found.data) != view.size:
        return NO_BASE
    return Base(view.digest, found.data)


def _from_catalogue(visit: Visit, digest: bytes) -> VerifiedImage | None:
    inst = visit.inst
    try:
        release = inst.catalogue.find(visit.snapshot.model, digest=digest)
        if release is None:
            return None
        found = verified(inst, inst.catalogue.image(release), release.path)
    except (RecordsError, RefusedError) as error:
        log.warning("no base for lock %s: %s", visit.lock.serial, error)
        return None
    return found if found.digest == digest else None
