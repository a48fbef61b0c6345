"""What is kept of a command's traffic: the capture that was asked for, the bundle of a failure.

Nothing here may change how a command ends: what cannot be kept is a warning.
"""

from __future__ import annotations

import traceback
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

import click

from svcport import __version__
from svcport.cli.answer import Answer
from svcport.cli.settings import utc_now
from svcport.errors import Outcome, Reason, SvcportError

if TYPE_CHECKING:
    from svcport.home import Home
    from svcport.locks.service_port import Opener
    from svcport.transport.capture import Recorder
    from svcport.transport.capturefile import About
    from svcport.transport.capturewriter import CaptureFile

FAILING: Final = frozenset({Outcome.FAILED, Outcome.UNKNOWN})
"""Outcomes that leave a bundle."""


class Evidence:
    """Listens in to the ports of one command; a context that lets the capture's file go.

    Bundles are made in the thread that had the port, and told by the one that prints.
    """

    def __init__(self, command: str, home: Home, *, capture: Path | None, bundle: bool) -> None:
        """Open the capture's file, if there is to be one.

        Args:
            command: its name in the schema, such as `restore`.
            home: where bundles go.
            capture: the file of the capture; None for none.
            bundle: whether a failure leaves one.

        Raises:
            SvcportError: the file cannot be written there; nothing was done yet.
        """
        self._command = command
        self._home = home
        self._wants_bundle = bundle
        self._told: dict[str | None, dict[str, Any]] = {}
        self._file: CaptureFile | None = None
        self._recorder: Recorder | None = None
        if capture is None and not bundle:
            return
        # what reads and writes ports is loaded by commands that do
        from svcport.transport.capture import Recorder
        from svcport.transport.capturewriter import CaptureFile
        from svcport.transport.port import open_port

        if capture is not None:
            self._file = CaptureFile(capture, self._about())
        self._recorder = Recorder(open_port, self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file is not None:
            self._file.close()

    @property
    def opener(self) -> Opener:
        """Opens ports."""
        from svcport.transport.port import open_port

        return self._recorder or open_port

    def keep(self, answer: Answer, port: str | None = None, error: Exception | None = None) -> None:
        """Write a bundle if `answer` is a failure at a port that was open; never raises.

        Args:
            answer: how it ended.
            port: of which port's traffic; None for all there was.
            error: what ended it, if anything was raised.
        """
        recorder = self._recorder
        if not self._wants_bundle or recorder is None or answer.outcome not in FAILING:
            return
        if not recorder.opened(port) or not self._home.root.is_dir():
            return
        try:
            self._told[port] = {"bundle": str(self._bundle(answer, recorder, port, error))}
        # how the command ended must be told, whatever becomes of its bundle
        except Exception as trouble:  # noqa: BLE001
            text, hint = repr(trouble), "report it"
            if isinstance(trouble, SvcportError):
                text, hint = trouble.message, trouble.hint
            warning = _warning(f"no failure bundle could be written: {text}", hint)
            self._told[port] = {"warnings": [warning]}

    def _bundle(
        self, answer: Answer, recorder: Recorder, port: str | None, error: Exception | None
    ) -> Path:
        from svcport.operations.bundle import Failure, write_bundle

        report = answer.document(self._command)
        if port is not None:
            report["port"] = port
        ours = error is None or isinstance(error, SvcportError | click.Abort)
        trace = "" if ours else "".join(traceback.format_exception(error))
        failure = Failure(self._command, report, recorder.kept(self._about(), port), trace)
        return write_bundle(self._home, failure, utc_now())

    def told(self, answer: Answer, port: str | None = None) -> Answer:
        """The answer with its bundle's path, and with what could not be kept as warnings."""
        members = {**answer.members, **self._told.get(port, {})}
        members.pop("warnings", None)
        warnings = [
            *answer.members.get("warnings", ()),
            *self._told.get(port, {}).get("warnings", ()),
        ]
        file = self._file
        if file is not None:
            file.flush()
            if file.trouble:
                warnings.append(
                    _warning(
                        f"the capture {file.path} has stopped: {file.trouble}",
                        "the file holds what came before; the lock was not affected",
                    )
                )
        if warnings:
            members["warnings"] = warnings
        return replace(answer, members=members)

    def _about(self) -> About:
        from svcport.transport.capturefile import About

        return About(__version__, self._command, f"{utc_now():%Y-%m-%dT%H:%M:%SZ}")


def _warning(message: str, hint: str) -> dict[str, str]:
    return {"reason": str(Reason.STORAGE), "message": message, "hint": hint}
