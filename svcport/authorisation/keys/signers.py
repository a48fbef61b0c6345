"""The one way to a private key: a reference goes in, something that signs comes out.

Neither the key nor its secret is in a reference. The secret is asked for only when it is needed,
and agents and tokens are loaded only where a key is in one.
"""

from __future__ import annotations

from typing import Final

from protocol.sealed import Signer
from svcport.authorisation.keys.keyfile import load_key_file
from svcport.authorisation.keys.locked import PASSPHRASE_OF, Secret, checked_signature
from svcport.authorisation.keys.references import (
    AgentKey,
    KeyFile,
    KeyReference,
    TokenKey,
    parse_reference,
)

SELF_CHECK_DOMAIN: Final = b"svcport-self-check-v1\0"
"""What a self-check signs; no object and no AUTH begins like this."""


def open_signer(reference: str | KeyReference, secret: Secret | None) -> Signer:
    """Open the key that a reference names; threads may share the signer.

    Args:
        reference: path of an OpenSSH key file, `pkcs11:...` or `ssh-agent:...`.
        secret: called with `PIN of ...` or `passphrase of ...`; None where nobody can be asked.

    Raises:
        RefusedError: the reference is none (`usage`), the file is missing or no key
            (`not-set-up`), the key is not there or stays locked (`signer-locked`).
        RecordsError: a key file cannot be read (`storage`).
    """
    where = parse_reference(reference) if isinstance(reference, str) else reference
    match where:
        case KeyFile(path):
            name = f"{PASSPHRASE_OF}{path}"
            return load_key_file(path, None if secret is None else lambda: secret(name))
        case AgentKey():
            from svcport.authorisation.keys.agent import open_agent_key

            return open_agent_key(where)
        case TokenKey():
            from svcport.authorisation.keys.tokens import open_token_key

            return open_token_key(where, secret)


def self_check(signer: Signer) -> None:
    """Sign once and verify it: the path that an act will take, PIN, touch and all.

    Raises:
        FailedError: the key does not sign (`signer-locked`).
    """
    checked_signature(signer.subject, "the key", signer.sign(SELF_CHECK_DOMAIN), SELF_CHECK_DOMAIN)
