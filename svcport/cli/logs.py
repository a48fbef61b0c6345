"""`svcport logs`: the lock's own event log."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final, Unpack

import click

from svcport.cli import bench
from svcport.cli.answer import Answer
from svcport.cli.command import Command
from svcport.cli.exits import Exit
from svcport.cli.files import write_output
from svcport.cli.options import OneLockParams, one_lock, one_lock_options
from svcport.cli.output import Result, one_line
from svcport.cli.settings import utc_now

_AGE: Final = re.compile(r"([1-9][0-9]{0,4})([mhd])")
_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days"}


class Since(click.ParamType[datetime]):
    """A moment: RFC 3339, a date, or an age such as 90m, 24h or 7d."""

    name = "time"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        """The moment in UTC; a time without a zone is UTC."""
        text = str(value)
        age = _AGE.fullmatch(text)
        if age is not None:
            return utc_now() - timedelta(**{_UNITS[age[2]]: int(age[1])})
        try:
            moment = datetime.fromisoformat(text)
            return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
        except (ValueError, OverflowError):  # a zone may lead out of the years 1 to 9999
            self.fail(f"{text!r} is not like 2026-11-22T23:30:00Z, 2026-11-22 or 24h", param, ctx)


@click.command("logs", cls=Command)
@click.option("--since", type=Since(), metavar="T", help="Only events from this moment on.")
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write the report to this file as JSON.",
)
@one_lock_options
def command(since: datetime | None, output: Path | None, **lock: Unpack[OneLockParams]) -> Result:
    r"""Read the lock's event log. Events may be personal data: keep them as the case needs.

    Of a Zephyr device: its log files, and what its shell tells of itself.

    \b
      svcport logs
      svcport logs --since 24h
      svcport logs --since 2026-11-22T20:00:00Z -o events.json
    """
    from svcport.operations.commands import logs

    answer = bench.run(one_lock(lock), partial(logs, since=since))
    if output is not None and isinstance(answer, Answer) and answer.code is Exit.OK:
        _save(output, answer)
    return answer


def _save(output: Path, answer: Answer) -> None:
    write_output(output, f"{one_line(answer.document('logs'))}\n".encode(), private=True)
