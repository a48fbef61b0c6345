"""Options that several commands share, and what they add up to."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypedDict, TypeVar

import click

from svcport.cli.output import is_terminal
from svcport.errors import Reason, RefusedError

if TYPE_CHECKING:
    from svcport.operations.installation import Target

MAX_WAIT_S: Final = 86_400.0
MAX_PASSPHRASE: Final = 4096
"""Bytes; more is a wrong file descriptor."""

_F = TypeVar("_F", bound=Callable[..., object])


class Seconds(click.ParamType[float]):
    """A time to wait, 0 to one day; `nan` and `inf` are no times."""

    name = "seconds"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """The number; refuses as click does."""
        try:
            seconds = float(str(value))
        except ValueError:
            self.fail(f"{value!r} is not a number of seconds", param, ctx)
        if not math.isfinite(seconds) or not 0 <= seconds <= MAX_WAIT_S:
            self.fail(f"{value} must be 0 to {MAX_WAIT_S:.0f} seconds", param, ctx)
        return seconds


@dataclass(frozen=True, slots=True)
class LockOptions:
    """Which lock or locks, as the command line says.

    Attributes:
        ports: as named; empty to look for the one lock there is.
        all_ports: every lock that answers.
        expect_serial: refuse any other lock.
        case_id: for the ledger.
        wait_s: seconds to wait for a port or lock.
        tickets: ticket files.
        claimed_serial: for devices that cannot state one.
        passphrase: gives the signing key's passphrase; None where nobody can be asked.
    """

    ports: tuple[str, ...]
    all_ports: bool
    expect_serial: str | None
    case_id: str | None
    wait_s: float
    tickets: tuple[Path, ...]
    claimed_serial: str | None
    passphrase: Callable[[], bytes] | None

    @property
    def several(self) -> bool:
        """Whether answers come as a batch, each about its port."""
        return self.all_ports or len(self.ports) > 1

    def target(self, port: str | None) -> Target:
        """The same wishes for one port."""
        from svcport.operations.installation import Target

        return Target(
            port=port,
            expect_serial=self.expect_serial,
            case_id=self.case_id,
            wait_s=self.wait_s,
            tickets=self.tickets,
            claimed_serial=self.claimed_serial,
        )


_PORT: Final = click.option(
    "--port",
    "ports",
    metavar="P",
    multiple=True,
    help="Device, COM port or URL such as socket://host:port; may be repeated.",
)
_ONE_PORT: Final = click.option(
    "--port", metavar="P", help="Device, COM port or URL such as socket://host:port."
)
_ALL: Final = click.option(
    "--all", "all_ports", is_flag=True, help="Every lock that answers, at the same time."
)
_SHARED: Final = (
    click.option("--expect-serial", metavar="S", help="Refuse any other lock."),
    click.option("--case", "case_id", metavar="ID", help="Put this case number in the ledger."),
    click.option(
        "--wait",
        "wait_s",
        type=Seconds(),
        default=0.0,
        metavar="SECONDS",
        help="Wait this long for a port or lock to appear.",
    ),
    click.option(
        "--ticket",
        "tickets",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        multiple=True,
        metavar="FILE",
        help="Use this ticket; may be repeated.",
    ),
    click.option(
        "--serial",
        "claimed_serial",
        metavar="S",
        help="Claim this serial for a device that cannot state one.",
    ),
)
passphrase_option: Final = click.option(
    "--passphrase-fd",
    type=click.IntRange(min=0),
    metavar="N",
    help="Read the key's passphrase from file descriptor N.",
)


class _Shared(TypedDict):
    expect_serial: str | None
    case_id: str | None
    wait_s: float
    tickets: tuple[Path, ...]
    claimed_serial: str | None
    passphrase_fd: int | None


class LockParams(_Shared):
    """The parameters that `lock_options` gives to a command."""

    ports: tuple[str, ...]
    all_ports: bool


class OneLockParams(_Shared):
    """The parameters that `one_lock_options` gives to a command."""

    port: str | None


def lock_options(function: _F) -> _F:
    """For commands that work on one lock or on many at once."""
    return _decorated(function, (_PORT, _ALL, *_SHARED, passphrase_option))


def one_lock_options(function: _F) -> _F:
    """For commands that work on a single lock."""
    return _decorated(function, (_ONE_PORT, *_SHARED, passphrase_option))


def _decorated(function: _F, options: tuple[Callable[[_F], _F], ...]) -> _F:
    for option in reversed(options):
        function = option(function)
    return function


def locks(params: LockParams) -> LockOptions:
    """One value out of the parameters; RefusedError (`usage`) if they contradict each other."""
    named, all_ports = params["ports"], params["all_ports"]
    if all_ports and named:
        raise contradiction("--all takes every port, --port names some")
    twice = {one for one in named if named.count(one) > 1}
    if twice:
        raise contradiction(f"--port {min(twice)} is given twice")
    return _options(named, params, all_ports=all_ports)


def one_lock(params: OneLockParams) -> LockOptions:
    """One value out of the parameters."""
    port = params["port"]
    return _options(() if port is None else (port,), params, all_ports=False)


def _options(
    ports: tuple[str, ...], params: LockParams | OneLockParams, *, all_ports: bool
) -> LockOptions:
    return LockOptions(
        ports=ports,
        all_ports=all_ports,
        expect_serial=params["expect_serial"],
        case_id=params["case_id"],
        wait_s=params["wait_s"],
        tickets=params["tickets"],
        claimed_serial=params["claimed_serial"],
        passphrase=passphrase_source(params["passphrase_fd"]),
    )


def contradiction(message: str) -> RefusedError:
    """A call that can be parsed, but makes no sense."""
    return RefusedError(Reason.USAGE, message, hint="add --help to see examples")


def passphrase_source(descriptor: int | None) -> Callable[[], bytes] | None:
    """Where the passphrase comes from: a file descriptor, the terminal, or nowhere."""
    if descriptor is not None:
        return lambda: _read_passphrase(descriptor)
    if is_terminal(sys.stdin) and is_terminal(sys.stderr):
        return _ask_passphrase
    return None


def _ask_passphrase() -> bytes:
    text: str = click.prompt("passphrase of the key", hide_input=True, err=True)
    return text.encode()


def _read_passphrase(descriptor: int) -> bytes:
    """The first line, without its end; RefusedError (`signer-locked`) if there is none."""
    try:
        with os.fdopen(os.dup(descriptor), "rb") as file:
            line = file.readline(MAX_PASSPHRASE + 2).rstrip(b"\r\n")
    except OSError as error:
        raise RefusedError(
            Reason.SIGNER_LOCKED,
            f"--passphrase-fd {descriptor}: {error.strerror or error}",
            hint="open it in the shell: svcport ... --passphrase-fd 3 3<FILE",
        ) from error
    if not line or len(line) > MAX_PASSPHRASE:
        raise RefusedError(
            Reason.SIGNER_LOCKED,
            f"--passphrase-fd {descriptor} gave {len(line)} bytes, wanted 1 to {MAX_PASSPHRASE}",
        )
    return line
