"""Whether an INTENT was its technician's to sign, by the certificates kept. Pure.

Judged by the entry's own time, and as far as the entry tells: it names the lock's serial and the
case, not the lock's model, batch or site. The lock judges all of it again, by its own clock.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from protocol.objects import Entry, IssuerCertificate, TechnicianCertificate
from protocol.scope import SERIAL_FIELD, ScopeItem, ScopeKind
from protocol.sealed import SubjectKey
from protocol.values import ROLE_OPS, Op


@dataclass(frozen=True, slots=True)
class Authority:
    """A technician's certificate and those of its issuers that are kept and have signed it."""

    technician: TechnicianCertificate
    issuers: tuple[IssuerCertificate, ...]

    @property
    def subject(self) -> SubjectKey:
        """Whose signature an INTENT under this authority bears."""
        return self.technician.subject


def objections(intent: Entry, authority: Authority) -> Iterator[str]:
    """Every reason why `intent` was not this technician's to sign, a sentence each.

    None for a device whose port asks nobody: no certificate allows or forbids anything there.
    """
    if intent.assurance is not None:
        return
    technician = authority.technician
    yield from _against("technician's", technician, intent)
    issuers = [list(_against("issuer's", one, intent)) for one in authority.issuers]
    if issuers and all(issuers):
        yield from issuers[0]  # an issuer may hold several certificates; one that allows is enough
    role = technician.role
    if intent.op is not None and intent.op not in ROLE_OPS[role]:
        yield f"the role {role.name.lower()} does not allow {_word(intent.op)}"


def _against(
    whose: str, certificate: TechnicianCertificate | IssuerCertificate, intent: Entry
) -> Iterator[str]:
    if intent.host_time < certificate.not_before:
        since = _moment(certificate.not_before)
        yield f"made {_moment(intent.host_time)}, the {whose} certificate is good since {since}"
    if intent.host_time > certificate.not_after:
        until = _moment(certificate.not_after)
        yield f"made {_moment(intent.host_time)}, the {whose} certificate expired {until}"
    if intent.op is not None and intent.op not in certificate.ops:
        yield f"the {whose} certificate does not allow {_word(intent.op)}"
    for kind in _uncovered(certificate.scope or (), intent):
        yield f"the {whose} certificate's {kind.name.lower()} does not cover it"


def _uncovered(scope: Sequence[ScopeItem], intent: Entry) -> Iterator[ScopeKind]:
    """Kinds of item of which none covers the intent; items of one kind are alternatives."""
    serial, case = intent.lock_serial, intent.case_id
    ranges = [item.value for item in scope if item.kind is ScopeKind.SERIAL_RANGE]
    if ranges and serial is not None:
        padded = serial.encode("ascii").ljust(SERIAL_FIELD, b"\0")
        if not any(ends[:SERIAL_FIELD] <= padded <= ends[SERIAL_FIELD:] for ends in ranges):
            yield ScopeKind.SERIAL_RANGE
    cases = [item.value for item in scope if item.kind is ScopeKind.CASE]
    if cases and (None if case is None else case.encode("ascii")) not in cases:
        yield ScopeKind.CASE


def _word(op: Op) -> str:
    return op.name.lower() if op.name else f"op-{int(op):#06x}"


def _moment(unix_time: int) -> str:
    try:
        return f"{datetime.fromtimestamp(unix_time, UTC):%Y-%m-%dT%H:%M:%SZ}"
    except (ValueError, OverflowError, OSError):
        return f"at unix time {unix_time}"
