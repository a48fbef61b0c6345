"""What an SMP device's no, or its silence, means in the words of svcport."""

from __future__ import annotations

from protocol.smp_messages import SmpFault
from svcport.errors import FailedError, Outcome, Reason, SvcportError
from svcport.transport.port import LinkLostError


class SmpRefusedError(SvcportError):
    """The device answered no.

    Attributes:
        fault: the device's answer.
        doing: the request it refused, in words.
    """

    def __init__(self, fault: SmpFault, doing: str) -> None:
        super().__init__(Reason.LOCK_REFUSED, f"the device refuses to {doing}: {fault}")
        self.fault = fault
        self.doing = doing


class UnsupportedError(SmpRefusedError):
    """The device's firmware is built without what was asked for: nothing went wrong."""

    outcome = Outcome.REFUSED


class SilentDeviceError(LinkLostError):
    """The device does not answer in time, though the port is there."""

    def __init__(self, doing: str, waited_s: float) -> None:
        super().__init__(f"the device does not answer within {waited_s:.0f} s: asked to {doing}")


class NonsenseError(FailedError):
    """The device answers what is no reply to the question."""

    def __init__(self, doing: str, what: str) -> None:
        super().__init__(
            Reason.LOCK_REFUSED, f"the device, asked to {doing}, answers no sense: {what}"
        )


def refused(fault: SmpFault, doing: str) -> SmpRefusedError:
    """The error for a device's no."""
    return (UnsupportedError if fault.unsupported else SmpRefusedError)(fault, doing)
