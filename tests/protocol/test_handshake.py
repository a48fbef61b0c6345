from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from hypothesis import given
from hypothesis import strategies as st
from sessioncraft import (
    HOST_EPHEMERAL,
    LOCK,
    LOCK_EPHEMERAL,
    LOCK_STATIC,
    MANUFACTURER,
    RND,
    TECHNICIAN,
    lock_certificate,
    technician_certificate,
    transcript,
)
from vectorfile import Vector, check, load

from protocol.errors import HandshakeError, MalformedMessageError, VersionError
from protocol.frame import FrameType
from protocol.handshake import (
    Hello,
    HelloReply,
    HostHandshake,
    LockHandshake,
    auth_message,
    prologue,
)
from protocol.noise import NoiseInitiator, NoiseResponder, nonce
from protocol.objects import LockCertificate
from protocol.sealed import Realm, Sealed

SESSION_FILE = "handshake/session.txt"
SESSION_HEADING = """\
A whole session of a training vendor with fixed keys: the first record holds what both sides know or
derive, the others are the frames in the order they cross the wire. `record` is a sealed frame's
plaintext. Ed25519 keys are named by their RFC 8032 seed, X25519 keys by their private bytes.
`identify-again` is a resend: the same bytes, answered by the same bytes from the lock's cache."""


def _session_vectors() -> list[Vector]:
    session = transcript()
    bound = {step.name: step.frame.body for step in session.steps}
    keys: Vector = {
        "name": "keys",
        "host.ephemeral": HOST_EPHEMERAL.hex(),
        "lock.ephemeral": LOCK_EPHEMERAL.hex(),
        "lock.static": LOCK_STATIC.hex(),
        "lock.certificate": lock_certificate().hex(),
        "manufacturer.seed": bytes([MANUFACTURER.byte] * 32).hex(),
        "technician.seed": bytes([TECHNICIAN.byte] * 32).hex(),
        "prologue": prologue(bound["hello"], bound["hello-reply"]).hex(),
        "handshake-hash": session.keys.handshake_hash.hex(),
        "key.host-to-lock": session.keys.host_to_lock.hex(),
        "key.lock-to-host": session.keys.lock_to_host.hex(),
        "auth.signed": auth_message(
            Realm.TRAINING, session.keys.handshake_hash, technician_certificate()
        ).hex(),
        "auth.signature": session.signature.hex(),
    }
    return [keys] + [
        {
            "name": step.name,
            "from": step.sender,
            "type": f"{step.frame.type:#04x}",
            "seq": str(step.frame.seq),
            "body": step.frame.body.hex(),
            **({} if step.record is None else {"record": step.record.hex()}),
            "wire": step.wire.hex(),
        }
        for step in session.steps
    ]


def _answered(first: bytes, certificate: bytes = b"certificate") -> bytes:
    lock = LockHandshake(HostHandshake(RND, HOST_EPHEMERAL).hello())
    answer, _keys = lock.on_message(
        first, static=LOCK_STATIC, ephemeral=LOCK_EPHEMERAL, certificate=certificate
    )
    return answer


def _started() -> tuple[HostHandshake, bytes]:
    host = HostHandshake(RND, HOST_EPHEMERAL)
    return host, host.on_hello(LockHandshake(host.hello()).reply())


def test_a_session_goes_over_the_wire_as_its_vectors_say() -> None:
    check(SESSION_FILE, SESSION_HEADING, _session_vectors())


def test_a_resend_is_the_same_bytes_both_ways() -> None:
    wire = {vector["name"]: vector.get("wire") for vector in load(SESSION_FILE)}

    assert wire["identify"] == wire["identify-again"]
    assert wire["identify-reply"] == wire["identify-reply-again"]


