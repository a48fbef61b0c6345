"""Which image a restore is about: a file, a version, or what the catalogue approves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from images import ImageError, VerifiedImage, firmware_bytes, verify
from protocol.values import ImageVersion
from svcport.catalogue.release import Release
from svcport.errors import Reason, RefusedError
from svcport.locks.snapshot import Snapshot
from svcport.operations.installation import Installation

FILE_LIMIT: Final = 64 * 1024 * 1024
"""Bytes of the largest image file that is read."""

DIGEST_NAME: Final = "sha256"
"""The one hash that service-port locks take."""


@dataclass(frozen=True, slots=True)
class ChosenImage:
    """A verified image, and what the catalogue says of it (None: nothing)."""

    image: VerifiedImage
    release: Release | None
    approved: bool

    @property
    def version(self) -> ImageVersion:
        """The image's version, comparable with a lock's."""
        version = self.image.version
        return ImageVersion(version.major, version.minor, version.revision, version.build)


def choose(
    inst: Installation, snapshot: Snapshot, *, file: Path | None, version: str | None
) -> ChosenImage:
    """The image that a restore of this lock shall bring.

    Raises:
        RefusedError: `usage` for a file that cannot be read or both choices at once, the `image-`
            reasons for one that does not verify, `image-model` or `image-withdrawn` where the
            catalogue has nothing for this lock.
    """
    if file is not None and version is not None:
        raise RefusedError(
            Reason.USAGE, "--image and --version both name an image", hint="give one of them"
        )
    if file is not None:
        image = verified(inst, read_image_file(file), str(file))
        return _with_release(inst, snapshot, image)
    release = _release(inst, snapshot, version)
    image = verified(inst, inst.catalogue.image(release), release.path)
    if image.digest != release.digest:
        raise RefusedError(
            Reason.IMAGE_HASH,
            f"{release.path} has digest {image.digest.hex()}, "
            f"the catalogue says {release.digest.hex()}",
            hint="run svcport setup with a fresh catalogue",
        )
    return _with_release(inst, snapshot, image)


def verified(inst: Installation, data: bytes, name: str) -> VerifiedImage:
    """The image in `data`, verified under this home's keys; RefusedError by its `image-` reason."""
    try:
        return verify(firmware_bytes(data), inst.image_trust, hash_name=DIGEST_NAME)
    except ImageError as error:
        raise RefusedError(
            Reason(error.reason),
            f"{name}: {error}",
            hint="get the image from the vendor's catalogue; svcport image inspect shows this one",
        ) from error


def read_image_file(path: Path) -> bytes:
    """A file's bytes; RefusedError (`usage`) if it cannot be read or is far too large."""
    try:
        if path.stat().st_size > FILE_LIMIT:
            raise RefusedError(
                Reason.USAGE, f"{path} has more than {FILE_LIMIT} bytes", hint="is it an image?"
            )
        return path.read_bytes()
    except OSError as error:
        raise RefusedError(
            Reason.USAGE, f"{path}: {error.strerror or error}", hint="check the file's name"
        ) from error


def _with_release(inst: Installation, snapshot: Snapshot, image: VerifiedImage) -> ChosenImage:
    release = inst.catalogue.find(snapshot.model, digest=image.digest)
    best = inst.catalogue.approved(snapshot.model, snapshot.hardware, snapshot.batch)
    approved = best is not None and release is not None and best.digest == release.digest
    return ChosenImage(image, release, approved)


def _release(inst: Installation, snapshot: Snapshot, version: str | None) -> Release:
    catalogue = inst.catalogue
    if version is not None:
        found = catalogue.find(snapshot.model, version=version)
        if found is None:
            listed = ", ".join(release.version for release in catalogue.releases(snapshot.model))
            raise RefusedError(
                Reason.IMAGE_MODEL,
                f"the catalogue has no version {version} for model {snapshot.model}",
                hint=f"it has {listed or 'none'}; give another with --image FILE",
            )
        return found
    found = catalogue.approved(snapshot.model, snapshot.hardware, snapshot.batch)
    if found is None:
        raise RefusedError(
            Reason.IMAGE_MODEL,
            f"the catalogue approves nothing for model {snapshot.model}, hardware "
            f"{snapshot.hardware}, batch {snapshot.batch}",
            hint="name an image with --version or --image; it needs a restore ticket",
        )
    return found
