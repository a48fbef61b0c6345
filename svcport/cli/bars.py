"""Progress as rich shows it: a line a port with what is done, how far a transfer is; counters."""

from __future__ import annotations

import threading
from collections.abc import Callable
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


class _Counting(ProgressColumn):
    """A column that is empty unless something is being counted: bytes, or what `unit` says."""

    def __init__(self, of_bytes: ProgressColumn, of_units: ProgressColumn | None) -> None:
        super().__init__()
        self._of_bytes = of_bytes
        self._of_units = of_units

    def render(self, task: Task) -> RenderableType:
        """What the column shows of a task."""
        column = self._of_units if task.fields["unit"] else self._of_bytes
        return "" if task.total is None or column is None else column.render(task)


class Bars:
    """See `progress.Display`. What is done, speed and time left; gone when the command ends."""

    def __init__(self, console: Console | None = None) -> None:
        bar, left = BarColumn(bar_width=_BAR_WIDTH), TimeRemainingColumn()
        units = TextColumn("{task.completed}/{task.total} {task.fields[unit]}", markup=False)
        self._bars: Final = Progress(
            SpinnerColumn("line"),
            TextColumn("{task.fields[port]}{task.description}", markup=False),
            _Counting(bar, bar),
            _Counting(DownloadColumn(binary_units=True), units),
            _Counting(TransferSpeedColumn(), None),
            _Counting(left, left),
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
        task = self._bars.add_task("starting", total=None, port=label, unit="")
        return _Seen(port, stop, self._bars, task)

    def counter(self, text: str, unit: str) -> Callable[[int, int], None]:
        """See `progress.Display`."""
        task = self._bars.add_task(text, total=None, port="", unit=unit)

        def tell(done: int, total: int) -> None:
            self._bars.update(task, completed=done, total=total)

        return tell


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
