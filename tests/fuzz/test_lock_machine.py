from __future__ import annotations

import os
from typing import Any

from fuzz.lockbench import Bench
from fuzz.lockplay import ISSUERS, OPS
from fuzz.papers import signed_by
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from simulator import trainer

from protocol.acts import Activate, ActStatus, Commit, Confirm, Receipts, Reset, Rollback
from protocol.frame import FrameType
from protocol.messages import REQUESTS
from protocol.objects import EpochStatement, TimeStatement, nonce_hash
from protocol.queries import Battery, Close, Events, Identify, SetBaud, Slots
from protocol.sealed import ObjectType
from protocol.statements import LockNonce, PutEpoch, PutTime
from protocol.values import ZERO_DIGEST, Op
from svcport.simulator.flash import Cut

FULL = bool(os.environ.get("SVCPORT_FULL"))
IMAGES = st.integers(0, 4)
REQUESTS_PLAIN = st.sampled_from(
    [
        Activate(),
        Confirm(),
        Confirm(),
        Reset(),
        Close(),
        Receipts(0),
        Receipts(1),
        Events(0),
        Identify(),
        Slots(),
        Battery(),
        ActStatus(),
        LockNonce(),
        SetBaud(115_200),
        SetBaud(921_600),
        SetBaud(9_000_000),
    ]
)
TAILS = st.just(b"") | st.binary(max_size=60)
WRONG: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [
        {},
        {},
        {},
        {},
        {"session": ZERO_DIGEST},
        {"lock_serial": "TR-000002"},
        {"lock_head": None},
        {"op": None},
        {"image_digest": None},
        {"technician_hash": ZERO_DIGEST},
    ]
)


class LockMachine(RuleBasedStateMachine):
    """Whatever a host does, in whatever order: Bench asks after each step what must hold."""

    @initialize()
    def power_up(self) -> None:
        self.bench = Bench()

    def is_open(self) -> bool:
        return self.bench.channel is not None and self.bench.is_open()

    @rule(seconds=st.sampled_from([0.01, 0.5, 2.0, 30.0, 121.0, 400.0]))
    def time_passes(self, seconds: float) -> None:
        self.bench.wait(seconds)

    @rule(request=REQUESTS_PLAIN)
    def a_stranger_comes(self, request: Identify) -> None:
        self.bench.wait(0.5)
        self.bench.open()
        self.bench.ask(request)

    @rule(issuer=st.sampled_from(ISSUERS), body=st.none() | st.binary(max_size=400))
    def somebody_tries_to_enter(self, issuer: trainer.Key, body: bytes | None) -> None:
        self.bench.wait(0.5)
        self.bench.open()
        if body is None:
            self.bench.auth(key=trainer.STRANGER, issuer=issuer)
        else:
            self.bench.present(signed_by(issuer, ObjectType.TECHNICIAN, body))

    @rule()
    def a_technician_enters(self) -> None:
        self.bench.wait(0.5)
        self.bench.open()
        self.bench.auth()

    @rule(data=st.binary(max_size=100), kind=st.none() | st.sampled_from(FrameType))
    def noise_comes(self, data: bytes, kind: FrameType | None) -> None:
        if kind is None:
            self.bench.say(data or self.bench.last_frame)
        else:
            self.bench.frame(kind, 0, data)

    @precondition(is_open)
    @rule(opcode=st.sampled_from(sorted(REQUESTS)) | st.integers(0, 255), tail=TAILS)
    def any_record_comes(self, opcode: int, tail: bytes) -> None:
        self.bench.plain(bytes([opcode]) + tail)

    @precondition(is_open)
    @rule(request=REQUESTS_PLAIN)
    def a_request_comes(self, request: Identify) -> None:
        self.bench.ask(request)

    @precondition(is_open)
    @rule(
        op=st.sampled_from(OPS),
        image=IMAGES,
        counter=st.none() | st.integers(1, 5),
        changes=WRONG,
        sectors=st.integers(0, 7),
        slot=st.none() | st.none() | st.integers(0, 1),
    )
    def an_act_is_begun(
        self,
        op: Op,
        image: int,
        counter: int | None,
        changes: dict[str, Any],
        sectors: int,
        slot: int | None,
    ) -> None:
        paper = None if counter is None else self.bench.paper(op, image, counter)
        intent = self.bench.intend(op, image, paper, **changes)
        self.bench.begin(intent, paper, image, sectors, slot)

    @precondition(is_open)
    @rule(image=st.just(1) | IMAGES, counter=st.none() | st.integers(1, 5), changes=WRONG)
    def a_rollback_is_asked_for(
        self, image: int, counter: int | None, changes: dict[str, Any]
    ) -> None:
        paper = None if counter is None else self.bench.paper(Op.ROLLBACK, image, counter)
        intent = self.bench.intend(Op.ROLLBACK, image, paper, **changes)
        ticket, issuer = (paper.ticket, paper.issuer) if paper else (b"", b"")
        self.bench.ask(Rollback(intent, ticket, issuer))

    @precondition(is_open)
    @rule(image=st.sampled_from([2, 2, 3, 3, 4]), start=st.booleans())
    def an_update_is_sent_whole(self, image: int, start: bool) -> None:
        self.bench.begin(self.bench.intend(Op.UPDATE, image), None, image)
        self.bench.upload(8)
        self.bench.ask(Commit(self.bench.transfer_id))
        if start:
            self.bench.ask(Activate())
            self.a_technician_enters()

    @precondition(lambda self: self.bench.sender is not None)
    @rule(count=st.integers(0, 4), number=st.integers(0, 9), content=st.binary(max_size=64))
    def blocks_are_sent(self, count: int, number: int, content: bytes) -> None:
        if count:
            self.bench.upload(count)
        else:
            self.bench.block(number, content)

    @precondition(is_open)
    @rule(
        by=st.sampled_from([trainer.ROOT, trainer.ISSUER]),
        number=st.integers(0, 4),
        least=st.integers(0, 2),
        revoke=st.booleans(),
    )
    def an_epoch_comes(self, by: trainer.Key, number: int, least: int, revoke: bool) -> None:
        revoked = (trainer.TECHNICIAN.subject.key_id,) if revoke else ()
        body = EpochStatement(
            number=number, min_epoch=least, issued_at=trainer.BEGINS, revoked=revoked
        )
        self.bench.ask(PutEpoch(body.seal(trainer.REALM, by).build()))

    @precondition(is_open)
    @rule(ahead=st.integers(-1, 2**40), by=st.sampled_from(ISSUERS))
    def the_time_comes(self, ahead: int, by: trainer.Key) -> None:
        nonce = nonce_hash(self.bench.board.core.state.nonce)
        body = TimeStatement(unix_time=trainer.BEGINS + ahead, nonce_hash=nonce)
        statement = body.seal(trainer.REALM, by).build()
        self.bench.ask(PutTime(statement, trainer.issuer_certificate()))

    @rule(operations=st.none() | st.integers(0, 8), how=st.sampled_from(Cut))
    def power_fails(self, operations: int | None, how: Cut) -> None:
        if operations is None:
            self.bench.power_cycle()
        else:
            self.bench.cut_soon(operations, how)


TestLockMachine = LockMachine.TestCase
TestLockMachine.settings = settings(
    max_examples=2000 if FULL else 60,
    stateful_step_count=60 if FULL else 25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
