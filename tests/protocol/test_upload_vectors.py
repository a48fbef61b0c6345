from __future__ import annotations

import hashlib

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st
from sessioncraft import KEYS
from unitkit import called, decoded, made
from vectorfile import Vector, check, error_name, load

from images import Unit
from images import UnitKind as ImageUnitKind
from protocol.bulk import Ack, TransferState, UploadReceiver, UploadSender
from protocol.errors import MalformedMessageError
from protocol.frame import Frame, FrameType
from protocol.noise import nonce
from protocol.unit import CHECK_SIZE, UNIT_HEADER_SIZE, UnitHeader, UnitKind
from protocol.values import SECTOR_SIZE

BLOCKS_FILE = "upload/blocks.txt"
ACKS_FILE = "upload/acks.txt"
UNITS_FILE = "upload/units.txt"
TRANSFER = 7
KEYS_HEADING = """\
Session keys: host to lock 32 times 11, lock to host 32 times 22; transfer id 7. `key` follows."""
BLOCKS_HEADING = f"""\
Blocks of an upload stream: number, plaintext, and the frame that carries it.
{KEYS_HEADING}
`expect: dropped`: the lock drops the frame in its window (blocks 0..7) and goes on."""
ACKS_HEADING = f"""\
Acknowledgements: their number, their fields, and the frame that carries them.
{KEYS_HEADING}
`expect: dropped`: the host, that has seen acknowledgement 4, drops the frame and goes on."""
UNITS_HEADING = """\
Transfer units: header fields, header and payload as they stand in the stream, and the SHA-256 of
the sector of 4096 bytes that they stand for. A malformed one ends the transfer: UNIT_MALFORMED.
Of the new image and of the base, bytes 4n .. 4n+3 are the value 2654435761 n mod 2^32, big-endian,
but with F0 in place of bytes 4n+1 and F8 of 4n+3 where n is a multiple of 5. The base has
5000 bytes."""

TEXT = b"svcport " * 512
BASE_SIZE = 5000
# Made once; DEFLATE has many ways to write one sector, so these bytes are not made again here.
DEFLATED = bytes.fromhex("edc5310d00300800302b789b00082ce89f8fa57d3a7b2afbc6d8b66ddbb6ed6f7f")
HISTORY_STREAM = bytes.fromhex(
    "edddb100000000c0207feb69ec2891bce65e73afb9d7dc6bee35f79a7bcdbde65e73aff9ff350f"
)
SPAN_STREAM = bytes.fromhex("1bbd8171f406c6d11b18476f601cbd8171f40646ca6e60a4d5883e3d6a4100")
CALLS_STREAM = bytes.fromhex("1bbd7f71f4fec5d1fb1747ef5f1cbd7f71f4fe454aee5fa4d5783e00")
DIFFERENCE_STREAM = bytes.fromhex("edcba10100000c02a0fdffb4bbc162824eae15c3300cc3300cc330c6e301")
ACKS = (
    Ack(0, 0, TransferState.RECEIVING, 0),
    Ack(1, 0b10, TransferState.RECEIVING, 0),
    Ack(1, 1 << 63, TransferState.RECEIVING, 0),
    Ack(3, 0, TransferState.UNIT_DIGEST, 0x105),
    Ack(9, 0, TransferState.WINDOW_OVERRUN, 4),
    Ack(0x10002, 0, TransferState.COMPLETE, 0),
)


def _derived(secret: bytes, info: bytes) -> bytes:
    info += TRANSFER.to_bytes(4, "big")
    return HKDF(hashes.SHA256(), 32, salt=None, info=info).derive(secret)


def _block(number: int, plaintext: bytes) -> bytes:
    sender = UploadSender(KEYS, TRANSFER, iter([plaintext]), 8)
    sender._next = sender._consumed = number
    wire = sender.next_frame()
    assert wire is not None
    return wire


