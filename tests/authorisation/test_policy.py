from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import Any

import pytest
from authority_kit import (
    DEPOT_OPS,
    GOOD,
    NOW,
    OTHER,
    SERIAL,
    T0,
    TECHNICIAN,
    Maker,
    request,
    said,
    statement,
)

from protocol.scope import EVERYTHING, ScopeItem, ScopeKind, serial_range
from protocol.values import ZERO_DIGEST, Op, Role
from svcport.authorisation.issuer import signing as issuer
from svcport.authorisation.policy import Permit, authorise, judge, needs_ticket
from svcport.authorisation.request import PermitRequest, op_names
from svcport.authorisation.scope import names_one_lock, scope_refusals
from svcport.authorisation.tickets import HeldTicket
from svcport.errors import Reason, RefusedError
from svcport.home import Home

OWNER = {
    "role": Role.OWNER,
    "ops": Op.INFO | Op.LOGS | Op.UPDATE,
    "scope": (serial_range(SERIAL, SERIAL),),
}
DEPOT = {"role": Role.DEPOT, "ops": DEPOT_OPS}


@dataclasses.dataclass
class Desk:
    """Asks the policy for one technician's permits."""

    home: Home
    maker: Maker = dataclasses.field(default_factory=Maker)

    def permit(self, asked: PermitRequest, *tickets: HeldTicket, epoch: Any = None) -> Permit:
        credential = self.maker.credential(self.home)
        statement = None if epoch is None else said(epoch)
        judged = judge(credential, asked, tickets, statement, NOW)
        try:
            permit = authorise(credential, asked, tickets, statement, NOW)
        except RefusedError as error:
            assert error.refusals == judged  # noqa: PT017
            raise
        assert judged == ()
        return permit

    def refused(
        self, asked: PermitRequest, *tickets: HeldTicket, epoch: Any = None
    ) -> RefusedError:
        with pytest.raises(RefusedError) as caught:
            self.permit(asked, *tickets, epoch=epoch)
        return caught.value


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(Home(tmp_path))


UPDATE = request(op=Op.UPDATE)
SL_9 = (ScopeItem(ScopeKind.MODEL, b"SL-9"),)


def test_a_permit_carries_the_ticket_and_who_signed_it(desk: Desk) -> None:
    held = Maker().ticket(7)
    permit = desk.permit(request(), held)
    assert (permit.op, permit.lock_serial, permit.image_digest) == (Op.ROLLBACK, SERIAL, GOOD)
    assert (permit.ticket, permit.ticket_issuer) == (
        held.sealed.build(),
        held.issuer_sealed.build(),
    )
    assert (permit.ticket_id, permit.holder) == (held.id, "Ada Field")


def test_an_update_needs_no_ticket_and_takes_none(desk: Desk) -> None:
    permit = desk.permit(UPDATE, Maker().ticket())
    assert (permit.ticket, permit.ticket_issuer, permit.ticket_id) == (None, None, ZERO_DIGEST)


def test_only_authorise_makes_a_permit(desk: Desk) -> None:
    with pytest.raises(TypeError, match="authorise"):
        Permit(Op.UPDATE, SERIAL, GOOD, None, None, ZERO_DIGEST, "me", object())
    with pytest.raises(TypeError):
        Permit(Op.UPDATE, SERIAL, GOOD, None, None, ZERO_DIGEST, "me")  # type: ignore[call-arg]
    permit = desk.permit(UPDATE)
    with pytest.raises((TypeError, ValueError)):
        dataclasses.replace(permit, op=Op.RESTORE)  # type: ignore[call-arg]
    with pytest.raises((TypeError, ValueError)):
        dataclasses.replace(permit, op=Op.RESTORE, proof=None)
    with pytest.raises(dataclasses.FrozenInstanceError):
        permit.op = Op.RESTORE  # type: ignore[misc]
    assert copy.copy(permit) == permit


@pytest.mark.parametrize("op", [Op(0), Op.UPDATE | Op.ROLLBACK, Op(0x8000)])
def test_a_request_names_one_operation(desk: Desk, op: Op) -> None:
    with pytest.raises(RuntimeError, match="one operation"):
        judge(desk.maker.credential(desk.home), request(op=op), (), None, NOW)


ALL = (Op.UPDATE, Op.ROLLBACK, Op.RESTORE, Op.OVERRIDE, Op.ERASE)


@pytest.mark.parametrize(
    ("person", "free", "ticketed"),
    [
        ({}, {Op.UPDATE}, {Op.ROLLBACK, Op.RESTORE, Op.OVERRIDE}),
        (DEPOT, {Op.UPDATE}, {Op.ROLLBACK, Op.RESTORE}),
        (OWNER, set(), {Op.UPDATE}),
    ],
    ids=["technician", "depot", "owner"],
)
@pytest.mark.parametrize("op", ALL)
def test_the_table_of_roles(
    desk: Desk, person: dict[str, Any], free: set[Op], ticketed: set[Op], op: Op
) -> None:
    desk.maker = Maker().but(**person)
    held = Maker().ticket(ops=op, nonce=bytes(16))
    asked = request(op=op)
    if op in free:
        desk.permit(asked)
    elif op in ticketed:
        assert desk.refused(asked).reason is Reason.NO_PERMIT
        assert desk.permit(asked, held).ticket_id == held.id
    else:
        assert desk.refused(asked, held).reason is Reason.NO_PERMIT


