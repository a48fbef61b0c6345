from __future__ import annotations

import random

import pytest
from simulator.hostdriver import Host, RefusedByLock, Silence, refused
from simulator.trainer import fresh_flash, image, power_up, technician_certificate

from protocol.channel import HostChannel
from protocol.frame import BAUD_PATTERN, Frame, FrameType
from protocol.handshake import HelloReply, HostHandshake
from protocol.messages import encode_request
from protocol.noise import SessionKeys
from protocol.objects import LockCertificate
from protocol.queries import Battery, Close, Identify, SetBaud, Slots
from protocol.refusal import RefusalCode
from protocol.sealed import Sealed
from protocol.values import Slot

START, FAST = 115_200, 921_600


@pytest.fixture
def host() -> Host:
    return Host(power_up(fresh_flash({Slot.A: image("2.3.1")})))


@pytest.fixture
def inside(host: Host) -> Host:
    host.login()
    return host


def hello_frame(number: int, low: int = 1, high: int = 1) -> bytes:
    return Frame(FrameType.HELLO, 0, bytes([low, high]) + number.to_bytes(8, "big")).build()


def hello(host: Host, number: int) -> bool:
    host.write(hello_frame(number))
    return [f.type for f in host.frames()] == [FrameType.HELLO_REPLY]


def answers(host: Host, data: bytes) -> list[Frame]:
    host.write(data)
    return host.frames()


def test_hello_yields_version_and_profile_only(host: Host) -> None:
    [reply] = answers(host, hello_frame(1))
    assert (reply.type, reply.seq, reply.body) == (FrameType.HELLO_REPLY, 0, b"\1\1")


def test_a_host_of_another_version_learns_the_locks_and_gets_no_handshake(host: Host) -> None:
    [reply] = answers(host, hello_frame(1, 2, 9))
    assert HelloReply.parse(reply.body).version == 1
    assert answers(host, Frame(FrameType.NOISE, 0, bytes(range(32))).build()) == []


def test_the_handshake_proves_the_certificates_keys(host: Host) -> None:
    shake = HostHandshake(bytes(8), b"\1" * 32)
    [reply] = answers(host, Frame(FrameType.HELLO, 0, shake.hello()).build())
    first = shake.on_hello(reply.body)
    [reply] = answers(host, Frame(FrameType.NOISE, 0, first).build())
    opened = shake.on_answer(reply.body)
    certificate = LockCertificate.read(Sealed.parse(opened.certificate))
    assert certificate.x25519 == opened.static


def test_nine_handshakes_at_once_are_one_too_many_and_two_seconds_give_one_back(host: Host) -> None:
    assert all(hello(host, n) for n in range(8))
    assert not hello(host, 8)
    host.now += 1.9
    assert not hello(host, 9)
    host.now += 0.2
    assert hello(host, 10)
    assert not hello(host, 11)


def test_a_repeated_hello_costs_nothing_and_gets_the_same_answer(host: Host) -> None:
    assert all(hello(host, 5) for _ in range(30))
    assert all(hello(host, n) for n in range(6, 13))


def test_a_hello_without_a_token_does_not_end_a_session(inside: Host) -> None:
    for number in range(8):
        inside.handshake()
        if number == 7:
            assert isinstance(inside.call(inside.auth()), object)
            inside.call(Battery())
    assert hello(inside, 1)  # the token that AUTH gave back
    assert not hello(inside, 2)


def test_sessions_one_after_another_never_run_out_of_handshakes(host: Host) -> None:
    for _ in range(30):
        host.handshake()
        host.call(host.auth())


def test_an_admitted_hello_ends_the_session_before_it(inside: Host) -> None:
    assert hello(inside, 77)
    inside.write(inside.channel.send(encode_request(Battery())))
    assert [f.type for f in inside.frames()] == [FrameType.NO_SESSION]


