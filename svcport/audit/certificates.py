"""The certificates that entries and receipts are checked with, as the ledger keeps them.

They are kept beside the entries, so that a ledger can be judged without the home it grew in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeVar

from sqlalchemy import ColumnElement, Connection, select
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import RowMapping

from protocol.errors import ProtocolError, SignatureError
from protocol.objects import IssuerCertificate, LockCertificate, TechnicianCertificate
from protocol.sealed import ObjectType, Realm, Sealed, SubjectKey
from svcport.audit.authority import Authority
from svcport.audit.postgres import SCHEME
from svcport.audit.problems import ProblemCode
from svcport.audit.store import Store
from svcport.audit.tables import CERTIFICATES

_CACHE_LIMIT: Final = 4096
_BATCH: Final = 256
Certificate = IssuerCertificate | TechnicianCertificate | LockCertificate
_KINDS: Final[dict[ObjectType, type[Certificate]]] = {
    ObjectType.ISSUER: IssuerCertificate,
    ObjectType.TECHNICIAN: TechnicianCertificate,
    ObjectType.LOCK: LockCertificate,
}
K = TypeVar("K")
V = TypeVar("V")


class CertificateError(Exception):
    """A certificate is not kept here, damaged, or not signed by whom it should be.

    Attributes:
        code: which of these.
    """

    def __init__(self, code: ProblemCode, message: str) -> None:
        super().__init__(message)
        self.code = code


def read_certificate(sealed: Sealed) -> Certificate:
    """The ISSUER, TECHNICIAN or LOCK in `sealed`; ValueError for another type, or malformed."""
    kind = _KINDS.get(sealed.type)
    if kind is None:
        raise ValueError(f"{sealed.type.name} is no certificate")
    return kind.read(sealed)


def is_kept(connection: Connection, sealed: Sealed) -> bool:
    """Whether `remember` would find it known; one that is no certificate is not."""
    known = select(CERTIFICATES.c.sha256).where(CERTIFICATES.c.sha256 == sealed.digest)
    return connection.execute(known).first() is not None


def remember(connection: Connection, sealed: Sealed) -> None:
    """Keep a certificate, inside a write transaction; one that is known is left alone.

    Several stations of one database may meet the same certificate at the same time.
    """
    columns = _columns(sealed)
    if connection.dialect.name == SCHEME:
        from sqlalchemy.dialects import postgresql

        theirs = postgresql.insert(CERTIFICATES).values(**columns)
        connection.execute(theirs.on_conflict_do_nothing())
    else:
        ours = sqlite.insert(CERTIFICATES).values(**columns)
        connection.execute(ours.on_conflict_do_nothing())


def damaged_certificates(store: Store) -> Iterator[str]:
    """What is wrong with the certificates kept, a sentence each; holds a batch in memory."""
    query = select(CERTIFICATES).order_by(CERTIFICATES.c.sha256).limit(_BATCH)
    last: object = b""
    while True:
        with store.read() as connection:
            found = connection.execute(query.where(CERTIFICATES.c.sha256 > last))
            rows = found.mappings().all()
        for row in rows:
            last = row["sha256"]
            if not _as_remembered(row):
                yield f"certificate {_name(last)} is not what it was"
        if len(rows) < _BATCH:
            return


def _name(sha256: object) -> str:
    return sha256.hex() if isinstance(sha256, bytes) else repr(sha256)


def _as_remembered(row: RowMapping) -> bool:
    try:
        return _columns(Sealed.parse(row["data"])) == dict(row)
    except (ProtocolError, ValueError, TypeError):
        return False


def _columns(sealed: Sealed) -> dict[str, object]:
    certificate = read_certificate(sealed)
    return {
        "sha256": sealed.digest,
        "kind": int(sealed.type),
        "subject": certificate.subject.key_id,
        "serial": certificate.serial if isinstance(certificate, LockCertificate) else None,
        "data": sealed.build(),
    }


class Keyring:
    """Finds the key that should have signed, through certificates that are checked themselves.

    Without `manufacturer` a lock's certificate is taken as kept, without `roots` a technician's is.
    """

    def __init__(
        self,
        store: Store,
        realm: Realm,
        manufacturer: SubjectKey | None = None,
        roots: Sequence[SubjectKey] = (),
    ) -> None:
        self._store = store
        self._realm = realm
        self._manufacturer = manufacturer
        self._roots = {root.key_id: root for root in roots}
        self._technicians: dict[bytes, Authority] = {}
        self._locks: dict[tuple[str, bytes], SubjectKey] = {}

    def technician(self, sha256: bytes) -> Authority:
        """What the technician certificate with this SHA-256 stands for; CertificateError."""
        return _cached(self._technicians, sha256, self._find_technician)

    def lock(self, serial: str, key_id: bytes) -> SubjectKey:
        """The key of lock `serial` with this key id; CertificateError."""
        return _cached(self._locks, (serial, key_id), self._find_lock)

    def _find_technician(self, sha256: bytes) -> Authority:
        with self._store.read() as connection:
            query = select(CERTIFICATES.c.data).where(CERTIFICATES.c.sha256 == sha256)
            data = connection.execute(query).scalars().first()
        name = f"technician certificate {sha256.hex()}"
        if data is None:
            raise CertificateError(ProblemCode.TECHNICIAN_UNKNOWN, f"{name} is not kept here")
        sealed = self._parse(data, name)
        if sealed.digest != sha256 or sealed.type is not ObjectType.TECHNICIAN:
            raise CertificateError(ProblemCode.CERTIFICATE, f"{name} is not what it was")
        issuers = [IssuerCertificate.read(one) for one in self._issuers_of(sealed, name)]
        return Authority(TechnicianCertificate.read(sealed), tuple(issuers))

    def _issuers_of(self, technician: Sealed, name: str) -> list[Sealed]:
        """A chain up to a root, as far as roots are given; an issuer that is kept must fit."""
        issuers = self._kept(ObjectType.ISSUER, CERTIFICATES.c.subject == technician.signer)
        fitting = [one for one in issuers if _signed(technician, read_certificate(one).subject)]
        if issuers and not fitting:
            raise CertificateError(
                ProblemCode.CERTIFICATE_UNTRUSTED, f"{name} is not signed by its issuer"
            )
        if not self._roots:
            return fitting
        rooted = [
            one
            for one in fitting
            if one.signer in self._roots and _signed(one, self._roots[one.signer])
        ]
        if not rooted:
            raise CertificateError(
                ProblemCode.CERTIFICATE_UNTRUSTED, f"{name} has no chain to a fleet root given"
            )
        return rooted

    def _find_lock(self, wanted: tuple[str, bytes]) -> SubjectKey:
        serial, key_id = wanted
        name = f"certificate of lock {serial}, key {key_id.hex()}"
        kept = self._kept(
            ObjectType.LOCK, CERTIFICATES.c.serial == serial, CERTIFICATES.c.subject == key_id
        )
        for sealed in kept:
            certificate = read_certificate(sealed)
            if not isinstance(certificate, LockCertificate) or certificate.serial != serial:
                raise CertificateError(ProblemCode.CERTIFICATE, f"{name} is not what it was")
            if self._manufacturer is None or _signed(sealed, self._manufacturer):
                return certificate.subject
        if kept:
            raise CertificateError(
                ProblemCode.CERTIFICATE_UNTRUSTED, f"{name} is not the manufacturer's"
            )
        raise CertificateError(ProblemCode.LOCK_UNKNOWN, f"{name} is not kept here")

    def _kept(self, kind: ObjectType, *conditions: ColumnElement[bool]) -> list[Sealed]:
        query = select(CERTIFICATES.c.data).where(CERTIFICATES.c.kind == int(kind), *conditions)
        with self._store.read() as connection:
            rows = list(connection.execute(query.order_by(CERTIFICATES.c.sha256)).scalars())
        return [self._parse(row, f"a {kind.name} certificate") for row in rows]

    def _parse(self, data: object, name: str) -> Sealed:
        try:
            sealed = Sealed.parse(data if isinstance(data, bytes) else b"")
            read_certificate(sealed)
        except (ProtocolError, ValueError) as error:
            raise CertificateError(
                ProblemCode.CERTIFICATE, f"{name} does not parse: {error}"
            ) from error
        if sealed.realm is not self._realm:
            raise CertificateError(ProblemCode.CERTIFICATE, f"{name} is of {sealed.realm.name}")
        return sealed


def _signed(sealed: Sealed, key: SubjectKey) -> bool:
    try:
        sealed.verify(key)
    except SignatureError:
        return False
    return True


def _cached(cache: dict[K, V], key: K, find: Callable[[K], V]) -> V:
    known = cache.get(key)
    if known is not None:
        return known
    found = find(key)  # a failure is not kept: the certificate may be remembered later
    if len(cache) >= _CACHE_LIMIT:
        cache.clear()
    cache[key] = found
    return found
