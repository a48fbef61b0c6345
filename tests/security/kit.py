"""What the attacks share: a second host at the same lock, statements, what must not move."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from simulator.hostdriver import Host, RefusedByLock
from simulator.trainer import (
    BEGINS,
    LOCK,
    ROOT,
    X25519_SEED,
    Key,
    issuer_certificate,
    technician_certificate,
)

from protocol.objects import EpochStatement
from protocol.refusal import RefusalCode
from protocol.sealed import Realm
from protocol.statements import PutEpoch
from svcport.simulator.board import Board
from svcport.simulator.state import LockState

SECRETS = (X25519_SEED, LOCK.seed)
"""What a lock must never say in any form."""


def another_host(host: Host, seed: int = 1) -> Host:
    """Somebody else at the same lock: other random numbers, so other handshakes."""
    other = Host(host.board, now=host.now)
    other.rng = random.Random(f"another {seed}")
    return other


def sealed_epoch(
    number: int = 1,
    least: int = 2,
    *,
    root: Key = ROOT,
    issued_at: int = BEGINS,
    revoked: tuple[bytes, ...] = (),
) -> bytes:
    body = EpochStatement(min_epoch=least, issued_at=issued_at, revoked=revoked, number=number)
    return body.seal(Realm.TRAINING, root).build()


def carry_epoch(board: Board, statement: bytes, now: float) -> None:
    """An honest technician of the newest epoch passes by."""
    honest = Host(board, now=now)
    honest.issuer_cert = issuer_certificate(epoch=9)
    honest.technician_cert = technician_certificate(epoch=9)
    honest.rng = random.Random(f"honest {now}")
    honest.login()
    honest.call(PutEpoch(statement))


def durable(host: Host) -> LockState:
    """What the lock keeps, but for its counts of what was refused and failed."""
    return replace(host.board.core.state, refusals=0, auth_failures=0)


def login_refused(host: Host) -> RefusalCode:
    with pytest.raises(RefusedByLock) as caught:
        host.login()
    return caught.value.code
