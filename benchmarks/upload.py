"""Upload speed of `svcport restore` against the line rate, over a paced link to a simulated lock.

Run: python benchmarks/upload.py [--baud 921600] [--latency-ms 1] [--runs 3]

Each run makes a lab whose releases are 256 KiB of incompressible bytes each, serves one lock in a
process of its own at the given rate, and restores it with the command that users run. The ratio is
image bytes a second between the first block and the last acknowledgement, over baud / 10.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

PAYLOAD_BYTES = 256 * 1024
RELEASES = 3
"""Releases that get a payload of their own, so that no sector is on the lock already."""

SVCPORT = [sys.executable, "-m", "svcport"]


def call(*arguments: str | Path) -> dict[str, Any]:
    """One svcport command's report."""
    command = [*SVCPORT, "--json", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, check=True, text=True)
    report: dict[str, Any] = json.loads(done.stdout)
    return report


@contextlib.contextmanager
def served(lab: Path, baud: int, latency_ms: int) -> Iterator[str]:
    """The port of the lab's one lock, paced."""
    pace = ["--baud", str(baud), "--latency-ms", str(latency_ms)]
    command = [*SVCPORT, "lab", "run", str(lab), "--listen", "127.0.0.1:0", *pace]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield json.loads(process.stdout.readline())["port"]
        finally:
            process.terminate()


def one_run(baud: int, latency_ms: int, seed: int) -> dict[str, Any]:
    """The `transfer` member of one restore."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        payloads = [root / f"payload{n}.bin" for n in range(RELEASES)]
        for number, payload in enumerate(payloads):
            payload.write_bytes(Random(seed * RELEASES + number).randbytes(PAYLOAD_BYTES))
        given = [word for payload in payloads for word in ("--payload", payload)]
        lab, home = root / "lab", root / "home"
        call("lab", "init", lab, "--seed", str(seed), *given)
        call("--home", home, "setup", "--from", lab / "technician")
        with served(lab, baud, latency_ms) as port:
            transfer: dict[str, Any] = call("--home", home, "restore", "--port", port)["transfer"]
        return transfer


def main() -> None:
    """Print one line a run and the median."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--baud", type=int, default=921_600)
    parser.add_argument("--latency-ms", type=int, default=1)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    print(
        f"{platform.platform()}, Python {platform.python_version()}, {datetime.now(UTC):%Y-%m-%d}"
    )
    ratios = []
    for run in range(options.runs):
        transfer = one_run(options.baud, options.latency_ms, run)
        seconds = transfer["seconds"] - options.latency_ms / 1000
        ratio = transfer["image_bytes"] / seconds / (options.baud / 10)
        ratios.append(ratio)
        print(
            f"run {run + 1}: {transfer['image_bytes']} image bytes, "
            f"{transfer['wire_bytes']} on the wire, {seconds:.3f} s, {ratio:.3f} of the line rate"
        )
    print(
        f"median at {options.baud} baud, {options.latency_ms} ms: {statistics.median(ratios):.3f}"
    )


if __name__ == "__main__":
    main()
