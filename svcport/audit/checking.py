"""Whether one entry holds together: its hash, its signature, the lock's on the receipt inside."""

from __future__ import annotations

from dataclasses import dataclass

from protocol.errors import MalformedObjectError, SignatureError
from protocol.objects import EntryKind
from protocol.sealed import Realm, Sealed, SubjectKey
from svcport.audit import merkle
from svcport.audit.authority import objections
from svcport.audit.certificates import CertificateError, Keyring
from svcport.audit.entries import LedgerEntry, read_entry
from svcport.audit.problems import Problem, ProblemCode
from svcport.audit.rows import RawRow


def check_signature(entry: LedgerEntry, station: SubjectKey, keyring: Keyring) -> None:
    """The technician signs an INTENT that names a certificate, the station signs the rest.

    Raises:
        SignatureError: another key signed, or the signature is wrong.
        CertificateError: the technician's certificate is not kept here, or not good.
    """
    technician = entry.body.technician_hash
    if entry.body.kind is EntryKind.INTENT and technician is not None:
        entry.sealed.verify(keyring.technician(technician).subject)
    else:
        entry.sealed.verify(station)


def check_statement(entry: LedgerEntry, keyring: Keyring) -> None:
    """The lock that the entry names signed the receipt inside, if there is one.

    Raises:
        SignatureError: the signature is wrong.
        CertificateError: no certificate of that lock with that key is kept here, or not good.
    """
    statement = entry.statement
    if statement is None:
        return
    key = keyring.lock(statement.body.serial, statement.sealed.signer)
    try:
        statement.sealed.verify(key)
    except SignatureError as error:
        raise SignatureError(f"receipt of lock {statement.body.serial}: {error}") from error


@dataclass(frozen=True, slots=True)
class Examined:
    """What a stored row turned out to be.

    Attributes:
        entry: what it holds, None if that does not parse.
        leaf: the leaf hash to go on with: of the bytes if their signature holds, else as stored.
        problems: what is wrong with it.
    """

    entry: LedgerEntry | None
    leaf: bytes | None
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class Examiner:
    """Judges the rows of one log."""

    realm: Realm
    origin: str
    station: SubjectKey
    keyring: Keyring

    def examine(self, index: int, row: RawRow) -> Examined:
        """Everything that can be said of the row that stands for entry `index` by itself."""
        if not isinstance(row.data, bytes) or not isinstance(row.leaf_hash, bytes):
            found = Problem(index, ProblemCode.ENTRY_UNREADABLE, "the row holds no bytes")
            return Examined(None, None, (found,))
        computed = merkle.leaf_hash(row.data)
        problems: list[Problem] = []
        if computed != row.leaf_hash:
            message = f"the bytes hash to {computed.hex()}, stored is {row.leaf_hash.hex()}"
            problems.append(Problem(index, ProblemCode.LEAF_HASH, message))
        try:
            entry = read_entry(Sealed.parse(row.data), self.realm, self.origin)
        except MalformedObjectError as error:
            problems.append(Problem(index, ProblemCode.ENTRY_MALFORMED, str(error)))
            return Examined(None, row.leaf_hash, tuple(problems))
        signature = self._signature(index, entry)
        receipt = self._receipt(index, entry)
        problems += [one for one in (signature, receipt) if one is not None]
        if signature is None:
            problems += self._authority(index, entry)
        leaf = row.leaf_hash if signature is not None else computed
        return Examined(entry, leaf, tuple(problems))

    def _signature(self, index: int, entry: LedgerEntry) -> Problem | None:
        try:
            check_signature(entry, self.station, self.keyring)
        except CertificateError as error:
            return Problem(index, error.code, str(error))
        except SignatureError as error:
            return Problem(index, ProblemCode.ENTRY_SIGNATURE, str(error))
        return None

    def _authority(self, index: int, entry: LedgerEntry) -> list[Problem]:
        """What the certificates say against an INTENT that its technician did sign."""
        technician = entry.body.technician_hash
        if entry.body.kind is not EntryKind.INTENT or technician is None:
            return []
        against = objections(entry.body, self.keyring.technician(technician))
        return [Problem(index, ProblemCode.INTENT_UNAUTHORISED, text) for text in against]

    def _receipt(self, index: int, entry: LedgerEntry) -> Problem | None:
        try:
            check_statement(entry, self.keyring)
        except CertificateError as error:
            return Problem(index, error.code, str(error))
        except SignatureError as error:
            return Problem(index, ProblemCode.RECEIPT_SIGNATURE, str(error))
        return None
