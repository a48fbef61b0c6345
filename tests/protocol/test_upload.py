from __future__ import annotations

import random
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sessioncraft import KEYS

from protocol.bulk import (
    SPARE_COPIES,
    Ack,
    TransferState,
    UploadReceiver,
    UploadSender,
    read_ack,
    write_ack,
)
from protocol.errors import MalformedFrameError, MalformedMessageError
from protocol.frame import Frame, FrameDecoder, FrameType

TRANSFER = 7


def _frame(wire: bytes) -> Frame:
    return Frame.parse(wire[:-1])


def _with_known_state(payload: bytes) -> bytes:
    return payload[:12] + bytes([payload[12] % 6]) + payload[13:]


def _content(count: int) -> list[bytes]:
    return [bytes([n & 0xFF, n >> 8]) * (1 + n % 5) for n in range(count)]


@dataclass
class Link:
    """Two ends and a wire that loses and doubles frames, but keeps their order."""

    content: list[bytes]
    window: int
    seed: int
    loss: float = 0.0
    doubling: float = 0.0
    stall: float = 0.0
    sent: dict[int, bytes] = field(default_factory=dict)
    frames: int = 0
    silences: int = 0

    def run(self) -> bytes:
        """Everything the lock took, in the order it took it."""
        chance = random.Random(self.seed)
        sender = UploadSender(KEYS, TRANSFER, iter(self.content), self.window)
        lock = _Lock(UploadReceiver(KEYS, TRANSFER, self.window), len(self.content))
        acks: deque[bytes] = deque()
        while not sender.finished:
            wire = sender.next_frame()
            if wire is not None:
                self._check(sender, wire)
                for _ in range(self._copies(chance)):
                    lock.receive(_frame(wire), stalled=chance.random() < self.stall)
                    acks.extend([lock.ack()] * self._copies(chance))
            elif acks:
                while acks:
                    sender.receive(_frame(acks.popleft()))
            else:
                self.silences += 1
                assert self.silences < 100 * (len(self.content) + 1)
                sender.silence()
        return b"".join(lock.taken)

    def _copies(self, chance: random.Random) -> int:
        return 0 if chance.random() < self.loss else 1 + (chance.random() < self.doubling)

    def _check(self, sender: UploadSender, wire: bytes) -> None:
        seq = _frame(wire).seq
        assert seq < sender.consumed + self.window
        assert self.sent.setdefault(seq, wire) == wire
        self.frames += 1


@dataclass
class _Lock:
    receiver: UploadReceiver
    count: int
    taken: list[bytes] = field(default_factory=list)

    def receive(self, frame: Frame, *, stalled: bool) -> None:
        self.receiver.receive(frame)
        while not stalled and (block := self.receiver.take()) is not None:
            self.taken.append(block)

    def ack(self) -> bytes:
        done = len(self.taken) == self.count
        return self.receiver.ack(TransferState.COMPLETE if done else TransferState.RECEIVING)


@given(
    count=st.integers(1, 120),
    window=st.sampled_from([1, 2, 8, 32, 64]),
    seed=st.integers(0, 2**32),
    loss=st.sampled_from([0.0, 0.02, 0.2, 0.5]),
    doubling=st.sampled_from([0.0, 0.2]),
    stall=st.sampled_from([0.0, 0.3]),
)
def test_whatever_the_wire_loses_or_doubles_the_lock_takes_every_byte_in_order(
    count: int, window: int, seed: int, loss: float, doubling: float, stall: float
) -> None:
    link = Link(_content(count), window, seed, loss, doubling, stall)

    assert link.run() == b"".join(link.content)
    assert len(link.sent) == count


@pytest.mark.parametrize("window", [1, 8, 64])
def test_without_loss_every_block_is_sent_once_and_nobody_waits(window: int) -> None:
    link = Link(_content(500), window, seed=1)

    assert link.run() == b"".join(link.content)
    assert (link.frames, link.silences) == (500, 0)


def test_a_lossy_wire_costs_little_more_than_what_it_loses() -> None:
    link = Link(_content(2000), 32, seed=5, loss=0.01)

    assert link.run() == b"".join(link.content)
    assert link.frames < 2000 * 1.06
    assert link.silences <= 5


