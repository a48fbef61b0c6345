"""Who signs what in a catalogue, how many of them, and for how long: the vendor's side.

A signer is anything securesystemslib takes: a key from a seed here, a key file or an HSM at a real
vendor.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.signer import (  # type: ignore[attr-defined]  # not in __all__
    CryptoSigner,
    Signer,
)

from svcport.catalogue.document import tokens
from svcport.catalogue.faults import CatalogueError

_SEED_LABEL: Final = b"svcport-catalogue-key-v1\0"
_ROOT: Final = 2
_TARGETS: Final = 2
_FIRMWARE: Final = 2
_TRUST: Final = 2
_ADVISORIES: Final = 1
_SNAPSHOT: Final = 1
_TIMESTAMP: Final = 1


@dataclass(frozen=True, slots=True)
class RoleKeys:
    """The signers of one role and how many of them must have signed."""

    signers: tuple[Signer, ...]
    threshold: int

    def __post_init__(self) -> None:
        different = {signer.public_key.keyid for signer in self.signers}
        if len(different) != len(self.signers) or len(different) < self.threshold:
            raise CatalogueError(
                f"{len(different)} different keys, wanted at least {self.threshold}, all different"
            )


@dataclass(frozen=True, slots=True)
class VendorKeys:
    """Every signer of a vendor. `firmware` maps a model to its signers."""

    root: tuple[Signer, ...]
    targets: tuple[Signer, ...]
    firmware: Mapping[str, tuple[Signer, ...]]
    advisories: tuple[Signer, ...]
    trust: tuple[Signer, ...]
    snapshot: tuple[Signer, ...]
    timestamp: tuple[Signer, ...]

    def __post_init__(self) -> None:
        tokens(tuple(self.firmware), "model", least=1)
        if len({model.casefold() for model in self.firmware}) != len(self.firmware):
            raise CatalogueError(
                "two models differ only in capitals, which not every disk can hold"
            )

    @classmethod
    def from_seed(cls, seed: bytes, models: tuple[str, ...]) -> Self:
        """Three keys for root, two for targets, trust and each model, else one."""

        def signers(role: str, count: int) -> tuple[Signer, ...]:
            return tuple(seeded_signer(seed, f"{role}/{number}") for number in range(count))

        return cls(
            root=signers("root", 3),
            targets=signers("targets", _TARGETS),
            firmware={model: signers(f"firmware/{model}", _FIRMWARE) for model in models},
            advisories=signers("advisories", _ADVISORIES),
            trust=signers("trust", _TRUST),
            snapshot=signers("snapshot", _SNAPSHOT),
            timestamp=signers("timestamp", _TIMESTAMP),
        )

    def top_level(self) -> dict[str, RoleKeys]:
        """The four roles that root names; raises CatalogueError if a role has too few keys."""
        return {
            "root": RoleKeys(self.root, _ROOT),
            "targets": RoleKeys(self.targets, _TARGETS),
            "snapshot": RoleKeys(self.snapshot, _SNAPSHOT),
            "timestamp": RoleKeys(self.timestamp, _TIMESTAMP),
        }

    def firmware_role(self, model: str) -> RoleKeys:
        """The role that signs a model's images."""
        return RoleKeys(self.firmware[model], _FIRMWARE)

    def advisories_role(self) -> RoleKeys:
        """The role that signs advisories."""
        return RoleKeys(self.advisories, _ADVISORIES)

    def trust_role(self) -> RoleKeys:
        """The role that signs trust statements."""
        return RoleKeys(self.trust, _TRUST)


@dataclass(frozen=True, slots=True)
class Validity:
    """How long a role's signature holds: short where keys are online and a freeze soon harms."""

    root: timedelta = timedelta(days=730)
    targets: timedelta = timedelta(days=365)
    firmware: timedelta = timedelta(days=180)
    advisories: timedelta = timedelta(days=30)
    trust: timedelta = timedelta(days=30)
    snapshot: timedelta = timedelta(days=30)
    timestamp: timedelta = timedelta(days=14)

    @classmethod
    def uniform(cls, length: timedelta) -> Self:
        """The same for every role, as a training vendor wants it."""
        return cls(length, length, length, length, length, length, length)


def seeded_signer(seed: bytes, name: str) -> Signer:
    """The Ed25519 key SHA-256(label, length of seed as big-endian u32, seed, name)."""
    material = _SEED_LABEL + len(seed).to_bytes(4, "big") + seed + name.encode()
    return CryptoSigner(Ed25519PrivateKey.from_private_bytes(hashlib.sha256(material).digest()))
