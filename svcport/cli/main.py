"""`svcport`: the table of commands, and the way in and out of the process."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from typing import Any, Final, NoReturn

import click

from svcport import __version__
from svcport.cli import faults, signals
from svcport.cli.command import Entry, Lazy, LazyGroup, Running
from svcport.cli.exits import Exit
from svcport.cli.guard import check_companions
from svcport.cli.output import Output, point_nowhere, write
from svcport.cli.settings import Settings

_SECTIONS: Final[dict[str, dict[str, Entry]]] = {
    "Start here": {
        "demo": Lazy("svcport.cli.demo", "The whole story on a simulated lock, in seconds."),
        "setup": Lazy("svcport.cli.setup", "Import trust, credential, tickets and catalogue."),
        "doctor": Lazy("svcport.cli.doctor", "What on this computer stands in the way."),
        "explain": Lazy("svcport.cli.explain", "What a reason means and what to do about it."),
    },
    "A lock on the cable": {
        "ports": Lazy("svcport.cli.ports", "Serial ports, and which can be used."),
        "identify": Lazy("svcport.cli.identify", "Who the lock says it is, authenticated."),
        "diagnose": Lazy("svcport.cli.diagnose", "What is wrong with it, and what to do."),
        "verify": Lazy("svcport.cli.verify", "Whether it runs firmware that may run."),
        "restore": Lazy("svcport.cli.restore", "Put approved firmware on it, prove that it runs."),
        "rollback": Lazy("svcport.cli.rollback", "Back to the older image in the other slot."),
        "logs": Lazy("svcport.cli.logs", "The lock's own event log."),
        "reconcile": Lazy("svcport.cli.reconcile", "Ask the lock what became of open acts."),
    },
    "Files and records": {
        "image": LazyGroup(
            "image",
            {
                "Commands": {
                    "inspect": Lazy("svcport.cli.image_inspect", "What image files say they are."),
                    "verify": Lazy("svcport.cli.image_verify", "Whether a lock would take them."),
                    "sign": Lazy("svcport.cli.image_sign", "Make a signed image."),
                }
            },
            help="Look at, judge and make firmware images.",
        ),
        "audit": LazyGroup(
            "audit",
            {
                "Commands": {
                    "list": Lazy("svcport.cli.audit_list", "What this installation recorded."),
                    "verify": Lazy("svcport.cli.audit_verify", "Whether the records hold."),
                    "prove": Lazy("svcport.cli.audit_prove", "One entry's place, in one file."),
                    "export": Lazy("svcport.cli.audit_export", "Write it where others check it."),
                    "cosign": Lazy("svcport.cli.audit_cosign", "Witness another's ledger."),
                    "cross-check": Lazy(
                        "svcport.cli.audit_cross_check", "What several stations' exports lack."
                    ),
                }
            },
            help="The ledger of everything that was done.",
        ),
        "replay": Lazy("svcport.cli.replay", "What went over a port, from a capture or bundle."),
    },
    "For vendors and depots": {
        "issuer": LazyGroup(
            "issuer",
            {
                "Commands": {
                    "init": Lazy("svcport.cli.issuer_init", "A vendor's authority, in a folder."),
                    "credential": Lazy(
                        "svcport.cli.issuer_credential", "Who may do what: a folder for setup."
                    ),
                    "ticket": Lazy("svcport.cli.issuer_ticket", "Leave for one act on one lock."),
                    "epoch": Lazy("svcport.cli.issuer_epoch", "What is no longer good."),
                    "time": Lazy("svcport.cli.issuer_time", "What time it is, to one lock."),
                    "lock": Lazy("svcport.cli.issuer_lock", "Which keys are whose lock's."),
                    "log": Lazy("svcport.cli.issuer_log", "What was issued, and to whom."),
                }
            },
            help="The vendor's side: credentials, tickets, revocation.",
        ),
    },
    "Training": {
        "lab": LazyGroup(
            "lab",
            {
                "Commands": {
                    "init": Lazy("svcport.cli.lab_init", "A training vendor in a new folder."),
                    "run": Lazy("svcport.cli.lab_run", "Serve its simulated locks."),
                }
            },
            help="A training vendor with simulated locks.",
        ),
    },
}

_HELP: Final = """Restore dead smart locks through their service port, and prove what was done.

