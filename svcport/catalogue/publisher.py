"""The vendor's side: a catalogue written as a folder that any TUF client can read.

    metadata/  N.root.json timestamp.json N.snapshot.json N.targets.json N.fw-<model>.json ...
    targets/   <model>/fw/<sha256>.<name>.bin  advisories/<sha256>.<id>.json ...

Files are never changed, only added, and timestamp.json is replaced last: whoever reads while this
writes sees the old catalogue or the new one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, Self, TypeVar

from tuf.api.metadata import (  # type: ignore[attr-defined]  # not in __all__
    DelegatedRole,
    Delegations,
    Key,
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)

from svcport.catalogue.advisory import Advisory
from svcport.catalogue.faults import CatalogueError
from svcport.catalogue.files import write_whole
from svcport.catalogue.keys import RoleKeys, Validity, VendorKeys
from svcport.catalogue.release import Release, ReleaseFacts, Target, full_version
from svcport.catalogue.trusted import ADVISORIES, EPOCH_PATH, FIRMWARE_PREFIX, TRUST

_HASHES: Final = ["sha256"]
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,95}", re.ASCII)
_S = TypeVar("_S", Root, Timestamp, Snapshot, Targets)


class Publisher:
    """A vendor's catalogue under construction; nothing is visible to clients before `publish`.

    One process at a time. Methods raise OSError where the folder cannot be written, CatalogueError
    where a client would refuse what is asked.
    """

    def __init__(self, folder: Path, keys: VendorKeys, validity: Validity) -> None:
        self._folder = folder
        self._keys = keys
        self._validity = validity
        self._root_files: list[bytes] = []
        self._root = _unsigned(Root())
        self._targets = _unsigned(Targets())
        self._roles: dict[str, Targets] = {}
        self._snapshot = _unsigned(Snapshot())
        self._timestamp = _unsigned(Timestamp())
        self._changed: set[str] = set()

    @classmethod
    def create(
        cls, folder: Path, keys: VendorKeys, *, now: datetime, validity: Validity | None = None
    ) -> Self:
        """Start and publish an empty catalogue for the models that `keys.firmware` names.

        Raises:
            CatalogueError: there is one in the folder already, or a role has too few keys.
        """
        if (folder / "metadata").exists():
            raise CatalogueError(f"{folder} holds a catalogue already, wanted a new folder")
        publisher = cls(folder, keys, validity or Validity())
        publisher._arrange(keys)
        publisher._write_root(now, publisher._top("root"))
        publisher.publish(now)
        return publisher

    @property
    def root(self) -> bytes:
        """The first root file: what a client must be given in a trusted way, once."""
        return self._root_files[0]

    def add_release(self, data: bytes, facts: ReleaseFacts, *, name: str = "") -> Release:
        """Add an image file with what is signed about it.

        Args:
            data: the whole image file.
            facts: its model must be one of the vendor's.
            name: file name; by default `<model>-<version>.bin`.
        """
        role = FIRMWARE_PREFIX + facts.model
        if role not in self._roles:
            raise CatalogueError(
                f"model {facts.model}, wanted one of {sorted(self._keys.firmware)}"
            )
        path = f"{facts.model}/fw/{name or f'{facts.model}-{facts.version}.bin'}"
        if path in self._roles[role].targets:
            raise CatalogueError(f"{path} is in the catalogue already")
        return Release.join(facts, self._add(role, path, data, facts.build()))

    def withdraw(self, model: str, version: str) -> None:
        """Flag every release of a version as withdrawn and no longer approved."""
        self._change(model, version, withdrawn=True, approved=False)

    def approve(self, model: str, version: str, *, approved: bool = True) -> None:
        """Change whether restores take a version by default."""
        self._change(model, version, withdrawn=None, approved=approved)

    def publish_advisory(self, advisory: Advisory) -> None:
        """Add an advisory, or replace the one with its id."""
        self._add(ADVISORIES, advisory.path, advisory.build(), None)

    def set_epoch(self, statement: bytes) -> None:
        """Set the newest epoch statement."""
        self._add(TRUST, EPOCH_PATH, statement, None)

    def rotate(self, keys: VendorKeys, *, now: datetime) -> None:
        """Replace the vendor's keys: the new root is signed by the old and the new root keys.

        Visible at once; every role is signed anew by the `publish` that this includes.
        """
        if set(keys.firmware) != set(self._keys.firmware):
            raise CatalogueError(
                f"models {sorted(keys.firmware)}, wanted {sorted(self._keys.firmware)}"
            )
        old = self._top("root")
        self._arrange(keys)
        both = {signer.public_key.keyid: signer for signer in (*old.signers, *keys.root)}
        self._write_root(now, RoleKeys(tuple(both.values()), old.threshold))
        self.publish(now, renew=True)

    def publish(self, now: datetime, *, renew: bool = False) -> None:
        """Sign what has changed (all roles with `renew`), then snapshot, then timestamp.

        Args:
            now: UTC; expiry is counted from here.
            renew: also sign unchanged roles, to move their expiry.
        """
        names = ("targets", *self._roles)
        for name in names if renew else [name for name in names if name in self._changed]:
            role = self._targets if name == "targets" else self._roles[name]
            data = self._sign(role, self._role_keys(name), now, self._length(name))
            self._snapshot.meta[f"{name}.json"] = MetaFile.from_data(role.version, data, _HASHES)
            self._write(f"{role.version}.{name}.json", data)
        self._changed.clear()
        data = self._sign(self._snapshot, self._top("snapshot"), now, self._validity.snapshot)
        self._write(f"{self._snapshot.version}.snapshot.json", data)
        self._timestamp.snapshot_meta = MetaFile.from_data(self._snapshot.version, data, _HASHES)
        data = self._sign(self._timestamp, self._top("timestamp"), now, self._validity.timestamp)
        self._write("timestamp.json", data)

    def _add(self, role: str, path: str, data: bytes, custom: dict[str, object] | None) -> Target:
        if not all(_NAME.fullmatch(part) for part in path.split("/")):
            raise CatalogueError(f"path {path!r:.120}, wanted parts of letters, digits and '._+-'")
        file = TargetFile.from_data(path, data, _HASHES)
        if custom is not None:
            file.unrecognized_fields["custom"] = custom
        target = Target(path, file.length, bytes.fromhex(file.hashes["sha256"]))
        write_whole(self._folder / "targets" / file.get_prefixed_paths()[0], data)
        self._roles[role].targets[path] = file
        self._changed.add(role)
        return target

    def _change(self, model: str, version: str, *, withdrawn: bool | None, approved: bool) -> None:
        role = FIRMWARE_PREFIX + model
        wanted = full_version(version)
        found = False
        for file in self._roles[role].targets.values() if role in self._roles else ():
            facts = ReleaseFacts.parse(file.custom)
            if facts.version == wanted:
                found = True
                flag = facts.withdrawn if withdrawn is None else withdrawn
                changed = replace(facts, approved=approved, withdrawn=flag)
                file.unrecognized_fields["custom"] = changed.build()
        if not found:
            raise CatalogueError(f"no release {wanted} for {model} in the catalogue")
        self._changed.add(role)

    def _arrange(self, keys: VendorKeys) -> None:
        """Write the vendor's keys into root and delegations, and make every delegated role."""
        self._keys = keys
        self._root.keys.clear()
        for name, role in keys.top_level().items():
            self._root.roles[name].threshold = role.threshold
            self._root.roles[name].keyids.clear()
            for signer in role.signers:
                self._root.add_key(signer.public_key, name)
        known: dict[str, Key] = {}
        delegated: dict[str, DelegatedRole] = {}
        for name, pattern, role in self._delegations():
            known |= {signer.public_key.keyid: signer.public_key for signer in role.signers}
            ids = [signer.public_key.keyid for signer in role.signers]
            delegated[name] = DelegatedRole(name, ids, role.threshold, True, paths=[pattern])
            if name not in self._roles:
                self._roles[name] = _unsigned(Targets())
        self._targets.delegations = Delegations(known, delegated)
        self._changed |= {"targets", *self._roles}

    def _delegations(self) -> Iterable[tuple[str, str, RoleKeys]]:
        for model in self._keys.firmware:
            yield FIRMWARE_PREFIX + model, f"{model}/fw/*", self._keys.firmware_role(model)
        yield ADVISORIES, "advisories/*", self._keys.advisories_role()
        yield TRUST, "trust/*", self._keys.trust_role()

    def _top(self, name: str) -> RoleKeys:
        return self._keys.top_level()[name]

    def _role_keys(self, name: str) -> RoleKeys:
        for role, _pattern, keys in self._delegations():
            if role == name:
                return keys
        return self._top(name)

    def _length(self, name: str) -> timedelta:
        fixed = {
            "targets": self._validity.targets,
            ADVISORIES: self._validity.advisories,
            TRUST: self._validity.trust,
        }
        return fixed.get(name, self._validity.firmware)

    def _write_root(self, now: datetime, keys: RoleKeys) -> None:
        data = self._sign(self._root, keys, now, self._validity.root)
        self._root_files.append(data)
        self._write(f"{self._root.version}.root.json", data)

    def _sign(self, signed: _S, keys: RoleKeys, now: datetime, length: timedelta) -> bytes:
        signed.version += 1
        signed.expires = (now + length).replace(microsecond=0)
        metadata = Metadata(signed)
        for signer in keys.signers:
            metadata.sign(signer, append=True)
        return metadata.to_bytes()

    def _write(self, name: str, data: bytes) -> None:
        write_whole(self._folder / "metadata" / name, data)


def _unsigned(signed: _S) -> _S:
    """Version 0 is "not signed yet": the first signature makes it 1."""
    signed.version = 0
    return signed
