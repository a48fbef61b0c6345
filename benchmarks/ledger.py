"""The ledger's speed, as ratios within one run: verifying, fsyncs of an act, cost by size, memory.

Run: python benchmarks/ledger.py [--entries 100000] [--small 10000] [--large 1000000]
         [--only verify,fsyncs,flat,memory] [--kept FOLDER]

A ledger of n entries is n/2 acts on 500 locks: an INTENT that a technician signs (P-256, as the
product makes keys) and a RESULT of the station's with the lock's receipt inside. To make 10^6
entries in minutes, their rows are written without the checks that an append makes; verifying
proves that they are what appends would have written.

verify   `verify_ledger` against the bare signature verifications that it needs, dealt out to the
         same number of processes in the same batches; their start counts on both sides. On a
         machine that does other work too, the ratio of processor time is the one to look at.
fsyncs   of a whole `svcport restore` on a simulated lock that was met before, by strace (Linux):
         commits, those of SQLite's own WAL checkpoints, others.
flat     opening a ledger and recording one act (INTENT; RESULT and checkpoint), median of many.
memory   the most that `verify_ledger` and its workers hold, each in a fresh process.
"""

from __future__ import annotations

import argparse
import functools
import gc
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from made_ledgers import NOW, Ledgers, Lock, Vendor

from protocol.objects import Entry
from protocol.sealed import Realm, Sealed, SubjectKey
from protocol.values import Op
from svcport.audit.examining import AHEAD, cores, worker_pool
from svcport.audit.ledger import Ledger
from svcport.audit.rows import BATCH
from svcport.audit.verify import verify_ledger
from svcport.audit.view import LedgerView

ACTS: Final = 30
"""Acts timed for `flat`, after as many that are not."""

SVCPORT: Final = [sys.executable, "-m", "svcport"]


Needed = tuple[bytes, bytes, bytes]
"""Subject key, signature, signed bytes."""


def needed(view: LedgerView) -> Iterator[list[Needed]]:
    """Every signature that a verification checks, in batches."""
    keys = {one.subject.key_id: one.subject.raw for one in (Vendor().technician,)}
    keys[view.verifier.subject.key_id] = view.verifier.subject.raw
    keys |= {lock.key.subject.key_id: lock.key.subject.raw for lock in Vendor().locks}
    batch: list[Needed] = []
    for number, stored in enumerate(view.entries(), 1):
        sealed = Sealed.parse(stored.data)
        receipt = Entry.read(sealed).receipt
        objects = [sealed] if receipt is None else [sealed, Sealed.parse(receipt)]
        batch += [(keys[one.signer], one.signature, one.signed_bytes) for one in objects]
        if number % BATCH == 0:
            yield batch
            batch = []
    if batch:
        yield batch


_KEYS: dict[bytes, SubjectKey] = {}


def check(batch: list[Needed]) -> int:
    """What a worker does in the bare run: nothing but verify."""
    for raw, signature, message in batch:
        key = _KEYS.get(raw)
        if key is None:
            key = _KEYS[raw] = SubjectKey(raw)
        key.verify(signature, message)
    return len(batch)


@dataclass(frozen=True)
class Cost:
    """What something took: seconds by the clock, and of all processors."""

    wall_s: float
    cpu_s: float

    @classmethod
    def of(cls, work: Callable[[], object]) -> Cost:
        """Do it; processes that it starts must have ended with it."""
        gc.collect()
        started, before = time.perf_counter(), os.times()
        work()
        after = os.times()
        return cls(time.perf_counter() - started, sum(after[:4]) - sum(before[:4]))


def check_bare(batches: list[list[Needed]], workers: int) -> None:
    """All of `batches`, dealt out as a verification deals out its own."""
    under_way: deque[Future[int]] = deque()
    with worker_pool(workers) as pool:
        for batch in batches:
            under_way.append(pool.submit(check, batch))
            if len(under_way) > AHEAD * workers:
                under_way.popleft().result()
        for one in under_way:
            one.result()


