from __future__ import annotations

import contextlib
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulator.echoboard import EchoBoard

from svcport.simulator.faults import Faults, FaultSpecError
from svcport.simulator.line import PACKET_SIZE, QUEUE_LIMIT, Line

START = 86_400.0
"""A computer that is up for a day: floats are no finer than there."""


def drive(line: Line, until: float) -> list[tuple[float, bytes]]:
    """Look at the line whenever it says so; what reached the host, and when."""
    came = []
    while (due := line.wake_at()) is not None and due <= until:
        if data := line.from_board(due):
            came.append((due, data))
    return came


def send(line: Line, data: bytes, now: float) -> float:
    """Write as a host does that is held up; gives when the last byte was taken."""
    while True:
        data = data[line.to_board(data, now) :]
        if not data:
            return now
        due = line.wake_at()
        assert due is not None
        now = due


@pytest.mark.parametrize("baud", [9600, 115200, 921600, 3_000_000])
def test_bytes_to_the_board_take_ten_bits_each(baud: int) -> None:
    board = EchoBoard(baud=baud, echo=False)
    line = Line(board, now=START, baud=baud)
    data = random.Random(1).randbytes(baud)  # ten seconds
    last = send(line, data, START)
    drive(line, last + 10)
    assert board.all_heard == data
    assert board.heard[-1][0] - START == pytest.approx(len(data) * 10 / baud, abs=1e-4)


@pytest.mark.parametrize("latency_s", [0.0, 0.001, 0.016])
@pytest.mark.parametrize("baud", [115200, 921600])
def test_bytes_to_the_host_take_ten_bits_each_and_no_more_than_the_adapter_adds(
    baud: int, latency_s: float
) -> None:
    data = random.Random(2).randbytes(200_000)
    board = EchoBoard(baud=baud, says=[(START + 1, data)])
    line = Line(board, now=START, baud=baud, latency_s=latency_s)
    came = drive(line, START + 100)
    assert b"".join(part for _when, part in came) == data
    wire_s = len(data) * 10 / baud
    assert wire_s - 1e-4 <= came[-1][0] - START - 1 <= wire_s + latency_s + 1e-4


def test_no_byte_arrives_before_its_time() -> None:
    board = EchoBoard(baud=921600, echo=False)
    line = Line(board, now=START, baud=921600)
    line.to_board(bytes(QUEUE_LIMIT), START)
    drive(line, START + 1)
    heard = 0
    for when, data in board.heard:
        heard += len(data)
        assert len(data) <= 185
        assert heard <= (when - START) * 92160 + 0.01


def test_a_host_that_runs_ahead_is_held_at_the_queue() -> None:
    line = Line(EchoBoard(), now=START, baud=115200)
    assert line.to_board(bytes(100_000), START) == QUEUE_LIMIT
    assert line.to_board(bytes(100_000), START) == 0
    assert line.room == 0
    # 1152 bytes pass in a tenth of a second.
    assert line.to_board(bytes(100_000), START + 0.1) == pytest.approx(1152, abs=12)


def test_a_late_look_changes_nothing_of_what_the_board_sees() -> None:
    data = random.Random(3).randbytes(4000)
    seen = []
    for late in (False, True):
        board = EchoBoard(baud=460800, echo=False, says=[(START + 0.05, b"tick")])
        line = Line(board, now=START, baud=460800)
        line.to_board(data, START)
        if not late:
            drive(line, START + 1)
        line.from_board(START + 1)
        seen.append((board.heard, board.polls))
    assert seen[0] == seen[1]


def test_the_slower_of_board_and_cap_sets_the_pace() -> None:
    for board_baud, cap in ((115200, 921600), (3_000_000, 115200)):
        board = EchoBoard(baud=board_baud, echo=False)
        line = Line(board, now=START, baud=cap)
        line.to_board(bytes(1152), START)
        drive(line, START + 1)
        assert board.heard[-1][0] - START == pytest.approx(0.1)


def test_a_change_of_baud_holds_from_the_next_byte_on() -> None:
    board = EchoBoard(baud=115200, echo=False)
    line = Line(board, now=START, baud=3_000_000)
    line.to_board(bytes(1152), START)
    drive(line, START + 0.05)
    board.baud = 921600
    drive(line, START + 1)
    times = [when for when, _data in board.heard]
    assert times == sorted(times)
    assert times[-1] - START == pytest.approx(0.05 + 0.05 / 8, abs=0.0015)


def test_an_unpaced_line_takes_no_time() -> None:
    board = EchoBoard(baud=9600)
    line = Line(board, now=START)
    assert line.to_board(b"x" * 4096, START) == 4096
    assert line.from_board(START) == b"x" * 4096


@pytest.mark.parametrize("latency_s", [0.001, 0.016])
@pytest.mark.parametrize("baud", [0, 921600])
def test_a_short_answer_waits_for_the_latency_timer(baud: int, latency_s: float) -> None:
    board = EchoBoard(baud=921600, says=[(START + 1, b"ok")])
    line = Line(board, now=START, baud=baud, latency_s=latency_s)
    ((when, data),) = drive(line, START + 2)
    assert data == b"ok"
    first_byte = 10 / baud if baud else 0
    assert when == pytest.approx(START + 1 + first_byte + latency_s)


def test_full_packets_do_not_wait_and_the_rest_does() -> None:
    board = EchoBoard(says=[(START, bytes(2 * PACKET_SIZE + 5))])
    line = Line(board, now=START, latency_s=0.016)
    came = [(when - START, len(data)) for when, data in drive(line, START + 1)]
    assert came == [(0, 2 * PACKET_SIZE), (pytest.approx(0.016), 5)]


