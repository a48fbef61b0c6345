from __future__ import annotations

import base64
import os
import re
from pathlib import Path

import pytest
from authority_kit import TECHNICIAN_KEY, seed_key
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from protocol.sealed import P256_ORDER, SubjectKey
from svcport.authorisation.keys import keyfile
from svcport.authorisation.keys.keyfile import (
    KDF_ROUNDS_LIMIT,
    KeyFileSigner,
    PrivateKey,
    inspect_key,
    key_file_bytes,
    load_key_file,
    unlock,
    write_key_file,
)
from svcport.errors import Reason, RecordsError, RefusedError

KEYS = pytest.mark.parametrize("key", [seed_key(1), TECHNICIAN_KEY], ids=["ed25519", "p256"])


def never_asked() -> bytes:
    raise AssertionError("asked for a passphrase")


@KEYS
def test_a_training_key_opens_without_asking(key: PrivateKey, tmp_path: Path) -> None:
    path = tmp_path / "technician.key"
    write_key_file(path, key)
    assert load_key_file(path, never_asked).subject == SubjectKey.of(key.public_key())


@KEYS
def test_a_locked_key_opens_with_its_passphrase_and_signs(key: PrivateKey, tmp_path: Path) -> None:
    path = tmp_path / "technician.key"
    write_key_file(path, key, b"correct horse", rounds=1)
    signer = load_key_file(path, lambda: b"correct horse")
    signature = signer.sign(b"message")
    assert len(signature) == 64
    signer.subject.verify(signature, b"message")


def test_p256_signatures_have_low_s() -> None:
    signer = KeyFileSigner.of(TECHNICIAN_KEY)
    for n in range(16):
        assert int.from_bytes(signer.sign(bytes([n]))[32:], "big") <= P256_ORDER // 2


@pytest.mark.parametrize("secret", [b"wrong", b"", b"correct horse "])
def test_a_wrong_passphrase_is_signer_locked(secret: bytes) -> None:
    data = key_file_bytes(seed_key(1), b"correct horse", rounds=1)
    with pytest.raises(RefusedError, match="passphrase does not open") as caught:
        unlock(data, "key", lambda: secret)
    assert caught.value.reason is Reason.SIGNER_LOCKED


def test_a_locked_key_without_a_passphrase_is_signer_locked() -> None:
    data = key_file_bytes(seed_key(1), b"correct horse", rounds=1)
    with pytest.raises(RefusedError, match="none was given") as caught:
        unlock(data, "key", None)
    assert caught.value.reason is Reason.SIGNER_LOCKED
    assert "--passphrase-fd" in caught.value.hint


@KEYS
def test_a_locked_key_shows_its_public_half_only(key: PrivateKey) -> None:
    shown = inspect_key(key_file_bytes(key, b"secret", rounds=3), "key")
    assert shown.subject == SubjectKey.of(key.public_key())
    assert (shown.encrypted, shown.rounds) == (True, 3)


@pytest.mark.skipif(os.name != "posix", reason="only POSIX has modes")
def test_a_new_key_file_is_for_its_owner_only(tmp_path: Path) -> None:
    write_key_file(tmp_path / "k", seed_key(1))
    assert (tmp_path / "k").stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(os.name != "posix", reason="only POSIX has modes")
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601])
def test_a_key_file_that_others_may_use_is_refused(mode: int, tmp_path: Path) -> None:
    path = tmp_path / "k"
    write_key_file(path, seed_key(1))
    path.chmod(mode)
    with pytest.raises(RefusedError, match=f"mode {mode:04o}") as caught:
        load_key_file(path, None)
    assert caught.value.reason is Reason.SIGNER_LOCKED
    assert caught.value.hint == f"chmod 600 {path}"


def test_a_missing_key_file_is_not_set_up(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="missing") as caught:
        load_key_file(tmp_path / "k", None)
    assert caught.value.reason is Reason.NOT_SET_UP


def test_a_key_file_that_cannot_be_read_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(RecordsError) as caught:
        load_key_file(tmp_path, None)
    assert caught.value.reason is Reason.STORAGE


