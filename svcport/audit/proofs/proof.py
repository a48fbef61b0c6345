"""The proof that one entry stands in a log, in one file (C2SP tlog-proof).

The `extra` line carries the entry itself, so that whoever holds the file and the station's key
needs nothing else.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Final

from svcport.audit import merkle
from svcport.audit.checkpoint import Checkpoint
from svcport.audit.note import NoteError, VerifierKey, decode_base64
from svcport.audit.rows import iterate, node_reader
from svcport.audit.view import LedgerView
from svcport.errors import Reason, RefusedError

HEADER: Final = "c2sp.org/tlog-proof@v1"
PATH_LIMIT: Final = 63
"""Most hashes of any proof: no log has 2**63 entries."""

_EXTRA: Final = "extra "
_INDEX: Final = "index "
_INDEX_DIGITS: Final = 19


@dataclass(frozen=True, slots=True)
class EntryProof:
    """An entry's place in a signed tree; what it claims is not checked until `verify`.

    Attributes:
        index: where the entry stands.
        path: hashes from the leaf up.
        note: the signed checkpoint.
        extra: the entry, or whatever another log puts there; None if nothing.
    """

    index: int
    path: tuple[bytes, ...]
    note: bytes
    extra: bytes | None = None

    @classmethod
    def parse(cls, data: bytes) -> EntryProof:
        """Read the file; anything but what `build` writes is NoteError."""
        head, blank, note = data.partition(b"\n\n")
        try:
            lines = head.decode("ascii").split("\n")
        except UnicodeDecodeError as error:
            raise NoteError(f"a proof is ASCII, byte {error.start} is not") from error
        if not blank or lines.pop(0) != HEADER:
            raise NoteError(f"a proof starts with {HEADER}, this one with {head[:32]!r}")
        extra = None
        if lines and lines[0].startswith(_EXTRA):
            extra = decode_base64(lines.pop(0).removeprefix(_EXTRA))
        index = _read_index(lines.pop(0) if lines else "")
        if len(lines) > PATH_LIMIT:
            raise NoteError(f"a proof of {len(lines)} hashes, wanted at most {PATH_LIMIT}")
        proof = cls(index, read_hashes(lines), note, extra)
        if proof.build() != data:
            raise NoteError("the proof is not written as it must be")
        return proof

    def build(self) -> bytes:
        """The file's bytes, exactly those that were parsed."""
        lines = [HEADER]
        if self.extra is not None:
            lines.append(_EXTRA + base64.b64encode(self.extra).decode("ascii"))
        lines.append(f"{_INDEX}{self.index}")
        lines += hash_lines(self.path)
        return "\n".join(lines).encode() + b"\n\n" + self.note

    def verify(self, key: VerifierKey, entry: bytes | None = None) -> Checkpoint:
        """The checkpoint that `key` signed and whose tree holds the entry at `index`.

        Args:
            key: the station's.
            entry: the entry's bytes; the ones in the file if left out.

        Raises:
            NoteError: `key` did not sign, no entry is known, or the tree does not hold it there.
        """
        checkpoint = Checkpoint.open(self.note, key)
        data = self.extra if entry is None else entry
        if data is None:
            raise NoteError("the proof does not carry its entry, and none was given")
        if entry is not None and self.extra not in (None, entry):
            raise NoteError("the proof carries another entry than the one given")
        if self.index >= checkpoint.size:
            raise NoteError(f"entry {self.index} is not among the {checkpoint.size} signed")
        leaf = merkle.leaf_hash(data)
        if not merkle.proves(self.index, checkpoint.size, leaf, self.path, checkpoint.root):
            raise NoteError(f"the tree that was signed does not hold it as entry {self.index}")
        return checkpoint


def prove_entry(view: LedgerView, index: int) -> EntryProof:
    """The proof of entry `index` under the ledger's last checkpoint.

    Raises:
        RefusedError: there is no such entry, or it was not signed yet (reason `usage`).
        RecordsError: the ledger is damaged; a proof that would not verify is never given.
    """
    note = view.last_checkpoint()
    size = 0 if note is None else Checkpoint.open(note, view.verifier).size
    if note is None or not 0 <= index < size:
        raise RefusedError(
            Reason.USAGE,
            f"entry {index} is not among the {size} that were signed",
            hint="svcport audit list shows the entries there are",
        )
    stored = next(iterate(view.store, view.origin, index, index + 1))
    with view.store.read() as connection:
        path = merkle.inclusion_proof(index, size, node_reader(connection, view.origin))
    proof = EntryProof(index, path, note, stored.data)
    proof.verify(view.verifier)
    return proof


def hash_lines(hashes: tuple[bytes, ...]) -> list[str]:
    """A proof's hashes in base64, one a line."""
    return [base64.b64encode(one).decode("ascii") for one in hashes]


def read_hashes(lines: list[str]) -> tuple[bytes, ...]:
    """The hashes on `lines`; one of another length is NoteError."""
    found = tuple(decode_base64(line) for line in lines)
    for one in found:
        if len(one) != merkle.HASH_SIZE:
            raise NoteError(f"a hash of {len(one)} bytes, wanted {merkle.HASH_SIZE}")
    return found


def read_number(digits: str, what: str) -> int:
    """A decimal number without leading zeros below 10**19; NoteError."""
    plain = digits.isascii() and digits.isdigit() and len(digits) <= _INDEX_DIGITS
    if not plain or str(int(digits)) != digits:
        raise NoteError(f"{what} is a decimal number, this one {digits!r}")
    return int(digits)


def _read_index(line: str) -> int:
    if not line.startswith(_INDEX):
        raise NoteError(f"a proof says which entry it is of, this one {line!r}")
    return read_number(line.removeprefix(_INDEX), "an entry's index")
