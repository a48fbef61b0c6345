"""Where an installation's ledger is: in a SQLite file of its own, or in a PostgreSQL database.

The folder decides: `database.url` names a database, which holds a log for each station that
uses it; without it the tables are in `ledger.sqlite`. The station key is in the folder either way.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, inspect, select

from protocol.sealed import Realm
from svcport.audit.note import NoteError, VerifierKey
from svcport.audit.station import KEY_NAME, known_subject, origin_of
from svcport.audit.store import Store, damaged
from svcport.audit.tables import LOGS
from svcport.errors import Reason, RefusedError
from svcport.home import read_file, storage_error

DATABASE_NAME: Final = "ledger.sqlite"
URL_NAME: Final = "database.url"


@dataclass(frozen=True, slots=True)
class Log:
    """Whose log it is: what stands in its row."""

    origin: str
    realm: Realm
    verifier: VerifierKey


@dataclass(frozen=True, slots=True)
class Place:
    """The place of one installation's ledger.

    Attributes:
        url: of the PostgreSQL database, None for SQLite.
    """

    folder: Path
    url: str | None

    @classmethod
    def of(cls, folder: Path) -> Place:
        """What `folder` says.

        Raises:
            RefusedError: it names two places (reason `usage`).
        """
        if not (folder / URL_NAME).exists():
            return cls(folder, None)
        if (folder / DATABASE_NAME).exists():
            raise RefusedError(
                Reason.USAGE,
                f"{folder} holds both {DATABASE_NAME} and {URL_NAME}",
                hint="a ledger stays where it began: remove the file that does not belong there",
            )
        return cls(folder, read_file(folder / URL_NAME).decode("utf-8", "replace").strip())

    def existing(self) -> Store:
        """The store; RefusedError (`not-set-up`) if there is none, and none is missing."""
        if self.url is not None:
            if known_subject(self.folder) is None:
                raise no_ledger(self.folder)
            return Store.open(self.url)
        path = self.folder / DATABASE_NAME
        if not path.is_file():
            if (self.folder / KEY_NAME).exists():
                raise damaged(f"{path} is missing, its station key is there")
            raise no_ledger(self.folder)
        return Store.sqlite(path)

    def for_writing(self) -> Store:
        """The store, which may be empty as yet; makes the folder."""
        path = self.folder / DATABASE_NAME
        if path.is_file() or (self.folder / KEY_NAME).exists():
            return self.existing()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise storage_error(self.folder, error) from error
        return Store.sqlite(path) if self.url is None else Store.open(self.url)

    def read_log(self, connection: Connection) -> Log | None:
        """The log of this installation, None before the first; RecordsError (`ledger-damaged`)."""
        if not inspect(connection).has_table(LOGS.name):
            self._expect_none()
            return None
        query = select(LOGS.c.origin, LOGS.c.realm, LOGS.c.vkey)
        if self.url is not None:
            subject = known_subject(self.folder)
            ours = [] if subject is None else [origin_of(realm, subject) for realm in Realm]
            query = query.where(LOGS.c.origin.in_(ours))
        rows = connection.execute(query.limit(2)).all()
        if not rows:
            self._expect_none()
            return None
        if len(rows) > 1:
            raise damaged("more than one log in the ledger, wanted one")
        return _log(*(str(value) for value in rows[0]))

    def _expect_none(self) -> None:
        """A database without our log is damaged, or another one, where the station key is."""
        if self.url is not None and (self.folder / KEY_NAME).exists():
            raise damaged(f"the database holds no log of {self.folder / KEY_NAME}")


def _log(origin: str, name: str, vkey: str) -> Log:
    try:
        verifier = VerifierKey.parse(vkey)
    except NoteError as error:
        raise damaged(f"the log's key does not parse: {error}") from error
    realm = next((one for one in Realm if one.name == name), None)
    if realm is None or origin != verifier.name or origin != origin_of(realm, verifier.subject):
        raise damaged(f"the log's name {origin} does not fit its key {vkey} and realm {name}")
    return Log(origin, realm, verifier)


def require_reachable(folder: Path) -> None:
    """See that what is in `folder`, if anything, can be looked at; RecordsError (`storage`)."""
    try:
        (folder / DATABASE_NAME).stat()
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise storage_error(folder, error) from error


def no_ledger(folder: Path) -> RefusedError:
    """The error for a folder that never held a ledger."""
    return RefusedError(
        Reason.NOT_SET_UP, f"{folder}: no ledger here", hint="run `svcport setup --from DIR` first"
    )
