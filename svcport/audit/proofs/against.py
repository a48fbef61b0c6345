"""Whether a ledger still begins with what its station signed earlier and somebody kept."""

from __future__ import annotations

from dataclasses import dataclass

from svcport.audit import merkle
from svcport.audit.checkpoint import Checkpoint
from svcport.audit.note import NoteError
from svcport.audit.problems import Problem, ProblemCode
from svcport.audit.rows import node_reader
from svcport.audit.view import LedgerView, read_size
from svcport.errors import Reason, RecordsError, RefusedError


@dataclass(frozen=True, slots=True)
class Against:
    """An earlier checkpoint beside the ledger as it is now.

    Attributes:
        old: what was signed earlier.
        proof: the consistency proof from `old` to now; empty where there is none.
        problem: why there is none, if so: the ledger was cut, or is another history.
    """

    old: Checkpoint
    proof: tuple[bytes, ...]
    problem: Problem | None


def check_against(view: LedgerView, note: bytes) -> Against:
    """Prove that the ledger extends the checkpoint in `note`, or name what is wrong.

    Raises:
        RefusedError: `note` is no checkpoint of this ledger (reason `usage`).
        RecordsError: the disk fails (`storage`).
    """
    try:
        old = Checkpoint.open(note, view.verifier)
    except NoteError as error:
        raise RefusedError(
            Reason.USAGE,
            f"no checkpoint of this ledger: {error}",
            hint="give a checkpoint that this station signed",
        ) from error
    with view.store.read() as connection:
        size = read_size(connection, view.origin)
        if old.size > size:
            message = f"{old.size} entries were signed, the ledger ends after {size}"
            return Against(old, (), Problem(size, ProblemCode.TRUNCATED_TAIL, message))
        read = node_reader(connection, view.origin)
        try:
            root = merkle.root(size, read)
            proof = merkle.consistency_proof(old.size, size, read)
        except RecordsError as error:
            if error.reason is not Reason.LEDGER_DAMAGED:
                raise
            return Against(old, (), Problem(None, ProblemCode.STORE, error.message))
    if merkle.extends(old.size, old.root, size, root, proof):
        return Against(old, proof, None)
    message = f"two histories: its {size} entries do not begin with the {old.size} signed earlier"
    return Against(old, (), Problem(None, ProblemCode.FORK, message))
