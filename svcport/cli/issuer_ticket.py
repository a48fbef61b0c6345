"""`svcport issuer ticket`: leave for one act, on one lock, by one holder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final, Unpack

import click

from images import ImageError
from protocol.values import Op, Role
from svcport.authorisation.request import op_names
from svcport.authorisation.tickets import WITH_IMAGE
from svcport.authorisation.times import when
from svcport.cli.answer import Answer
from svcport.cli.command import Command
from svcport.cli.files import write_output
from svcport.cli.issuer_options import (
    Clerk,
    folder_argument,
    is_hex,
    issuer_key_option,
    lock_nonce,
    nonce_option,
    opener,
    output_option,
    refuse_replacing,
)
from svcport.cli.options import SecretParams, contradiction, secret_options
from svcport.cli.settings import utc_now
from svcport.cli.words import counted
from svcport.errors import Reason, RefusedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from svcport.authorisation.issuer.desk import Desk
    from svcport.authorisation.issuer.signing import TicketOrder
    from svcport.authorisation.issuer.ticketing import IssuedTicket, TicketDesk

_OPS: Final = (Op.ROLLBACK, Op.RESTORE, Op.OVERRIDE, Op.UPDATE)
_COMMANDS: Final = {Op.ROLLBACK: "rollback", Op.RESTORE: "restore", Op.UPDATE: "restore"}
"""Which command uses the ticket."""

_DEFAULT_DAYS: Final = 30
_DIGEST_HEX: Final = 64


class _Params(SecretParams):
    directory: Path
    lock: str
    op: str
    image: str | None
    holder: str
    mode: str | None
    nonce: str | None
    count: int
    days: int | None
    case_id: str | None
    min_counter: int | None
    first_counter: int | None
    output: Path
    issuer_key: str | None


@click.command("ticket", cls=Command)
@folder_argument
@click.option("--lock", required=True, metavar="SERIAL", help="The lock, as on its housing.")
@click.option(
    "--op",
    required=True,
    type=click.Choice([str(op.name).lower() for op in _OPS]),
    help="What may be done; update is for owners.",
)
@click.option("--image", metavar="IMAGE", help="The image: its file, or its digest in hex.")
@click.option(
    "--holder", required=True, metavar="KEY", help="Public key, key id, or credential's folder."
)
@click.option(
    "--mode",
    type=click.Choice(["counter", "nonce"]),
    help="Prepared before a trip, or for the nonce that the lock shows now.",
)
@nonce_option
@click.option(
    "--count",
    type=click.IntRange(1, 64),
    default=1,
    metavar="N",
    help="So many counter tickets, each for one act.",
)
@click.option(
    "--days",
    type=click.IntRange(1),
    metavar="D",
    help="How long; 30 days or to the issuer's end if not given.",
)
@click.option("--case", "case_id", metavar="ID", help="The case it is for.")
@click.option(
    "--min-counter",
    type=click.IntRange(0, 0xFFFFFFFF),
    metavar="N",
    help="The image must have this security counter or a higher one.",
)
@click.option(
    "--first-counter",
    type=click.IntRange(1),
    metavar="N",
    help="Go on at this ticket counter, where the newest issuance log was lost.",
)
@output_option
@issuer_key_option
@secret_options
def command(**params: Unpack[_Params]) -> Answer:
    r"""Issue a ticket: leave for one act, on one lock, with one image, by one holder.

    Counters are reserved on disk before they are signed, and all that is issued is logged.

    \b
      svcport issuer ticket V --lock SL2-000123 --op rollback --image 2.3.1.bin --holder ada.pub \
          --count 4 -o tickets
      svcport issuer ticket V --lock SL2-000123 --op restore --image 0a57fc...  --holder ada \
          --mode nonce --nonce 9f86d081884c7d659a2feaa0c55ad015 -o ticket.svc
      svcport restore --ticket ticket.svc
    """
    nonce = _nonce(params)
    desk = Clerk(params["directory"], utc_now()).desk()
    tickets = _ticket_desk(desk, params)
    _claim(params["output"], params["count"])
    made = (
        tickets.by_counter(params["count"], at_least=params["first_counter"])
        if nonce is None
        else (tickets.by_nonce(nonce),)
    )
    return _handed_out(desk, tickets.order, made, params["output"])


def _nonce(params: _Params) -> bytes | None:
    """The lock's nonce for a nonce ticket, None for counter tickets; RefusedError (`usage`)."""
    text, mode = params["nonce"], params["mode"]
    if (mode or "nonce") == "counter" and text is not None:
        raise contradiction("--nonce makes a nonce ticket, not one of --mode counter")
    if text is None:
        if mode == "nonce":
            raise contradiction("a nonce ticket needs the lock's --nonce")
        return None
    if params["count"] != 1 or params["first_counter"] is not None:
        raise contradiction("one nonce makes one ticket, without a counter")
    return lock_nonce(text)


