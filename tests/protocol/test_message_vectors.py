from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from messagecraft import FALLBACK, MESSAGES, RUNNING, digest, lines
from vectorfile import Vector, check, error_name, load

from protocol.errors import ProtocolError
from protocol.messages import (
    REQUESTS,
    decode_reply,
    decode_request,
    encode_reply,
    encode_request,
)
from protocol.record import Record
from protocol.refusal import Refusal, RefusalCode
from protocol.request import Request

REQUESTS_FILE = "messages/requests.txt"
REPLIES_FILE = "messages/replies.txt"
REFUSALS_FILE = "messages/refusals.txt"
MALFORMED_FILE = "messages/malformed.txt"

REQUESTS_HEADING = """\
Every request: its opcode, its fields in wire order, and the record (the plaintext that is sealed).
Certificates, intents and tickets are opaque to this layer; short words stand for them here."""
REPLIES_HEADING = """\
Every reply: its fields in wire order, and the record. `to` names the request in requests.txt."""
REFUSALS_HEADING = """\
Every refusal code, as a record. `name` is the code's name in protocol/README."""
MALFORMED_HEADING = """\
Records that a receiver refuses. `kind: request` is what a lock gets; it answers MALFORMED.
`kind: reply` is what a host gets as the answer to the request `to`; it ends the session."""


def _request_vectors() -> list[Vector]:
    return [
        {"name": name, "opcode": f"{request.OPCODE:#04x}"}
        | lines(request)
        | {"record": encode_request(request).hex(), "expect": "ok"}
        for name, request, _reply in MESSAGES
    ]


def _reply_vectors() -> list[Vector]:
    return [
        {"to": name} | lines(reply) | {"record": encode_reply(reply).hex(), "expect": "ok"}
        for name, _request, reply in MESSAGES
    ]


def _refusal_vectors() -> list[Vector]:
    refusals = [Refusal(code) for code in RefusalCode]
    refusals += [
        Refusal(RefusalCode.NOT_AUTHENTICATED, 16),
        Refusal(RefusalCode.ANTI_ROLLBACK, 4, b"statement"),
    ]
    return [
        {"name": refusal.code.name.lower().replace("_", "-")}
        | lines(refusal)
        | {"record": encode_reply(refusal).hex(), "expect": "ok"}
        for refusal in refusals
    ]


def _malformed_vectors() -> list[Vector]:
    record = {name: encode_request(request) for name, request, _ in MESSAGES}
    reply = {name: encode_reply(answer) for name, _, answer in MESSAGES}
    begin, slots = record["begin"], reply["slots"]
    requests = {
        "empty": b"",
        "opcode-0-is-none": b"\x00",
        "opcode-0x16-is-none": b"\x16",
        "trailing-byte": record["identify"] + b"\0",
        "cut": record["commit"][:-1],
        "slot-2-is-none": b"\x04\x02" + bytes(16),
        "short-nonce": record["measure"][:-1],
        "length-past-the-end": begin[:1] + b"\x00\xff" + begin[3:],
        "object-too-long": b"\x0c" + (641).to_bytes(2, "big") + bytes(641 + 4),
        "statement-too-long": b"\x14" + (641).to_bytes(2, "big") + bytes(641),
        "time-without-its-issuer": record["put-time"][:-8],
        "bitmap-too-long": begin[:-3] + (129).to_bytes(2, "big") + bytes(129),
    }
    replies = {
        "empty": ("identify", b""),
        "status-2-is-none": ("identify", b"\x02"),
        "trailing-byte": ("close", b"\0\0"),
        "cut": ("battery", reply["battery"][:-1]),
        "bool-2-is-none": ("slots", slots[:4] + b"\x02" + slots[5:]),
        "slot-b-first": ("slots", b"\0\x02" + FALLBACK.build() + RUNNING.build() + b"\1"),
        "one-slot": ("slots", b"\0\x01" + RUNNING.build() + b"\1"),
        "target-2-is-none": ("slots", slots[:-1] + b"\x02"),
        "state-7-is-none": ("slots", slots[:3] + b"\x07" + slots[4:]),
        "control-character": ("identify", reply["identify"].replace(b"SL-100", b"SL\n100")),
        "not-ascii": ("identify", reply["identify"].replace(b"SL-100", b"SL\xff100")),
        "too-many-digests": ("sector-digests", b"\0\x79" + bytes(8 * 121)),
        "too-many-events": ("events", bytes(5) + b"\x29" + bytes(22 * 41)),
        "too-many-receipts": ("receipts", bytes(41) + b"\x09" + bytes(2 * 9)),
        "nonce-cut": ("lock-nonce", reply["lock-nonce"][:-1]),
        "dropped-2-is-none": ("put-epoch", reply["put-epoch"][:-1] + b"\x02"),
        "refusal-code-0-is-none": ("close", b"\x01\x00" + bytes(6)),
        "refusal-cut": ("close", b"\x01\x01" + bytes(5)),
    }
    expect = {"expect": "malformed-message"}
    return [
        {"name": name, "kind": "request", "record": data.hex()} | expect
        for name, data in requests.items()
    ] + [
        {"name": name, "kind": "reply", "to": to, "record": data.hex()} | expect
        for name, (to, data) in replies.items()
    ]


