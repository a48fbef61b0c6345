"""`svcport issuer time`: tells a lock on the cable what time it is."""

from __future__ import annotations

from pathlib import Path
from typing import Unpack

import click

from protocol.objects import TimeStatement
from svcport.authorisation.times import when
from svcport.cli.answer import Answer
from svcport.cli.command import Command
from svcport.cli.files import write_output
from svcport.cli.issuer_options import (
    Clerk,
    folder_argument,
    issuer_key_option,
    lock_nonce,
    nonce_option,
    opener,
    output_option,
    refuse_replacing,
)
from svcport.cli.options import SecretParams, contradiction, secret_options
from svcport.cli.settings import utc_now


@click.command("time", cls=Command)
@folder_argument
@nonce_option
@output_option
@issuer_key_option
@secret_options
def command(
    directory: Path,
    nonce: str | None,
    output: Path,
    issuer_key: str | None,
    **secrets: Unpack[SecretParams],
) -> Answer:
    r"""State the time of this computer to the one lock that shows this nonce now.

    A lock has no clock that survives its battery. By the statement it knows how late it is at
    least, and refuses certificates that had ended by then. It is good once, and makes nonce
    tickets for the same nonce void.

    \b
      svcport identify --json                      shows the nonce
      svcport issuer time V --nonce 9f86d081884c7d659a2feaa0c55ad015 -o time.svc
      svcport identify --ticket time.svc           brings it
    """
    from svcport.authorisation.issuer.timing import sign_time
    from svcport.authorisation.tickets import ticket_file, ticket_file_name

    if nonce is None:
        raise contradiction("a statement of the time needs the lock's --nonce")
    shown = lock_nonce(nonce)
    desk = Clerk(directory, utc_now()).desk()
    refuse_replacing(output)
    signer = desk.authority.issuer_signer(opener(secrets), issuer_key)
    sealed = sign_time(desk, signer, shown)
    content = ticket_file(sealed, desk.authority.sealed)
    path = output / ticket_file_name("time", content) if output.is_dir() else output
    write_output(path, content)
    stated = when(TimeStatement.read(sealed).unix_time)
    return Answer.ok(
        f"{path} tells the lock of nonce {shown.hex()} that it is {stated}",
        hint=f"bring it with any command at the lock: svcport identify --ticket {path}",
        file=str(path),
        nonce=shown.hex(),
        time=stated,
    )
