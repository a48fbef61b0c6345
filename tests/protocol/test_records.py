from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from messagecraft import ACT_OPEN, EVENTS, IDENTITY, MESSAGES, RUNNING

from protocol.bulk import Ack
from protocol.errors import MalformedMessageError
from protocol.frame import FrameType
from protocol.handshake import Hello, HelloReply
from protocol.messages import (
    REQUESTS,
    decode_reply,
    decode_request,
    encode_reply,
    encode_request,
)
from protocol.queries import BatteryLevel, Measure, SectorDigests, SetBaud, SlotTable
from protocol.record import Record
from protocol.refusal import Refusal, RefusalCode
from protocol.request import Request
from protocol.unit import UnitHeader
from protocol.values import AfterState, Head, ImageVersion, Op, Slot

RECORDS: list[type[Record]] = [
    *REQUESTS.values(),
    *{type(reply) for _name, _request, reply in MESSAGES},
    Refusal,
    Hello,
    HelloReply,
    Ack,
    UnitHeader,
]


def _changed(record: bytes) -> st.SearchStrategy[bytes]:
    """The record with some bytes written over, cut off or put on."""
    byte = st.tuples(st.integers(0, max(len(record) - 1, 0)), st.integers(0, 255))

    def change(changes: list[tuple[int, int]], keep: int, tail: bytes) -> bytes:
        changed = bytearray(record)
        for place, value in changes:
            changed[place : place + 1] = bytes([value])
        return bytes(changed[: keep or None]) + tail

    cut = st.one_of(st.just(0), st.integers(0, len(record)))
    return st.builds(change, st.lists(byte, max_size=3), cut, st.binary(max_size=2))


near_requests = st.one_of([_changed(encode_request(request)) for _, request, _ in MESSAGES])
near_replies = st.one_of(
    [
        st.tuples(st.just(request), st.one_of(_changed(encode_reply(reply)), st.binary()))
        for _, request, reply in MESSAGES
    ]
)


@pytest.mark.parametrize("kind", RECORDS, ids=lambda kind: kind.__name__)
@given(data=st.one_of(st.binary(max_size=80), st.binary(min_size=100, max_size=200)))
def test_any_bytes_are_a_record_that_rebuilds_or_malformed(kind: type[Record], data: bytes) -> None:
    try:
        record = kind.parse(data)
    except MalformedMessageError:
        return
    assert record.build() == data


@given(st.one_of(near_requests, st.binary(max_size=100)))
def test_any_bytes_are_a_request_that_rebuilds_or_malformed(data: bytes) -> None:
    try:
        request = decode_request(data)
    except MalformedMessageError:
        return
    assert encode_request(request) == data


@given(near_replies)
def test_any_bytes_are_a_reply_that_rebuilds_or_malformed(
    case: tuple[Request[Any], bytes],
) -> None:
    request, data = case
    try:
        reply = decode_reply(request, data)
    except MalformedMessageError:
        return
    assert encode_reply(reply) == data
    assert isinstance(reply, (request.REPLY, Refusal))


MISFITS = {
    "a number too large": SetBaud(1 << 32),
    "a number below zero": BatteryLevel(-1, 0),
    "a nonce too short": Measure(Slot.A, bytes(15)),
    "text with a line end": replace(IDENTITY, model="SL\n100"),
    "text that is not ASCII": replace(IDENTITY, model="Schloß"),
    "text too long": replace(IDENTITY, model="m" * 33),
    "a statement too long": Refusal(RefusalCode.REVOKED, 0, bytes(641)),
    "one slot": SlotTable((RUNNING,), Slot.B),
    "the same slot twice": SlotTable((RUNNING, RUNNING), Slot.B),
    "no slot": SectorDigests(None, 0, 1),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("record", MISFITS.values(), ids=MISFITS.keys())
def test_a_value_that_does_not_fit_is_not_written(record: Record) -> None:
    with pytest.raises(MalformedMessageError):
        record.build()


def test_operations_without_a_name_are_kept_and_allow_nothing_named() -> None:
    ops = Op(0x8001)

    assert Op.INFO in ops
    assert Op.UPDATE not in ops
    assert int(ops) == 0x8001


def test_versions_order_by_number_and_print_as_people_write_them() -> None:
    assert ImageVersion(2, 10, 0, 0) > ImageVersion(2, 9, 65_535, 9)
    assert str(ImageVersion(2, 4, 0, 17)) == "2.4.0+17"


@pytest.mark.parametrize(
    ("record", "size"),
    [
        (ImageVersion(0, 0, 0, 0), 8),
        (Head(0, bytes(32)), 40),
        (AfterState(ImageVersion(0, 0, 0, 0), 0), 12),
        (RUNNING, 51),
        (ACT_OPEN, 184),
        (EVENTS[0], 22),
    ],
)
def test_parts_have_the_sizes_that_the_specification_states(record: Record, size: int) -> None:
    assert len(record.build()) == size
    assert type(record).parse(record.build()) == record


def test_an_error_names_the_record_and_the_length() -> None:
    with pytest.raises(MalformedMessageError, match=r"BatteryLevel: 3 bytes do not parse"):
        BatteryLevel.parse(bytes(3))


def test_frame_types_of_hosts_and_locks_differ() -> None:
    assert len({int(kind) for kind in FrameType}) == len(FrameType) == 11