def test_the_way_to_the_board_knows_no_latency_timer() -> None:
    board = EchoBoard(echo=False)
    line = Line(board, now=START, latency_s=0.016)
    line.to_board(b"x", START)
    assert board.heard == [(START, b"x")]


def test_a_board_that_always_wants_to_be_polled_does_not_hang_the_line() -> None:
    class Restless(EchoBoard):
        def wake_at(self) -> float | None:
            return START

    board = Restless()
    Line(board, now=START).from_board(START + 0.1)
    assert 2 < len(board.polls) <= 1001


def test_who_plugs_in_gets_nothing_of_before() -> None:
    board = EchoBoard(says=[(START + 0.1, b"old"), (START + 3, b"new")])
    line = Line(board, now=START, baud=115200, latency_s=0.016)
    line.plug(START + 2)
    assert b"".join(data for _when, data in drive(line, START + 4)) == b"new"


@pytest.mark.parametrize("at", [1, 7, 10, 11, 15, 20])
def test_a_cut_lets_exactly_so_many_bytes_pass_both_ways_together(at: int) -> None:
    board = EchoBoard(echo=False, says=[(START + 0.5, b"0123456789"), (START + 5, b"later")])
    line = Line(board, now=START, baud=115200, faults=Faults(cut_after=at))
    line.to_board(b"abcdefghij", START)
    came = b"".join(data for _when, data in drive(line, START + 1))
    assert line.is_cut
    assert len(board.all_heard) + len(came) == at
    assert line.to_board(b"lost", START + 1) == 4
    line.plug(START + 2)
    assert not line.is_cut
    assert line.to_board(b"again", START + 2) == 5
    came = b"".join(data for _when, data in drive(line, START + 9))
    assert board.all_heard.endswith(b"again")
    assert came == b"later"


def test_a_board_does_not_see_a_cut() -> None:
    board = EchoBoard(says=[(START + 1, b"tick")])
    line = Line(board, now=START, faults=Faults(cut_after=1))
    line.to_board(b"abc", START)
    assert line.is_cut
    assert line.from_board(START + 2) == b""
    assert board.says == []


def faulty(data: bytes, faults: Faults, seed: str = "seed", piece: int = 4096) -> bytes:
    board = EchoBoard(echo=False)
    line = Line(board, now=START, faults=faults, seed=seed)
    for offset in range(0, len(data), piece):
        line.to_board(data[offset : offset + piece], START)
    return board.all_heard


def test_bit_errors_come_as_often_as_asked() -> None:
    data = bytes(400_000)
    flipped = sum(value.bit_count() for value in faulty(data, Faults(ber=1e-3)))
    assert flipped == pytest.approx(3200, rel=0.1)


def test_bytes_are_lost_and_doubled_as_often_as_asked() -> None:
    data = bytes(400_000)
    assert len(faulty(data, Faults(drop=0.01))) == pytest.approx(396_000, abs=400)
    assert len(faulty(data, Faults(dup=0.01))) == pytest.approx(404_000, abs=400)
    assert faulty(b"abc", Faults(drop=1)) == b""
    assert faulty(b"abc", Faults(dup=1)) == b"aabbcc"


def test_the_other_way_has_faults_of_its_own() -> None:
    data = bytes(100_000)
    board = EchoBoard()
    line = Line(board, now=START, faults=Faults(ber=1e-3), seed="seed")
    line.to_board(data, START)
    echoed = line.from_board(START)
    assert echoed != board.all_heard != data
    assert sum(value.bit_count() for value in echoed) == pytest.approx(1600, rel=0.15)


@settings(max_examples=20, deadline=None)
@given(st.integers(8, 4096), st.integers())
def test_faults_depend_on_the_seed_and_not_on_the_pieces(piece: int, seed: int) -> None:
    data = random.Random(4).randbytes(4096)
    faults = Faults(ber=1e-3, drop=0.01, dup=0.01)
    assert faulty(data, faults, str(seed), piece) == faulty(data, faults, str(seed))


def test_another_seed_gives_other_faults() -> None:
    data = bytes(10_000)
    assert faulty(data, Faults(ber=1e-3), "a") != faulty(data, Faults(ber=1e-3), "b")


def test_a_fault_specification_is_read() -> None:
    spec = "ber=1e-5,drop=0.001,dup=0.002,cut-after=100,power-cut=7"
    wanted = Faults(ber=1e-5, drop=0.001, dup=0.002, cut_after=100, power_cut=7)
    assert Faults.parse(spec) == wanted
    assert Faults.parse("dup=1") == Faults(dup=1)


@pytest.mark.parametrize(
    "spec",
    [
        "",
        "ber",
        "ber=",
        "ber=2",
        "ber=-1",
        "ber=nan",
        "ber=1e999",
        "ber=1_0",
        "ber=0.1,",
        "ber=0.1,ber=0.1",
        " ber=0.1",
        "ber=\u0661",
        "cut-after=0",
        "cut-after=1.5",
        "cut-after=+1",
        "power-cut=99999999999999999999",
        "cut_after=1",
        "melt=1",
    ],
)
def test_a_wrong_fault_specification_is_refused_by_name(spec: str) -> None:
    with pytest.raises(FaultSpecError, match="fault"):
        Faults.parse(spec)


@given(st.text() | st.from_regex(r"(ber|drop|dup|cut-after|power-cut)=[0-9.e+-]*", fullmatch=True))
def test_any_text_is_a_specification_or_the_one_error(spec: str) -> None:
    with contextlib.suppress(FaultSpecError):
        assert isinstance(Faults.parse(spec), Faults)
