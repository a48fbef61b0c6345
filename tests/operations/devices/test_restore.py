from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from imagecraft import craft, generate
from smpserver import Device, DevicePort

from images import KeyKind, TrustStore, verify
from svcport.errors import Reason, SvcportError, UnfinishedError, UnknownOutcomeError
from svcport.home import Home
from svcport.locks.mcuboot import QUIET_S
from svcport.operations import commands
from svcport.operations.progress import Progress, Silent
from svcport.operations.workplace import Target, Workplace

Map = dict[str, Any]

SIGNER = generate(KeyKind.P256)
IMAGE = craft(SIGNER)
TRIED = {"slot": 0, "version": "2.0.0", "hash": b"\2" * 32, "bootable": True, "active": True}
BEFORE = {"slot": 1, "version": "1.0.0", "hash": b"\1" * 32, "bootable": True, "confirmed": True}
RUNS = {**BEFORE, "slot": 0, "active": True}
MARKED = {**TRIED, "slot": 1, "active": False, "pending": True}
WANTED = {
    **TRIED,
    "version": "1.2.3.4",
    "hash": verify(IMAGE, TrustStore([SIGNER.public])).digest,
}


def stopped(
    tmp_path: Path,
    images: tuple[Map, ...],
    special: Callable[[str, Map], Map | None],
    *,
    port: DevicePort | None = None,
    progress: Progress | None = None,
) -> SvcportError:
    device = Device(count=4, recovery=False, images=list(images), special=special)
    there = port or DevicePort(device)
    there.device = device
    file = tmp_path / "image.bin"
    file.write_bytes(IMAGE)
    with (
        Workplace.bare(
            Home(tmp_path / "home"), now=lambda: datetime.now(UTC), opener=lambda _name: there
        ) as work,
        pytest.raises(SvcportError) as ended,
    ):
        commands.restore(
            work, Target("scripted"), progress or Silent(), image=file, keys=[SIGNER.public]
        )
    return ended.value


@pytest.mark.parametrize(
    ("images", "boots"),
    [
        ((TRIED, BEFORE), "1.0.0+0"),
        ((RUNS, MARKED), "2.0.0+0"),
        # nothing beside it to fall back to
        ((TRIED,), None),
    ],
)
def test_a_trial_that_cannot_be_given_up_names_what_a_restart_would_start(
    tmp_path: Path, images: tuple[Map, ...], boots: str | None
) -> None:
    def special(name: str, asked: Map) -> Map | None:
        return {"rc": 10} if name == "reset" or "confirm" in asked else None

    ended = stopped(tmp_path, images, special)
    assert isinstance(ended, UnfinishedError)
    assert (ended.reason, ended.boots) == (Reason.LOCK_REFUSED, boots)
    assert (boots or "nothing bootable") in ended.message


def test_an_image_that_will_not_be_kept_gives_way_to_the_confirmed_one(tmp_path: Path) -> None:
    def special(_name: str, asked: Map) -> Map | None:
        return {"images": [WANTED, BEFORE]} if "confirm" in asked else None

    ended = stopped(tmp_path, (WANTED, BEFORE), special)
    assert isinstance(ended, UnfinishedError)
    assert (ended.reason, ended.boots) == (Reason.LOCK_REFUSED, "1.0.0+0")
    assert "1.2.3+4 runs, and the device does not keep it" in ended.message


@dataclass
class Stopping(Silent):
    """Somebody presses Ctrl-C once the device restarts; a worker hears of it here."""

    port: DevicePort

    def advance(self, to_bytes: int) -> None:
        if self.port.device.said[-1] == "reset":
            raise KeyboardInterrupt


@pytest.mark.parametrize("images", [(RUNS,), (TRIED, BEFORE)])
def test_whoever_stops_while_a_device_restarts_need_not_wait_for_it(
    tmp_path: Path, images: tuple[Map, ...]
) -> None:
    port = DevicePort(Device())
    reset_at: list[float] = []

    def special(name: str, _asked: Map) -> Map | None:
        if name == "reset":
            reset_at.append(port.clock.time)
            port.device.mishaps = dict.fromkeys(range(len(port.device.said), 999), "lost")
        return None

    ended = stopped(tmp_path, images, special, port=port, progress=Stopping(port))
    assert ended.reason is Reason.INTERRUPTED
    if images == (RUNS,):
        assert isinstance(ended, UnknownOutcomeError)
    else:
        assert isinstance(ended, UnfinishedError)
        assert ended.boots == "1.0.0+0"
    assert port.closed
    assert port.clock.time - reset_at[0] < QUIET_S + 1
