"""Options that several commands share, and what they add up to."""

from __future__ import annotations

import functools
import importlib.util
import logging
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
    from svcport.authorisation.keys.locked import Secret
    from svcport.operations.workplace import Target

_log = logging.getLogger(__name__)

MAX_WAIT_S: Final = 86_400.0
MAX_CASE: Final = 40
"""Characters of a case number in an INTENT (protocol/README.md)."""

MAX_PASSPHRASE: Final = 4096
"""Bytes; more is a wrong file descriptor."""

KEYRING_SERVICE: Final = "svcport"
"""Under which a desktop's keyring keeps secrets; the user name there is the secret's name."""

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


class CaseNumber(click.ParamType[str]):
    """What the ledger and the lock can keep of a case: 1 to 40 printable ASCII characters."""

    name = "case"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        """The text as it is; refuses as click does."""
        text = str(value)
        if not 1 <= len(text) <= MAX_CASE or not (text.isascii() and text.isprintable()):
            wanted = f"1 to {MAX_CASE} printable ASCII characters"
            self.fail(f"{text[:MAX_CASE]!r} of {len(text)} characters must be {wanted}", param, ctx)
        return text


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
        secret: gives the signing key's passphrase or PIN; None where nobody can be asked.
        capture: where all traffic is written; None for nowhere.
        bundle: whether a failure leaves a bundle.
    """

    ports: tuple[str, ...]
    all_ports: bool
    expect_serial: str | None
    case_id: str | None
    wait_s: float
    tickets: tuple[Path, ...]
    claimed_serial: str | None
    secret: Secret | None
    capture: Path | None = None
    bundle: bool = True

    @property
    def several(self) -> bool:
        """Whether answers come as a batch, each about its port."""
        return self.all_ports or len(self.ports) > 1

    def target(self, port: str | None) -> Target:
        """The same wishes for one port."""
        from svcport.operations.workplace import Target

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
    click.option(
        "--case",
        "case_id",
        type=CaseNumber(),
        metavar="ID",
        help="Put this case number in the ledger.",
    ),
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
        help="Use this ticket, or bring this statement of the time; may be repeated.",
    ),
    click.option(
        "--serial",
        "claimed_serial",
        metavar="S",
        help="Claim this serial for a device that cannot state one.",
    ),
    click.option(
        "--capture",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Write all that goes over the ports to this file; svcport replay shows it.",
    ),
    click.option("--no-bundle", is_flag=True, help="Keep no bundle for a bug report of a failure."),
)
passphrase_option: Final = click.option(
    "--passphrase-fd",
    type=click.IntRange(min=0),
    metavar="N",
    help="Read the key's passphrase from file descriptor N.",
)
pin_option: Final = click.option(
    "--pin-fd",
    type=click.IntRange(min=0),
    metavar="N",
    help="Read the token's PIN from file descriptor N.",
)


class SecretParams(TypedDict):
    """The parameters that `secret_options` gives to a command."""

    passphrase_fd: int | None
    pin_fd: int | None


class _Shared(SecretParams):
    expect_serial: str | None
    case_id: str | None
    wait_s: float
    tickets: tuple[Path, ...]
    claimed_serial: str | None
    capture: Path | None
    no_bundle: bool


class LockParams(_Shared):
    """The parameters that `lock_options` gives to a command."""

    ports: tuple[str, ...]
    all_ports: bool


class OneLockParams(_Shared):
    """The parameters that `one_lock_options` gives to a command."""

    port: str | None


def lock_options(function: _F) -> _F:
    """For commands that work on one lock or on many at once."""
    return decorated(function, (_PORT, _ALL, *_SHARED, passphrase_option, pin_option))


def one_lock_options(function: _F) -> _F:
    """For commands that work on a single lock."""
    return decorated(function, (_ONE_PORT, *_SHARED, passphrase_option, pin_option))


def decorated(function: _F, options: tuple[Callable[[_F], _F], ...]) -> _F:
    """`function` with these options, in their order in the help."""
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
    if "" in ports:
        raise contradiction("--port is empty, wanted a device or URL")
    return LockOptions(
        ports=ports,
        all_ports=all_ports,
        expect_serial=params["expect_serial"],
        case_id=params["case_id"],
        wait_s=params["wait_s"],
        tickets=params["tickets"],
        claimed_serial=params["claimed_serial"],
        secret=secret_source(params["passphrase_fd"], params["pin_fd"]),
        capture=params["capture"],
        bundle=not params["no_bundle"],
    )


def contradiction(message: str) -> RefusedError:
    """A call that can be parsed, but makes no sense."""
    return RefusedError(Reason.USAGE, message, hint="add --help to see examples")


def secret_options(function: _F) -> _F:
    """`--passphrase-fd` and `--pin-fd`, for commands that open a key by its reference."""
    return decorated(function, (passphrase_option, pin_option))


def secret_source(passphrase_fd: int | None, pin_fd: int | None) -> Secret | None:
    """Where secrets come from: file descriptors, the keyring, the terminal; None is nowhere.

    Each name is asked for once. A descriptor gives one passphrase for all key files, but a PIN a
    token: a PIN that was meant for another token would cost this one a try.
    """
    terminal = _has_terminal()
    keyring = importlib.util.find_spec("keyring") is not None
    if passphrase_fd is None and pin_fd is None and not terminal and not keyring:
        return None

    @functools.cache
    def passphrase(descriptor: int) -> bytes:
        return _read_secret("--passphrase-fd", descriptor)

    @functools.cache
    def secret(name: str) -> bytes:
        from svcport.authorisation.keys.locked import PIN_OF, locked

        pin = name.startswith(PIN_OF)
        if pin and pin_fd is not None:
            return _read_secret("--pin-fd", pin_fd)
        if not pin and passphrase_fd is not None:
            return passphrase(passphrase_fd)
        kept = _from_keyring(name) if keyring else None
        if kept:
            return kept.encode()
        if terminal:
            return _ask_secret(name)
        option = "--pin-fd" if pin else "--passphrase-fd"
        raise locked(
            f"the {name} is wanted and none was given", f"run it on a terminal, or give {option}"
        )

    return secret


def _from_keyring(name: str) -> str | None:
    """What the desktop keeps under this name; None if nothing, or if there is no keyring."""
    import keyring
    from keyring.errors import KeyringError

    try:
        return keyring.get_password(KEYRING_SERVICE, name)
    except KeyringError as error:
        _log.info("no keyring: %s", error)
        return None


def passphrase_source(descriptor: int | None) -> Callable[[], bytes] | None:
    """Where a new or pem key's passphrase comes from: a descriptor, the terminal, or nowhere."""
    if descriptor is not None:
        return lambda: _read_secret("--passphrase-fd", descriptor)
    return (lambda: _ask_secret("passphrase of the key")) if _has_terminal() else None


def _has_terminal() -> bool:
    return is_terminal(sys.stdin) and is_terminal(sys.stderr)


def _ask_secret(name: str) -> bytes:
    text: str = click.prompt(name, hide_input=True, err=True)
    return text.encode()


def _read_secret(option: str, descriptor: int) -> bytes:
    """The next line, without its end; RefusedError (`signer-locked`) if there is none."""
    try:
        # without a buffer: what follows the line is the next token's PIN
        with os.fdopen(os.dup(descriptor), "rb", buffering=0) as file:
            line = file.readline(MAX_PASSPHRASE + 2).rstrip(b"\r\n")
    except OSError as error:
        raise RefusedError(
            Reason.SIGNER_LOCKED,
            f"{option} {descriptor}: {error.strerror or error}",
            hint=f"open it in the shell: svcport ... {option} 3 3<FILE",
        ) from error
    if not line or len(line) > MAX_PASSPHRASE:
        raise RefusedError(
            Reason.SIGNER_LOCKED,
            f"{option} {descriptor} gave {len(line)} bytes, wanted 1 to {MAX_PASSPHRASE}",
        )
    return line
