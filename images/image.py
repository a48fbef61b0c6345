"""An image taken apart, and not yet believed. Knows structure, nothing of hashes, keys or trust.

`Image.parse` is for looking; only `images.verify.verify` says whether an image may be used.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

from images.errors import MalformedImageError
from images.header import FEATURE_NAMES, Header, Version
from images.metadata import LockMetadata
from images.tlv import (
    COMPRESSION_TYPES,
    ENCRYPTION_TYPES,
    HASH_TYPES,
    HEAD_SIZE,
    PROTECTED_MAGIC,
    SIGNATURE_TYPES,
    UNPROTECTED_MAGIC,
    Tlv,
    TlvType,
    read_entries,
    read_info,
)

SECURITY_COUNTER_SIZE: Final = 4


@dataclass(frozen=True, slots=True)
class Image:
    """One image, as its bytes tell it.

    Attributes:
        header: the 32-byte header.
        protected: entries of the area that hash and signature cover; empty if there is none.
        unprotected: entries of the area behind it, which carries hash and signature.
        data: the image from its first byte to the end of its last TLV; what follows is not part of
            it.
        trailing: bytes of the file after `data`: slot padding, an MCUboot trailer, or anything.
        metadata: the locks it is meant for; None if it does not say.
        security_counter: of the protected area, 0 to 2**32-1; None if it has none.
    """

    header: Header
    protected: tuple[Tlv, ...]
    unprotected: tuple[Tlv, ...]
    data: bytes
    trailing: int
    metadata: LockMetadata | None
    security_counter: int | None

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Take `data` apart.

        Raises:
            MalformedImageError: no header, an area whose size is not what the header or the file
                allows, an entry that leaves its area, lock metadata or a security counter that
                cannot be read. Nothing else is raised.
        """
        # A caller's buffer may change under us; a copy of what is bytes already costs nothing.
        data = bytes(data)
        header = Header.parse(data)
        offset = header.tlv_offset
        protected: tuple[Tlv, ...] = ()
        info = read_info(data, offset)
        stated = info.total if info.magic == PROTECTED_MAGIC else 0
        if stated != header.protected_size:
            raise MalformedImageError(
                f"protected area is {stated} bytes, the header says {header.protected_size}",
                offset=offset,
            )
        if info.magic == PROTECTED_MAGIC:
            protected = read_entries(data, offset + HEAD_SIZE, offset + info.total)
            offset += info.total
            info = read_info(data, offset)
        if info.magic != UNPROTECTED_MAGIC:
            raise MalformedImageError(
                f"tlv magic is {info.magic:#06x}, must be {UNPROTECTED_MAGIC:#06x}", offset=offset
            )
        end = offset + info.total
        return cls(
            header=header,
            protected=protected,
            unprotected=read_entries(data, offset + HEAD_SIZE, end),
            data=data[:end],
            trailing=len(data) - end,
            metadata=LockMetadata.from_tlvs(protected),
            security_counter=_security_counter(protected),
        )

    @property
    def version(self) -> Version:
        """The version in the header."""
        return self.header.version

    @property
    def payload(self) -> bytes:
        """What the lock runs (or, compressed or encrypted, what it would make that from)."""
        return self.data[self.header.header_size : self.header.tlv_offset]

    @property
    def signed_bytes(self) -> bytes:
        """What hash and signature cover: header, padding, payload and protected area."""
        return self.data[: self.header.tlv_offset + self.header.protected_size]

    @property
    def digest(self) -> bytes | None:
        """The value of the first hash TLV, not checked; None if there is none."""
        return next((tlv.value for tlv in self.unprotected if tlv.kind in HASH_TYPES), None)

    @property
    def hash_name(self) -> str | None:
        """The algorithm of `digest`, as `hashlib` names it; None if there is no digest."""
        return next((HASH_TYPES[t.kind] for t in self.unprotected if t.kind in HASH_TYPES), None)

    @property
    def signers(self) -> tuple[str, ...]:
        """Key hashes that the image names, lower-case hex, in file order. A claim, not a fact."""
        return tuple(tlv.value.hex() for tlv in self.unprotected if tlv.kind == TlvType.KEYHASH)

    @property
    def encrypted(self) -> bool:
        """Whether a flag or TLV says so, even if the payload is readable (imgtool's `--clear`)."""
        return any("encrypted" in feature for feature in self.features)

    @property
    def compressed(self) -> bool:
        """Whether a flag or a TLV says so."""
        return any("compressed" in feature for feature in self.features)

    @property
    def pure(self) -> bool:
        """Whether the signature is over the bytes and not over their digest (TLV SIG_PURE)."""
        return any(tlv.kind == TlvType.SIG_PURE for tlv in self.protected + self.unprotected)

    @property
    def features(self) -> tuple[str, ...]:
        """What sets this image apart from a plain signed one: stable words, sorted, none twice."""
        kinds = {tlv.kind for tlv in self.protected + self.unprotected}
        words = {word for flag, word in FEATURE_NAMES.items() if self.header.has(flag)}
        if self.header.unknown_flags:
            words.add(f"unknown-flags-{self.header.unknown_flags:#010x}")
        if kinds & ENCRYPTION_TYPES:
            words.add("encrypted-key")
        if kinds & COMPRESSION_TYPES:
            words.add("compressed-original")
        if not kinds & SIGNATURE_TYPES:
            words.add("unsigned")
        named = {
            TlvType.SIG_PURE: "pure-signature",
            TlvType.PUBKEY: "full-public-key",
            TlvType.ECDSA224: "ecdsa-p224",
            TlvType.DEPENDENCY: "dependencies",
            TlvType.BOOT_RECORD: "boot-record",
        }
        return tuple(sorted(words | {word for kind, word in named.items() if kind in kinds}))


def _security_counter(protected: tuple[Tlv, ...]) -> int | None:
    values = [tlv.value for tlv in protected if tlv.kind == TlvType.SEC_CNT]
    if not values:
        return None
    if len(values) > 1:
        raise MalformedImageError(f"{len(values)} security counters, at most 1 may be there")
    if len(values[0]) != SECURITY_COUNTER_SIZE:
        raise MalformedImageError(
            f"security counter has {len(values[0])} bytes, must have {SECURITY_COUNTER_SIZE}"
        )
    return int.from_bytes(values[0], "little")
