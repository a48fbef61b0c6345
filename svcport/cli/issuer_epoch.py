"""`svcport issuer epoch`: what the vendor's root says is no longer good."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import click

from protocol.objects import EpochStatement
from svcport.cli.answer import Answer
from svcport.cli.command import Command
from svcport.cli.files import write_output
from svcport.cli.imagefiles import read_bytes
from svcport.cli.issuer_options import Clerk, folder_argument, opener, root_key_option
from svcport.cli.options import SecretParams, contradiction, secret_options
from svcport.cli.settings import utc_now
from svcport.cli.words import counted

if TYPE_CHECKING:
    from protocol.sealed import Sealed
    from svcport.authorisation.issuer.desk import Desk


@click.command("epoch", cls=Command, spreads=True)
@folder_argument
@click.option(
    "--revoke",
    metavar="KEY",
    multiple=True,
    help="Key id (16 hex digits), public key or credential to revoke; may be repeated.",
)
@click.option(
    "--min-epoch",
    type=click.IntRange(0, 0xFFFFFFFF),
    metavar="N",
    help="Certificates and tickets of lower epochs are no longer good.",
)
@click.option(
    "--forget", is_flag=True, help="Leave out keys revoked before; only where the epoch rises."
)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write it here too, for the catalogue's trust/epoch.svc.",
)
@click.option(
    "--take",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Sign nothing: keep this statement of the vendor's in DIR, as a depot does.",
)
@root_key_option
@secret_options
def command(
    directory: Path,
    revoke: tuple[str, ...],
    min_epoch: int | None,
    forget: bool,
    output: Path | None,
    take: Path | None,
    root_key: str | None,
    **secrets: Unpack[SecretParams],
) -> Answer:
    r"""State which keys and epochs are no longer good, signed by the fleet root.

    The statement replaces the last one: what was revoked stays so. It goes into DIR/trust, and
    reaches homes with the next bundle or catalogue, and locks with the next technician.

    \b
      svcport issuer epoch V --revoke 3aa7f7230c0ffee0 -o epoch.svc
      svcport issuer epoch V --min-epoch 2
      svcport issuer epoch depot --take epoch.svc
    """
    from svcport.authorisation.holders import find_holder
    from svcport.authorisation.issuer.revoke import sign_epoch, take_epoch

    stating = bool(revoke) or min_epoch is not None
    if take is not None:
        if stating or forget:
            raise contradiction("--take keeps a statement as it is")
        desk = Clerk(directory, utc_now()).desk()
        return _answer(desk, take_epoch(desk, read_bytes(take), str(take)), output)
    if not stating:
        raise contradiction("a new statement says something: --revoke, --min-epoch or both")
    desk = Clerk(directory, utc_now()).desk()
    authority = desk.authority
    keys = [find_holder(one, authority.trust, authority.sealed).key_id for one in revoke]
    root = authority.root_signer(opener(secrets), root_key)
    sealed = sign_epoch(desk, root, revoke=keys, min_epoch=min_epoch, forget=forget)
    return _answer(desk, sealed, output)


def _answer(desk: Desk, sealed: Sealed, output: Path | None) -> Answer:
    if output is not None:
        write_output(output, sealed.build())
    authority, directory = desk.authority, desk.authority.folder
    stated = EpochStatement.read(sealed)
    behind = authority.issuer.epoch < stated.min_epoch
    return Answer.ok(
        f"statement {stated.number}: epoch {stated.min_epoch} on, "
        f"{counted(len(stated.revoked), 'key')} revoked",
        hint=f"the issuer of {directory} is of epoch {authority.issuer.epoch} and revoked by this: "
        f"renew it with 'svcport issuer credential {directory} --role issuer'"
        if behind
        else "publish it in the catalogue, and give every depot the new trust/epoch.svc",
        file=str(authority.epoch_file if output is None else output),
        number=stated.number,
        min_epoch=stated.min_epoch,
        revoked=[key.hex() for key in stated.revoked],
    )
