from __future__ import annotations

import os
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from keykit import KINDS, Agent, short_folder, ssh_agent

from svcport.authorisation.keys import agent as agent_module
from svcport.authorisation.keys.signers import open_signer, self_check
from svcport.errors import FailedError, Outcome, Reason, RefusedError

MESSAGE = b"svcport-sig-v1\0 what is signed"


@pytest.fixture
def agent(monkeypatch: pytest.MonkeyPatch) -> Iterator[Agent]:
    with ssh_agent(monkeypatch) as ready:
        yield ready


def refused(reference: str) -> RefusedError:
    with pytest.raises(RefusedError) as caught:
        open_signer(reference, None)
    assert caught.value.reason is Reason.SIGNER_LOCKED
    return caught.value


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_of_the_agent_signs_as_sealed_objects_want_it(agent: Agent, kind: str) -> None:
    subject = agent.add(kind, "ada@bench")
    signer = open_signer("ssh-agent:ada@bench", None)
    assert signer.subject == subject
    for number in range(8):  # half of all ECDSA signatures come with a high s
        message = MESSAGE + bytes([number])
        subject.verify(signer.sign(message), message)
    self_check(signer)


def test_a_key_is_found_by_the_fingerprint_that_ssh_add_shows(agent: Agent) -> None:
    subjects = [agent.add(kind, kind) for kind in KINDS]
    lines = agent.run("ssh-add", "-l").splitlines()
    found = [open_signer(f"ssh-agent:{line.split()[1]}", None).subject for line in lines]
    assert found == subjects


def test_two_keys_of_one_comment_are_not_guessed_between(agent: Agent) -> None:
    agent.add("ed25519", "same")
    (agent.folder / "same.key").unlink()
    (agent.folder / "same.key.pub").unlink()
    agent.add("p256", "same")
    assert "2 keys" in refused("ssh-agent:same").message


def test_an_agent_that_is_empty_or_lacks_the_key_is_named(agent: Agent) -> None:
    assert "locked or holds no key" in refused("ssh-agent:ada").message
    agent.add("ed25519", "bob")
    error = refused("ssh-agent:ada")
    assert "none of the 1 keys" in error.message
    assert "ssh-add" in error.hint


def test_without_an_agent_the_key_stays_locked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    assert "SSH_AUTH_SOCK" in refused("ssh-agent:ada").message
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "nobody"))
    assert "does not list its keys" in refused("ssh-agent:ada").message


def test_a_system_without_unix_sockets_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(socket, "AF_UNIX")
    assert "named pipe" in refused("ssh-agent:ada").message


def test_a_key_of_another_kind_is_refused_by_its_kind(agent: Agent) -> None:
    path = agent.folder / "rsa.key"
    agent.run("ssh-keygen", "-q", "-t", "rsa", "-b", "2048", "-N", "", "-C", "rsa", "-f", str(path))
    agent.run("ssh-add", "-q", str(path))
    assert "ssh-rsa" in refused("ssh-agent:rsa").message


def test_an_agent_that_stops_or_loses_the_key_fails_by_name(agent: Agent) -> None:
    agent.add("ed25519", "ada")
    signer = open_signer("ssh-agent:ada", None)
    agent.run("ssh-add", "-q", "-D")
    with pytest.raises(FailedError, match="it refused") as caught:
        signer.sign(MESSAGE)
    assert (caught.value.reason, caught.value.outcome) == (Reason.SIGNER_LOCKED, Outcome.FAILED)
    agent.stop()
    with pytest.raises(FailedError, match="does not sign"):
        signer.sign(MESSAGE)


def packed(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


KEY = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32))
BLOB = packed(b"ssh-ed25519") + packed(KEY.public_key().public_bytes_raw())
ONE_KEY = b"\x0c" + struct.pack(">I", 1) + packed(BLOB) + packed(b"ada")


@contextmanager
def liar(monkeypatch: pytest.MonkeyPatch, *answers: bytes | None) -> Iterator[None]:
    """A socket that gives these bytes, one a connection; None says nothing and stays."""
    if os.name != "posix":
        pytest.skip("only Unix sockets are supported")
    done = threading.Event()

    def serve(server: socket.socket) -> None:
        for answer in answers:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                if answer is None:
                    done.wait(10)
                else:
                    connection.sendall(answer)

    with short_folder() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(str(folder / "agent"))
        server.listen()
        monkeypatch.setenv("SSH_AUTH_SOCK", str(folder / "agent"))
        thread = threading.Thread(target=serve, args=(server,))
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()