def test_the_session_vectors_follow_from_their_first_record_alone() -> None:
    keys, *steps = load(SESSION_FILE)
    sealing = {
        side: ChaCha20Poly1305(bytes.fromhex(keys[f"key.{way}"]))
        for side, way in (("host", "host-to-lock"), ("lock", "lock-to-host"))
    }
    for step in (step for step in steps if "record" in step):
        record, body = bytes.fromhex(step["record"]), bytes.fromhex(step["body"])
        assert sealing[step["from"]].encrypt(nonce(int(step["seq"])), record, None) == body
    public = TECHNICIAN.subject.raw[1:]
    Ed25519PublicKey.from_public_bytes(public).verify(
        bytes.fromhex(keys["auth.signature"]), bytes.fromhex(keys["auth.signed"])
    )


def test_the_host_ends_with_the_key_that_the_lock_certificate_names() -> None:
    host, first = _started()

    opened = host.on_answer(_answered(first, lock_certificate()))

    sealed = Sealed.parse(opened.certificate)
    sealed.verify(MANUFACTURER.subject)
    assert LockCertificate.read(sealed).x25519 == opened.static
    assert LockCertificate.read(sealed).subject == LOCK.subject


def test_both_hellos_are_bound_into_the_handshake() -> None:
    host, lock = Hello(1, 1, RND).build(), HelloReply(1, 1).build()
    bound = prologue(host, lock)

    assert bound.startswith(b"svcport-noise-v1\0")
    assert bound.endswith(hashlib.sha256(lock).digest())
    assert len({bound, prologue(lock, host), prologue(host + b"\0", lock)}) == 3


@pytest.mark.parametrize("side", ["host", "lock"])
def test_a_hello_changed_on_the_way_breaks_the_handshake(side: str) -> None:
    host = HostHandshake(RND, HOST_EPHEMERAL)
    changed = Hello(1, 2, RND).build() if side == "host" else host.hello()
    lock = LockHandshake(changed)
    first = host.on_hello(lock.reply())
    if side == "lock":
        other = NoiseResponder(prologue(changed, b"\x02\x01"), LOCK_STATIC, LOCK_EPHEMERAL)
        other.read_first(first)
        answer, _ = other.answer(b"certificate")
    else:
        answer, _ = lock.on_message(
            first, static=LOCK_STATIC, ephemeral=LOCK_EPHEMERAL, certificate=b"certificate"
        )

    with pytest.raises(HandshakeError):
        host.on_answer(answer)


@pytest.mark.parametrize("reply", [HelloReply(2, 1), HelloReply(0, 1), HelloReply(1, 2)])
def test_another_version_or_profile_is_named_before_any_key_is_sent(reply: HelloReply) -> None:
    host = HostHandshake(RND, HOST_EPHEMERAL)

    with pytest.raises(VersionError) as caught:
        host.on_hello(reply.build())
    assert caught.value.offered == reply.version


@pytest.mark.parametrize(("low", "high", "fits"), [(1, 1, True), (0, 9, True), (2, 9, False)])
def test_a_lock_answers_every_range_and_goes_on_only_where_it_speaks_one(
    low: int, high: int, fits: bool
) -> None:
    lock = LockHandshake(Hello(low, high, RND).build())

    assert (lock.fits, lock.rnd) == (fits, RND)
    assert HelloReply.parse(lock.reply()) == HelloReply(1, 1)
    if not fits:
        with pytest.raises(HandshakeError):
            lock.on_message(bytes(32), static=bytes(32), ephemeral=bytes(32), certificate=b"")


def test_a_range_that_falls_is_no_hello() -> None:
    with pytest.raises(MalformedMessageError):
        LockHandshake(Hello(2, 1, RND).build())


def test_a_repeated_hello_reply_gives_the_same_first_message() -> None:
    host, first = _started()

    assert host.on_hello(HelloReply(1, 1).build()) == first
    assert host.on_answer(_answered(first)).certificate == b"certificate"


def test_an_answer_before_hello_is_the_callers_mistake() -> None:
    with pytest.raises(RuntimeError):
        HostHandshake(RND, HOST_EPHEMERAL).on_answer(bytes(96))


def test_a_first_message_that_is_longer_or_shorter_than_a_key_is_refused() -> None:
    _host, first = _started()
    for message in (first + b"\0", first[:-1], b""):
        with pytest.raises(HandshakeError):
            _answered(message)


