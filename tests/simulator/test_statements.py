from __future__ import annotations

from dataclasses import replace

import pytest
from simulator.actkit import FIXED, make_host
from simulator.hostdriver import Host, RefusedByLock, refused, unit_stream
from simulator.trainer import (
    BEGINS,
    DEPOT,
    ISSUER,
    NEXT_ROOT,
    REALM,
    ROOT,
    STRANGER,
    TECHNICIAN,
    Key,
    digest,
    issuer_certificate,
    paper,
    technician_certificate,
)

from protocol.acts import ActStatus, Commit
from protocol.objects import EpochStatement, TimeStatement, nonce_hash
from protocol.queries import Battery, Identify
from protocol.refusal import Refusal, RefusalCode
from protocol.sealed import Realm
from protocol.statements import EpochTaken, LockNonce, PutEpoch, PutTime, TimeTaken
from protocol.values import Op, Phase
from svcport.simulator.credentials import FLOOR_LEAD_S

ANOTHER_TECHNICIAN = technician_certificate(subject=DEPOT.subject, epoch=9)


@pytest.fixture
def host() -> Host:
    made = make_host()
    made.login()
    return made


def epoch(
    number: int = 1, least: int = 0, by: Key = ROOT, realm: Realm = REALM, **changes: object
) -> PutEpoch:
    body = EpochStatement(min_epoch=least, issued_at=BEGINS + 100, revoked=(), number=number)
    return PutEpoch(replace(body, **changes).seal(realm, by).build())  # type: ignore[arg-type]


def time(host: Host, unix_time: int, by: Key = ISSUER, **changes: object) -> PutTime:
    nonce = host.call(LockNonce()).nonce
    body = TimeStatement(unix_time=unix_time, nonce_hash=nonce_hash(nonce))
    sealed = replace(body, **changes).seal(REALM, by)  # type: ignore[arg-type]
    return PutTime(sealed.build(), issuer_certificate(subject=by.subject))


def refusal(host: Host, request: PutEpoch | PutTime) -> Refusal:
    before = host.board.core.state
    answer = host.ask(request)  # type: ignore[arg-type]
    assert isinstance(answer, Refusal)
    assert host.board.core.state == before
    assert answer.statement == b""
    return answer


def test_before_auth_there_is_no_nonce_and_nothing_can_be_stated() -> None:
    host = make_host()
    host.handshake()
    for request in (LockNonce(), epoch(), PutTime(b"", b"")):
        assert refused(host, request) is RefusalCode.NOT_AUTHENTICATED  # type: ignore[arg-type]
    assert host.board.core.state.epoch.number == 0


def test_a_newer_epoch_is_taken_told_and_survives_a_power_cut(host: Host) -> None:
    assert host.call(epoch(4, 1)) == EpochTaken(4, 1, False)
    host.board.power_cycle(host.now)
    host.login()
    identity = host.call(Identify())
    assert (identity.epoch_number, identity.min_epoch) == (4, 1)
    assert identity.time_floor == BEGINS + 100


def test_the_next_root_may_state_an_epoch_too(host: Host) -> None:
    assert host.call(epoch(by=NEXT_ROOT)).number == 1


@pytest.mark.parametrize(
    "request_",
    [
        PutEpoch(b""),
        PutEpoch(b"x" * 200),
        PutEpoch(epoch().statement[:-1]),
        PutEpoch(epoch().statement + b"\0"),
        PutEpoch(issuer_certificate()),
        epoch(by=ISSUER),
        epoch(by=STRANGER),
        epoch(realm=Realm.PRODUCTION),
    ],
)
def test_an_epoch_that_no_root_of_this_lock_signed_is_invalid(
    host: Host, request_: PutEpoch
) -> None:
    assert refusal(host, request_).code is RefusalCode.STATEMENT_INVALID


def test_every_bit_of_an_epoch_counts(host: Host) -> None:
    good = epoch().statement
    for at in range(len(good)):
        bad = good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :]
        assert refused(host, PutEpoch(bad)) is RefusalCode.STATEMENT_INVALID


@pytest.mark.parametrize(("number", "least"), [(5, 1), (4, 1), (0, 9), (6, 0)])
def test_a_replayed_older_or_falling_epoch_is_refused(host: Host, number: int, least: int) -> None:
    host.call(epoch(5, 1))
    answer = refusal(host, epoch(number, least))
    assert (answer.code, answer.detail) == (RefusalCode.STATEMENT_OLD, 5)


@pytest.mark.parametrize(
    "changes",
    [
        {"least": 2},
        {"revoked": (TECHNICIAN.subject.key_id,)},
        {"revoked": (STRANGER.subject.key_id, ISSUER.subject.key_id)},
    ],
)
def test_a_session_that_the_epoch_revokes_is_anonymous_and_cannot_come_back(
    host: Host, changes: dict[str, object]
) -> None:
    assert host.call(epoch(**changes)).dropped  # type: ignore[arg-type]
    assert refused(host, Battery()) is RefusalCode.NOT_AUTHENTICATED
    assert refused(host, host.auth()) is RefusalCode.REVOKED
    host.now += 2
    with pytest.raises(RefusedByLock) as caught:
        host.login()
    assert caught.value.code is RefusalCode.REVOKED


