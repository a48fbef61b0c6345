"""`svcport issuer lock`: the manufacturer's word on which keys are whose lock's."""

from __future__ import annotations

import secrets as random_bytes
from pathlib import Path
from typing import Final, Unpack

import click

from svcport.cli.answer import Answer
from svcport.cli.command import Command
from svcport.cli.files import write_output
from svcport.cli.issuer_options import Clerk, folder_argument, opener, refuse_replacing
from svcport.cli.options import SecretParams, contradiction, secret_options
from svcport.cli.settings import utc_now

_SERIAL_SIZE: Final = 8


class _Params(SecretParams):
    directory: Path
    serial: str
    key: str
    exchange_key: str
    output: Path
    manufacturer_key: str | None


@click.command("lock", cls=Command)
@folder_argument
@click.option("--serial", required=True, metavar="S", help="The lock's serial, as on its housing.")
@click.option(
    "--for",
    "key",
    required=True,
    metavar="KEY",
    help="The lock's public signing key, Ed25519 or P-256: a file, or a subject key in hex.",
)
@click.option(
    "--x25519",
    "exchange_key",
    required=True,
    metavar="KEY",
    help="The lock's public X25519 key: a pem file, or 64 hex digits.",
)
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The certificate, for the lock's factory data.",
)
@click.option(
    "--manufacturer-key",
    metavar="KEY",
    help="The manufacturer's key, if not the one in DIR: a key file or pkcs11:...",
)
@secret_options
def command(**params: Unpack[_Params]) -> Answer:
    r"""Certify a lock where it is made: its signing key and its X25519 key belong to this serial.

    The lock makes both keys itself; only their public halves leave it. Model, hardware and batch
    are no part of the certificate: the lock states them. It has no end, and is not revoked.

    \b
      svcport issuer lock V --serial SL2-000123 --for lock.pem --x25519 lock-x25519.pem -o lock.svc
    """
    from svcport.authorisation.holders import find_exchange_key, find_key
    from svcport.authorisation.issuer.certify import LockOrder, sign_lock

    output = params["output"]
    if output.is_dir():
        raise contradiction(f"{output} is a folder, wanted a file")
    refuse_replacing(output)
    desk = Clerk(params["directory"], utc_now()).desk()
    order = LockOrder(
        subject=find_key(params["key"]),
        x25519=find_exchange_key(params["exchange_key"]),
        lock_serial=params["serial"],
        serial=random_bytes.token_bytes(_SERIAL_SIZE),
    )
    signer = desk.authority.manufacturer_signer(opener(params), params["manufacturer_key"])
    sealed = sign_lock(desk, signer, order)
    write_output(output, sealed.build())
    return Answer.ok(
        f"{output} is the certificate of lock {order.lock_serial}",
        hint="put it into the lock's factory data, with the two keys that it names",
        file=str(output),
        lock=order.lock_serial,
        key=order.subject.key_id.hex(),
        x25519=order.x25519.hex(),
        certificate=order.serial.hex(),
        manufacturer=signer.subject.key_id.hex(),
    )
