"""What the training vendor has released, and how one release comes from the one before.

Payloads are generated, or given as files of real firmware. Reads the given files, writes nothing.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from images import (
    Image,
    ImageError,
    ImageSigner,
    LockMetadata,
    VerifiedImage,
    Version,
    firmware_bytes,
    sign,
)
from images import TrustStore as ImageTrust
from images import verify as verify_image
from svcport.errors import Reason, RefusedError
from svcport.lab.payload import identify, make_payload

MODEL: Final = "LX-200"
OTHER_MODEL: Final = "LX-90"
HARDWARE: Final = ("A", "B")
BATCHES: Final = ("2026-29", "2026-30", "2026-31")

SLOT_SIZE: Final = 448 * 1024
ENVELOPE_LIMIT: Final = 2048
"""Bytes of an image that are not payload: the header and its padding, the TLVs."""

PAYLOAD_LIMIT: Final = SLOT_SIZE - ENVELOPE_LIMIT
PAYLOAD_LEAST: Final = 4096
_FILE_LIMIT: Final = 4 * 1024 * 1024

_CONSTANTS: Final = 26
_INSERTIONS: Final = 12
_PADDING: Final = re.compile(rb"[^\0](\0{4,14})(?!\0)", re.DOTALL)
_IMAGE_MAGIC: Final = bytes.fromhex("3db8f396")


@dataclass(frozen=True, slots=True)
class Release:
    """One of the vendor's releases before it is made.

    Attributes:
        approved: the catalogue gives it to locks that ask for nothing else.
        withdrawn: an advisory takes it back.
        published: stands in the catalogue at all.
    """

    model: str
    version: Version
    security_counter: int
    approved: bool = False
    withdrawn: bool = False
    published: bool = True

    @property
    def short_version(self) -> str:
        """Without the build number, which is always 0 here."""
        return str(self.version).partition("+")[0]

    @property
    def file_name(self) -> str:
        """Name of the image in the lab's folder."""
        return f"{self.model}-{self.short_version}.bin"


GOOD: Final = Release(MODEL, Version(2, 3, 1, 0), 3)
BAD: Final = Release(MODEL, Version(2, 4, 0, 0), 3, withdrawn=True)
FIXED: Final = Release(MODEL, Version(2, 4, 1, 0), 3, approved=True)
UNAPPROVED: Final = Release(MODEL, Version(2, 5, 0, 0), 4, published=False)
FOREIGN: Final = Release(OTHER_MODEL, Version(5, 0, 2, 0), 4, published=False)
RELEASES: Final = (GOOD, BAD, FIXED, UNAPPROVED, FOREIGN)


@dataclass(frozen=True, slots=True)
class SignedRelease:
    """A release and its image."""

    release: Release
    image: VerifiedImage


def make_releases(
    seed: str, signer: ImageSigner, payloads: Sequence[Path] = ()
) -> dict[Release, SignedRelease]:
    """Make and sign every release.

    Args:
        seed: of generated code and of what changes from one release to the next.
        signer: the vendor's image key.
        payloads: real firmware: the first is what the first release runs, further ones what the
            following run; a release without its own is the one before with a few dozen changes.

    Raises:
        RefusedError: a file is no firmware that fits a slot, or there are too many (`usage`).
    """
    made: dict[Release, SignedRelease] = {}
    for release, payload in zip(RELEASES, _payloads(seed, payloads), strict=True):
        metadata = LockMetadata(release.model, HARDWARE, BATCHES)
        data = sign(
            payload,
            signer,
            version=release.version,
            security_counter=release.security_counter,
            metadata=metadata,
        )
        made[release] = SignedRelease(release, verify_image(data, ImageTrust([signer.public])))
    return made


def read_payload(path: Path) -> bytes:
    """The code in a firmware file: raw, Intel HEX, or a signed image, whose payload is taken.

    Raises:
        RefusedError: it cannot be read, is too small or too big, or is damaged (`usage`).
    """
    try:
        with path.open("rb") as file:
            data = file.read(_FILE_LIMIT + 1)
    except OSError as error:
        raise _usage(f"{path}: {error.strerror or error}") from error
    if len(data) > _FILE_LIMIT:
        raise _usage(f"{path} has more than {_FILE_LIMIT} bytes")
    try:
        code = firmware_bytes(data)
        if code.startswith(_IMAGE_MAGIC):
            code = Image.parse(code).payload
    except ImageError as error:
        raise _usage(f"{path} is no firmware: {error}") from error
    if not PAYLOAD_LEAST <= len(code) <= PAYLOAD_LIMIT:
        raise _usage(
            f"{path} holds {len(code)} bytes of code, "
            f"wanted {PAYLOAD_LEAST} to {PAYLOAD_LIMIT}, which is what fits a slot"
        )
    if code.startswith(_IMAGE_MAGIC):
        raise _usage(f"{path} is an image inside an image")
    return code


def change(payload: bytes, seed: str) -> bytes:
    """The next release of a payload, of the same size: constants changed, instructions put in.

    An inserted instruction moves what follows it up to the padding of its function, as it does
    where a linker aligns functions; where there is no padding, the last halfwords go.
    """
    dice = random.Random(f"svcport-change-v1/{seed}")  # noqa: S311 - no secret
    changed = bytearray(payload)
    for _constant in range(_CONSTANTS):
        at = 2 * int(dice.random() * (len(changed) // 2))
        changed[at] ^= 1 + int(dice.random() * 255)
    ends = [match.end(1) for match in _PADDING.finditer(payload)]
    for _insertion in range(_INSERTIONS):
        end = ends[int(dice.random() * len(ends))] if ends else None
        _insert(changed, end, dice)
    return bytes(changed)


def _insert(changed: bytearray, end: int | None, dice: random.Random) -> None:
    if end is None:
        end = 1024 + int(dice.random() * (len(changed) - 1024))
    size = 2 + 2 * int(dice.random() * 2)
    begin = max(0, end - 2 * (20 + int(dice.random() * 120)))
    moved = changed[begin : end - size]
    # Neither half is zero, so that padding is never mistaken for what was put in.
    added = bytes(1 + int(dice.random() * 255) for _byte in range(size))
    changed[begin:end] = added + moved


def _payloads(seed: str, files: Sequence[Path]) -> list[bytes]:
    if len(files) > len(RELEASES):
        raise _usage(f"{len(files)} payload files, wanted at most {len(RELEASES)}")
    made: list[bytes] = []
    for number, release in enumerate(RELEASES):
        if number < len(files):
            made.append(read_payload(files[number]))
            continue
        if not made or (release is FOREIGN and not files):
            code = make_payload(f"{seed}/{release.model}", release.model, release.short_version)
        else:
            code = change(made[-1], f"{seed}/{release.file_name}")
        made.append(identify(code, release.model, release.short_version))
    return made


def _usage(message: str) -> RefusedError:
    return RefusedError(
        Reason.USAGE, message, hint="give raw binaries, Intel HEX or signed images of firmware"
    )