def _block_vectors() -> list[Vector]:
    key = _derived(KEYS.host_to_lock, b"svcport-upload-v1").hex()
    plain = {0: b"first block", 1: b"\0", 2: bytes(40), 0xFFFF: b"last seq", 0x10000: b"seq again"}
    good = [
        {
            "number": str(number),
            "plaintext": plaintext.hex(),
            "key": key,
            "wire": _block(number, plaintext).hex(),
            "expect": "ok",
        }
        for number, plaintext in plain.items()
    ]
    body = Frame.parse(_block(0, plain[0])[:-1]).body
    bad = {
        "damaged": Frame(FrameType.BLOCK, 0, body[:-1] + bytes([body[-1] ^ 1])),
        "another-block's-body": Frame(FrameType.BLOCK, 1, body),
        "genuine-beyond-the-window": Frame.parse(_block(8, plain[0])[:-1]),
        "shorter-than-a-tag": Frame(FrameType.BLOCK, 0, body[:15]),
        "another-type": Frame(FrameType.CONTROL, 0, body),
    }
    return good + [
        {"name": name, "wire": frame.build().hex(), "expect": "dropped"}
        for name, frame in bad.items()
    ]


def _ack_wire(number: int, ack: Ack) -> bytes:
    cipher = ChaCha20Poly1305(_derived(KEYS.lock_to_host, b"svcport-upload-ack-v1"))
    sealed = cipher.encrypt(nonce(number), ack.build(), None)
    return Frame(FrameType.ACK, number, number.to_bytes(4, "big") + sealed).build()


def _ack_vectors() -> list[Vector]:
    key = _derived(KEYS.lock_to_host, b"svcport-upload-ack-v1").hex()
    good = [
        {
            "number": str(number),
            "consumed": str(ack.consumed),
            "held": f"{ack.held:016x}",
            "state": str(int(ack.state)),
            "detail": str(ack.detail),
            "key": key,
            "record": ack.build().hex(),
            "wire": _ack_wire(number, ack).hex(),
            "expect": "ok",
        }
        for number, ack in enumerate(ACKS)
    ]
    done = ACKS[-1]
    bad = {
        "older-than-the-last": _ack_wire(3, done),
        "the-last-again": _ack_wire(4, done),
        "number-changed": _renumbered(_ack_wire(5, done), 6),
        "cut": Frame(FrameType.ACK, 5, bytes([0, 0, 0])).build(),
    }
    return good + [
        {"name": name, "wire": wire.hex(), "expect": "dropped"} for name, wire in bad.items()
    ]


def _renumbered(wire: bytes, number: int) -> bytes:
    body = Frame.parse(wire[:-1]).body
    return Frame(FrameType.ACK, number, number.to_bytes(4, "big") + body[4:]).build()


def _check(sector: bytes) -> bytes:
    return hashlib.sha256(sector.ljust(SECTOR_SIZE, b"\xff")).digest()[:CHECK_SIZE]


def _unit_vectors() -> list[Vector]:
    image, base = made(10 * SECTOR_SIZE), made(BASE_SIZE)
    summed = bytes((one + 255 * (at % 50 == 0)) % 256 for at, one in enumerate(base[100:3100]))
    units = {
        "raw-short": (0, UnitKind.RAW, b"\x3d\xb8\xf3\x96", b"\x3d\xb8\xf3\x96"),
        "raw-empty": (1, UnitKind.RAW, b"", b""),
        "deflate": (0x105, UnitKind.DEFLATE, DEFLATED, TEXT),
        "raw-unused-flash": (0xFFFF, UnitKind.RAW, b"\xff" * 3, b""),
        "dictionary-without-a-span": (
            10,
            UnitKind.DICTIONARY,
            b"\xff\xff" + HISTORY_STREAM,
            image[9000:12000],
        ),
        "dictionary-with-a-span": (
            10,
            UnitKind.DICTIONARY,
            b"\0\2" + SPAN_STREAM,
            image[16390:18000] + base[512:600] + base[4900:],
        ),
        "calls-with-a-span": (
            10,
            UnitKind.CALLS,
            b"\0\2" + CALLS_STREAM,
            called(called(image)[16392:18000] + called(base)[512:600], -1, 10 * SECTOR_SIZE),
        ),
        "difference": (10, UnitKind.DIFFERENCE, b"\0\0\0\x64" + DIFFERENCE_STREAM, summed),
        "copy": (10, UnitKind.COPY, b"\0\1", base[256:4352]),
        "copy-up-to-the-base's-end": (10, UnitKind.COPY, b"\0\x10", base[4096:]),
    }
    good = []
    for name, (sector, kind, payload, content) in units.items():
        header = UnitHeader(sector, kind, len(payload), _check(content))
        good.append(
            {
                "name": name,
                "sector": str(sector),
                "kind": str(int(kind)),
                "length": str(len(payload)),
                "check": header.check.hex(),
                "unit": (header.build() + payload).hex(),
                "sector.sha256": hashlib.sha256(content.ljust(SECTOR_SIZE, b"\xff")).hexdigest(),
                "expect": "ok",
            }
        )
    bad = {
        "kind-6-is-none": b"\0\0\x06\0\0" + bytes(8),
        "length-of-4097": b"\0\0\0\x10\x01" + bytes(8),
        "cut": bytes(12),
    }
    return good + [
        {"name": name, "unit": unit.hex(), "expect": "malformed-message"}
        for name, unit in bad.items()
    ]


