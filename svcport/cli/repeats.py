"""`--hardware A B` as well as `--hardware A --hardware B`, where it cannot be misunderstood.

Knows nothing of what the options mean. Only for commands with a fixed number of arguments: words
that follow a repeatable option belong to it, except those that the command needs as arguments.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import click

_END: Final = "--"


@dataclass(slots=True)
class _Run:
    """A repeatable option and the words behind it."""

    name: str
    words: list[str] = field(default_factory=list)

    def spelled(self) -> list[str]:
        return [part for word in self.words for part in (self.name, word)]


def spread(args: Sequence[str], params: Sequence[click.Parameter]) -> list[str]:
    """The same words with every value of a repeatable option behind its own option name."""
    options = {
        name: param for param in params if isinstance(param, click.Option) for name in param.opts
    }
    needed = sum(1 for param in params if isinstance(param, click.Argument))
    parts, bare, tail = _divided(args, options)
    runs = [part for part in parts if isinstance(part, _Run)]
    arguments: list[str] = []
    for run in reversed(runs):
        while len(run.words) > 1 and bare + len(arguments) < needed:
            arguments.insert(0, run.words.pop())
    spelled = (part.spelled() if isinstance(part, _Run) else part for part in parts)
    return [*itertools.chain.from_iterable(spelled), *arguments, *tail]


def _divided(
    args: Sequence[str], options: Mapping[str, click.Option]
) -> tuple[list[_Run | list[str]], int, list[str]]:
    """Runs and other words in order, how many arguments are among those, and what follows `--`."""
    parts: list[_Run | list[str]] = []
    bare = 0
    rest = list(args)
    while rest and rest[0] != _END:
        word = rest.pop(0)
        option = options.get(word)
        if option is None:
            bare += not word.startswith("-")
            parts.append([word])
        elif option.is_flag or option.count or not rest:
            parts.append([word])
        elif option.multiple:
            parts.append(_run(word, rest))
        else:
            parts.append([word, rest.pop(0)])
    return parts, bare + max(len(rest) - 1, 0), rest


def _run(name: str, rest: list[str]) -> _Run:
    run = _Run(name, [rest.pop(0)])
    while rest and not rest[0].startswith("-"):
        run.words.append(rest.pop(0))
    return run
