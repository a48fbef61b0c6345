"""`svcport issuer init`: a vendor's authority in a new folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Final, Unpack

import click

from protocol.sealed import Realm
from protocol.values import ROLE_OPS, Op, Role
from svcport.authorisation.times import when
from svcport.cli.answer import Answer
from svcport.cli.command import Command
from svcport.cli.imagefiles import read_bytes, read_key
from svcport.cli.issuer_options import (
    Ops,
    ScopeParams,
    absolute,
    folder_argument,
    marks_folder,
    new_folder,
    new_passphrase,
    opener,
    operator,
    scope_of,
    scope_options,
)
from svcport.cli.options import SecretParams, contradiction, secret_options
from svcport.cli.settings import utc_now

if TYPE_CHECKING:
    from svcport.authorisation.issuer.authority import NewKey
    from svcport.authorisation.issuer.desk import Desk

_TRAINING_NAME: Final = "Training vendor"
_FIRST_ROOT: Final = "1.root.json"


class _Params(ScopeParams, SecretParams):
    directory: Path
    name: str | None
    training: bool
    image_keys: tuple[Path, ...]
    catalogue: Path
    ops: Op | None
    ticket_class: int
    days: int
    root_key: str | None
    root_next_key: str | None
    manufacturer_key: str | None
    issuer_key: str | None


@click.command("init", cls=Command, spreads=True)
@folder_argument
@click.option("--name", metavar="N", help="The vendor's name, as technicians see it.")
@click.option("--training", is_flag=True, help="For simulated locks only; keys may lie open.")
@click.option(
    "--image-key",
    "image_keys",
    type=click.Path(path_type=Path),
    multiple=True,
    required=True,
    metavar="PUB.pem",
    help="Public key of firmware images; may be repeated.",
)
@click.option(
    "--catalogue",
    type=click.Path(path_type=Path),
    required=True,
    metavar="1.root.json",
    help="The catalogue's first root metadata, or the catalogue's folder.",
)
@click.option("--ops", type=Ops(), metavar="OP,...", help="What the issuer may allow.")
@click.option(
    "--ticket-class",
    type=click.IntRange(0, 2),
    default=2,
    show_default=True,
    metavar="N",
    help="0 no tickets, 1 nonce tickets, 2 counter tickets too: one issuer at a time.",
)
@click.option(
    "--days", type=click.IntRange(1), default=90, show_default=True, metavar="D",
    help="How long the issuer's certificate is good.",
)  # fmt: skip
@scope_options
@click.option("--root-key", metavar="KEY", help="Use this key (pkcs11:...) as fleet root.")
@click.option("--root-next-key", metavar="KEY", help="Use this key as the root that follows.")
@click.option("--manufacturer-key", metavar="KEY", help="Use this key to sign lock certificates.")
@click.option("--issuer-key", metavar="KEY", help="Use this key to sign credentials and tickets.")
@secret_options
def command(**params: Unpack[_Params]) -> Answer:
    r"""Make a vendor's authority in DIR: keys, the first issuer's certificate, trust, a log.

    DIR/keys has the private keys of fleet root, next root, manufacturer and issuer; take root-next
    and root away to a safe as soon as you can. DIR/trust is what every home believes.

    \b
      svcport issuer init V --name "Example Locks" --image-key image-pub.pem \
          --catalogue catalogue/metadata/1.root.json
      svcport issuer init V --training --image-key image-pub.pem --catalogue catalogue
    """
    from svcport.authorisation.issuer.authority import refuse_occupied
    from svcport.authorisation.issuer.founding import Founding, found

    training = params["training"]
    name = params["name"] or (_TRAINING_NAME if training else None)
    if name is None:
        raise contradiction("a vendor that is not for training needs a --name")
    images = tuple(read_key(path).to_pem() for path in params["image_keys"])
    catalogue_root = _catalogue_root(params["catalogue"])
    founding = Founding(
        name=name,
        realm=Realm.TRAINING if training else Realm.PRODUCTION,
        image_keys=images,
        catalogue_root=catalogue_root,
        ops=params["ops"] or ROLE_OPS[Role.TECHNICIAN] | ROLE_OPS[Role.DEPOT],
        scope=scope_of(params) or None,
        ticket_class=params["ticket_class"],
        days=params["days"],
    )
    folder, now = params["directory"], utc_now()
    with new_folder():
        refuse_occupied(folder)
        keys = _keys(params)
        desk = found(folder, founding, keys, now=now, operator=operator(), marks=marks_folder())
    return _answer(desk)


def _answer(desk: Desk) -> Answer:
    authority = desk.authority
    roots = [root.key_id.hex() for root in authority.trust.roots]
    return Answer.ok(
        f"{authority.folder} is the authority of {authority.trust.vendor.name}",
        hint="move keys/root.key and keys/root-next.key to a safe place offline; "
        f"'svcport issuer credential {authority.folder} --help' shows what comes next",
        vendor=authority.trust.vendor.name,
        training=authority.realm is Realm.TRAINING,
        root=roots[0],
        root_next=roots[1],
        manufacturer=authority.trust.manufacturer.key_id.hex(),
        issuer=authority.issuer.subject.key_id.hex(),
        valid_until=when(authority.issuer.not_after),
        epoch=authority.epoch,
        trust=str(authority.folder / "trust"),
    )


def _keys(params: _Params) -> dict[str, NewKey]:
    """The keys that are given, and fresh ones for the rest, all under one passphrase."""
    from svcport.authorisation.issuer.authority import KEYS, NewKey, make_key

    given = {
        "root": params["root_key"],
        "root-next": params["root_next_key"],
        "manufacturer": params["manufacturer_key"],
        "issuer": params["issuer_key"],
    }
    opened = opener(params)
    keys = {
        name: NewKey(opened(reference), absolute(reference))
        for name, reference in given.items()
        if reference is not None
    }
    missing = [name for name in KEYS if name not in keys]
    if missing:
        what = f"the vendor's keys ({', '.join(missing)})"
        passphrase = new_passphrase(params["passphrase_fd"], training=params["training"], what=what)
        keys |= {name: make_key(name, passphrase) for name in missing}
    return keys


def _catalogue_root(path: Path) -> bytes:
    """The first root metadata of a catalogue, which is the file itself or in the folder."""
    data = read_bytes(path / "metadata" / _FIRST_ROOT if path.is_dir() else path)
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise contradiction(f"{path} is no catalogue root: {error}") from error
    match content:
        case {"signed": {"_type": "root", "version": 1}}:
            return data
        case _:
            pass
    raise contradiction(f"{path} is no catalogue root of version 1")
