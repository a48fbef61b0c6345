"""`svcport doctor`: what on this computer stands in the way, and the one command that cures it."""

from __future__ import annotations

import click

from svcport.cli.answer import Answer
from svcport.cli.checkup import computer_checks, port_check
from svcport.cli.command import Command
from svcport.cli.homecheck import home_checks
from svcport.cli.settings import current, utc_now


@click.command("doctor", cls=Command)
@click.option("--port", metavar="P", help="Also try to open this port.")
def command(port: str | None) -> Answer:
    r"""Check ports, permissions, home, clock, credential, records and catalogue.

    Changes nothing, and exits 0 whatever it finds: `checks` has the results.

    \b
      svcport doctor
      svcport doctor --port COM5
    """
    checks = [*computer_checks(), *home_checks(current().home, utc_now())]
    if port is not None:
        checks.append(port_check(port))
    failed = [check for check in checks if check.result == "fail"]
    members = [check.as_json() for check in checks]
    if not failed:
        return Answer.ok("nothing stands in the way", checks=members)
    names = ", ".join(check.name for check in failed)
    return Answer.ok(f"in the way: {names}", hint=failed[0].cure, checks=members)
