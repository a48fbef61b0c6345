from __future__ import annotations

import dataclasses
import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sealed_samples import BODIES, IMAGE, ISSUER, LOCK, NONCE, TECHNICIAN

from protocol.codecs import KEY_IDS, REVOKED_LIMIT, U8, U16, U32, U64, Codec, blob, exact, text
from protocol.errors import MalformedObjectError
from protocol.objects import (
    BODIES as TYPES,
)
from protocol.objects import (
    Body,
    Ticket,
    TicketMode,
    chain_next,
    chain_start,
    measured,
    nonce_hash,
    ticket_id,
)
from protocol.scope import EVERYTHING, SCOPE, ScopeItem, ScopeKind, serial_range
from protocol.sealed import ObjectType, Realm, Tlv, seal_body
from protocol.values import Op

REALM = Realm.PRODUCTION


def sealed_with(name: str, fields: tuple[Tlv, ...]) -> Any:
    signer, body = BODIES[name]
    return seal_body(REALM, body.TYPE, fields, signer)


def some_ticket(**changes: Any) -> Ticket:
    _signer, body = BODIES["ticket-counter"]
    assert isinstance(body, Ticket)
    return dataclasses.replace(body, **changes)


@pytest.mark.parametrize("name", BODIES)
def test_a_body_reads_back_equal(name: str) -> None:
    signer, body = BODIES[name]
    assert type(body).read(body.seal(REALM, signer)) == body


@pytest.mark.parametrize("kind", TYPES)
def test_a_body_is_read_as_its_own_type_only(kind: ObjectType) -> None:
    for signer, body in BODIES.values():
        if body.TYPE is not kind:
            with pytest.raises(MalformedObjectError, match=f"wanted {kind.name}"):
                TYPES[kind].read(body.seal(REALM, signer))


@pytest.mark.parametrize("name", BODIES)
def test_a_missing_field_is_refused_unless_it_is_optional(name: str) -> None:
    _signer, body = BODIES[name]
    optional = {f.metadata["tlv"].number for f in dataclasses.fields(body) if f.default is None}  # type: ignore[arg-type]
    for left_out in body.tlvs():
        rest = tuple(t for t in body.tlvs() if t != left_out)
        if left_out.number in optional:
            type(body).read(sealed_with(name, rest))
        else:
            with pytest.raises(MalformedObjectError, match=f"field {left_out.number} is missing"):
                type(body).read(sealed_with(name, rest))


@pytest.mark.parametrize("name", BODIES)
def test_a_field_with_the_other_critical_bit_is_refused(name: str) -> None:
    _signer, body = BODIES[name]
    for i, field in enumerate(body.tlvs()):
        turned = field._replace(critical=not field.critical)
        fields = (*body.tlvs()[:i], turned, *body.tlvs()[i + 1 :])
        with pytest.raises(MalformedObjectError, match="critical"):
            type(body).read(sealed_with(name, fields))


@pytest.mark.parametrize("name", BODIES)
def test_an_unknown_field_is_refused_only_if_critical(name: str) -> None:
    _signer, body = BODIES[name]
    assert type(body).read(sealed_with(name, (*body.tlvs(), Tlv(100, False, b"x")))) == body
    with pytest.raises(MalformedObjectError, match=r"unknown critical fields \[100\]"):
        type(body).read(sealed_with(name, (*body.tlvs(), Tlv(100, True, b"x"))))


@given(st.data())
def test_any_value_in_any_field_reads_back_or_is_malformed(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(list(BODIES)))
    _signer, body = BODIES[name]
    fields = list(body.tlvs())
    i = data.draw(st.integers(0, len(fields) - 1))
    same = st.binary(min_size=len(fields[i].value), max_size=len(fields[i].value))
    fields[i] = fields[i]._replace(value=data.draw(st.binary(max_size=70) | same))
    sealed = sealed_with(name, tuple(fields))
    try:
        read = type(body).read(sealed)
    except MalformedObjectError:
        return
    assert read.tlvs() == tuple(fields)


@pytest.mark.parametrize("change", [-1, 1])
@pytest.mark.parametrize(("name", "number"), [("entry-intent", 16), ("receipt", 10)])
def test_a_record_of_another_size_is_malformed(name: str, number: int, change: int) -> None:
    _signer, body = BODIES[name]
    fields = tuple(
        t._replace(value=(t.value + b"\0")[: len(t.value) + change]) if t.number == number else t
        for t in body.tlvs()
    )
    assert fields != body.tlvs()
    with pytest.raises(MalformedObjectError):
        type(body).read(sealed_with(name, fields))


CODECS: list[Codec[Any]] = [U8, U16, U32, U64, exact(8), blob(9), text(5), KEY_IDS, SCOPE]


@pytest.mark.parametrize("codec", CODECS)
@given(data=st.binary(max_size=40))
def test_any_bytes_decode_to_what_encodes_to_them_or_not_at_all(
    codec: Codec[Any], data: bytes
) -> None:
    try:
        value = codec.decode(data)
    except MalformedObjectError:
        return
    assert codec.encode(value) == data


