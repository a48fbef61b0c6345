"""Opens a port by its name: a serial device, a serial server of the network, any pyserial URL."""

from __future__ import annotations

import logging

from svcport.transport.link import FIRST_BAUD, LinkLostError, PortBusyError, Transport
from svcport.transport.serialport import SerialTransport
from svcport.transport.tcp import SocketTransport

__all__ = [
    "FIRST_BAUD",
    "LinkLostError",
    "PortBusyError",
    "SerialTransport",
    "SocketTransport",
    "Transport",
    "open_port",
]

log = logging.getLogger(__name__)


def open_port(name: str) -> Transport:
    """Open a device name, `COM5`, `socket://`, `rfc2217://`, or any other pyserial URL.

    Raises:
        PortBusyError: another program holds it.
        FailedError: it does not exist, may not be opened, or nobody listens (`no-lock`).
    """
    log.info("opening %s", name)
    if name.startswith("socket://"):
        return SocketTransport(name)
    if name.startswith("rfc2217://"):
        from svcport.transport.rfc2217 import open_rfc2217  # few have one, and all would wait

        return open_rfc2217(name)
    return SerialTransport(name)
