from __future__ import annotations

from dataclasses import replace

import pytest
from simulator.actkit import (
    BAD,
    FIXED,
    GOOD,
    NEXT,
    B,
    begin_refused,
    code_of,
    make_host,
    receipts,
    results,
    running,
)
from simulator.hostdriver import (
    Host,
    RefusedByLock,
    refused,
    unit_stream,
)
from simulator.trainer import (
    DEPOT,
    TECHNICIAN,
    digest,
    image,
    issuer_certificate,
    paper,
    technician_certificate,
)

from protocol.acts import Activate, ActStatus, Commit, Confirm, Receipts, Reset
from protocol.bulk import TransferState
from protocol.objects import (
    Receipt,
)
from protocol.queries import Identify, SelfTest, Slots
from protocol.refusal import RefusalCode, SelfTestPart
from protocol.scope import serial_range
from protocol.sealed import Sealed
from protocol.values import (
    SECTOR_SIZE,
    ZERO_DIGEST,
    ActResult,
    Op,
    Phase,
    Role,
    SlotState,
)
from svcport.simulator.flash import SLOT_ADDRESS
from svcport.simulator.nvm import Nvm
from svcport.simulator.state import LockState, Trial


@pytest.fixture
def host() -> Host:
    made = make_host()
    made.login()
    return made


def test_an_update_runs_is_confirmed_and_leaves_one_receipt(host: Host) -> None:
    receipt = Receipt.read(Sealed.parse(host.install(FIXED).receipt))
    assert running(host) == "2.4.1+0"
    assert receipts(host) == [receipt]
    assert (receipt.op, receipt.result) == (Op.UPDATE, ActResult.DONE)
    assert receipt.image_digest == digest(FIXED)
    assert receipt.ticket_id == ZERO_DIGEST
    assert receipt.intent_key == receipt.confirm_key == TECHNICIAN.subject.key_id
    assert receipt.after is not None
    assert (str(receipt.after.version), receipt.after.security_counter) == ("2.4.1+0", 3)
    assert host.call(ActStatus()).last_intent_hash == receipt.intent_hash


def test_confirming_raises_the_security_counter_and_nothing_lowers_it(host: Host) -> None:
    host.install(NEXT)
    assert host.call(Identify()).security_counter == 4
    order = paper(Op.RESTORE, digest(FIXED))
    host.login()
    with pytest.raises(RefusedByLock) as caught:
        host.send_image(FIXED, Op.RESTORE, order)
    assert code_of(caught) is RefusalCode.ANTI_ROLLBACK
    assert caught.value.refusal.detail == 4
    assert host.call(Identify()).security_counter == 4


def test_a_trial_does_not_raise_the_counter(host: Host) -> None:
    host.send_image(NEXT)
    host.call(Activate())
    host.login()
    assert host.call(Identify()).security_counter == 3
    host.call(Reset())
    host.login()
    assert results(host) == [ActResult.REVERTED]
    assert host.call(Identify()).security_counter == 3


def test_a_rollback_boots_the_other_slots_older_image_on_a_ticket(host: Host) -> None:
    order = paper(Op.ROLLBACK, digest(GOOD), 7)
    host.rollback(GOOD, order)
    host.login()
    status = host.call(ActStatus())
    assert (status.phase, status.op, status.ticket_id) == (Phase.TRYING, Op.ROLLBACK, order.id)
    assert (status.ticket_high, status.ticket_window) == (7, 1)
    host.call(Confirm())
    assert running(host) == "2.3.1+0"
    assert [(r.op, r.ticket_id) for r in receipts(host)] == [(Op.ROLLBACK, order.id)]


def test_a_restore_takes_any_version_on_a_ticket(host: Host) -> None:
    older = image("1.0.0")
    host.install(older, Op.RESTORE, paper(Op.RESTORE, digest(older)))
    assert running(host) == "1.0.0+0"


def test_confirm_may_come_from_another_technician_and_the_receipt_names_both(host: Host) -> None:
    host.send_image(FIXED)
    host.call(Activate())
    host.technician = DEPOT
    host.technician_cert = technician_certificate(subject=DEPOT.subject, role=Role.DEPOT)
    host.login()
    receipt = Receipt.read(Sealed.parse(host.call(Confirm()).receipt))
    assert receipt.intent_key == TECHNICIAN.subject.key_id
    assert receipt.confirm_key == DEPOT.subject.key_id


def test_confirm_needs_the_acts_operation(host: Host) -> None:
    host.send_image(FIXED)
    host.call(Activate())
    host.technician_cert = technician_certificate(ops=Op.INFO | Op.RESTORE)
    host.login()
    assert refused(host, Confirm()) is RefusalCode.NOT_ALLOWED