@pytest.mark.parametrize(
    "changes",
    [
        {"holder": bytes(7)},
        {"lock_serial": ""},
        {"lock_serial": "S" * 17},
        {"lock_serial": "Schloß"},
        {"lock_serial": "a\nb"},
        {"epoch": -1},
        {"epoch": 1 << 32},
        {"counter": 1 << 64},
        {"image_digest": bytes(31)},
        {"constraints": bytes(33)},
        {"case_id": "c" * 41},
    ],
)
def test_a_value_that_does_not_fit_its_field_is_not_sealed(changes: dict[str, Any]) -> None:
    with pytest.raises(MalformedObjectError):
        some_ticket(**changes).seal(REALM, ISSUER)


@pytest.mark.parametrize(
    "scope",
    [
        (),
        (ScopeItem(ScopeKind.EVERYTHING, b"x"),),
        (ScopeItem(ScopeKind.SERIAL_RANGE, bytes(31)),),
        (ScopeItem(ScopeKind.MODEL, bytes(256)),),
    ],
)
def test_a_scope_that_no_reader_would_take_is_not_written(scope: tuple[ScopeItem, ...]) -> None:
    with pytest.raises(MalformedObjectError):
        SCOPE.encode(scope)


def test_a_serial_range_is_padded_at_the_right() -> None:
    item = serial_range("A1", "A" * 16)
    assert item == (ScopeKind.SERIAL_RANGE, b"A1" + bytes(14) + b"A" * 16)


@pytest.mark.parametrize("ends", [("A" * 17, "B"), ("A", "B" * 17), ("ä", "b")])
def test_a_serial_range_that_no_lock_can_be_in_is_malformed(ends: tuple[str, str]) -> None:
    with pytest.raises(MalformedObjectError):
        serial_range(*ends)


def test_everything_is_two_zero_bytes() -> None:
    assert SCOPE.encode(EVERYTHING) == b"\0\0"


def test_an_epoch_names_at_most_thirty_two_keys_of_eight_bytes() -> None:
    assert len(KEY_IDS.encode((bytes(8),) * REVOKED_LIMIT)) == 256
    for ids in ((bytes(8),) * (REVOKED_LIMIT + 1), (bytes(7),)):
        with pytest.raises(MalformedObjectError):
            KEY_IDS.encode(ids)


def test_operations_without_a_name_are_kept() -> None:
    ticket = Ticket.read(some_ticket(ops=Op(0x8008)).seal(REALM, ISSUER))
    assert ticket.ops == Op(0x8008)
    assert Op.ROLLBACK in ticket.ops


def test_ids_and_chains_are_those_of_the_specification() -> None:
    def sha(data: bytes) -> bytes:
        return hashlib.sha256(data).digest()

    key = ISSUER.subject.key_id
    assert key == sha(ISSUER.subject.raw)[:8]
    counter = b"svcport-ticket-v1\0" + key + b"\x02" + (41).to_bytes(8, "big")
    assert ticket_id(key, some_ticket()) == sha(counter)
    hashed = sha(b"svcport-nonce-v1\0" + NONCE)
    assert nonce_hash(NONCE) == hashed
    nonce = some_ticket(mode=TicketMode.NONCE, counter=None, nonce_hash=hashed)
    assert ticket_id(key, nonce) == sha(b"svcport-ticket-v1\0" + key + b"\x01" + hashed)
    assert chain_start("SL2") == sha(b"svcport-chain-v1\0SL2")
    assert chain_next(IMAGE, b"receipt") == sha(b"\x02" + IMAGE + sha(b"receipt"))
    assert measured(NONCE, b"content") == sha(NONCE + b"content")


def test_a_ticket_id_does_not_depend_on_the_signature_or_the_lock() -> None:
    key = ISSUER.subject.key_id
    assert ticket_id(key, some_ticket(lock_serial="other")) == ticket_id(key, some_ticket())
    assert ticket_id(key, some_ticket(counter=42)) != ticket_id(key, some_ticket())
    assert ticket_id(LOCK.subject.key_id, some_ticket()) != ticket_id(key, some_ticket())


@pytest.mark.parametrize(
    "changes", [{"counter": None}, {"mode": TicketMode.NONCE}], ids=["counter", "nonce"]
)
def test_a_ticket_without_its_counter_or_nonce_has_no_id(changes: dict[str, Any]) -> None:
    with pytest.raises(MalformedObjectError, match="lacks"):
        ticket_id(TECHNICIAN.subject.key_id, some_ticket(**changes))


def test_each_class_lists_its_fields_in_ascending_order() -> None:
    for body in {type(body): body for _signer, body in BODIES.values()}.values():
        assert isinstance(body, Body)
        numbers = [f.metadata["tlv"].number for f in dataclasses.fields(body)]  # type: ignore[arg-type]
        assert numbers == sorted(set(numbers))
