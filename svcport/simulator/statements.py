"""The lock's own judgement of what its vendor states: EPOCH by a root key, TIME by an issuer.

No I/O: a statement that holds gives the state in which it counts, for the caller to make durable.
"""

from __future__ import annotations

from dataclasses import replace

from protocol.errors import ProtocolError
from protocol.objects import EpochStatement, TimeStatement, nonce_hash
from protocol.refusal import RefusalCode
from protocol.sealed import Sealed
from svcport.simulator.credentials import judge_issuer, raised_floor
from svcport.simulator.factory import Factory
from svcport.simulator.refusals import RefusedError
from svcport.simulator.state import Epoch, LockState


def take_epoch(factory: Factory, state: LockState, data: bytes) -> LockState:
    """The state under a newer EPOCH; RefusedError if it is no root's, not newer, or falls."""
    try:
        sealed = Sealed.parse(data)
        roots = [key for key in factory.root_keys if key.key_id == sealed.signer]
        if not roots or sealed.realm is not factory.realm:
            raise RefusedError(RefusalCode.STATEMENT_INVALID)
        sealed.verify(roots[0])
        said = EpochStatement.read(sealed)
    except ProtocolError as error:
        raise RefusedError(RefusalCode.STATEMENT_INVALID) from error
    held = state.epoch
    if said.number <= held.number or said.min_epoch < held.minimum:
        raise RefusedError(RefusalCode.STATEMENT_OLD, held.number)
    epoch = Epoch(said.number, said.min_epoch, said.issued_at, said.revoked)
    state = replace(state, epoch=epoch)
    return replace(state, time_floor=raised_floor(state, said.issued_at))


def take_time(
    factory: Factory, state: LockState, data: bytes, issuer: bytes, fresh_nonce: bytes
) -> LockState:
    """The state after a TIME for the present nonce: floor raised, nonce replaced; RefusedError."""
    try:
        certificate = judge_issuer(factory, state, issuer)
    except RefusedError as error:
        unsigned = error.code is RefusalCode.CREDENTIAL_INVALID
        code = RefusalCode.STATEMENT_INVALID if unsigned else error.code
        raise RefusedError(code, error.detail) from error
    try:
        sealed = Sealed.parse(data)
        sealed.verify(certificate.subject)
        said = TimeStatement.read(sealed)
    except ProtocolError as error:
        raise RefusedError(RefusalCode.STATEMENT_INVALID) from error
    if sealed.realm is not factory.realm:
        raise RefusedError(RefusalCode.STATEMENT_INVALID)
    if said.nonce_hash != nonce_hash(state.nonce):
        raise RefusedError(RefusalCode.STATEMENT_OLD)
    passed = max(said.unix_time, certificate.not_before)
    return replace(state, nonce=fresh_nonce, time_floor=raised_floor(state, passed))
