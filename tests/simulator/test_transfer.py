from __future__ import annotations

import contextlib
import random
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulator.hostdriver import Host, RefusedByLock, bitmap, blocks, unit_stream
from simulator.trainer import digest, fresh_flash, image, power_up

from images import encode_units
from protocol.acts import Commit
from protocol.bulk import TransferState, UploadSender
from protocol.frame import Frame, FrameType
from protocol.queries import SectorDigests
from protocol.refusal import RefusalCode
from protocol.unit import UnitHeader, UnitKind
from protocol.values import SECTOR_SIZE, Slot
from svcport.simulator.board import RING_SPARE
from svcport.simulator.flash import INSTANT, NRF52840, PAGE_SIZE, SLOT_ADDRESS, Profile
from svcport.simulator.slots import check
from svcport.simulator.units import UnitDecoder, UnitError

A, B = Slot.A, Slot.B
OLD, NEW = image("2.3.1"), image("2.4.1")
SECTORS = range(-(-len(NEW) // SECTOR_SIZE))
TEXT = b"a lock, a technician, a cable; " * 100


@pytest.fixture
def host() -> Host:
    made = Host(power_up(fresh_flash({A: OLD, B: image("2.2.0")})))
    made.login()
    return made


def unit(sector: int, kind: UnitKind, payload: bytes, content: bytes) -> bytes:
    checked = check(content.ljust(SECTOR_SIZE, b"\xff"))
    return UnitHeader(sector, kind, len(payload), checked).build() + payload


def deflated(content: bytes) -> bytes:
    squeezer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return squeezer.compress(content) + squeezer.flush()


@given(st.integers(1, 5000), st.sets(st.sampled_from(list(SECTORS)), min_size=1))
def test_units_cut_anywhere_give_the_images_sectors(size: int, wanted: set[int]) -> None:
    sectors = sorted(wanted)
    decoder = UnitDecoder(sectors)
    got = [pair for part in blocks(unit_stream(NEW, sectors), size) for pair in decoder.feed(part)]
    padded = NEW.ljust(len(SECTORS) * SECTOR_SIZE, b"\xff")
    assert got == [(n, padded[n * SECTOR_SIZE : (n + 1) * SECTOR_SIZE]) for n in sectors]
    assert decoder.due is None


@given(st.binary(max_size=200))
def test_any_bytes_give_sectors_or_the_one_error(data: bytes) -> None:
    decoder = UnitDecoder([0, 1])
    with contextlib.suppress(UnitError):
        for _sector, content in decoder.feed(data):
            assert len(content) == SECTOR_SIZE


@pytest.mark.parametrize(
    ("stream", "state", "detail"),
    [
        (unit(0, UnitKind.RAW, TEXT, TEXT + b"!"), TransferState.UNIT_DIGEST, 0),
        (unit(1, UnitKind.RAW, TEXT, TEXT), TransferState.UNIT_ORDER, 0),
        (b"\0\0\7" + bytes(10), TransferState.UNIT_MALFORMED, 0),
        (b"\0\0\0\xff\xff" + bytes(8), TransferState.UNIT_MALFORMED, 0),
        (unit(0, UnitKind.DEFLATE, b"\xff" * 40, TEXT), TransferState.UNIT_MALFORMED, 0),
        (unit(0, UnitKind.DEFLATE, deflated(TEXT)[:-1], TEXT), TransferState.UNIT_MALFORMED, 0),
        (unit(0, UnitKind.DEFLATE, deflated(TEXT) + b"x", TEXT), TransferState.UNIT_MALFORMED, 0),
        (unit(0, UnitKind.DEFLATE, deflated(bytes(5000)), b""), TransferState.UNIT_MALFORMED, 0),
        (
            unit(0, UnitKind.RAW, TEXT, TEXT) + unit(0, UnitKind.RAW, TEXT, TEXT),
            TransferState.UNIT_ORDER,
            2,
        ),
    ],
)
def test_a_bad_unit_ends_the_transfer_and_nothing_of_it_is_programmed(
    host: Host, stream: bytes, state: TransferState, detail: int
) -> None:
    ready = host.begin(NEW, sectors=[0, 2])
    sender = host.upload(ready, stream)
    assert (sender.state, sender.detail) == (state, detail)
    flash = host.board._flash
    assert flash.is_blank(SLOT_ADDRESS[B] + detail * SECTOR_SIZE)
    # Blocks after the end are dropped, and the last word is said again.
    host.write(Frame(FrameType.BLOCK, 1, bytes(40)).build())
    assert [f.type for f in host.frames()] == [FrameType.ACK]


@pytest.mark.parametrize("profile", [INSTANT, NRF52840], ids=lambda profile: profile.name)
def test_units_of_every_kind_are_written_against_the_base(profile: Profile) -> None:
    old = image("2.3.1", size=30_000, noise=False)
    new = image("2.4.1", size=30_000, noise=False)
    host = Host(power_up(fresh_flash({A: old, B: image("2.2.0")}, profile=profile)), patience_s=60)
    host.login()
    sectors = range(-(-len(new) // SECTOR_SIZE))
    stream = unit_stream(new, sectors, old)
    kinds = {unit.kind for unit in encode_units(new, sectors, old)}
    assert {kind.name for kind in kinds} >= {"COPY", "DICTIONARY"}
    assert len(stream) < 2000
    ready = host.begin(new, sectors=sectors, base_digest=digest(old))
    assert host.upload(ready, stream).state is TransferState.COMPLETE
    assert host.board._flash.read(SLOT_ADDRESS[B], len(new)) == new
    assert host.call(Commit(ready.transfer_id)).digest == digest(new)


def test_a_base_that_the_lock_does_not_hold_is_refused(host: Host) -> None:
    for other in (digest(NEW), digest(image("2.2.0")), b"\1" * 32):
        with pytest.raises(RefusedByLock) as refusal:
            host.begin(NEW, sectors=[0], base_digest=other)
        assert refusal.value.code is RefusalCode.BASE_UNKNOWN
    assert host.board._flash.read(SLOT_ADDRESS[B], 4096) == image("2.2.0")[:4096]


def test_a_span_of_a_base_that_begin_did_not_name_is_malformed(host: Host) -> None:
    ready = host.begin(NEW, sectors=[0])
    sender = host.upload(ready, unit(0, UnitKind.COPY, b"\0\0", OLD[:SECTOR_SIZE]))
    assert (sender.state, sender.detail) == (TransferState.UNIT_MALFORMED, 0)


def test_a_block_beyond_the_window_ends_the_transfer_and_it_starts_again_raw(host: Host) -> None:
    ready = host.begin(NEW, sectors=[0, 1])
    stream = unit_stream(NEW, [0, 1])
    # A host that takes the window for one block longer than the lock has said.
    sender = UploadSender(host.keys, ready.transfer_id, blocks(stream, 400), ready.window + 1)
    flight = list(iter(sender.next_frame, None))
    host.write(flight[-1])
    assert sender.receive(host.wait(FrameType.ACK))
    assert (sender.state, sender.detail) == (TransferState.WINDOW_OVERRUN, 0)
    host.write(flight[0])
    host.wait(FrameType.ACK)
    assert host.board._flash.is_blank(SLOT_ADDRESS[B])
    again = host.begin(NEW, sectors=[0, 1])
    assert host.upload(again, stream).state is TransferState.COMPLETE


def test_a_damaged_or_late_block_beyond_the_window_is_only_dropped(host: Host) -> None:
    ready = host.begin(NEW, sectors=[0, 1])
    stream = unit_stream(NEW, [0, 1])
    sender = UploadSender(host.keys, ready.transfer_id, blocks(stream, 400), ready.window)
    late = sender.next_frame()
    assert late is not None
    host.write(late + Frame(FrameType.BLOCK, ready.window + 3, bytes(400)).build() + late)
    for _frame in range(3):
        sender.receive(host.wait(FrameType.ACK))
    assert sender.state is TransferState.RECEIVING
    assert sender.consumed == 1


def test_bytes_behind_the_last_unit_are_out_of_order(host: Host) -> None:
    ready = host.begin(NEW, sectors=[0])
    sender = host.upload(ready, unit_stream(NEW, [0]) + b"\0")
    assert sender.state is TransferState.UNIT_ORDER


def test_a_deflated_unit_fills_its_sector_with_ones(host: Host) -> None:
    ready = host.begin(NEW, sectors=[1])
    sender = host.upload(ready, unit(1, UnitKind.DEFLATE, deflated(TEXT), TEXT))
    assert sender.state is TransferState.COMPLETE
    found = host.board._flash.read(SLOT_ADDRESS[B] + SECTOR_SIZE, SECTOR_SIZE)
    assert found == TEXT.ljust(SECTOR_SIZE, b"\xff")


def test_only_the_sectors_of_the_bitmap_are_erased(host: Host) -> None:
    flash = host.board._flash
    first = SLOT_ADDRESS[B] // PAGE_SIZE
    last = SLOT_ADDRESS[B] // PAGE_SIZE + 112
    host.upload(host.begin(NEW, sectors=[1, 3]), unit_stream(NEW, [1, 3]))
    assert [n - first for n in range(first, last) if flash.erases[n]] == [1, 3]
    assert not any(flash.erases[SLOT_ADDRESS[A] // PAGE_SIZE : first])


def test_a_blank_sector_is_not_erased_again() -> None:
    host = Host(power_up(fresh_flash({A: OLD})))
    host.install(NEW)
    first = SLOT_ADDRESS[B] // PAGE_SIZE
    assert not any(host.board._flash.erases[first : first + 112])


def test_marks_go_before_the_data_and_come_back_after_it(host: Host) -> None:
    def marked() -> list[int]:
        digests = host.call(SectorDigests(B, 0, len(SECTORS))).digests
        return [n for n, one in enumerate(digests) if any(one)]

    assert marked() == list(SECTORS)
    ready = host.begin(NEW, sectors=[0, 2, 3])
    assert marked() == [1, 4, 5]
    host.upload_some(ready, unit_stream(NEW, [0, 2, 3]), 2)
    assert marked() == [0, 1, 2, 4, 5]


def test_an_empty_bitmap_is_complete_at_once(host: Host) -> None:
    ready = host.begin(NEW, sectors=[])
    host.write(Frame(FrameType.BLOCK, 0, bytes(40)).build())
    sender = UploadSender(host.keys, ready.transfer_id, iter(()), ready.window)
    assert sender.receive(host.wait(FrameType.ACK))
    assert sender.state is TransferState.COMPLETE


def test_a_new_begin_drops_the_transfer_before_it(host: Host) -> None:
    old = host.begin(NEW)
    new = host.begin(NEW)
    assert new.transfer_id > old.transfer_id
    stale = UploadSender(host.keys, old.transfer_id, iter([b"block"]), old.window)
    data = stale.next_frame()
    assert data is not None
    host.write(data)
    ack = host.wait(FrameType.ACK)
    assert not stale.receive(ack)
    assert UploadSender(host.keys, new.transfer_id, iter(()), 8).receive(ack) is True


def test_lost_doubled_and_reordered_blocks_arrive_all_the_same(host: Host) -> None:
    rng, ready = random.Random(3), host.begin(NEW)
    sender = UploadSender(
        host.keys, ready.transfer_id, blocks(unit_stream(NEW, SECTORS), 512), ready.window
    )
    while not sender.finished:
        flight: list[bytes] = []
        while (data := sender.next_frame()) is not None:
            flight += [data] * rng.choice((0, 1, 1, 2))
        rng.shuffle(flight)
        host.write(b"".join(flight))
        acks = host.frames()
        assert len(acks) >= len(flight)
        for frame in acks:
            sender.receive(frame)
        sender.silence()
    assert sender.state is TransferState.COMPLETE
    assert sender.resent


def test_at_the_speed_of_real_flash_a_full_window_is_never_overrun() -> None:
    host = Host(power_up(fresh_flash({A: OLD, B: image("2.2.0", size=60_000)}, profile=NRF52840)))
    host.login()
    new = image("2.4.1", size=60_000)
    began = host.now
    sectors = host.missing(new)
    sender = host.upload(host.begin(new, sectors=sectors), unit_stream(new, sectors))
    assert sender.state is TransferState.COMPLETE
    assert sender.resent == 0
    busy = len(sectors) * (0.085 + 1024 * 41e-6)
    assert busy < host.now - began < busy * 1.1


def test_bytes_beyond_the_receive_ring_are_lost_while_the_cpu_waits_for_flash() -> None:
    host = Host(power_up(fresh_flash({A: OLD, B: image("2.2.0", size=60_000)}, profile=NRF52840)))
    host.login()
    new = image("2.4.1", size=60_000)
    ready = host.begin(new)
    source = blocks(unit_stream(new, range(len(new) // SECTOR_SIZE)), 4096)
    sender = UploadSender(host.keys, ready.transfer_id, source, 64)
    flood = bytearray()
    while (data := sender.next_frame()) is not None:
        flood += data
    limit = 8 * 4096 + RING_SPARE
    assert len(flood) > limit
    host.write(bytes(flood))
    assert len(host.board._ring) <= limit
    host.now += 20
    consumed = 0
    for frame in host.frames():
        sender.receive(frame)
        consumed = sender.consumed
    assert 0 < consumed <= limit // 4096


def test_bitmaps_count_from_the_top_bit() -> None:
    assert bitmap([0, 7, 8])[:2] == b"\x81\x80"
    assert [u.sector for u in encode_units(NEW, [1, 2])] == [1, 2]
