"""One answer of one command, ready to be printed: a report, an error, or something in between.

Knows nothing of streams and of the words that people read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from svcport.cli import exits
from svcport.cli.exits import Exit
from svcport.errors import Outcome, Reason, SvcportError

Members = Mapping[str, Any]
"""What a report has beyond the common members: JSON values by name, in the order of printing."""


class Report(Protocol):
    """What an operation gives back."""

    @property
    def outcome(self) -> Outcome:
        """How it ended."""
        ...

    @property
    def reason(self) -> Reason | None:
        """Why it did not end well; None if it did."""
        ...

    @property
    def message(self) -> str:
        """One sentence: lower case, no full stop."""
        ...

    @property
    def hint(self) -> str:
        """What to do next; may be empty."""
        ...

    def members(self) -> dict[str, Any]:
        """The members that the contract names for this command."""
        ...


@dataclass(frozen=True, slots=True)
class Answer:
    """How one command ended, for one port or file.

    Attributes:
        outcome: the first thing a script reads.
        message: one sentence: lower case, no full stop.
        reason: None if it ended well.
        hint: what to do next; may be empty.
        members: what the command found out.
        code: what this answer alone exits with.
    """

    outcome: Outcome
    message: str
    reason: Reason | None = None
    hint: str = ""
    members: Members = field(default_factory=dict)
    code: Exit = Exit.OK

    @classmethod
    def ok(cls, message: str, *, hint: str = "", **members: object) -> Answer:
        """It was done, or the answer is yes."""
        return cls(Outcome.OK, message, hint=hint, members=members)

    @classmethod
    def differs(cls, reason: Reason, message: str, *, hint: str = "", **members: object) -> Answer:
        """It was found out, and the answer is no."""
        return cls(Outcome.DIFFERS, message, reason, hint, members, Exit.DIFFERS)

    @classmethod
    def of_report(cls, report: Report) -> Answer:
        """What an operation reported."""
        return cls(
            report.outcome,
            report.message,
            report.reason,
            report.hint,
            report.members(),
            exits.of_outcome(report.outcome, report.reason),
        )

    @classmethod
    def of_error(cls, error: SvcportError) -> Answer:
        """What stopped a command, with the facts that were known by then."""
        hint = "; ".join(filter(None, (error.hint, *getattr(error, "__notes__", ()))))
        return cls(
            error.outcome,
            error.message,
            error.reason,
            hint,
            error.members(),
            exits.of_error(error),
        )

    def about(self, name: str, value: str) -> Answer:
        """The same answer, saying which `port` or `file` it is about."""
        return replace(self, members={name: value, **self.members})

    def document(self, command: str) -> dict[str, Any]:
        """The JSON object: the common members first, in the contract's order."""
        head: dict[str, Any] = {"schema": f"svcport/{command}/1", "outcome": str(self.outcome)}
        if self.reason is not None:
            head["reason"] = str(self.reason)
        return {**head, "message": self.message, "hint": self.hint, **self.members}
