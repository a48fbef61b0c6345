"""The full sweep: `python tests/sweep --help`; docs/sweep.md says what it shows."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(
        Path(__file__).resolve().parent.parent
    )  # the tests' own root, as pytest has it

from sweep import cases, runner, wear
from sweep.planted import FAULTS, planted
from sweep.starts import memory


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python tests/sweep", description=__doc__)
    parser.add_argument("--case", metavar="NAME", action="append", help="run this case alone")
    parser.add_argument("--only", metavar="PREFIX", action="append", help="cases that begin so")
    parser.add_argument("--sample", metavar="N", type=int, help="so many of each family, by --seed")
    parser.add_argument("--seed", default="1")
    parser.add_argument("--list", action="store_true", help="print the names and run nothing")
    parser.add_argument("--journal", metavar="FILE", type=Path, help="go on where it ends")
    parser.add_argument("--processes", metavar="N", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--plant", choices=sorted(FAULTS), help="give the lock this fault")
    parser.add_argument("--endings", action="store_true", help="also how disturbed commands ended")
    parser.add_argument(
        "--wear", action="store_true", help="print the lifetime of the lock's memory"
    )
    return parser.parse_args()


def _chosen(wanted: argparse.Namespace) -> list[str]:
    if wanted.case:
        return list(wanted.case)
    if wanted.plant and not wanted.only:
        return list(FAULTS[wanted.plant].cases)
    names = [
        name
        for name in cases.names(tuple(wanted.only or ()))
        if not wanted.only or name.startswith(tuple(wanted.only))
    ]
    return runner.sample(names, wanted.sample, wanted.seed) if wanted.sample else names


@contextmanager
def _workroom() -> Iterator[None]:
    """Temporary files of this process and its workers are gone at the end, whatever the end."""
    with tempfile.TemporaryDirectory(prefix="svcport-sweep-", dir=memory()) as folder:
        os.environ["TMPDIR"] = tempfile.tempdir = folder
        yield


def main() -> int:
    """0 if nothing is broken."""
    wanted = _arguments()
    with _workroom():
        return _sweep(wanted)


def _sweep(wanted: argparse.Namespace) -> int:
    if wanted.wear:
        sys.stdout.write(wear.report() + "\n")
        return 0
    names = _chosen(wanted)
    if wanted.list:
        sys.stdout.write("".join(f"{name}\n" for name in names))
        return 0
    if wanted.plant:
        with planted(FAULTS[wanted.plant]):
            found, seconds = runner.run_all(names, None, 1, sys.stdout)
    else:
        processes = 1 if len(names) < 16 else wanted.processes
        found, seconds = runner.run_all(names, wanted.journal, processes, sys.stdout)
    if wanted.endings:
        sys.stdout.write(f"{runner.endings(found)}\n")
    sys.stdout.write(f"{runner.table(found)}\nthis run took {seconds:.0f} s\n")
    return 1 if any(ran.promise for ran in found) else 0


if __name__ == "__main__":
    sys.exit(main())
