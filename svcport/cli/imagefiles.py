"""Image files for the `image` commands: read, taken apart, put into a report's members."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from images import Image, ImageError, PublicKey, TrustStore, firmware_bytes, verify
from svcport.errors import FailedError, Reason, RefusedError
from svcport.home import Home

FILE_LIMIT: Final = 64 * 1024 * 1024
"""Bytes of the largest file that is read; no lock has room for more."""


def read_bytes(path: Path) -> bytes:
    """The bytes of a file, those of a slip of the hand such as /dev/zero not included.

    Raises:
        FailedError: `storage`, it cannot be read or is too large.
    """
    try:
        with path.open("rb") as file:
            data = file.read(FILE_LIMIT + 1)
    except OSError as error:
        raise FailedError(
            Reason.STORAGE,
            f"{path}: {error.strerror or error}",
            hint="check the file's name and whether you may read it",
        ) from error
    if len(data) > FILE_LIMIT:
        raise FailedError(Reason.STORAGE, f"{path} has more than {FILE_LIMIT} bytes")
    return data


def read_keys(paths: tuple[Path, ...], home: Home) -> TrustStore:
    """The keys of the command line, or else those of the home, or else none.

    Raises:
        FailedError: `storage`, a key file cannot be read.
        RefusedError: `image-signer`, it holds no key that MCUboot knows; `not-set-up`, what the
            home trusts is damaged.
    """
    if paths:
        return TrustStore(read_key(path) for path in paths)
    # a home that was never set up trusts nobody; one that is damaged says so
    from svcport.authorisation.trust import Trust, find_trust

    trust = Trust.load(home) if home.is_set_up else find_trust(home)
    try:
        return TrustStore(PublicKey.from_pem(pem) for pem in (trust.image_keys if trust else ()))
    except ImageError as error:
        raise RefusedError(
            Reason.NOT_SET_UP,
            f"an image key of this home cannot be read: {error}",
            hint="run svcport setup again with the folder that your vendor gave you",
        ) from error


def read_key(path: Path) -> PublicKey:
    """A public key in pem form; RefusedError by its `image-` reason, or `usage`."""
    data = read_bytes(path)
    try:
        return PublicKey.from_pem(data, name=path.stem)
    except ImageError as error:
        raise RefusedError(
            Reason(error.reason),
            f"{path}: {error}",
            hint="give a public key in pem form, as imgtool getpub -e pem writes it",
        ) from error


def parsed(data: bytes) -> Image:
    """An image, whatever form its file has; raises ImageError."""
    return Image.parse(firmware_bytes(data))


def problem(image: Image, trust: TrustStore) -> ImageError | None:
    """What keeps a lock from taking the image; None if nothing does."""
    try:
        verify(image.data, trust, pure=image.pure)
    except ImageError as error:
        return error
    return None


def members(image: Image) -> dict[str, Any]:
    """What an image says of itself, as members of a report."""
    metadata = image.metadata
    return {
        "version": str(image.version),
        "digest": None if image.digest is None else image.digest.hex(),
        "signer": image.signers[0] if image.signers else None,
        "security_counter": image.security_counter,
        "model": None if metadata is None else metadata.model,
        "hardware": [] if metadata is None else list(metadata.hardware),
        "batches": [] if metadata is None else list(metadata.batches),
        "hash": image.hash_name,
        "size": len(image.data),
        "payload_size": len(image.payload),
        "features": list(image.features),
    }


UNREADABLE: Final[dict[str, Any]] = dict.fromkeys(
    ("version", "digest", "signer", "security_counter", "model")
)
"""The contract's members for a file that cannot be taken apart."""
