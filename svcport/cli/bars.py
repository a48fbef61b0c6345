"""Progress as rich shows it: a line a port with what is done and, of a transfer, how far it is."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Final, Self

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from svcport.cli.output import harmless
from svcport.cli.progress import Told

_TEXT_WIDTH: Final = 48
_BAR_WIDTH: Final = 20


class _InTransfer(ProgressColumn):
    """A column that is empty unless bytes are being counted."""

    def __init__(self, column: ProgressColumn) -> None:
        super().__init__()
        self._column = column

    def render(self, task: Task) -> RenderableType:
        """What the column shows of a transfer."""
        return "" if task.total is None else self._column.render(task)


class Bars:
    """See `progress.Display`. Bytes, speed and time left; gone when the command ends."""

    def __init__(self, console: Console | None = None) -> None:
        self._bars: Final = Progress(
            SpinnerColumn("line"),
            TextColumn("{task.fields[port]}{task.description}", markup=False),
            _InTransfer(BarColumn(bar_width=_BAR_WIDTH)),
            _InTransfer(DownloadColumn(binary_units=True)),
            _InTransfer(TransferSpeedColumn()),
            _InTransfer(TimeRemainingColumn()),
            console=console or Console(stderr=True),
            transient=True,
            redirect_stdout=False,
        )

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bars.stop()

    def worker(self, port: str, stop: threading.Event) -> Told:
        """See `progress.Display`."""
        label = f"{port} " if port else ""
        task = self._bars.add_task("starting", total=None, port=label)
        return _Seen(port, stop, self._bars, task)


class _Seen(Told):
    """Progress as a line of `Bars`."""

    def __init__(self, port: str, stop: threading.Event, bars: Progress, task: TaskID) -> None:
        super().__init__(port, stop)
        self._bars = bars
        self._task = task

    def step(self, text: str) -> None:
        super().step(text)
        self._bars.update(self._task, description=harmless(text)[:_TEXT_WIDTH])

    def start(self, total_bytes: int) -> None:
        super().start(total_bytes)
        self._bars.reset(self._task, total=total_bytes)

    def advance(self, to_bytes: int) -> None:
        super().advance(to_bytes)
        self._bars.update(self._task, completed=to_bytes)

    def finish(self) -> None:
        super().finish()
        # reset() takes None for "leave it", so that a transfer would never seem over
        self._bars.tasks[self._bars.task_ids.index(self._task)].total = None
