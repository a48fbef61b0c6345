"""Harnesses of a session's halves: the handshake, the sealed channel, acknowledgements, blocks."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from fuzz.harness import Harness, Pieces, nothing_more, split

from protocol.bulk import (
    ACK_INFO,
    WINDOW_LIMIT,
    Ack,
    TransferState,
    UploadReceiver,
    UploadSender,
    _key,
)
from protocol.channel import RECORD_LIMIT, HostChannel, LockChannel
from protocol.errors import ChannelError, HandshakeError, MalformedMessageError
from protocol.frame import Frame, FrameDecoder, FrameType
from protocol.handshake import Hello, HelloReply, HostHandshake, LockHandshake, Opened
from protocol.noise import SessionKeys, nonce

KEYS = SessionKeys(b"\x03" * 32, b"\x01" * 32, b"\x02" * 32)
STATIC, EPHEMERAL, OTHER = b"\x07" * 32, b"\x08" * 32, b"\x09" * 32
WINDOW = 8
STEP_LIMIT = 120


def _hello_of_host(data: bytes) -> Opened:
    """A lock's HELLO and Noise message, as they come or with the one that follows from them."""
    choice, rest = split(data, 1)
    host = HostHandshake(bytes(8), EPHEMERAL)
    if choice[0] & 1:
        body, rest = split(rest, 2)
        first = host.on_hello(body)
        return host.on_answer(rest or first)
    first = host.on_hello(HelloReply(1, 1).build())
    lock = LockHandshake(host.hello())
    answer, _ = lock.on_message(first, static=STATIC, ephemeral=OTHER, certificate=rest[:1000])
    opened = host.on_answer(answer)
    assert opened.certificate == rest[:1000]
    return opened


def _hello_of_lock(data: bytes) -> None:
    """A host's HELLO and Noise message."""
    hello, message = split(data, 10)
    lock = LockHandshake(hello)
    answer, keys = lock.on_message(message, static=STATIC, ephemeral=OTHER, certificate=b"C")
    assert len(answer) == 97
    assert len({keys.host_to_lock, keys.lock_to_host}) == 2


def _lock_end(data: bytes) -> int:
    """Frames at a lock's end: sealed as they must be, repeated, of another number, or any."""
    pieces, lock, sealer = Pieces(data), LockChannel(KEYS), ChaCha20Poly1305(KEYS.host_to_lock)
    taken, last = 0, Frame(FrameType.CONTROL, 0, b"")
    for _ in range(STEP_LIMIT):
        if not pieces.left:
            break
        choice, text = pieces.number(), pieces.some()
        good = choice & 3 == 0
        if good:
            last = Frame(FrameType.CONTROL, taken & 0xFFFF, sealer.encrypt(nonce(taken), text, b""))
        elif choice & 3 == 1:
            last = Frame(FrameType.CONTROL, choice >> 2, text)
        elif choice & 3 == 2:
            last = Frame(tuple(FrameType)[choice % len(FrameType)], taken, text)
        plaintext = lock.receive(last)
        if plaintext is None:
            assert not good
            lock.repeat(last)
            continue
        assert good
        assert plaintext == text
        assert len(text) <= RECORD_LIMIT
        reply = lock.reply(text)
        assert lock.repeat(last) == reply
        taken += 1
    return taken


def _host_end(data: bytes) -> None:
    """Frames at a host's end."""
    pieces, host, sealer = Pieces(data), HostChannel(KEYS), ChaCha20Poly1305(KEYS.lock_to_host)
    number, asked = 0, host.send(b"question")
    for _ in range(STEP_LIMIT):
        if not pieces.left:
            return
        choice, text = pieces.number(), pieces.some()
        seq = number if choice & 1 else choice >> 2
        body = sealer.encrypt(nonce(number), text, b"") if choice & 2 else text
        kind = (
            FrameType.CONTROL_REPLY if choice < 128 else tuple(FrameType)[choice % len(FrameType)]
        )
        reply = host.receive(Frame(kind, seq & 0xFFFF, body))
        if reply is None:
            assert host.resend() == asked
            continue
        assert reply == text
        number += 1
        asked = host.send(b"question")


@cache
def _ack_cipher() -> ChaCha20Poly1305:
    return _key(KEYS.lock_to_host, ACK_INFO, 1)


