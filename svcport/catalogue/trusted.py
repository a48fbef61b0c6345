"""The metadata of one catalogue, judged: from signed bytes to releases, with no I/O and no clock.

This is the reading half. The updating half (`refresh`) is python-tuf's client, which holds every
rule about what may replace what. What it once accepted is kept in one file and judged here again
on every opening: each signature up from the first root, each version and hash against the
snapshot. That leaves the three things the client cannot do: open without writing, take the time as
an argument, and read expired metadata.

TUF's client finds a target by its path but has no list. The list used here is the verified
metadata of the delegated roles itself, so it cannot disagree with what the roles sign; an index
file beside it could. A role's target counts only if that role is the first that the delegation
names for its path; targets of the top-level role do not count at all, for it signs delegations.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Self, TypeVar

from securesystemslib.signer import (  # type: ignore[attr-defined]  # not in __all__
    Signature,
)
from tuf.api.exceptions import BadVersionNumberError, RepositoryError
from tuf.api.metadata import (  # type: ignore[attr-defined]  # not in __all__
    Delegations,
    Metadata,
    MetaFile,
    Root,
    Signed,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)

from svcport.catalogue.document import Fields, canonical, load
from svcport.catalogue.faults import CatalogueError
from svcport.catalogue.release import Release, ReleaseFacts, Target

SCHEMA: Final = "svcport-catalogue/1"
FIRMWARE_PREFIX: Final = "fw-"
ADVISORIES: Final = "advisories"
TRUST: Final = "trust"
EPOCH_PATH: Final = "trust/epoch.svc"

_S = TypeVar("_S", bound=Signed)


@dataclass(frozen=True, slots=True)
class Bundle:
    """The accepted metadata files of one moment, byte for byte.

    Attributes:
        roots: from the one this home was set up with to the newest, without a gap.
        roles: delegated roles in order of delegation, name and file.
    """

    roots: tuple[bytes, ...]
    timestamp: bytes
    snapshot: bytes
    targets: bytes
    roles: tuple[tuple[str, bytes], ...]

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read the stored form; `parse(data).build() == data` or CatalogueError."""
        fields = Fields(load(data, "catalogue store"), "catalogue store")
        fields.schema(SCHEMA)
        bundle = cls(
            roots=tuple(_encoded(text) for text in fields.texts("roots")),
            timestamp=_encoded(fields.text("timestamp")),
            snapshot=_encoded(fields.text("snapshot")),
            targets=_encoded(fields.text("targets")),
            roles=tuple(_role(item) for item in fields.items("roles")),
        )
        fields.done()
        if not bundle.roots or bundle.build() != data:
            raise CatalogueError("catalogue store is not in canonical form")
        return bundle

    def build(self) -> bytes:
        """The stored form: one JSON document that holds the files as texts."""
        try:
            return canonical(
                {
                    "schema": SCHEMA,
                    "roots": [root.decode() for root in self.roots],
                    "timestamp": self.timestamp.decode(),
                    "snapshot": self.snapshot.decode(),
                    "targets": self.targets.decode(),
                    "roles": [{"name": name, "file": data.decode()} for name, data in self.roles],
                }
            )
        except UnicodeDecodeError as e:
            raise CatalogueError("catalogue metadata is not UTF-8") from e


@dataclass(frozen=True, slots=True)
class Trusted:
    """What the vendor's signatures vouch for.

    Attributes:
        version: of the snapshot; equal versions mean equal contents.
        timestamp_version: rises with every publication.
        expires: the earliest expiry of all metadata, UTC.
        advisories: files of advisories, unread.
        trust: files of the trust role, such as the newest epoch statement.
    """

    version: int
    timestamp_version: int
    expires: datetime
    releases: tuple[Release, ...]
    advisories: tuple[Target, ...]
    trust: tuple[Target, ...]

    @property
    def files(self) -> tuple[Target, ...]:
        """Every file that the catalogue holds."""
        return (*(release.target for release in self.releases), *self.advisories, *self.trust)


