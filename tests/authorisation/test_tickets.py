from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from authority_kit import (
    DAY,
    GOOD,
    ISSUER,
    OTHER,
    ROOT,
    SERIAL,
    T0,
    TECHNICIAN,
    Maker,
    request,
    said,
    statement,
)
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import MalformedObjectError, ProtocolError, SignatureError
from protocol.objects import Ticket, TicketMode, nonce_hash, ticket_id
from protocol.scope import ScopeItem, ScopeKind
from protocol.sealed import Realm
from protocol.values import Op, Role
from svcport.authorisation.issuer import signing as issuer
from svcport.authorisation.standing import Moment
from svcport.authorisation.tickets import (
    TICKET_FILE_LIMIT,
    Holder,
    TicketBox,
    TicketReader,
    judge_ticket,
    ticket_file,
    ticket_file_name,
)
from svcport.errors import Reason, RefusedError
from svcport.home import Home

HOLDER = Holder(TECHNICIAN.subject.key_id, Role.TECHNICIAN)
MOMENT = Moment(T0, None)
READER = TicketReader(Maker().trust)
CONTENT = Maker().ticket().build()


def sealed_ticket(**changes: Any) -> Any:
    body = dataclasses.replace(Maker().ticket().ticket, **changes)
    return body.seal(Realm.PRODUCTION, ISSUER)


def test_a_ticket_file_reads_back_and_rebuilds() -> None:
    held = READER.open(CONTENT, "t1.svc")
    assert held.build() == CONTENT
    assert held.ticket == Ticket.read(held.sealed)
    assert held.id == ticket_id(ISSUER.subject.key_id, held.ticket)
    assert held.issuer.subject == ISSUER.subject


def test_a_ticket_file_is_two_objects_behind_their_lengths() -> None:
    held = Maker().ticket()
    ticket, certificate = held.sealed.build(), held.issuer_sealed.build()
    lengths = [len(part).to_bytes(2, "big") for part in (ticket, certificate)]
    assert held.build() == lengths[0] + ticket + lengths[1] + certificate


def test_every_cut_or_lengthened_ticket_file_is_malformed() -> None:
    for cut in [CONTENT[:n] for n in range(len(CONTENT))] + [CONTENT + b"\0", b"\0\0" + CONTENT]:
        with pytest.raises(MalformedObjectError):
            READER.open(cut, "t")


def test_every_flipped_bit_of_a_ticket_file_is_refused() -> None:
    for bit in range(len(CONTENT) * 8):
        bad = bytearray(CONTENT)
        bad[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ProtocolError):
            READER.open(bytes(bad), "t")


@given(st.binary(max_size=400))
def test_any_bytes_are_no_ticket(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        READER.open(data, "t")


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (ticket_file(Maker().ticket().sealed, statement()), MalformedObjectError),
        (ticket_file(statement(), Maker().issuer_certificate()), SignatureError),
        (
            ticket_file(Maker().ticket().sealed, Maker().issuer_certificate(signer=ISSUER)),
            SignatureError,
        ),
        (
            ticket_file(
                issuer.make_counter_ticket(ROOT, Realm.PRODUCTION, Maker().order(), 1),
                Maker().issuer_certificate(),
            ),
            SignatureError,
        ),
        (
            ticket_file(Maker().technician_certificate(), Maker().issuer_certificate()),
            MalformedObjectError,
        ),
        (Maker(realm=Realm.TRAINING).ticket().build(), SignatureError),
        (
            ticket_file(Maker(realm=Realm.TRAINING).ticket().sealed, Maker().issuer_certificate()),
            SignatureError,
        ),
        (
            ticket_file(sealed_ticket(nonce_hash=bytes(32)), Maker().issuer_certificate()),
            MalformedObjectError,
        ),
        (
            ticket_file(sealed_ticket(mode=TicketMode.NONCE), Maker().issuer_certificate()),
            MalformedObjectError,
        ),
        (
            ticket_file(sealed_ticket(counter=None), Maker().issuer_certificate()),
            MalformedObjectError,
        ),
    ],
    ids=[
        "issuer-is-an-epoch",
        "ticket-is-an-epoch",
        "issuer-signed-itself",
        "root-signed-the-ticket",
        "ticket-is-a-certificate",
        "training-ticket",
        "training-ticket-real-issuer",
        "both-modes",
        "mode-without-nonce",
        "no-counter",
    ],
)
def test_what_this_vendor_did_not_issue_is_no_ticket(
    content: bytes, error: type[Exception]
) -> None:
    with pytest.raises(error):
        READER.open(content, "t")


def test_a_fitting_ticket_has_nothing_against_it() -> None:
    assert judge_ticket(Maker().ticket(), request(), HOLDER, MOMENT) == ()


NONCE = bytes(range(16))
MODEL = ScopeItem(ScopeKind.MODEL, b"other")
USED = Maker().ticket().id
DEPOT = {"holder": Holder(TECHNICIAN.subject.key_id, Role.DEPOT)}
RESTORE = {"op": Op.RESTORE}


