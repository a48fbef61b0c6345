"""Which serial ports this computer has, and which of them look like a service cable."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from serial.tools import list_ports

KNOWN_ADAPTERS: Final = {
    0x0403: "FTDI",
    0x067B: "Prolific",
    0x10C4: "Silicon Labs CP210x",
    0x1366: "SEGGER J-Link",
    0x1A86: "WCH CH340",
    0x1FC9: "NXP",
    0x2E8A: "Raspberry Pi",
    0x04B4: "Cypress",
    0x04D8: "Microchip",
}
"""USB vendor ids of serial adapters in the field."""


@dataclass(frozen=True, slots=True)
class FoundPort:
    """One serial port.

    Attributes:
        device: what `--port` takes.
        adapter: who made it, or its description.
        usb_path: hub and socket, stable over reconnects; empty if not on USB.
        adapter_serial: the adapter's own serial number, empty if it has none.
        known: whether it is an adapter that is tried without being named.
    """

    device: str
    adapter: str
    usb_path: str
    adapter_serial: str
    known: bool

    @property
    def verdict(self) -> str:
        """What svcport makes of it, in words."""
        if self.known:
            return "serial adapter: tried when no --port is given"
        return "not a known adapter: name it with --port to use it"

    def as_json(self) -> dict[str, str | bool | None]:
        """The port as a member of `ports[]`."""
        return {
            "port": self.device,
            "adapter": self.adapter,
            "usb_path": self.usb_path or None,
            "adapter_serial": self.adapter_serial or None,
            "known": self.known,
            "verdict": self.verdict,
        }


def found_ports() -> tuple[FoundPort, ...]:
    """Every serial port, by device name."""
    ports = [
        FoundPort(
            device=port.device,
            adapter=KNOWN_ADAPTERS.get(port.vid or 0, port.description or "unknown"),
            usb_path=port.location or "",
            adapter_serial=port.serial_number or "",
            known=(port.vid or 0) in KNOWN_ADAPTERS,
        )
        for port in list_ports.comports()
    ]
    return tuple(sorted(ports, key=lambda port: port.device))
