"""TIME statements at hand: an issuer told one lock the time, by the nonce that the lock showed.

In a file one stands where a ticket would: u16 length | TIME | u16 length | issuer certificate.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from protocol.errors import ProtocolError
from protocol.objects import TimeStatement
from protocol.sealed import Sealed
from svcport.authorisation.tickets import (
    StoredFile,
    TicketReader,
    read_given,
    states_time,
    ticket_file,
)
from svcport.authorisation.trust import Trust
from svcport.errors import Reason, RecordsError, RefusedError

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class HeldTime:
    """A TIME statement that an issuer of this vendor signed. Made by `read_time`.

    Attributes:
        path: the file it came from.
        given: named on the command line rather than found in the home.
    """

    stated: TimeStatement
    sealed: Sealed
    issuer_sealed: Sealed
    path: Path
    given: bool = False

    def build(self) -> bytes:
        """The file."""
        return ticket_file(self.sealed, self.issuer_sealed)


def read_time(data: bytes, path: Path, reader: TicketReader, *, given: bool = False) -> HeldTime:
    """Read a TIME file and check both signatures; raises as `TicketReader.open`."""
    sealed, issuer_sealed, _issuer = reader.signed(data)
    return HeldTime(TimeStatement.read(sealed), sealed, issuer_sealed, path, given)


def held_times(
    stored: Sequence[StoredFile], trust: Trust, given: Sequence[Path] = ()
) -> tuple[HeldTime, ...]:
    """The statements named on the command line, and those among a home's tickets.

    A file of the home that cannot be believed is passed over, and told in the log.

    Raises:
        RefusedError: a given file is missing (`usage`), or no issuer's of this vendor
            (`no-permit`).
    """
    reader = TicketReader(trust)
    named = tuple(_given(path, reader) for path in given if states_time(read_given(path)))
    return (*named, *_stored(stored, reader))


def _given(path: Path, reader: TicketReader) -> HeldTime:
    try:
        return read_time(read_given(path), path, reader, given=True)
    except ProtocolError as error:
        raise RefusedError(
            Reason.NO_PERMIT,
            f"{path} is no statement of this vendor: {error}",
            hint="ask the issuer for it again, with the nonce that 'svcport identify' shows",
        ) from error


def _stored(stored: Sequence[StoredFile], reader: TicketReader) -> Iterator[HeldTime]:
    for file in stored:
        try:
            data = file.read()
            if states_time(data):
                yield read_time(data, file.path, reader)
        except (ProtocolError, RefusedError, RecordsError) as error:
            log.warning("%s is passed over: %s", file.path, error)