@pytest.mark.parametrize(
    ("maker", "ticket", "asked", "given_moment", "holder", "reasons"),
    [
        ({}, {"ops": Op.RESTORE}, {}, None, HOLDER, [Reason.NO_PERMIT]),
        ({}, {"ops": Op(0x8000), "image_digest": None}, {}, None, HOLDER, [Reason.NO_PERMIT]),
        ({}, {"lock_serial": "SL2-000124"}, {}, None, HOLDER, [Reason.PERMIT_LOCK]),
        ({}, {"image_digest": OTHER}, {}, None, HOLDER, [Reason.PERMIT_IMAGE]),
        ({}, {"min_security_counter": 3}, {}, None, HOLDER, []),
        ({}, {"min_security_counter": 4}, {}, None, HOLDER, [Reason.PERMIT_IMAGE]),
        ({}, {"min_security_counter": 0}, {"security_counter": None}, None, HOLDER,
         [Reason.PERMIT_IMAGE]),
        ({}, {"holder": bytes(8)}, {}, None, HOLDER, [Reason.NO_PERMIT]),
        ({}, {"owner_approval": bytes(32)}, {}, None, HOLDER, [Reason.NO_PERMIT]),
        ({}, {"constraints": b"\x01"}, {}, None, HOLDER, [Reason.NO_PERMIT]),
        ({}, {"constraints": b""}, {}, None, HOLDER, [Reason.NO_PERMIT]),
        ({"ticket_class": 0}, {}, {}, None, HOLDER, [Reason.NO_PERMIT]),
        ({"ticket_class": 1}, {}, {}, None, HOLDER, [Reason.NO_PERMIT]),
        ({"ticket_class": 1}, {"nonce": NONCE}, {}, None, HOLDER, []),
        ({"ticket_class": 0}, {"nonce": NONCE}, {}, None, HOLDER, [Reason.NO_PERMIT]),
        ({"issuer_ops": Op.INFO}, {}, {}, None, HOLDER, [Reason.NO_PERMIT]),
        ({"issuer_scope": (MODEL,)}, {}, {}, None, HOLDER, [Reason.NO_PERMIT]),
        ({}, {"ops": Op.RESTORE}, RESTORE, None, DEPOT["holder"], [Reason.NO_PERMIT]),
        ({}, {"ops": Op.RESTORE, "nonce": NONCE}, RESTORE, None, DEPOT["holder"], []),
        ({}, {}, {}, None, DEPOT["holder"], []),
        ({}, {}, {}, statement(min_epoch=4), HOLDER, []),
        ({}, {"epoch": 3}, {}, statement(min_epoch=4), HOLDER, [Reason.REVOKED]),
        ({"issuer_epoch": 3}, {}, {}, statement(min_epoch=4), HOLDER, [Reason.REVOKED]),
        ({}, {}, {}, statement(revoked=(ISSUER.subject.key_id,)), HOLDER, [Reason.REVOKED]),
        ({}, {"not_after": T0}, {}, None, HOLDER, []),
        ({}, {"not_after": T0 - 1}, {}, None, HOLDER, [Reason.PERMIT_EXPIRED]),
        ({}, {"not_after": None}, {}, None, HOLDER, []),
        ({}, {"issued_at": T0 + 300}, {}, None, HOLDER, []),
        ({}, {"issued_at": T0 + 301}, {}, None, HOLDER, [Reason.PERMIT_EXPIRED]),
        ({"issuer_not_after": T0 - 1}, {}, {}, None, HOLDER, [Reason.PERMIT_EXPIRED]),
        ({"issuer_not_before": T0 + 301}, {}, {}, None, HOLDER, [Reason.PERMIT_EXPIRED]),
        ({}, {"not_after": T0 + 1}, {}, statement(issued_at=T0 + 2), HOLDER,
         [Reason.PERMIT_EXPIRED]),
        ({}, {}, {"unusable": frozenset([USED])}, None, HOLDER, [Reason.PERMIT_USED]),
        ({}, {"counter": 2}, {"unusable": frozenset([USED])}, None, HOLDER, []),
        ({}, {}, {"unusable": frozenset([USED]), "continue_ticket_id": USED}, None, HOLDER, []),
        ({}, {"nonce": NONCE}, {"lock_nonce": NONCE}, None, HOLDER, []),
        ({}, {"nonce": NONCE}, {"lock_nonce": bytes(16)}, None, HOLDER, [Reason.PERMIT_USED]),
        ({}, {"lock_serial": "X", "image_digest": OTHER, "not_after": T0 - 1}, {}, None, HOLDER,
         [Reason.PERMIT_LOCK, Reason.PERMIT_IMAGE, Reason.PERMIT_EXPIRED]),
    ],
)  # fmt: skip
def test_each_rule_refuses_by_its_own_name(
    maker: dict[str, Any],
    ticket: dict[str, Any],
    asked: dict[str, Any],
    given_moment: Any,
    holder: Holder,
    reasons: list[Reason],
) -> None:
    held = Maker().but(**maker).ticket(**ticket)
    moment = MOMENT if given_moment is None else Moment(T0, said(given_moment))
    against = judge_ticket(held, request(**asked), holder, moment)
    assert [refusal.reason for refusal in against] == reasons
    assert all(refusal.message and refusal.hint for refusal in against)


