"""Every speed that the product promises, measured in one run beside what else there is.

Run: python benchmarks/table.py [--runs 3] [--only random,firmware,...] [--quick] [--markdown]

Prints a row as soon as it is measured: goal, median of the runs, verdict. `--markdown` puts what
was measured into docs/speed.md as well, in place of what it said of the same cases. `--quick` makes
one run of each row at 1 ms latency. Linux: peers and processor times need it. A run of everything
takes half an hour on two cores.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import ours
import peers
from firmware import NoFirmwareError
from manylocks import many
from ours import Job
from rows import Row, as_markdown, as_text, put_between_marks
from undernoise import under_noise

PARTS: Final[dict[str, Callable[[Job], Iterator[Row]]]] = {
    "random": ours.random,
    "same": ours.same_line,
    "firmware": ours.no_base,
    "base": ours.based,
    "flash": ours.flash_overlap,
    "command": ours.command,
    "unchanged": ours.unchanged,
    "startup": ours.startup,
    "many": many,
    "lrzsz": peers.lrzsz,
    "noise": under_noise,
    "esptool": peers.esptool,
    "smpclient": peers.smpclient,
}
DOCUMENT: Final = Path(__file__).parents[1] / "docs" / "speed.md"


def measure(job: Job, names: list[str]) -> Iterator[Row]:
    """The rows of the named parts, each as it is ready."""
    for name in names:
        try:
            yield from PARTS[name](job)
        except NoFirmwareError as error:
            yield Row(name, name, skipped=str(error))
        except RuntimeError as error:
            yield Row(name, name, skipped=f"failed: {error}"[:400])


def machine(script: str, arguments: list[str]) -> str:
    """Where and by which command it was measured."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, {memory:.0f} GiB, "
        f"{platform.system()} {platform.machine()} container, Python {platform.python_version()}, "
        f"load average {os.getloadavg()[0]:.1f} before; "
        f"`{' '.join(['python', script, *arguments])}`"
    )


def main() -> int:
    """Print the table; 1 if a goal is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", default=",".join(PARTS), help=f"of {', '.join(PARTS)}")
    parser.add_argument("--quick", action="store_true", help="one run, 1 ms latency, 32 locks")
    parser.add_argument("--markdown", action="store_true", help=f"into {DOCUMENT.name} too")
    options = parser.parse_args()
    names = options.only.split(",")
    if unknown := [name for name in names if name not in PARTS]:
        parser.error(f"no part {unknown[0]!r}, wanted some of {', '.join(PARTS)}")
    where = machine("benchmarks/table.py", sys.argv[1:])
    print(where, flush=True)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        job = Job(Path(folder), runs=options.runs)
        if options.quick:
            job = Job(Path(folder), runs=1, latencies_ms=(1,), benches=(32,))
        for row in measure(job, names):
            if not rows or rows[-1].group != row.group:
                print(f"\n{row.group}")
            rows.append(row)
            print(as_text(row), flush=True)
    if options.markdown:
        text = put_between_marks(DOCUMENT.read_text("utf-8"), as_markdown(rows, where))
        DOCUMENT.write_text(text, "utf-8")
    missed = [row for row in rows if row.verdict == "MISSED"]
    print(f"\n{len(missed)} of {sum(bool(row.verdict) for row in rows)} goals missed")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
