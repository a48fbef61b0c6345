"""Options that the `issuer` commands share: keys and where they are, operations, scopes."""

from __future__ import annotations

import contextlib
import getpass
import string
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypedDict, TypeVar

import click

from protocol.errors import ProtocolError
from protocol.scope import ScopeItem, ScopeKind, serial_range
from protocol.sealed import Realm
from protocol.values import Op
from svcport.authorisation.keys.references import KeyFile, parse_reference
from svcport.cli.options import (
    SecretParams,
    contradiction,
    decorated,
    passphrase_source,
    secret_source,
)
from svcport.cli.output import is_terminal
from svcport.cli.settings import current
from svcport.errors import FailedError, Reason, RecordsError, RefusedError

if TYPE_CHECKING:
    from protocol.sealed import Signer, SubjectKey
    from svcport.authorisation.issuer.authority import NewKey
    from svcport.authorisation.issuer.desk import Desk

_NONCE_HEX: Final = 32

_F = TypeVar("_F", bound=Callable[..., object])


class Ops(click.ParamType[Op]):
    """Operations by name, separated by commas."""

    name = "ops"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> Op:
        """All of them together; refuses as click does."""
        if isinstance(value, Op):
            return value
        ops = Op(0)
        for word in str(value).split(","):
            found = {str(op.name).lower(): op for op in Op}.get(word.strip().lower())
            if found is None:
                known = ", ".join(str(op.name).lower() for op in Op)
                self.fail(f"{word!r} is no operation, wanted some of {known}", param, ctx)
            ops |= found
        return ops


class ScopeParams(TypedDict):
    """The parameters that `scope_options` gives to a command."""

    models: tuple[str, ...]
    batches: tuple[str, ...]
    ranges: tuple[str, ...]
    locks: tuple[str, ...]
    cases: tuple[str, ...]
    sites: tuple[str, ...]


class CredentialParams(ScopeParams, SecretParams):
    """The parameters of `issuer credential`."""

    directory: Path
    holder: str | None
    new_key: bool
    role: str
    name: str | None
    days: int | None
    ops: Op | None
    ticket_class: int | None
    epoch: int | None
    catalogue: Path | None
    output: Path | None
    issuer_key: str | None
    root_key: str | None
    new_passphrase_fd: int | None


_SCOPES: Final = (
    click.option("--model", "models", metavar="M", multiple=True, help="Only locks of this model."),
    click.option("--batch", "batches", metavar="B", multiple=True, help="Only of this batch."),
    click.option(
        "--serial-range",
        "ranges",
        metavar="LOW:HIGH",
        multiple=True,
        help="Only serials from LOW to HIGH, both included.",
    ),
    click.option("--lock", "locks", metavar="SERIAL", multiple=True, help="Only this lock."),
    click.option("--case", "cases", metavar="ID", multiple=True, help="Only for this case."),
    click.option("--site", "sites", metavar="S", multiple=True, help="Only at this site."),
)


def scope_options(function: _F) -> _F:
    """Options that say where a certificate is good; each may be repeated."""
    return decorated(function, _SCOPES)


def scope_of(params: ScopeParams) -> tuple[ScopeItem, ...]:
    """What the scope options add up to, empty if none was given; RefusedError (`usage`)."""
    texts = (
        (ScopeKind.MODEL, params["models"]),
        (ScopeKind.BATCH, params["batches"]),
        (ScopeKind.CASE, params["cases"]),
        (ScopeKind.SITE, params["sites"]),
    )
    try:
        items = [
            ScopeItem(kind, value.encode("ascii")) for kind, values in texts for value in values
        ]
        items += [serial_range(serial, serial) for serial in params["locks"]]
        items += [serial_range(*_ends(text)) for text in params["ranges"]]
    except UnicodeEncodeError as error:
        raise contradiction(f"a scope is written in ASCII: {error}") from error
    except ProtocolError as error:
        raise contradiction(str(error)) from error
    return tuple(sorted(items))


def _ends(text: str) -> tuple[str, str]:
    low, colon, high = text.partition(":")
    if not (low and colon and high) or low > high:
        raise contradiction(
            f"--serial-range {text!r}, wanted LOW:HIGH such as SL2-000100:SL2-000199"
        )
    return low, high