def test_a_depot_restores_with_a_nonce_ticket_only(desk: Desk) -> None:
    desk.maker = Maker().but(**DEPOT)
    error = desk.refused(request(op=Op.RESTORE), Maker().ticket(ops=Op.RESTORE))
    assert "nonce" in error.message


@pytest.mark.parametrize(
    ("scope", "one"),
    [
        (EVERYTHING, False),
        ((serial_range(SERIAL, SERIAL),), True),
        ((serial_range(SERIAL, SERIAL + "0"),), False),
        ((serial_range(SERIAL, SERIAL), serial_range("A", "Z")), False),
    ],
)
def test_an_owner_is_the_owner_of_one_lock(scope: tuple[ScopeItem, ...], one: bool) -> None:
    assert names_one_lock(scope) is one


def test_an_owner_of_more_than_one_lock_gets_nothing(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(issuer, "names_one_lock", lambda _: True)
    desk.maker = Maker(role=Role.OWNER, ops=Op.INFO | Op.UPDATE)
    error = desk.refused(UPDATE, Maker().ticket(ops=Op.UPDATE))
    assert [r.reason for r in error.refusals] == [Reason.NO_PERMIT]
    assert "own lock" in error.message


def test_which_acts_need_a_ticket() -> None:
    assert not needs_ticket(Role.TECHNICIAN, Op.UPDATE)
    assert needs_ticket(Role.OWNER, Op.UPDATE)
    assert not needs_ticket(Role.OWNER, Op.LOGS)
    assert all(needs_ticket(role, Op.RESTORE) for role in Role)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ops": Op.INFO}, "your certificate does not allow update"),
        ({"issuer_ops": Op.INFO}, "your issuer's certificate does not allow update"),
        ({"scope": SL_9}, "your certificate covers model SL-9, this is model SL-2"),
        ({"issuer_scope": SL_9}, "your issuer's certificate covers model SL-9"),
    ],
)
def test_a_right_that_is_missing_is_no_permit(
    desk: Desk, changes: dict[str, Any], words: str
) -> None:
    desk.maker = Maker().but(**changes)
    error = desk.refused(UPDATE)
    assert [r.reason for r in error.refusals] == [Reason.NO_PERMIT]
    assert words in error.message
    assert error.hint


def test_a_credential_that_does_not_stand_gets_nothing(desk: Desk) -> None:
    desk.maker = Maker(not_after=T0 - 1)
    assert desk.refused(UPDATE).reason is Reason.CREDENTIAL_EXPIRED
    desk.maker = Maker()
    revoked = statement(revoked=(TECHNICIAN.subject.key_id,))
    assert desk.refused(UPDATE, epoch=revoked).reason is Reason.REVOKED


def test_all_that_is_wrong_is_said_and_the_first_in_order_leads(desk: Desk) -> None:
    desk.maker = Maker(not_after=T0 - 1, scope=(ScopeItem(ScopeKind.BATCH, b"x"),), epoch=3)
    error = desk.refused(request(), epoch=statement())
    assert [r.reason for r in error.refusals] == [
        Reason.REVOKED,
        Reason.CREDENTIAL_EXPIRED,
        Reason.NO_PERMIT,
        Reason.NO_PERMIT,
    ]


def test_no_ticket_at_all_is_no_permit_and_says_who_issues_one(desk: Desk) -> None:
    error = desk.refused(request())
    assert error.reason is Reason.NO_PERMIT
    assert f"rollback of lock {SERIAL} with image {GOOD.hex()}" in error.message
    assert TECHNICIAN.subject.key_id.hex() in error.hint
    assert "--ticket" in error.hint


@pytest.mark.parametrize(
    ("ticket", "asked", "reason"),
    [
        ({"lock_serial": "SL2-000124"}, {}, Reason.PERMIT_LOCK),
        ({"image_digest": OTHER}, {}, Reason.PERMIT_IMAGE),
        ({"lock_serial": "SL2-000124", "image_digest": OTHER}, {}, Reason.PERMIT_LOCK),
        ({"not_after": T0 - 1}, {}, Reason.PERMIT_EXPIRED),
        ({"ops": Op.RESTORE}, {}, Reason.NO_PERMIT),
        ({"holder": bytes(8)}, {}, Reason.NO_PERMIT),
        ({}, {"unusable": frozenset([Maker().ticket().id])}, Reason.PERMIT_USED),
    ],
)
def test_a_given_ticket_that_does_not_fit_says_why(
    desk: Desk, ticket: dict[str, Any], asked: dict[str, Any], reason: Reason
) -> None:
    held = Maker().ticket(given=True, **ticket)
    fits = Maker().ticket(2)
    error = desk.refused(request(**asked), fits, held)
    assert error.reason is reason
    assert held.source in error.message


