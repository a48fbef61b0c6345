from __future__ import annotations

import pytest
import vectorfile
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st
from sealed_samples import BODIES, CURVE, ISSUER, ROOT, SeedSigner

from protocol.errors import MalformedObjectError, ProtocolError, SignatureError
from protocol.objects import BODIES as TYPES
from protocol.objects import Receipt, Ticket, chain_next, ticket_id
from protocol.sealed import (
    BODY_LIMIT,
    P256_ORDER,
    ObjectType,
    Realm,
    Sealed,
    SubjectKey,
    Tlv,
    raw_signature,
    seal_body,
)

REALM = Realm.PRODUCTION
ACCEPTED = vectorfile.load("sealed/accepted.txt")
REFUSED = vectorfile.load("sealed/refused.txt")
NAMES = [v["name"] for v in ACCEPTED]
ONE_OF_EACH_TYPE = list({body.TYPE: name for name, (_signer, body) in BODIES.items()}.values())


def open_vector(vector: dict[str, str]) -> object:
    sealed = Sealed.parse(bytes.fromhex(vector["object"]))
    sealed.verify(SubjectKey(bytes.fromhex(vector["key"])))
    return TYPES[ObjectType[vector["type"].upper()]].read(sealed)


@pytest.mark.parametrize("vector", ACCEPTED, ids=NAMES)
def test_an_accepted_vector_opens_and_rebuilds(vector: dict[str, str]) -> None:
    assert vector["expect"] == "ok"
    body = open_vector(vector)
    sealed = Sealed.parse(bytes.fromhex(vector["object"]))
    assert sealed.build().hex() == vector["object"]
    assert sealed.signed_bytes.hex() == vector["signed"]
    assert sealed.digest.hex() == vector["sha256"]
    if isinstance(body, Ticket):
        assert ticket_id(sealed.signer, body).hex() == vector["ticket-id"]
    if isinstance(body, Receipt):
        assert chain_next(body.chain_before, sealed.build()).hex() == vector["chain-after"]


@pytest.mark.parametrize("vector", REFUSED, ids=[v["name"] for v in REFUSED])
def test_a_refused_vector_is_refused_by_name(vector: dict[str, str]) -> None:
    with pytest.raises(ProtocolError) as caught:
        open_vector(vector)
    assert vectorfile.error_name(type(caught.value)) == vector["expect"]


def test_vector_names_are_unique_and_every_type_has_one() -> None:
    names = NAMES + [v["name"] for v in REFUSED]
    assert len(set(names)) == len(names)
    assert {ObjectType[v["type"].upper()] for v in ACCEPTED} == set(TYPES)


@pytest.mark.parametrize("name", BODIES)
def test_sealing_a_sample_gives_the_bytes_of_its_vector(name: str) -> None:
    signer, body = BODIES[name]
    recorded = ACCEPTED[NAMES.index(name)]
    assert body.seal(REALM, signer).build().hex() == recorded["object"]
    assert open_vector(recorded) == body