def test_only_the_lost_blocks_are_sent_again() -> None:
    sender, receiver = _ends(window=8, count=8)
    wires = _drain(sender)
    for wire in wires[:2] + wires[3:6] + wires[7:]:
        assert receiver.receive(_frame(wire))
    while receiver.take():
        pass

    assert sender.receive(_frame(receiver.ack(TransferState.RECEIVING)))

    assert _drain(sender) == [wires[2], wires[6]]
    assert (sender.resent, sender.consumed) == (2, 2)


def test_an_idle_line_is_given_what_was_lost_once_more_but_not_without_end() -> None:
    sender, receiver = _ends(window=4, count=9)
    wires = _drain(sender)
    assert sender.spare_frame() is None, "nothing is known to be lost"
    for wire in (wires[1], wires[3]):
        receiver.receive(_frame(wire))
    assert sender.receive(_frame(receiver.ack(TransferState.RECEIVING)))
    assert sender.spare_frame() is None, "what is lost is due anyway"
    assert _drain(sender) == [wires[0], wires[2]]

    spares = list(iter(sender.spare_frame, None))

    assert spares == [wires[0], wires[2]] * SPARE_COPIES
    assert (sender.lost_frames, sender.lost_bytes) == (2, len(wires[0]) + len(wires[2]))
    receiver.receive(_frame(spares[0]))
    assert len(list(_take_all(receiver))) == 2
    assert sender.receive(_frame(receiver.ack(TransferState.RECEIVING)))
    assert sender.arrived_bytes == sum(map(len, (wires[0], wires[1], wires[3])))
    # the copy that arrived is not the last: the others may have overtaken nothing
    assert _drain(sender)[-2:] == list(map(_wire_of, (4, 5)))


def _wire_of(number: int) -> bytes:
    return _drain(_ends(window=8, count=9)[0])[number]


def test_the_latest_acknowledgement_says_it_all() -> None:
    sender, receiver = _ends(window=8, count=20)
    acks = []
    for wire in _drain(sender):
        receiver.receive(_frame(wire))
        receiver.take()
        acks.append(receiver.ack(TransferState.RECEIVING))

    assert sender.receive(_frame(acks[-1]))
    assert sender.consumed == 8
    assert len(_drain(sender)) == 8
    assert not any(sender.receive(_frame(ack)) for ack in acks)


def test_a_full_window_sends_nothing_until_the_lock_has_consumed() -> None:
    sender, receiver = _ends(window=4, count=9)
    for wire in _drain(sender):
        receiver.receive(_frame(wire))

    assert sender.receive(_frame(receiver.ack(TransferState.RECEIVING)))
    assert sender.next_frame() is None

    assert receiver.take() is not None
    assert sender.receive(_frame(receiver.ack(TransferState.RECEIVING)))
    assert len(_drain(sender)) == 1


def test_silence_after_everything_arrived_asks_the_lock_for_its_last_word() -> None:
    sender, receiver = _ends(window=4, count=4)
    wires = _drain(sender)
    for wire in wires:
        receiver.receive(_frame(wire))
        receiver.take()
    assert sender.receive(_frame(receiver.ack(TransferState.RECEIVING)))
    lost = receiver.ack(TransferState.COMPLETE)
    assert sender.next_frame() is None

    sender.silence()

    assert _drain(sender) == wires[-1:]
    assert not receiver.receive(_frame(wires[-1]))
    assert sender.receive(_frame(receiver.ack(TransferState.COMPLETE)))
    assert sender.finished
    assert not sender.receive(_frame(lost))


@pytest.mark.parametrize("state", [s for s in TransferState if s])
def test_a_lock_that_ends_the_transfer_is_sent_nothing_more(state: TransferState) -> None:
    sender, receiver = _ends(window=4, count=9)
    sender.next_frame()

    assert sender.receive(_frame(receiver.ack(state, 17)))

    assert (sender.finished, sender.state, sender.detail) == (True, state, 17)
    assert sender.next_frame() is None


def test_an_acknowledgement_of_what_was_never_sent_is_no_acknowledgement() -> None:
    sender, receiver = _ends(window=4, count=4)
    sender.next_frame()
    receiver._consumed = 2

    assert not sender.receive(_frame(receiver.ack(TransferState.RECEIVING)))
    assert sender.consumed == 0


