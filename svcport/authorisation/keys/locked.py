"""What signers ask for and how they fail. A secret is asked for by a name that people can read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from protocol.errors import ProtocolError
from protocol.sealed import P256_ORDER, SIGNATURE_SIZE, Algorithm, SubjectKey
from svcport.errors import FailedError, Reason, RefusedError

Secret = Callable[[str], bytes]
"""Gives the secret of the name it is called with: `PIN of ...` or `passphrase of ...`."""

PIN_OF: Final = "PIN of "
PASSPHRASE_OF: Final = "passphrase of "  # noqa: S105

_HALF: Final = SIGNATURE_SIZE // 2


def locked(message: str, hint: str = "") -> RefusedError:
    """The key cannot be opened: nothing was begun."""
    return RefusedError(Reason.SIGNER_LOCKED, message, hint=hint)


def lost(message: str) -> FailedError:
    """A key that was open does not sign any more, perhaps in the middle of an act."""
    hint = "plug the token in, or unlock the agent; then run svcport reconcile"
    return FailedError(Reason.SIGNER_LOCKED, message, hint=hint)


def checked_signature(subject: SubjectKey, name: str, raw: bytes, message: bytes) -> bytes:
    """A token's or agent's signature with low s, believed only when it verifies.

    Args:
        subject: whose signature it must be.
        name: how to speak of the key.
        raw: as it came: Ed25519, or r | s with any s.
        message: what was signed.

    Raises:
        FailedError: it is not this key's signature (`signer-locked`).
    """
    signature = raw
    if subject.algorithm is Algorithm.ECDSA_P256 and len(raw) == SIGNATURE_SIZE:
        s = int.from_bytes(raw[_HALF:], "big")
        signature = raw[:_HALF] + min(s, (P256_ORDER - s) % P256_ORDER).to_bytes(_HALF, "big")
    try:
        subject.verify(signature, message)
    except ProtocolError as error:
        raise lost(f"{name} gave a signature that is not of its key: {error}") from error
    return signature
