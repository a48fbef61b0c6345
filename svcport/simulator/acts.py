"""Acts: BEGIN, COMMIT, ACTIVATE, CONFIRM, ROLLBACK. One INTENT, one act record, one receipt.

Every request is judged first and changes the state in one NVM record at its end, so a refusal has
changed nothing and a power cut leaves the state before or after. Rules: protocol/README, "Acts".
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from protocol.acts import Begin, Committed, Receipted, Rollback
from protocol.refusal import EventCode, RefusalCode, SelfTestPart
from protocol.values import (
    SECTOR_SIZE,
    ZERO_DIGEST,
    ActResult,
    Op,
    Phase,
    Slot,
)
from svcport.simulator.core import Core, packed
from svcport.simulator.credentials import Credential
from svcport.simulator.flash import SLOT_SIZE
from svcport.simulator.intents import Intent, SessionFacts, read_intent
from svcport.simulator.refusals import RefusedError
from svcport.simulator.slots import SlotImage
from svcport.simulator.state import NONCE_SIZE, Act, BootRecord, LockState, Trial
from svcport.simulator.tickets import JudgedTicket, check_unused, consume, judge_ticket
from svcport.simulator.world import BATTERY_CRITICAL_MV


@dataclass(frozen=True, slots=True)
class Opened:
    """An act that BEGIN opened or took up again.

    Attributes:
        sectors: what the transfer is to write, ascending.
        base_size: bytes of the image that dictionaries are taken from, 0 without one.
        session_limit_s: longest session that the ticket allows; None if it says nothing.
    """

    slot: Slot
    sectors: tuple[int, ...]
    base_size: int
    session_limit_s: int | None


class Acts:
    """Judges and performs acts on one booted lock."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._used_intents: set[bytes] = set()

    def begin(self, request: Begin, session: SessionFacts, now: float) -> Opened:
        """Open an act, continue one, or start another transfer of the session's own."""
        core = self._core
        intent = read_intent(core.factory, session, request.intent, (Op.UPDATE, Op.RESTORE))
        self._check_confirmed(now)
        sectors = _wanted_sectors(request)
        if request.slot is not core.target:
            raise RefusedError(RefusalCode.WRONG_STATE, core.state.act.phase)
        base_size = self._base_size(request)
        state, limit = core.state, None
        if state.act.is_open and state.act.intent_hash == intent.hash:
            state = replace(state, act=replace(state.act, phase=Phase.WRITING))
        else:
            ticket = self._judge_opening(request, intent, session.credential)
            state = self._open(intent, session, ticket, request.slot, Phase.WRITING)
            limit = ticket.ticket.max_session_s if ticket else None
        core.nvm.write(_without_pending(state))
        core.nvm.set_marks(request.slot, sectors, marked=False)
        core.log(EventCode.UPDATE_BEGUN, len(sectors), now)
        return Opened(request.slot, sectors, base_size, limit)

    def _base_size(self, request: Begin) -> int:
        """Bytes of the base that BEGIN names: the other slot's image, as this lock measured it."""
        if request.base_digest == ZERO_DIGEST:
            return 0
        image = self._core.slots.image(request.slot.other)
        if image is None or image.digest != request.base_digest:
            raise RefusedError(RefusalCode.BASE_UNKNOWN)
        return image.size

    def commit(self, session: SessionFacts, now: float) -> Committed:
        """Judge the whole written image."""
        core = self._core
        act = self._own_act(session, (Phase.WRITING, Phase.COMMITTED))
        core.slots.forget(act.slot)
        image = self._judge_image(act.slot, act.op, act.image_digest, act.min_counter)
        core.nvm.write(replace(core.state, act=replace(act, phase=Phase.COMMITTED)))
        core.log(EventCode.UPDATE_COMMITTED, packed(image.version), now)
        return Committed(image.digest, image.version)

    def activate(self, session: SessionFacts) -> None:
        """Have the committed image boot once; the caller resets after its answer."""
        core = self._core
        act = self._own_act(session, (Phase.COMMITTED,))
        self._judge_image(act.slot, act.op, act.image_digest, act.min_counter)
        core.nvm.write(_pending(core.state, act.slot))

    def rollback(self, request: Rollback, session: SessionFacts, now: float) -> None:
        """Open an act and have the other slot's older image boot once; the caller resets."""
        core = self._core
        intent = read_intent(core.factory, session, request.intent, (Op.ROLLBACK,))
        self._check_confirmed(now)
        self._check_older(intent)
        ticket = self._judge_opening(request, intent, session.credential)
        floor = _min_counter(ticket)
        self._judge_image(core.target, Op.ROLLBACK, intent.image_digest, floor)
        state = self._open(intent, session, ticket, core.target, Phase.PENDING)
        core.nvm.write(_pending(state, core.target))

    def confirm(self, credential: Credential, now: float) -> Receipted:
        """Make the image on trial the active one; raises the counter, never lowers it."""
        core, state = self._core, self._core.state
        if not core.on_trial or state.act.phase is not Phase.TRYING or core.running is None:
            raise RefusedError(RefusalCode.WRONG_STATE, state.act.phase)
        if not state.act.op & credential.ops:
            raise RefusedError(RefusalCode.NOT_ALLOWED)
        failed = core.self_test(now) & SelfTestPart.IMAGE
        image = core.slots.image(core.running)
        if failed or image is None:
            raise RefusedError(RefusalCode.SELF_TEST_FAILED, failed)
        state = replace(
            state,
            boot=BootRecord(core.running, core.running, Trial.NONE, 0),
            security_counter=max(state.security_counter, image.security_counter),
        )
        state = core.receipts.close(
            state, ActResult.DONE, core.after_state(state), confirm_key=credential.key.key_id
        )
        core.nvm.write(state)
        core.on_trial = False
        core.log(EventCode.CONFIRMED, packed(image.version), now)
        return Receipted(core.nvm.receipts(state.head.seq - 1)[0])

    def _check_confirmed(self, now: float) -> None:
        ends_at = self._core.trial_ends_at
        if ends_at is not None:
            raise RefusedError(RefusalCode.NOT_CONFIRMED, max(1, int(ends_at - now)))

    def _own_act(self, session: SessionFacts, phases: tuple[Phase, ...]) -> Act:
        act = self._core.state.act
        mine = (session.hash, session.credential.key.key_id)
        # A session that lost its rights may have been taken up by somebody else.
        if act.phase not in phases or (act.session, act.intent_key) != mine:
            raise RefusedError(RefusalCode.WRONG_STATE, act.phase)
        return act

    def _judge_opening(
        self, request: Begin | Rollback, intent: Intent, credential: Credential
    ) -> JudgedTicket | None:
        """Everything that opening a new act needs besides the image; changes nothing."""
        core = self._core
        # One INTENT, one act: it is bound to its session, so RAM is memory enough.
        if intent.hash in self._used_intents:
            raise RefusedError(RefusalCode.INTENT_INVALID)
        ticket = self._judge_ticket(request, intent, credential)
        core.receipts.check_room()
        if core.world.load_mv < BATTERY_CRITICAL_MV:
            raise RefusedError(RefusalCode.BATTERY_LOW, core.world.load_mv)
        return ticket

    def _judge_ticket(
        self, request: Begin | Rollback, intent: Intent, credential: Credential
    ) -> JudgedTicket | None:
        core = self._core
        if not credential.needs_ticket(intent.op):
            if request.ticket or intent.ticket_id != ZERO_DIGEST:
                raise RefusedError(RefusalCode.TICKET_INVALID)
            return None
        judged = judge_ticket(
            core.factory,
            core.state,
            credential,
            ticket=request.ticket,
            issuer=request.ticket_issuer,
            op=intent.op,
            image_digest=intent.image_digest,
        )
        if judged.id != intent.ticket_id:
            raise RefusedError(RefusalCode.INTENT_INVALID)
        if not _continues(core.state.act, intent):
            check_unused(core.state, judged.ticket)
        return judged

    def _open(
        self,
        intent: Intent,
        session: SessionFacts,
        ticket: JudgedTicket | None,
        slot: Slot,
        phase: Phase,
    ) -> LockState:
        """The state with the new act open, an older one closed and the ticket consumed."""
        core, state = self._core, self._core.state
        if state.act.is_open:
            same = _continues(state.act, intent)
            result = ActResult.SUPERSEDED if same else ActResult.ABANDONED
            used = ticket if not same else None
            state = core.receipts.close(state, result, core.after_state(state))
        else:
            used = ticket
        if used is not None:
            state = consume(state, used, core.entropy(NONCE_SIZE))
        self._used_intents.add(intent.hash)
        act = Act(
            phase=phase,
            op=intent.op,
            slot=slot,
            image_digest=intent.image_digest,
            intent_hash=intent.hash,
            ticket_id=intent.ticket_id,
            intent_key=session.credential.key.key_id,
            session=session.hash,
            min_counter=_min_counter(ticket),
        )
        return replace(state, act=act)

    def _check_older(self, intent: Intent) -> None:
        """The other slot holds an image of a lower version than runs, and it is the one meant."""
        core = self._core
        running, image = core.running_version, core.slots.image(core.target)
        if core.slots.is_blank(core.target):
            raise RefusedError(RefusalCode.NO_OLDER_IMAGE)
        if image is None or running is None:
            raise RefusedError(RefusalCode.NOT_BOOTABLE)
        if image.version >= running:
            raise RefusedError(RefusalCode.NO_OLDER_IMAGE)
        if image.digest != intent.image_digest:
            raise RefusedError(RefusalCode.IMAGE_OTHER)

    def _judge_image(self, slot: Slot, op: Op, digest: bytes, min_counter: int) -> SlotImage:
        """The slot's image if it may boot for this act, or RefusedError with the first reason."""
        core = self._core
        image = core.slots.examine(slot)
        if not isinstance(image, SlotImage):
            raise RefusedError(image)
        if image.digest != digest:
            raise RefusedError(RefusalCode.IMAGE_OTHER)
        lowest = max(core.state.security_counter, min_counter)
        if image.security_counter < lowest:
            raise RefusedError(RefusalCode.ANTI_ROLLBACK, lowest)
        running = core.running_version
        if op is Op.UPDATE and running is not None and image.version <= running:
            raise RefusedError(RefusalCode.NOT_NEWER)
        return image


