"""Harnesses of sealed objects: the envelope, each body, keys and signatures, ledger entries."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import sealed_samples as samples
import vectorfile
from fuzz.harness import Harness, nothing_more, split

from protocol.errors import MalformedObjectError, SignatureError
from protocol.objects import BODIES, Body
from protocol.sealed import (
    BODY_LIMIT,
    ObjectType,
    Realm,
    Sealed,
    SubjectKey,
)
from svcport.audit.entries import LedgerEntry, Statement, read_entry, read_statement

REALM = Realm.PRODUCTION
ORIGIN = "svcport.example/station/bench-07"
KINDS = tuple(BODIES)
OBJECT_LIMIT = BODY_LIMIT + 80

_HEAD = struct.Struct(">4sBB8sH")


def sealed_with(body: bytes, kind: int, signer: samples.SeedSigner) -> bytes:
    """An object of any body that `signer` did sign, as a hostile issuer or lock would."""
    head = _HEAD.pack(REALM.value, kind, 1, signer.subject.key_id, len(body) & 0xFFFF)
    message = REALM.signature_domain + bytes([kind]) + head + body
    return head + body + signer.sign(message)


def _check_sealed(data: bytes, sealed: Sealed) -> None:
    assert sealed.build() == data
    assert sealed.signed_bytes.endswith(data[:-64])
    assert len(sealed.digest) == 32


def _body(data: bytes) -> tuple[Sealed, Body]:
    """The length is made right, so that a change of it does not end every input."""
    number, body = split(data, 1)
    kind = KINDS[number[0] % len(KINDS)]
    head = _HEAD.pack(REALM.value, kind, 1, bytes(8), len(body))
    sealed = Sealed.parse(head + body + bytes(64))
    return sealed, BODIES[kind].read(sealed)


def _check_body(_data: bytes, read: tuple[Sealed, Body]) -> None:
    """Fields that a reader may pass over are lost, everything else is written as it was."""
    sealed, body = read
    fields = body.tlvs()
    known = {field.number for field in fields}
    assert fields == tuple(one for one in sealed.body if one.number in known)
    assert not any(one.critical for one in sealed.body if one.number not in known)
    assert type(body).read(sealed) == body


def _signature(data: bytes) -> None:
    """A key of 33 or 66 bytes behind a choice, a signature, and what was signed."""
    kind, rest = split(data, 1)
    raw, rest = split(rest, 66 if kind[0] & 1 else 33)
    signature, message = split(rest, 64)
    SubjectKey(raw).verify(signature, message)


def _statement(data: bytes) -> Statement:
    return read_statement(data, REALM)


def _check_statement(data: bytes, statement: Statement) -> None:
    assert statement.sealed.build() == data
    assert statement.seq is None or 1 <= statement.seq < 2**63


def _entry(data: bytes) -> LedgerEntry:
    return read_entry(Sealed.parse(data), REALM, ORIGIN)


def _check_entry(data: bytes, entry: LedgerEntry) -> None:
    assert entry.sealed.build() == data
    assert entry.body.origin == ORIGIN
    if entry.numbered is not None:
        assert entry.numbered[0] == entry.body.lock_serial


def _objects() -> Iterator[bytes]:
    for name in ("accepted", "refused"):
        for vector in vectorfile.load(f"sealed/{name}.txt"):
            yield bytes.fromhex(vector["object"])


def _accepted() -> Iterator[Sealed]:
    for vector in vectorfile.load("sealed/accepted.txt"):
        yield Sealed.parse(bytes.fromhex(vector["object"]))


def _bodies() -> Iterator[bytes]:
    for sealed in _accepted():
        if sealed.type in BODIES:
            yield bytes([KINDS.index(sealed.type)]) + sealed.unsigned[16:]


def _signatures() -> Iterator[bytes]:
    for signer, kind in ((samples.ROOT, 0), (samples.CURVE, 1)):
        if kind == 0:  # a P-256 signature is another one each time
            yield bytes([kind]) + signer.subject.raw + signer.sign(b"word") + b"word"
        yield bytes([kind]) + signer.subject.raw + bytes(64) + b"word"


def _of(*types: ObjectType) -> Iterator[bytes]:
    return (sealed.build() for sealed in _accepted() if sealed.type in types)


def _statements() -> Iterator[bytes]:
    yield from _of(ObjectType.RECEIPT, ObjectType.REFUSAL)


def _entries() -> Iterator[bytes]:
    yield from _of(ObjectType.ENTRY)


_OBJECT = (MalformedObjectError,)
HARNESSES = (
    Harness(
        "sealed", "a sealed object", Sealed.parse, _OBJECT, _check_sealed, _objects, OBJECT_LIMIT
    ),
    Harness(
        "sealed-body",
        "every body, length right",
        _body,
        _OBJECT,
        _check_body,
        _bodies,
        BODY_LIMIT + 1,
    ),
    Harness(
        "signature",
        "a key and its signature",
        _signature,
        (MalformedObjectError, SignatureError),
        nothing_more,
        _signatures,
        300,
    ),
    Harness(
        "statement",
        "a receipt or a refusal",
        _statement,
        _OBJECT,
        _check_statement,
        _statements,
        OBJECT_LIMIT,
    ),
    Harness("entry", "a ledger entry", _entry, _OBJECT, _check_entry, _entries, OBJECT_LIMIT),
)
