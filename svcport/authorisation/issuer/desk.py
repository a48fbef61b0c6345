"""An issuer at work: where, when and who. What is signed is judged first and logged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from protocol.errors import ProtocolError
from protocol.objects import EpochStatement
from protocol.sealed import SubjectKey
from svcport.authorisation.files import read_sealed
from svcport.authorisation.issuer.authority import Authority
from svcport.authorisation.issuer.issuance import IssuanceLog, Issued, IssuedKind
from svcport.authorisation.issuer.limits import issuer_refusals
from svcport.authorisation.times import unix
from svcport.errors import Reason, Refusal, RefusedError


@dataclass(frozen=True, slots=True)
class Desk:
    """Where issuing is done.

    Attributes:
        authority: the issuer's folder.
        log: its issuance log.
        now: aware.
        operator: the user of this computer, for the log.
    """

    authority: Authority
    log: IssuanceLog
    now: datetime
    operator: str

    @property
    def seconds(self) -> int:
        """Now, in unix seconds."""
        return unix(self.now)

    def statement(self) -> EpochStatement | None:
        """The newest EPOCH in the folder, read afresh: another process may have written it."""
        path = self.authority.epoch_file
        return self.authority.trust.read_epoch(read_sealed(path)) if path.exists() else None

    def entry(self, kind: IssuedKind, signer: SubjectKey, **facts: Any) -> Issued:  # noqa: ANN401 - Issued's own fields
        """An entry of the log by this operator at this moment."""
        return Issued(
            kind=kind,
            time=self.seconds,
            operator=self.operator,
            signer=signer.key_id.hex(),
            **facts,
        )

    def refuse_issuer(self, more: Sequence[Refusal] = ()) -> None:
        """RefusedError with `more`, and with every reason why the issuer may sign nothing now."""
        found = issuer_refusals(
            self.authority.issuer, self.now, self.authority.trust.epoch_statement
        )
        if found or more:
            raise RefusedError.of((*found, *more))


def misfit(error: ProtocolError) -> RefusedError:
    """A value that does not fit its field in a signed object (`usage`)."""
    return RefusedError(Reason.USAGE, str(error), hint="add --help to see examples")
