"""A thief with a cable: no credential, all the time in the world, and whatever he recorded."""

from __future__ import annotations

import dataclasses
import random
from pathlib import Path

import pytest
from fieldkit import make_field
from locksim import Cable
from security.kit import SECRETS, another_host, durable
from simulator.actkit import FIXED, make_host, receipts, running
from simulator.hostdriver import Host, RefusedByLock, Silence, refused
from simulator.trainer import SERIAL, STRANGER, technician_certificate

from protocol.acts import Activate, Begin, Reset, Rollback
from protocol.errors import HandshakeError
from protocol.frame import Frame, FrameDecoder, FrameType
from protocol.handshake import Hello, HostHandshake
from protocol.messages import REQUESTS
from protocol.queries import Identify, Measure, SectorDigests
from protocol.refusal import Refusal, RefusalCode
from protocol.values import Slot
from svcport.errors import Reason, SvcportError
from svcport.lab.vendor import TrainingVendor
from svcport.simulator.board import Board

UNIFORM = bytes.fromhex("01 01 00000000 0000")


def ask_raw(host: Host, plaintext: bytes) -> bytes:
    host.write(host.channel.send(plaintext))
    reply = host.channel.receive(host.wait(FrameType.CONTROL_REPLY))
    assert reply is not None
    return reply


def test_no_opcode_yields_anything_before_auth() -> None:
    host = make_host()
    before = host.board.core.state
    host.now += 0.5
    host.handshake()
    rng = random.Random(1)
    for opcode in range(256):
        for size in (0, 1, 4, 17, 120):
            plaintext = bytes([opcode]) + rng.randbytes(size)
            if opcode == 1 and size > 4:
                continue  # an AUTH that parses is answered by its own refusal
            assert ask_raw(host, plaintext) == UNIFORM
    assert host.board.core.state == before


def test_no_opcode_yields_memory_even_to_a_technician() -> None:
    host = make_host()
    host.login()
    rng = random.Random(2)
    heard = b""
    for opcode in set(range(256)) - set(REQUESTS):
        for size in (0, 4, 8, 16):
            reply = ask_raw(host, bytes([opcode]) + rng.randbytes(size))
            assert reply[:2] == bytes([1, RefusalCode.MALFORMED])
            heard += reply
    for slot in range(2, 256, 51):
        for request in (Measure, SectorDigests):
            raw = bytes([request.OPCODE, slot]) + bytes(18 if request is Measure else 3)
            reply = ask_raw(host, raw)
            assert reply[:2] == bytes([1, RefusalCode.MALFORMED])
    assert refused(host, SectorDigests(Slot.A, 111, 9)) is RefusalCode.OUT_OF_RANGE
    assert not any(secret in heard for secret in SECRETS)


def test_nothing_a_lock_says_in_a_whole_service_holds_its_secrets() -> None:
    host = make_host()
    heard = bytearray()
    poll = host.board.poll

    def tapped(now: float) -> bytes:
        said = poll(now)
        heard.extend(said)
        return said

    host.board.poll = tapped  # type: ignore[method-assign]
    host.install(FIXED)
    frames = FrameDecoder().feed(bytes(heard))
    said = bytes(heard) + b"".join(frame.body for frame in frames)
    assert len(frames) > 10
    assert not any(secret in said for secret in SECRETS)
    assert SERIAL.encode() not in said  # the certificate itself is sealed


def test_strangers_get_silence_from_every_other_frame() -> None:
    host = make_host()
    host.now += 0.5
    for kind in set(FrameType) - {FrameType.HELLO, FrameType.CONTROL}:
        for body in (b"", bytes(32), bytes(400)):
            host.write(Frame(kind, 0, body).build())
            host.now += 0.2
            assert host.board.poll(host.now) == b""


def test_guessing_at_auth_gets_a_guess_a_minute_and_is_recorded_for_ever() -> None:
    host = make_host()
    host.technician = STRANGER
    judged, hour = 0, host.now + 3600
    while host.now < hour:
        host.now += 0.5
        host.handshake()
        answer = host.ask(host.auth())
        assert isinstance(answer, Refusal)
        if answer.code is RefusalCode.CREDENTIAL_INVALID:
            judged += 1
            host.now += 0.5
        else:
            assert answer.code is RefusalCode.NOT_AUTHENTICATED
            host.now += min(20, answer.detail)
    assert judged <= 6 + 3600 / 60
    assert host.board.core.state.auth_failures == judged
    host.board.power_cycle(host.now)
    host.now += 5
    assert host.board.core.state.auth_failures == judged


def test_while_a_guesser_waits_no_credential_is_judged_in_any_session() -> None:
    host = make_host()
    host.now += 0.5
    for _ in range(7):
        host.handshake()
        host.technician = STRANGER
        reply = host.ask(host.auth())
        assert isinstance(reply, Refusal)
        host.now += reply.detail
    host.handshake()
    assert refused(host, host.auth()) is RefusalCode.CREDENTIAL_INVALID
    host.handshake()
    right = another_host(host)
    right.handshake()
    answer = right.ask(right.auth())
    assert answer == Refusal(RefusalCode.NOT_AUTHENTICATED, 60)