def test_repeats_of_the_handshake_do_not_disturb_the_session_they_opened(host: Host) -> None:
    shake = HostHandshake(bytes(8), b"\1" * 32)
    first = Frame(FrameType.HELLO, 0, shake.hello()).build()
    [reply] = answers(host, first)
    second = Frame(FrameType.NOISE, 0, shake.on_hello(reply.body)).build()
    [answer] = answers(host, second)
    assert answers(host, first) == [reply]
    assert answers(host, second) == [answer]
    opened = shake.on_answer(answer.body)
    host.keys, host.channel = opened.keys, HostChannel(opened.keys)
    host.call(host.auth())
    assert answers(host, second) == [answer]
    host.call(Battery())


def test_one_ephemeral_key_serves_one_first_message(host: Host) -> None:
    host.handshake()
    assert answers(host, Frame(FrameType.NOISE, 0, bytes(range(32))).build()) == []


@pytest.mark.parametrize("body", [b"", bytes(31), bytes(33), bytes(32)])
def test_a_bad_first_message_ends_the_attempt_in_silence(host: Host, body: bytes) -> None:
    assert hello(host, 1)
    assert answers(host, Frame(FrameType.NOISE, 0, body).build()) == []
    assert answers(host, Frame(FrameType.NOISE, 0, bytes(range(32))).build()) == []


@pytest.mark.parametrize("kind", [k for k in FrameType if k is not FrameType.CONTROL])
def test_strangers_get_silence(host: Host, kind: FrameType) -> None:
    if kind is not FrameType.HELLO:
        assert answers(host, Frame(kind, 0, BAUD_PATTERN).build()) == []


@pytest.mark.parametrize(
    "noise",
    [b"\r\n", b"\x1b", b"AT\r", b"\x7f", b"\x06\x09AAAGAAEAAA==\n", b"\0" * 50, b"\xff" * 9000],
)
def test_noise_and_other_protocols_get_silence(host: Host, noise: bytes) -> None:
    assert answers(host, noise) == []
    assert hello(host, 1) or hello(host, 1)


def test_a_request_without_a_session_gets_no_session_with_its_number(host: Host) -> None:
    [frame] = answers(host, Frame(FrameType.CONTROL, 515, b"anything").build())
    assert (frame.type, frame.seq, frame.body) == (FrameType.NO_SESSION, 515, b"")


def test_before_auth_every_request_gets_the_same_refusal(host: Host) -> None:
    host.handshake()
    replies = []
    for plaintext in (encode_request(Identify()), encode_request(Slots()), b"\xee", b"", b"\x01zz"):
        host.write(host.channel.send(plaintext))
        replies.append(host.channel.receive(host.wait(FrameType.CONTROL_REPLY)))
    assert len(set(replies)) == 1
    assert refused(host, Battery()) is RefusalCode.NOT_AUTHENTICATED


def test_what_does_not_parse_is_refused_as_malformed_and_the_session_lives(inside: Host) -> None:
    inside.write(inside.channel.send(b"\xee\x01\x02"))
    plaintext = inside.channel.receive(inside.wait(FrameType.CONTROL_REPLY))
    assert plaintext is not None
    assert plaintext[:2] == bytes([1, RefusalCode.MALFORMED])
    inside.call(Battery())


def test_a_second_auth_is_refused(inside: Host) -> None:
    assert refused(inside, inside.auth()) is RefusalCode.WRONG_STATE


def test_a_resent_request_gets_the_same_bytes_and_is_not_carried_out_twice(inside: Host) -> None:
    sent = inside.channel.send(encode_request(Battery()))
    [first] = answers(inside, sent)
    assert answers(inside, inside.channel.resend()) == [first]
    assert inside.channel.receive(first)
    inside.call(Battery())


def test_another_request_under_a_used_number_ends_the_session(inside: Host) -> None:
    inside.call(Battery())
    [frame] = answers(inside, Frame(FrameType.CONTROL, 1, b"x" * 40).build())
    assert (frame.type, frame.seq) == (FrameType.NO_SESSION, 1)
    [frame] = answers(inside, inside.channel.send(encode_request(Battery())))
    assert frame.type is FrameType.NO_SESSION


