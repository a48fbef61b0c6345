"""One release of firmware as the vendor signs it: what it is, for which locks, what may be done.

Data and rules only; nothing here reads a file or checks a signature.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Self

from svcport.catalogue.document import Fields, tokens
from svcport.catalogue.faults import CatalogueError

SCHEMA: Final = "svcport-release/1"
DIGEST_SIZES: Final = (32, 48, 64)
"""SHA-256, SHA-384 and SHA-512: the hash TLVs that MCUboot knows."""
MAX_TARGET_SIZE: Final = 64 * 1024 * 1024
"""Bytes; far above any lock's slot, far below what would trouble a laptop."""

_VERSION: Final = re.compile(
    r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(?:\+(0|[1-9]\d*))?", re.ASCII
)
_VERSION_LIMITS: Final = (0xFF, 0xFF, 0xFFFF, 0xFFFFFFFF)
"""Widths of MCUboot's image_version: u8, u8, u16, u32."""
_U32: Final = 0xFFFFFFFF


def version_key(text: str) -> tuple[int, int, int, int]:
    """Read `major.minor.revision[+build]`; the tuple orders versions.

    Raises:
        CatalogueError: another form, leading zeros, or a number wider than MCUboot's header field.
    """
    match = _VERSION.fullmatch(text) if len(text) <= len("255.255.65535+4294967295") else None
    if match is None:
        raise CatalogueError(f"version {text!r:.40}, wanted major.minor.revision+build")
    major, minor, revision, build = (int(part or "0") for part in match.groups())
    key = (major, minor, revision, build)
    if any(part > limit for part, limit in zip(key, _VERSION_LIMITS, strict=True)):
        raise CatalogueError(f"version {text}, wanted at most 255.255.65535+4294967295")
    return key


def full_version(text: str) -> str:
    """The full form of a version that may omit `+0`; raises like `version_key`."""
    major, minor, revision, build = version_key(text)
    return f"{major}.{minor}.{revision}+{build}"


@dataclass(frozen=True, slots=True)
class Target:
    """One file of the catalogue: its path there, its size in bytes, the SHA-256 of all of it."""

    path: str
    size: int
    sha256: bytes

    def __post_init__(self) -> None:
        if not 0 <= self.size <= MAX_TARGET_SIZE:
            raise CatalogueError(
                f"{self.path} has {self.size} bytes, wanted at most {MAX_TARGET_SIZE}"
            )


@dataclass(frozen=True, slots=True)
class ReleaseFacts:
    """What the vendor signs about an image beside its file; the target's `custom` in the metadata.

    Attributes:
        version: full form, `major.minor.revision+build`.
        security_counter: of the image's SEC_CNT TLV, u32.
        digest: value of the image's hash TLV.
        key_hash: lower-case hex of the image's KEYHASH TLV.
        hardware: revisions it runs on, at least one.
        batches: production batches it is for; empty means every batch.
        approved: what a restore takes when nothing else is asked for.
        rollback_ok: a lock may be taken back to it.
        withdrawn: must not be put on a lock any more.
    """

    model: str
    version: str
    security_counter: int
    digest: bytes
    key_hash: str
    hardware: tuple[str, ...]
    batches: tuple[str, ...] = ()
    approved: bool = False
    rollback_ok: bool = True
    withdrawn: bool = False

    def __post_init__(self) -> None:
        tokens((self.model,), "model")
        if full_version(self.version) != self.version:
            raise CatalogueError(f"version {self.version}, wanted {full_version(self.version)}")
        if not 0 <= self.security_counter <= _U32:
            raise CatalogueError(f"security counter {self.security_counter}, wanted 0 to {_U32}")
        if len(self.digest) not in DIGEST_SIZES:
            raise CatalogueError(
                f"digest of {len(self.digest)} bytes, wanted one of {DIGEST_SIZES}"
            )
        if re.fullmatch(r"(?:[0-9a-f]{2}){32,64}", self.key_hash) is None:
            raise CatalogueError(f"key hash {self.key_hash!r:.40}, wanted 64 to 128 hex digits")
        tokens(self.hardware, "hardware", least=1)
        tokens(self.batches, "batches")

    def covers(self, hardware: str | None, batch: str | None) -> bool:
        """True if it is for such a lock; what a lock cannot tell (None) only "every" covers."""
        return hardware in self.hardware and (not self.batches or batch in self.batches)

    @classmethod
    def parse(cls, value: object) -> Self:
        """Read a target's `custom`; raises CatalogueError."""
        fields = Fields(value, "release")
        fields.schema(SCHEMA)
        facts = cls(
            model=fields.text("model"),
            version=fields.text("version"),
            security_counter=fields.number("security_counter"),
            digest=fields.digest("digest"),
            key_hash=fields.text("key_hash"),
            hardware=fields.texts("hardware"),
            batches=fields.texts("batches"),
            approved=fields.flag("approved"),
            rollback_ok=fields.flag("rollback_ok"),
            withdrawn=fields.flag("withdrawn"),
        )
        fields.done()
        return facts

    def build(self) -> dict[str, object]:
        """The inverse of `parse`."""
        return {
            "schema": SCHEMA,
            "model": self.model,
            "version": self.version,
            "security_counter": self.security_counter,
            "digest": self.digest.hex(),
            "key_hash": self.key_hash,
            "hardware": list(self.hardware),
            "batches": list(self.batches),
            "approved": self.approved,
            "rollback_ok": self.rollback_ok,
            "withdrawn": self.withdrawn,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Release(ReleaseFacts):
    """A release of the catalogue: the signed facts and the signed file.

    Attributes:
        path: target path, `<model>/fw/<name>.bin`.
        size: bytes of the image file.
        sha256: over the whole image file; not the image's own digest.
    """

    path: str
    size: int
    sha256: bytes

    @classmethod
    def join(cls, facts: ReleaseFacts, target: Target) -> Self:
        """Put facts and file together; CatalogueError if the path belongs to another model."""
        if not target.path.startswith(f"{facts.model}/fw/"):
            raise CatalogueError(f"{target.path} claims to be for {facts.model}")
        return cls(
            model=facts.model,
            version=facts.version,
            security_counter=facts.security_counter,
            digest=facts.digest,
            key_hash=facts.key_hash,
            hardware=facts.hardware,
            batches=facts.batches,
            approved=facts.approved,
            rollback_ok=facts.rollback_ok,
            withdrawn=facts.withdrawn,
            path=target.path,
            size=target.size,
            sha256=target.sha256,
        )

    @property
    def target(self) -> Target:
        """The file alone."""
        return Target(self.path, self.size, self.sha256)