def test_acknowledgements_of_another_transfer_or_session_are_dropped() -> None:
    sender, _ = _ends(window=4, count=4)
    other = UploadReceiver(KEYS, TRANSFER + 1, 4)

    assert not sender.receive(_frame(other.ack(TransferState.COMPLETE)))
    assert not sender.finished


def test_blocks_go_on_where_the_frames_16_bits_wrap() -> None:
    sender, receiver = _ends(window=8, count=20)
    sender._next = sender._consumed = receiver._consumed = 0xFFF8
    taken: list[bytes] = []
    while wires := _drain(sender):
        for wire in wires:
            assert receiver.receive(_frame(wire))
        taken.extend(_take_all(receiver))
        sender.receive(_frame(receiver.ack(TransferState.RECEIVING)))

    assert taken == _content(20)


def test_a_block_of_4097_bytes_is_not_sent() -> None:
    sender = UploadSender(KEYS, TRANSFER, iter([bytes(4097)]), 4)
    with pytest.raises(MalformedFrameError):
        sender.next_frame()


numbers = st.one_of(st.integers(0, 9), st.integers(0, 0xFFFF))
bodies = st.one_of(st.binary(max_size=50), st.binary(min_size=37, max_size=37))
any_frames = st.builds(Frame, st.sampled_from(FrameType), numbers, bodies)


@given(any_frames)
def test_any_frame_leaves_a_sender_as_it_is(frame: Frame) -> None:
    sender, receiver = _ends(window=4, count=4)
    wires = _drain(sender)

    assert not sender.receive(frame)

    for wire in wires:
        assert receiver.receive(_frame(wire))
    assert sender.receive(_frame(receiver.ack(TransferState.COMPLETE)))


@given(any_frames)
def test_any_frame_leaves_a_receiver_as_it_is(frame: Frame) -> None:
    sender, receiver = _ends(window=4, count=4)

    assert not receiver.receive(frame)
    assert receiver.take() is None

    for wire in _drain(sender):
        assert receiver.receive(_frame(wire))
    assert list(_take_all(receiver)) == _content(4)


@given(st.integers(0, 2**32), st.floats(0, 0.002))
def test_bit_errors_on_the_wire_cost_time_only(seed: int, rate: float) -> None:
    chance = random.Random(seed)
    sender, receiver = _ends(window=8, count=30)
    up, down = FrameDecoder(), FrameDecoder()
    taken: list[bytes] = []
    while not sender.finished:
        if (wire := sender.next_frame()) is None:
            sender.silence()
            continue
        for frame in up.feed(_noisy(wire, chance, rate)):
            receiver.receive(frame)
            taken.extend(_take_all(receiver))
            done = len(taken) == 30
            ack = receiver.ack(TransferState.COMPLETE if done else TransferState.RECEIVING)
            for answer in down.feed(_noisy(ack, chance, rate)):
                sender.receive(answer)
    assert taken == _content(30)


def _noisy(wire: bytes, chance: random.Random, rate: float) -> bytes:
    return bytes(b ^ (1 << chance.randrange(8)) if chance.random() < rate else b for b in wire)


def _ends(window: int, count: int) -> tuple[UploadSender, UploadReceiver]:
    sender = UploadSender(KEYS, TRANSFER, iter(_content(count)), window)
    return sender, UploadReceiver(KEYS, TRANSFER, window)


def _drain(sender: UploadSender) -> list[bytes]:
    return list(iter(sender.next_frame, None))


def _take_all(receiver: UploadReceiver) -> Iterator[bytes]:
    return iter(receiver.take, None)


@given(st.binary(max_size=20) | st.binary(min_size=17, max_size=17).map(_with_known_state))
def test_the_fast_way_reads_acknowledgements_as_the_layout_says(payload: bytes) -> None:
    try:
        wanted = Ack.parse(payload)
    except MalformedMessageError as error:
        with pytest.raises(MalformedMessageError, match=re.escape(str(error))):
            read_ack(payload)
    else:
        assert read_ack(payload) == wanted
        assert type(read_ack(payload).state) is TransferState
        assert write_ack(wanted) == wanted.build() == payload


@pytest.mark.parametrize(
    "ack", [Ack(2**32, 0, TransferState.RECEIVING, 0), Ack(0, -1, TransferState.COMPLETE, 0)]
)
def test_the_fast_way_refuses_what_does_not_fit_the_layout(ack: Ack) -> None:
    with pytest.raises(MalformedMessageError):
        write_ack(ack)
