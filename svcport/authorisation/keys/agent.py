"""Keys of a running ssh-agent, over the Unix socket that SSH_AUTH_SOCK names.

Agent protocol: draft-ietf-sshm-ssh-agent, 3.5 (identities) and 3.6 (signing), without flags, so
that the signature covers the message alone.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import socket
import struct
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from protocol.errors import ProtocolError
from protocol.sealed import Algorithm, SubjectKey
from svcport.authorisation.keys.keyfile import load_public_line
from svcport.authorisation.keys.locked import checked_signature, locked, lost
from svcport.authorisation.keys.references import AgentKey
from svcport.transport.clock import SystemClock

ENVIRONMENT: Final = "SSH_AUTH_SOCK"

LIST_DEADLINE_S: Final = 10.0
SIGN_DEADLINE_S: Final = 60.0
"""Long enough for a person to confirm (`ssh-add -c`)."""

_MESSAGE_LIMIT: Final = 256 * 1024
"""Most bytes of an answer, as OpenSSH has it."""

_REQUEST_IDENTITIES: Final = 11
_IDENTITIES_ANSWER: Final = 12
_SIGN_REQUEST: Final = 13
_SIGN_RESPONSE: Final = 14
_NO_FLAGS: Final = struct.pack(">I", 0)
_SCALAR_SIZE: Final = 32

_USABLE: Final = {
    b"ssh-ed25519": Algorithm.ED25519,
    b"ecdsa-sha2-nistp256": Algorithm.ECDSA_P256,
}
_UNLOCK: Final = "load the key with ssh-add, or unlock the agent with ssh-add -X"


class AgentError(Exception):
    """The agent does not answer, or not as it must."""


@dataclass(frozen=True, slots=True)
class AgentSigner:
    """A key that the agent holds; one connection a signature, so threads need no lock."""

    subject: SubjectKey
    name: str
    _address: str
    _blob: bytes

    def sign(self, message: bytes) -> bytes:
        """See protocol.sealed.Signer; FailedError (`signer-locked`) if the agent does not."""
        request = bytes([_SIGN_REQUEST]) + _packed(self._blob) + _packed(message) + _NO_FLAGS
        try:
            answer = _ask(self._address, request, _SIGN_RESPONSE, SIGN_DEADLINE_S)
            raw = _raw_signature(answer, self.subject.algorithm)
        except AgentError as error:
            raise lost(f"{self.name} does not sign: {error}") from error
        return checked_signature(self.subject, self.name, raw, message)


@dataclass(frozen=True, slots=True)
class _Identity:
    blob: bytes
    comment: str

    @property
    def fingerprint(self) -> str:
        """As `ssh-add -l` shows it."""
        digest = base64.b64encode(hashlib.sha256(self.blob).digest())
        return "SHA256:" + digest.decode("ascii").rstrip("=")

    def subject(self) -> SubjectKey:
        """The key itself; AgentError if it is of a kind that cannot sign for svcport."""
        kind = _string(self.blob)[0]
        if kind.startswith(b"sk-"):
            raise AgentError(
                f"it is a {kind.decode('ascii', 'replace')} key, which signs a counter besides "
                "the message; wanted ssh-ed25519 or ecdsa-sha2-nistp256"
            )
        if kind not in _USABLE:
            raise AgentError(f"its kind is {kind!r}, wanted ssh-ed25519 or ecdsa-sha2-nistp256")
        try:
            line = kind + b" " + binascii.b2a_base64(self.blob, newline=False)
            key = load_public_line(line)
        except (ValueError, UnsupportedAlgorithm) as error:
            raise AgentError(f"its public half cannot be read: {error}") from error
        if not isinstance(key, ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey):
            raise AgentError(f"it is a {type(key).__name__}")
        try:
            return SubjectKey.of(key)
        except ProtocolError as error:
            raise AgentError(str(error)) from error


def open_agent_key(reference: AgentKey) -> AgentSigner:
    """Find a key in the agent.

    Raises:
        RefusedError: no agent, it is locked or empty, it does not hold the key, or one of a kind
            that does not fit (`signer-locked`).
    """
    address = os.environ.get(ENVIRONMENT)
    if not hasattr(socket, "AF_UNIX"):
        raise locked(
            "an ssh-agent behind a named pipe, as on Windows, is not supported",
            "use a key file or a PKCS#11 token",
        )
    if not address:
        raise locked(
            f"{ENVIRONMENT} names no ssh-agent", 'start one: eval "$(ssh-agent)", then ssh-add KEY'
        )
    try:
        identities = _identities(address)
    except AgentError as error:
        raise locked(f"the ssh-agent at {address} does not list its keys: {error}") from error
    identity = _chosen(identities, reference)
    name = f"key {identity.fingerprint} of the ssh-agent"
    try:
        subject = identity.subject()
    except AgentError as error:
        raise locked(f"{name} cannot be used: {error}") from error
    return AgentSigner(subject, name, address, identity.blob)


def _chosen(identities: tuple[_Identity, ...], reference: AgentKey) -> _Identity:
    if not identities:
        raise locked("the ssh-agent is locked or holds no key", _UNLOCK)
    found = [one for one in identities if reference.names(one.fingerprint, one.comment)]
    if len(found) == 1:
        return found[0]
    if found:
        raise locked(
            f"{len(found)} keys of the ssh-agent have the comment {reference.wanted!r}",
            "name one by its fingerprint: ssh-add -l",
        )
    raise locked(
        f"none of the {len(identities)} keys of the ssh-agent is {reference.wanted}", _UNLOCK
    )


def _identities(address: str) -> tuple[_Identity, ...]:
    answer = _ask(address, bytes([_REQUEST_IDENTITIES]), _IDENTITIES_ANSWER, LIST_DEADLINE_S)
    count, rest = _number(answer)
    found: list[_Identity] = []
    while rest:
        blob, rest = _string(rest)
        comment, rest = _string(rest)
        found.append(_Identity(blob, comment.decode("utf-8", "replace")))
    if count != len(found):
        raise AgentError(f"it announces {count} keys and lists {len(found)}")
    return tuple(found)


def _ask(address: str, request: bytes, wanted: int, deadline_s: float) -> bytes:
    """One question on a connection of its own; what follows the answer's number."""
    clock = SystemClock()
    deadline = clock.now() + deadline_s
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(deadline_s)
            connection.connect(address)
            connection.sendall(_packed(request))
            size, _ = _number(_receive(connection, 4, clock, deadline))
            if not 1 <= size <= _MESSAGE_LIMIT:
                raise AgentError(
                    f"its answer would have {size} bytes, wanted 1 to {_MESSAGE_LIMIT}"
                )
            answer = _receive(connection, size, clock, deadline)
    except TimeoutError as error:
        raise AgentError(f"no answer within {deadline_s:.0f} s") from error
    except OSError as error:
        raise AgentError(str(error.strerror or error)) from error
    if answer[0] != wanted:
        raise AgentError("it refused")
    return answer[1:]


