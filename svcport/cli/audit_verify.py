"""`svcport audit verify`: whether everything this installation recorded still holds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from svcport.audit.note import NoteError
from svcport.audit.problems import ProblemCode
from svcport.audit.proofs.against import check_against
from svcport.audit.proofs.published import read_part
from svcport.audit.verify import verify_ledger
from svcport.audit.view import LedgerView
from svcport.authorisation.trust import find_trust
from svcport.cli.answer import Answer
from svcport.cli.command import Command
from svcport.cli.progress import display
from svcport.cli.settings import current
from svcport.cli.words import counted
from svcport.errors import Reason, RefusedError, SvcportError

if TYPE_CHECKING:
    from protocol.sealed import SubjectKey
    from svcport.audit.problems import Problem
    from svcport.audit.proofs.against import Against
    from svcport.audit.verify import LedgerVerdict
    from svcport.audit.view import OpenIntent
    from svcport.home import Home


@click.command("verify", cls=Command)
@click.option(
    "--against",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="CHECKPOINT",
    help="Prove also that the ledger extends this earlier checkpoint of it.",
)
def command(against: Path | None) -> Answer:
    r"""Check every hash, signature, receipt, counter and checkpoint of the ledger.

    Exits 1 and names the entry if something is wrong; 7 if the ledger cannot be opened. After
    damage was found, commands that work on locks refuse to run.

    \b
      svcport audit verify
      svcport audit verify --json
      svcport audit verify --against kept/checkpoint
    """
    home = current().home
    manufacturer, roots = _anchors(home)
    with LedgerView.open_for_audit(home.ledger) as view:
        earlier = None if against is None else check_against(view, _read(against))
        verdict = _verified(view, manufacturer, roots)
        if earlier is not None and earlier.problem is not None:
            verdict = replace(verdict, problems=(earlier.problem, *verdict.problems))
        if not view.mark_damaged(verdict.problems) and (earlier is not None or not _forked(view)):
            # damage that a failing disk once showed may be gone, and is forgotten then
            view.clear_mark()
    answer = judged(verdict)
    if earlier is None:
        return answer
    members = {**answer.members, "against": _against_json(earlier)}
    forked = earlier.problem is not None and earlier.problem.code is not ProblemCode.STORE
    return replace(answer, members=members, reason=Reason.LEDGER_FORK if forked else answer.reason)


def _verified(
    view: LedgerView, manufacturer: SubjectKey | None, roots: tuple[SubjectKey, ...]
) -> LedgerVerdict:
    """The verdict; a terminal sees how far it is meanwhile, --json tells nobody."""
    settings = current()
    if settings.as_json:
        return verify_ledger(view, manufacturer=manufacturer, roots=roots)
    with display(as_json=False, verbosity=settings.verbosity) as shown:
        progress = shown.counter("verifying", "entries")
        return verify_ledger(view, manufacturer=manufacturer, roots=roots, progress=progress)


def _read(path: Path) -> bytes:
    try:
        return read_part(path)
    except NoteError as error:
        raise RefusedError(Reason.USAGE, str(error)) from error


def _forked(view: LedgerView) -> bool:
    """Whether a fork was found before: only the checkpoint that showed it can clear that."""
    mark = view.damage or ""
    return any(f": {code}: " in mark for code in (ProblemCode.FORK, ProblemCode.TRUNCATED_TAIL))


def _against_json(earlier: Against) -> dict[str, Any]:
    return {
        "size": earlier.old.size,
        "root": earlier.old.root.hex(),
        "consistent": earlier.problem is None,
        "proof": [one.hex() for one in earlier.proof],
    }


def _anchors(home: Home) -> tuple[SubjectKey | None, tuple[SubjectKey, ...]]:
    """Whose locks and technicians these must be; nobody's where the trust itself is unreadable."""
    try:
        trust = find_trust(home)
    except SvcportError:
        trust = None
    return (None, ()) if trust is None else (trust.manufacturer, trust.roots)


def judged(verdict: LedgerVerdict) -> Answer:
    """What a verdict comes to."""
    found = _members(verdict)
    if not verdict.problems:
        entries = counted(verdict.entries, "entry", "entries")
        message = f"what is recorded holds: {entries}, {counted(verdict.receipts, 'receipt')}"
        return Answer.ok(message, **found)
    first = verdict.problems[0]
    reason, hint = Reason.LEDGER_DAMAGED, "svcport audit export --damaged DIR saves what verifies"
    if not verdict.is_damaged:
        reason = Reason.RECEIPT_INVALID
        hint = "the records are whole; a lock or a certificate in them is at fault"
    return Answer.differs(
        reason, f"{counted(len(verdict.problems), 'problem')}: {first}", hint=hint, **found
    )


def _members(verdict: LedgerVerdict) -> dict[str, Any]:
    """The members of the contract, and the acts whose end is not known."""
    return {
        "entries": verdict.entries,
        "receipts": verdict.receipts,
        "locks": verdict.locks,
        "problems": [problem_json(problem) for problem in verdict.problems],
        "open": [_open_json(intent) for intent in verdict.open_intents],
        "origin": verdict.origin,
        "root": None if verdict.root is None else verdict.root.hex(),
        "vkey": verdict.vkey,
    }


def problem_json(problem: Problem) -> dict[str, Any]:
    """One thing that is wrong; `entry` is its index, null if no single entry is at fault."""
    return {"entry": problem.index, "code": str(problem.code), "message": problem.message}


def _open_json(intent: OpenIntent) -> dict[str, Any]:
    digest = intent.image_digest
    return {
        "entry": intent.index,
        "serial": intent.serial,
        "op": None if intent.op is None or intent.op.name is None else intent.op.name.lower(),
        "image": None if digest is None else digest.hex(),
    }
