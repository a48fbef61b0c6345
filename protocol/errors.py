"""The one family of errors that bytes from the wire can raise."""

from __future__ import annotations


class ProtocolError(Exception):
    """Root of everything this package raises about bytes; wrong order of calls is RuntimeError."""


class MalformedFrameError(ProtocolError):
    """Bytes between two delimiters are no frame; the receiver drops them and counts."""


class MalformedMessageError(ProtocolError):
    """A payload does not parse, or a value does not fit its field."""


class MalformedObjectError(ProtocolError):
    """Bytes are no sealed object, or not one of the type wanted."""


class SignatureError(ProtocolError):
    """A sealed object or an AUTH is not signed by the key that it should be."""


class HandshakeError(ProtocolError):
    """The other side's handshake does not fit: wrong version, wrong key, tampered message."""


class VersionError(HandshakeError):
    """The other side speaks no protocol version that this side speaks.

    Attributes:
        offered: the version the lock answered with.
    """

    def __init__(self, offered: int, wanted: str) -> None:
        super().__init__(f"the lock speaks protocol version {offered}, this side {wanted}")
        self.offered = offered


class ChannelError(ProtocolError):
    """A control record failed its seal or its order; the session is over."""
