"""What a device has written down: log files, and what its shell tells, where it has either."""

from __future__ import annotations

from typing import Any

from svcport.errors import Outcome
from svcport.operations.devices.visit import DeviceVisit
from svcport.operations.report import Report


def read_device_logs(stay: DeviceVisit) -> Report:
    """Every line as an event; such a device keeps no index and no times that could be trusted."""
    stay.progress.step("reading what the device has written down")
    events: list[dict[str, Any]] = []
    logs = stay.lock.logs()
    for log in logs:
        lines = log.body.decode("utf-8", "replace").splitlines()
        events += [{"index": None, "time": None, "source": log.name, "text": one} for one in lines]
    told = f"{len(events)} lines from {len(logs)} sources" if logs else "no log files and no shell"
    return Report(Outcome.OK, f"{told}: {stay.name}", facts={**stay.facts(), "events": events})
