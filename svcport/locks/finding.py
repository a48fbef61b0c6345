"""Which kind of lock is at a port, found out without harm: ours is asked first, then SMP.

A service-port lock answers HELLO and takes SMP for noise. An SMP server takes a HELLO for noise,
raw ones only after a silence (`McubootLock.on` keeps it). Nothing that is sent here changes either.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from svcport.errors import FailedError, Reason, RefusedError
from svcport.locks.errors import NoLockError
from svcport.locks.service_port import Opener, ServicePortLock
from svcport.locks.session import HELLO_PATIENCE_S, Link, LockAnchors, answers_hello
from svcport.transport.clock import Heed, SystemClock, keep_on
from svcport.transport.port import Transport, open_port

if TYPE_CHECKING:
    from svcport.locks.mcuboot import McubootLock

AnyLock: TypeAlias = "ServicePortLock | McubootLock"

FIRST_PATIENCE_S: Final = 1.1
"""How long HELLO goes unanswered before SMP is tried: two HELLOs, which a waking lock may miss."""

BUSY_PATIENCE_S: Final = 1.5
"""A killed program's port is let go a moment later; until then it counts as busy."""

RETRY_S: Final = 0.1


def find_lock(
    port: str,
    anchors: LockAnchors | None,
    *,
    wait_s: float = 0.0,
    opener: Opener = open_port,
    heed: Heed = keep_on,
) -> AnyLock:
    """Open the port and tell what is there; nobody is authenticated yet.

    Args:
        port: device name or pyserial URL.
        anchors: whom to believe about service-port locks; None: this home knows no vendor.
        wait_s: how long to wait for a port, or a lock at it, to appear.
        opener: opens the port.
        heed: called between two tries.

    Raises:
        NoLockError, PortBusyError, LockIdentityError, FailedError: see `open_session`.
        RefusedError: a service-port lock is there and `anchors` is None (`not-set-up`).
        And whatever `heed` raises.
    """
    clock = SystemClock()
    started = clock.now()
    patience = {Reason.NO_LOCK: wait_s, Reason.PORT_BUSY: max(wait_s, BUSY_PATIENCE_S)}
    while True:
        try:
            return _attempt(port, anchors, opener)
        except FailedError as error:
            if clock.now() >= started + patience.get(error.reason, 0.0):
                raise
        heed()
        clock.sleep(RETRY_S)


def _attempt(port: str, anchors: LockAnchors | None, opener: Opener) -> AnyLock:
    transport = opener(port)
    try:
        return _recognised(transport, anchors, opener)
    except BaseException:
        transport.close()
        raise


def _recognised(transport: Transport, anchors: LockAnchors | None, opener: Opener) -> AnyLock:
    try:
        return _service_port(transport, anchors, opener, FIRST_PATIENCE_S)
    except NoLockError:
        pass
    # the other dialect is loaded where ours is not spoken: most commands never need it
    from svcport.locks.mcuboot import McubootLock

    try:
        return McubootLock.on(transport, opener)
    except NoLockError:
        pass
    return _service_port(transport, anchors, opener, HELLO_PATIENCE_S - FIRST_PATIENCE_S)


def _service_port(
    transport: Transport, anchors: LockAnchors | None, opener: Opener, patience_s: float
) -> ServicePortLock:
    if anchors is not None:
        return ServicePortLock(anchors, transport, opener, patience_s)
    if answers_hello(Link(transport), patience_s):
        raise RefusedError(
            Reason.NOT_SET_UP,
            f"a service-port lock answers at {transport.name}, and this home holds no credential",
            hint="svcport setup --from DIR, with the folder that your vendor or depot gave you",
        )
    raise NoLockError(transport.name, patience_s, 0)
