"""Whatever stopped a command, as an answer: nobody is shown a traceback who did not ask for it."""

from __future__ import annotations

import sys
import traceback

import click

from svcport.cli.answer import Answer
from svcport.cli.exits import Exit
from svcport.cli.output import write
from svcport.cli.settings import TRACEBACK_VERBOSITY
from svcport.errors import Outcome, Reason, SvcportError

_RECONCILE = "run: svcport reconcile"


def of_exception(error: BaseException, *, changes: bool, verbosity: int) -> Answer:
    """What to print for `error`.

    Args:
        error: anything but SystemExit.
        changes: the command changes locks, so that a fault of our own leaves it open what happened.
        verbosity: 3 and above shows the traceback on stderr.
    """
    match error:
        case SvcportError():
            return Answer.of_error(error)
        case click.UsageError():
            return usage(error)
        case KeyboardInterrupt() | click.Abort():
            return _stopped()
        case _:
            if verbosity >= TRACEBACK_VERBOSITY:
                write(sys.stderr, "".join(traceback.format_exception(error)))
            return _bug(error, changes=changes)


def usage(error: click.UsageError) -> Answer:
    """A call that click refused, in our voice."""
    bare = isinstance(error, click.exceptions.NoArgsIsHelpError)
    text = "" if bare else " ".join(error.format_message().split()).rstrip(".")
    message = text[:1].lower() + text[1:] or "no command was named"
    path = "svcport" if error.ctx is None else error.ctx.command_path
    hint = f"run: {path} --help"
    refusal = {"reason": str(Reason.USAGE), "message": message, "hint": hint}
    return Answer(Outcome.REFUSED, message, Reason.USAGE, hint, {"refusals": [refusal]}, Exit.USAGE)


def _stopped() -> Answer:
    """Ctrl-C or SIGTERM while no lock was being changed; operations tell of the other moments."""
    message = "stopped before anything was changed"
    return Answer(Outcome.FAILED, message, Reason.INTERRUPTED, code=Exit.FAILED)


def _bug(error: BaseException, *, changes: bool) -> Answer:
    text = " ".join(f"{type(error).__name__}: {error}".split())
    message = f"svcport itself failed, which is a bug: {text}"
    again = "add -vvv to see where, and report it"
    if changes:
        hint = f"{_RECONCILE}; {again}"
        return Answer(Outcome.UNKNOWN, message, Reason.INTERRUPTED, hint, code=Exit.UNKNOWN)
    return Answer(Outcome.FAILED, message, Reason.INTERRUPTED, again, code=Exit.FAILED)