@pytest.mark.parametrize("op", [Op.UPDATE, Op.ROLLBACK, Op.RESTORE])
def test_a_ticket_for_firmware_that_names_no_image_is_refused(op: Op) -> None:
    issued = sealed_ticket(ops=op, image_digest=None)
    held = READER.open(ticket_file(issued, Maker().issuer_certificate()), "t")
    against = judge_ticket(held, request(op=op), HOLDER, MOMENT)
    assert [refusal.reason for refusal in against] == [Reason.PERMIT_IMAGE]


def test_an_override_ticket_needs_no_image() -> None:
    held = Maker().ticket(ops=Op.OVERRIDE, image_digest=None)
    asked = request(op=Op.OVERRIDE, image_digest=bytes(32), security_counter=None)
    assert judge_ticket(held, asked, HOLDER, MOMENT) == ()


def test_an_unknown_ticket_class_allows_nothing() -> None:
    held = dataclasses.replace(
        Maker().ticket(), issuer=dataclasses.replace(Maker().ticket().issuer, ticket_class=3)
    )
    assert [r.reason for r in judge_ticket(held, request(), HOLDER, MOMENT)] == [Reason.NO_PERMIT]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path)
    home.tickets.mkdir()
    return home


def test_an_absent_folder_of_tickets_is_an_empty_box(tmp_path: Path) -> None:
    assert TicketBox.load(Home(tmp_path), Maker().trust) == TicketBox(())


def test_files_that_are_no_tickets_are_passed_over_and_named(home: Home) -> None:
    (home.tickets / "a.svc").write_bytes(CONTENT)
    (home.tickets / "b.svc").write_bytes(b"SVC1 junk with " + SERIAL.encode())
    (home.tickets / "c.svc").write_bytes(bytes(TICKET_FILE_LIMIT + 1))
    (home.tickets / "d.svc").write_bytes(Maker(realm=Realm.TRAINING).ticket().build())
    (home.tickets / "e.svc").mkdir()
    (home.tickets / "notes.txt").write_text("mine")
    box = TicketBox.load(home, Maker().trust)
    assert [held.source for held in box.tickets] == ["a.svc"]
    assert [skip.path.name for skip in box.skipped] == ["b.svc", "c.svc", "d.svc", "e.svc"]
    assert all(skip.why for skip in box.skipped)


def test_only_the_tickets_that_name_a_lock_are_read_for_it(home: Home) -> None:
    for n, serial in enumerate([SERIAL, "SL2-000124", SERIAL]):
        content = Maker().ticket(n + 1, lock_serial=serial).build()
        (home.tickets / ticket_file_name(serial, content)).write_bytes(content)
    assert len(TicketBox.load(home, Maker().trust).tickets) == 3
    box = TicketBox.load(home, Maker().trust, lock_serial=SERIAL)
    assert [held.ticket.lock_serial for held in box.tickets] == [SERIAL, SERIAL]


def test_given_files_come_first_and_are_marked(home: Home, tmp_path: Path) -> None:
    (home.tickets / "a.svc").write_bytes(CONTENT)
    (tmp_path / "mine.svc").write_bytes(Maker().ticket(9, lock_serial="X").build())
    box = TicketBox.load(home, Maker().trust, lock_serial=SERIAL, given=[tmp_path / "mine.svc"])
    assert [(held.source, held.given) for held in box.tickets] == [
        ("mine.svc", True),
        ("a.svc", False),
    ]


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, Reason.USAGE), (b"junk", Reason.NO_PERMIT), (bytes(4000), Reason.USAGE)],
    ids=["missing", "junk", "too-long"],
)
def test_a_given_file_that_is_no_ticket_is_refused(
    home: Home, tmp_path: Path, content: bytes | None, reason: Reason
) -> None:
    path = tmp_path / "mine.svc"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RefusedError) as caught:
        TicketBox.load(home, Maker().trust, given=[path])
    assert caught.value.reason is reason
    assert "mine.svc" in caught.value.message


def test_ticket_file_names_begin_with_the_serial_and_stay_in_their_folder() -> None:
    name = ticket_file_name("../a b", b"content")
    assert name.startswith("___a_b-")
    assert name.endswith(".svc")
    assert ticket_file_name("S", b"1") != ticket_file_name("S", b"2")


def test_the_kit_issues_what_it_says() -> None:
    ticket = Maker().ticket(nonce=NONCE, min_security_counter=2).ticket
    assert (ticket.nonce_hash, ticket.counter) == (nonce_hash(NONCE), None)
    assert (ticket.image_digest, ticket.not_after) == (GOOD, T0 + DAY)