def _sample(name: str) -> Request[Any]:
    return next(request for found, request, _ in MESSAGES if found == name)


def test_every_request_is_written_as_its_vector_says() -> None:
    check(REQUESTS_FILE, REQUESTS_HEADING, _request_vectors())


def test_every_reply_is_written_as_its_vector_says() -> None:
    check(REPLIES_FILE, REPLIES_HEADING, _reply_vectors())


def test_every_refusal_is_written_as_its_vector_says() -> None:
    check(REFUSALS_FILE, REFUSALS_HEADING, _refusal_vectors())


def test_the_malformed_records_are_those_of_their_file() -> None:
    check(MALFORMED_FILE, MALFORMED_HEADING, _malformed_vectors())


def test_the_vectors_hold_every_opcode_and_every_refusal_code() -> None:
    assert {int(v["opcode"], 16) for v in load(REQUESTS_FILE)} == set(REQUESTS)
    assert {int(v["code"]) for v in load(REFUSALS_FILE)} == {int(code) for code in RefusalCode}


@pytest.mark.parametrize("vector", load(REQUESTS_FILE), ids=lambda v: v["name"])
def test_a_request_vector_reads_back_into_its_fields(vector: Vector) -> None:
    request = decode_request(bytes.fromhex(vector["record"]))

    assert request == _sample(vector["name"])
    assert lines(request).items() <= vector.items()
    assert encode_request(request).hex() == vector["record"]


@pytest.mark.parametrize("vector", load(REPLIES_FILE), ids=lambda v: v["to"])
def test_a_reply_vector_reads_back_into_its_fields(vector: Vector) -> None:
    reply = decode_reply(_sample(vector["to"]), bytes.fromhex(vector["record"]))

    assert isinstance(reply, Record)
    assert lines(reply).items() <= vector.items()
    assert encode_reply(reply).hex() == vector["record"]


@pytest.mark.parametrize("vector", load(REFUSALS_FILE), ids=lambda v: v["record"])
def test_a_refusal_vector_answers_any_request(vector: Vector) -> None:
    for _name, request, _reply in MESSAGES:
        refusal = decode_reply(request, bytes.fromhex(vector["record"]))

        assert isinstance(refusal, Refusal)
        assert lines(refusal).items() <= vector.items()


@pytest.mark.parametrize("vector", load(MALFORMED_FILE), ids=lambda v: v["kind"] + v["name"])
def test_a_malformed_record_is_refused_by_its_name(vector: Vector) -> None:
    record = bytes.fromhex(vector["record"])
    decode: Callable[[bytes], object] = decode_request
    if vector["kind"] == "reply":
        decode = partial(decode_reply, _sample(vector["to"]))

    with pytest.raises(ProtocolError) as caught:
        decode(record)

    assert error_name(caught.type) == vector["expect"]


def test_the_digests_of_the_samples_are_those_of_their_names() -> None:
    begin = next(v for v in load(REQUESTS_FILE) if v["name"] == "begin")

    assert begin["base_digest"] == digest("2.4.0").hex()
