"""A small vendor in a folder, and the tools of those who attack it; only for these tests."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from securesystemslib.signer import Signer
from tuf.api.metadata import Metadata, MetaFile

from svcport.catalogue.advisory import Action, Advisory, Affected
from svcport.catalogue.client import Catalogue
from svcport.catalogue.keys import Validity, VendorKeys
from svcport.catalogue.publisher import Publisher
from svcport.catalogue.release import ReleaseFacts
from svcport.errors import Reason, SvcportError

MODEL = "demo-lock"
OTHER = "other-lock"
BATCH = "2026-07"
NOW = datetime.now(UTC).replace(microsecond=0)
LONG = Validity.uniform(timedelta(days=3650))


def image(version: str, size: int = 2000) -> bytes:
    return (hashlib.sha256(version.encode()).digest() * (size // 32 + 1))[:size]


def facts(version: str, **changes: Any) -> ReleaseFacts:
    values: dict[str, Any] = {
        "model": MODEL,
        "version": version,
        "security_counter": 3,
        "digest": hashlib.sha256(b"digest" + version.encode()).digest(),
        "key_hash": "ab" * 32,
        "hardware": ("A", "B"),
    }
    return ReleaseFacts(**{**values, **changes})


def advisory(**changes: Any) -> Advisory:
    values: dict[str, Any] = {
        "id": "SVA-2026-003",
        "title": "locks lose the cloud",
        "summary": "after some minutes authentication fails",
        "published": datetime(2026, 3, 1, tzinfo=UTC),
        "action": Action.WITHDRAW,
        "affects": (Affected(MODEL, (BATCH,), ("2.4.0+0",)),),
        "min_security_counter": 3,
    }
    return Advisory(**{**values, **changes})


@dataclass
class Vendor:
    folder: Path
    seed: bytes = b"vendor"
    validity: Validity = LONG
    now: datetime = NOW
    keys: VendorKeys = field(init=False)
    publisher: Publisher = field(init=False)

    def __post_init__(self) -> None:
        self.keys = VendorKeys.from_seed(self.seed, (MODEL, OTHER))
        self.publisher = Publisher.create(
            self.folder, self.keys, now=self.now, validity=self.validity
        )

    def stock(self) -> Vendor:
        """The usual catalogue: good, bad, fixed, and one of another model."""
        self.publisher.add_release(image("2.3.1"), facts("2.3.1+0"))
        self.publisher.add_release(image("2.4.0"), facts("2.4.0+0", approved=True))
        self.publisher.add_release(image("2.4.1"), facts("2.4.1+0", approved=True))
        self.publisher.add_release(image("1.0.0"), facts("1.0.0+0", model=OTHER, approved=True))
        self.publisher.publish_advisory(advisory())
        self.publisher.set_epoch(b"epoch 1")
        self.publisher.publish(self.now)
        return self

    @property
    def metadata(self) -> Path:
        return self.folder / "metadata"

    def copy(self, folder: Path) -> Path:
        return Path(shutil.copytree(self.folder, folder))

    def image_file(self, version: str) -> Path:
        (path,) = (self.folder / "targets" / MODEL / "fw").glob(f"*.{MODEL}-{version}.bin")
        return path

    def forge(self, role: str, signers: tuple[Signer, ...], change: Callable[[Any], None]) -> None:
        """Change a role and sign it, the snapshot and the timestamp as their key holders would."""
        path = self._newest(role)
        signed = _load(path).signed
        signed.version += 1
        change(signed)
        data = _sign(signed, signers)
        (self.metadata / f"{signed.version}.{role}.json").write_bytes(data)
        self.forge_snapshot(lambda meta: meta.update({f"{role}.json": _meta(signed.version, data)}))

    def forge_snapshot(self, change: Callable[[dict[str, MetaFile]], None]) -> None:
        snapshot = _load(self._newest("snapshot")).signed
        snapshot.version += 1
        change(snapshot.meta)
        data = _sign(snapshot, self.keys.snapshot)
        (self.metadata / f"{snapshot.version}.snapshot.json").write_bytes(data)
        timestamp = _load(self.metadata / "timestamp.json").signed
        timestamp.version += 1
        timestamp.snapshot_meta = _meta(snapshot.version, data)
        (self.metadata / "timestamp.json").write_bytes(_sign(timestamp, self.keys.timestamp))

    def meta_of(self, role: str, version: int) -> MetaFile:
        return _meta(version, (self.metadata / f"{version}.{role}.json").read_bytes())

    def _newest(self, role: str) -> Path:
        files = self.metadata.glob(f"*.{role}.json")
        return max(files, key=lambda path: int(path.name.partition(".")[0]))


def refused(home: Path, source: Path, reason: Reason) -> SvcportError:
    """The refresh fails for this reason, and the home still holds what it held."""
    before = (home / "catalogue" / "trusted.json").read_bytes()
    with pytest.raises(SvcportError) as caught:
        Catalogue.refresh(home, source, now=NOW)
    assert caught.value.reason is reason
    assert caught.value.hint
    assert (home / "catalogue" / "trusted.json").read_bytes() == before
    catalogue = Catalogue.open(home, now=NOW)
    assert catalogue.image(catalogue.releases(MODEL)[0]) == image("2.4.1")
    return caught.value


def _load(path: Path) -> Metadata[Any]:
    return Metadata.from_bytes(path.read_bytes())


def _meta(version: int, data: bytes) -> MetaFile:
    return MetaFile.from_data(version, data, ["sha256"])


def _sign(signed: Any, signers: tuple[Signer, ...]) -> bytes:
    metadata = Metadata(signed)
    for signer in signers:
        metadata.sign(signer, append=True)
    return metadata.to_bytes()