def test_an_epoch_that_names_others_leaves_the_session_alone(host: Host) -> None:
    assert not host.call(epoch(revoked=(STRANGER.subject.key_id,))).dropped
    host.call(Battery())


def test_a_dropped_session_loses_its_transfer_and_nobody_else_can_commit_its_act(
    host: Host,
) -> None:
    sectors = host.missing(FIXED)
    ready = host.begin(FIXED)
    host.upload(ready, unit_stream(FIXED, sectors))
    host.call(epoch(revoked=(TECHNICIAN.subject.key_id,)))
    host.technician, host.technician_cert = DEPOT, ANOTHER_TECHNICIAN
    host.call(host.auth())
    assert host.call(ActStatus()).phase is Phase.WRITING
    assert refused(host, Commit(ready.transfer_id)) is RefusalCode.TRANSFER_UNKNOWN
    host.head = host.board.core.state.head
    host.send_image(FIXED)


def test_tickets_of_a_revoked_issuer_are_worthless(host: Host) -> None:
    order = paper(Op.RESTORE, digest(FIXED), by=ISSUER)
    host.call(epoch(revoked=(DEPOT.subject.key_id,)))
    host.begin(FIXED, Op.RESTORE, order)
    order = paper(Op.RESTORE, digest(FIXED), 2, by=DEPOT)
    with pytest.raises(RefusedByLock) as caught:
        host.begin(FIXED, Op.RESTORE, order)
    assert caught.value.code is RefusalCode.REVOKED


def test_a_ticket_of_an_older_epoch_is_worthless_afterwards(host: Host) -> None:
    host.technician_cert = technician_certificate(epoch=2)
    host.issuer_cert = issuer_certificate(epoch=2)
    host.login()
    order = replace(paper(Op.RESTORE, digest(FIXED)), issuer=host.issuer_cert)
    assert not host.call(epoch(least=2)).dropped
    with pytest.raises(RefusedByLock) as caught:
        host.begin(FIXED, Op.RESTORE, order)
    assert (caught.value.code, caught.value.refusal.detail) == (RefusalCode.REVOKED, 2)


def test_the_nonce_stays_until_it_is_used_and_is_kept_over_a_reset(host: Host) -> None:
    nonce = host.call(LockNonce()).nonce
    assert host.call(LockNonce()).nonce == nonce
    host.board.power_cycle(host.now)
    host.login()
    assert host.call(LockNonce()).nonce == nonce


def test_a_time_raises_the_floor_once_and_replaces_the_nonce(host: Host) -> None:
    statement = time(host, BEGINS + 5000)
    assert host.call(statement) == TimeTaken(BEGINS + 5000, False)
    assert refusal(host, statement).code is RefusalCode.STATEMENT_OLD
    assert host.call(time(host, BEGINS + 10)).time_floor == BEGINS + 5000


def test_no_issuer_pushes_time_past_two_weeks_after_the_newest_epoch(host: Host) -> None:
    assert host.call(time(host, 1 << 63)).time_floor == BEGINS + FLOOR_LEAD_S
    host.call(epoch(issued_at=BEGINS + FLOOR_LEAD_S))
    assert host.call(time(host, 1 << 63)).time_floor == BEGINS + 2 * FLOOR_LEAD_S


def test_a_time_that_no_good_issuer_signed_for_this_nonce_is_refused(host: Host) -> None:
    good = time(host, BEGINS + 5000)
    invalid = RefusalCode.STATEMENT_INVALID
    assert refusal(host, replace(good, statement=good.statement[:-1])).code is invalid
    assert refusal(host, replace(good, issuer=b"")).code is invalid
    assert refusal(host, replace(good, issuer=issuer_certificate(STRANGER))).code is invalid
    other = issuer_certificate(subject=STRANGER.subject)
    assert refusal(host, replace(good, issuer=other)).code is invalid
    assert refusal(host, replace(good, statement=epoch().statement)).code is invalid
    foreign = time(host, BEGINS + 5000, nonce_hash=bytes(32))
    assert refusal(host, foreign).code is RefusalCode.STATEMENT_OLD
    old = replace(good, issuer=issuer_certificate(not_after=BEGINS - 1))
    assert refusal(host, old).code is RefusalCode.CREDENTIAL_EXPIRED
    host.call(epoch(revoked=(DEPOT.subject.key_id,)))
    assert refusal(host, time(host, BEGINS, by=DEPOT)).code is RefusalCode.REVOKED


def test_a_session_whose_certificate_ended_by_the_new_time_is_dropped(host: Host) -> None:
    host.technician_cert = technician_certificate(not_after=BEGINS + 1000)
    host.login()
    assert host.call(time(host, BEGINS + 1001)).dropped
    assert refused(host, Battery()) is RefusalCode.NOT_AUTHENTICATED
    assert refused(host, host.auth()) is RefusalCode.CREDENTIAL_EXPIRED
