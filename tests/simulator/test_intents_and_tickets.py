from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
from simulator.actkit import (
    FIXED,
    GOOD,
    NEXT,
    A,
    begin_refused,
    code_of,
    make_host,
    receipts,
)
from simulator.hostdriver import (
    NO_PAPER,
    Host,
    RefusedByLock,
    Silence,
)
from simulator.trainer import (
    DEPOT,
    LOCK,
    SERIAL,
    STRANGER,
    TECHNICIAN,
    digest,
    image,
    issuer_certificate,
    paper,
    technician_certificate,
)

from protocol.objects import (
    EntryKind,
    RefusalStatement,
    TicketMode,
    nonce_hash,
)
from protocol.queries import Battery, Identify, SelfTest
from protocol.refusal import RefusalCode, SelfTestPart
from protocol.scope import serial_range
from protocol.sealed import Sealed
from protocol.statements import LockNonce
from protocol.values import (
    Head,
    Op,
    Role,
)
from svcport.simulator.flash import SLOT_SIZE
from svcport.simulator.world import World


@pytest.fixture
def host() -> Host:
    made = make_host()
    made.login()
    return made


# Refusals of the INTENT


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": EntryKind.NOTE},
        {"lock_serial": "TR-000002"},
        {"session": b"\1" * 32},
        {"lock_head": Head(1, b"\1" * 32)},
        {"lock_head": None},
        {"technician_hash": b"\1" * 32},
        {"op": None},
        {"op": Op.ROLLBACK},
        {"op": Op.UPDATE | Op.RESTORE},
        {"op": Op.OVERRIDE},
        {"image_digest": None},
    ],
)
def test_an_intent_that_disagrees_with_the_session_is_invalid_and_answered_signed(
    host: Host, changes: dict[str, object]
) -> None:
    intent = host.intent(Op.UPDATE, digest(FIXED), **changes)
    with pytest.raises(RefusedByLock) as caught:
        host.begin(FIXED, intent=intent)
    assert code_of(caught) is RefusalCode.INTENT_INVALID
    if changes != {"kind": EntryKind.NOTE}:
        sealed = Sealed.parse(caught.value.refusal.statement)
        sealed.verify(LOCK.subject)
        statement = RefusalStatement.read(sealed)
        assert statement.intent_hash == hashlib.sha256(intent).digest()
        assert statement.session == host.keys.handshake_hash
        assert statement.code == RefusalCode.INTENT_INVALID


def test_an_intent_of_another_signer_or_none_at_all_gets_no_statement(host: Host) -> None:
    for technician in (STRANGER, TECHNICIAN):
        host.technician = technician
        intent = host.intent(Op.UPDATE, digest(FIXED))
        intent = intent if technician is STRANGER else intent[:-1]
        with pytest.raises(RefusedByLock) as caught:
            host.begin(FIXED, intent=intent)
        assert code_of(caught) is RefusalCode.INTENT_INVALID
        assert caught.value.refusal.statement == b""
    assert host.board.core.state.refusals == 0


def test_refusals_are_counted_into_the_next_receipt(host: Host) -> None:
    for _ in range(3):
        begin_refused(host, FIXED, base_digest=b"\1" * 32)
    host.install(FIXED)
    assert [r.refusals for r in receipts(host)] == [3]
    host.login()
    host.install(image("2.6.0", counter=4))
    assert [r.refusals for r in receipts(host)] == [3, 0]


def test_an_operation_that_the_certificate_lacks_is_not_allowed(host: Host) -> None:
    host.technician_cert = technician_certificate(ops=Op.INFO | Op.ROLLBACK)
    host.login()
    assert begin_refused(host) is RefusalCode.NOT_ALLOWED


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"slot": A}, RefusalCode.WRONG_STATE),
        ({"image_size": 0}, RefusalCode.OUT_OF_RANGE),
        ({"image_size": SLOT_SIZE + 1}, RefusalCode.OUT_OF_RANGE),
        ({"sectors": [6]}, RefusalCode.OUT_OF_RANGE),
        ({"base_digest": b"\1" * 32}, RefusalCode.BASE_UNKNOWN),
        ({"ticket": b"x", "ticket_issuer": b"y"}, RefusalCode.TICKET_INVALID),
    ],
)
def test_a_begin_that_the_lock_cannot_do_is_refused_by_name(
    host: Host, changes: dict[str, object], code: RefusalCode
) -> None:
    assert begin_refused(host, **changes) is code


