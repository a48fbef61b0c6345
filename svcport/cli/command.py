"""How commands are made: common options on each, groups that load a command only when it is run.

A command returns an `Answer` or a `Batch`; here it is printed and becomes an exit code.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import click

from svcport.cli import signals
from svcport.cli.exits import Exit
from svcport.cli.output import Batch, Output
from svcport.cli.repeats import spread
from svcport.cli.settings import Settings, common_options, start_logging

_RUNNING: Final = "svcport.running"


@dataclass(frozen=True, slots=True)
class Running:
    """The command that is running: where its answers go, and whether it changes a lock."""

    output: Output
    changes: bool

    @classmethod
    def of(cls, ctx: click.Context) -> Running:
        """That of this command line, or what stands for it when none could be loaded."""
        found = ctx.meta.get(_RUNNING)
        if isinstance(found, Running):
            return found
        output = Output(ctx.invoked_subcommand or "usage", as_json=Settings.of(ctx).as_json)
        return cls(output, changes=False)


class Command(click.Command):
    """A command whose result is printed, and whose exit code it gives back.

    Args:
        changes: running it may change a lock, unless it is told `--dry-run`.
        spreads: repeatable options take all words that follow, as `repeats` says.
    """

    def __init__(  # click's own arguments, and one more
        self,
        *args: Any,  # noqa: ANN401
        changes: bool = False,
        spreads: bool = False,
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(*args, **kwargs)
        self.params += common_options()
        self.changes = changes
        self.spreads = spreads
        # click keeps the lines of a block that starts with a backspace, which raw docstrings spell
        self.help = (self.help or "").replace("\\b\n", "\b\n")

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click does, with the words of repeatable options sorted out."""
        return super().parse_args(ctx, spread(args, self.params) if self.spreads else args)

    def invoke(self, ctx: click.Context) -> Exit:
        """Run the callback and print what comes of it; the root deals with what it raises."""
        settings = Settings.of(ctx)
        start_logging(settings.verbosity)
        output = Output(schema_name(ctx), as_json=settings.as_json)
        changes = self.changes and not ctx.params.get("dry_run", False)
        ctx.meta[_RUNNING] = Running(output, changes)
        try:
            signals.begin()
            result = super().invoke(ctx)
            if isinstance(result, Batch):  # whose work is done while it is printed
                output.publish(result)
                return output.code
        finally:
            signals.end()
        output.publish(result)
        return output.code


def schema_name(ctx: click.Context) -> str:
    """`image-verify` for `svcport image verify`."""
    return "-".join(ctx.command_path.split()[1:]) or "usage"


@dataclass(frozen=True, slots=True)
class Lazy:
    """Where a command lives: the module whose `command` it is, and its line in the help."""

    module: str
    help: str


Entry = Lazy | click.Group


class LazyGroup(click.Group):
    """A group that knows its commands by name and imports one when it is asked for.

    Args:
        sections: for each heading of the help, the commands under it.
    """

    def __init__(
        self,
        name: str,
        sections: Mapping[str, Mapping[str, Entry]],
        *,
        help: str,
    ) -> None:
        super().__init__(name, help=help, params=common_options())
        self._sections = sections
        self.entries = {key: entry for part in sections.values() for key, entry in part.items()}

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Every name, in the order of the help."""
        return list(self.entries)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """The command itself; this is what loads it."""
        entry = self.entries.get(cmd_name)
        if not isinstance(entry, Lazy):
            return entry
        command = importlib.import_module(entry.module).command
        if not isinstance(command, click.Command):
            raise TypeError(f"{entry.module}.command is a {type(command).__name__}")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, naming the commands that were perhaps meant."""
        try:
            return super().resolve_command(ctx, args)
        except click.exceptions.NoSuchCommand as error:
            raise click.exceptions.NoSuchCommand(
                error.command_name, possibilities=self.entries, ctx=ctx
            ) from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """The list of commands, without loading any."""
        for heading, entries in self._sections.items():
            rows = [(name, _short(entry)) for name, entry in entries.items()]
            with formatter.section(heading):
                formatter.write_dl(rows)


def _short(entry: Entry) -> str:
    return entry.help if isinstance(entry, Lazy) else (entry.help or "").partition("\n")[0]