def _ticket_desk(desk: Desk, params: _Params) -> TicketDesk:
    from svcport.authorisation.holders import find_holder
    from svcport.authorisation.issuer.limits import DAY_S
    from svcport.authorisation.issuer.signing import TicketOrder
    from svcport.authorisation.issuer.ticketing import TicketDesk

    authority, now = desk.authority, desk.seconds
    holder = find_holder(params["holder"], authority.trust, authority.sealed)
    days = params["days"]
    order = TicketOrder(
        holder=holder.key_id,
        lock_serial=params["lock"],
        ops=Op[params["op"].upper()],
        epoch=authority.epoch,
        issued_at=now,
        not_after=min(now + _DEFAULT_DAYS * DAY_S, authority.issuer.not_after)
        if days is None
        else now + days * DAY_S,
        image_digest=_image(params, authority.trust.image_keys),
        case_id=params["case_id"],
        min_security_counter=params["min_counter"],
    )
    # a bare key says nothing of its role; what its holder may not, the lock will not do
    role = Role.OWNER if order.ops is Op.UPDATE else Role.TECHNICIAN
    signer = authority.issuer_signer(opener(params), params["issuer_key"])
    return TicketDesk(desk, signer, order, holder.certificate or role)


def _image(params: _Params, trusted: Sequence[bytes]) -> bytes | None:
    """The digest that the ticket names; a file must be an image that this vendor signed."""
    from images import PublicKey, TrustStore
    from svcport.cli.imagefiles import parsed, problem, read_bytes

    text = params["image"]
    if text is None:
        if Op[params["op"].upper()] in WITH_IMAGE:
            raise contradiction(f"a ticket for {params['op']} names an image: --image")
        return None
    if len(text) == _DIGEST_HEX and is_hex(text):
        return bytes.fromhex(text)
    try:
        image = parsed(read_bytes(Path(text)))
        fault = problem(image, TrustStore(PublicKey.from_pem(pem) for pem in trusted))
    except ImageError as error:
        fault = error
    else:
        least, counter = params["min_counter"], image.security_counter
        if fault is None and least is not None and (counter is None or counter < least):
            raise contradiction(f"{text} has security counter {counter}, --min-counter is {least}")
        if fault is None:
            return image.digest
    raise RefusedError(
        Reason(fault.reason), f"{text}: {fault}", hint="give an image that this vendor signed"
    ) from fault


def _handed_out(
    desk: Desk, order: TicketOrder, made: Sequence[IssuedTicket], output: Path
) -> Answer:
    from svcport.authorisation.tickets import ticket_file, ticket_file_name

    listed = []
    for ticket in made:
        content = ticket_file(ticket.sealed, desk.authority.sealed)
        path = output
        if output.is_dir():
            path = output / ticket_file_name(order.lock_serial, content)
        write_output(path, content)
        listed.append({"file": str(path), "id": ticket.id.hex(), "counter": ticket.counter})
    verb = _COMMANDS.get(order.ops)
    until = "" if order.not_after is None else when(order.not_after)
    return Answer.ok(
        f"{counted(len(made), 'ticket')}: {op_names(order.ops)} of lock {order.lock_serial} by key"
        f" {order.holder.hex()}, until {until}",
        hint=""
        if verb is None
        else f"its holder runs: svcport {verb} --ticket {listed[0]['file']}",
        lock=order.lock_serial,
        op=op_names(order.ops),
        holder=order.holder.hex(),
        image=None if order.image_digest is None else order.image_digest.hex(),
        valid_until=until,
        tickets=listed,
    )


def _claim(output: Path, count: int) -> None:
    """Make the folder for several tickets; RefusedError (`usage`) where a file is in the way."""
    if count > 1:
        try:
            output.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise contradiction(f"{output} is no folder for {count} tickets: {error}") from error
    else:
        refuse_replacing(output)
