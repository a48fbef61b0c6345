from __future__ import annotations

from typing import Any

import pytest
from authority_kit import ISSUER, MAKER, NEXT_ROOT, ROOT, T0, Maker, statement

from protocol.errors import MalformedObjectError
from protocol.objects import EpochStatement, LockCertificate, Ticket, TicketMode, nonce_hash
from protocol.sealed import Realm
from protocol.values import Op, Role
from svcport.authorisation.issuer.signing import (
    make_counter_ticket,
    make_lock_certificate,
    make_nonce_ticket,
)
from svcport.errors import Reason, RefusedError

REALM = Realm.PRODUCTION


def test_the_same_order_gives_the_same_bytes() -> None:
    assert Maker().issuer_certificate() == Maker().issuer_certificate()
    assert Maker().technician_certificate() == Maker().technician_certificate()
    assert Maker().ticket().build() == Maker().ticket().build()
    assert statement() == statement()


def test_a_lock_certificate_is_the_manufacturers() -> None:
    sealed = make_lock_certificate(
        MAKER, REALM, subject=NEXT_ROOT.subject, serial="S-1", x25519=bytes(32),
        certificate_serial=bytes(8),
    )  # fmt: skip
    sealed.verify(MAKER.subject)
    body = LockCertificate.read(sealed)
    assert (body.serial, body.subject, body.x25519) == ("S-1", NEXT_ROOT.subject, bytes(32))


def test_a_ticket_says_what_was_ordered() -> None:
    order = Maker().order(
        case_id="C-1", min_security_counter=3, max_session_s=60, constraints=b"\x01"
    )
    by_counter = Ticket.read(make_counter_ticket(ISSUER, REALM, order, 7))
    by_nonce = Ticket.read(make_nonce_ticket(ISSUER, REALM, order, bytes(16)))
    assert (by_counter.mode, by_counter.counter) == (TicketMode.COUNTER, 7)
    assert (by_nonce.mode, by_nonce.nonce_hash) == (TicketMode.NONCE, nonce_hash(bytes(16)))
    for ticket in (by_counter, by_nonce):
        for name in order.__slots__:
            assert getattr(ticket, name) == getattr(order, name)


def test_an_epoch_says_what_was_stated() -> None:
    body = EpochStatement.read(statement(3, 7, (bytes(8),)))
    assert (body.number, body.min_epoch, body.revoked) == (3, 7, (bytes(8),))


def usage(call: Any, *arguments: Any, **named: Any) -> str:
    with pytest.raises(RefusedError) as caught:
        call(*arguments, **named)
    assert caught.value.reason is Reason.USAGE
    return caught.value.message


def test_contradictions_are_not_signed() -> None:
    assert "before it begins" in usage(Maker(not_after=0).technician_certificate)
    assert "before it begins" in usage(Maker(issuer_not_after=0).issuer_certificate)
    assert "before it begins" in usage(Maker().ticket, not_after=T0 - 10**6)
    assert "class" in usage(Maker(ticket_class=3).issuer_certificate)
    owner = Maker(role=Role.OWNER)
    assert "never allows rollback" in usage(owner.technician_certificate)
    assert "own lock" in usage(owner.but(ops=Op.INFO).technician_certificate)
    assert "never allows override" in usage(
        Maker(role=Role.DEPOT, ops=Op.INFO | Op.OVERRIDE).technician_certificate
    )
    for op in (Op.UPDATE, Op.ROLLBACK, Op.RESTORE):
        assert "names an image" in usage(Maker().ticket, ops=op, image_digest=None)
    assert "16 bytes" in usage(Maker().ticket, nonce=bytes(15))
    for counter in (0, -1, 1 << 64):
        assert "counter" in usage(Maker().ticket, counter)


def test_values_that_do_not_fit_are_not_signed() -> None:
    with pytest.raises(MalformedObjectError):
        statement(number=1 << 32)
    with pytest.raises(MalformedObjectError):
        Maker().ticket(lock_serial="S" * 17)
    with pytest.raises(MalformedObjectError):
        Maker().ticket(holder=ROOT.subject.raw)
