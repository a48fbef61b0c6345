"""`svcport issuer credential --role issuer`: what only the root can give, the power to issue."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from protocol.objects import IssuerCertificate
from svcport.authorisation.request import op_names
from svcport.authorisation.times import when
from svcport.cli.answer import Answer
from svcport.cli.issuer_options import CredentialParams, holder_key, new_folder, opener, scope_of
from svcport.cli.options import contradiction

if TYPE_CHECKING:
    from protocol.sealed import Sealed, SubjectKey
    from svcport.authorisation.issuer.authority import NewKey
    from svcport.authorisation.issuer.desk import Desk

_NONCE_CLASS: Final = 1


def delegate(desk: Desk, params: CredentialParams) -> Answer:
    """Renew the folder's own issuer, or make a depot's folder; see the command's help."""
    for option, value in (("--catalogue", params["catalogue"]), ("--name", params["name"])):
        if value is not None:
            raise contradiction(f"{option} is not for --role issuer")
    output = params["output"]
    if output is None:
        return _renewed(desk, params)
    return _depot(desk, params, output)


def _renewed(desk: Desk, params: CredentialParams) -> Answer:
    from svcport.authorisation.issuer.authority import renew_certificate

    if params["holder"] is not None or params["new_key"]:
        raise contradiction("--output names the folder of the new issuer")
    issuer = desk.authority.issuer
    sealed = _signed(desk, params, issuer.subject, issuer.ticket_class)
    renew_certificate(desk.authority, sealed)
    return _answer(sealed, desk.authority.folder, "renewed the issuer of")


def _depot(desk: Desk, params: CredentialParams, output: Path) -> Answer:
    from svcport.authorisation.issuer.authority import ISSUER, refuse_occupied, write_authority

    refuse_occupied(output)
    subject, key = holder_key(desk, params)
    sealed = _signed(desk, params, subject, _NONCE_CLASS)
    keys: dict[str, NewKey] = {} if key is None else {ISSUER: key}
    with new_folder():
        write_authority(output, desk.authority.trust, sealed, keys)
    return _answer(sealed, output, "made an issuer's folder in")


def _signed(desk: Desk, params: CredentialParams, subject: SubjectKey, ticket_class: int) -> Sealed:
    from svcport.authorisation.issuer.certify import IssuerOrder, issuer_certificate, log_issuer
    from svcport.authorisation.issuer.limits import ISSUER_DAYS

    authority, epoch = desk.authority, params["epoch"]
    stated = params["ticket_class"]
    root = authority.root_signer(opener(params), params["root_key"])
    order = IssuerOrder(
        subject=subject,
        ops=params["ops"] or authority.issuer.ops,
        scope=scope_of(params) or authority.issuer.scope,
        ticket_class=ticket_class if stated is None else stated,
        epoch=authority.epoch if epoch is None else epoch,
        not_before=desk.seconds,
        days=params["days"] or ISSUER_DAYS,
    )
    sealed = issuer_certificate(root, authority.realm, order)
    log_issuer(desk, root.subject, order, sealed)
    return sealed


def _answer(sealed: Sealed, folder: Path, what: str) -> Answer:
    made = IssuerCertificate.read(sealed)
    return Answer.ok(
        f"{what} {folder}",
        hint="counter tickets are for one issuer at a time: locks keep one window of counters"
        if made.ticket_class > _NONCE_CLASS
        else "",
        bundle=str(folder),
        holder=made.subject.key_id.hex(),
        key=made.subject.key_id.hex(),
        role="issuer",
        ops=op_names(made.ops).split(", "),
        valid_until=when(made.not_after),
        ticket_class=made.ticket_class,
        epoch=made.epoch,
    )
