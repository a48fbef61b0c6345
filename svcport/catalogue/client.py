"""The catalogue of one home, as operations ask it: releases, advisories, images, age.

Importing this module loads python-tuf's metadata classes (about 0.1 s); commands that need no
catalogue should not import it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Self

from svcport.catalogue.advisory import Action, Advisory
from svcport.catalogue.faults import CatalogueError
from svcport.catalogue.release import Release, full_version, version_key
from svcport.catalogue.store import FOLDER, Store, not_set_up
from svcport.catalogue.trusted import EPOCH_PATH, Trusted
from svcport.errors import Reason, RecordsError, RefusedError


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What the vendor's signatures vouch for, verified once when opened; never changes afterwards.

    May be shared by threads. A refresh by another process shows only to those who open anew.

    Attributes:
        expired: when opened, this home's copy was older than the vendor allows.
    """

    expired: bool
    _trusted: Trusted
    _advisories: tuple[Advisory, ...]
    _store: Store

    @classmethod
    def open(cls, home: Path, *, now: datetime, allow_expired: bool = False) -> Self:
        """Read and verify what the home holds. Writes nothing, takes no lock.

        Args:
            home: the installation's folder.
            now: UTC.
            allow_expired: for listing, and for a ticket that names its image; the caller records
                `expired`.

        Raises:
            RefusedError: `not-set-up`; `catalogue-expired` unless allowed.
            RecordsError: `storage` or `image-hash`, the home's copy is damaged.
        """
        store = Store(home / FOLDER)
        bundle = store.bundle()
        if bundle is None:
            raise not_set_up(store.folder)
        catalogue = cls._of(store, store.judged(bundle), now)
        if catalogue.expired and not allow_expired:
            raise RefusedError(
                Reason.CATALOGUE_EXPIRED,
                f"the catalogue expired at {catalogue.expires:%Y-%m-%d %H:%M} UTC,"
                f" and it is {now:%Y-%m-%d %H:%M}",
                hint="run setup with a fresh catalogue, and check this computer's clock",
            )
        return catalogue

    @classmethod
    def refresh(cls, home: Path, source: Path, *, now: datetime, root: bytes | None = None) -> Self:
        """Take over what `source` holds, then open it; the source may be unplugged afterwards.

        Args:
            home: the installation's folder.
            source: a folder with `metadata/` and `targets/`: a stick, a mirror.
            now: UTC. python-tuf judges expiry by the computer's clock besides.
            root: the vendor's first root file. Needed once, for a home without a catalogue; given
                again it must be the same bytes.

        Raises:
            RefusedError: `not-set-up`, `lock-identity` (another vendor's root),
                `catalogue-expired`, `catalogue-rollback`, `image-signer`, `image-hash`.
            CatalogueError: `storage`, the source is unreadable or mixed, or the home cannot be
                written.
            RecordsError: `storage`, the home's copy is damaged.
        """
        # python-tuf's client brings urllib3 with it: 60 ms that only a refresh should pay
        from svcport.catalogue.refresh import refresh

        store = Store(home / FOLDER)
        return cls._of(store, refresh(store, source, now=now, root=root), now)

    @classmethod
    def _of(cls, store: Store, trusted: Trusted, now: datetime) -> Self:
        try:
            found = store.advisories(trusted)
        except CatalogueError as e:
            raise RecordsError(e.reason, f"{store.folder}: {e}", hint=e.hint) from e
        replaced = {name for advisory in found for name in advisory.supersedes}
        in_force = tuple(advisory for advisory in found if advisory.id not in replaced)
        return cls(now >= trusted.expires, trusted, in_force, store)

    @property
    def version(self) -> int:
        """Of the snapshot: equal versions mean equal contents. For the ledger, with `expired`."""
        return self._trusted.version

    @property
    def timestamp_version(self) -> int:
        """Rises with every publication, changed contents or not."""
        return self._trusted.timestamp_version

    @property
    def expires(self) -> datetime:
        """The earliest expiry of all its metadata, UTC."""
        return self._trusted.expires

    @property
    def models(self) -> tuple[str, ...]:
        """Models with at least one release, sorted."""
        return tuple(sorted({release.model for release in self._trusted.releases}))

    def releases(self, model: str) -> tuple[Release, ...]:
        """Every release for a model, withdrawn ones included, highest version first."""
        found = (release for release in self._trusted.releases if release.model == model)
        return tuple(sorted(found, key=lambda each: version_key(each.version), reverse=True))

    def approved(self, model: str, hardware: str | None, batch: str | None) -> Release | None:
        """What restores take by default: the highest approved release that is not withdrawn."""
        for release in self.releases(model):
            if (
                release.approved
                and release.covers(hardware, batch)
                and not self.is_withdrawn(model, batch, release.version, release.digest)
            ):
                return release
        return None

    def find(
        self,
        model: str,
        *,
        digest: bytes | None = None,
        version: str | None = None,
        hardware: str | None = None,
    ) -> Release | None:
        """The release with all the properties given, the highest if several; None if there is none.

        Raises:
            CatalogueError: `version` is no version; `+0` may be left out.
        """
        wanted = None if version is None else full_version(version)
        for release in self.releases(model):
            if (
                digest in (None, release.digest)
                and wanted in (None, release.version)
                and (hardware is None or hardware in release.hardware)
            ):
                return release
        return None

    def advisories(self, model: str, batch: str | None, version: str) -> tuple[Advisory, ...]:
        """Advisories in force for a lock that runs `version`, sorted by id; batch None is any.

        Raises:
            CatalogueError: `version` is no version.
        """
        found = (each for each in self._advisories if each.concerns(model, batch, version))
        return tuple(sorted(found, key=lambda advisory: advisory.id))

    def is_withdrawn(
        self, model: str, batch: str | None, version: str, digest: bytes | None = None
    ) -> bool:
        """True if an advisory withdraws the version, or a release of that version or digest is.

        Raises:
            CatalogueError: `version` is no version.
        """
        wanted = full_version(version)
        flagged = any(
            release.withdrawn and (release.digest == digest or release.version == wanted)
            for release in self.releases(model)
        )
        return flagged or any(
            advisory.action is Action.WITHDRAW
            for advisory in self.advisories(model, batch, version)
        )

    def image(self, release: Release) -> bytes:
        """The image file of a release, its size and SHA-256 checked against the signed metadata.

        Raises:
            CatalogueError: the release is not of this catalogue.
            RecordsError: `image-hash` or `storage`, the home's copy is damaged; a refresh heals it.
        """
        if release not in self._trusted.releases:
            raise CatalogueError(f"{release.path} is not in catalogue version {self.version}")
        return self._store.read(release.target)

    def epoch(self) -> bytes | None:
        """The newest epoch statement (`trust/epoch.svc`), None if the vendor has published none.

        Raises:
            RecordsError: the home's copy is damaged.
        """
        for target in self._trusted.trust:
            if target.path == EPOCH_PATH:
                return self._store.read(target)
        return None
