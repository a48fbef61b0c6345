"""A hijacked or broken host: it holds an honest technician's session and does something else."""

from __future__ import annotations

import contextlib
import random
from dataclasses import replace
from pathlib import Path

import pytest
from fieldkit import make_field
from locksim import Cable
from security.kit import another_host, durable
from simulator.actkit import (
    FIXED,
    GOOD,
    NEXT,
    begin_refused,
    code_of,
    make_host,
    results,
    running,
)
from simulator.hostdriver import Host, RefusedByLock, Silence, refused, unit_stream
from simulator.trainer import digest, image, paper

from protocol.acts import Activate, ActStatus, Begin, Commit, Confirm, Reset, Rollback
from protocol.bulk import TransferState
from protocol.frame import Frame, FrameDecoder, FrameType
from protocol.messages import encode_request
from protocol.queries import Close, Identify, SelfTest
from protocol.refusal import RefusalCode
from protocol.values import ActResult, Op, Phase
from svcport.errors import Reason, RefusedError, SvcportError
from svcport.simulator.board import Board


@pytest.fixture
def host() -> Host:
    made = make_host()
    made.login()
    return made


# Another image than was signed for


def sent(host: Host, intended: bytes, actual: bytes) -> RefusalCode:
    """An INTENT for one image, the bytes of another."""
    sectors = host.missing(actual)
    ready = host.begin(actual, sectors=sectors, intent=host.intent(Op.UPDATE, digest(intended)))
    assert host.upload(ready, unit_stream(actual, sectors)).state is TransferState.COMPLETE
    with pytest.raises(RefusedByLock) as caught:
        host.call(Commit(ready.transfer_id))
    return code_of(caught)


def test_an_image_swapped_after_the_intent_is_refused_at_commit(host: Host) -> None:
    assert sent(host, FIXED, NEXT) is RefusalCode.IMAGE_OTHER
    assert refused(host, Activate()) is RefusalCode.WRONG_STATE
    host.call(Reset())
    host.login()
    assert running(host) == "2.4.0+0"


def test_an_image_swapped_between_commit_and_activate_needs_an_intent_of_its_own(
    host: Host,
) -> None:
    host.send_image(FIXED)
    ready = host.begin(NEXT)  # the committed act is over with this
    assert refused(host, Activate()) is RefusalCode.WRONG_STATE
    assert refused(host, Commit(ready.transfer_id)) is RefusalCode.TRANSFER_INCOMPLETE
    assert results(host) == [ActResult.ABANDONED]


def test_a_block_of_an_earlier_transfer_does_not_enter_a_later_one(host: Host) -> None:
    sectors = host.missing(FIXED)
    first = host.begin(FIXED, sectors=sectors)
    old = host.upload_some(first, unit_stream(FIXED, sectors), 1)
    assert old
    captured = Frame(FrameType.BLOCK, 0, bytes(4000)).build()
    second = host.begin(NEXT, sectors=host.missing(NEXT))
    host.write(captured)
    with pytest.raises(RefusedByLock) as caught:
        host.call(Commit(second.transfer_id))
    assert code_of(caught) is RefusalCode.TRANSFER_INCOMPLETE
    assert refused(host, Commit(first.transfer_id)) is RefusalCode.TRANSFER_UNKNOWN


def test_an_image_that_the_vendor_did_not_sign_is_refused_whatever_the_intent(host: Host) -> None:
    forged = image("2.6.0", key="thief")
    sectors = host.missing(forged)
    name = bytes(range(32))
    ready = host.begin(forged, sectors=sectors, intent=host.intent(Op.UPDATE, name))
    host.upload(ready, unit_stream(forged, sectors))
    with pytest.raises(RefusedByLock) as caught:
        host.call(Commit(ready.transfer_id))
    assert code_of(caught) in {RefusalCode.IMAGE_SIGNER, RefusalCode.IMAGE_SIGNATURE}


def test_an_old_counter_is_refused_with_ticket_and_signature(host: Host) -> None:
    old = image("2.2.0", counter=2)
    with pytest.raises(RefusedByLock) as caught:
        host.send_image(old, Op.RESTORE, paper(Op.RESTORE, digest(old)))
    assert code_of(caught) is RefusalCode.ANTI_ROLLBACK


