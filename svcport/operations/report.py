"""What every operation gives back: an outcome in stable words, and the facts behind it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from svcport.errors import Outcome, Reason, Refusal, SvcportError


@dataclass(frozen=True, slots=True)
class Report:
    """How one operation on one lock ended.

    Attributes:
        outcome: the first thing a script reads.
        message: one sentence for people.
        reason: the stable word; None when all is well.
        hint: what to do next; may be empty.
        facts: the members beyond the common ones, ready for JSON.
    """

    outcome: Outcome
    message: str
    reason: Reason | None = None
    hint: str = ""
    facts: dict[str, Any] = field(default_factory=dict)

    def members(self) -> dict[str, Any]:
        """The report's members beyond the common ones."""
        return dict(self.facts)


def refusals_json(refusals: tuple[Refusal, ...]) -> list[dict[str, str]]:
    """The `refusals` member: each no, the first being the report's reason."""
    return [{"reason": str(r.reason), "message": r.message, "hint": r.hint} for r in refusals]


def with_facts(error: SvcportError, **facts: Any) -> SvcportError:  # noqa: ANN401 - JSON values
    """Hang what is known so far on an error, for its report; keeps what hangs there already."""
    error.facts = {**facts, **error.facts}
    return error
