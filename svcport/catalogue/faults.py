"""What goes wrong with a catalogue: one error for its content, one translation of python-tuf's."""

from __future__ import annotations

from typing import Final

from tuf.api.exceptions import (
    BadVersionNumberError,
    DownloadError,
    DownloadHTTPError,
    DownloadLengthMismatchError,
    ExpiredMetadataError,
    LengthOrHashMismatchError,
    RepositoryError,
    UnsignedMetadataError,
)

from svcport.errors import FailedError, Reason, RefusedError, SvcportError

TUF_ERRORS: Final = (RepositoryError, DownloadError, ValueError, TypeError, KeyError)
"""Everything python-tuf raises over foreign bytes. ValueError, TypeError and KeyError are not in
its documentation for the client, yet its classes use them for members of the wrong shape."""


class CatalogueError(FailedError):
    """A catalogue is malformed, mixed or incomplete, or cannot be read or written.

    The reason is `storage` unless a narrower one is given. The home is left as it was.
    """

    def __init__(self, message: str, *, reason: Reason = Reason.STORAGE, hint: str = "") -> None:
        super().__init__(reason, message, hint=hint)


def source_fault(error: Exception, where: str) -> SvcportError:
    """Translate what python-tuf said about the catalogue at `where`; to be raised `from error`."""
    text = one_line(error)
    if isinstance(error, ExpiredMetadataError):
        return RefusedError(
            Reason.CATALOGUE_EXPIRED,
            f"the catalogue at {where} is out of date: {text}",
            hint="get a fresh copy of the catalogue, and check this computer's clock",
        )
    if isinstance(error, BadVersionNumberError):
        return RefusedError(
            Reason.CATALOGUE_ROLLBACK,
            f"the catalogue at {where} is older than the one this home holds: {text}",
            hint="get the newest copy of the catalogue; the one in this home stays in use",
        )
    if isinstance(error, UnsignedMetadataError):
        return RefusedError(
            Reason.IMAGE_SIGNER,
            f"the catalogue at {where} is not signed by the keys this home trusts: {text}",
            hint="get the catalogue from the vendor this home was set up for",
        )
    return CatalogueError(
        f"the catalogue at {where} {_defect(error)}: {text}", hint="copy the catalogue again, whole"
    )


def image_fault(error: Exception, where: str, path: str) -> SvcportError:
    """Translate what python-tuf said about one target file; a changed file is `image-hash`."""
    if isinstance(error, LengthOrHashMismatchError | DownloadLengthMismatchError):
        return RefusedError(
            Reason.IMAGE_HASH,
            f"{path} at {where} is not the file that the catalogue signs: {one_line(error)}",
            hint="copy the catalogue again, whole",
        )
    return source_fault(error, where)


def _defect(error: Exception) -> str:
    if isinstance(error, DownloadHTTPError):
        return "lacks a file"
    if isinstance(error, LengthOrHashMismatchError | DownloadLengthMismatchError):
        return "is mixed or damaged"
    if isinstance(error, DownloadError):
        return "cannot be read"
    return "is malformed"


def one_line(error: BaseException) -> str:
    """The text of a foreign error, cut to one line of at most 200 characters."""
    return " ".join(str(error).split())[:200] or type(error).__name__
