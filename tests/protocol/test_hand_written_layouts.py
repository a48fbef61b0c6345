from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from unittest import mock

import pytest
from construct import (
    Bytes,
    Const,
    ConstructError,
    ExprValidator,
    GreedyBytes,
    Int8ub,
    Int16ub,
    Prefixed,
    Select,
    Struct,
    Terminated,
    this,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sealed_samples import BODIES, ISSUER

from protocol.errors import MalformedMessageError, MalformedObjectError
from protocol.objects import BODIES as TYPES
from protocol.record import Record
from protocol.sealed import Algorithm, ObjectType, Realm, Sealed, SubjectKey, Tlv, seal_body
from protocol.values import AfterState, Head, ImageVersion

FIELD = Struct("tag" / Int8ub, "value" / Prefixed(Int16ub, GreedyBytes))
OBJECT = Struct(
    "magic" / Select(Const(b"SVC1"), Const(b"SVT1")),
    "type" / ExprValidator(Int8ub, lambda number, _: number in set(ObjectType)),
    "algorithm" / ExprValidator(Int8ub, lambda number, _: number in set(Algorithm)),
    "signer" / Bytes(8),
    "length" / ExprValidator(Int16ub, lambda number, _: number <= 880),
    "area" / Bytes(this.length),
    "signature" / Bytes(64),
    Terminated,
)
"""The layout as protocol/README states it, in another notation than the code's."""

SEEDS = [body.seal(realm, ISSUER).build() for _, body in BODIES.values() for realm in Realm]


def described(data: bytes) -> tuple[object, ...] | None:
    """What the description reads, None if it refuses."""
    try:
        found = OBJECT.parse(data)
        fields = []
        rest = found.area
        while rest:
            field = FIELD.parse(rest)
            fields.append(field)
            rest = rest[3 + len(field.value) :]
    except ConstructError:
        return None
    numbers = [field.tag & 0x7F for field in fields]
    if numbers != sorted(set(numbers)):
        return None
    body = tuple(Tlv(one.tag & 0x7F, one.tag >= 0x80, one.value) for one in fields)
    return found.magic, found.type, found.algorithm, found.signer, body, found.signature


def read(data: bytes) -> tuple[object, ...] | None:
    try:
        one = Sealed.parse(data)
    except MalformedObjectError:
        return None
    assert one.build() == data
    return one.realm.value, one.type, one.algorithm, one.signer, one.body, one.signature


def written(sealed: Sealed) -> bytes:
    area = b"".join(
        FIELD.build({"tag": t.number | (0x80 if t.critical else 0), "value": t.value})
        for t in sealed.body
    )
    return OBJECT.build(
        {
            "magic": sealed.realm.value,
            "type": int(sealed.type),
            "algorithm": int(sealed.algorithm),
            "signer": sealed.signer,
            "length": len(area),
            "area": area,
            "signature": sealed.signature,
        }
    )


@st.composite
def bent(draw: st.DrawFn) -> bytes:
    """A good object with some bytes changed, cut out or put in."""
    data = bytearray(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.one_of(st.integers(0, 30), st.integers(0, len(data) - 1)))
        change = draw(st.sampled_from(("set", "cut", "put")))
        if change == "set":
            data[at] = draw(st.integers(0, 255))
        elif change == "cut":
            del data[at : at + draw(st.integers(1, 4))]
        else:
            data[at:at] = draw(st.binary(min_size=1, max_size=4))
    return bytes(data)


@pytest.mark.parametrize("data", SEEDS)
def test_every_sample_reads_as_its_description_says(data: bytes) -> None:
    assert read(data) is not None
    assert read(data) == described(data)


@given(bent() | st.binary(max_size=120))
def test_the_hand_written_walk_takes_what_the_description_takes(data: bytes) -> None:
    assert read(data) == described(data)


fields = st.dictionaries(
    st.integers(0, 127), st.tuples(st.booleans(), st.binary(max_size=60)), max_size=12
).map(lambda found: tuple(Tlv(number, *found[number]) for number in sorted(found)))


@given(fields, st.sampled_from(Realm), st.sampled_from(ObjectType))
def test_what_is_written_is_what_the_description_writes(
    body: tuple[Tlv, ...], realm: Realm, kind: ObjectType
) -> None:
    sealed = seal_body(realm, kind, body, ISSUER)
    assert sealed.build() == written(sealed)
    assert sealed.digest == hashlib.sha256(written(sealed)).digest()


def test_a_signer_of_another_length_is_never_padded(monkeypatch: pytest.MonkeyPatch) -> None:
    for key_id in (bytes(7), bytes(9)):
        monkeypatch.setattr(SubjectKey, "key_id", key_id)
        with pytest.raises(MalformedObjectError, match="key id"):
            seal_body(Realm.TRAINING, ObjectType.TIME, (), ISSUER)


def outcome(sealed: Sealed) -> object:
    """The body and its fields, or the words of the refusal."""
    try:
        return TYPES[sealed.type].read(sealed)
    except (MalformedObjectError, KeyError) as error:
        return type(error), str(error)


def parsed(data: bytes, parse: Callable[[bytes], Sealed]) -> Sealed | str:
    """The object, or the words of the refusal."""
    try:
        return parse(data)
    except MalformedObjectError as error:
        return str(error)


def forgotten(data: bytes) -> Sealed:
    """The object as it is read where no body of its shape was met before."""
    with mock.patch.dict("protocol.sealed._SHAPES", clear=True):
        sealed = Sealed.parse(data)
    assert sealed.known is None
    return sealed


@pytest.fixture
def no_shapes_yet() -> Iterator[None]:
    """What other tests made the process remember does not count here."""
    with mock.patch.dict("protocol.sealed._SHAPES", clear=True):
        yield


@pytest.mark.usefixtures("no_shapes_yet")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(bent(), st.booleans())
def test_a_body_of_a_known_shape_reads_as_any_other(data: bytes, twice: bool) -> None:
    for seed in SEEDS:
        Sealed.parse(seed)
    assert all(Sealed.parse(seed).known is not None for seed in SEEDS)
    wanted = parsed(data, forgotten)
    for _ in range(1 + twice):
        found = parsed(data, Sealed.parse)
        assert found == wanted
        if isinstance(found, Sealed) and isinstance(wanted, Sealed):
            assert found.body == wanted.body
            assert outcome(found) == outcome(wanted)


@pytest.mark.usefixtures("no_shapes_yet")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(SEEDS), st.data())
def test_any_values_in_a_known_shape_read_as_any_others(seed: bytes, data: st.DataObject) -> None:
    fields = [
        one._replace(value=data.draw(st.binary(min_size=size, max_size=size)))
        if data.draw(st.booleans()) and (size := len(one.value))
        else one
        for one in Sealed.parse(seed).body
    ]
    kind = Sealed.parse(seed).type
    written = seal_body(Realm.TRAINING, kind, tuple(fields), ISSUER).build()
    Sealed.parse(written)
    found = Sealed.parse(written)
    assert found.known is not None
    assert outcome(found) == outcome(forgotten(written))


