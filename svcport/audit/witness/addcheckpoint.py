"""What a log asks of a witness (C2SP tlog-witness, add-checkpoint), as a file.

`old <size>`, the consistency proof from that size on, a blank line, the signed checkpoint.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from svcport.audit import merkle
from svcport.audit.checkpoint import Checkpoint
from svcport.audit.note import NoteError
from svcport.audit.proofs.proof import PATH_LIMIT, hash_lines, read_hashes, read_number
from svcport.audit.rows import node_reader
from svcport.audit.view import LedgerView
from svcport.errors import Reason, RefusedError

_OLD: Final = "old "


@dataclass(frozen=True, slots=True)
class AddCheckpoint:
    """A request to witness a checkpoint; nothing in it is checked yet.

    Attributes:
        old: the size that the log believes was witnessed last.
        proof: that the tree of that size is the beginning of the new one.
        note: the signed checkpoint.
    """

    old: int
    proof: tuple[bytes, ...]
    note: bytes

    @classmethod
    def parse(cls, data: bytes) -> AddCheckpoint:
        """Read the file; anything but what `build` writes is NoteError."""
        head, blank, note = data.partition(b"\n\n")
        try:
            lines = head.decode("ascii").split("\n")
        except UnicodeDecodeError as error:
            raise NoteError(f"a request is ASCII, byte {error.start} is not") from error
        first = lines.pop(0)
        if not blank or not first.startswith(_OLD):
            raise NoteError(f"a request starts with old and a size, this one {first[:32]!r}")
        if len(lines) > PATH_LIMIT:
            raise NoteError(f"a proof of {len(lines)} hashes, wanted at most {PATH_LIMIT}")
        old = read_number(first.removeprefix(_OLD), "the old size")
        return cls(old, read_hashes(lines), note)

    def build(self) -> bytes:
        """The file's bytes, exactly those that were parsed."""
        lines = [f"{_OLD}{self.old}", *hash_lines(self.proof)]
        return "\n".join(lines).encode() + b"\n\n" + self.note


def request_witness(view: LedgerView, old: int) -> AddCheckpoint:
    """The request to witness this ledger's last checkpoint, `old` being what was witnessed last.

    Raises:
        RefusedError: nothing was signed yet, or `old` is beyond it (reason `usage`).
        RecordsError: the ledger is damaged.
    """
    note = view.last_checkpoint()
    size = 0 if note is None else Checkpoint.open(note, view.verifier).size
    if note is None or not 0 <= old <= size:
        raise RefusedError(
            Reason.USAGE,
            f"from {old} entries on, where {size} were signed",
            hint="give the size that the witness has",
        )
    with view.store.read() as connection:
        proof = merkle.consistency_proof(old, size, node_reader(connection, view.origin))
    return AddCheckpoint(old, proof, note)
