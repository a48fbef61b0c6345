"""Keys on PKCS#11 tokens: HSMs, PIV cards, SoftHSM. The private half never leaves the token.

The login belongs to the whole process and lasts as long as it (PKCS#11 v2.40, 6.7.4): logging out
for one key would lock every other key of that token, so nothing here does.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from protocol.errors import ProtocolError
from protocol.sealed import Algorithm, SubjectKey
from svcport.authorisation.keys.locked import PIN_OF, Secret, checked_signature, locked, lost
from svcport.authorisation.keys.references import TokenKey

if TYPE_CHECKING:
    import pkcs11

ENVIRONMENT: Final = "SVCPORT_PKCS11_MODULE"

_DER_OCTETS: Final = 0x04
_POINT_MARK: Final = 0x04
"""Both an uncompressed point and a DER octet string begin with 04; the length tells them apart."""

_ED25519_SIZE: Final = 32
_P256_SIZE: Final = 65
_P256_OID: Final = bytes.fromhex("06082a8648ce3d030107")

_COUNT_LOW: Final = "a wrong PIN has been given since the last good one"


@functools.cache
def module_lock(_module: Path) -> Lock:
    """The one lock of a driver: python-pkcs11 tells drivers that no threads call them."""
    return Lock()


@dataclass(frozen=True, slots=True)
class TokenSigner:
    """A private key on a token, in a session that is open; threads take turns."""

    subject: SubjectKey
    name: str
    _key: pkcs11.SignMixin = field(repr=False)
    _lock: Lock = field(repr=False)
    _pin: str | None = field(repr=False)

    def sign(self, message: bytes) -> bytes:
        """See protocol.sealed.Signer; FailedError (`signer-locked`) if the token does not."""
        if self.subject.algorithm is Algorithm.ED25519:
            raw = self.sign_raw(message)
        else:
            raw = self.sign_raw(hashlib.sha256(message).digest())
        return checked_signature(self.subject, self.name, raw, message)

    def sign_raw(self, data: bytes) -> bytes:
        """What the token makes of `data`: EdDSA of a message, or ECDSA (r | s) of a digest.

        Raises:
            FailedError: the token is gone, or refuses (`signer-locked`).
        """
        import pkcs11

        ed25519_key = self.subject.algorithm is Algorithm.ED25519
        mechanism = pkcs11.Mechanism.EDDSA if ed25519_key else pkcs11.Mechanism.ECDSA
        try:
            with self._lock:
                return bytes(self._key.sign(data, mechanism=mechanism, pin=self._pin))
        except pkcs11.PKCS11Error as error:
            raise lost(f"{self.name} does not sign: {_words(error)}") from error


def open_token_key(reference: TokenKey, secret: Secret | None) -> TokenSigner:
    """Log in to a token and find the key.

    Raises:
        RefusedError: no driver, token or key, a wrong PIN or a locked one (`signer-locked`).
    """
    try:
        import pkcs11
    except ModuleNotFoundError as error:
        raise locked(
            "keys on PKCS#11 tokens need the package python-pkcs11",
            "pip install 'svcport[pkcs11]'",
        ) from error
    module = _module(reference)
    with _driver(module):
        library = pkcs11.lib(str(module))
        token = _token(list(library.get_tokens()), reference)
    if token.flags & pkcs11.TokenFlag.USER_PIN_LOCKED:
        raise _wrong_pin(token)
    pin = _pin(token, secret)
    with _driver(module):
        session = _session(token, pin, lambda: _token(list(library.get_tokens()), reference))
        key = _private_key(session, token, reference)
        subject = _public_half(session, key)
        again = _always_authenticates(key)
    name = f"key {key.label or key.id.hex()} of token {token.label}"
    if not isinstance(key, pkcs11.SignMixin):
        raise locked(f"{name} may not sign", "use a key that was made to sign (CKA_SIGN)")
    return TokenSigner(subject, name, key, module_lock(module), pin if again else None)


def _module(reference: TokenKey) -> Path:
    if reference.module is not None:
        return reference.module
    named = os.environ.get(ENVIRONMENT)
    if named and Path(named).is_absolute():
        return Path(named)
    raise locked(
        f"{reference} names no driver, and {ENVIRONMENT} names none by its absolute path",
        "add ?module-path=/usr/lib/.../opensc-pkcs11.so to it, or set the variable",
    )


@contextlib.contextmanager
def _driver(module: Path) -> Iterator[None]:
    """Around calls of a driver: one thread at a time, and its errors as ours."""
    import pkcs11

    try:
        with module_lock(module):
            yield
    except pkcs11.PKCS11Error as error:
        raise locked(
            f"the token's driver {module} fails: {_words(error)}",
            "plug the token in, and look whether its driver is installed",
        ) from error


def _words(error: Exception) -> str:
    """PKCS#11 errors often say what they are by their class alone."""
    return ": ".join(part for part in (type(error).__name__, str(error)) if part)