def test_blocks_are_sealed_as_their_vectors_say() -> None:
    check(BLOCKS_FILE, BLOCKS_HEADING, _block_vectors())


def test_acknowledgements_are_sealed_as_their_vectors_say() -> None:
    check(ACKS_FILE, ACKS_HEADING, _ack_vectors())


def test_units_are_written_as_their_vectors_say() -> None:
    check(UNITS_FILE, UNITS_HEADING, _unit_vectors())


@pytest.mark.parametrize("vector", load(BLOCKS_FILE), ids=lambda v: v.get("name", v.get("number")))
def test_a_lock_opens_or_drops_a_block_vector(vector: Vector) -> None:
    receiver = UploadReceiver(KEYS, TRANSFER, 8)
    receiver._consumed = int(vector.get("number", 0))

    taken = receiver.receive(Frame.parse(bytes.fromhex(vector["wire"])[:-1]))

    assert taken is (vector["expect"] == "ok")
    assert receiver.take() == (bytes.fromhex(vector["plaintext"]) if taken else None)


@pytest.mark.parametrize("vector", load(ACKS_FILE), ids=lambda v: v.get("name", v.get("number")))
def test_a_host_opens_or_drops_an_acknowledgement_vector(vector: Vector) -> None:
    sender = UploadSender(KEYS, TRANSFER, iter(()), 8)
    sender._next = 0x20000
    sender._last_ack = int(vector["number"]) - 1 if "number" in vector else 4

    taken = sender.receive(Frame.parse(bytes.fromhex(vector["wire"])[:-1]))

    assert taken is (vector["expect"] == "ok")
    if taken:
        said = (sender.consumed, int(sender.state), sender.detail)
        assert said == tuple(int(vector[key]) for key in ("consumed", "state", "detail"))


@pytest.mark.parametrize("vector", load(UNITS_FILE), ids=lambda v: v["name"])
def test_a_unit_vector_gives_its_sector_or_is_refused(vector: Vector) -> None:
    unit = bytes.fromhex(vector["unit"])
    if vector["expect"] != "ok":
        with pytest.raises(MalformedMessageError) as caught:
            UnitHeader.parse(unit[:UNIT_HEADER_SIZE])
        assert error_name(caught.type) == vector["expect"]
        return

    header, payload = UnitHeader.parse(unit[:UNIT_HEADER_SIZE]), unit[UNIT_HEADER_SIZE:]
    assert len(payload) == header.length
    as_made = Unit(header.sector, ImageUnitKind(int(header.kind)), payload, header.check)
    content = decoded(as_made, made(10 * SECTOR_SIZE), made(BASE_SIZE))
    sector = content.ljust(SECTOR_SIZE, b"\xff")
    assert hashlib.sha256(sector).hexdigest() == vector["sector.sha256"]
    assert vector["sector.sha256"].startswith(header.check.hex())


@given(st.one_of(st.binary(max_size=16), st.binary(min_size=13, max_size=13)))
def test_any_bytes_are_a_unit_header_that_rebuilds_or_malformed(data: bytes) -> None:
    try:
        header = UnitHeader.parse(data)
    except MalformedMessageError:
        return
    assert header.build() == data
    assert header.length <= SECTOR_SIZE


@given(st.one_of(st.binary(max_size=20), st.binary(min_size=17, max_size=17)))
def test_any_bytes_are_an_acknowledgement_that_rebuilds_or_malformed(data: bytes) -> None:
    try:
        ack = Ack.parse(data)
    except MalformedMessageError:
        return
    assert ack.build() == data