def test_while_trying_begin_and_rollback_are_refused_as_not_confirmed(host: Host) -> None:
    host.send_image(FIXED)
    host.call(Activate())
    host.login()
    assert begin_refused(host, NEXT) is RefusalCode.NOT_CONFIRMED
    order = paper(Op.ROLLBACK, digest(BAD))
    with pytest.raises(RefusedByLock) as caught:
        host.rollback(BAD, order)
    assert code_of(caught) is RefusalCode.NOT_CONFIRMED
    assert 500 < caught.value.refusal.detail <= 600


def test_confirm_is_refused_when_the_running_image_rots(host: Host) -> None:
    host.send_image(FIXED)
    host.call(Activate())
    host.login()
    flash = host.board._flash
    flash._buffer[SLOT_ADDRESS[B] + 9000] ^= 1
    assert host.call(SelfTest()).failed == SelfTestPart.IMAGE
    reply = host.ask(Confirm())
    assert getattr(reply, "code", None) is RefusalCode.SELF_TEST_FAILED


@pytest.mark.parametrize("request_", [Commit(1), Activate(), Confirm()])
def test_steps_without_their_act_are_refused(host: Host, request_: object) -> None:
    wanted = (
        RefusalCode.TRANSFER_UNKNOWN if isinstance(request_, Commit) else RefusalCode.WRONG_STATE
    )
    assert refused(host, request_) is wanted  # type: ignore[arg-type]


def test_commit_and_activate_run_only_in_the_session_of_the_intent(host: Host) -> None:
    host.send_image(FIXED)
    host.login()
    assert refused(host, Commit(1)) is RefusalCode.TRANSFER_UNKNOWN
    assert refused(host, Activate()) is RefusalCode.WRONG_STATE
    host.send_image(FIXED)
    host.call(Activate())
    host.login()
    host.call(Confirm())
    assert results(host) == [ActResult.SUPERSEDED, ActResult.DONE]


def test_commit_before_the_last_sector_is_incomplete_and_says_what_is_missing(host: Host) -> None:
    ready = host.begin(FIXED)
    reply = host.ask(Commit(ready.transfer_id))
    assert getattr(reply, "code", None) is RefusalCode.TRANSFER_INCOMPLETE
    assert getattr(reply, "statement", None) == b""


# Continuing, superseding, abandoning


def test_the_same_intent_in_its_session_is_another_transfer_of_the_act(host: Host) -> None:
    intent = host.intent(Op.UPDATE, digest(FIXED))
    first = host.begin(FIXED, intent=intent)
    second = host.begin(FIXED, intent=intent)
    assert (first.transfer_id, second.transfer_id) == (1, 2)
    assert refused(host, Commit(first.transfer_id)) is RefusalCode.TRANSFER_UNKNOWN
    sender = host.upload(second, unit_stream(FIXED, host.missing(FIXED)))
    assert sender.state is TransferState.COMPLETE
    host.call(Commit(second.transfer_id))
    assert host.call(ActStatus()).phase is Phase.COMMITTED
    host.begin(FIXED, intent=intent)
    assert host.call(ActStatus()).phase is Phase.WRITING
    assert results(host) == []


def test_a_new_intent_for_the_same_work_supersedes_and_consumes_nothing(host: Host) -> None:
    order = paper(Op.RESTORE, digest(FIXED), 3)
    host.begin(FIXED, Op.RESTORE, order)
    host.login()
    host.send_image(FIXED, Op.RESTORE, order)
    assert results(host) == [ActResult.SUPERSEDED]
    status = host.call(ActStatus())
    assert (status.phase, status.ticket_high, status.ticket_window) == (Phase.COMMITTED, 3, 1)
    host.call(Activate())
    host.login()
    host.call(Confirm())
    assert [r.ticket_id for r in receipts(host)] == [order.id] * 2
    host.login()
    assert begin_refused(host, FIXED, Op.RESTORE, order) is RefusalCode.TICKET_USED


def test_another_intent_abandons_the_open_act(host: Host) -> None:
    host.begin(FIXED)
    host.begin(NEXT)
    assert results(host) == [ActResult.ABANDONED]
    assert host.call(ActStatus()).image_digest == digest(NEXT)


def test_another_ticket_for_the_same_image_abandons_and_is_consumed(host: Host) -> None:
    host.begin(FIXED, Op.RESTORE, paper(Op.RESTORE, digest(FIXED), 3))
    host.begin(FIXED, Op.RESTORE, paper(Op.RESTORE, digest(FIXED), 4))
    assert results(host) == [ActResult.ABANDONED]
    assert host.call(ActStatus()).ticket_window == 0b11


def test_one_intent_is_one_act_even_after_it_was_closed(host: Host) -> None:
    intent = host.intent(Op.UPDATE, digest(FIXED))
    host.begin(FIXED, intent=intent)
    host.begin(NEXT)
    assert begin_refused(host, FIXED, intent=intent) is RefusalCode.INTENT_INVALID