def test_what_was_never_tested_is_never_confirmed(host: Host) -> None:
    host.send_image(FIXED)
    assert refused(host, Confirm()) is RefusalCode.WRONG_STATE
    host.call(Activate())
    host.login()
    assert host.call(SelfTest()).failed == 0
    host.call(Reset())  # a trial that nobody confirms
    host.login()
    assert running(host) == "2.4.0+0"
    assert refused(host, Confirm()) is RefusalCode.WRONG_STATE


# Another lock


def test_an_intent_for_another_lock_is_refused(host: Host) -> None:
    intent = host.intent(Op.UPDATE, digest(FIXED), lock_serial="TR-000002")
    assert begin_refused(host, FIXED, intent=intent) is RefusalCode.INTENT_INVALID


def test_a_ticket_for_another_lock_is_refused(host: Host) -> None:
    order = paper(Op.RESTORE, digest(FIXED), lock_serial="TR-000002")
    assert begin_refused(host, FIXED, Op.RESTORE, order) is RefusalCode.TICKET_LOCK


def test_a_swapped_plug_is_seen_before_anything_is_asked(tmp_path: Path) -> None:
    field = make_field(tmp_path)
    before = field.board.core.state
    with pytest.raises(RefusedError) as caught:
        field.restore(expect_serial="TR-999999")
    assert caught.value.reason is Reason.WRONG_LOCK
    assert replace(field.board.core.state, time_floor=before.time_floor) == before


# The same thing twice


def test_a_request_sent_twice_is_done_once(host: Host) -> None:
    order = paper(Op.ROLLBACK, digest(GOOD))
    intent = host.intent(Op.ROLLBACK, digest(GOOD), order.id)
    frame = host.channel.send(encode_request(Rollback(intent, order.ticket, order.issuer)))
    first = FrameDecoder()
    host.write(frame)
    answers = [frame.build() for frame in host.frames()]
    assert len(answers) == 1
    for _ in range(5):
        host.write(frame)
        host.now += 1
        answers += [f.build() for f in first.feed(host.board.poll(host.now))]
    host.login()
    host.call(Confirm())
    assert results(host) == [ActResult.DONE]
    assert host.call(ActStatus()).ticket_high == 1
    assert begin_refused(host, GOOD, Op.ROLLBACK, order) is RefusalCode.INTENT_INVALID


def test_a_finished_act_does_not_run_again_on_its_old_papers(host: Host) -> None:
    order = paper(Op.ROLLBACK, digest(GOOD))
    intent = host.intent(Op.ROLLBACK, digest(GOOD), order.id)
    request = Rollback(intent, order.ticket, order.issuer)
    host.call(request)
    host.login()
    host.call(Confirm())
    host.login()
    before = durable(host)
    assert refused(host, request) is RefusalCode.INTENT_INVALID  # of an ended session
    assert durable(host) == before


def test_an_intent_is_good_once_even_in_its_own_session(host: Host) -> None:
    sectors = host.missing(FIXED)
    intent = host.intent(Op.UPDATE, digest(FIXED))
    host.begin(FIXED, sectors=sectors, intent=intent)
    host.begin(NEXT)  # abandons it
    assert begin_refused(host, FIXED, intent=intent) is RefusalCode.INTENT_INVALID
    assert results(host) == [ActResult.ABANDONED]


def test_two_hosts_at_one_lock_do_not_mix_their_acts(host: Host) -> None:
    host.send_image(FIXED)
    second = another_host(host)
    second.login()
    assert refused(second, Activate()) is RefusalCode.WRONG_STATE
    with pytest.raises((Silence, RefusedByLock)):
        host.call(Activate())
    assert second.call(ActStatus()).phase is Phase.COMMITTED


# Dying in the middle