def judge(bundle: Bundle) -> Trusted:
    """Verify every signature, version and hash of a bundle, and read what it lists.

    Expiry is reported, not judged.

    Raises:
        RepositoryError, ValueError, TypeError, KeyError: python-tuf's; it does not verify.
        CatalogueError: verified metadata says something that svcport cannot take.
    """
    root = _newest_root(bundle.roots)
    timestamp = _verified(Timestamp, bundle.timestamp, root, Timestamp.type)
    timestamp.snapshot_meta.verify_length_and_hashes(bundle.snapshot)
    snapshot = _verified(Snapshot, bundle.snapshot, root, Snapshot.type)
    _same_version(Snapshot.type, snapshot.version, timestamp.snapshot_meta)
    targets = _listed(bundle.targets, snapshot, root, Targets.type)
    delegations = delegations_of(targets)
    roles = {name: _listed(data, snapshot, targets, name) for name, data in bundle.roles}
    if list(roles) != list(delegations.roles or {}):
        raise RepositoryError(f"roles {list(roles)}, wanted {list(delegations.roles or {})}")
    everything = (root, timestamp, snapshot, targets, *roles.values())
    files = {name: _own_files(name, role, delegations) for name, role in roles.items()}
    return Trusted(
        version=snapshot.version,
        timestamp_version=timestamp.version,
        expires=min(signed.expires for signed in everything),
        releases=tuple(
            _release(file)
            for name, group in files.items()
            if name.startswith(FIRMWARE_PREFIX)
            for file in group
        ),
        advisories=tuple(_target(file) for file in files.get(ADVISORIES, ())),
        trust=tuple(_target(file) for file in files.get(TRUST, ())),
    )


def delegations_of(targets: Targets) -> Delegations:
    """The named delegations of the top-level role; raises RepositoryError if it has none."""
    if targets.delegations is None or not targets.delegations.roles:
        raise RepositoryError("top-level targets delegate to no role")
    return targets.delegations


def root_version(data: bytes) -> int:
    """Version of a root file that is already trusted."""
    return _parsed(data)[0].version


def read_targets(data: bytes) -> Targets:
    """Parse top-level targets whose signatures python-tuf has just verified."""
    signed = _parsed(data)[0]
    if not isinstance(signed, Targets):
        raise RepositoryError(f"metadata of type {signed.type}, wanted {Targets.type}")
    return signed


def _newest_root(files: tuple[bytes, ...]) -> Root:
    trusted: Root | None = None
    for data in files:
        root, payload, signatures = _parsed(data)
        if not isinstance(root, Root):
            raise RepositoryError(f"metadata of type {root.type}, wanted {Root.type}")
        if trusted is not None:
            trusted.verify_delegate(Root.type, payload, signatures)
            if root.version != trusted.version + 1:
                raise BadVersionNumberError(
                    f"root version {root.version}, wanted {trusted.version + 1}"
                )
        root.verify_delegate(Root.type, payload, signatures)
        trusted = root
    if trusted is None:
        raise RepositoryError("no root")
    return trusted


def _verified(kind: type[_S], data: bytes, delegator: Root | Targets, role: str) -> _S:
    signed, payload, signatures = _parsed(data)
    if not isinstance(signed, kind):
        raise RepositoryError(f"{role} has type {signed.type}, wanted {kind.type}")
    delegator.verify_delegate(role, payload, signatures)
    return signed


def _parsed(data: bytes) -> tuple[Signed, bytes, dict[str, Signature]]:
    """The content of a metadata file of any type, the bytes that were signed, the signatures."""
    metadata: Metadata[Targets] = Metadata.from_bytes(data)  # the parameter is not checked by it
    return metadata.signed, metadata.signed_bytes, metadata.signatures


def _listed(data: bytes, snapshot: Snapshot, delegator: Root | Targets, role: str) -> Targets:
    meta = snapshot.meta.get(f"{role}.json")
    if meta is None:
        raise RepositoryError(f"the snapshot does not name {role}")
    meta.verify_length_and_hashes(data)
    targets = _verified(Targets, data, delegator, role)
    _same_version(role, targets.version, meta)
    return targets


def _same_version(role: str, seen: int, meta: MetaFile) -> None:
    if seen != meta.version:
        raise BadVersionNumberError(f"{role} version {seen}, wanted {meta.version}")


def _own_files(name: str, role: Targets, delegations: Delegations) -> tuple[TargetFile, ...]:
    return tuple(
        file
        for path, file in sorted(role.targets.items())
        if next(delegations.get_roles_for_target(path), ("", False))[0] == name
    )


def _target(file: TargetFile) -> Target:
    try:
        sha256 = bytes.fromhex(file.hashes["sha256"])
    except (KeyError, ValueError) as e:
        raise CatalogueError(f"{file.path} has no SHA-256") from e
    return Target(file.path, file.length, sha256)


def _release(file: TargetFile) -> Release:
    """The role owns the path and the path is the model's, so the role speaks for the model."""
    return Release.join(ReleaseFacts.parse(file.custom), _target(file))


def _encoded(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as e:
        raise CatalogueError("catalogue store holds half a surrogate pair") from e


def _role(value: object) -> tuple[str, bytes]:
    fields = Fields(value, "catalogue store role")
    role = (fields.text("name"), _encoded(fields.text("file")))
    fields.done()
    return role