\b
  svcport demo                        see it work, no lock needed
  svcport diagnose                    ask the lock on the cable what is wrong
  svcport restore                     put approved firmware on it
"""


class Root(LazyGroup):
    """The command `svcport` itself; exit codes are those of the contract, whatever happens."""

    def main(  # type: ignore[override]  # click's overloads tell standalone from not; this is both
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,  # noqa: ANN401 - click's signature
    ) -> int:
        """Run one command line; in standalone mode, end the process with its code."""
        words = list(sys.argv[1:] if args is None else args)
        name = prog_name or "svcport"
        try:
            code = int(super().main(args, name, complete_var, standalone_mode=False, **extra))
        except (click.UsageError, click.Abort) as error:
            code = _not_parsed(error, _meant(self, words), as_json=_wants_json(words))
        except OSError as error:
            # help or version to a full disk; reports deal with that themselves
            point_nowhere(sys.stdout)
            write(sys.stderr, f"error: {error.strerror or error}\n")
            code = Exit.FAILED
        if standalone_mode:
            sys.exit(code)
        return code

    def invoke(self, ctx: click.Context) -> int:
        """Run the command that was named; nothing but usage errors gets out."""
        try:
            check_companions()
            return int(super().invoke(ctx))
        except (click.UsageError, click.exceptions.Exit):
            raise
        # The one place that takes every exception: a technician gets a sentence and an exit code
        # with a meaning, and -vvv still shows the traceback.
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001
            signals.ignore()
            verbosity = Settings.of(ctx).verbosity
            running = Running.of(ctx)
            running.output.publish(
                faults.of_exception(error, changes=running.changes, verbosity=verbosity)
            )
            return running.output.code


def _not_parsed(error: click.UsageError | click.Abort, command: str, *, as_json: bool) -> int:
    """Say why no command came to run."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError) and not as_json:
        write(sys.stderr, f"{error.format_message()}\n\n")
    output = Output(command, as_json=as_json)
    output.publish(faults.of_exception(error, changes=False, verbosity=0))
    return output.code


def _print_version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        click.echo(f"svcport {__version__}")
        ctx.exit()


def _meant(group: LazyGroup, words: Sequence[str]) -> str:
    """The command that a line was meant for, as in its schema, though it could not be parsed."""
    for number, word in enumerate(words):
        entry = group.entries.get(word)
        if isinstance(entry, LazyGroup):
            below = _meant(entry, words[number + 1 :])
            return word if below == "usage" else f"{word}-{below}"
        if entry is not None:
            return word
    return "usage"


def _wants_json(words: Sequence[str]) -> bool:
    """Whether --json was meant, in a line that cannot be parsed."""
    return "--json" in words[: words.index("--") if "--" in words else None]


root: Final = Root("svcport", _SECTIONS, help=_HELP)
root.params.append(
    click.Option(
        ["--version"],
        is_flag=True,
        is_eager=True,
        expose_value=False,
        help="Print the version.",
        callback=_print_version,
    )
)


def main() -> None:
    """Run the command line of this process, and end it."""
    signals.start()
    _end(root.main(standalone_mode=False))


def _end(code: int) -> NoReturn:
    """Leave without taking apart what was imported, which takes as long as a lock's whole answer.

    Files, ledgers and threads are closed by whoever opened them; what watches this process, such
    as a profiler, gets the ordinary end.
    """
    if sys.gettrace() is not None or sys.getprofile() is not None:
        sys.exit(code)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):  # closed, full or missing
            stream.flush()
    os._exit(code)
