"""What the factory burned into one lock: identity, keys that it trusts, sizes. Never changes."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from images import PublicKey, TrustStore
from protocol.sealed import Realm, SubjectKey

START_BAUD: Final = 115_200
"""The line's speed after every reset."""


@dataclass(frozen=True, slots=True)
class Factory:
    """One lock's burned-in facts. It holds private keys: treat the JSON as a secret.

    Attributes:
        serial: 1..16 printable ASCII characters, as on the housing.
        realm: production or training; the lock accepts objects of this one only.
        certificate: the LOCK object, signed by the manufacturer.
        identity_seed: 32 bytes; Ed25519 private key of the certificate's subject.
        x25519_private: 32 bytes; the static key of the handshake.
        root_keys: fleet root, current and next.
        image_keys: PEM public keys whose images boot.
        counter_issuer: key id (8 bytes) of the one issuer whose counter tickets count.
        max_baud: highest speed of the line, in bit/s.
        block_size: bytes of a transfer's block, at most 4096.
        window: blocks that may be under way, 1..64.
    """

    serial: str
    model: str
    hardware: str
    batch: str
    realm: Realm
    certificate: bytes
    identity_seed: bytes
    x25519_private: bytes
    root_keys: tuple[SubjectKey, ...]
    image_keys: tuple[bytes, ...]
    counter_issuer: bytes
    bootloader: str = "svcboot 1.0.0"
    max_baud: int = 3_000_000
    block_size: int = 4096
    window: int = 8

    def identity(self) -> Identity:
        """The key that signs receipts, refusals and measurements."""
        return Identity(self.identity_seed)

    def trust(self) -> TrustStore:
        """Keys whose images boot, as `images.verify` takes them."""
        return TrustStore([PublicKey.from_pem(pem) for pem in self.image_keys])

    def to_json(self) -> str:
        """One JSON object; bytes as base64."""
        fields: dict[str, Any] = {
            name: getattr(self, name) for name in (*_TEXTS, *_NUMBERS, "bootloader")
        }
        fields |= {name: _encode(getattr(self, name)) for name in _BYTES}
        fields["realm"] = self.realm.name
        fields["root_keys"] = [_encode(key.raw) for key in self.root_keys]
        fields["image_keys"] = [_encode(pem) for pem in self.image_keys]
        return json.dumps(fields, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Factory:
        """The inverse of `to_json`.

        Raises:
            ValueError: the text is not what `to_json` writes.
        """
        try:
            return cls._from_fields(json.loads(text))
        except (KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise ValueError(f"a factory record lacks or misspells {error}") from error

    @classmethod
    def _from_fields(cls, fields: dict[str, Any]) -> Factory:
        return cls(
            **_converted(fields, (*_TEXTS, "bootloader"), str),
            **_converted(fields, _NUMBERS, int),
            **_converted(fields, _BYTES, base64.b64decode),
            realm=Realm[fields["realm"]],
            root_keys=tuple(SubjectKey(base64.b64decode(key)) for key in fields["root_keys"]),
            image_keys=tuple(base64.b64decode(pem) for pem in fields["image_keys"]),
        )


class Identity:
    """A lock's own signing key, as `protocol.sealed.Signer` wants it."""

    def __init__(self, seed: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self._subject = SubjectKey.of(self._key.public_key())

    @property
    def subject(self) -> SubjectKey:
        """The public half."""
        return self._subject

    def sign(self, message: bytes) -> bytes:
        """64 bytes of Ed25519."""
        return self._key.sign(message)


_TEXTS: Final = ("serial", "model", "hardware", "batch")
_NUMBERS: Final = ("max_baud", "block_size", "window")
_BYTES: Final = ("certificate", "identity_seed", "x25519_private", "counter_issuer")


def _converted(
    fields: dict[str, Any], names: Iterable[str], convert: Callable[[Any], Any]
) -> dict[str, Any]:
    return {name: convert(fields[name]) for name in names}


def _encode(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")
