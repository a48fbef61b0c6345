"""Sealed objects that were changed by a bit, a byte or a field, at the lock and at the laptop."""

from __future__ import annotations

import dataclasses
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from fieldkit import NOW, make_cable, make_field
from locksim import Cable
from sealed_samples import BODIES
from security.kit import durable, sealed_epoch
from simulator.actkit import FIXED, make_host
from simulator.hostdriver import Host, RefusedByLock, refused
from simulator.trainer import (
    BEGINS,
    ISSUER,
    REALM,
    ROOT,
    TECHNICIAN,
    Key,
    digest,
    issuer_certificate,
    paper,
    technician_certificate,
)

from protocol.errors import MalformedObjectError, SignatureError
from protocol.objects import TimeStatement, nonce_hash
from protocol.refusal import RefusalCode
from protocol.sealed import ObjectType, Realm, Sealed, Tlv, seal_body
from protocol.statements import LockNonce, PutEpoch, PutTime
from protocol.values import Op
from svcport.authorisation.setup import import_bundle
from svcport.errors import Reason, RefusedError, SvcportError
from svcport.home import Home
from svcport.simulator.board import Board

OPTIONAL_TICKET = 8
"""Field of an INTENT that may be left out where there is no ticket."""

UNKNOWN_CRITICAL = Tlv(0x7E, critical=True, value=b"\1")


def with_fields(sealed: Sealed, fields: list[Tlv]) -> bytes:
    """The object with its fields as given, in any order; its signature as it was."""
    area = b"".join(
        bytes([f.number | f.critical << 7]) + len(f.value).to_bytes(2, "big") + f.value
        for f in fields
    )
    head = sealed.build()[:14] + len(area).to_bytes(2, "big")
    return head + area + sealed.signature


def flipped(data: bytes, step: int) -> Iterator[tuple[str, bytes]]:
    for bit in range(0, 8 * len(data), step):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        yield f"bit {bit}", bytes(changed)


def recut(data: bytes) -> Iterator[tuple[str, bytes]]:
    for size in range(1, len(data), 19):
        yield f"cut to {size}", data[:size]
    yield "one byte less", data[:-1]
    yield "one byte more", data + b"\0"
    yield "a byte before", b"\0" + data
    sealed = Sealed.parse(data)
    fields = list(sealed.body)
    for at in range(len(fields)):
        yield f"field {at} doubled", with_fields(sealed, fields[: at + 1] + fields[at:])
        if at:
            order = [*fields[: at - 1], fields[at], fields[at - 1], *fields[at + 1 :]]
            yield f"fields {at - 1} and {at} exchanged", with_fields(sealed, order)
        yield (
            f"field {at} dropped, signature kept",
            with_fields(sealed, fields[:at] + fields[at + 1 :]),
        )


def signed_over(sealed: Sealed, fields: list[Tlv], signer: Key) -> bytes:
    """Fields as given under a good signature: only a strict parser minds."""
    unsigned = with_fields(sealed, fields)[:-64]
    message = sealed.realm.signature_domain + bytes([sealed.type]) + unsigned
    return unsigned + signer.sign(message)


def disordered(data: bytes, signer: Key) -> Iterator[tuple[str, bytes]]:
    """Well signed, but not the one way to write it."""
    sealed = Sealed.parse(data)
    fields = list(sealed.body)
    for at, one in enumerate(fields):
        yield f"field {at} twice", signed_over(sealed, fields[: at + 1] + fields[at:], signer)
        if at:
            order = [*fields[: at - 1], one, fields[at - 1], *fields[at + 1 :]]
            yield f"field {at} before {at - 1}", signed_over(sealed, order, signer)
        other = one._replace(critical=not one.critical)
        bit = [*fields[:at], other, *fields[at + 1 :]]
        yield f"critical bit of field {at}", signed_over(sealed, bit, signer)


def signed_anew(data: bytes, signer: Key) -> Iterator[tuple[str, bytes]]:
    """By the right key, so that form, type and realm are all that is wrong."""
    sealed = Sealed.parse(data)
    fields = tuple(sealed.body)
    for kind in ObjectType:
        if kind is not sealed.type:
            yield f"as {kind.name}", seal_body(REALM, kind, fields, signer).build()
    yield "other realm", seal_body(Realm.PRODUCTION, sealed.type, fields, signer).build()
    more = (*fields, UNKNOWN_CRITICAL)
    yield "unknown critical field", seal_body(REALM, sealed.type, more, signer).build()
    for at, dropped in enumerate(fields):
        if dropped.critical and dropped.number != OPTIONAL_TICKET:
            rest = fields[:at] + fields[at + 1 :]
            yield (
                f"without field {dropped.number}",
                seal_body(REALM, sealed.type, rest, signer).build(),
            )


def wrongs(data: bytes, signer: Key) -> Iterator[tuple[str, bytes]]:
    yield from flipped(data, 37)
    yield from recut(data)
    yield from disordered(data, signer)
    yield from signed_anew(data, signer)


def auth_is_refused(host: Host, name: str) -> None:
    host.now += 61  # the wait after the failure before
    host.handshake()
    before = durable(host)
    code = refused(host, host.auth())
    assert 0x10 <= code <= 0x14, (name, code)
    assert durable(host) == before


def test_no_changed_issuer_certificate_opens_a_session() -> None:
    host = make_host()
    for name, data in wrongs(issuer_certificate(), ROOT):
        host.issuer_cert = data
        auth_is_refused(host, name)


def test_no_changed_technician_certificate_opens_a_session() -> None:
    host = make_host()
    for name, data in wrongs(technician_certificate(), ISSUER):
        host.technician_cert = data
        auth_is_refused(host, name)


