"""An ex-technician, or who stole the laptop: a genuine key, certificate and tickets, too late."""

from __future__ import annotations

import base64
import stat
import struct
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from clirunner import svcport
from cryptography.hazmat.primitives.asymmetric import ed25519
from fieldkit import make_field
from security.kit import another_host, carry_epoch, durable, login_refused, sealed_epoch
from simulator.actkit import BAD, FIXED, GOOD, NEXT, begin_refused, make_host
from simulator.hostdriver import Host, RefusedByLock, refused
from simulator.trainer import (
    BEGINS,
    DEPOT,
    ENDS,
    ISSUER,
    NEXT_ROOT,
    REALM,
    ROOT,
    STRANGER,
    TECHNICIAN,
    digest,
    issuer_certificate,
    paper,
    technician_certificate,
)

from protocol.objects import EpochStatement, TicketMode, TimeStatement, nonce_hash
from protocol.queries import Identify
from protocol.refusal import RefusalCode
from protocol.sealed import Realm
from protocol.statements import LockNonce, PutEpoch, PutTime
from protocol.values import Op, Role
from svcport.authorisation.keys.keyfile import key_file_bytes, write_key_file
from svcport.errors import Reason, SvcportError
from svcport.simulator.credentials import FLOOR_LEAD_S

DAY = 86_400


def sealed_time(now: int, nonce: bytes) -> bytes:
    return TimeStatement(unix_time=now, nonce_hash=nonce_hash(nonce)).seal(REALM, ISSUER).build()


def tell_time(host: Host, now: int) -> int:
    nonce = host.call(LockNonce()).nonce
    return host.call(PutTime(sealed_time(now, nonce), issuer_certificate())).time_floor


# Certificates that ended


def test_an_expired_certificate_is_refused_once_the_lock_was_told_the_time() -> None:
    host = make_host()
    expired = technician_certificate(not_after=BEGINS + 2 * DAY)
    honest = another_host(host)
    honest.login()
    assert tell_time(honest, BEGINS + 3 * DAY) == BEGINS + 3 * DAY
    host.now, host.technician_cert = honest.now, expired
    assert login_refused(host) is RefusalCode.CREDENTIAL_EXPIRED
    assert refused(host, Identify()) is RefusalCode.NOT_AUTHENTICATED


def test_an_expired_certificate_is_refused_after_anybody_with_a_newer_one_was_there() -> None:
    host = make_host()
    honest = another_host(host)
    honest.technician_cert = technician_certificate(not_before=BEGINS + 5 * DAY)
    honest.login()
    host.now = honest.now
    host.technician_cert = technician_certificate(not_after=BEGINS + 4 * DAY)
    assert login_refused(host) is RefusalCode.CREDENTIAL_EXPIRED


def test_nobody_pushes_a_locks_time_further_than_the_root_allows() -> None:
    """A hijacked issuer could otherwise end every certificate there is."""
    host = make_host()
    host.login()
    floor = tell_time(host, ENDS + 1000 * DAY)
    assert floor <= host.board.core.state.epoch.issued_at + FLOOR_LEAD_S
    host.technician_cert = technician_certificate(not_before=ENDS + 1000 * DAY, not_after=1 << 62)
    host.login()
    assert host.board.core.state.time_floor == floor


def test_a_time_that_was_overheard_is_good_once() -> None:
    host = make_host()
    host.login()
    nonce = host.call(LockNonce()).nonce
    statement = sealed_time(BEGINS + DAY, nonce)
    host.call(PutTime(statement, issuer_certificate()))
    before = durable(host)
    assert refused(host, PutTime(statement, issuer_certificate())) in {
        RefusalCode.STATEMENT_OLD,
        RefusalCode.STATEMENT_INVALID,
    }
    assert durable(host) == before


# Revoked by an EPOCH statement


def test_an_ex_technician_is_out_when_anybody_has_carried_the_epoch() -> None:
    host = make_host()
    host.login()
    carry_epoch(host.board, sealed_epoch(1, 2), host.now)
    host.now += 1
    assert login_refused(host) is RefusalCode.REVOKED


