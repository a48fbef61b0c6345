"""Where a private key is: a key file, a key on a PKCS#11 token, a key of the ssh-agent.

A reference is text that people type and that a home keeps. It never holds a secret.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote, unquote_to_bytes

from svcport.errors import Reason, RefusedError

TOKEN_SCHEME: Final = "pkcs11:"  # noqa: S105
AGENT_SCHEME: Final = "ssh-agent:"

_FINGERPRINT: Final = "SHA256:"
_HINT: Final = (
    "give the path of an OpenSSH key file, pkcs11:token=NAME;object=LABEL?module-path=FILE, "
    "ssh-agent:SHA256:... or ssh-agent:COMMENT"
)
_SECRETS: Final = frozenset({"pin-value", "pin-source"})
_PATH_NAMES: Final = frozenset({"token", "serial", "object", "id", "type"})
_QUERY_NAMES: Final = frozenset({"module-path"})


@dataclass(frozen=True, slots=True)
class KeyFile:
    """A key in an OpenSSH private-key file."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)


@dataclass(frozen=True, slots=True)
class AgentKey:
    """A key that the ssh-agent holds: its fingerprint (`SHA256:` and base64) or its comment."""

    wanted: str

    def __str__(self) -> str:
        return AGENT_SCHEME + self.wanted

    def names(self, fingerprint: str, comment: str) -> bool:
        """Whether it is the key with this fingerprint and comment."""
        return self.wanted == (fingerprint if self.wanted.startswith(_FINGERPRINT) else comment)


@dataclass(frozen=True, slots=True)
class TokenKey:
    """A key on a PKCS#11 token, of RFC 7512 what a technician needs; None is "any".

    Attributes:
        token: the token's label.
        serial: the token's serial number.
        label: the private key's label (`object`).
        key_id: the private key's CKA_ID (`id`).
        module: the token's driver, a shared library; None takes it from the environment.
    """

    token: str | None = None
    serial: str | None = None
    label: str | None = None
    key_id: bytes | None = None
    module: Path | None = None

    def __str__(self) -> str:
        text = {"token": self.token, "serial": self.serial, "object": self.label}
        parts = [f"{name}={quote(value, safe=' ')}" for name, value in text.items() if value]
        if self.key_id is not None:
            parts.append("id=" + "".join(f"%{byte:02x}" for byte in self.key_id))
        query = f"?module-path={quote(str(self.module), safe='/ :')}" if self.module else ""
        return TOKEN_SCHEME + ";".join(parts) + query


KeyReference = KeyFile | AgentKey | TokenKey


def parse_reference(text: str) -> KeyReference:
    """Read a reference; a path that begins like a scheme is written with `./` in front.

    Raises:
        RefusedError: it is none, or it carries a PIN (`usage`).
    """
    if any(not char.isprintable() for char in text):
        raise _unusable("a key reference has no control characters")
    if text.startswith(TOKEN_SCHEME):
        return _parse_uri(text)
    if text.startswith(AGENT_SCHEME):
        wanted = text.removeprefix(AGENT_SCHEME)
        if not wanted.removeprefix(_FINGERPRINT):
            raise _unusable(f"{text} names no key of the agent")
        return AgentKey(wanted)
    if not text:
        raise _unusable("an empty key reference names nothing")
    return KeyFile(Path(text))


def _parse_uri(text: str) -> TokenKey:
    """RFC 7512, 2.3: `pkcs11:name=value;...?name=value&...`, values percent-encoded."""
    path, _, query = text.removeprefix(TOKEN_SCHEME).partition("?")
    attributes = _attributes(path, ";", _PATH_NAMES)
    options = _attributes(query, "&", _QUERY_NAMES)
    if attributes.get("type", "private") != "private":
        raise _unusable(f"type is {attributes['type']!r}, only a private key can sign")
    module = options.get("module-path")
    if module is not None and not Path(unquote(module)).is_absolute():
        raise _unusable(f"module-path {module} is no absolute path")
    token, serial, label = (
        unquote(attributes[name]) if name in attributes else None
        for name in ("token", "serial", "object")
    )
    return TokenKey(
        token=token,
        serial=serial,
        label=label,
        key_id=unquote_to_bytes(attributes["id"]) if "id" in attributes else None,
        module=None if module is None else Path(unquote(module)),
    )


def _attributes(text: str, separator: str, known: frozenset[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in text.split(separator) if text else ():
        name, _, value = part.partition("=")
        if name in _SECRETS:
            raise _unusable(f"{name} does not belong in a reference: everybody can read it there")
        if name not in known:
            raise _unusable(f"{name!r} is not understood, known are {', '.join(sorted(known))}")
        if name in found or not value:
            raise _unusable(f"{name} must be given once, and not empty")
        found[name] = value
    return found


def _unusable(message: str) -> RefusedError:
    return RefusedError(Reason.USAGE, message, hint=_HINT)