def _receive(connection: socket.socket, size: int, clock: SystemClock, deadline: float) -> bytes:
    """Exactly `size` bytes, by the deadline even if they come one by one."""
    data = b""
    while len(data) < size:
        left = deadline - clock.now()
        if left <= 0:
            raise TimeoutError
        connection.settimeout(left)
        piece = connection.recv(size - len(data))
        if not piece:
            raise AgentError("it closed the connection")
        data += piece
    return data


def _raw_signature(answer: bytes, algorithm: Algorithm) -> bytes:
    """The 64 bytes in an answer: RFC 8709, 6 for Ed25519, RFC 5656, 3.1.2 for ECDSA."""
    blob, rest = _string(answer)
    kind, inner = _string(blob)
    signature, trailing = _string(inner)
    if rest or trailing or _USABLE.get(kind) is not algorithm:
        raise AgentError(f"its signature is of kind {kind!r}")
    if algorithm is Algorithm.ED25519:
        return signature
    r, more = _string(signature)
    s, more = _string(more)
    numbers = [int.from_bytes(number, "big") for number in (r, s)]
    if more or any(number >> (8 * _SCALAR_SIZE) for number in numbers):
        raise AgentError("its signature is no pair of 256-bit numbers")
    return b"".join(number.to_bytes(_SCALAR_SIZE, "big") for number in numbers)


def _packed(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def _number(data: bytes) -> tuple[int, bytes]:
    if len(data) < 4:
        raise AgentError("its answer is cut")
    return int.from_bytes(data[:4], "big"), data[4:]


def _string(data: bytes) -> tuple[bytes, bytes]:
    """The first SSH string (u32 length, bytes), and what follows it."""
    size, rest = _number(data)
    if size > len(rest):
        raise AgentError("its answer is cut")
    return rest[:size], rest[size:]
