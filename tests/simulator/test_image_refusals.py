from __future__ import annotations

import pytest
from simulator.actkit import (
    BAD,
    FIXED,
    GOOD,
    A,
    B,
    code_of,
    make_host,
    running,
)
from simulator.hostdriver import (
    NO_PAPER,
    Host,
    RefusedByLock,
    unit_stream,
)
from simulator.trainer import (
    digest,
    fresh_flash,
    image,
    paper,
    power_up,
)

from images import ImageError, LockMetadata
from protocol.acts import ActStatus, Commit, Rollback
from protocol.bulk import TransferState
from protocol.refusal import RefusalCode
from protocol.values import (
    Op,
    Phase,
)


@pytest.fixture
def host() -> Host:
    made = make_host()
    made.login()
    return made


# Refusals of the image


def commit_code(host: Host, data: bytes, digest_: bytes, op: Op = Op.UPDATE) -> RefusalCode:
    order = paper(op, digest_) if op is Op.RESTORE else NO_PAPER
    ready = host.begin(data, op, order, intent=host.intent(op, digest_, order.id))
    sender = host.upload(ready, unit_stream(data, host.missing(data)))
    assert sender.state is TransferState.COMPLETE
    with pytest.raises(RefusedByLock) as caught:
        host.call(Commit(ready.transfer_id))
    assert caught.value.refusal.statement == b""  # its INTENT was accepted, and stays open
    assert host.board.core.state.refusals == 0
    assert host.call(ActStatus()).phase is Phase.WRITING
    return code_of(caught)


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (flipped(FIXED, 0), RefusalCode.IMAGE_MALFORMED),
        (flipped(FIXED, 10_000), RefusalCode.IMAGE_HASH),
        (image("2.4.1", key="stranger"), RefusalCode.IMAGE_SIGNER),
        (image("2.4.1", metadata=LockMetadata("XX-9", ("B",))), RefusalCode.IMAGE_MODEL),
        (image("2.4.1", metadata=LockMetadata("AL-1", ("A",))), RefusalCode.IMAGE_MODEL),
        (image("2.4.1", metadata=LockMetadata("AL-1", ("B",), ("x",))), RefusalCode.IMAGE_MODEL),
        (image("2.4.1", metadata=None), RefusalCode.IMAGE_MODEL),
        (image("2.4.1", counter=None), RefusalCode.ANTI_ROLLBACK),
        (image("2.4.2"), RefusalCode.IMAGE_OTHER),
        (image("2.4.1", counter=2), RefusalCode.ANTI_ROLLBACK),
        (BAD, RefusalCode.NOT_NEWER),
        (image("2.3.9"), RefusalCode.NOT_NEWER),
    ],
)
def test_commit_refuses_an_image_by_name(host: Host, data: bytes, code: RefusalCode) -> None:
    try:
        named = digest(data)
    except ImageError:
        named = digest(FIXED)
    named = digest(FIXED) if code is RefusalCode.IMAGE_OTHER else named
    assert commit_code(host, data, named) is code
    host.begin(FIXED)  # and the lock is none the worse
    assert running(host) == "2.4.0+0"


def test_a_signature_that_does_not_verify_is_refused_by_name(host: Host) -> None:
    assert commit_code(host, flipped(FIXED, len(FIXED) - 20), digest(FIXED)) in (
        RefusalCode.IMAGE_SIGNATURE,
        RefusalCode.IMAGE_MALFORMED,
    )


def rollback_code(host: Host, named: bytes) -> RefusalCode:
    order = paper(Op.ROLLBACK, named)
    with pytest.raises(RefusedByLock) as caught:
        host.call(Rollback(host.intent(Op.ROLLBACK, named, order.id), order.ticket, order.issuer))
    return code_of(caught)


@pytest.mark.parametrize(
    ("other", "code"),
    [
        (None, RefusalCode.NO_OLDER_IMAGE),
        (image("2.4.0", size=9000), RefusalCode.NO_OLDER_IMAGE),
        (FIXED, RefusalCode.NO_OLDER_IMAGE),
        (flipped(GOOD, 9000), RefusalCode.NOT_BOOTABLE),
        (image("2.3.1", metadata=LockMetadata("XX-9", ("B",))), RefusalCode.NOT_BOOTABLE),
        (image("2.3.0"), RefusalCode.IMAGE_OTHER),
        (image("2.3.1", counter=2), RefusalCode.ANTI_ROLLBACK),
    ],
)
def test_rollback_refuses_what_is_not_an_older_bootable_image(
    other: bytes | None, code: RefusalCode
) -> None:
    images = {A: BAD} if other is None else {A: BAD, B: other}
    host = Host(power_up(fresh_flash(images)))
    host.login()
    named = digest(other) if code is RefusalCode.ANTI_ROLLBACK and other else digest(GOOD)
    assert rollback_code(host, named) is code


def test_with_nothing_running_there_is_nothing_to_roll_back_from() -> None:
    host = make_host(active=None)
    host.login()
    assert rollback_code(host, digest(GOOD)) is RefusalCode.NOT_BOOTABLE
