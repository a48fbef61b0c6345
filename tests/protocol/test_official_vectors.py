"""Our uses of the primitives against published vectors, and our Noise against another's."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from importlib.resources import files

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from noise.connection import Keypair, NoiseConnection

from protocol.errors import HandshakeError, SignatureError
from protocol.noise import NAME, NoiseInitiator, NoiseResponder, _agree, _hkdf2, nonce
from protocol.sealed import SubjectKey, raw_signature

PUBLISHED = files("cryptography_vectors")


def published(*path: str) -> str:
    return PUBLISHED.joinpath(*path).read_text("utf-8")


def records(text: str) -> Iterator[dict[str, str]]:
    """Blocks of `Name = value` lines."""
    for block in re.split(r"\n\s*\n", text):
        if found := fields_of(block):
            yield found


def fields_of(block: str) -> dict[str, str]:
    return dict(re.findall(r"^(\w+)[ \t]*=[ \t]*(.*?)[ \t]*$", block, re.MULTILINE))


def test_every_published_ed25519_signature_verifies_and_no_changed_one() -> None:
    lines = published("asymmetric", "Ed25519", "sign.input").splitlines()
    assert len(lines) == 1024
    for line in lines:
        _secret, public, message, signed = line.split(":")[:4]
        key, signature = SubjectKey(b"\x01" + bytes.fromhex(public)), bytes.fromhex(signed)[:64]
        key.verify(signature, bytes.fromhex(message))
        with pytest.raises(SignatureError):
            key.verify(bytes([signature[0] ^ 1]) + signature[1:], bytes.fromhex(message))


def p256_records() -> list[dict[str, str]]:
    text = published("asymmetric", "ECDSA", "FIPS_186-3", "SigVer.rsp")
    section = text.split("[P-256,SHA-256]")[1].split("\n[")[0]
    return [fields for fields in records(section) if "Result" in fields]


def test_published_p256_signatures_verify_or_fail_as_published() -> None:
    found = p256_records()
    assert {fields["Result"][0] for fields in found} == {"P", "F"}
    for fields in found:
        point = b"".join(bytes.fromhex(fields[name]) for name in ("Qx", "Qy"))
        key = SubjectKey(b"\x02\x04" + point)
        signature = raw_signature(encode_dss_signature(int(fields["R"], 16), int(fields["S"], 16)))
        message = bytes.fromhex(fields["Msg"])
        if fields["Result"].startswith("P"):
            key.verify(signature, message)
        else:
            with pytest.raises(SignatureError):
                key.verify(signature, message)


def test_noise_hkdf_is_that_of_rfc_5869() -> None:
    text = published("KDF", "rfc-5869-HKDF-SHA256.txt")
    # Test case 3: without salt and info, as Noise has no info.
    case = fields_of(text.split("A.3.")[1])
    assert (case["salt"], case["info"]) == ("", "")
    first, second = _hkdf2(b"", bytes.fromhex(case["IKM"]))
    assert (first + second)[: int(case["L"])].hex() == case["OKM"]


def test_chacha20_poly1305_seals_as_published() -> None:
    checked = 0
    for fields in records(published("ciphers", "ChaCha20Poly1305", "boringssl.txt")):
        raw = {name: fields.get(name, "") for name in ("KEY", "NONCE", "IN", "AD", "CT", "TAG")}
        if not raw["KEY"] or raw["IN"].startswith('"') or "TAG_LEN" in fields:
            continue
        value = {name: bytes.fromhex(text) for name, text in raw.items()}
        sealed = ChaCha20Poly1305(value["KEY"]).encrypt(value["NONCE"], value["IN"], value["AD"])
        assert sealed == value["CT"] + value["TAG"]
        checked += 1
    assert checked > 5


def test_x25519_agrees_as_published() -> None:
    found = [f for f in records(published("asymmetric", "X25519", "rfc7748.txt")) if "INPUT_U" in f]
    for fields in found[:2]:
        public = bytes.fromhex(fields["INPUT_U"])
        scalar = X25519PrivateKey.from_private_bytes(bytes.fromhex(fields["INPUT_SCALAR"]))
        assert _agree(scalar, public).hex() == fields["OUTPUT_U"]


def test_the_nonce_is_noises_own() -> None:
    assert nonce(0x0102030405060708).hex() == "000000000807060504030201"


def another(*, initiator: bool, prologue: bytes) -> NoiseConnection:
    """An implementation that is not ours: PyPI's noiseprotocol."""
    connection = NoiseConnection.from_name(NAME)
    connection.set_prologue(prologue)
    if initiator:
        connection.set_as_initiator()
    else:
        connection.set_as_responder()
        connection.set_keypair_from_private_bytes(Keypair.STATIC, os.urandom(32))
    connection.start_handshake()
    return connection


def test_our_host_shakes_hands_with_another_lock() -> None:
    theirs = another(initiator=False, prologue=b"both")
    ours = NoiseInitiator(b"both", os.urandom(32))
    theirs.read_message(ours.first_message())
    keys, payload, static = ours.finish(bytes(theirs.write_message(b"certificate")))
    assert payload == b"certificate"
    assert static == theirs.noise_protocol.keypairs["s"].public_bytes
    assert keys.handshake_hash == theirs.get_handshake_hash()
    sealed = ChaCha20Poly1305(keys.host_to_lock).encrypt(nonce(0), b"request", b"")
    assert theirs.decrypt(sealed) == b"request"
    answer = ChaCha20Poly1305(keys.lock_to_host).decrypt(nonce(0), theirs.encrypt(b"reply"), b"")
    assert answer == b"reply"


def test_our_lock_shakes_hands_with_another_host() -> None:
    theirs = another(initiator=True, prologue=b"both")
    ours = NoiseResponder(b"both", os.urandom(32), os.urandom(32))
    assert ours.read_first(bytes(theirs.write_message())) == b""
    message, keys = ours.answer(b"certificate")
    assert theirs.read_message(message) == b"certificate"
    assert keys.handshake_hash == theirs.get_handshake_hash()
    opened = ChaCha20Poly1305(keys.host_to_lock).decrypt(nonce(0), theirs.encrypt(b"request"), b"")
    assert opened == b"request"


def test_another_prologue_breaks_the_handshake_with_another_lock() -> None:
    theirs = another(initiator=False, prologue=b"one")
    ours = NoiseInitiator(b"two", os.urandom(32))
    theirs.read_message(ours.first_message())
    with pytest.raises(HandshakeError):
        ours.finish(bytes(theirs.write_message(b"certificate")))