folder_argument: Final = click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
issuer_key_option: Final = click.option(
    "--issuer-key",
    metavar="KEY",
    help="The issuer's key, if not the one in DIR: a key file, or a token's key as pkcs11:...",
)
nonce_option: Final = click.option("--nonce", metavar="HEX", help="The lock's nonce, 16 bytes.")
output_option: Final = click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    metavar="OUT",
    help="The file to make, or a folder to put it into.",
)
root_key_option: Final = click.option(
    "--root-key",
    metavar="KEY",
    help="The fleet root's key, if not the one in DIR: a key file or pkcs11:...",
)
new_passphrase_option: Final = click.option(
    "--new-passphrase-fd",
    type=click.IntRange(min=0),
    metavar="N",
    help="Read the new key's passphrase from file descriptor N.",
)


def lock_nonce(text: str) -> bytes:
    """The nonce that a lock shows; RefusedError (`usage`) if it is none."""
    if len(text) != _NONCE_HEX or not is_hex(text):
        raise contradiction(f"--nonce {text!r:.40}, wanted {_NONCE_HEX} hex digits")
    return bytes.fromhex(text)


def is_hex(text: str) -> bool:
    """Whether there are hex digits only."""
    return all(char in string.hexdigits for char in text)


def refuse_replacing(output: Path) -> None:
    """RefusedError (`usage`) where a file is in the way of one that is to be made."""
    if output.exists() and not output.is_dir():
        raise contradiction(f"{output} is there already and is not replaced")


def opener(params: SecretParams) -> Callable[[str], Signer]:
    """Opens keys by reference, with the passphrase or PIN of the command line."""
    from svcport.authorisation.keys.signers import open_signer

    secret = secret_source(params["passphrase_fd"], params["pin_fd"])
    return lambda reference: open_signer(reference, secret)


def new_passphrase(descriptor: int | None, *, training: bool, what: str) -> bytes:
    """The passphrase for keys that are made now; empty for training keys where none is given.

    Raises:
        RefusedError: `signer-locked`, a real vendor's key would lie there without one.
    """
    source = None if descriptor is None else passphrase_source(descriptor)
    if source is not None:
        return source()
    if training:
        return b""
    if is_terminal(sys.stdin) and is_terminal(sys.stderr):
        text: str = click.prompt(
            f"new passphrase of {what}", hide_input=True, confirmation_prompt=True, err=True
        )
        if text:
            return text.encode()
    raise RefusedError(
        Reason.SIGNER_LOCKED,
        f"{what} would lie here without a passphrase",
        hint="run it on a terminal, or give a passphrase with a file descriptor (see --help)",
    )


@dataclass(frozen=True, slots=True)
class Clerk:
    """Opens the desk of an issuer's folder for one command."""

    directory: Path
    now: datetime

    def desk(self) -> Desk:
        """The folder, its log and the user; raises what `Authority.load` raises."""
        from svcport.authorisation.issuer.authority import Authority
        from svcport.authorisation.issuer.desk import Desk

        authority = Authority.load(self.directory)
        return Desk(authority, authority.log(marks_folder()), self.now, operator())


def marks_folder() -> Path:
    """Where this computer remembers how far each issuance log had come."""
    return current().home.root / "issuers"


@contextlib.contextmanager
def new_folder() -> Iterator[None]:
    """Where a folder is made: a disk that fails there is not a fault of our own records."""
    try:
        yield
    except RecordsError as error:
        if error.reason is not Reason.STORAGE:
            raise
        raise FailedError(error.reason, error.message, hint="choose another place") from error


def operator() -> str:
    """The user of this computer, as the issuance log names them."""
    with contextlib.suppress(KeyError, OSError, ImportError):  # no account, or no names of any
        return getpass.getuser()
    return "unknown"


def holder_key(desk: Desk, params: CredentialParams) -> tuple[SubjectKey, NewKey | None]:
    """The key that a certificate is for, and the key itself where it is made here."""
    from svcport.authorisation.holders import find_holder, find_key
    from svcport.authorisation.issuer.authority import make_key

    text, authority = params["holder"], desk.authority
    if (text is None) is not params["new_key"]:
        raise contradiction("either --for names a key, or --new-key makes one")
    if text is None:
        passphrase = new_passphrase(
            params["new_passphrase_fd"],
            training=authority.realm is Realm.TRAINING,
            what="the new key",
        )
        key = make_key("issuer", passphrase)
        return key.signer.subject, key
    if Path(text).is_dir():
        certificate = find_holder(text, authority.trust, authority.sealed).certificate
        if certificate is not None:
            return certificate.subject, None
    return find_key(text), None


def absolute(reference: str) -> str:
    """A key's reference as a folder may keep it: a file's path from wherever it is read."""
    where = parse_reference(reference)
    return str(where.path.absolute()) if isinstance(where, KeyFile) else reference