def pem_of(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, kind: PrivateFormat) -> bytes:
    return key.private_bytes(Encoding.PEM, kind, NoEncryption())


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not a key",
        pem_of(TECHNICIAN_KEY, PrivateFormat.PKCS8),
        pem_of(ec.derive_private_key(5, ec.SECP384R1()), PrivateFormat.OpenSSH),
        key_file_bytes(seed_key(1))[:150] + b"\n-----END OPENSSH PRIVATE KEY-----\n",
        b"-----BEGIN OPENSSH PRIVATE KEY----------END OPENSSH PRIVATE KEY-----",
    ],
    ids=["empty", "text", "pkcs8", "p384", "truncated", "hollow"],
)
def test_what_is_no_usable_key_file_is_not_set_up(data: bytes) -> None:
    with pytest.raises(RefusedError) as caught:
        unlock(data, "key", never_asked)
    assert caught.value.reason is Reason.NOT_SET_UP


def test_an_rsa_key_is_not_set_up() -> None:
    data = pem_of(rsa.generate_private_key(65537, 2048), PrivateFormat.OpenSSH)
    with pytest.raises(RefusedError, match="wanted Ed25519 or P-256"):
        unlock(data, "key", never_asked)


def forged(key_file: bytes, old: bytes, new: bytes) -> bytes:
    """A key file in which the first `old` is replaced by `new`."""
    begin, end = b"-----BEGIN OPENSSH PRIVATE KEY-----\n", b"-----END OPENSSH PRIVATE KEY-----\n"
    blob = base64.b64decode(key_file[len(begin) : -len(end)])
    assert old in blob
    return begin + base64.b64encode(blob.replace(old, new, 1)) + b"\n" + end


def test_a_forged_public_half_does_not_open() -> None:
    mine, other = (seed_key(n).public_key().public_bytes_raw() for n in (1, 2))
    data = forged(key_file_bytes(seed_key(1)), mine, other)
    assert inspect_key(data, "key").subject == SubjectKey.of(seed_key(2).public_key())
    with pytest.raises(RefusedError, match="damaged"):
        unlock(data, "key", None)


def test_a_forged_round_count_does_not_make_us_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    def waits(*_arguments: object) -> PrivateKey:
        raise AssertionError("began to stretch a passphrase")

    monkeypatch.setattr(keyfile, "load_ssh_private_key", waits)
    many = (KDF_ROUNDS_LIMIT + 1).to_bytes(4, "big")
    data = forged(key_file_bytes(seed_key(1), b"x", rounds=5), (5).to_bytes(4, "big"), many)
    with pytest.raises(RefusedError, match="bcrypt rounds"):
        unlock(data, "key", never_asked)


def test_a_new_key_file_has_more_rounds_than_openssh_gives_one_and_opens() -> None:
    data = key_file_bytes(seed_key(1), b"x")
    # 16 is what ssh-keygen does unless it is told otherwise
    assert 3 * 16 <= inspect_key(data, "key").rounds <= KDF_ROUNDS_LIMIT
    unlock(data, "key", lambda: b"x")


def test_a_signer_does_not_print_its_key() -> None:
    assert re.fullmatch(r"KeyFileSigner\(subject=.*\)", repr(KeyFileSigner.of(seed_key(1))))
    assert "PrivateKey" not in repr(KeyFileSigner.of(seed_key(1)))


@given(st.data())
def test_a_damaged_training_key_opens_as_itself_or_is_refused(data: st.DataObject) -> None:
    good = key_file_bytes(seed_key(1))
    damaged = bytearray(good)
    damaged[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    try:
        signer = unlock(bytes(damaged), "key", None)
    except RefusedError as error:
        assert error.reason in (Reason.NOT_SET_UP, Reason.SIGNER_LOCKED)  # noqa: PT017
        return
    signer.subject.verify(signer.sign(b"x"), b"x")


@given(st.binary(max_size=300))
def test_any_bytes_are_a_key_or_refused(data: bytes) -> None:
    with pytest.raises(RefusedError):
        inspect_key(data, "key")