def _token(tokens: list[pkcs11.Token], reference: TokenKey) -> pkcs11.Token:
    import pkcs11

    ready = [one for one in tokens if one.flags & pkcs11.TokenFlag.TOKEN_INITIALIZED]
    found = [
        one
        for one in ready
        if reference.token in (None, one.label)
        and reference.serial in (None, one.serial.decode("utf-8", "replace"))
    ]
    if len(found) == 1:
        return found[0]
    there = ", ".join(one.label for one in ready) or "none"
    if not found:
        raise locked(f"no token for {reference} is plugged in; there: {there}", "plug it in")
    raise locked(f"{len(found)} tokens fit {reference}: {there}", "name one with token= or serial=")


def _pin(token: pkcs11.Token, secret: Secret | None) -> str:
    name = f"{PIN_OF}token {token.label}"
    if secret is None:
        raise locked(
            f"the {name} is wanted and none was given",
            "run it on a terminal, or give the PIN with --pin-fd",
        )
    try:
        pin = secret(name).decode("utf-8")
    except UnicodeDecodeError as error:
        raise locked(f"the {name} is no UTF-8 text") from error
    if not pin:
        raise locked(f"the {name} is empty")
    return pin


def _session(
    token: pkcs11.Token, pin: str, look_again: Callable[[], pkcs11.Token]
) -> pkcs11.Session:
    import pkcs11

    try:
        return token.open(user_pin=pin)
    except pkcs11.UserAlreadyLoggedIn:
        return token.open()  # this process has given the PIN before
    except (
        pkcs11.PinIncorrect,
        pkcs11.PinInvalid,
        pkcs11.PinLenRange,
        pkcs11.PinLocked,
    ) as error:
        raise _wrong_pin(look_again()) from error


def tries_left(flags: int) -> int | None:
    """How many PINs may still be tried, where a token's flags tell (PKCS#11 v2.40, CK_TOKEN_INFO).

    None: the token does not tell.
    """
    import pkcs11

    if flags & pkcs11.TokenFlag.USER_PIN_LOCKED:
        return 0
    return 1 if flags & pkcs11.TokenFlag.USER_PIN_FINAL_TRY else None


def _wrong_pin(token: pkcs11.Token) -> Exception:
    import pkcs11

    left = tries_left(token.flags)
    if left == 0:
        error = locked(
            f"token {token.label} is locked after too many wrong PINs, no try is left",
            "unlock it with its PUK or security officer's PIN",
        )
    elif left == 1:
        error = locked(
            f"the PIN of token {token.label} is wrong, 1 try is left",
            "the next wrong PIN locks the token",
        )
    else:
        low = f": {_COUNT_LOW}" if token.flags & pkcs11.TokenFlag.USER_PIN_COUNT_LOW else ""
        error = locked(
            f"the PIN of token {token.label} is wrong, it does not tell how many tries are left"
            f"{low}",
            "try again with care: tokens lock themselves after a few",
        )
    error.facts["pin_tries_left"] = left
    return error


