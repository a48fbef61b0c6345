from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sessioncraft import KEYS
from vectorfile import Vector, check, load

from protocol.channel import RECORD_LIMIT, HostChannel, LockChannel
from protocol.errors import ChannelError
from protocol.frame import Frame, FrameType

CONTROL_FILE = "channel/control.txt"
CONTROL_HEADING = """\
What a lock makes of CONTROL frames, scenario by scenario; each begins a fresh session with these
keys: host to lock 32 times 11, lock to host 32 times 22. In every scenario the lock answers request
n with the record 00 n. `expect` is
  ok       a new request: `record` is its plaintext, `answer` the frame that goes back
  repeat   the request last answered: `answer` is the same frame as before
  ignored  nothing goes back and nothing changes
  channel  the session ends and its keys are wiped"""


def _frame(wire: bytes) -> Frame:
    return Frame.parse(wire[:-1])


def _requests(records: list[bytes]) -> list[bytes]:
    host, lock, wires = HostChannel(KEYS), LockChannel(KEYS), []
    for record in records:
        wires.append(host.send(record))
        lock.receive(_frame(wires[-1]))
        host.receive(_frame(lock.reply(b"\0")))
    return wires


def _scenarios() -> dict[str, list[bytes]]:
    zero, one, two = _requests([b"\x02", b"\x03", b"\x07"])
    (other,) = _requests([b"\x05"])
    body = _frame(one).body
    damaged = bytes([body[0] ^ 1]) + body[1:]
    return {
        "in-order": [zero, one, two],
        "resend-is-answered-from-the-cache": [zero, zero, one, one, one, two],
        "older-than-the-last-is-ignored": [zero, one, zero, two],
        "from-the-future-is-ignored": [zero, two, one],
        "another-request-under-the-same-number": [zero, other],
        "damaged-seal": [zero, Frame(FrameType.CONTROL, 1, damaged).build()],
        "cut-seal": [zero, Frame(FrameType.CONTROL, 1, body[:15]).build()],
        "replayed-under-a-new-number": [
            zero,
            Frame(FrameType.CONTROL, 1, _frame(zero).body).build(),
        ],
        "another-frame-type-is-ignored": [zero, Frame(FrameType.BLOCK, 0, body).build(), one],
        "record-of-1024": [_requests([b"\x05" * RECORD_LIMIT])[0]],
        "record-of-1025": [_too_long()],
    }


def _too_long() -> bytes:
    host = HostChannel(KEYS)
    sealed = host._seal.encrypt(bytes(12), b"\x05" * (RECORD_LIMIT + 1), None)
    return Frame(FrameType.CONTROL, 0, sealed).build()


def _played(wires: list[bytes]) -> list[Vector]:
    lock, count, found = LockChannel(KEYS), 0, []
    for wire in wires:
        try:
            record = lock.receive(_frame(wire))
        except ChannelError:
            found.append({"wire": wire.hex(), "expect": "channel"})
            break
        if record is not None:
            answer = lock.reply(bytes([0, count]))
            count += 1
            sides = {"wire": wire.hex(), "record": record.hex(), "answer": answer.hex()}
            found.append(sides | {"expect": "ok"})
        elif answer := lock.repeat(_frame(wire)):
            found.append({"wire": wire.hex(), "answer": answer.hex(), "expect": "repeat"})
        else:
            found.append({"wire": wire.hex(), "expect": "ignored"})
    return found


def test_a_lock_takes_control_frames_as_the_vectors_say() -> None:
    vectors = [
        {"scenario": name, "step": str(number)} | step
        for name, wires in _scenarios().items()
        for number, step in enumerate(_played(wires))
    ]
    check(CONTROL_FILE, CONTROL_HEADING, vectors)


def test_the_scenarios_end_as_their_names_say() -> None:
    ends = {vector["scenario"]: vector["expect"] for vector in load(CONTROL_FILE)}

    assert [name for name, end in ends.items() if end == "channel"] == [
        "another-request-under-the-same-number",
        "damaged-seal",
        "cut-seal",
        "replayed-under-a-new-number",
        "record-of-1025",
    ]
    assert set(ends.values()) == {"ok", "channel"}


def test_a_host_asks_one_thing_at_a_time() -> None:
    host = HostChannel(KEYS)
    with pytest.raises(RuntimeError):
        host.resend()
    host.send(b"\x02")
    with pytest.raises(RuntimeError):
        host.send(b"\x03")


