"""`svcport explain`: what a reason means and what to do about it, offline."""

from __future__ import annotations

import difflib

import click

from svcport.cli.answer import Answer
from svcport.cli.command import Command
from svcport.cli.reasons import EXPLANATIONS
from svcport.errors import Reason, RefusedError


@click.command("explain", cls=Command)
@click.argument("reason", required=False)
def command(reason: str | None) -> Answer:
    r"""What REASON means, what to do next and what never to do. Without REASON: all of them.

    \b
      svcport explain no-permit
      svcport explain
    """
    if reason is None:
        reasons = [{"word": str(one), "meaning": EXPLANATIONS[one].meaning} for one in Reason]
        return Answer.ok(f"{len(reasons)} reasons", reasons=reasons)
    return _explained(reason.strip().lower().replace("_", "-"))


def _explained(word: str) -> Answer:
    words = [str(one) for one in Reason]
    if word not in words:
        close = difflib.get_close_matches(word, words)
        hint = f"perhaps {' or '.join(close)}" if close else "run: svcport explain"
        raise RefusedError(Reason.USAGE, f"{word!r} is no reason of svcport", hint=hint)
    found = EXPLANATIONS[Reason(word)]
    return Answer.ok(f"{word}: {found.meaning}", word=word, do=list(found.do), never=found.never)