@pytest.mark.parametrize("name", ONE_OF_EACH_TYPE)
def test_no_flipped_bit_survives(name: str) -> None:
    signer, body = BODIES[name]
    good = body.seal(REALM, signer).build()
    for bit in range(len(good) * 8):
        bad = bytearray(good)
        bad[bit // 8] ^= 1 << bit % 8
        with pytest.raises((MalformedObjectError, SignatureError)):
            Sealed.parse(bytes(bad)).verify(signer.subject)


def test_no_flipped_bit_of_a_p256_object_survives() -> None:
    good = BODIES["time"][1].seal(REALM, CURVE).build()
    for bit in range(len(good) * 8):
        bad = bytearray(good)
        bad[bit // 8] ^= 1 << bit % 8
        with pytest.raises((MalformedObjectError, SignatureError)):
            Sealed.parse(bytes(bad)).verify(CURVE.subject)


@pytest.mark.parametrize("name", BODIES)
def test_no_shorter_or_longer_object_parses(name: str) -> None:
    signer, body = BODIES[name]
    good = body.seal(REALM, signer).build()
    for cut in [good[:n] for n in range(len(good))] + [good + b"\0", good + good, b"\0" + good]:
        with pytest.raises(MalformedObjectError):
            Sealed.parse(cut)


def with_fields(sealed: Sealed, fields: list[Tlv]) -> bytes:
    """The object with its fields as given, in any order."""
    area = b"".join(
        bytes([f.number | f.critical << 7]) + len(f.value).to_bytes(2, "big") + f.value
        for f in fields
    )
    head = sealed.build()[:14] + len(area).to_bytes(2, "big")
    return head + area + sealed.signature


@pytest.mark.parametrize("name", BODIES)
def test_no_reordered_or_doubled_field_parses(name: str) -> None:
    signer, body = BODIES[name]
    sealed = body.seal(REALM, signer)
    fields = list(sealed.body)
    assert with_fields(sealed, fields) == sealed.build()
    for i in range(len(fields)):
        doubled = fields[: i + 1] + fields[i:]
        swapped = [*fields[:i], *reversed(fields[i : i + 2]), *fields[i + 2 :]]
        for wrong in [doubled] + ([swapped] if swapped != fields else []):
            with pytest.raises(MalformedObjectError):
                Sealed.parse(with_fields(sealed, wrong))


@pytest.mark.parametrize("name", BODIES)
def test_realms_do_not_cross(name: str) -> None:
    signer, body = BODIES[name]
    for realm, other in ((Realm.PRODUCTION, Realm.TRAINING), (Realm.TRAINING, Realm.PRODUCTION)):
        crossed = Sealed.parse(other.value + body.seal(realm, signer).build()[4:])
        with pytest.raises(SignatureError):
            crossed.verify(signer.subject)


@given(st.binary(max_size=1000))
def test_any_bytes_parse_to_themselves_or_not_at_all(data: bytes) -> None:
    try:
        sealed = Sealed.parse(data)
    except MalformedObjectError:
        return
    assert sealed.build() == data


FIELDS = st.lists(
    st.tuples(st.integers(0, 127), st.booleans(), st.binary(max_size=40)),
    max_size=8,
    unique_by=lambda f: f[0],
)


@given(FIELDS, st.sampled_from(Realm), st.sampled_from(ObjectType), st.data())
def test_any_sealed_fields_come_back(
    fields: list[tuple[int, bool, bytes]], realm: Realm, kind: ObjectType, data: st.DataObject
) -> None:
    body = tuple(Tlv(*f) for f in sorted(fields))
    sealed = seal_body(realm, kind, body, ISSUER)
    raw = sealed.build()
    assert Sealed.parse(raw) == sealed
    sealed.verify(ISSUER.subject)
    mangled = bytearray(raw)
    mangled[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        again = Sealed.parse(bytes(mangled))
    except MalformedObjectError:
        return
    assert again.build() == bytes(mangled)


def test_the_largest_body_is_sealed_and_one_byte_more_is_not() -> None:
    largest = (Tlv(1, critical=True, value=bytes(BODY_LIMIT - 3)),)
    sealed = seal_body(REALM, ObjectType.TIME, largest, ISSUER)
    assert len(sealed.build()) == 960
    assert Sealed.parse(sealed.build()) == sealed
    for size in (BODY_LIMIT - 2, 0x10000):
        with pytest.raises(MalformedObjectError, match="at most 880"):
            seal_body(REALM, ObjectType.TIME, (Tlv(1, critical=True, value=bytes(size)),), ISSUER)


@pytest.mark.parametrize("numbers", [(2, 1), (1, 1), (128,), (-1,), (300,)])
def test_fields_out_of_order_or_range_are_not_sealed(numbers: tuple[int, ...]) -> None:
    body = tuple(Tlv(n, critical=False, value=b"") for n in numbers)
    with pytest.raises(MalformedObjectError):
        seal_body(REALM, ObjectType.TIME, body, ISSUER)


def test_a_signer_that_gives_no_64_bytes_makes_no_object() -> None:
    class Short(SeedSigner):
        def sign(self, message: bytes) -> bytes:
            return super().sign(message)[:63]

    with pytest.raises(SignatureError, match="63"):
        seal_body(REALM, ObjectType.TIME, (), Short(1))


def test_an_object_is_not_verified_by_another_key() -> None:
    sealed = BODIES["time"][1].seal(REALM, ISSUER)
    with pytest.raises(SignatureError, match=ROOT.subject.key_id.hex()):
        sealed.verify(ROOT.subject)


def test_p256_signatures_are_low_s_and_high_s_is_refused() -> None:
    for round_number in range(8):
        signature = CURVE.sign(bytes([round_number]))
        s = int.from_bytes(signature[32:], "big")
        assert s <= P256_ORDER // 2
        CURVE.subject.verify(signature, bytes([round_number]))
        high = signature[:32] + (P256_ORDER - s).to_bytes(32, "big")
        with pytest.raises(SignatureError, match="lower half"):
            CURVE.subject.verify(high, bytes([round_number]))


def test_raw_signature_lowers_a_high_s() -> None:
    # SEQUENCE of r = 1 and s = order - 1
    s = (P256_ORDER - 1).to_bytes(32, "big")
    der = b"\x30\x26\x02\x01\x01\x02\x21\x00" + s
    assert raw_signature(der) == (1).to_bytes(32, "big") * 2


@pytest.mark.parametrize(
    "raw",
    [b"", b"\x01" + bytes(31), b"\x01" + bytes(65), b"\x02" + bytes(32), b"\x02\x03" + bytes(64)],
)
def test_a_subject_key_of_another_form_is_malformed(raw: bytes) -> None:
    with pytest.raises(MalformedObjectError):
        SubjectKey(raw)


def test_a_subject_key_off_its_curve_verifies_nothing() -> None:
    key = SubjectKey(b"\x02\x04" + bytes(31) + b"\x01" + bytes(32))
    with pytest.raises(SignatureError, match="no point"):
        key.verify(bytes(64), b"")


def test_a_key_of_another_curve_is_no_subject_key() -> None:
    key = ec.generate_private_key(ec.SECP384R1()).public_key()
    with pytest.raises(MalformedObjectError, match="secp384r1"):
        SubjectKey.of(key)


def test_a_signature_of_another_length_is_refused() -> None:
    for size in (0, 63, 65):
        with pytest.raises(SignatureError, match="64 bytes"):
            ISSUER.subject.verify(bytes(size), b"")