def _continues(act: Act, intent: Intent) -> bool:
    """Whether the intent takes up the open act's work: same operation, image and ticket."""
    mine = (intent.op, intent.image_digest, intent.ticket_id)
    return act.is_open and (act.op, act.image_digest, act.ticket_id) == mine


def _min_counter(ticket: JudgedTicket | None) -> int:
    return (ticket.ticket.min_security_counter or 0) if ticket else 0


def _pending(state: LockState, slot: Slot) -> LockState:
    boot = replace(state.boot, candidate=slot, trial=Trial.PENDING, reboots=0)
    return replace(state, boot=boot, act=replace(state.act, phase=Phase.PENDING))


def _without_pending(state: LockState) -> LockState:
    """A boot that was ordered and has not happened is called off: its slot will be written."""
    return replace(state, boot=replace(state.boot, trial=Trial.NONE))


def _wanted_sectors(request: Begin) -> tuple[int, ...]:
    """The bitmap's sectors; RefusedError if one lies outside the image, or the image the slot."""
    if not 0 < request.image_size <= SLOT_SIZE:
        raise RefusedError(RefusalCode.OUT_OF_RANGE, SLOT_SIZE)
    count = -(-request.image_size // SECTOR_SIZE)
    bits = len(request.sectors) * 8
    bitmap = int.from_bytes(request.sectors, "big")
    sectors = tuple(n for n in range(bits) if bitmap >> (bits - 1 - n) & 1)
    if sectors and sectors[-1] >= count:
        raise RefusedError(RefusalCode.OUT_OF_RANGE, sectors[-1])
    return sectors
