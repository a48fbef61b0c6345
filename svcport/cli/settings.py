"""What holds for every command: --home, --json and -v, given before or after the command.

Options of the group and of the command meet in the context's `meta`, which click shares between
them; a home given twice is the last one given.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from svcport.home import Home

_HOME: Final = "svcport.home"
_JSON: Final = "svcport.json"
_VERBOSITY: Final = "svcport.verbosity"

BYTES_LEVEL: Final = 5
"""Below logging.DEBUG: every byte of the line. Frames are DEBUG, steps are INFO."""

TRACEBACK_VERBOSITY: Final = 3
_LEVELS: Final = (logging.WARNING, logging.INFO, logging.DEBUG, BYTES_LEVEL)


@dataclass(frozen=True, slots=True)
class Settings:
    """What the user said about all commands.

    Attributes:
        folder: the home's folder, None for the platform's default.
        as_json: stdout carries JSON only.
        verbosity: how many -v there were.
    """

    folder: Path | None
    as_json: bool
    verbosity: int

    @classmethod
    def of(cls, ctx: click.Context) -> Settings:
        """Whatever has been parsed so far."""
        return cls(ctx.meta.get(_HOME), ctx.meta.get(_JSON, False), ctx.meta.get(_VERBOSITY, 0))

    @property
    def home(self) -> Home:
        """The installation to work in."""
        # platformdirs and tempfile are paid for by commands that touch the home only
        from svcport.home import Home

        return Home.default() if self.folder is None else Home(self.folder)


def current() -> Settings:
    """The settings of the command that is running."""
    return Settings.of(click.get_current_context())


def utc_now() -> datetime:
    """The computer's clock; nothing below the command line reads it."""
    return datetime.now(UTC)


def start_logging(verbosity: int) -> None:
    """Send log lines to stderr: -v what happens, -vv frames, -vvv bytes."""
    level = _LEVELS[min(verbosity, len(_LEVELS) - 1)]
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(threadName)s %(name)s: %(message)s"))
    logger = logging.getLogger("svcport")
    logger.handlers[:] = [handler]
    logger.setLevel(level)
    logger.propagate = False


def common_options() -> list[click.Parameter]:
    """Fresh --home, --json and -v, for one command or group."""
    return [
        click.Option(
            ["--home"],
            type=click.Path(file_okay=False, path_type=Path),
            metavar="DIR",
            help="Folder of this installation's trust, credential and records.",
            expose_value=False,
            callback=_keep_home,
        ),
        click.Option(
            ["--json"],
            is_flag=True,
            help="Print one JSON object a report, and nothing else.",
            expose_value=False,
            callback=_keep_json,
        ),
        click.Option(
            ["-v", "--verbose"],
            count=True,
            help="Tell more on stderr: -v steps, -vv frames, -vvv bytes.",
            expose_value=False,
            callback=_keep_verbosity,
        ),
    ]


def _keep_home(ctx: click.Context, _param: click.Parameter, value: Path | None) -> None:
    if value is not None:
        ctx.meta[_HOME] = value


def _keep_json(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    ctx.meta[_JSON] = value or ctx.meta.get(_JSON, False)


def _keep_verbosity(ctx: click.Context, _param: click.Parameter, value: int) -> None:
    ctx.meta[_VERBOSITY] = ctx.meta.get(_VERBOSITY, 0) + value
