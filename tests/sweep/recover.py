"""What follows every fault: look at everything, run the same command again, look again."""

from __future__ import annotations

import zlib

from sweep.checks import check_end, check_reconciled, check_station, has_open_intents
from sweep.promises import Broken, Promise
from sweep.yard import Ended, Yard


def finish(yard: Yard, name: str, ended: Ended) -> str:
    """After the disturbed command: nothing is broken, and the next one reaches the goal.

    Every third case reconciles before; which ones follows from the name. Gives how the disturbed
    command ended.
    """
    yard.wire.on_write = None
    if yard.flaw:
        raise RuntimeError(yard.flaw)
    check_station(yard, ended)
    if zlib.crc32(name.encode()) % 3 == 0:
        settled = yard.reconcile()
        if not settled.is_success:
            raise Broken(Promise.AGAIN, f"reconcile ends {settled}")
        check_reconciled(yard)
    again = yard.go()
    if not again.is_success:
        raise Broken(Promise.AGAIN, f"the next command ends {again}, the one before {ended}")
    check_station(yard, again)
    if has_open_intents(yard):
        yard.reconcile()
    check_end(yard)
    yard.close()
    return ended.outcome
