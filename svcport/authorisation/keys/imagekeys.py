"""Image keys on PKCS#11 tokens, as `images.sign` wants them: a vendor's release HSM."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from images import PublicKey
from protocol.sealed import SIGNATURE_SIZE, Algorithm, SubjectKey
from svcport.authorisation.keys.locked import Secret, lost
from svcport.authorisation.keys.references import TokenKey
from svcport.authorisation.keys.tokens import TokenSigner, open_token_key

_HALF: Final = SIGNATURE_SIZE // 2


@dataclass(frozen=True, slots=True)
class TokenImageSigner:
    """Signs the digests of images on a token (images.sign.ImageSigner)."""

    public: PublicKey
    _token: TokenSigner

    def sign(self, digest: bytes) -> bytes:
        """The signature TLV's value: Ed25519, or ECDSA in DER.

        Raises:
            FailedError: the token does not sign (`signer-locked`).
        """
        raw = self._token.sign_raw(digest)
        if len(raw) != SIGNATURE_SIZE:
            raise lost(f"{self._token.name} gave {len(raw)} bytes, wanted {SIGNATURE_SIZE}")
        if self._token.subject.algorithm is Algorithm.ED25519:
            return raw
        r, s = int.from_bytes(raw[:_HALF], "big"), int.from_bytes(raw[_HALF:], "big")
        return encode_dss_signature(r, s)


def open_image_key(reference: TokenKey, secret: Secret | None) -> TokenImageSigner:
    """Open an image key on a token; raises as `open_token_key`."""
    token = open_token_key(reference, secret)
    return TokenImageSigner(PublicKey.from_crypto(_public(token.subject), name=token.name), token)


def _public(subject: SubjectKey) -> ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey:
    if subject.algorithm is Algorithm.ED25519:
        return ed25519.Ed25519PublicKey.from_public_bytes(subject.raw[1:])
    return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), subject.raw[1:])