def test_a_flat_battery_takes_no_firmware() -> None:
    host = make_host(world=World(rest_mv=4000, load_mv=3000))
    host.login()
    assert begin_refused(host) is RefusalCode.BATTERY_LOW
    assert host.call(SelfTest()).failed == SelfTestPart.BATTERY
    assert host.call(Battery()).load_mv == 3000


# Tickets


def test_a_ticketed_operation_without_a_ticket_is_refused(host: Host) -> None:
    assert begin_refused(host, FIXED, Op.RESTORE) is RefusalCode.NO_TICKET
    with pytest.raises(RefusedByLock) as caught:
        host.rollback(GOOD, NO_PAPER)
    assert code_of(caught) is RefusalCode.NO_TICKET


OTHER = b"\7" * 32


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"lock_serial": "TR-000002"}, RefusalCode.TICKET_LOCK),
        ({"holder": STRANGER.subject.key_id}, RefusalCode.TICKET_HOLDER),
        ({"image_digest": OTHER}, RefusalCode.TICKET_IMAGE),
        ({"image_digest": None}, RefusalCode.TICKET_IMAGE),
        ({"not_after": 1_787_000_000}, RefusalCode.TICKET_EXPIRED),
        ({"op": Op.ROLLBACK}, RefusalCode.NOT_ALLOWED),
        ({"counter": 1025}, RefusalCode.TICKET_INVALID),
        ({"constraints": b"\1"}, RefusalCode.TICKET_INVALID),
        ({"owner_approval": OTHER}, RefusalCode.TICKET_INVALID),
        ({"mode": TicketMode.NONCE, "nonce_hash": OTHER}, RefusalCode.TICKET_USED),
        ({"by": STRANGER}, RefusalCode.TICKET_INVALID),
    ],
)
def test_a_ticket_for_anything_else_is_refused_by_name(
    host: Host, changes: dict[str, object], code: RefusalCode
) -> None:
    good: dict[str, object] = {"op": Op.RESTORE, "image_digest": digest(FIXED)}
    order = paper(**(good | changes))  # type: ignore[arg-type]
    assert begin_refused(host, FIXED, Op.RESTORE, order) is code


def test_the_intent_must_name_the_ticket_that_comes_with_it(host: Host) -> None:
    order = paper(Op.RESTORE, digest(FIXED))
    wrong = replace(order, id=OTHER)
    assert begin_refused(host, FIXED, Op.RESTORE, wrong) is RefusalCode.INTENT_INVALID


@pytest.mark.parametrize(
    "issuer", [issuer_certificate(STRANGER), issuer_certificate(ticket_class=1), b""]
)
def test_an_issuer_that_may_not_give_counter_tickets_is_refused(host: Host, issuer: bytes) -> None:
    order = replace(paper(Op.RESTORE, digest(FIXED)), issuer=issuer)
    assert begin_refused(host, FIXED, Op.RESTORE, order) is RefusalCode.TICKET_INVALID


@pytest.mark.parametrize(("ticket_class", "good"), [(0, False), (1, True), (2, True)])
def test_any_issuer_of_nonce_tickets_will_do_and_the_counter_has_one(
    host: Host, ticket_class: int, good: bool
) -> None:
    issuer = issuer_certificate(subject=DEPOT.subject, ticket_class=ticket_class)
    nonce = nonce_hash(host.call(LockNonce()).nonce)
    counted = replace(paper(Op.RESTORE, digest(FIXED), by=DEPOT), issuer=issuer)
    assert begin_refused(host, FIXED, Op.RESTORE, counted) is RefusalCode.TICKET_INVALID
    order = paper(
        Op.RESTORE, digest(FIXED), None, by=DEPOT, mode=TicketMode.NONCE, nonce_hash=nonce
    )
    order = replace(order, issuer=issuer)
    if good:
        host.begin(FIXED, Op.RESTORE, order)
    else:
        assert begin_refused(host, FIXED, Op.RESTORE, order) is RefusalCode.TICKET_INVALID