def _sender(data: bytes) -> None:
    """Acknowledgements of a lock that may lie, whenever it likes."""
    pieces = Pieces(data)
    blocks = 1 + pieces.number() % 32
    sender = UploadSender(KEYS, 1, (bytes([n]) * 8 for n in range(blocks)), WINDOW)
    said = consumed = 0
    for _ in range(STEP_LIMIT):
        if not pieces.left:
            break
        match pieces.number() & 3:
            case 0:
                frame = sender.next_frame() or sender.spare_frame()
                assert frame is None or len(FrameDecoder().feed(frame)) == 1
            case 1:
                sender.silence()
            case 2:
                record = _ack(pieces)
                sealed = _ack_cipher().encrypt(nonce(said), record, b"")
                body = said.to_bytes(4, "big") + sealed
                sender.receive(Frame(FrameType.ACK, said & 0xFFFF, body))
                said += 1
            case _:
                sender.receive(Frame(FrameType.ACK, 0, pieces.some()))
        assert consumed <= sender.consumed <= blocks
        consumed = sender.consumed
    assert len(sender._flight) <= WINDOW_LIMIT


def _ack(pieces: Pieces) -> bytes:
    """A small acknowledgement, which fits now and then, or any bytes."""
    if pieces.number() & 1:
        return pieces.fixed(17)
    state = tuple(TransferState)[pieces.number() % len(TransferState)]
    return Ack(pieces.number() % 33, pieces.number(), state, pieces.number()).build()


def _receiver(data: bytes) -> None:
    """Blocks in any order, sealed as they must be or not."""
    pieces, receiver = Pieces(data), UploadReceiver(KEYS, 1, WINDOW)
    sender = _key(KEYS.host_to_lock, b"svcport-upload-v1", 1)
    given: list[bytes] = []
    for _ in range(STEP_LIMIT):
        if not pieces.left:
            break
        choice, number, text = pieces.number(), pieces.number(), pieces.some()
        body = sender.encrypt(nonce(number), bytes([number]), b"") if choice & 1 else text
        receiver.receive(Frame(FrameType.BLOCK, number, body))
        while (block := receiver.take()) is not None:
            given.append(block)
        assert len(receiver._held) < WINDOW
        assert FrameDecoder().feed(receiver.ack(TransferState.RECEIVING))[0].type is FrameType.ACK
    assert given == [bytes([n]) for n in range(len(given))]


def _hosts_hellos() -> Iterator[bytes]:
    yield b"\x00certificate"
    yield b"\x01\x01\x01" + bytes(96)
    yield b"\x01\x02\x01"
    yield b"\x01\x01\x01" + bytes(range(97))


def _locks_hellos() -> Iterator[bytes]:
    yield Hello(1, 1, bytes(8)).build() + b"\x05" + bytes(31)
    yield Hello(1, 3, bytes(8)).build() + b"\x09" * 32
    yield Hello(2, 1, bytes(8)).build()
    yield Hello(1, 1, bytes(8)).build() + bytes(32)


def _ends() -> Iterator[bytes]:
    yield b"\x00\x00\x02ab\x03\x00\x00\x00\x00\x01c"
    yield b"\x00\x00\x01a\x01\x00\x02bc"
    yield b"\x03\x00\x01a\x07\x00\x01b\x0c\x00\x01b"


def _senders() -> Iterator[bytes]:
    acked = b"".join(b"\x00\x02\x00\x00" + bytes([n, 0, 0]) for n in range(1, 9))
    yield b"\x07" + acked
    yield b"\x0f" + b"\x00" * 9 + b"\x02\x00\x00\x02\x06\x00" + b"\x00" * 5 + b"\x01\x00"
    yield b"\x03\x00\x00\x02\x01" + bytes(17) + b"\x03\x00\x04abcd"


def _receivers() -> Iterator[bytes]:
    yield b"".join(bytes([1, n, 0, 0]) for n in (0, 2, 1, 3, 3, 9))
    yield b"\x00\x00\x00\x04abcd"


_CHANNEL = (ChannelError,)
HARNESSES = (
    Harness(
        "handshake-host",
        "a lock's handshake",
        _hello_of_host,
        (HandshakeError, MalformedMessageError),
        nothing_more,
        _hosts_hellos,
        300,
    ),
    Harness(
        "handshake-lock",
        "a host's handshake",
        _hello_of_lock,
        (HandshakeError, MalformedMessageError),
        nothing_more,
        _locks_hellos,
        120,
    ),
    Harness("channel-lock", "records at a lock", _lock_end, _CHANNEL, nothing_more, _ends, 2400),
    Harness("channel-host", "records at a host", _host_end, _CHANNEL, nothing_more, _ends, 2400),
    Harness("acks", "a lock's acknowledgements", _sender, (), nothing_more, _senders, 600),
    Harness("blocks", "a host's blocks", _receiver, (), nothing_more, _receivers, 1200),
)
