"""Lock commands: one operation on one lock, or on every lock of a bench at the same time.

One worker a port; answers are given on as they come. Ctrl-C asks every worker to stop and waits for
what each has to say, since that is what tells which locks need `reconcile`.
"""

from __future__ import annotations

import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from types import FrameType
from typing import TYPE_CHECKING, Final

import click

from svcport.cli import faults, signals
from svcport.cli.answer import Answer, Report
from svcport.cli.command import Running, schema_name
from svcport.cli.evidence import Evidence
from svcport.cli.options import LockOptions
from svcport.cli.output import Batch, Result, complain
from svcport.cli.progress import Display, Told, display
from svcport.cli.settings import Settings, utc_now
from svcport.cli.words import counted
from svcport.errors import FailedError, Outcome, Reason, UnknownOutcomeError

if TYPE_CHECKING:
    from svcport.operations.workplace import Target, Workplace

Operation = Callable[["Workplace", "Target", Told], Report]
"""One operation with everything but lock and progress bound."""

_POLL_S: Final = 0.2
"""Windows delivers Ctrl-C only between waits."""


def run(options: LockOptions, operation: Operation) -> Result:
    """Run `operation` on what `options` name."""
    if options.several:
        return Batch(_on_bench(options, operation), "port")
    ctx = click.get_current_context()
    with _evidence(options, ctx) as evidence:
        try:
            answer, error = Answer.of_report(_alone(options, operation, ctx, evidence)), None
        except click.UsageError:
            raise
        # told with what was kept of it; Ctrl-C before anything had begun is the root's business
        except Exception as failure:  # noqa: BLE001
            signals.ignore()
            answer, error = _failed(failure, ctx), failure
        evidence.keep(answer, error=error)
        return evidence.told(answer)


def _failed(error: BaseException, ctx: click.Context) -> Answer:
    changes, verbosity = Running.of(ctx).changes, Settings.of(ctx).verbosity
    return faults.of_exception(error, changes=changes, verbosity=verbosity)


def _evidence(options: LockOptions, ctx: click.Context) -> Evidence:
    home = Settings.of(ctx).home
    return Evidence(schema_name(ctx), home, capture=options.capture, bundle=options.bundle)


def _alone(
    options: LockOptions, operation: Operation, ctx: click.Context, evidence: Evidence
) -> Report:
    """What the operation reports of the only lock there is."""
    settings = Settings.of(ctx)
    port = options.ports[0] if options.ports else None
    with (
        _opened(options, settings, evidence) as workplace,
        display(as_json=settings.as_json, verbosity=settings.verbosity) as shown,
    ):
        progress = shown.worker("", threading.Event())
        report = operation(workplace, options.target(port), progress)
        signals.ignore()  # it is done: "stopped before anything was changed" would not be true
        return report


def _opened(options: LockOptions, settings: Settings, evidence: Evidence) -> Workplace:
    # the rooms behind it take a second to load; --help must not wait for them
    from svcport.operations.installation import Installation
    from svcport.operations.workplace import Workplace

    if not settings.home.is_set_up:
        return Workplace.bare(settings.home, now=utc_now, opener=evidence.opener)
    return Installation.open(
        settings.home, secret=options.secret, now=utc_now, opener=evidence.opener
    )


def _on_bench(options: LockOptions, operation: Operation) -> Iterator[Answer]:
    found = False
    for answer in _workers(options, operation):
        # an adapter without a lock is no member of the bench, unless it was named
        if options.all_ports and answer.reason is Reason.NO_LOCK:
            continue
        found = True
        yield answer
    if not found:
        yield Answer.of_error(_nobody())


