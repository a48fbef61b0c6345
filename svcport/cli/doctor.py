"""`svcport doctor`: what on this computer stands in the way, and the one command that cures it."""

from __future__ import annotations

from typing import Final, Unpack

import click

from svcport.cli.answer import Answer
from svcport.cli.checkup import computer_checks, port_checks
from svcport.cli.command import Command
from svcport.cli.homecheck import home_checks
from svcport.cli.options import SecretParams, secret_options, secret_source
from svcport.cli.settings import current, utc_now

OPEN_PORT: Final = (
    "port-unprompted",
    "port-smp",
    "port-console",
    "port-frames",
    "port-before-auth",
)
"""Checks whose failure means that the port gives something to whoever plugs in."""


@click.command("doctor", cls=Command)
@click.option("--port", metavar="P", help="Also ask at this port, as a stranger.")
@secret_options
def command(port: str | None, **secrets: Unpack[SecretParams]) -> Answer:
    r"""Check ports, permissions, home, clock, credential, signing key, records and catalogue.

    Changes nothing, and exits 0 whatever it finds: `checks` has the results. The signing key is
    opened and signs once, so its passphrase or PIN is asked for as any command would.
    With a port, it asks there as a thief with a cable would, without credentials:
    a lock must show who it is and nothing else; boot loader, SMP or console is a fail.

    \b
      svcport doctor
      svcport doctor --port COM5
    """
    secret = secret_source(secrets["passphrase_fd"], secrets["pin_fd"])
    checks = [*computer_checks(), *home_checks(current().home, utc_now(), secret)]
    if port is not None:
        checks += port_checks(port)
    failed = [check for check in checks if check.result == "fail"]
    members = [check.as_json() for check in checks]
    if not failed:
        return Answer.ok("nothing stands in the way", checks=members)
    names = ", ".join(check.name for check in failed)
    open_ports = [check for check in failed if check.name in OPEN_PORT]
    if open_ports:
        message = f"{port} is open to strangers: {open_ports[0].detail}; in the way: {names}"
        return Answer.ok(message, hint=open_ports[0].cure, checks=members)
    return Answer.ok(f"in the way: {names}", hint=failed[0].cure, checks=members)
