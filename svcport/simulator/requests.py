"""Answers to the requests of an authenticated session: who may ask what, and the refusals.

One handler a request; protocol.messages.REQUESTS is the list of what there is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Final

from protocol.acts import (
    Activate,
    ActState,
    ActStatus,
    Begin,
    Commit,
    Confirm,
    ReceiptPage,
    Receipts,
    Reset,
    Rollback,
    TransferReady,
)
from protocol.bulk import TransferState
from protocol.channel import RECORD_LIMIT
from protocol.objects import Measurement, RefusalStatement, measured
from protocol.queries import (
    EVENTS_PER_PAGE,
    Battery,
    BatteryLevel,
    Close,
    EventPage,
    Events,
    Identify,
    Identity,
    Measure,
    Measured,
    SectorDigestPage,
    SectorDigests,
    SelfTest,
    SelfTestResult,
    SetBaud,
    Slots,
    SlotTable,
)
from protocol.record import Record
from protocol.refusal import Refusal, RefusalCode
from protocol.request import Done, Request
from protocol.statements import EpochTaken, LockNonce, NonceGiven, PutEpoch, PutTime, TimeTaken
from protocol.values import AfterState, Op, Slot
from svcport.simulator.acts import Acts
from svcport.simulator.core import Core
from svcport.simulator.factory import START_BAUD
from svcport.simulator.flash import SLOT_SIZE
from svcport.simulator.inspection import slot_info, slot_state
from svcport.simulator.intents import SessionFacts, signed_hash
from svcport.simulator.nvm import SECTORS
from svcport.simulator.refusals import RefusedError
from svcport.simulator.session import Session
from svcport.simulator.state import NONCE_SIZE, saturated
from svcport.simulator.statements import take_epoch, take_time
from svcport.simulator.transfer import Transfer

_PAGE_HEAD: Final = 42
"""Bytes of a receipt page before its receipts: accepted u8, head, count u8."""

_LENGTH_SIZE: Final = 2
_RECEIPTS_PER_PAGE: Final = 8


class Effect(Enum):
    """What the board does after an answer has gone out."""

    NONE = 0
    RESET = 1
    CLOSE = 2


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply and its consequence. `baud` is the line's new speed, 0 for no change."""

    reply: Record
    effect: Effect = Effect.NONE
    baud: int = 0