@pytest.mark.parametrize(
    "point", [bytes(32), b"\x01" + bytes(31), b"\xed" + b"\xff" * 30 + b"\x7f"]
)
def test_a_point_of_small_order_is_refused_by_both_sides(point: bytes) -> None:
    host, first = _started()
    with pytest.raises(HandshakeError):
        _answered(point)
    with pytest.raises(HandshakeError):
        host.on_answer(point + _answered(first)[32:])


@given(st.integers(0, 106), st.integers(1, 255))
def test_a_changed_byte_anywhere_in_the_answer_is_found(place: int, change: int) -> None:
    host, first = _started()
    answer = bytearray(_answered(first))
    assert len(answer) == 107
    answer[place] ^= change
    # X25519 ignores the top bit of a point (RFC 7748, section 5), but the transcript does not.
    with pytest.raises(HandshakeError):
        host.on_answer(bytes(answer))


@given(st.binary(max_size=200))
def test_any_bytes_as_an_answer_are_refused(data: bytes) -> None:
    host, _first = _started()

    with pytest.raises(HandshakeError):
        host.on_answer(data)


@given(st.binary(max_size=40))
def test_any_bytes_as_a_first_message_give_an_answer_or_are_refused(data: bytes) -> None:
    try:
        assert len(_answered(data)) == 107
    except HandshakeError:
        return
    assert len(data) == 32


@given(st.one_of(st.binary(max_size=12), st.binary(min_size=10, max_size=10)))
def test_any_bytes_as_a_hello_rebuild_or_are_malformed(data: bytes) -> None:
    try:
        lock = LockHandshake(data)
    except MalformedMessageError:
        return
    assert Hello.parse(data).build() == data
    assert lock.rnd == data[2:]


@given(st.binary(max_size=4))
def test_any_bytes_as_a_hello_reply_give_one_answer_or_a_named_error(data: bytes) -> None:
    host = HostHandshake(RND, HOST_EPHEMERAL)
    try:
        host.on_hello(data)
    except (VersionError, MalformedMessageError):
        assert data != b"\x01\x01"
    else:
        assert data == b"\x01\x01"


@pytest.mark.parametrize("vector", load("noise/nx.txt"), ids=lambda v: v["name"])
@pytest.mark.parametrize("role", ["initiator", "responder"])
def test_the_official_noise_vectors_hold(vector: Vector, role: str) -> None:
    field = {
        name: bytes.fromhex(v)
        for name, v in vector.items()
        if name[:4] not in ("name", "hand", "expe")
    }
    message = [field[f"message.{n}"] for n in range(4)]
    payload = [field[f"message.{n}.payload"] for n in range(4)]
    if role == "initiator":
        noise = NoiseInitiator(field["prologue"], field["initiator.ephemeral"])
        assert noise.first_message(payload[0]) == message[0]
        keys, given_payload, static = noise.finish(message[1])
        own = X25519PrivateKey.from_private_bytes(field["responder.static"])
        assert (given_payload, static) == (payload[1], own.public_key().public_bytes_raw())
    else:
        other = NoiseResponder(
            field["prologue"], field["responder.static"], field["responder.ephemeral"]
        )
        assert other.read_first(message[0]) == payload[0]
        answer, keys = other.answer(payload[1])
        assert answer == message[1]

    assert ChaCha20Poly1305(keys.host_to_lock).encrypt(nonce(0), payload[2], None) == message[2]
    assert ChaCha20Poly1305(keys.lock_to_host).encrypt(nonce(0), payload[3], None) == message[3]


def test_the_noise_vectors_are_four_and_differ_in_prologue_and_payloads() -> None:
    vectors = load("noise/nx.txt")

    assert len({v["message.1"] for v in vectors}) == len(vectors) == 4


def test_the_frames_of_a_session_alternate_and_name_their_types() -> None:
    steps = transcript().steps

    assert [s.sender for s in steps] == ["host", "lock"] * (len(steps) // 2)
    assert [s.frame.type for s in steps[:4]] == list(FrameType)[:4]
    assert replace(steps[6]).wire == steps[8].wire
