"""`svcport demo`: the whole story on a simulated lock, in a home that is thrown away afterwards."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from threading import Event, Thread
from typing import Any, Final

import click

from svcport.audit.verify import verify_ledger
from svcport.audit.view import LedgerView
from svcport.cli.answer import Answer, Report
from svcport.cli.audit_verify import judged
from svcport.cli.command import Command, Running
from svcport.cli.output import Output
from svcport.cli.render import blocks
from svcport.cli.settings import utc_now
from svcport.cli.setup import set_up
from svcport.errors import FailedError, Reason, SvcportError
from svcport.home import Home
from svcport.lab.init import init_lab
from svcport.lab.run import run_lab
from svcport.operations.commands import diagnose, restore, verify
from svcport.operations.installation import Installation
from svcport.operations.progress import Progress, Silent
from svcport.operations.workplace import Target

LISTEN_TIMEOUT_S: Final = 20.0

_INTRODUCTION: Final = """\
A smart lock went dark after an update. It is simulated, and so is its vendor; the protocol, the
signatures, the checks and the records are the real ones."""
_END: Final = """
That was a training lock. With a real one it is the same commands: svcport setup --from DIR once,
then svcport diagnose and svcport restore."""


@click.command("demo", cls=Command)
def command() -> Answer:
    r"""Diagnose, restore and verify a simulated lock, and check the records of it.

    Needs no lock, no network and no setup; leaves nothing behind.

    \b
      svcport demo
      svcport demo --json
    """
    output = Running.of(click.get_current_context()).output
    with tempfile.TemporaryDirectory(prefix="svcport-demo-") as folder:
        story = _Story(output)
        try:
            _tell(story, Path(folder))
        except SvcportError as error:
            error.facts["steps"] = story.steps
            raise
    output.tell(_END)
    return Answer.ok("the demo ended well", steps=story.steps)


class _Story:
    """Steps one after the other: shown to people as they end, kept for the report."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self.steps: list[dict[str, Any]] = []
        output.tell(_INTRODUCTION)

    def step(self, line: str, act: Callable[[], Answer]) -> None:
        """Show a command line and what comes of it; FailedError if it does not end well."""
        self._output.tell(f"\n$ svcport {line}")
        begun = time.monotonic()
        answer = act()
        name = line.partition(" --")[0].replace(" ", "-")
        for block in blocks(name, answer.document(name)):
            self._output.tell(block)
        seconds = round(time.monotonic() - begun, 2)
        self.steps.append(
            {
                "command": line,
                "outcome": str(answer.outcome),
                "message": answer.message,
                "seconds": seconds,
            }
        )
        if answer.code:
            raise FailedError(answer.reason or Reason.NOT_MEASURABLE, f"{line}: {answer.message}")


def _tell(story: _Story, folder: Path) -> None:
    lab, home = folder / "lab", Home(folder / "home")
    made = init_lab(lab, now=utc_now())
    with _serving(lab) as port:
        story.step("setup --from lab/technician", partial(set_up, home, made.technician, utc_now()))
        with Installation.open(home, secret=None, now=utc_now) as installation:
            for name, operation in _ACTS.items():
                story.step(name, partial(_operated, operation, installation, port))
    with LedgerView.open_for_audit(home.ledger) as view:
        story.step("audit verify", lambda: judged(verify_ledger(view)))


_ACTS: Final[dict[str, Callable[[Installation, Target, Progress], Report]]] = {
    "diagnose": diagnose,
    "restore": restore,
    "verify": verify,
}


def _operated(
    operation: Callable[[Installation, Target, Progress], Report],
    installation: Installation,
    port: str,
) -> Answer:
    return Answer.of_report(operation(installation, Target(port), Silent()))


@contextmanager
def _serving(lab: Path) -> Iterator[str]:
    """The port of the lab's one lock, served by a thread of its own."""
    stop = Event()
    news: SimpleQueue[str | SvcportError] = SimpleQueue()

    def serve() -> None:
        try:
            run_lab(lab, on_listen=lambda _serial, port: news.put(port), stop=stop)
        except SvcportError as error:
            news.put(error)

    thread = Thread(target=serve, name="lab", daemon=True)
    thread.start()
    try:
        port = news.get(timeout=LISTEN_TIMEOUT_S)
        if isinstance(port, SvcportError):
            raise port
        yield port
    finally:
        stop.set()
        thread.join()
