"""`lab run`: serves the simulated locks of a lab until it is told to stop."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event
from typing import Final

from images import ImageError
from protocol.errors import ProtocolError
from svcport.errors import FailedError, Reason, RefusedError
from svcport.lab.folder import LabFolder, LockFolder
from svcport.simulator.board import Board
from svcport.simulator.factory import START_BAUD
from svcport.simulator.faults import Faults, FaultSpecError
from svcport.simulator.flash import INSTANT, PROFILES, NorFlash, Profile
from svcport.simulator.line import Line
from svcport.simulator.nvm import NotProvisionedError
from svcport.simulator.ports import Port, PortUnavailableError, PtyPort, TcpPort
from svcport.simulator.serve import clock, serve

ANY_PORT: Final = "127.0.0.1:0"
LATENCY_LIMIT_MS: Final = 255
"""The highest setting of an FTDI latency timer."""

BAUD_LIMIT: Final = 12_000_000
"""The fastest USB adapters there are."""

_PORT_LIMIT: Final = 65_535
_POLL_S: Final = 0.2
_ADDRESS: Final = re.compile(r"(?:\[([0-9A-Fa-f:.%]+)\]|([^\s:\[\]]+)):(\d{1,5})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Cable:
    """What lies between a host and every lock.

    Attributes:
        baud: cap of the speed, bits a second; 0 for a line that takes no time.
        latency_ms: of the host's adapter, 0 to 255.
        faults: of the line and of the lock's power.
        seed: of the faults; each lock's own follow from it.
    """

    baud: int = 0
    latency_ms: int = 0
    faults: Faults = field(default_factory=Faults)
    seed: str = ""


def run_lab(
    directory: Path,
    serials: Sequence[str] = (),
    *,
    listen: str = ANY_PORT,
    use_pty: bool = False,
    profile: str = INSTANT.name,
    baud: int = 0,
    latency_ms: int = 0,
    faults: str = "",
    seed: str = "",
    on_listen: Callable[[str, str], None],
    stop: Event,
) -> None:
    """Serve locks until `stop` is set; their state stays in the folder, however this ends.

    Args:
        directory: made by `init_lab`.
        serials: which locks; empty for all.
        listen: HOST:PORT of the first lock. Port 0 takes free ones, else the others follow on.
        use_pty: serve on pseudo terminals, where there are any, instead.
        profile: name of the flash's timing, one of `PROFILES`.
        baud: as `Cable`.
        latency_ms: as `Cable`.
        faults: as `Faults.parse` reads it; empty for none.
        seed: as `Cable`.
        on_listen: called with serial and port as soon as a lock can be reached.
        stop: set by whoever has had enough.

    Raises:
        RefusedError: an argument is wrong, or the folder is no lab (`usage`).
        FailedError: a lock or an address is in use (`port-busy`), or a file is damaged (`storage`).
        RecordsError: a file cannot be read or written (`storage`).
    """
    folder = LabFolder(directory)
    cable = _cable(baud, latency_ms, faults, seed)
    host, port = parse_address(listen)
    timing = _profile(profile)
    chosen = tuple(dict.fromkeys(serials)) or folder.serials
    if port and port + len(chosen) - 1 > _PORT_LIMIT:
        raise _usage(f"{len(chosen)} locks from port {port} on, the last port is {_PORT_LIMIT}")
    with ExitStack() as stack:
        served: list[tuple[Line, Port]] = []
        for number, serial in enumerate(chosen):
            line = stack.enter_context(_powered(folder, serial, timing, cable))
            address = (host, port + number if port else 0)
            opened = _open(folder.lock(serial).root / "port" if use_pty else address)
            stack.callback(opened.close)
            served.append((line, opened))
        _serve_all(chosen, served, on_listen, stop)


def parse_address(text: str) -> tuple[str, int]:
    """Read HOST:PORT, an IPv6 host in brackets; RefusedError (`usage`) if it is none."""
    match = _ADDRESS.fullmatch(text)
    if match is None or int(match[3]) > _PORT_LIMIT:
        raise _usage(f"address {text!r:.80}, wanted HOST:PORT with a port from 0 to {_PORT_LIMIT}")
    return match[1] or match[2], int(match[3])


def _serve_all(
    serials: Sequence[str],
    served: Sequence[tuple[Line, Port]],
    on_listen: Callable[[str, str], None],
    stop: Event,
) -> None:
    """One thread a lock. If one fails, which is a bug, all stop and its error is raised."""
    over = Event()
    with ThreadPoolExecutor(len(served), "lock") as threads:
        try:
            running = [threads.submit(serve, line, port, over) for line, port in served]
            for serial, (_line, port) in zip(serials, served, strict=True):
                on_listen(serial, port.name)
            _watch(running, stop)
        finally:
            over.set()


def _watch(running: Sequence[Future[None]], stop: Event) -> None:
    # Looked at in turns: a wait without end would keep signals from Python on Windows.
    while not stop.wait(_POLL_S):
        done, _running = wait(running, timeout=0, return_when=FIRST_EXCEPTION)
        for future in done:
            future.result()


@contextmanager
def _powered(folder: LabFolder, serial: str, profile: Profile, cable: Cable) -> Iterator[Line]:
    """A board of which this process alone has the flash, and its line."""
    lock = folder.lock(serial)
    with lock.exclusive(), lock.mapped_flash() as memory:
        flash = NorFlash(memory, profile)
        if cable.faults.power_cut is not None:
            flash.cut_at(cable.faults.power_cut)
        now = clock()
        yield Line(
            _board(lock, flash, cable.baud, now),
            now=now,
            baud=cable.baud,
            latency_s=cable.latency_ms / 1000,
            faults=cable.faults,
            seed=f"{cable.seed}/{serial}",
        )


def _board(lock: LockFolder, flash: NorFlash, baud: int, now: float) -> Board:
    factory = lock.factory()
    if baud:
        # So that host and lock agree on a speed that the line has, and reports state it.
        fastest = max(START_BAUD, min(factory.max_baud, baud))
        factory = replace(factory, max_baud=fastest)
    try:
        return Board(factory, flash, entropy=secrets.token_bytes, now=now)
    except (NotProvisionedError, ProtocolError, ImageError, ValueError) as error:
        raise lock.damaged(lock.flash_file, error) from error


def _open(place: Path | tuple[str, int]) -> Port:
    try:
        return PtyPort.open(place) if isinstance(place, Path) else TcpPort.open(*place)
    except PortUnavailableError as error:
        raise FailedError(
            Reason.PORT_BUSY, str(error), hint="give another address with --listen"
        ) from error


def _cable(baud: int, latency_ms: int, faults: str, seed: str) -> Cable:
    if not 0 <= baud <= BAUD_LIMIT:
        raise _usage(f"baud {baud}, wanted 0 (unpaced) to {BAUD_LIMIT}")
    if not 0 <= latency_ms <= LATENCY_LIMIT_MS:
        raise _usage(f"latency {latency_ms} ms, wanted 0 to {LATENCY_LIMIT_MS}")
    try:
        return Cable(baud, latency_ms, Faults.parse(faults) if faults else Faults(), seed)
    except FaultSpecError as error:
        raise _usage(str(error)) from error


def _profile(name: str) -> Profile:
    if name not in PROFILES:
        raise _usage(f"profile {name!r:.40}, wanted one of {', '.join(PROFILES)}")
    return PROFILES[name]


def _usage(message: str) -> RefusedError:
    return RefusedError(Reason.USAGE, message)
