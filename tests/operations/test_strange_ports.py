from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from fieldkit import NOW, Field, make_cable, make_field
from locksim import Answering, Bench, Cable

from protocol.frame import Frame, FrameDecoder, FrameType
from protocol.handshake import HelloReply
from svcport.errors import FailedError, Reason, RefusedError, SvcportError
from svcport.lab.vendor import TrainingVendor
from svcport.simulator.board import Board


@pytest.fixture
def field(tmp_path: Path) -> Field:
    return make_field(tmp_path)


def reason_at(field: Field, board: object) -> Reason:
    field.cables["P0"] = Cable("P0", board)  # type: ignore[arg-type]
    with pytest.raises(SvcportError) as error:
        field.identify()
    return error.value.reason


def hello_of_version(version: int) -> Callable[[bytes], bytes]:
    decoder = FrameDecoder()

    def answer(data: bytes) -> bytes:
        hellos = [f for f in decoder.feed(data) if f.type is FrameType.HELLO]
        reply = Frame(FrameType.HELLO_REPLY, 0, HelloReply(version, 1).build()).build()
        return reply * len(hellos)

    return answer


def test_silence_is_no_lock(field: Field) -> None:
    assert reason_at(field, Answering(lambda _data: b"")) is Reason.NO_LOCK


def test_noise_is_no_lock(field: Field) -> None:
    noise = random.Random(3)
    assert reason_at(field, Answering(lambda _data: noise.randbytes(300))) is Reason.NO_LOCK


def test_an_echo_is_no_lock(field: Field) -> None:
    assert reason_at(field, Answering(lambda data: data)) is Reason.NO_LOCK


def test_a_console_is_no_lock(field: Field) -> None:
    assert reason_at(field, Answering(lambda _data: b"login: \r\n")) is Reason.NO_LOCK


def test_another_protocol_version_is_named(field: Field) -> None:
    assert reason_at(field, Answering(hello_of_version(9))) is Reason.PROTOCOL_VERSION


def fake(field: Field, **changes: object) -> Board:
    lock = field.lab.lock(field.lab.serials[0])
    factory = dataclasses.replace(lock.factory(), **changes)  # type: ignore[arg-type]
    genuine = make_cable(field.lab, field.lab.serials[0], "x").board
    return Board(factory, genuine._flash, entropy=random.Random(5).randbytes, now=0.0)


def test_a_certificate_of_another_locks_key_is_a_fake(field: Field) -> None:
    board = fake(field, x25519_private=bytes(range(32)))
    assert reason_at(field, board) is Reason.LOCK_IDENTITY


def test_a_lock_of_another_vendor_is_a_fake(field: Field) -> None:
    other = TrainingVendor("another vendor", NOW).factory(field.lab.serials[0])
    board = fake(
        field,
        certificate=other.certificate,
        identity_seed=other.identity_seed,
        x25519_private=other.x25519_private,
    )
    assert reason_at(field, board) is Reason.LOCK_IDENTITY


def test_a_missing_port_is_no_lock(field: Field) -> None:
    with pytest.raises(FailedError) as error:
        field.run_at_port("P7")
    assert error.value.reason is Reason.NO_LOCK


def test_two_at_one_port_is_refused(field: Field) -> None:
    bench = Bench(*field.cables.values())
    held = bench("P0")
    with pytest.raises(FailedError) as error:
        field.identify()
    assert error.value.reason is Reason.PORT_BUSY
    held.close()
    field.identify()


def test_a_home_without_set_up_is_refused(field: Field, tmp_path: Path) -> None:
    field.home = type(field.home)(tmp_path / "empty")
    with pytest.raises(RefusedError) as error:
        field.identify()
    assert error.value.reason is Reason.NOT_SET_UP
