"""Faults planted in the simulated lock, and the cases that must find them.

Each is a mistake that firmware has been shipped with. A sweep that does not see it sees nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

from sweep.promises import Promise

from svcport.simulator.acts import Acts
from svcport.simulator.nvm import Nvm
from svcport.simulator.slots import Slots, check
from svcport.simulator.state import LockState

Plant = Callable[[], list[tuple[type, str, Any]]]


@dataclass(frozen=True)
class Planted:
    """A fault.

    Attributes:
        plant: gives what to put in place of which methods.
        cases: a few dozen, of which at least one must break one of `promises`.
    """

    name: str
    what: str
    plant: Plant
    cases: tuple[str, ...]
    promises: frozenset[Promise]


@contextmanager
def planted(fault: Planted) -> Iterator[None]:
    """The lock has the fault meanwhile."""
    places = fault.plant()
    before = [(owner, name, getattr(owner, name)) for owner, name, _new in places]
    for owner, name, new in places:
        setattr(owner, name, new)
    try:
        yield
    finally:
        for owner, name, old in before:
            setattr(owner, name, old)


def _counter_early() -> list[tuple[type, str, Any]]:
    real = Acts.activate

    def activate(acts: Acts, session: Any) -> None:
        real(acts, session)
        core = acts._core
        image = core.slots.image(core.state.act.slot)
        assert image is not None
        raised = max(core.state.security_counter, image.security_counter)
        core.nvm.write(replace(core.state, security_counter=raised))

    return [(Acts, "activate", activate)]


def _marked_early() -> list[tuple[type, str, Any]]:
    real = Slots.program

    def program(slots: Slots, slot: Any, sector: int, content: bytes) -> bool:
        slots._nvm.set_marks(slot, [sector], marked=True)
        return real(slots, slot, sector, content)

    return [(Slots, "program", program)]


def _two_records() -> list[tuple[type, str, Any]]:
    real = Nvm.write

    def write(nvm: Nvm, state: LockState) -> None:
        if state.boot != nvm.state.boot and state.act != nvm.state.act:
            real(nvm, replace(nvm.state, boot=state.boot))
        real(nvm, state)

    return [(Nvm, "write", write)]


def _stale_resume() -> list[tuple[type, str, Any]]:
    program_real, check_real, erase_real = Slots.program, Slots.sector_check, Slots.erase
    told: dict[tuple[int, Any, int], bytes] = {}  # what the lock remembers, by its flash

    def program(slots: Slots, slot: Any, sector: int, content: bytes) -> bool:
        told[id(slots._flash), slot, sector] = check(content)
        return program_real(slots, slot, sector, content)

    def sector_check(slots: Slots, slot: Any, sector: int) -> bytes:
        return told.get((id(slots._flash), slot, sector)) or check_real(slots, slot, sector)

    def erase(slots: Slots, slot: Any, sector: int) -> None:
        told.pop((id(slots._flash), slot, sector), None)
        erase_real(slots, slot, sector)

    return [
        (Slots, "program", program),
        (Slots, "sector_check", sector_check),
        (Slots, "erase", erase),
    ]


def _ticket_apart() -> list[tuple[type, str, Any]]:
    real = Acts._open

    def open_act(acts: Acts, *arguments: Any, **options: Any) -> LockState:
        state = real(acts, *arguments, **options)
        nvm = acts._core.nvm
        nvm.write(replace(nvm.state, tickets=state.tickets, nonce=state.nonce))
        return state

    return [(Acts, "_open", open_act)]


def _write_on_trial() -> list[tuple[type, str, Any]]:
    return [(Acts, "_check_confirmed", lambda _acts, _now: None)]


def _cuts(flow: str, *hows: str, until: int = 34) -> tuple[str, ...]:
    return tuple(f"power/{flow}/{how}/{number}" for number in range(1, until) for how in hows)


FAULTS: Final = {
    fault.name: fault
    for fault in (
        Planted(
            "counter-early",
            "the security counter is raised when the new image starts, not when it is confirmed",
            _counter_early,
            _cuts("raise", "after"),
            frozenset({Promise.COUNTER, Promise.BRICK}),
        ),
        Planted(
            "marked-early",
            "a sector is marked as verified before it is written",
            _marked_early,
            _cuts("restore", "during"),
            frozenset({Promise.MARK}),
        ),
        Planted(
            "two-records",
            "boot record and act are written one after the other",
            _two_records,
            _cuts("restore", "after"),
            frozenset({Promise.TRIAL, Promise.UNAUDITED, Promise.FALSE_SUCCESS, Promise.LEDGER}),
        ),
        Planted(
            "stale-resume",
            "what was sent before a power cut is taken for what is there after it",
            _stale_resume,
            _cuts("restore", "during"),
            frozenset({Promise.AGAIN}),
        ),
        Planted(
            "ticket-apart",
            "a ticket is consumed in a record of its own before the act",
            _ticket_apart,
            (*_cuts("raise", "after"), *_cuts("rollback", "after")),
            frozenset({Promise.UNAUDITED}),
        ),
        Planted(
            "write-on-trial",
            "a transfer may begin while an image is on trial",
            _write_on_trial,
            tuple(f"order/restore/begin/{step}" for step in range(8, 15)),
            frozenset({Promise.TRIAL, Promise.BRICK}),
        ),
    )
}