def test_a_broken_seal_ends_the_session_and_the_lock_says_so(inside: Host) -> None:
    [frame] = answers(inside, Frame(FrameType.CONTROL, 1, b"x" * 40).build())
    assert (frame.type, frame.seq) == (FrameType.NO_SESSION, 1)
    [frame] = answers(inside, inside.channel.send(encode_request(Battery())))
    assert frame.type is FrameType.NO_SESSION


def test_the_answer_cache_does_not_outlive_its_session(inside: Host) -> None:
    sent = inside.channel.send(encode_request(Battery()))
    answers(inside, sent)
    inside.handshake()
    assert answers(inside, sent) == []


@pytest.mark.parametrize(("wait", "alive"), [(119, True), (121, False)])
def test_a_session_ends_after_two_idle_minutes(inside: Host, wait: float, alive: bool) -> None:
    inside.now += wait
    [frame] = answers(inside, inside.channel.send(encode_request(Battery())))
    assert (frame.type is FrameType.CONTROL_REPLY) is alive


def test_a_session_ends_after_half_an_hour_of_work(inside: Host) -> None:
    began = inside.now
    while inside.now - began < 1650:
        inside.now += 100
        inside.call(Battery())
    inside.now += 110
    with pytest.raises(Silence):
        inside.call(Battery())


def test_close_answers_and_ends_the_session(inside: Host) -> None:
    inside.call(Close())
    [frame] = answers(inside, inside.channel.send(encode_request(Battery())))
    assert frame.type is FrameType.NO_SESSION


def failing(host: Host) -> RefusedByLock:
    host.handshake()
    with pytest.raises(RefusedByLock) as caught:
        host.call(host.auth())
    return caught.value


def test_failed_auths_wait_1_2_4_up_to_60_seconds_and_are_counted_for_ever(host: Host) -> None:
    host.technician_cert = technician_certificate(epoch=1)[:-1] + b"\0"
    for failures, wait in enumerate((1, 2, 4, 8, 16, 32, 60, 60), 1):
        error = failing(host)
        assert (error.code, error.refusal.detail) == (RefusalCode.CREDENTIAL_INVALID, wait)
        host.now += wait - 0.9
        early = failing(host)
        assert (early.code, early.refusal.detail) == (RefusalCode.NOT_AUTHENTICATED, 1)
        host.now += 30
        assert host.board.core.state.auth_failures == failures
    host.board.power_cycle(host.now)
    assert host.board.core.state.auth_failures == 8


def test_while_waiting_even_the_right_technician_waits_and_success_ends_the_row(host: Host) -> None:
    good = host.technician_cert
    host.technician_cert = b""
    assert failing(host).refusal.detail == 1
    host.technician_cert = good
    assert failing(host).code is RefusalCode.NOT_AUTHENTICATED
    host.now += 1.1
    host.login()
    host.technician_cert = b""
    assert failing(host).refusal.detail == 1


def test_the_line_changes_its_speed_and_keeps_it_once_proved(inside: Host) -> None:
    inside.call(SetBaud(FAST))
    inside.board.poll(inside.now)
    assert inside.board.baud == FAST
    [echo] = answers(inside, Frame(FrameType.BAUD_TEST, 0, BAUD_PATTERN).build())
    assert (echo.type, echo.body) == (FrameType.BAUD_ECHO, BAUD_PATTERN)
    for _ in range(20):
        inside.now += 2.9
        inside.call(Battery())
    assert inside.board.baud == FAST


def test_three_seconds_without_a_good_frame_bring_the_line_back(inside: Host) -> None:
    inside.call(SetBaud(FAST))
    inside.call(Battery())
    for _ in range(5):  # noise is nothing good, and too little to count by itself
        inside.now += 0.5
        inside.write(b"noise\0")
    inside.board.poll(inside.now + 0.4)
    assert inside.board.baud == FAST
    assert inside.board.wake_at() == pytest.approx(inside.now + 0.5, abs=0.1)
    inside.board.poll(inside.now + 0.6)
    assert inside.board.baud == START
    inside.now += 1
    inside.call(Battery())


