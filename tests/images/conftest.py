from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from imagecraft import generate
from imgtool.main import imgtool as imgtool_command

from images import FileSigner, KeyKind, TrustStore

Imgtool = Callable[..., str]


@pytest.fixture(scope="session")
def signers() -> dict[KeyKind, FileSigner]:
    return {kind: generate(kind) for kind in KeyKind}


@pytest.fixture(scope="session")
def p256(signers: dict[KeyKind, FileSigner]) -> FileSigner:
    return signers[KeyKind.P256]


@pytest.fixture(scope="session")
def trust(signers: dict[KeyKind, FileSigner]) -> TrustStore:
    return TrustStore(signer.public for signer in signers.values())


@pytest.fixture(scope="session")
def stranger() -> FileSigner:
    return generate(KeyKind.P256)


@pytest.fixture(scope="session")
def key_files(
    signers: dict[KeyKind, FileSigner], tmp_path_factory: pytest.TempPathFactory
) -> dict[KeyKind, Path]:
    folder = tmp_path_factory.mktemp("keys")
    files = {}
    for kind, signer in signers.items():
        files[kind] = folder / f"{kind}.pem"
        files[kind].write_bytes(
            signer._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        )
    return files


@pytest.fixture(scope="session")
def imgtool() -> Imgtool:
    """imgtool in this process: it reads and writes files as its command line does."""

    def run(*arguments: object) -> str:
        result = CliRunner().invoke(imgtool_command, [str(argument) for argument in arguments])
        assert result.exit_code == 0, (arguments, result.output, result.exception)
        return result.output

    return run