def _private_key(
    session: pkcs11.Session, token: pkcs11.Token, reference: TokenKey
) -> pkcs11.PrivateKey:
    import pkcs11

    wanted: dict[pkcs11.Attribute, object] = {
        pkcs11.Attribute.CLASS: pkcs11.ObjectClass.PRIVATE_KEY
    }
    if reference.label is not None:
        wanted[pkcs11.Attribute.LABEL] = reference.label
    if reference.key_id is not None:
        wanted[pkcs11.Attribute.ID] = reference.key_id
    found = [one for one in session.get_objects(wanted) if isinstance(one, pkcs11.PrivateKey)]
    if len(found) == 1:
        return found[0]
    raise locked(
        f"{len(found)} private keys on token {token.label} fit {reference}, wanted one",
        "name it with object=LABEL or id=%01; pkcs11-tool --list-objects shows them",
    )


def _public_half(session: pkcs11.Session, key: pkcs11.PrivateKey) -> SubjectKey:
    """Of the public key, else of the certificate, with the private key's id."""
    import pkcs11

    if key.key_type not in (pkcs11.KeyType.EC, pkcs11.KeyType.EC_EDWARDS):
        raise locked(f"key {key.label} on the token is no P-256 and no Ed25519 key")
    same = {pkcs11.Attribute.ID: key.id}
    kinds = {pkcs11.Attribute.CLASS: pkcs11.ObjectClass.PUBLIC_KEY, **same}
    certificates = {pkcs11.Attribute.CLASS: pkcs11.ObjectClass.CERTIFICATE, **same}
    try:
        for public in session.get_objects(kinds):
            return subject_of_point(key.key_type, _parameters(public), _point(public))
        for certificate in session.get_objects(certificates):
            return _certified(bytes(certificate[pkcs11.Attribute.VALUE]))
    except (ValueError, TypeError, ProtocolError) as error:
        raise locked(f"key {key.label} on the token cannot be used: {error}") from error
    raise locked(
        f"the token holds neither public key nor certificate for key {key.label}",
        "store one beside it, with the same id",
    )


def _point(public: pkcs11.Object) -> bytes:
    import pkcs11

    return bytes(public[pkcs11.Attribute.EC_POINT])


def _parameters(public: pkcs11.Object) -> bytes:
    import pkcs11

    return bytes(public[pkcs11.Attribute.EC_PARAMS])


def subject_of_point(kind: int, parameters: bytes, point: bytes) -> SubjectKey:
    """The subject key of CKA_EC_POINT, as drivers write it: bare, or in a DER octet string.

    Args:
        kind: CKA_KEY_TYPE.
        parameters: CKA_EC_PARAMS, DER.
        point: CKA_EC_POINT.

    Raises:
        ValueError: neither Ed25519 nor a point of P-256.
    """
    import pkcs11

    size = _ED25519_SIZE if kind == pkcs11.KeyType.EC_EDWARDS else _P256_SIZE
    if len(point) == size + 2 and point[:2] == bytes([_DER_OCTETS, size]):
        point = point[2:]
    if len(point) != size:
        raise ValueError(f"its public point has {len(point)} bytes, wanted {size}")
    if kind == pkcs11.KeyType.EC_EDWARDS:
        return SubjectKey(b"\x01" + point)
    if kind == pkcs11.KeyType.EC and parameters == _P256_OID and point[0] == _POINT_MARK:
        return SubjectKey.of(ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point))
    raise ValueError("it is of another kind, wanted P-256 or Ed25519")


def _certified(der: bytes) -> SubjectKey:
    from cryptography import x509

    key = x509.load_der_x509_certificate(der).public_key()
    if not isinstance(key, ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey):
        raise TypeError(f"its certificate is for a {type(key).__name__}")
    return SubjectKey.of(key)


def _always_authenticates(key: pkcs11.PrivateKey) -> bool:
    """Whether each signature wants the PIN again, as the signature slot of a PIV card does."""
    import pkcs11

    try:
        return bool(key[pkcs11.Attribute.ALWAYS_AUTHENTICATE])
    except pkcs11.AttributeTypeInvalid:
        return False
