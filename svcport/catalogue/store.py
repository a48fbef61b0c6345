"""What a home keeps of a catalogue: one file of accepted metadata, and the files it names.

    catalogue/trusted.json      all accepted metadata in one document, replaced at once
    catalogue/targets/<sha256>  images, advisories, trust statements; written once, never changed
    catalogue/lock              held while a refresh runs

Reading takes no lock and writes nothing: a reader sees the whole old document or the whole new
one. Files that the document before the present one named are kept for readers that still hold it.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from svcport.catalogue.advisory import Advisory
from svcport.catalogue.faults import TUF_ERRORS, CatalogueError, one_line
from svcport.catalogue.files import UNFINISHED, read_at_most, write_whole
from svcport.catalogue.release import Target
from svcport.catalogue.trusted import Bundle, Trusted, judge
from svcport.errors import Reason, RecordsError, RefusedError

FOLDER: Final = "catalogue"
TRUSTED_LIMIT: Final = 64 * 1024 * 1024
"""Most bytes of the accepted metadata: hundreds of thousands of releases."""

_REPAIR: Final = "move that folder away and run: svcport setup --from DIR"


@dataclass(frozen=True, slots=True)
class Store:
    """The catalogue folder of one home."""

    folder: Path

    @property
    def trusted_file(self) -> Path:
        """The accepted metadata."""
        return self.folder / "trusted.json"

    @property
    def lock_file(self) -> Path:
        """See `files.exclusive`."""
        return self.folder / "lock"

    def target_file(self, sha256: bytes) -> Path:
        """Where the file with this hash lies."""
        return self.folder / "targets" / sha256.hex()

    def bundle(self) -> Bundle | None:
        """The accepted metadata, None before the first refresh.

        Raises:
            RecordsError: the file is damaged or cannot be read. It is never taken as absent: that
                would forget which versions were seen, and with them the defence against old
                catalogues.
        """
        try:
            data = read_at_most(self.trusted_file, TRUSTED_LIMIT)
        except FileNotFoundError:
            return None
        except OSError as e:
            raise self._damaged(f"cannot be read: {e.strerror}") from e
        if len(data) > TRUSTED_LIMIT:
            raise self._damaged(f"is damaged: it has more than {TRUSTED_LIMIT} bytes")
        try:
            return Bundle.parse(data)
        except CatalogueError as e:
            raise self._damaged(f"is damaged: {e}") from e

    def judged(self, bundle: Bundle) -> Trusted:
        """Verify what `bundle()` gave; raises RecordsError."""
        try:
            return judge(bundle)
        except (*TUF_ERRORS, CatalogueError) as e:
            raise self._damaged(f"does not verify: {one_line(e)}") from e

    def save(self, bundle: Bundle) -> None:
        """Replace the accepted metadata; raises OSError."""
        write_whole(self.trusted_file, bundle.build())

    def holds(self, target: Target) -> bool:
        """True if the file is there and is what the catalogue signs."""
        try:
            return matches(read_at_most(self.target_file(target.sha256), target.size), target)
        except OSError:
            return False

    def read(self, target: Target) -> bytes:
        """The bytes of a file, verified.

        Raises:
            RecordsError: `storage` if it cannot be read, `image-hash` if it is not what the
                catalogue signs.
        """
        try:
            data = read_at_most(self.target_file(target.sha256), target.size)
        except OSError as e:
            raise RecordsError(
                Reason.STORAGE,
                f"{target.path} cannot be read from {self.folder}: {e.strerror}",
                hint="run setup again with the catalogue at hand: svcport setup --from DIR",
            ) from e
        if not matches(data, target):
            raise RecordsError(
                Reason.IMAGE_HASH,
                f"{target.path} in {self.folder} has {len(data)} bytes with SHA-256"
                f" {hashlib.sha256(data).hexdigest()[:16]}, wanted {target.size}"
                f" with {target.sha256.hex()[:16]}",
                hint="run setup again with the catalogue at hand: svcport setup --from DIR",
            )
        return data

    def advisories(self, trusted: Trusted) -> tuple[Advisory, ...]:
        """Read every advisory.

        Raises:
            CatalogueError: one is malformed, or its file has another name than its id.
            RecordsError: as `read`.
        """
        found = []
        for target in trusted.advisories:
            advisory = Advisory.parse(self.read(target))
            if target.path != advisory.path:
                raise CatalogueError(f"{target.path} holds advisory {advisory.id}")
            found.append(advisory)
        return tuple(found)

    def forget_all_but(self, keep: Iterable[Target]) -> None:
        """Remove files that no kept catalogue names; one in use on Windows stays till next time."""
        names = {target.sha256.hex() for target in keep}
        leftovers = self.folder.glob(f"{UNFINISHED}*")
        for path in (*leftovers, *(self.folder / "targets").glob("*")):
            if path.name not in names:
                with contextlib.suppress(OSError):
                    path.unlink()

    def _damaged(self, text: str) -> RecordsError:
        return RecordsError(
            Reason.STORAGE, f"{self.trusted_file} {text}", hint=f"{_REPAIR} ({self.folder})"
        )


def not_set_up(folder: Path) -> RefusedError:
    """The refusal where a home has no catalogue."""
    return RefusedError(
        Reason.NOT_SET_UP,
        f"no catalogue in {folder}, wanted the one that setup copies there",
        hint="run: svcport setup --from DIR",
    )


def matches(data: bytes, target: Target) -> bool:
    """True if `data` has the signed size and hash."""
    return len(data) == target.size and hashlib.sha256(data).digest() == target.sha256