def test_a_rollback_abandons_an_update_that_was_being_written_into_its_slot(host: Host) -> None:
    host.begin(FIXED, sectors=[50], image_size=51 * SECTOR_SIZE)
    host.rollback(GOOD, paper(Op.ROLLBACK, digest(GOOD)))
    host.login()
    host.call(Confirm())
    assert results(host) == [ActResult.ABANDONED, ActResult.DONE]


def test_a_continuation_is_judged_afresh(host: Host) -> None:
    order = paper(Op.RESTORE, digest(FIXED))
    host.begin(FIXED, Op.RESTORE, order)
    host.technician = DEPOT
    host.technician_cert = technician_certificate(subject=DEPOT.subject)
    host.login()
    assert begin_refused(host, FIXED, Op.RESTORE, order) is RefusalCode.TICKET_HOLDER


@pytest.mark.parametrize("what", ["epoch of the ticket", "issuer's scope", "issuer's end"])
def test_a_continuation_needs_papers_that_still_stand(host: Host, what: str) -> None:
    order = paper(Op.RESTORE, digest(FIXED))
    host.begin(FIXED, Op.RESTORE, order)
    core = host.board.core
    if what == "epoch of the ticket":
        core.nvm.write(replace(core.state, epoch=replace(core.state.epoch, minimum=2)))
        host.issuer_cert = issuer_certificate(epoch=2)
        host.technician_cert = technician_certificate(epoch=2)
        wanted = RefusalCode.REVOKED
    elif what == "issuer's scope":
        order = replace(order, issuer=issuer_certificate(scope=(serial_range("Z", "Z"),)))
        wanted = RefusalCode.OUT_OF_SCOPE
    else:
        order = replace(order, issuer=issuer_certificate(not_after=core.state.time_floor - 1))
        wanted = RefusalCode.TICKET_EXPIRED
    host.login()
    assert begin_refused(host, FIXED, Op.RESTORE, order) is wanted


@pytest.mark.parametrize("op", [Op.UPDATE, Op.ROLLBACK])
def test_an_act_opened_before_a_pending_boot_calls_it_off_in_the_same_record(
    host: Host, op: Op, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = paper(Op.ROLLBACK, digest(GOOD))
    core = host.board.core
    if op is Op.UPDATE:
        host.send_image(FIXED)
    else:
        host.begin(GOOD, Op.RESTORE, paper(Op.RESTORE, digest(GOOD), 2), sectors=[])
    pending = replace(core.state.boot, candidate=core.target, trial=Trial.PENDING)
    act = replace(core.state.act, phase=Phase.PENDING)
    core.nvm.write(replace(core.state, boot=pending, act=act))
    written: list[LockState] = []
    write = Nvm.write
    monkeypatch.setattr(Nvm, "write", lambda nvm, s: (written.append(s), write(nvm, s))[1])
    if op is Op.UPDATE:
        host.begin(NEXT)
        assert (written[0].boot.trial, written[0].act.phase) == (Trial.NONE, Phase.WRITING)
    else:
        host.rollback(GOOD, order)
        assert (written[0].boot.trial, written[0].act.op) == (Trial.PENDING, Op.ROLLBACK)
    assert written[0].act.image_digest == digest(NEXT if op is Op.UPDATE else GOOD)
    assert written[0].head.seq == 1


def test_an_act_survives_a_power_cut_and_its_sectors_are_not_sent_again(host: Host) -> None:
    ready = host.begin(FIXED)
    stream = unit_stream(FIXED, range(6))
    assert host.upload_some(ready, stream, 4).consumed == 4
    host.board.power_cycle(host.now)
    host.login()
    assert host.call(ActStatus()).phase is Phase.WRITING
    assert host.call(Slots()).slots[B].state is SlotState.PARTIAL
    assert host.missing(FIXED) == [4, 5]
    host.send_image(FIXED)


# Receipts


def test_sixty_uncollected_receipts_refuse_new_acts_until_they_are_collected(host: Host) -> None:
    # Sectors behind the image in the slot, so that it stays bootable.
    beyond = {"sectors": [50], "image_size": 51 * SECTOR_SIZE}
    for _ in range(30):
        host.begin(FIXED, **beyond)
        host.begin(NEXT, **beyond)
    host.begin(FIXED, **beyond)
    assert host.call(Receipts(0)).head.seq == 60
    assert begin_refused(host) is RefusalCode.RECEIPTS_FULL
    with pytest.raises(RefusedByLock) as caught:
        host.rollback(GOOD, paper(Op.ROLLBACK, digest(GOOD)))
    assert (code_of(caught), caught.value.refusal.detail) == (RefusalCode.RECEIPTS_FULL, 60)
    assert len(receipts(host)) == 60
    host.call(Receipts(60))
    host.begin(NEXT)


def test_asking_from_beyond_the_head_collects_no_receipt_to_come(host: Host) -> None:
    host.call(Receipts(1 << 40))
    assert host.board.core.state.collected == 0
