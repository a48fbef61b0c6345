"""Writing the folder that `setup --from` takes: trust, credential, and a catalogue if there is one.

A credential for a key that is made elsewhere comes without a key file: its holder adds theirs.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from protocol.sealed import Sealed
from svcport.authorisation.credentials import ISSUER_FILE, TECHNICIAN_FILE
from svcport.authorisation.issuer.authority import Authority, claim_folder
from svcport.authorisation.keys.keyplace import KEY_FILE
from svcport.errors import Reason, RefusedError
from svcport.home import Home, storage_error, write_whole


def write_bundle(
    folder: Path,
    authority: Authority,
    technician: Sealed,
    key: bytes | None,
    catalogue: Path | None,
) -> None:
    """Make a bundle's folder.

    Args:
        folder: new or empty.
        authority: whose trust and issuer's certificate go into it.
        technician: the certificate that is handed out.
        key: content of the key file, where the key was made by the issuer.
        catalogue: a catalogue's folder to copy; see `require_catalogue`.

    Raises:
        RefusedError: the folder has something in it (`usage`).
        RecordsError: a file cannot be read or written (`storage`).
    """
    claim_folder(folder)
    home = Home(folder)
    authority.trust.write(home)
    if catalogue is not None:
        try:
            shutil.copytree(catalogue, home.catalogue)
        except OSError as error:
            raise storage_error(home.catalogue, error) from error
    if key is not None:
        write_whole(home.credential / KEY_FILE, key, private=True)
    write_whole(home.credential / ISSUER_FILE, authority.sealed.build())
    write_whole(home.credential / TECHNICIAN_FILE, technician.build())


def require_catalogue(folder: Path) -> None:
    """RefusedError (`usage`) unless a folder looks like a vendor's catalogue."""
    if not (folder / "metadata" / "timestamp.json").is_file():
        raise RefusedError(
            Reason.USAGE,
            f"{folder} is no catalogue: it has no metadata/timestamp.json",
            hint="give the folder that your vendor publishes, with metadata and targets in it",
        )