def test_a_lock_answers_once_and_only_what_was_asked() -> None:
    lock = LockChannel(KEYS)
    with pytest.raises(RuntimeError):
        lock.reply(b"\0")
    lock.receive(_frame(HostChannel(KEYS).send(b"\x02")))
    lock.reply(b"\0")
    with pytest.raises(RuntimeError):
        lock.reply(b"\0")


def test_a_lock_still_at_work_is_silent_to_a_repeat() -> None:
    host, lock = HostChannel(KEYS), LockChannel(KEYS)
    asked = _frame(host.send(b"\x09"))
    assert lock.receive(asked) == b"\x09"

    assert lock.receive(asked) is None
    assert lock.repeat(asked) == b""


def test_nobody_seals_a_record_over_the_limit() -> None:
    host, lock = HostChannel(KEYS), LockChannel(KEYS)
    with pytest.raises(ChannelError):
        host.send(bytes(RECORD_LIMIT + 1))
    lock.receive(_frame(host.send(b"\x02")))
    with pytest.raises(ChannelError):
        lock.reply(bytes(RECORD_LIMIT + 1))


def test_a_host_ignores_its_own_echo_and_answers_to_earlier_requests() -> None:
    host, lock = HostChannel(KEYS), LockChannel(KEYS)
    asked = _frame(host.send(b"\x02"))
    assert lock.receive(asked) == b"\x02"
    answer = _frame(lock.reply(b"\0a"))
    assert host.receive(asked) is None
    assert host.receive(answer) == b"\0a"
    assert host.receive(answer) is None
    host.send(b"\x03")
    assert host.receive(answer) is None


def test_an_answer_of_1025_bytes_ends_the_session() -> None:
    host, lock = HostChannel(KEYS), LockChannel(KEYS)
    host.send(b"\x02")
    sealed = lock._seal.encrypt(bytes(12), bytes(RECORD_LIMIT + 1), None)

    with pytest.raises(ChannelError):
        host.receive(Frame(FrameType.CONTROL_REPLY, 0, sealed))


def test_numbers_go_on_where_the_frames_16_bits_wrap() -> None:
    host, lock = HostChannel(KEYS), LockChannel(KEYS)
    host._number = lock._number = 0xFFFF
    for record in (b"\x02", b"\x03", b"\x04"):
        asked = _frame(host.send(record))
        assert lock.receive(asked) == record
        assert lock.receive(asked) is None
        assert host.receive(_frame(lock.reply(record))) == record


records = st.binary(max_size=40)


@given(st.lists(st.tuples(records, records, st.integers(0, 3), st.integers(0, 3)), max_size=8))
def test_whatever_is_lost_a_resend_brings_one_execution_and_its_answer(
    talk: list[tuple[bytes, bytes, int, int]],
) -> None:
    host, lock, executed = HostChannel(KEYS), LockChannel(KEYS), []
    for record, reply, lost_requests, lost_replies in talk:
        wire = host.send(record)
        for _ in range(lost_requests):
            assert host.resend() == wire
        executed.append(lock.receive(_frame(wire)))
        answer = lock.reply(reply)
        for _ in range(lost_replies):
            assert lock.receive(_frame(host.resend())) is None
            assert lock.repeat(_frame(host.resend())) == answer
        assert host.receive(_frame(answer)) == reply
    assert executed == [record for record, *_ in talk]


numbers = st.one_of(st.integers(0, 2), st.integers(0, 0xFFFF))
any_frames = st.builds(Frame, st.sampled_from(FrameType), numbers, st.binary(max_size=60))


@given(any_frames)
def test_any_frame_leaves_a_lock_as_it_is_or_ends_the_session(frame: Frame) -> None:
    host, lock = HostChannel(KEYS), LockChannel(KEYS)
    lock.receive(_frame(host.send(b"\x02")))
    answer = lock.reply(b"\0")
    host.receive(_frame(answer))
    try:
        assert lock.receive(frame) is None
    except ChannelError:
        assert frame.type is FrameType.CONTROL
        assert frame.seq in (0, 1)
        return
    assert lock.repeat(frame) == b""
    assert lock.receive(_frame(host.send(b"\x03"))) == b"\x03"


@given(any_frames)
def test_any_frame_is_no_answer_to_a_host_or_ends_the_session(frame: Frame) -> None:
    host, lock = HostChannel(KEYS), LockChannel(KEYS)
    asked = _frame(host.send(b"\x02"))
    try:
        assert host.receive(frame) is None
    except ChannelError:
        assert (frame.type, frame.seq) == (FrameType.CONTROL_REPLY, 0)
        return
    lock.receive(asked)
    assert host.receive(_frame(lock.reply(b"\0"))) == b"\0"
