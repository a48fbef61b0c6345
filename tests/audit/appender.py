"""A process that appends notes to a ledger and says so: `appender.py FOLDER NAME COUNT`.

Prints `INDEX NAME` after each append has returned, which is when it must be durable.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

from protocol.sealed import Realm
from svcport.audit.ledger import Ledger


def main() -> None:
    folder, name, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    now = datetime.now(UTC)
    with Ledger.open(folder, Realm.TRAINING, create=True) as ledger:
        print("open", ledger.origin, flush=True)  # noqa: T201 - what the test reads
        for number in range(count):
            index, _ = ledger.record_note(text=f"{name} {number}", now=now)
            print(index, f"{name} {number}", flush=True)  # noqa: T201 - what the test reads
            if number % 7 == 0:
                ledger.checkpoint(now)


if __name__ == "__main__":
    main()