def begins_not(host: Host, name: str, **changes: object) -> None:
    before = durable(host)
    with pytest.raises(RefusedByLock) as caught:
        host.begin(FIXED, sectors=[0], **changes)  # type: ignore[arg-type]
    assert 0x20 <= caught.value.code <= 0x26 or caught.value.code in {
        RefusalCode.REVOKED,
        RefusalCode.NOT_ALLOWED,
        RefusalCode.MALFORMED,
    }, (name, caught.value.code)
    assert durable(host) == before


def test_no_changed_intent_begins_an_act() -> None:
    host = make_host()
    host.login()
    good = host.intent(Op.UPDATE, digest(FIXED))
    for name, data in wrongs(good, TECHNICIAN):
        begins_not(host, name, intent=data)
    host.begin(FIXED, sectors=[0], intent=good)


def test_no_changed_ticket_begins_an_act() -> None:
    host = make_host()
    host.login()
    good = paper(Op.RESTORE, digest(FIXED))
    for name, data in wrongs(good.ticket, ISSUER):
        order = dataclasses.replace(good, ticket=data)
        begins_not(host, name, op=Op.RESTORE, paper=order)
    for name, data in flipped(good.issuer, 61):
        order = dataclasses.replace(good, issuer=data)
        begins_not(host, name, op=Op.RESTORE, paper=order)
    host.begin(FIXED, Op.RESTORE, good, sectors=[0])


def test_no_changed_statement_is_taken() -> None:
    host = make_host()
    host.login()
    epoch = sealed_epoch(1, 1, issued_at=BEGINS + 5)
    nonce = nonce_hash(host.call(LockNonce()).nonce)
    time = TimeStatement(unix_time=BEGINS + 9, nonce_hash=nonce).seal(REALM, ISSUER).build()
    before = durable(host)
    refusals = {RefusalCode.STATEMENT_INVALID, RefusalCode.STATEMENT_OLD, RefusalCode.MALFORMED}
    for name, data in wrongs(epoch, ROOT):
        assert refused(host, PutEpoch(data)) in refusals, name
    for name, data in wrongs(time, ISSUER):
        assert refused(host, PutTime(data, issuer_certificate())) in refusals, name
    assert durable(host) == before
    host.call(PutEpoch(epoch))
    host.call(PutTime(time, issuer_certificate()))


# At the laptop


@pytest.mark.parametrize("name", BODIES)
def test_no_object_of_any_type_survives_a_change_of_field_type_or_realm(name: str) -> None:
    """Every single bit is flipped in tests/protocol/test_sealed.py; here every field is."""
    signer, body = BODIES[name]
    sealed = body.seal(Realm.TRAINING, signer)
    changed = [
        *(data for _name, data in flipped(sealed.build(), 31)),
        *(data for _name, data in recut(sealed.build())),
    ]
    for data in changed:
        with pytest.raises((MalformedObjectError, SignatureError)):
            Sealed.parse(data).verify(signer.subject)
    for _name, data in signed_anew(sealed.build(), signer):  # type: ignore[arg-type]
        found = Sealed.parse(data)
        found.verify(signer.subject)
        if found.realm is Realm.TRAINING and not _loses_an_optional_field(sealed, found):
            with pytest.raises(MalformedObjectError):
                type(body).read(found)


def _loses_an_optional_field(sealed: Sealed, found: Sealed) -> bool:
    return found.type is sealed.type and UNKNOWN_CRITICAL not in found.body


@pytest.mark.parametrize("name", ["technician.svc", "issuer.svc"])
def test_no_changed_credential_is_imported(tmp_path: Path, name: str) -> None:
    field = make_field(tmp_path)
    stick = Path(shutil.copytree(field.lab.technician, tmp_path / "stick"))
    path = stick / "credential" / name
    good = path.read_bytes()
    for what, data in [*flipped(good, 151), *list(recut(good))[::7]]:
        path.write_bytes(data)
        with pytest.raises(SvcportError) as caught:
            import_bundle(stick, Home(tmp_path / "new"), NOW)
        assert isinstance(caught.value, RefusedError), what
        assert not (tmp_path / "new" / "credential" / "technician.svc").exists()


def test_no_changed_lock_certificate_is_believed(tmp_path: Path) -> None:
    field = make_field(tmp_path)
    factory = field.lab.lock(field.lab.serials[0]).factory()
    flash = field.board._flash
    for seed, (what, data) in enumerate([*flipped(factory.certificate, 97)]):
        fake = dataclasses.replace(factory, certificate=data)
        board = Board(fake, flash, entropy=random.Random(seed).randbytes, now=0.0)
        field.cables["P0"] = Cable("P0", board)
        with pytest.raises(SvcportError) as caught:
            field.identify()
        assert caught.value.reason is Reason.LOCK_IDENTITY, what


def test_a_lock_that_holds_another_signing_key_proves_nothing(tmp_path: Path) -> None:
    """Half a clone: the handshake's key was stolen, the key of receipts was not."""
    field = make_field(tmp_path)
    serial = field.lab.serials[0]
    factory = field.lab.lock(serial).factory()
    clone = dataclasses.replace(factory, identity_seed=bytes(range(32)))
    genuine = make_cable(field.lab, serial, "x").board
    board = Board(clone, genuine._flash, entropy=random.Random(5).randbytes, now=0.0)
    field.cables["P0"] = Cable("P0", board)
    with pytest.raises(SvcportError) as caught:
        field.verify()
    assert caught.value.reason in {Reason.LOCK_IDENTITY, Reason.RECEIPT_INVALID}
    with pytest.raises(SvcportError) as caught:
        field.restore()
    assert caught.value.reason in {Reason.LOCK_IDENTITY, Reason.RECEIPT_INVALID}