class Requests:
    """Answers for one booted lock."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._acts = Acts(core)
        self._handlers: dict[type[Record], tuple[Op, _Handler]] = {
            Identify: (Op.INFO, self._identify),
            Slots: (Op.INFO, self._slots),
            Measure: (Op.INFO, self._measure),
            Battery: (Op.INFO, self._battery),
            SectorDigests: (Op.INFO, self._sector_digests),
            ActStatus: (Op.INFO, self._act_status),
            Receipts: (Op.INFO, self._receipts),
            Events: (Op.LOGS, self._events),
            SelfTest: (Op.INFO, self._self_test),
            SetBaud: (_ANYONE, self._set_baud),
            Close: (_ANYONE, self._close),
            LockNonce: (Op.INFO, self._lock_nonce),
            PutEpoch: (_ANYONE, self._put_epoch),
            PutTime: (_ANYONE, self._put_time),
            Begin: (_ACTS, self._begin),
            Commit: (_ACTS, self._commit),
            Activate: (_ACTS, self._activate),
            Confirm: (_ACTS, self._confirm),
            Rollback: (_ACTS, self._rollback),
            Reset: (_ACTS, self._reset),
        }

    def answer(
        self, request: Request[Record], session: Session, facts: SessionFacts, now: float
    ) -> Answer:
        """The answer to any request but AUTH; raises PowerCut and nothing else."""
        entry = self._handlers.get(type(request))
        if entry is None:
            return Answer(Refusal(RefusalCode.WRONG_STATE))
        needed, handler = entry
        if needed and not needed & facts.credential.ops:
            return Answer(Refusal(RefusalCode.NOT_ALLOWED))
        try:
            return handler(request, session, facts, now)
        except RefusedError as refused:
            return Answer(self._refusal(request, facts, refused))

    def _refusal(
        self, request: Request[Record], facts: SessionFacts, refused: RefusedError
    ) -> Refusal:
        """Sign and count the refusal where an INTENT was refused: only BEGIN and ROLLBACK."""
        core, intent_hash = self._core, None
        if isinstance(request, Begin | Rollback):
            intent_hash = signed_hash(core.factory, facts, request.intent)
        if intent_hash is None:
            return Refusal(refused.code, refused.detail)
        statement = RefusalStatement(
            serial=core.factory.serial,
            intent_hash=intent_hash,
            code=refused.code,
            session=facts.hash,
        )
        core.nvm.write(replace(core.state, refusals=saturated(core.state.refusals)))
        sealed = statement.seal(core.factory.realm, core.identity)
        return Refusal(refused.code, refused.detail, sealed.build())

    def _identify(self, _request: Identify, _s: Session, _f: SessionFacts, now: float) -> Answer:
        core, state = self._core, self._core.state
        mine = core.factory
        identity = Identity(
            model=mine.model,
            hardware=mine.hardware,
            batch=mine.batch,
            bootloader=mine.bootloader,
            slot_size=SLOT_SIZE,
            block_size=mine.block_size,
            window=mine.window,
            max_baud=mine.max_baud,
            security_counter=state.security_counter,
            uptime_s=core.uptime_s(now),
            reset_count=state.reset_count,
            time_floor=state.time_floor,
            min_epoch=state.epoch.minimum,
            epoch_number=state.epoch.number,
        )
        return Answer(identity)

    def _slots(self, _request: Slots, _s: Session, _f: SessionFacts, _now: float) -> Answer:
        return Answer(
            SlotTable(tuple(slot_info(self._core, slot) for slot in Slot), self._core.target)
        )

    def _measure(self, request: Measure, _s: Session, _f: SessionFacts, _now: float) -> Answer:
        core = self._core
        core.slots.forget(request.slot)
        image = core.slots.image(request.slot)
        statement = Measurement(
            serial=core.factory.serial,
            slot=request.slot,
            state=slot_state(core, request.slot),
            image_digest=image.digest if image else None,
            after=AfterState(image.version, image.security_counter) if image else None,
            nonce=request.nonce,
            slot_digest=measured(request.nonce, core.slots.content(request.slot)),
        )
        return Answer(Measured(statement.seal(core.factory.realm, core.identity).build()))

    def _battery(self, _request: Battery, _s: Session, _f: SessionFacts, _now: float) -> Answer:
        return Answer(BatteryLevel(self._core.world.rest_mv, self._core.world.load_mv))

    def _sector_digests(
        self, request: SectorDigests, _s: Session, _f: SessionFacts, _now: float
    ) -> Answer:
        end = request.first + request.count
        if not request.count or end > SECTORS:
            raise RefusedError(RefusalCode.OUT_OF_RANGE, SECTORS)
        checks = [self._core.slots.sector_check(request.slot, n) for n in range(request.first, end)]
        return Answer(SectorDigestPage(tuple(checks)))

    def _act_status(self, _request: ActStatus, _s: Session, _f: SessionFacts, now: float) -> Answer:
        core, state = self._core, self._core.state
        ends_at = core.trial_ends_at
        status = ActState(
            phase=state.act.phase,
            op=state.act.op,
            image_digest=state.act.image_digest,
            intent_hash=state.act.intent_hash,
            ticket_id=state.act.ticket_id,
            last_op=state.last.op,
            last_result=state.last.result,
            last_digest=state.last.image_digest,
            last_intent_hash=state.last.intent_hash,
            ticket_high=state.tickets.high,
            ticket_window=state.tickets.bits,
            trial_left_s=0 if ends_at is None else max(1, int(ends_at - now)),
        )
        return Answer(status)

    def _receipts(self, request: Receipts, _s: Session, _f: SessionFacts, _now: float) -> Answer:
        core, state = self._core, self._core.state
        collected = max(state.collected, min(request.since, state.head.seq))
        core.nvm.write(replace(state, collected=collected))
        page: list[bytes] = []
        size = _PAGE_HEAD
        for receipt in core.nvm.receipts(request.since)[:_RECEIPTS_PER_PAGE]:
            size += _LENGTH_SIZE + len(receipt)
            if size > RECORD_LIMIT:
                break
            page.append(receipt)
        return Answer(ReceiptPage(state.head, tuple(page)))

    def _events(self, request: Events, _s: Session, _f: SessionFacts, _now: float) -> Answer:
        nvm = self._core.nvm
        return Answer(EventPage(nvm.next_event, tuple(nvm.events(request.since)[:EVENTS_PER_PAGE])))

    def _self_test(self, _request: SelfTest, _s: Session, _f: SessionFacts, now: float) -> Answer:
        return Answer(SelfTestResult(self._core.self_test(now)))

    def _set_baud(self, request: SetBaud, _s: Session, _f: SessionFacts, _now: float) -> Answer:
        if not START_BAUD <= request.baud <= self._core.factory.max_baud:
            raise RefusedError(RefusalCode.OUT_OF_RANGE, self._core.factory.max_baud)
        return Answer(Done(), baud=request.baud)

    def _close(self, _request: Close, _s: Session, _f: SessionFacts, _now: float) -> Answer:
        return Answer(Done(), Effect.CLOSE)

    def _lock_nonce(self, _request: LockNonce, _s: Session, _f: SessionFacts, _n: float) -> Answer:
        return Answer(NonceGiven(self._core.state.nonce))

    def _put_epoch(
        self, request: PutEpoch, session: Session, facts: SessionFacts, _now: float
    ) -> Answer:
        core = self._core
        core.nvm.write(take_epoch(core.factory, core.state, request.statement))
        epoch = core.state.epoch
        return Answer(EpochTaken(epoch.number, epoch.minimum, self._drop_fallen(session, facts)))

    def _put_time(
        self, request: PutTime, session: Session, facts: SessionFacts, _now: float
    ) -> Answer:
        core, fresh = self._core, self._core.entropy(NONCE_SIZE)
        core.nvm.write(
            take_time(core.factory, core.state, request.statement, request.issuer, fresh)
        )
        return Answer(TimeTaken(core.state.time_floor, self._drop_fallen(session, facts)))

    def _drop_fallen(self, session: Session, facts: SessionFacts) -> bool:
        """Make the session anonymous if what opened it does not stand any more."""
        falls = not facts.credential.stands(self._core.state)
        if falls:
            session.drop()
        return falls

    def _begin(self, request: Begin, session: Session, facts: SessionFacts, now: float) -> Answer:
        core, mine = self._core, self._core.factory
        opened = self._acts.begin(request, facts, now)
        if opened.session_limit_s is not None:
            session.shorten(opened.session_limit_s)
        session.transfer = Transfer(
            core.slots,
            opened.slot,
            opened.sectors,
            base_size=opened.base_size,
            keys=session.keys,
            transfer_id=session.next_transfer_id(),
            window=mine.window,
        )
        session.transfer.erase_ahead()
        return Answer(TransferReady(session.transfer.id, mine.block_size, mine.window))

    def _commit(self, request: Commit, session: Session, facts: SessionFacts, now: float) -> Answer:
        transfer = session.transfer
        if transfer is None or transfer.id != request.transfer_id:
            raise RefusedError(RefusalCode.TRANSFER_UNKNOWN)
        if transfer.state is not TransferState.COMPLETE:
            raise RefusedError(RefusalCode.TRANSFER_INCOMPLETE, transfer.due or 0)
        return Answer(self._acts.commit(facts, now))

    def _activate(self, _request: Activate, _s: Session, facts: SessionFacts, _n: float) -> Answer:
        self._acts.activate(facts)
        return Answer(Done(), Effect.RESET)

    def _confirm(self, _request: Confirm, _s: Session, facts: SessionFacts, now: float) -> Answer:
        return Answer(self._acts.confirm(facts.credential, now))

    def _rollback(self, request: Rollback, _s: Session, facts: SessionFacts, now: float) -> Answer:
        self._acts.rollback(request, facts, now)
        return Answer(Done(), Effect.RESET)

    def _reset(self, _request: Reset, _s: Session, _f: SessionFacts, _now: float) -> Answer:
        return Answer(Done(), Effect.RESET)


_Handler = Callable[[Any, Session, SessionFacts, float], Answer]
_ANYONE: Final = Op(0)
_ACTS: Final = Op.UPDATE | Op.ROLLBACK | Op.RESTORE
