"""The harness of the simulated lock's session: bytes choose what a host does, step by step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from fuzz.harness import Harness, Pieces, nothing_more
from fuzz.lockbench import Bench
from fuzz.papers import signed_by
from simulator import trainer

from protocol.acts import Activate, Commit, Confirm, Receipts, Reset, Rollback
from protocol.frame import FrameType
from protocol.objects import EpochStatement, TimeStatement, nonce_hash
from protocol.queries import Close, Events, SectorDigests, SetBaud
from protocol.sealed import BODY_LIMIT, ObjectType
from protocol.statements import PutEpoch, PutTime
from protocol.values import ZERO_DIGEST, Op, Slot
from svcport.simulator.flash import Cut

WAITS_S = (0.01, 0.5, 1.0, 2.0, 30.0, 121.0, 400.0)
STEP_LIMIT = 24
OPS = (Op.UPDATE, Op.ROLLBACK, Op.RESTORE)
KEYS = (trainer.TECHNICIAN, trainer.STRANGER)
ISSUERS = (trainer.ISSUER, trainer.STRANGER)


def _wait(bench: Bench, pieces: Pieces) -> None:
    bench.wait(WAITS_S[pieces.number() % len(WAITS_S)])


def _say(bench: Bench, pieces: Pieces) -> None:
    bench.say(pieces.some())


def _frame(bench: Bench, pieces: Pieces) -> None:
    kind = tuple(FrameType)[pieces.number() % len(FrameType)]
    bench.frame(kind, pieces.number(2), pieces.some())


def _repeat(bench: Bench, _pieces: Pieces) -> None:
    bench.repeat()


def _open(bench: Bench, _pieces: Pieces) -> None:
    bench.open()


def _auth(bench: Bench, pieces: Pieces) -> None:
    choice = pieces.number()
    bench.auth(key=KEYS[choice & 1], issuer=ISSUERS[choice >> 1 & 1])


def _enter(bench: Bench, _pieces: Pieces) -> None:
    bench.wait(0.5)
    bench.open()
    bench.auth()


def _present(bench: Bench, pieces: Pieces) -> None:
    body = pieces.some()[:BODY_LIMIT]
    bench.present(signed_by(trainer.ISSUER, ObjectType.TECHNICIAN, body)[:640])


def _plain(bench: Bench, pieces: Pieces) -> None:
    bench.plain(pieces.some())


def _begin(bench: Bench, pieces: Pieces) -> None:
    """An act that fits, but for what is chosen to be wrong."""
    op, image = OPS[pieces.number() % 3], pieces.number() % 5
    wrong, sectors = pieces.number(), pieces.number()
    paper = bench.paper(op, image, pieces.number()) if wrong & 1 else None
    changes: dict[str, object] = {}
    if wrong & 2:
        changes["session"] = ZERO_DIGEST
    if wrong & 4:
        changes["lock_serial"] = "TR-000002"
    if wrong & 8:
        changes["lock_head"] = replace(bench.head, seq=bench.head.seq + 1)
    intent = bench.intend(op, image, paper, **changes)
    if wrong & 32:
        request = Rollback(intent, paper.ticket if paper else b"", paper.issuer if paper else b"")
        bench.ask(request)  # type: ignore[arg-type]
    else:
        bench.begin(intent, paper, image, sectors, pieces.number() if wrong & 16 else None)


def _begin_any(bench: Bench, pieces: Pieces) -> None:
    """An INTENT of any body that the technician did sign."""
    body = pieces.some()[:500]
    intent = bench.know(signed_by(trainer.TECHNICIAN, ObjectType.ENTRY, body))
    bench.begin(intent, None, pieces.number() % 5)


def _upload(bench: Bench, pieces: Pieces) -> None:
    bench.upload(1 + pieces.number() % 8)


def _block(bench: Bench, pieces: Pieces) -> None:
    bench.block(pieces.number(2), pieces.some())


def _commit(bench: Bench, pieces: Pieces) -> None:
    bench.ask(Commit(bench.transfer_id ^ pieces.number() >> 6))  # type: ignore[arg-type]


def _simple(bench: Bench, pieces: Pieces) -> None:
    number = pieces.number()
    requests = (
        Activate(),
        Confirm(),
        Reset(),
        Close(),
        Receipts(pieces.number()),
        Events(pieces.number()),
        SectorDigests(Slot(number >> 4 & 1), pieces.number(), 20),
        SetBaud(pieces.number(4)),
    )
    bench.ask(requests[number % len(requests)])  # type: ignore[arg-type]


def _epoch(bench: Bench, pieces: Pieces) -> None:
    by = (trainer.ROOT, trainer.NEXT_ROOT, trainer.ISSUER)[pieces.number() % 3]
    revoked = (trainer.TECHNICIAN.subject.key_id,) if pieces.number() & 1 else ()
    body = EpochStatement(
        number=pieces.number(),
        min_epoch=pieces.number() % 4,
        issued_at=trainer.BEGINS + pieces.number(3),
        revoked=revoked,
    )
    bench.ask(PutEpoch(body.seal(trainer.REALM, by).build()))  # type: ignore[arg-type]


def _time(bench: Bench, pieces: Pieces) -> None:
    nonce = bench.board.core.state.nonce if pieces.number() & 1 else bytes(16)
    body = TimeStatement(unix_time=pieces.number(8), nonce_hash=nonce_hash(nonce))
    by = ISSUERS[pieces.number() & 1]
    statement = body.seal(trainer.REALM, by).build()
    bench.ask(PutTime(statement, trainer.issuer_certificate()))  # type: ignore[arg-type]


def _power(bench: Bench, _pieces: Pieces) -> None:
    bench.power_cycle()


def _cut(bench: Bench, pieces: Pieces) -> None:
    choice = pieces.number()
    bench.cut_soon(choice >> 2, tuple(Cut)[choice % len(Cut)])


STEPS: tuple[Callable[[Bench, Pieces], None], ...] = (
    _wait,
    _say,
    _frame,
    _repeat,
    _open,
    _auth,
    _enter,
    _present,
    _plain,
    _begin,
    _begin_any,
    _upload,
    _block,
    _commit,
    _simple,
    _epoch,
    _time,
    _power,
    _cut,
)


def play(data: bytes) -> Bench:
    """Do what the bytes say; Bench holds the lock to its promises after each step."""
    bench, pieces = Bench(), Pieces(data)
    for _ in range(STEP_LIMIT):
        if not pieces.left:
            break
        STEPS[pieces.number() % len(STEPS)](bench, pieces)
    return bench


def _step(step: Callable[[Bench, Pieces], None], *choices: int, some: bytes | None = None) -> bytes:
    tail = b"" if some is None else len(some).to_bytes(2, "big") + some
    return bytes([STEPS.index(step), *choices]) + tail


_UPDATE = _step(_enter) + _step(_begin, 0, 2, 0, 7) + _step(_upload, 7) + _step(_commit, 0)
_ENTRY_BODY = b"\x81\x00\x01x\x84\x00\x01\x01\x85\x00\x08" + bytes(8)


def _plays() -> Iterator[bytes]:
    confirm = _step(_enter) + _step(_simple, 1, 0, 0, 0, 0, 0, 0, 0)
    activate = _step(_simple, 0, 0, 0, 0, 0, 0, 0, 0)
    yield _UPDATE + activate + confirm
    yield _UPDATE + _step(_cut, 1) + activate + _step(_power) + confirm
    newer = _step(_enter) + _step(_begin, 0, 3, 0, 7) + _step(_upload, 7) + _step(_commit, 0)
    yield newer + activate + confirm
    yield _UPDATE + activate + _step(_enter) + _step(_begin, 0, 3, 0, 7) + _step(_upload, 7)
    yield _step(_enter) + _step(_begin, 1, 1, 32, 0, 0)
    yield _step(_enter) + _step(_begin, 1, 1, 33, 0, 1) + confirm
    yield _step(_enter) + _step(_begin, 2, 3, 1, 7, 1) + _step(_upload, 1) + _step(_power)
    yield _step(_enter) + _step(_begin, 0, 2, 2, 7) + _step(_begin, 0, 2, 4, 7)
    yield _step(_open) + _step(_auth, 1) + _step(_auth, 2) + _step(_wait, 2) + _step(_auth, 0)
    yield _step(_open) + _step(_plain, some=b"\x02") + _step(_plain, some=b"\x99") + _step(_repeat)
    yield _step(_enter) + b"".join(_step(_plain, some=bytes([n])) for n in range(2, 14))
    yield _step(_enter) + _step(_epoch, 0, 1, 5, 1, 0, 0, 0) + _step(_plain, some=b"\x02")
    yield _step(_enter) + _step(_time, 1, 0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0)
    yield _step(_enter) + _step(_begin_any, some=_ENTRY_BODY) + b"\x02"
    yield _step(_enter) + _step(_begin, 0, 2, 0, 7) + _step(_block, 0, 0, some=bytes(40))
    yield _step(_say, some=b"\x00\x01\x02\x00") + _step(_frame, 6, 0, 0, some=bytes(50))


HARNESSES = (
    Harness("lock-session", "all that a host may do", play, (), nothing_more, _plays, 1024),
)
