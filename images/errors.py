"""What can be wrong with an image. All of this package raises these, and nothing else.

`reason` is a stable word that scripts may compare; the text beside it is for people and may change.
"""

from __future__ import annotations

from typing import ClassVar


class ImageError(Exception):
    """Root of everything that this package raises about bytes it was given."""

    reason: ClassVar[str] = "image-malformed"


class MalformedImageError(ImageError):
    """The bytes are not an image, or break a rule of its structure.

    Attributes:
        offset: where in the file the offending field starts, in bytes; None where no single place
            is to blame.
    """

    def __init__(self, message: str, *, offset: int | None = None) -> None:
        super().__init__(message)
        self.offset = offset


class UnsupportedImageError(ImageError):
    """The image is well formed but uses something that a lock cannot take.

    Attributes:
        feature: a stable word such as `encrypted-aes128` or `compressed-lzma2`.
    """

    def __init__(self, message: str, *, feature: str) -> None:
        super().__init__(message)
        self.feature = feature


class HashMismatchError(ImageError):
    """The bytes do not hash to what the image says of itself.

    Attributes:
        stated: the digest that the image carries.
        computed: the digest of the bytes at hand.
    """

    reason = "image-hash"

    def __init__(self, message: str, *, stated: bytes, computed: bytes) -> None:
        super().__init__(message)
        self.stated = stated
        self.computed = computed


class BadSignatureError(ImageError):
    """A trusted key is named, but the signature is not one that it made.

    Attributes:
        signer: key hash named by the image, lower-case hex; None where the image names none.
    """

    reason = "image-signature"

    def __init__(self, message: str, *, signer: str | None = None) -> None:
        super().__init__(message)
        self.signer = signer


class UnsignedImageError(BadSignatureError):
    """The image carries no signature at all; its hash says nothing about where it comes from."""


class UntrustedSignerError(ImageError):
    """The image is signed, but by no key that is trusted here.

    Attributes:
        signers: the key hashes that the image names, lower-case hex, in file order.
    """

    reason = "image-signer"

    def __init__(self, message: str, *, signers: tuple[str, ...]) -> None:
        super().__init__(message)
        self.signers = signers


class InvalidKeyError(ImageError):
    """A key file is unreadable, or of a kind or size that MCUboot does not verify."""

    reason = "image-signer"
