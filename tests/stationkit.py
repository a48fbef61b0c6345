"""A station that no vendor has set up, as operations know it: one home, real ports."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from protocol.objects import Entry
from protocol.sealed import Sealed
from svcport.audit.verify import LedgerVerdict, verify_ledger
from svcport.audit.view import LedgerView
from svcport.errors import SvcportError
from svcport.home import Home
from svcport.operations import commands
from svcport.operations.progress import Progress, Silent
from svcport.operations.report import Report
from svcport.operations.workplace import Target, Workplace


class At(Silent):
    """Does something once: when so many bytes are taken, or when a step begins so."""

    def __init__(
        self, act: Callable[[], object], *, at_bytes: int | None = None, step: str = "\0"
    ) -> None:
        self._act: Callable[[], object] | None = act
        self._bytes, self._step = at_bytes, step

    def step(self, text: str) -> None:
        self._if(text.startswith(self._step))

    def advance(self, to_bytes: int) -> None:
        self._if(self._bytes is not None and to_bytes >= self._bytes)

    def _if(self, met: bool) -> None:
        if met and self._act is not None:
            act, self._act = self._act, None
            act()


@dataclass
class Station:
    """What a technician with a fresh laptop has."""

    root: Path

    @property
    def home(self) -> Home:
        return Home(self.root / "home")

    def file(self, name: str, data: bytes) -> Path:
        path = self.root / name
        path.write_bytes(data)
        return path

    def run(
        self,
        command: Callable[..., Report],
        port: str,
        *,
        progress: Progress | None = None,
        serial: str | None = None,
        **options: Any,
    ) -> Report:
        target = Target(port, claimed_serial=serial)
        with Workplace.bare(self.home, now=lambda: datetime.now(UTC)) as work:
            return command(work, target, progress or Silent(), **options)

    def restore(self, port: str, image: Path, **options: Any) -> Report:
        return self.run(commands.restore, port, image=image, **options)

    def stopped(self, command: Callable[..., Report], port: str, **options: Any) -> SvcportError:
        with pytest.raises(SvcportError) as stopped:
            self.run(command, port, **options)
        return stopped.value

    def verdict(self) -> LedgerVerdict:
        with LedgerView.open_for_audit(self.home.ledger) as view:
            return verify_ledger(view)

    def entries(self) -> list[Entry]:
        with LedgerView.open_for_audit(self.home.ledger) as view:
            return [Entry.read(Sealed.parse(stored.data)) for stored in view.entries()]
