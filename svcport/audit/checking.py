"""Whether one entry holds together: its hash, its signature, the lock's on the receipt inside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from protocol.errors import MalformedObjectError, SignatureError
from protocol.objects import EntryKind
from protocol.sealed import Realm, Sealed, SubjectKey
from svcport.audit import merkle
from svcport.audit.authority import objections
from svcport.audit.certificates import CertificateError, Keyring
from svcport.audit.entries import LedgerEntry, Statement, read_entry
from svcport.audit.problems import Problem, ProblemCode
from svcport.audit.rows import RawRow


def check_signature(entry: LedgerEntry, station: SubjectKey, keyring: Keyring) -> None:
    """The technician signs an INTENT that names a certificate, the station signs the rest.

    Raises:
        SignatureError: another key signed, or the signature is wrong.
        CertificateError: the technician's certificate is not kept here, or not good.
    """
    entry.sealed.verify(_signing_key(entry, station, keyring))


def _signing_key(entry: LedgerEntry, station: SubjectKey, keyring: Keyring) -> SubjectKey:
    technician = entry.body.technician_hash
    if entry.body.kind is EntryKind.INTENT and technician is not None:
        return keyring.technician(technician).subject
    return station


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
        raise SignatureError(_of_receipt(statement, error)) from error


def _of_receipt(statement: Statement, error: SignatureError) -> str:
    return f"receipt of lock {statement.body.serial}: {error}"


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


@dataclass(slots=True)
class _Claim:
    """A signature that stands to be verified, and what is wrong with it once it was."""

    sealed: Sealed
    key: SubjectKey | None = None
    problem: Problem | None = None
    error: SignatureError | None = None

    def verify(self) -> None:
        """Remember the error, if it is one."""
        if self.key is not None:
            try:
                self.sealed.verify(self.key)
            except SignatureError as error:
                self.error = error.with_traceback(None)


@dataclass(slots=True)
class _Reading:
    """An entry that could be read, its leaf hash as stored and as computed, its signatures."""

    leaf: bytes
    computed: bytes
    problems: list[Problem]
    entry: LedgerEntry
    own: _Claim
    receipt: _Claim | None


@dataclass(frozen=True, slots=True)
class Examiner:
    """Judges the rows of one log."""

    realm: Realm
    origin: str
    station: SubjectKey
    keyring: Keyring

    def examine_all(self, rows: Mapping[int, RawRow]) -> dict[int, Examined]:
        """Everything that can be said of each row by itself; by the index of the entry it holds.

        Reads all, then verifies all: a signature pushes the code that reads out of the processor's
        caches, and reading between signatures takes three times as long.
        """
        readings = {index: self._read(index, row) for index, row in rows.items()}
        for reading in readings.values():
            if isinstance(reading, _Reading):
                reading.own.verify()
                if reading.receipt is not None:
                    reading.receipt.verify()
        return {
            index: self._concluded(index, reading) if isinstance(reading, _Reading) else reading
            for index, reading in readings.items()
        }

    def _read(self, index: int, row: RawRow) -> _Reading | Examined:
        data, leaf = row.data, row.leaf_hash
        if not isinstance(data, bytes) or not isinstance(leaf, bytes):
            found = Problem(index, ProblemCode.ENTRY_UNREADABLE, "the row holds no bytes")
            return Examined(None, None, (found,))
        computed = merkle.leaf_hash(data)
        problems: list[Problem] = []
        if computed != leaf:
            message = f"the bytes hash to {computed.hex()}, stored is {leaf.hex()}"
            problems.append(Problem(index, ProblemCode.LEAF_HASH, message))
        try:
            entry = read_entry(Sealed.parse(data), self.realm, self.origin)
        except MalformedObjectError as error:
            problems.append(Problem(index, ProblemCode.ENTRY_MALFORMED, str(error)))
            return Examined(None, leaf, tuple(problems))
        own, receipt = self._own(index, entry), self._receipt(index, entry)
        return _Reading(leaf, computed, problems, entry, own, receipt)

    def _own(self, index: int, entry: LedgerEntry) -> _Claim:
        try:
            return _Claim(entry.sealed, _signing_key(entry, self.station, self.keyring))
        except CertificateError as error:
            return _Claim(entry.sealed, problem=Problem(index, error.code, str(error)))

    def _receipt(self, index: int, entry: LedgerEntry) -> _Claim | None:
        if entry.statement is None:
            return None
        sealed = entry.statement.sealed
        try:
            return _Claim(sealed, self.keyring.lock(entry.statement.body.serial, sealed.signer))
        except CertificateError as error:
            return _Claim(sealed, problem=Problem(index, error.code, str(error)))

    def _concluded(self, index: int, reading: _Reading) -> Examined:
        """What a row comes to whose signatures have been verified."""
        entry, own, receipt, problems = (
            reading.entry,
            reading.own,
            reading.receipt,
            reading.problems,
        )
        if own.error is not None:
            own.problem = Problem(index, ProblemCode.ENTRY_SIGNATURE, str(own.error))
        if receipt is not None and receipt.error is not None and entry.statement is not None:
            message = _of_receipt(entry.statement, receipt.error)
            receipt.problem = Problem(index, ProblemCode.RECEIPT_SIGNATURE, message)
        for claim in (own, receipt):
            if claim is not None and claim.problem is not None:
                problems.append(claim.problem)
        if own.problem is not None:
            return Examined(entry, reading.leaf, tuple(problems))
        problems += self._authority(index, entry)
        return Examined(entry, reading.computed, tuple(problems))

    def _authority(self, index: int, entry: LedgerEntry) -> list[Problem]:
        """What the certificates say against an INTENT that its technician did sign."""
        technician = entry.body.technician_hash
        if entry.body.kind is not EntryKind.INTENT or technician is None:
            return []
        against = objections(entry.body, self.keyring.technician(technician))
        return [Problem(index, ProblemCode.INTENT_UNAUTHORISED, text) for text in against]
