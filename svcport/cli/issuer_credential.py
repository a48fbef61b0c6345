"""`svcport issuer credential`: certificates for technicians, depots, owners and other issuers."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Final, Unpack

import click

from protocol.objects import TechnicianCertificate
from protocol.scope import EVERYTHING
from protocol.values import ROLE_OPS, Role
from svcport.authorisation.request import op_names
from svcport.authorisation.times import when
from svcport.cli.answer import Answer
from svcport.cli.command import Command
from svcport.cli.issuer_delegate import delegate
from svcport.cli.issuer_options import (
    Clerk,
    CredentialParams,
    Ops,
    folder_argument,
    holder_key,
    issuer_key_option,
    new_folder,
    new_passphrase_option,
    opener,
    root_key_option,
    scope_of,
    scope_options,
)
from svcport.cli.options import contradiction, secret_options
from svcport.cli.settings import utc_now

if TYPE_CHECKING:
    from protocol.sealed import Sealed
    from svcport.authorisation.issuer.desk import Desk

_ISSUER: Final = "issuer"
_SERIAL_SIZE: Final = 8


@click.command("credential", cls=Command, spreads=True)
@folder_argument
@click.option(
    "--for",
    "holder",
    metavar="KEY",
    help="Public key (file or hex), or a credential's folder to renew it.",
)
@click.option("--new-key", is_flag=True, help="Make the key here, and put its file into OUT.")
@click.option(
    "--role",
    type=click.Choice([*(role.name.lower() for role in Role), _ISSUER]),
    required=True,
    help="Whom it is for; 'issuer' is signed by the fleet root.",
)
@click.option("--name", metavar="N", help="The holder's name, for people and records.")
@click.option(
    "--days",
    type=click.IntRange(1),
    metavar="D",
    help="How long; as long as role and issuer allow if not given.",
)
@scope_options
@click.option(
    "--ops", type=Ops(), metavar="OP,...", help="Operations; all of the role if not given."
)
@click.option(
    "--ticket-class", type=click.IntRange(0, 2), metavar="N", help="For an issuer: as init."
)
@click.option(
    "--epoch", type=click.IntRange(0, 0xFFFFFFFF), metavar="N", help="For an issuer: of this epoch."
)
@click.option(
    "--catalogue",
    type=click.Path(path_type=Path),
    metavar="CAT",
    help="Copy this catalogue into OUT: the first setup of a home needs one.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="OUT",
    help="New folder, for 'svcport setup --from OUT'.",
)
@issuer_key_option
@root_key_option
@secret_options
@new_passphrase_option
def command(**params: Unpack[CredentialParams]) -> Answer:
    r"""Give somebody a credential: a folder OUT with certificates, trust and what else is asked.

    A technician makes a key with ssh-keygen and sends the .pub file. With the role issuer, OUT is
    an issuer's folder for a depot; without OUT, the certificate in DIR is renewed.

    \b
      svcport issuer credential V --for ada.pub --role technician --name "Ada Field" -o ada
      svcport issuer credential V --new-key --role owner --lock SL2-000123 -o owner
      svcport issuer credential V --for depot.pub --role issuer --ticket-class 1 -o depot
      svcport issuer credential V --role issuer
    """
    desk = Clerk(params["directory"], utc_now()).desk()
    if params["role"] == _ISSUER:
        return delegate(desk, params)
    if params["ticket_class"] is not None or params["epoch"] is not None:
        raise contradiction("--ticket-class and --epoch belong to --role issuer")
    output = params["output"]
    if output is None:
        raise contradiction("--output names the folder to make")
    return _credential(desk, params, output)


def _credential(desk: Desk, params: CredentialParams, output: Path) -> Answer:
    from svcport.authorisation.issuer.authority import refuse_occupied
    from svcport.authorisation.issuer.bundle import require_catalogue, write_bundle
    from svcport.authorisation.issuer.certify import CredentialOrder, sign_credential

    authority, role = desk.authority, Role[params["role"].upper()]
    if params["catalogue"] is not None:
        require_catalogue(params["catalogue"])
    refuse_occupied(output)
    subject, key = holder_key(desk, params)
    order = CredentialOrder(
        subject=subject,
        role=role,
        ops=params["ops"] or ROLE_OPS[role] & authority.issuer.ops,
        scope=scope_of(params) or authority.issuer.scope or EVERYTHING,
        name=params["name"],
        days=params["days"],
        serial=secrets.token_bytes(_SERIAL_SIZE),
    )
    signer = authority.issuer_signer(opener(params), params["issuer_key"])
    sealed = sign_credential(desk, signer, order)
    with new_folder():
        write_bundle(
            output, authority, sealed, None if key is None else key.file, params["catalogue"]
        )
    return _answer(sealed, output, with_key=key is not None)


def _answer(sealed: Sealed, output: Path, *, with_key: bool) -> Answer:
    made = TechnicianCertificate.read(sealed)
    name = made.name or made.subject.key_id.hex()
    return Answer.ok(
        f"{output} is a credential for {name}",
        hint=f"its holder runs: svcport setup --from {output}{'' if with_key else ' --key KEY'}",
        bundle=str(output),
        holder=name,
        key=made.subject.key_id.hex(),
        role=made.role.name.lower(),
        ops=op_names(made.ops).split(", "),
        valid_until=when(made.not_after),
        certificate=made.serial.hex(),
        epoch=made.epoch,
    )