@pytest.mark.parametrize("part", range(8))
def test_a_power_cut_anywhere_costs_no_second_ticket_and_loses_no_receipt(part: int) -> None:
    host = make_host()
    order = paper(Op.RESTORE, digest(FIXED))
    flash, whole = host.board._flash, _operations_of_a_restore()
    flash.cut_at(flash.operations + 1 + part * (whole - 1) // 8)
    with contextlib.suppress(Silence, RefusedByLock):
        host.install(FIXED, Op.RESTORE, order)
    again = another_host(host)
    again.now += 200
    again.login()
    status = again.call(ActStatus())
    if status.last_result is ActResult.REVERTED and status.last_op:
        # cut during the trial: the old image runs again, and the receipt says so
        assert (running(again), results(again)) == ("2.4.0+0", [ActResult.REVERTED])
        return
    if status.phase is Phase.TRYING:
        again.call(Confirm())
    elif running(again) != "2.4.1+0":
        again.install(FIXED, Op.RESTORE, order)
    assert running(again) == "2.4.1+0"
    assert results(again)[-1] is ActResult.DONE
    assert set(results(again)[:-1]) <= {ActResult.SUPERSEDED}
    assert again.call(ActStatus()).ticket_window == 1


def _operations_of_a_restore() -> int:
    host = make_host()
    before = host.board._flash.operations
    host.install(FIXED, Op.RESTORE, paper(Op.RESTORE, digest(FIXED)))
    return int(host.board._flash.operations - before)


# What is no protocol


def test_malformed_frames_change_nothing_and_the_lock_answers_as_before() -> None:
    host = make_host()
    host.now += 0.5
    before = host.board.core.state
    rng = random.Random(7)
    good = Frame(FrameType.HELLO, 0, bytes(10)).build()
    for turn in range(4000):
        data = bytearray(good if turn % 2 else rng.randbytes(rng.randrange(1, 80)))
        data[rng.randrange(len(data))] = rng.randrange(256)
        host.write(bytes(data) + b"\0")
        if turn % 100 == 0:
            host.now += 1
            host.board.poll(host.now)
    host.write(bytes(range(1, 256)) * 300 + b"\0")
    host.now += 60
    host.board.poll(host.now)
    assert host.board.core.state == before
    host.login()
    assert host.call(Identify()).model == "AL-1"


def test_malformed_requests_in_a_session_are_refused_by_name_and_change_nothing(
    host: Host,
) -> None:
    before = durable(host)
    rng = random.Random(8)
    intent = host.intent(Op.UPDATE, digest(FIXED))
    whole = encode_request(Begin(intent, b"", b"", host.target(), 5, bytes(32), bytes(14)))
    for cut in [*range(1, len(whole), 7)]:
        assert _code(host, whole[:cut]) in {RefusalCode.MALFORMED, RefusalCode.INTENT_INVALID}
    for extra in (1, 2, 100):
        assert _code(host, whole + rng.randbytes(extra)) is RefusalCode.MALFORMED
    for opcode in (2, 3, 9, 10, 11, 13, 16, 18):
        assert _code(host, bytes([opcode]) + rng.randbytes(5)) is RefusalCode.MALFORMED
    assert durable(host) == before
    host.call(Close())


def _code(host: Host, plaintext: bytes) -> RefusalCode:
    host.write(host.channel.send(plaintext))
    reply = host.channel.receive(host.wait(FrameType.CONTROL_REPLY))
    assert reply is not None
    assert reply[0] == 1
    return RefusalCode(reply[1])


def test_a_lock_that_answers_rubbish_is_an_error_with_a_name(tmp_path: Path) -> None:
    """The host's parsers are as strict: whatever comes, a command ends with a stable reason."""
    field = make_field(tmp_path)
    genuine = field.board
    named = {Reason.NO_LOCK, Reason.LINK_LOST, Reason.LOCK_IDENTITY, Reason.PROTOCOL_VERSION}
    seen = set()
    for seed in range(12):
        field.cables["P0"] = Cable("P0", _Garbler(genuine, seed))  # type: ignore[arg-type]
        try:
            field.identify()
        except SvcportError as error:
            seen.add(error.reason)
    assert seen
    assert seen <= named


class _Garbler:
    """A lock whose answers lose, double or change bytes."""

    def __init__(self, board: Board, seed: int) -> None:
        self._board, self._rng = board, random.Random(seed)

    def receive(self, data: bytes, now: float) -> None:
        self._board.receive(data, now)

    def poll(self, now: float) -> bytes:
        said = bytearray(self._board.poll(now))
        if said and self._rng.random() < 0.5:
            said[self._rng.randrange(len(said))] ^= 1 << self._rng.randrange(8)
        return bytes(said)

    def wake_at(self) -> float | None:
        return self._board.wake_at()
