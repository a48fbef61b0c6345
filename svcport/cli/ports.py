"""`svcport ports`: the serial ports of this computer, and which can be used."""

from __future__ import annotations

import click

from svcport.cli.answer import Answer
from svcport.cli.command import Command
from svcport.cli.words import counted
from svcport.transport.adapters import found_ports


@click.command("ports", cls=Command)
def command() -> Answer:
    r"""List serial ports with adapter, USB path and a verdict. Opens none of them.

    \b
      svcport ports
      svcport ports --json
    """
    ports = [port.as_json() for port in found_ports()]
    known = sum(1 for port in ports if port["known"])
    hint = "" if ports else "plug the service cable in; svcport doctor looks for what is missing"
    return Answer.ok(
        f"{counted(len(ports), 'serial port')}, {counted(known, 'known adapter')}",
        hint=hint,
        ports=ports,
    )