def test_the_answer_leaves_at_the_old_speed(inside: Host) -> None:
    inside.write(inside.channel.send(encode_request(SetBaud(FAST))))
    assert inside.board.baud == START
    assert inside.board.poll(inside.now)
    assert inside.board.baud == FAST


def test_an_unproved_speed_is_given_up_after_a_second(inside: Host) -> None:
    inside.call(SetBaud(FAST))
    inside.board.poll(inside.now + 0.9)
    assert inside.board.baud == FAST
    inside.board.poll(inside.now + 1.1)
    assert inside.board.baud == START
    inside.now += 2
    inside.call(Battery())


def test_sixteen_pieces_of_noise_bring_the_line_back(inside: Host) -> None:
    inside.call(SetBaud(FAST))
    inside.call(Battery())
    inside.write(b"noise\0" * 15)
    assert inside.board.baud == FAST
    inside.call(Battery())
    inside.write(b"noise\0" * 15)
    assert inside.board.baud == FAST
    inside.write(b"noise\0")
    assert inside.board.baud == START


@pytest.mark.parametrize("baud", [0, 9600, 3_000_001, 0xFFFFFFFF])
def test_a_speed_that_the_lock_cannot_make_is_out_of_range(inside: Host, baud: int) -> None:
    assert refused(inside, SetBaud(baud)) is RefusalCode.OUT_OF_RANGE


def test_a_test_frame_with_another_body_gets_silence(inside: Host) -> None:
    assert answers(inside, Frame(FrameType.BAUD_TEST, 0, BAUD_PATTERN[:-1]).build()) == []


@pytest.mark.parametrize("end", ["reset", "close", "idle"])
def test_the_start_speed_returns_with_the_end_of_the_session(inside: Host, end: str) -> None:
    inside.call(SetBaud(FAST))
    inside.call(Battery())
    if end == "reset":
        inside.board.power_cycle(inside.now)
    elif end == "close":
        inside.call(Close())
        inside.frames()
    else:
        inside.board.poll(inside.now + 121)
    assert inside.board.baud == START


def test_a_hundred_thousand_random_frames_change_nothing() -> None:
    flash = fresh_flash({Slot.A: image("2.3.1")})
    host = Host(power_up(flash))
    host.board.poll(host.now)
    before = bytes(flash._buffer)
    rng = random.Random(20)
    kinds = list(FrameType)
    for _ in range(1000):
        batch = []
        for _ in range(100):
            kind = rng.choice(kinds)
            # Lengths at which something could happen, and any other.
            size = rng.choice((0, 2, 10, 10, 32, 32, 45, 80, rng.randrange(400)))
            body = rng.randbytes(size)
            if kind is FrameType.HELLO and rng.random() < 0.5:
                body = b"\0\1" + body
            batch.append(Frame(kind, rng.randrange(3), body).build())
        host.write(b"".join(batch))
        host.board.poll(host.now)
    assert bytes(flash._buffer) == before
    host.now += 20
    host.login()


def test_random_frames_inside_a_session_change_nothing(inside: Host) -> None:
    before = inside.board.core.state
    rng = random.Random(21)
    for _ in range(300):
        plaintext = bytes([rng.randrange(0x14)]) + rng.randbytes(rng.choice((0, 1, 4, 8, 33, 200)))
        if plaintext[0] in (0x0D, 0x12):
            continue  # RESET and CLOSE do what they say
        inside.write(inside.channel.send(plaintext))
        assert inside.channel.receive(inside.wait(FrameType.CONTROL_REPLY, FrameType.NO_SESSION))
    assert inside.board.core.state == before
    assert isinstance(inside.keys, SessionKeys)
