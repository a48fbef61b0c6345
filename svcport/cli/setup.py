"""`svcport setup`: a home filled from the folder that a vendor, depot or lab gives out."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import click

from svcport.audit.ledger import Ledger
from svcport.audit.problems import read_mark
from svcport.audit.store import damaged
from svcport.audit.view import LedgerView
from svcport.authorisation.keys.locked import Secret
from svcport.authorisation.keys.references import parse_reference
from svcport.authorisation.setup import SetupReport, import_bundle
from svcport.authorisation.trust import Trust, find_trust
from svcport.catalogue.client import Catalogue
from svcport.catalogue.store import Store
from svcport.cli.answer import Answer
from svcport.cli.command import Command
from svcport.cli.options import secret_options, secret_source
from svcport.cli.settings import current, utc_now
from svcport.errors import Reason, RefusedError
from svcport.home import Home


@click.command("setup", cls=Command)
@click.option(
    "--from",
    "source",
    required=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder with trust, credential, tickets and catalogue.",
)
@click.option(
    "--key",
    metavar="KEY",
    help="Where the technician's key is, if not in DIR: an OpenSSH key file, pkcs11:... "
    "or ssh-agent:... It stays there.",
)
@secret_options
def command(source: Path, key: str | None, passphrase_fd: int | None, pin_fd: int | None) -> Answer:
    r"""Import trust, credential, tickets and catalogue from DIR into the home.

    Run it again with a newer folder to renew them; DIR may leave out a catalogue and the key then.
    A key that is named is opened, and signs once.

    \b
      svcport setup --from /media/stick/technician
      svcport --home bench setup --from L/technician
      svcport setup --from DIR --key 'pkcs11:token=Ada;object=service'
    """
    return set_up(
        current().home, source, utc_now(), key=key, secret=secret_source(passphrase_fd, pin_fd)
    )


def set_up(
    home: Home,
    source: Path,
    now: datetime,
    *,
    key: str | None = None,
    secret: Secret | None = None,
) -> Answer:
    """Fill a home; raises what the import, the catalogue and the ledger raise."""
    _refuse_damaged(home)
    _refuse_other_records(home, source)
    offered = Home(source).catalogue
    if source.is_dir() and not offered.is_dir() and Store(home.catalogue).bundle() is None:
        raise RefusedError(
            Reason.NOT_SET_UP,
            f"{source} holds no catalogue, and neither does {home.root}",
            hint="ask for a folder that holds trust, credential, tickets and catalogue",
        )
    place = None if key is None else parse_reference(key)
    done = import_bundle(source, home, now, key=place, secret=secret)
    trust = Trust.load(home)
    catalogue = _catalogue(home, offered, trust, now)
    # made now, so that `audit verify` has something to say from the first day on
    Ledger.open(home.ledger, trust.realm, create=True).close()
    return _report(done, home, catalogue)


def _refuse_damaged(home: Home) -> None:
    mark = read_mark(home.ledger)
    if mark is not None:
        raise damaged(f"the ledger of {home.root} is damaged: {mark}")


def _refuse_other_records(home: Home, source: Path) -> None:
    """Records that were begun before any setup are real ones, and never become a training home's.

    What else is wrong with either folder, the import says.
    """
    trust = find_trust(Home(source))
    if trust is None or not home.ledger.is_dir():
        return
    try:
        with LedgerView.open_for_audit(home.ledger) as view:
            realm = view.realm
    except RefusedError:  # an empty folder
        return
    if realm is not trust.realm:
        raise RefusedError(
            Reason.LOCK_IDENTITY,
            f"the records of {home.root} are of {realm.name.lower()}, "
            f"the bundle is for {trust.realm.name.lower()}",
            hint="give training and real work a home each, with --home",
        )


def _catalogue(home: Home, offered: Path, trust: Trust, now: datetime) -> Catalogue | None:
    """The catalogue that the home has now; the import has checked whose it must be."""
    if not offered.is_dir():
        return None
    return Catalogue.refresh(home.root, offered, now=now, root=trust.catalogue_root)


def _report(done: SetupReport, home: Home, catalogue: Catalogue | None) -> Answer:
    return Answer.ok(
        f"{home.root} is set up for {done.holder}",
        holder=done.holder,
        role=done.role.name.lower(),
        valid_until=f"{done.valid_until:%Y-%m-%dT%H:%M:%SZ}",
        training=done.training,
        tickets=done.tickets,
        catalogue=None if catalogue is None else catalogue.version,
    )