def test_a_stolen_key_is_out_by_name_while_his_colleagues_work_on() -> None:
    host = make_host()
    statement = sealed_epoch(1, 0, revoked=(TECHNICIAN.subject.key_id,))
    colleague = another_host(host)
    colleague.technician = DEPOT
    colleague.technician_cert = technician_certificate(subject=DEPOT.subject)
    colleague.login()
    assert not colleague.call(PutEpoch(statement)).dropped
    host.now = colleague.now + 1
    assert login_refused(host) is RefusalCode.REVOKED
    colleague.now = host.now + 61
    colleague.login()


def test_a_session_that_brings_its_own_end_is_anonymous_at_once() -> None:
    host = make_host()
    host.login()
    assert host.call(PutEpoch(sealed_epoch(1, 2))).dropped
    before = durable(host)
    assert refused(host, Identify()) is RefusalCode.NOT_AUTHENTICATED
    with pytest.raises(RefusedByLock) as caught:
        host.begin(FIXED, sectors=[0])
    assert caught.value.code is RefusalCode.NOT_AUTHENTICATED
    assert durable(host) == before


@pytest.mark.parametrize(
    "statement",
    [
        sealed_epoch(1, 1),
        sealed_epoch(2, 1),
        sealed_epoch(3, 1),
        sealed_epoch(4, 2, root=ISSUER),
        sealed_epoch(4, 2, root=STRANGER),
        sealed_epoch(4, 2)[:-1],
        issuer_certificate(),
        b"",
    ],
    ids=["older", "same", "falling", "issuer's", "stranger's", "cut", "wrong type", "nothing"],
)
def test_a_revocation_is_not_undone(statement: bytes) -> None:
    host = make_host()
    carry_epoch(host.board, sealed_epoch(2, 2), host.now)
    host.now += 1
    host.issuer_cert = issuer_certificate(epoch=2)
    host.technician_cert = technician_certificate(epoch=2)
    host.login()
    before = durable(host)
    assert refused(host, PutEpoch(statement)) in {
        RefusalCode.STATEMENT_OLD,
        RefusalCode.STATEMENT_INVALID,
    }
    assert durable(host) == before


def test_the_next_root_can_revoke_too() -> None:
    host = make_host()
    carry_epoch(host.board, sealed_epoch(1, 2, root=NEXT_ROOT), host.now)
    host.now += 1
    assert login_refused(host) is RefusalCode.REVOKED


def test_a_statement_of_the_other_realm_means_nothing() -> None:
    host = make_host()
    host.login()
    body = EpochStatement(min_epoch=2, issued_at=BEGINS, revoked=(), number=1)
    real = body.seal(Realm.PRODUCTION, ROOT).build()
    assert refused(host, PutEpoch(real)) is RefusalCode.STATEMENT_INVALID


# Unused tickets


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"holder": STRANGER.subject.key_id}, RefusalCode.TICKET_HOLDER),
        ({"lock_serial": "TR-000002"}, RefusalCode.TICKET_LOCK),
        ({"image_digest": digest(BAD)}, RefusalCode.TICKET_IMAGE),
        ({"not_after": BEGINS - 1}, RefusalCode.TICKET_EXPIRED),
        ({"counter": 5000}, RefusalCode.TICKET_INVALID),
    ],
)
def test_a_stolen_ticket_is_good_for_its_holder_lock_and_image_only(
    changes: dict[str, object], code: RefusalCode
) -> None:
    order = {"op": Op.RESTORE, "image_digest": digest(FIXED)} | changes
    host = make_host()
    host.login()
    assert begin_refused(host, FIXED, Op.RESTORE, paper(**order)) is code  # type: ignore[arg-type]


def test_a_ticket_is_spent_once_and_its_copies_with_it() -> None:
    host = make_host()
    order = paper(Op.RESTORE, digest(FIXED))
    host.install(FIXED, Op.RESTORE, order)
    host.login()
    host.install(NEXT)
    host.login()
    assert begin_refused(host, FIXED, Op.RESTORE, order) is RefusalCode.TICKET_USED
    # another signature over the same ticket is the same ticket
    again = paper(Op.RESTORE, digest(FIXED), case_id="C-2")
    assert begin_refused(host, FIXED, Op.RESTORE, again) is RefusalCode.TICKET_USED