def check_ledger(folder: Path, workers: int) -> None:
    """One whole verification."""
    with LedgerView.open_for_audit(folder) as view:
        verdict = verify_ledger(view, workers=workers)
    assert verdict.problems == (), verdict.problems[:3]


def verify(ledgers: Ledgers, arguments: argparse.Namespace) -> None:
    """Shows: <= 1.5 x."""
    folder, workers = ledgers.of(arguments.entries), cores()
    with LedgerView.open_for_audit(folder) as view:
        batches = list(needed(view))
    signatures = sum(map(len, batches))
    print(f"verify: {arguments.entries} entries, {signatures} signatures, {workers} workers")
    ratios = []
    for _ in range(arguments.runs):
        bare = Cost.of(functools.partial(check_bare, batches, workers))
        whole = Cost.of(functools.partial(check_ledger, folder, workers))
        ratios.append((whole.wall_s / bare.wall_s, whole.cpu_s / bare.cpu_s))
        print(
            f"verify: {whole.wall_s:.1f} s ({whole.cpu_s:.1f} s of processors), signatures alone "
            f"{bare.wall_s:.1f} s ({bare.cpu_s:.1f} s)"
        )
    wall, cpu = (statistics.median(column) for column in zip(*ratios, strict=True))
    print(f"verify: median ratio {wall:.2f}, of processor time {cpu:.2f} (wanted <= 1.5)")


def flat(ledgers: Ledgers, arguments: argparse.Namespace) -> None:
    """Shows: flat from 10^3 to 10^6."""
    medians = {}
    for entries in (1000, arguments.small, arguments.large):
        path = ledgers.scratch / f"{entries}-flat"
        shutil.copytree(ledgers.of(entries), path)
        opened, acted = timed_acts(path)
        medians[entries] = opened, acted
        shutil.rmtree(path)
        print(f"flat: {entries} entries: open {opened * 1e3:.1f} ms, act {acted * 1e3:.1f} ms")
    first, last = medians[1000], medians[arguments.large]
    ratios = " and ".join(f"{b / a:.2f} x" for a, b in zip(first, last, strict=True))
    print(f"flat: {arguments.large} entries against 1000: {ratios} (open, act)")


def timed_acts(folder: Path) -> tuple[float, float]:
    """Medians: opening, and one act on a lock that is new here."""
    opened, acted = [], []
    vendor = Vendor()
    lock = Lock("SL-NEW")
    for number in range(2 * ACTS):
        started = time.perf_counter()
        with Ledger.open(folder, Realm.TRAINING, create=False) as ledger:
            opened.append(time.perf_counter() - started)
            ledger.remember_certificate(lock.certificate())
            started = time.perf_counter()
            ledger.missing(lock.serial, lock.head)
            _, intent = ledger.record_intent(
                signer=vendor.technician,
                op=Op.UPDATE,
                serial=lock.serial,
                now=NOW,
                technician_hash=vendor.certificate.digest,
                session=number.to_bytes(32, "big"),
                lock_head=lock.head,
            )
            receipt = lock.receipt(intent.digest, vendor.technician.subject)
            ledger.record_receipts(serial=lock.serial, receipts=[receipt], intent=intent, now=NOW)
            assert ledger.open_intents(lock.serial) == ()
            acted.append(time.perf_counter() - started)
    return statistics.median(opened[ACTS:]), statistics.median(acted[ACTS:])


_MEMORY: Final = """
import resource, sys
from pathlib import Path
from svcport.audit.verify import verify_ledger
from svcport.audit.view import LedgerView
if __name__ == "__main__":
    with LedgerView.open_for_audit(Path(sys.argv[1])) as view:
        assert verify_ledger(view, workers=int(sys.argv[2])).problems == ()
    for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
        print(resource.getrusage(who).ru_maxrss)
"""