def test_shapes_beyond_the_limit_are_read_and_not_kept() -> None:
    with mock.patch.dict("protocol.sealed._SHAPES", clear=True) as shapes:
        for size in range(300):
            body = (Tlv(1, critical=True, value=bytes(size)),)
            data = seal_body(Realm.TRAINING, ObjectType.TIME, body, ISSUER).build()
            for _ in range(2):
                assert Sealed.parse(data).body == body
        assert len(shapes) == 256
        for number in range(1, 9):
            body = (Tlv(number, critical=True, value=bytes(7)),)
            data = seal_body(Realm.TRAINING, ObjectType.TIME, body, ISSUER).build()
            assert [Sealed.parse(data).body for _ in range(2)] == [body] * 2
        assert len(shapes[ObjectType.TIME, 10]) == 4


def by_description(kind: type[Record], data: bytes) -> object:
    layout = Struct("record" / kind.WIRE, Terminated)
    try:
        return layout.parse(data).record
    except ConstructError:
        return None


@given(st.sampled_from((Head, AfterState)), st.binary(max_size=48))
def test_records_inside_entries_read_as_their_struct_does(kind: type[Record], data: bytes) -> None:
    data = data.ljust(kind.WIRE.sizeof(), b"\x5a") if len(data) % 3 else data
    wanted = by_description(kind, data)
    try:
        found = kind.parse(data)
    except MalformedMessageError:
        assert wanted is None
        return
    assert found.build() == data
    assert kind.WIRE.build(members(found)) == data
    assert wanted is not None


def members(record: Record) -> dict[str, object]:
    if isinstance(record, Head):
        return {"seq": record.seq, "chain": record.chain}
    assert isinstance(record, AfterState)
    return {"version": record.version, "security_counter": record.security_counter}


@pytest.mark.parametrize(
    "record",
    [
        Head(-1, bytes(32)),
        Head(2**64, bytes(32)),
        Head(0, bytes(31)),
        Head(0, bytes(33)),
        AfterState(ImageVersion(256, 0, 0, 0), 0),
        AfterState(ImageVersion(0, 0, 0, 0), 2**32),
        AfterState(ImageVersion(0, 0, 65536, 0), 0),
    ],
)
def test_a_value_that_does_not_fit_is_refused_by_name(record: Record) -> None:
    with pytest.raises(MalformedMessageError):
        record.build()
