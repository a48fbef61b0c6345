"""The image for a device: a file that the technician names, judged here, since the device does not.

On such a port an explicit file is the permit. Structure and hash must hold; a signature, where
there is one, must be by a key that is trusted here. An image without one is taken, and reported so.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from images import Image, ImageError, PublicKey, TrustStore, VerifiedImage, firmware_bytes, verify
from svcport.errors import Reason, RefusedError
from svcport.operations.source import read_image_file
from svcport.operations.workplace import Workplace

ENTRY_DIGEST_SIZE: Final = 32


def chosen_image(
    work: Workplace, file: Path | None, version: str | None, keys: Sequence[PublicKey]
) -> VerifiedImage:
    """The image in `file`, verified under the home's keys and `keys`.

    Raises:
        RefusedError: `no-permit` without a file; `usage` for one that cannot be read; else the
            `image-` reasons.
    """
    if file is None:
        wanted = "the catalogue's image" if version is None else f"version {version}"
        raise RefusedError(
            Reason.NO_PERMIT,
            f"{wanted} is for service-port locks: this port proves no model and no credential",
            hint="name the image yourself, which is the permit here: --image FILE",
        )
    return judged(work, file, keys)


def judged(work: Workplace, file: Path, keys: Sequence[PublicKey]) -> VerifiedImage:
    """A file's image, signed by a trusted key or by nobody; RefusedError by its reason."""
    trust = TrustStore([*work.image_trust, *keys])
    try:
        image = Image.parse(firmware_bytes(read_image_file(file)))
        return verify(image.data, trust, pure=image.pure, unsigned=True)
    except ImageError as error:
        hint = "get the image from its vendor; svcport image inspect shows this one"
        if Reason(error.reason) is Reason.IMAGE_SIGNER:
            hint = "give the vendor's public key with --key PUB.pem"
        raise RefusedError(Reason(error.reason), f"{file}: {error}", hint=hint) from error


def entry_digest(image_digest: bytes) -> bytes:
    """What the ledger keeps of an image's digest: 32 bytes; of longer hashes, their SHA-256."""
    if len(image_digest) == ENTRY_DIGEST_SIZE:
        return image_digest
    return hashlib.sha256(image_digest).digest()
