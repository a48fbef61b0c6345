from __future__ import annotations

from dataclasses import replace

import pytest
from simulator.hostdriver import Host, RefusedByLock, refused
from simulator.trainer import (
    BEGINS,
    DEPOT,
    ENDS,
    ISSUER,
    NEXT_ROOT,
    SERIAL,
    STRANGER,
    fresh_flash,
    image,
    issuer_certificate,
    power_up,
    technician_certificate,
)

from protocol.acts import Reset
from protocol.queries import Events, Identify
from protocol.refusal import RefusalCode
from protocol.scope import EVERYTHING, ScopeItem, ScopeKind, serial_range
from protocol.sealed import Realm
from protocol.values import Op, Role, Slot
from svcport.simulator.credentials import FLOOR_LEAD_S, ROLE_OPS
from svcport.simulator.nvm import Nvm
from svcport.simulator.state import Epoch

OTHER_MODEL = ScopeItem(ScopeKind.MODEL, b"XX-9")
MODEL = ScopeItem(ScopeKind.MODEL, b"AL-1")
BATCH = ScopeItem(ScopeKind.BATCH, b"2026-31")
OTHER_BATCH = ScopeItem(ScopeKind.BATCH, b"2026-30")
CASE = ScopeItem(ScopeKind.CASE, b"4711")


def make_host(epoch: Epoch | None = None, floor: int = BEGINS) -> Host:
    flash = fresh_flash({Slot.A: image("2.3.1")})
    nvm = Nvm(flash)
    state = replace(nvm.state, time_floor=floor)
    nvm.write(replace(state, epoch=epoch or state.epoch))
    return Host(power_up(flash))


def login_code(host: Host) -> RefusalCode:
    with pytest.raises(RefusedByLock) as caught:
        host.login()
    return caught.value.code


@pytest.mark.parametrize(
    ("issuer", "technician"),
    [
        (b"", None),
        (None, b""),
        (b"x" * 200, None),
        (issuer_certificate(STRANGER), None),
        (issuer_certificate(realm=Realm.PRODUCTION), None),
        (None, technician_certificate(STRANGER)),
        (None, issuer_certificate()),
        (technician_certificate(), None),
    ],
)
def test_a_broken_chain_is_an_invalid_credential(
    issuer: bytes | None, technician: bytes | None
) -> None:
    host = make_host()
    host.issuer_cert = host.issuer_cert if issuer is None else issuer
    host.technician_cert = host.technician_cert if technician is None else technician
    assert login_code(host) is RefusalCode.CREDENTIAL_INVALID


def test_the_next_root_is_good_too() -> None:
    host = make_host()
    host.issuer_cert = issuer_certificate(NEXT_ROOT)
    host.login()


def test_a_technician_without_his_key_is_refused() -> None:
    host = make_host()
    host.technician = STRANGER
    assert login_code(host) is RefusalCode.CREDENTIAL_INVALID


def test_an_auth_of_another_session_is_refused() -> None:
    host = make_host()
    host.handshake()
    stolen = host.auth()
    host.handshake()
    assert refused(host, stolen) is RefusalCode.CREDENTIAL_INVALID


@pytest.mark.parametrize("who", ["issuer", "technician"])
def test_what_ended_before_the_time_floor_has_expired(who: str) -> None:
    host = make_host(floor=ENDS)
    host.login()
    host = make_host(floor=ENDS)
    if who == "issuer":
        host.issuer_cert = issuer_certificate(not_after=ENDS - 1)
    else:
        host.technician_cert = technician_certificate(not_after=ENDS - 1)
    assert login_code(host) is RefusalCode.CREDENTIAL_EXPIRED


@pytest.mark.parametrize("who", ["issuer", "technician"])
def test_an_old_epoch_is_revoked(who: str) -> None:
    host = make_host(Epoch(3, 2, BEGINS, ()))
    host.issuer_cert = issuer_certificate(epoch=1 if who == "issuer" else 2)
    host.technician_cert = technician_certificate(epoch=1 if who == "technician" else 2)
    with pytest.raises(RefusedByLock) as caught:
        host.login()
    assert (caught.value.code, caught.value.refusal.detail) == (RefusalCode.REVOKED, 2)


@pytest.mark.parametrize("key", [ISSUER, Host.technician])
def test_a_revoked_key_is_refused(key: object) -> None:
    host = make_host(Epoch(3, 0, BEGINS, (key.subject.key_id,)))  # type: ignore[attr-defined]
    assert login_code(host) is RefusalCode.REVOKED


@pytest.mark.parametrize(
    ("scope", "good"),
    [
        (EVERYTHING, True),
        ((MODEL,), True),
        ((OTHER_MODEL,), False),
        ((OTHER_MODEL, MODEL), True),
        ((MODEL, OTHER_BATCH), False),
        ((MODEL, BATCH, OTHER_BATCH), True),
        ((serial_range("TR-000000", "TR-000009"),), True),
        ((serial_range("TR-000002", "TR-000009"),), False),
        ((serial_range(SERIAL, SERIAL), CASE), True),
        ((CASE,), True),
    ],
)
@pytest.mark.parametrize("who", ["issuer", "technician"])
def test_kinds_of_scope_must_all_hold_and_items_of_one_kind_are_alternatives(
    scope: tuple[ScopeItem, ...], good: bool, who: str
) -> None:
    host = make_host()
    if who == "issuer":
        host.issuer_cert = issuer_certificate(scope=scope)
    else:
        host.technician_cert = technician_certificate(scope=scope)
    if good:
        host.login()
    else:
        assert login_code(host) is RefusalCode.OUT_OF_SCOPE


def test_an_owner_needs_a_scope_of_exactly_one_serial() -> None:
    host = make_host()
    host.technician_cert = technician_certificate(role=Role.OWNER)
    assert login_code(host) is RefusalCode.OUT_OF_SCOPE
    host.now += 2
    one = (serial_range(SERIAL, SERIAL),)
    host.technician_cert = technician_certificate(role=Role.OWNER, scope=one)
    host.login()


def test_a_session_may_what_technician_issuer_and_role_allow_together() -> None:
    host = make_host()
    host.issuer_cert = issuer_certificate(ops=Op.INFO | Op.UPDATE)
    host.technician_cert = technician_certificate(ops=Op.INFO | Op.LOGS)
    host.login()
    host.call(Identify())
    assert refused(host, Events(0)) is RefusalCode.NOT_ALLOWED
    assert refused(host, Reset()) is RefusalCode.NOT_ALLOWED


def test_no_role_may_everything() -> None:
    assert not ROLE_OPS[Role.DEPOT] & Op.OVERRIDE
    assert not ROLE_OPS[Role.TECHNICIAN] & (Op.ERASE | Op.ISSUE)
    assert not ROLE_OPS[Role.OWNER] & (Op.ROLLBACK | Op.RESTORE)
    assert DEPOT.subject != ISSUER.subject


def test_accepted_certificates_raise_the_time_floor_up_to_two_weeks_past_the_epoch() -> None:
    host = make_host()
    host.technician_cert = technician_certificate(not_before=BEGINS + 1000)
    host.login()
    assert host.call(Identify()).time_floor == BEGINS + 1000
    host.technician_cert = technician_certificate(not_before=BEGINS + 10 * FLOOR_LEAD_S)
    host.login()
    assert host.call(Identify()).time_floor == BEGINS + FLOOR_LEAD_S
    host.technician_cert = technician_certificate(not_before=BEGINS)
    host.login()
    assert host.call(Identify()).time_floor == BEGINS + FLOOR_LEAD_S
