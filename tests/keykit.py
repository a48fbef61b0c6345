"""Real keepers of keys for tests: SoftHSM2 tokens and an ssh-agent, each in its own folder."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from protocol.sealed import SubjectKey
from svcport.authorisation.credentials import store_credential
from svcport.authorisation.keys.keyfile import inspect_key
from svcport.authorisation.tickets import ticket_file, ticket_file_name
from svcport.home import Home
from svcport.lab.folder import LabFolder
from svcport.lab.releases import Release, SignedRelease, make_releases
from svcport.lab.vendor import TICKETS_OF_A_LOCK, TrainingVendor

PIN = "271828"
KINDS = ("p256", "ed25519")
_MODULES = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
    "/opt/homebrew/lib/softhsm/libsofthsm2.so",
)
_ED25519 = "1.3.101.112"


def secret(name: str) -> bytes:
    """What a technician who knows the PIN answers."""
    assert name.startswith("PIN of token "), name
    return PIN.encode()


@dataclass(frozen=True)
class SoftHsm:
    """SoftHSM2 with its tokens in one folder."""

    folder: Path
    module: Path

    @property
    def tokens(self) -> Path:
        return self.folder / "tokens"

    def reference(self, token: str, **parts: str) -> str:
        more = "".join(f";{name}={value}" for name, value in parts.items())
        return f"pkcs11:token={token}{more}?module-path={self.module}"

    def token(self, label: str, *kinds: str) -> None:
        """A new token with one key a kind, labelled by its kind; the driver looks afresh."""
        import pkcs11
        from pkcs11.util.ec import encode_named_curve_parameters

        before = pkcs11.lib(str(self.module))
        before.finalize()
        words = ("--init-token", "--free", "--label", label, "--pin", PIN, "--so-pin", "31415926")
        subprocess.run(["softhsm2-util", *words], check=True, capture_output=True)
        with self.login(label) as session:
            for number, kind in enumerate(kinds, 1):
                curve = "secp256r1" if kind == "p256" else _ED25519
                edwards = kind == "ed25519"
                parameters = session.create_domain_parameters(
                    pkcs11.KeyType.EC_EDWARDS if edwards else pkcs11.KeyType.EC,
                    {pkcs11.Attribute.EC_PARAMS: encode_named_curve_parameters(curve)},
                    local=True,
                )
                mechanism = pkcs11.Mechanism.EC_EDWARDS_KEY_PAIR_GEN if edwards else None
                parameters.generate_keypair(
                    store=True, label=kind, id=bytes([number]), mechanism=mechanism
                )

    def login(self, label: str) -> Any:
        """A session of python-pkcs11 that may write."""
        import pkcs11

        token = next(one for one in pkcs11.lib(str(self.module)).get_tokens() if one.label == label)
        return token.open(rw=True, user_pin=PIN)

    def pull(self) -> None:
        """Take every token away, as if unplugged."""
        shutil.rmtree(self.tokens)


@contextmanager
def soft_hsm(folder: Path) -> Iterator[SoftHsm]:
    """SoftHSM2 for one test; skips where the machine lacks a part of it."""
    pkcs11 = pytest.importorskip("pkcs11", reason="python-pkcs11 is not installed")
    module = next((Path(name) for name in _MODULES if Path(name).exists()), None)
    if module is None or shutil.which("softhsm2-util") is None:
        pytest.skip("SoftHSM2 is not installed (softhsm2)")
    hsm = SoftHsm(folder, module)
    hsm.tokens.mkdir(parents=True)
    config = folder / "softhsm2.conf"
    config.write_text(f"directories.tokendir = {hsm.tokens}\nobjectstore.backend = file\n")
    before = os.environ.get("SOFTHSM2_CONF")
    os.environ["SOFTHSM2_CONF"] = str(config)
    try:
        yield hsm
    finally:
        pkcs11.lib(str(module)).finalize()
        if before is None:
            del os.environ["SOFTHSM2_CONF"]
        else:
            os.environ["SOFTHSM2_CONF"] = before


@dataclass
class Agent:
    """A running ssh-agent."""

    folder: Path
    socket: Path
    process: subprocess.Popen[bytes]

    def add(self, kind: str, comment: str) -> SubjectKey:
        """A new key that ssh-keygen makes and the agent holds."""
        path = self.folder / f"{comment}.key"
        name = "ecdsa" if kind == "p256" else kind
        self.run("ssh-keygen", "-q", "-t", name, "-N", "", "-C", comment, "-f", str(path))
        self.run("ssh-add", "-q", str(path))
        return inspect_key(path.read_bytes(), str(path)).subject

    def run(self, *words: str) -> str:
        environment = {**os.environ, "SSH_AUTH_SOCK": str(self.socket)}
        done = subprocess.run(words, env=environment, check=True, capture_output=True, text=True)
        return done.stdout

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(timeout=10)


@contextmanager
def short_folder() -> Iterator[Path]:
    """A folder whose name fits into the address of a Unix socket, about a hundred bytes."""
    with tempfile.TemporaryDirectory(prefix="svc-") as name:
        yield Path(name)


@contextmanager
def ssh_agent(monkeypatch: pytest.MonkeyPatch) -> Iterator[Agent]:
    """An ssh-agent for one test, named by SSH_AUTH_SOCK; skips where there is none."""
    if shutil.which("ssh-agent") is None:
        pytest.skip("OpenSSH is not installed (openssh-client)")
    if os.name != "posix":
        pytest.skip("only Unix sockets are supported")
    with short_folder() as folder:
        socket = folder / "agent"
        command = ["ssh-agent", "-D", "-a", str(socket)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()  # it listens before it says where
            agent = Agent(folder, socket, process)
            monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
            try:
                yield agent
            finally:
                agent.stop()


class OtherHolder(TrainingVendor):
    """The training vendor of a seed, whose technician keeps the key elsewhere."""

    other: SubjectKey

    @property
    def holder(self) -> SubjectKey:
        return self.other


@functools.cache
def releases_of(seed: str) -> Mapping[Release, SignedRelease]:
    """The lab's own releases; made once a process, because making them takes a second."""
    return make_releases(seed, TrainingVendor(seed, datetime.now(UTC)).image_key, [])


def bundle_without_key(
    lab: LabFolder, seed: str, now: datetime, to: Path, subject: SubjectKey
) -> Path:
    """What a lab's vendor gives a technician whose key is `subject`, wherever that is."""
    vendor = OtherHolder(seed, now)
    vendor.other = subject
    bundle = Home(to)
    shutil.copytree(lab.technician, to)
    for path in (*bundle.tickets.iterdir(), *bundle.credential.iterdir()):
        path.unlink()
    issuer = vendor.issuer_certificate()
    releases = releases_of(seed)
    counters = range(1, TICKETS_OF_A_LOCK + 1)
    for serial in lab.serials:
        for ticket in vendor.tickets(serial, releases, counters):
            content = ticket_file(ticket, issuer)
            (bundle.tickets / ticket_file_name(serial, content)).write_bytes(content)
    store_credential(bundle, issuer, vendor.technician_certificate(), None)
    return to