def test_a_nonce_ticket_dies_with_the_nonce() -> None:
    host = make_host()
    host.login()
    nonce = host.call(LockNonce()).nonce

    order = paper(
        Op.RESTORE, digest(FIXED), None, mode=TicketMode.NONCE, nonce_hash=nonce_hash(nonce)
    )
    tell_time(host, BEGINS + 1)  # uses the nonce
    assert begin_refused(host, FIXED, Op.RESTORE, order) is RefusalCode.TICKET_USED


def test_unused_tickets_end_with_the_epoch() -> None:
    host = make_host()
    carry_epoch(host.board, sealed_epoch(1, 2), host.now)
    host.now += 1
    host.issuer_cert = issuer_certificate(epoch=2)
    host.technician_cert = technician_certificate(epoch=2)
    host.login()
    old = paper(Op.RESTORE, digest(FIXED))  # ticket and issuer of epoch 1
    assert begin_refused(host, FIXED, Op.RESTORE, old) is RefusalCode.REVOKED
    renewed = replace(old, issuer=issuer_certificate(epoch=2))
    assert begin_refused(host, FIXED, Op.RESTORE, renewed) is RefusalCode.REVOKED


def test_a_technician_cannot_raise_his_own_rights() -> None:
    host = make_host()
    host.technician_cert = technician_certificate(ops=Op(0xFFFF), role=Role.OWNER)
    assert login_refused(host) is RefusalCode.OUT_OF_SCOPE
    host = make_host()
    host.technician_cert = technician_certificate(ops=Op(0xFFFF))
    host.login()
    for op in (Op.ERASE, Op.ISSUE, Op.UPDATE | Op.RESTORE):
        order = paper(op, digest(GOOD))
        code = begin_refused(host, GOOD, op, order)
        assert code in {RefusalCode.INTENT_INVALID, RefusalCode.NOT_ALLOWED}


# The key file


def test_a_key_file_costs_half_a_second_a_guess_and_shows_nothing() -> None:
    key = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    data = key_file_bytes(key, b"correct horse")
    text = data.decode().split("-----")[2]
    blob = base64.b64decode(text)
    assert blob.startswith(b"openssh-key-v1\0")
    at, words = len(b"openssh-key-v1\0"), []
    for _ in range(3):
        (size,) = struct.unpack_from(">I", blob, at)
        words.append(blob[at + 4 : at + 4 + size])
        at += 4 + size
    assert words[1] == b"bcrypt"
    rounds = int.from_bytes(words[2][-4:], "big")
    assert rounds >= 50  # 9 ms each
    assert bytes(range(32)) not in blob


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
def test_a_key_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    lab, home = tmp_path / "lab", tmp_path / "home"
    assert svcport("lab", "init", lab).code == 0
    assert svcport("--home", home, "setup", "--from", lab / "technician").code == 0
    key = home / "credential" / "technician.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    key.chmod(0o644)
    ran = svcport("--home", home, "--json", "identify", "--port", "socket://127.0.0.1:9")
    assert (ran.code, ran.report["reason"]) == (3, "signer-locked")
    assert "0644" in ran.report["message"]


def test_a_new_key_file_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "technician.key"
    write_key_file(path, ed25519.Ed25519PrivateKey.generate(), b"x")
    if sys.platform != "win32":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_clock_set_back_brings_no_dead_papers_to_life(tmp_path: Path) -> None:
    field = make_field(tmp_path)
    core = field.board.core
    core.nvm.write(replace(core.state, time_floor=1 << 40))  # others told the lock the time
    field.now -= timedelta(hours=5)
    with pytest.raises(SvcportError) as caught:
        field.restore()
    assert caught.value.reason is Reason.CREDENTIAL_EXPIRED
    assert core.state.head.seq == 0


def test_a_certificate_from_the_future_says_to_set_the_clock(tmp_path: Path) -> None:
    field = make_field(tmp_path)
    field.now -= timedelta(days=30)
    with pytest.raises(SvcportError) as caught:
        field.restore()
    assert caught.value.reason is Reason.CREDENTIAL_EXPIRED
    assert "clock" in caught.value.hint
    assert field.named_nobody()
