"""Host: stopped at every frame and every disk write; interrupted at every frame and step."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from typing import Final

from fieldkit import AtStep, LoudSilence, press_ctrl_c
from sweep.disk import DISK, Fault
from sweep.measure import measured
from sweep.recover import finish
from sweep.starts import room, start
from sweep.wire import Killed
from sweep.yard import Ended, Yard

from svcport.cli import signals

FLOWS: Final = ("first", "raise", "rollback", "confirm-raise", "resume")


def names() -> Iterator[str]:
    for flow in FLOWS:
        facts = measured(flow)
        for when in ("before", "after"):
            for number in range(1, facts.writes + 1):
                yield f"kill/{flow}/frame-{when}/{number}"
                yield f"ctrl-c/{flow}/frame-{when}/{number}"
        for how in (Fault.KILL, Fault.TORN):
            for number in range(1, facts.disk + 1):
                yield f"kill/{flow}/disk-{how.value}/{number}"
        for number in range(1, len(facts.steps) + 1):
            yield f"ctrl-c/{flow}/step/{number}"
            yield f"sigterm/{flow}/step/{number}"


def run_kill(name: str, parts: list[str]) -> str:
    """`kill/FLOW/frame-WHEN/NUMBER` or `kill/FLOW/disk-HOW/NUMBER`."""
    flow, moment, number = parts
    place, _minus, how = moment.partition("-")
    yard = _yard(flow)
    if place == "frame":
        return finish(yard, name, _at_frame(yard, how, int(number), yard.die, Killed))
    with DISK.watching(Fault(how), int(number), yard.die):
        ended = yard.go()
    return finish(yard, name, ended)


def run_interrupt(name: str, parts: list[str]) -> str:
    """`ctrl-c/FLOW/step/NUMBER` or `ctrl-c/FLOW/frame-WHEN/NUMBER`."""
    flow, moment, number = parts
    place, _minus, when = moment.partition("-")
    yard = _yard(flow)
    if place == "frame":
        ended = _at_frame(yard, when, int(number), lambda: None, KeyboardInterrupt)
    else:
        ended = _at_step(yard, int(number), press_ctrl_c)
    return finish(yard, name, ended)


def run_terminate(name: str, parts: list[str]) -> str:
    """`sigterm/FLOW/step/NUMBER`: a real signal, handled as the command line handles it."""
    flow, _step, number = parts
    yard = _yard(flow)
    before = signal.signal(signal.SIGTERM, signals.interrupt)
    try:
        ended = _at_step(yard, int(number), lambda: signal.raise_signal(signal.SIGTERM))
    finally:
        signal.signal(signal.SIGTERM, before)
    return finish(yard, name, ended)


def _yard(flow: str) -> Yard:
    return Yard(start(flow), room(), own_home=flow == "first")


def _at_frame(
    yard: Yard, when: str, number: int, first: Callable[[], None], stop: type[BaseException]
) -> Ended:
    def strike(moment: str, count: int) -> None:
        if (moment, count) == (when, number):
            first()
            raise stop

    yard.wire.on_write = strike
    return yard.go()


def _at_step(yard: Yard, number: int, strike: Callable[[], None]) -> Ended:
    yard.progress = AtStep(number, strike)
    ended = yard.go()
    yard.progress = LoudSilence()
    return ended