BAD_LISTS = {
    "no size": b"\0\0",
    "size zero": packed(b""),
    "size too large": struct.pack(">I", 1 << 20),
    "cut": packed(ONE_KEY)[:-1],
    "failure": packed(b"\x05"),
    "another number": packed(b"\x0e" + ONE_KEY[1:]),
    "a count too high": packed(b"\x0c\0\0\0\2" + ONE_KEY[5:]),
    "a length past the end": packed(b"\x0c\0\0\0\1" + b"\0\0\xff\xff"),
    "nothing behind its number": packed(b"\x0c"),
}


@pytest.mark.parametrize("answer", BAD_LISTS.values(), ids=BAD_LISTS)
def test_an_agent_that_lists_badly_is_refused(
    monkeypatch: pytest.MonkeyPatch, answer: bytes
) -> None:
    with liar(monkeypatch, answer):
        assert "does not list its keys" in refused("ssh-agent:ada").message


BAD_BLOBS = {
    b"sk-ssh-ed25519@openssh.com": "signs a counter",
    b"sk-ecdsa-sha2-nistp256@openssh.com": "signs a counter",
    b"ssh-ed25519-cert-v01@openssh.com": "its kind",
    b"ecdsa-sha2-nistp256": "public half",
    b"": "its kind",
}


@pytest.mark.parametrize("kind", BAD_BLOBS)
def test_a_key_that_cannot_sign_for_us_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, kind: bytes
) -> None:
    blob = packed(kind) + packed(bytes(32))
    listed = packed(b"\x0c\0\0\0\1" + packed(blob) + packed(b"ada"))
    with liar(monkeypatch, listed):
        assert BAD_BLOBS[kind] in refused("ssh-agent:ada").message


GOOD = KEY.sign(MESSAGE)


def answered(kind: bytes, signature: bytes, tail: bytes = b"") -> bytes:
    return packed(b"\x0e" + packed(packed(kind) + packed(signature)) + tail)


BAD_SIGNATURES = {
    "of another message": answered(b"ssh-ed25519", KEY.sign(b"another")),
    "short": answered(b"ssh-ed25519", GOOD[:-1]),
    "of another kind": answered(b"ecdsa-sha2-nistp256", packed(GOOD[:32]) + packed(GOOD[32:])),
    "with something behind": answered(b"ssh-ed25519", GOOD, b"more"),
    "empty": packed(b"\x0e"),
    "refused": packed(b"\x05"),
}


@pytest.mark.parametrize("answer", BAD_SIGNATURES.values(), ids=BAD_SIGNATURES)
def test_a_signature_that_is_none_is_never_passed_on(
    monkeypatch: pytest.MonkeyPatch, answer: bytes
) -> None:
    with liar(monkeypatch, packed(ONE_KEY), answer):
        signer = open_signer("ssh-agent:ada", None)
        with pytest.raises(FailedError) as caught:
            signer.sign(MESSAGE)
    assert caught.value.reason is Reason.SIGNER_LOCKED


def test_the_liar_can_also_tell_the_truth(monkeypatch: pytest.MonkeyPatch) -> None:
    with liar(monkeypatch, packed(ONE_KEY), answered(b"ssh-ed25519", GOOD)):
        assert open_signer("ssh-agent:ada", None).sign(MESSAGE) == GOOD


def test_an_agent_that_never_answers_is_waited_for_only_so_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(agent_module, "SIGN_DEADLINE_S", 0.2)
    with liar(monkeypatch, packed(ONE_KEY), None):
        signer = open_signer("ssh-agent:ada", None)
        with pytest.raises(FailedError, match="no answer within"):
            signer.sign(MESSAGE)
    monkeypatch.setattr(agent_module, "LIST_DEADLINE_S", 0.2)
    with liar(monkeypatch, None):
        assert "no answer within" in refused("ssh-agent:ada").message
