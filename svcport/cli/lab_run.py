"""`svcport lab run`: simulated locks on ports, until SIGTERM or Ctrl-C."""

from __future__ import annotations

import contextlib
import json
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Final

import click

from svcport.cli.command import Command
from svcport.cli.options import contradiction
from svcport.cli.output import write

ANY_PORT: Final = "127.0.0.1:0"


@click.command("run", cls=Command, spreads=True)
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--lock", "serials", multiple=True, metavar="SERIAL", help="Only this lock.")
@click.option("--listen", metavar="HOST:PORT", help=f"Of the first lock; {ANY_PORT} if left out.")
@click.option("--pty", is_flag=True, help="Serve on pseudo terminals instead of TCP.")
@click.option("--profile", default="instant", metavar="P", help="Flash: instant or nrf52840.")
@click.option("--baud", type=click.IntRange(min=0), default=0, metavar="N", help="Pace the line.")
@click.option(
    "--latency-ms", type=click.IntRange(min=0), default=0, metavar="N", help="Of the adapter."
)
@click.option(
    "--fault",
    "faults",
    multiple=True,
    metavar="SPEC",
    help="ber=1e-5, drop=0.001, dup=0.001, cut-after=BYTES, power-cut=OPERATION.",
)
@click.option("--seed", default="", metavar="S", help="Of the faults.")
def command(
    directory: Path,
    serials: tuple[str, ...],
    listen: str | None,
    pty: bool,
    profile: str,
    baud: int,
    latency_ms: int,
    faults: tuple[str, ...],
    seed: str,
) -> None:
    r"""Serve the locks of DIR until SIGTERM; prints serial and port of each as JSON.

    \b
      svcport lab run L
      svcport lab run L --listen 127.0.0.1:7000 --profile nrf52840 --baud 921600
      svcport lab run L --fault drop=0.001,cut-after=40000
    """
    from svcport.lab.run import run_lab

    if pty and listen is not None:
        raise contradiction("--pty and --listen exclude each other")
    with _until_told() as stop:
        run_lab(
            directory,
            serials,
            listen=listen or ANY_PORT,
            use_pty=pty,
            profile=profile,
            baud=baud,
            latency_ms=latency_ms,
            faults=",".join(faults),
            seed=seed,
            on_listen=_announce,
            stop=stop,
        )


def _announce(serial: str, port: str) -> None:
    write(sys.stdout, json.dumps({"serial": serial, "port": port}) + "\n")


@contextlib.contextmanager
def _until_told() -> Iterator[threading.Event]:
    """An event that SIGTERM and Ctrl-C set: locks are switched off properly, their state kept."""
    stop = threading.Event()

    def tell(_signal: int, _frame: FrameType | None) -> None:
        stop.set()

    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.signal(number, tell) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