def test_counters_work_out_of_order_within_64_and_once_each(host: Host) -> None:
    def code(counter: int) -> RefusalCode | None:
        try:
            host.begin(FIXED, Op.RESTORE, paper(Op.RESTORE, digest(FIXED), counter))
        except RefusedByLock as error:
            return error.code
        return None

    host.begin(NEXT)
    assert code(1024) is None
    host.begin(NEXT)
    assert code(961) is None
    host.begin(NEXT)
    for counter, wanted in (
        (961, RefusalCode.TICKET_USED),
        (960, RefusalCode.TICKET_USED),
        (1024, RefusalCode.TICKET_USED),
        (2049, RefusalCode.TICKET_INVALID),
        (2048, None),
    ):
        assert code(counter) is wanted
        if wanted is None:
            host.begin(NEXT)
    assert code(1985) is None
    assert code(1984) is RefusalCode.TICKET_USED


def test_a_nonce_ticket_is_good_once_and_the_nonce_changes(host: Host) -> None:
    nonce = host.board.core.state.nonce
    order = paper(
        Op.RESTORE, digest(FIXED), None, mode=TicketMode.NONCE, nonce_hash=nonce_hash(nonce)
    )
    host.begin(FIXED, Op.RESTORE, order)
    assert host.board.core.state.nonce != nonce
    host.begin(FIXED, Op.RESTORE, order)  # continues its own act
    host.begin(NEXT)
    assert begin_refused(host, FIXED, Op.RESTORE, order) is RefusalCode.TICKET_USED


def test_a_ticket_may_demand_a_counter_and_a_short_session(host: Host) -> None:
    order = paper(Op.RESTORE, digest(FIXED), min_security_counter=4, max_session_s=60)
    with pytest.raises(RefusedByLock) as caught:
        host.send_image(FIXED, Op.RESTORE, order)
    assert code_of(caught) is RefusalCode.ANTI_ROLLBACK
    host.now += 61
    with pytest.raises(Silence):
        host.call(Battery())


def test_an_owner_updates_on_a_ticket_only() -> None:
    host = make_host()
    host.technician_cert = technician_certificate(
        role=Role.OWNER, scope=(serial_range(SERIAL, SERIAL),)
    )
    host.login()
    assert begin_refused(host) is RefusalCode.NO_TICKET
    host.send_image(FIXED, Op.UPDATE, paper(Op.UPDATE, digest(FIXED)))


@pytest.mark.parametrize("op", [Op.ROLLBACK, Op.RESTORE, Op.ERASE])
def test_an_owner_may_nothing_but_update_whatever_papers_say(op: Op) -> None:
    host = make_host()
    mine = (serial_range(SERIAL, SERIAL),)
    host.issuer_cert = issuer_certificate(ops=Op(0xFF))
    host.technician_cert = technician_certificate(role=Role.OWNER, scope=mine, ops=Op(0xFF))
    host.login()
    order = paper(op, digest(GOOD))
    refused = RefusalCode.INTENT_INVALID if op is Op.ERASE else RefusalCode.NOT_ALLOWED
    with pytest.raises(RefusedByLock) as caught:
        host.rollback(GOOD, order) if op is Op.ROLLBACK else host.begin(GOOD, op, order)
    assert code_of(caught) is refused


def test_a_depot_restores_with_nonce_tickets_and_rolls_back_with_either() -> None:
    host = make_host()
    host.technician_cert = technician_certificate(role=Role.DEPOT)
    host.login()
    counted = paper(Op.RESTORE, digest(FIXED))
    assert begin_refused(host, FIXED, Op.RESTORE, counted) is RefusalCode.TICKET_INVALID
    nonce = host.call(LockNonce()).nonce
    bound = paper(
        Op.RESTORE, digest(FIXED), None, mode=TicketMode.NONCE, nonce_hash=nonce_hash(nonce)
    )
    host.begin(FIXED, Op.RESTORE, bound)
    assert host.call(LockNonce()).nonce != nonce
    host = make_host()
    host.technician_cert = technician_certificate(role=Role.DEPOT)
    host.login()
    host.rollback(GOOD, paper(Op.ROLLBACK, digest(GOOD)))


def test_a_used_ticket_and_its_issuer_raise_the_time_floor(host: Host) -> None:
    floor = host.call(Identify()).time_floor
    host.begin(FIXED, Op.RESTORE, paper(Op.RESTORE, digest(FIXED), issued_at=floor + 50))
    assert host.call(Identify()).time_floor == floor + 50
    order = paper(Op.RESTORE, digest(GOOD), 2)
    order = replace(order, issuer=issuer_certificate(not_before=floor + 70))
    host.begin(GOOD, Op.RESTORE, order)
    assert host.call(Identify()).time_floor == floor + 70
