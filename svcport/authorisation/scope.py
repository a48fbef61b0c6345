"""Whether a certificate's scope covers a lock, a case and a site. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

from protocol.scope import SERIAL_FIELD, ScopeItem, ScopeKind
from svcport.authorisation.request import PermitRequest
from svcport.errors import Reason, Refusal


def scope_refusals(
    what: str, scope: Sequence[ScopeItem] | None, request: PermitRequest
) -> tuple[Refusal, ...]:
    """A refusal (`no-permit`) for each kind of `scope` that does not cover the request.

    Items of one kind are alternatives, different kinds must all hold. None (an issuer without a
    scope) limits nothing; an empty scope allows nothing.
    """
    if scope is None:
        return ()
    hint = "ask the issuer for a credential that covers this lock and this work"
    if not scope:
        return (Refusal(Reason.NO_PERMIT, f"{what} has an empty scope", hint),)
    kinds = dict.fromkeys(item.kind for item in scope)
    return tuple(
        Refusal(
            Reason.NO_PERMIT,
            f"{what} covers {_wanted(kind, scope)}, this is {_seen(kind, request)}",
            hint,
        )
        for kind in kinds
        if not any(_covers(item, request) for item in scope if item.kind is kind)
    )


def names_one_lock(scope: Sequence[ScopeItem]) -> bool:
    """Whether every serial range of a scope, of which there must be one, holds a single serial."""
    ranges = [item.value for item in scope if item.kind is ScopeKind.SERIAL_RANGE]
    return bool(ranges) and all(ends[:SERIAL_FIELD] == ends[SERIAL_FIELD:] for ends in ranges)


def _covers(item: ScopeItem, request: PermitRequest) -> bool:
    match item.kind:
        case ScopeKind.EVERYTHING:
            return True
        case ScopeKind.MODEL:
            return item.value == _ascii(request.lock_model)
        case ScopeKind.BATCH:
            return item.value == _ascii(request.lock_batch)
        case ScopeKind.SERIAL_RANGE:
            serial = _ascii(request.lock_serial).ljust(SERIAL_FIELD, b"\0")
            return item.value[:SERIAL_FIELD] <= serial <= item.value[SERIAL_FIELD:]
        case ScopeKind.CASE:
            return request.case_id is not None and item.value == _ascii(request.case_id)
        case ScopeKind.SITE:
            return request.site is not None and item.value == _ascii(request.site)
    assert_never(item.kind)


def _ascii(text: str) -> bytes:
    return text.encode("ascii", "backslashreplace")


def _wanted(kind: ScopeKind, scope: Sequence[ScopeItem]) -> str:
    values = [_shown(item) for item in scope if item.kind is kind]
    return f"{_word(kind)} {' or '.join(values)}"


def _shown(item: ScopeItem) -> str:
    if item.kind is not ScopeKind.SERIAL_RANGE:
        return item.value.decode("ascii", "backslashreplace")
    ends = (item.value[:SERIAL_FIELD], item.value[SERIAL_FIELD:])
    return " to ".join(end.rstrip(b"\0").decode("ascii", "backslashreplace") for end in ends)


def _seen(kind: ScopeKind, request: PermitRequest) -> str:
    seen = {
        ScopeKind.MODEL: request.lock_model,
        ScopeKind.BATCH: request.lock_batch,
        ScopeKind.SERIAL_RANGE: request.lock_serial,
        ScopeKind.CASE: request.case_id,
        ScopeKind.SITE: request.site,
    }.get(kind)
    return f"no stated {_word(kind)}" if seen is None else f"{_word(kind)} {seen}"


def _word(kind: ScopeKind) -> str:
    return "serial" if kind is ScopeKind.SERIAL_RANGE else kind.name.lower()