def memory(ledgers: Ledgers, arguments: argparse.Namespace) -> None:
    """Shows: not growing from 10^4 to 10^6."""
    script = ledgers.scratch / "memory.py"
    script.write_text(_MEMORY)
    tree = str(Path(__file__).parents[1])
    found = {}
    for entries in (arguments.small, arguments.large):
        command = [sys.executable, script, ledgers.of(entries), str(cores())]
        environment = {**os.environ, "PYTHONPATH": tree}
        done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
        found[entries] = [int(line) / 1024 for line in done.stdout.split()]
        ours, worker = found[entries]
        print(f"memory: {entries} entries: {ours:.0f} MiB, largest worker {worker:.0f} MiB")
    small, large = found[arguments.small], found[arguments.large]
    ratios = " and ".join(f"{b / a:.2f} x" for a, b in zip(small, large, strict=True))
    print(f"memory: {ratios} (verifier, worker)")


def call(*arguments: str | Path, under: list[str] | None = None) -> None:
    """One svcport command."""
    command = [*(under or []), *SVCPORT, "--json", *map(str, arguments)]
    subprocess.run(command, capture_output=True, check=True)


def fsyncs(ledgers: Ledgers, _arguments: argparse.Namespace) -> None:
    """Shows: <= 2 besides WAL checkpoints."""
    if shutil.which("strace") is None:
        print("fsyncs: needs strace")
        return
    lab, trace, home = (ledgers.scratch / name for name in ("lab", "trace", "home"))
    call("lab", "init", lab)
    call("--home", home, "setup", "--from", lab / "technician")
    serve = [*SVCPORT, "--json", "lab", "run", str(lab), "--listen", "127.0.0.1:0"]
    with subprocess.Popen(serve, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            port = json.loads(process.stdout.readline())["port"]
            at = ("--port", port)
            known = [*SVCPORT, "--home", home, "identify", *at]  # its certificate is kept then
            subprocess.run(known, capture_output=True, check=True)
            calls = "trace=fsync,fdatasync,pwrite64"
            watch = ["strace", "-f", "-y", "-s", "0", "-e", calls, "-o", str(trace)]
            call("--home", home, "restore", *at, under=watch)
        finally:
            process.terminate()
    counts = counted(trace.read_text())
    shown = ", ".join(f"{number} {what}" for what, number in sorted(counts.items()))
    print(f"fsyncs: restore: {shown} (wanted <= 2 besides WAL checkpoints)")


_CALL: Final = re.compile(r"(fsync|fdatasync|pwrite64)\(\d+<([^>]*)>(?:.*, (\d+), (\d+)\))?")


def counted(trace: str) -> Counter[str]:
    """Syncs by what they were for.

    A commit syncs the write-ahead log. A WAL checkpoint syncs the log once more, with nothing
    written to it since, and the database file; the log that is begun afterwards is synced with its
    header of 32 bytes, and its folder if the file is new.
    """
    found: Counter[str] = Counter()
    written = 0
    for name, path, size, offset in _CALL.findall(trace):
        file = Path(path).name
        if name == "pwrite64":
            if file == "ledger.sqlite-wal":
                written = 32 if (size, offset) == ("32", "0") else written + 1000
        elif file == "ledger.sqlite-wal":
            commit = written >= 1000
            found["commits" if commit else "of WAL checkpoints"] += 1
            written = 0
        elif file in ("ledger.sqlite", "ledger"):
            found["of WAL checkpoints"] += 1
        else:
            found[f"of {file}"] += 1
    return found


def main() -> None:
    """Run what is asked for."""
    parts = {"verify": verify, "fsyncs": fsyncs, "flat": flat, "memory": memory}
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--entries", type=int, default=100_000)
    parser.add_argument("--small", type=int, default=10_000)
    parser.add_argument("--large", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", default=",".join(parts))
    parser.add_argument("--kept", type=Path, help="a folder for the ledgers, kept for later runs")
    arguments = parser.parse_args()
    system = f"{platform.system()} {platform.machine()}, {cores()} cores"
    print(f"{' '.join(sys.argv)}\n{datetime.now(UTC):%Y-%m-%d}, {system}, {sys.version.split()[0]}")
    with tempfile.TemporaryDirectory() as folder:
        ledgers = Ledgers(arguments.kept or Path(folder), Path(folder))
        for name in arguments.only.split(","):
            parts[name](ledgers, arguments)


if __name__ == "__main__":
    main()