def _workers(options: LockOptions, operation: Operation) -> Iterator[Answer]:
    ctx = click.get_current_context()
    settings, changes = Settings.of(ctx), Running.of(ctx).changes
    with (
        _evidence(options, ctx) as evidence,
        _opened(options, settings, evidence) as workplace,
        display(as_json=settings.as_json, verbosity=settings.verbosity) as shown,
    ):

        def work(port: str, told: Told) -> Report:
            try:
                report = operation(workplace, options.target(port), told)
            except Exception as error:
                answer = faults.of_exception(error, changes=changes, verbosity=0)
                if not (options.all_ports and answer.reason is Reason.NO_LOCK):
                    evidence.keep(answer, port, error)
                raise
            evidence.keep(Answer.of_report(report), port)
            return report

        bench = _Bench(options.ports or _adapters(options.wait_s), shown)
        bench.start(work)
        try:
            for port, future in bench.finished():
                answer = _answer(future, changes=changes, verbosity=settings.verbosity)
                yield evidence.told(answer, port).about("port", port)
        except KeyboardInterrupt as error:
            if not changes:
                raise
            raise _left() from error


def _adapters(wait_s: float) -> tuple[str, ...]:
    """Ports that `--all` stands for; waits for the first to appear."""
    from svcport.transport.adapters import found_ports

    deadline = time.monotonic() + wait_s
    while True:
        ports = tuple(port.device for port in found_ports() if port.known)
        if ports or time.monotonic() >= deadline:
            return ports
        time.sleep(_POLL_S)


def _nobody() -> FailedError:
    return FailedError(
        Reason.NO_LOCK,
        "no lock answers at any known adapter",
        hint="svcport ports lists every port; name others with --port",
    )


def _left() -> UnknownOutcomeError:
    return UnknownOutcomeError(
        Reason.INTERRUPTED,
        "left before every lock had told how it ended",
        hint="run svcport reconcile at each of them",
    )


def _answer(future: Future[Report], *, changes: bool, verbosity: int) -> Answer:
    error = future.exception()
    if error is None:
        return Answer.of_report(future.result())
    return faults.of_exception(error, changes=changes, verbosity=verbosity)


class _Bench:
    """Workers that have begun and not all finished."""

    def __init__(self, ports: tuple[str, ...], shown: Display) -> None:
        self._ports = ports
        self._shown = shown
        self._stop = threading.Event()
        self._done: queue.SimpleQueue[tuple[str, Future[Report]]] = queue.SimpleQueue()

    def start(self, work: Callable[[str, Told], Report]) -> None:
        """One thread a port. Daemons: a second Ctrl-C leaves them behind."""
        signals.replace(signals.interrupt, self.heed)
        for port in self._ports:
            told = self._shown.worker(port, self._stop)
            thread = threading.Thread(
                target=self._work, args=(port, told, work), name=port, daemon=True
            )
            thread.start()

    def _work(self, port: str, told: Told, work: Callable[[str, Told], Report]) -> None:
        future: Future[Report] = Future()
        try:
            future.set_result(work(port, told))
        # handed to the main thread as it is, which is where it is judged
        except BaseException as error:  # noqa: BLE001
            future.set_exception(error)
        self._done.put((port, future))

    def finished(self) -> Iterator[tuple[str, Future[Report]]]:
        """Each port once, as its work ends.

        Raises:
            KeyboardInterrupt: at the second Ctrl-C; locks may be left whose end nobody tells.
        """
        try:
            waiting, told = set(self._ports), False
            while waiting:
                if self._stop.is_set() and not told:
                    told = True
                    _say_that_it_stops(len(waiting))
                try:
                    port, future = self._done.get(timeout=_POLL_S)
                except queue.Empty:
                    continue
                waiting.discard(port)
                yield port, future
        finally:  # what is left is to say how they ended
            signals.replace(self.heed, signal.SIG_IGN)

    def heed(self, _signal: int, _frame: FrameType | None) -> None:
        """Ctrl-C asks the workers to stop; wherever this thread is, no answer may be lost."""
        if self._stop.is_set():
            raise KeyboardInterrupt
        self._stop.set()


def _say_that_it_stops(waiting: int) -> None:
    text = f"stopping: waiting for {counted(waiting, 'lock')} to be left in a safe state"
    complain(Answer(Outcome.FAILED, text, Reason.INTERRUPTED, "press Ctrl-C again to leave now"))
