"""EPOCH statements: what the root says is no longer good. Numbers rise, epochs never fall."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from protocol.errors import ProtocolError
from protocol.sealed import Sealed, Signer, SubjectKey
from svcport.authorisation.issuer.desk import Desk, misfit
from svcport.authorisation.issuer.issuance import Issued, IssuedKind
from svcport.authorisation.issuer.signing import make_epoch
from svcport.authorisation.trust import supersedes
from svcport.errors import Reason, RefusedError
from svcport.home import write_whole

REVOKED_LIMIT: Final = 32
"""Most keys that one statement names."""


def sign_epoch(
    desk: Desk,
    root: Signer,
    *,
    revoke: Sequence[bytes] = (),
    min_epoch: int | None = None,
    forget: bool = False,
) -> Sealed:
    """A statement that replaces the last one, written to the folder's `trust/epoch.svc`.

    A lock knows the newest statement only, so the keys of the last one are revoked again.

    Args:
        desk: of a folder of this vendor.
        root: the fleet root's key.
        revoke: key ids of 8 bytes.
        min_epoch: the lowest epoch that is still good; None for no change.
        forget: leave out the keys of the last statement: good only where the epoch rises, which
            refuses what they could do.

    Raises:
        RefusedError: the epoch would fall, keys would be forgiven or are too many, or a root is
            among them (`usage`).
        RecordsError: log or folder cannot be written.
    """
    _refuse_roots(desk, revoke)

    def decide(last: Issued | None) -> Issued:
        number, epoch, revoked = _present(desk, last)
        wanted = epoch if min_epoch is None else min_epoch
        _refuse_step_back(epoch, wanted, forget=forget)
        keys = tuple(dict.fromkeys((*(() if forget else revoked), *(k.hex() for k in revoke))))
        _refuse_too_many(keys, epoch)
        return desk.entry(
            IssuedKind.EPOCH_RESERVED,
            root.subject,
            number=number + 1,
            min_epoch=wanted,
            revoked=keys,
        )

    reserved = desk.log.reserve_statement(decide)
    sealed = _signed(desk, root, reserved)
    entry = desk.entry(
        IssuedKind.EPOCH,
        root.subject,
        number=reserved.number,
        min_epoch=reserved.min_epoch,
        revoked=reserved.revoked,
        object=sealed.digest.hex(),
    )
    # within the log's transaction, so that of two processes the one that stated more has the word
    desk.log.record(entry, then=lambda: _write(desk, sealed))
    return sealed


def _refuse_step_back(epoch: int, wanted: int, *, forget: bool) -> None:
    if wanted < epoch:
        raise _usage(f"the epoch is {epoch} and would fall to {wanted}", "epochs only rise")
    if forget and wanted == epoch:
        raise _usage(
            "revoked keys can be left out only where the epoch rises",
            f"give --min-epoch {epoch + 1}, or leave out --forget",
        )


def _refuse_too_many(keys: tuple[str, ...], epoch: int) -> None:
    if len(keys) > REVOKED_LIMIT:
        raise _usage(
            f"{len(keys)} keys would be revoked, a statement names at most {REVOKED_LIMIT}",
            f"renew the good certificates, then give --min-epoch {epoch + 1} --forget",
        )


def take_epoch(desk: Desk, data: bytes, source: str) -> Sealed:
    """Keep a statement that the vendor's root made elsewhere: how a depot learns of it.

    Raises:
        RefusedError: it is none of this vendor's, or older than the one held (`no-permit`).
        RecordsError: log or folder cannot be written.
    """
    try:
        sealed = Sealed.parse(data)
        stated = desk.authority.trust.read_epoch(sealed)
    except ProtocolError as error:
        raise RefusedError(
            Reason.NO_PERMIT,
            f"{source} is no statement of this vendor: {error}",
            hint="get trust/epoch.svc from the vendor again",
        ) from error
    held = desk.statement()
    if held is not None and stated != held and not supersedes(stated, held):
        raise RefusedError(
            Reason.NO_PERMIT,
            f"{source} is statement {stated.number} of epoch {stated.min_epoch}, held is "
            f"{held.number} of epoch {held.min_epoch}",
            hint="get the newest trust/epoch.svc from the vendor",
        )
    entry = Issued(
        kind=IssuedKind.EPOCH_TAKEN,
        time=desk.seconds,
        operator=desk.operator,
        signer=sealed.signer.hex(),
        number=stated.number,
        min_epoch=stated.min_epoch,
        revoked=tuple(key.hex() for key in stated.revoked),
        object=sealed.digest.hex(),
    )
    desk.log.record(entry, then=lambda: _write(desk, sealed))
    return sealed


def _write(desk: Desk, sealed: Sealed) -> None:
    if supersedes(desk.authority.trust.read_epoch(sealed), desk.statement()):
        write_whole(desk.authority.epoch_file, sealed.build())


def _present(desk: Desk, last: Issued | None) -> tuple[int, int, tuple[str, ...]]:
    """Number, epoch and revoked keys of the newest statement, signed or only reserved."""
    number, epoch = 0, 0
    revoked: tuple[str, ...] = ()
    statement = desk.statement()
    if statement is not None:
        number, epoch = statement.number, statement.min_epoch
        revoked = tuple(key.hex() for key in statement.revoked)
    if last is None or (last.number or 0) <= number:
        return number, epoch, revoked
    return last.number or 0, max(epoch, last.min_epoch or 0), last.revoked


def _signed(desk: Desk, root: Signer, reserved: Issued) -> Sealed:
    try:
        return make_epoch(
            root,
            desk.authority.realm,
            number=reserved.number or 0,
            min_epoch=reserved.min_epoch or 0,
            issued_at=desk.seconds,
            revoked=tuple(bytes.fromhex(key) for key in reserved.revoked),
        )
    except ProtocolError as error:
        raise misfit(error) from error


def _refuse_roots(desk: Desk, revoke: Sequence[bytes]) -> None:
    roots: tuple[SubjectKey, ...] = desk.authority.trust.roots
    if any(root.key_id in revoke for root in roots):
        raise _usage(
            "a statement of the root cannot revoke a root",
            "locks answer the loss of a root with the stored next root",
        )


def _usage(message: str, hint: str) -> RefusedError:
    return RefusedError(Reason.USAGE, message, hint=hint)