@pytest.mark.parametrize("which", ["copied certificate", "another vendor", "made-up serial"])
def test_a_fake_lock_learns_nothing_about_the_technician(tmp_path: Path, which: str) -> None:
    field = make_field(tmp_path)
    genuine = field.lab.lock(field.lab.serials[0]).factory()
    if which == "copied certificate":  # the certificate is no secret, its key is
        fake = dataclasses.replace(genuine, x25519_private=bytes(range(32)))
    else:
        vendor = TrainingVendor("thief", field.now)
        serial = genuine.serial if which == "another vendor" else "TR-999999"
        fake = vendor.factory(serial)
    board = Board(fake, field.board._flash, entropy=random.Random(5).randbytes, now=0.0)
    field.cables["P0"] = cable = Cable("P0", board)
    with pytest.raises(SvcportError) as caught:
        field.restore()
    assert caught.value.reason is Reason.LOCK_IDENTITY
    frames = FrameDecoder().feed(b"".join(cable.written))
    # HELLO and an ephemeral key are all that ever left the computer
    assert {frame.type for frame in frames} == {FrameType.HELLO, FrameType.NOISE}
    assert {len(frame.body) for frame in frames} == {10, 32}


def test_a_sniffed_session_replayed_byte_for_byte_does_nothing(tmp_path: Path) -> None:
    field = make_field(tmp_path)
    field.restore()
    recorded = list(field.cable.written)
    assert sum(map(len, recorded)) > 5_000
    before = field.board.core.state
    events = len(field.logs().members()["events"])
    heard: list[Frame] = []
    decoder = FrameDecoder()
    now = field.cable.clock.time + 60
    for chunk in recorded:
        field.board.receive(chunk, now)
        now += 0.3
        heard += decoder.feed(field.board.poll(now))
    after = field.board.core.state
    kept = dataclasses.replace(after, reset_count=before.reset_count)
    assert kept == before
    # each replayed first message meets another ephemeral key: its AUTH does not even open
    assert FrameType.CONTROL_REPLY not in {frame.type for frame in heard}
    assert FrameType.ACK not in {frame.type for frame in heard}
    field.cable.clock.time = now + 30
    seen = field.logs().members()["events"]
    assert len(seen) <= events + 2  # the two sessions of `logs` themselves


def test_an_auth_is_good_in_the_session_that_it_was_signed_for_only() -> None:
    host = make_host()
    host.login()
    stolen = host.auth()
    thief = another_host(host)
    thief.handshake()
    assert refused(thief, stolen) is RefusalCode.CREDENTIAL_INVALID
    assert refused(thief, Identify()) is RefusalCode.NOT_AUTHENTICATED


def test_a_relayed_auth_from_a_fake_lock_is_refused_by_the_genuine_one() -> None:
    """Whoever holds both ends of two sessions has two handshake hashes, and one signature."""
    genuine, bait = make_host(), make_host()
    bait.login()
    harvested = bait.auth()
    genuine.rng = random.Random(1)
    genuine.now += 0.5
    genuine.handshake()
    assert genuine.keys.handshake_hash != bait.keys.handshake_hash
    assert refused(genuine, harvested) is RefusalCode.CREDENTIAL_INVALID


def test_a_hello_changed_on_the_wire_ends_the_handshake() -> None:
    host = make_host()
    host.now += 0.5
    shake = HostHandshake(bytes(8), bytes(range(32)))
    changed = dataclasses.replace(Hello.parse(shake.hello()), version_max=3).build()
    host.write(Frame(FrameType.HELLO, 0, changed).build())
    first = shake.on_hello(host.wait(FrameType.HELLO_REPLY).body)
    host.write(Frame(FrameType.NOISE, 0, first).build())
    answer = host.wait(FrameType.NOISE_REPLY)
    with pytest.raises(HandshakeError):
        shake.on_answer(answer.body)


def test_a_man_in_the_middle_who_flips_a_bit_ends_the_session_and_nothing_is_done() -> None:
    host = make_host()
    host.login()
    before = durable(host)
    frame = FrameDecoder().feed(host.channel.send(bytes([Reset.OPCODE])))[0]
    for bit in (0, 7, 8 * len(frame.body) - 1):
        body = bytearray(frame.body)
        body[bit // 8] ^= 1 << bit % 8
        host.write(Frame(frame.type, frame.seq, bytes(body)).build())
    host.now += 1
    host.write(frame.build())  # the genuine one comes too late
    with pytest.raises(Silence):
        host.wait(FrameType.CONTROL_REPLY)
    assert durable(host) == before


def test_who_takes_over_the_plug_has_no_session() -> None:
    host = make_host()
    host.login()
    thief = another_host(host)
    thief.handshake()  # ends the technician's session, and opens an anonymous one
    for request in (Identify(), Activate(), Reset(), Rollback(b"", b"", b"")):
        assert refused(thief, request) is RefusalCode.NOT_AUTHENTICATED
    begin = Begin(b"", b"", b"", Slot.B, len(FIXED), bytes(32), bytes(14))
    assert refused(thief, begin) is RefusalCode.NOT_AUTHENTICATED


def test_a_self_made_credential_opens_nothing() -> None:
    host = make_host()
    host.technician = STRANGER
    host.technician_cert = technician_certificate(STRANGER, subject=STRANGER.subject)
    with pytest.raises(RefusedByLock) as caught:
        host.login()
    assert caught.value.code is RefusalCode.CREDENTIAL_INVALID


def test_a_thief_cannot_lock_the_next_technician_out() -> None:
    host = make_host()
    thief = another_host(host)
    thief.now += 0.5
    for _ in range(30):
        thief.rng = random.Random(thief.now)
        thief.write(Frame(FrameType.HELLO, 0, Hello(1, 1, thief.rng.randbytes(8)).build()).build())
        thief.now += 0.01
    technician = Host(host.board, now=thief.now + 2.1)
    technician.login()
    assert running(technician) == "2.4.0+0"
    assert receipts(technician) == []