@pytest.mark.parametrize(
    ("ticket", "asked", "reason"),
    [
        ({"lock_serial": "SL2-000124"}, {}, Reason.NO_PERMIT),
        ({"image_digest": OTHER}, {}, Reason.NO_PERMIT),
        ({"ops": Op.RESTORE}, {}, Reason.NO_PERMIT),
        ({"holder": bytes(8)}, {}, Reason.NO_PERMIT),
        ({"not_after": T0 - 1}, {}, Reason.PERMIT_EXPIRED),
        ({}, {"unusable": frozenset([Maker().ticket().id])}, Reason.PERMIT_USED),
    ],
)
def test_of_the_tickets_in_the_home_only_those_for_this_act_count(
    desk: Desk, ticket: dict[str, Any], asked: dict[str, Any], reason: Reason
) -> None:
    held = Maker().ticket(**ticket)
    assert desk.refused(request(**asked), held).reason is reason
    assert desk.permit(request(**asked), held, Maker().ticket(2)).ticket_id == Maker().ticket(2).id


def test_the_lowest_counter_that_fits_is_taken(desk: Desk) -> None:
    held = [Maker().ticket(n) for n in (9, 3, 12, 5)]
    held.append(Maker().ticket(2, lock_serial="SL2-000124"))
    held.append(Maker().ticket(1, nonce=bytes(16)))
    unusable = frozenset([held[1].id])
    assert desk.permit(request(unusable=unusable), *held).ticket_id == held[3].id
    assert desk.permit(request(), *held).ticket_id == held[1].id


def test_an_open_act_goes_on_under_its_own_ticket(desk: Desk) -> None:
    low, used, given = Maker().ticket(1), Maker().ticket(5), Maker().ticket(9, given=True)
    asked = request(continue_ticket_id=used.id, unusable=frozenset([used.id]))
    assert desk.permit(asked, low, used, given).ticket_id == used.id


def test_an_open_acts_ticket_is_judged_afresh(desk: Desk) -> None:
    ended = Maker().ticket(5, not_after=T0 - 1)
    asked = request(continue_ticket_id=ended.id, unusable=frozenset([ended.id]))
    assert desk.refused(asked, ended).reason is Reason.PERMIT_EXPIRED
    fresh = Maker().ticket(6)
    assert desk.permit(asked, ended, fresh).ticket_id == fresh.id


def test_an_open_acts_ticket_that_is_not_held_is_replaced(desk: Desk) -> None:
    fresh = Maker().ticket(6)
    asked = request(continue_ticket_id=bytes(32))
    assert desk.permit(asked, fresh).ticket_id == fresh.id


def item(kind: ScopeKind, value: bytes) -> ScopeItem:
    return ScopeItem(kind, value)


HERE = request(case_id="C-1", site="north")


@pytest.mark.parametrize(
    ("scope", "covered"),
    [
        (None, True),
        ((), False),
        (EVERYTHING, True),
        ((item(ScopeKind.MODEL, b"SL-2"),), True),
        ((item(ScopeKind.MODEL, b"SL-3"),), False),
        ((item(ScopeKind.MODEL, b"SL-3"), item(ScopeKind.MODEL, b"SL-2")), True),
        ((item(ScopeKind.MODEL, b"SL-2"), item(ScopeKind.BATCH, b"2026-07")), True),
        ((item(ScopeKind.MODEL, b"SL-2"), item(ScopeKind.BATCH, b"2026-08")), False),
        ((*EVERYTHING, item(ScopeKind.BATCH, b"2026-08")), False),
        ((serial_range(SERIAL, SERIAL),), True),
        ((serial_range("SL2-000100", "SL2-000199"),), True),
        ((serial_range("SL2-000124", "SL2-000199"),), False),
        ((serial_range("SL2-000100", "SL2-000122"),), False),
        ((serial_range("SL2", "SL2-0001"),), False),
        ((item(ScopeKind.CASE, b"C-1"), item(ScopeKind.SITE, b"north")), True),
        ((item(ScopeKind.CASE, b"C-2"),), False),
        ((item(ScopeKind.SITE, b"south"),), False),
    ],
)
def test_a_scope_covers_what_it_names(scope: Any, covered: bool) -> None:
    found = scope_refusals("it", scope, HERE)
    assert (found == ()) is covered
    assert all(refusal.reason is Reason.NO_PERMIT for refusal in found)


@pytest.mark.parametrize("kind", [ScopeKind.CASE, ScopeKind.SITE])
def test_a_case_or_site_that_nobody_stated_is_not_covered(kind: ScopeKind) -> None:
    found = scope_refusals("it", (item(kind, b"x"),), request())
    assert len(found) == 1
    assert "no stated" in found[0].message


def test_a_refused_range_shows_its_ends() -> None:
    (found,) = scope_refusals("it", (serial_range("A1", "A9"),), request())
    assert found.message == f"it covers serial A1 to A9, this is serial {SERIAL}"


def test_operations_are_named_in_words() -> None:
    assert op_names(Op.UPDATE | Op.RESTORE | Op(0x4000)) == "update, restore"
    assert op_names(Op(0)) == "nothing"
