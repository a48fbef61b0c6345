from __future__ import annotations

from random import Random
from typing import Any

import pytest
from smpserver import Device, DevicePort

from protocol.smp import SmpFraming
from svcport.locks.device import Buffers, UploadTally
from svcport.locks.smp_errors import NonsenseError, SilentDeviceError, SmpRefusedError
from svcport.locks.smp_link import SmpLink
from svcport.locks.smp_upload import SAFE_LIMIT, StalledError, message_limit, upload_image
from svcport.transport.port import LinkLostError

IMAGE = Random(5).randbytes(20_000)
FRAMINGS = list(SmpFraming)


def send(
    device: Device, image: bytes = IMAGE, number: int | None = None
) -> tuple[UploadTally, DevicePort, list[int]]:
    port = DevicePort(device)
    buffers = Buffers(device.buffer, device.count) if device.states_buffers else None
    seen: list[int] = []
    tally = upload_image(SmpLink(port, device.framing), image, buffers, number, seen.append)
    return tally, port, seen


def chunks(port: DevicePort) -> list[dict[str, Any]]:
    device = port.device
    return [
        asked for name, asked in zip(device.said, device.asked, strict=True) if name == "upload"
    ]


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("buffer", [96, 256, 384, 1024, 2048])
def test_an_image_arrives_whole_in_messages_that_fill_the_buffer(
    framing: SmpFraming, buffer: int
) -> None:
    tally, port, seen = send(Device(framing, buffer=buffer))
    assert port.device.taken == IMAGE
    assert seen[-1] == len(IMAGE)
    assert seen == sorted(seen)
    assert tally.chunks == len(chunks(port))
    assert tally.resumed == 0
    assert tally.wire_bytes == sum(map(len, port.written))
    # not 32 bytes of a buffer are left, what flash's alignment takes included
    middle = chunks(port)[1]["data"]
    overhead = 8 + 1 + 4 + 3 + 5 + 3
    assert buffer - 4 - overhead - 4 <= len(middle) <= buffer - 4


@pytest.mark.parametrize("size", [1, 31, 32, 959, 960, 961])
def test_short_images_arrive(size: int) -> None:
    _tally, port, seen = send(Device(), IMAGE[:size])
    assert port.device.taken == IMAGE[:size]
    assert seen[-1] == size


def test_only_the_first_message_names_length_hash_and_image() -> None:
    _tally, port, _seen = send(Device(), number=0)
    first, *others = chunks(port)
    assert first.keys() == {"off", "data", "len", "sha", "image"}
    assert first["image"] == 0
    assert all(one.keys() == {"off", "data"} for one in others)


def test_the_image_number_is_left_out_where_the_device_names_none() -> None:
    _tally, port, _seen = send(Device())
    assert "image" not in chunks(port)[0]


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("mishap", ["lost", "unanswered", "late", "stale"])
@pytest.mark.parametrize("at", [0, 1, 7, 19])
def test_any_single_mishap_is_made_good(framing: SmpFraming, mishap: str, at: int) -> None:
    _tally, port, seen = send(Device(framing, mishaps={at: mishap}))
    assert port.device.taken == IMAGE
    assert seen[-1] == len(IMAGE)


def test_one_loss_changes_neither_length_nor_pace() -> None:
    _tally, port, _seen = send(Device(mishaps={3: "lost"}))
    assert len(chunks(port)[-2]["data"]) > 900


@pytest.mark.parametrize("seed", range(20))
def test_many_mishaps_are_made_good(seed: int) -> None:
    random = Random(seed)
    kinds = ["lost", "unanswered", "late", "stale"]
    mishaps = {n: random.choice(kinds) for n in range(400) if random.random() < 0.1}
    framing, count = random.choice(FRAMINGS), random.choice([1, 4])
    _tally, port, _seen = send(Device(framing, mishaps=mishaps, buffer=384, count=count))
    assert port.device.taken == IMAGE


def test_a_slow_erase_is_waited_for_and_not_begun_again() -> None:
    _tally, port, _seen = send(Device(erase_s=45.0))
    assert [one["off"] for one in chunks(port)].count(0) == 1
    assert port.device.taken == IMAGE


def test_the_devices_offset_is_obeyed_where_it_takes_a_part() -> None:
    tally, port, _seen = send(Device(align=16, buffer=400))
    assert port.device.taken == IMAGE
    # what the first answer shows is kept to
    assert tally.resumed == 1


def test_a_device_that_was_reset_gets_the_image_from_its_start() -> None:
    device = Device()

    def once(name: str, asked: dict[str, Any]) -> dict[str, Any] | None:
        if name == "upload" and asked["off"] > 9000 and len(device.said) < 15:
            device.taken.clear()
        return None

    device.special = once
    tally, port, _seen = send(device)
    assert port.device.taken == IMAGE
    assert tally.resumed > 0
    assert chunks(port)[0].keys() == next(one for one in chunks(port)[1:] if one["off"] == 0).keys()


def test_a_device_that_is_reset_again_and_again_is_given_up() -> None:
    device = Device()

    def always(name: str, asked: dict[str, Any]) -> dict[str, Any] | None:
        if name == "upload" and asked["off"] > 5000:
            device.taken.clear()
        return None

    device.special = always
    with pytest.raises(StalledError):
        send(device)


def test_a_device_that_takes_nothing_more_is_a_stall() -> None:
    device = Device()
    device.special = lambda name, asked: (
        {"off": 4000} if name == "upload" and asked["off"] >= 4000 else None
    )
    with pytest.raises(StalledError, match="has 4000 of 20000 bytes"):
        send(device)


def test_a_device_that_creeps_on_is_no_stall_and_ends() -> None:
    device = Device(align=1)
    device.special = lambda name, asked: _creep(device, asked) if name == "upload" else None
    _tally, port, _seen = send(device, IMAGE[:600])
    assert port.device.taken == IMAGE[:600]


def _creep(device: Device, asked: dict[str, Any]) -> dict[str, Any]:
    if asked["off"] == len(device.taken):
        device.taken += asked["data"][:20]
    return {"off": len(device.taken)}


@pytest.mark.parametrize("off", [20_001, 2**32 - 1])
def test_an_offset_beyond_the_image_is_nonsense(off: int) -> None:
    device = Device(special=lambda name, _asked: {"off": off} if name == "upload" else None)
    with pytest.raises(NonsenseError):
        send(device)


def test_an_answer_without_offset_is_nonsense() -> None:
    device = Device(special=lambda name, _asked: {"rc": 0} if name == "upload" else None)
    with pytest.raises(NonsenseError, match="off is missing"):
        send(device)


def test_a_no_ends_the_upload_with_its_words() -> None:
    no = {"err": {"group": 1, "rc": 30}}
    device = Device(special=lambda name, _asked: no if name == "upload" else None)
    with pytest.raises(SmpRefusedError, match="image too large"):
        send(device)


def test_a_hash_that_the_device_finds_wrong_is_an_error() -> None:
    device = Device()
    device.special = lambda name, asked: (
        {**device.take(asked), "match": False} if name == "upload" else None
    )
    with pytest.raises(NonsenseError, match="another SHA-256"):
        send(device)


def test_a_device_that_falls_silent_is_given_up_in_time() -> None:
    port = DevicePort(Device(mishaps=dict.fromkeys(range(5, 500), "lost")))
    began = port.clock.time
    with pytest.raises(SilentDeviceError):
        upload_image(SmpLink(port, SmpFraming.CONSOLE), IMAGE, Buffers(1024, 1), None, nobody)
    assert port.clock.time - began < 30


def test_a_device_that_never_answers_is_given_up_after_the_longest_erase() -> None:
    port = DevicePort(Device(mishaps=dict.fromkeys(range(500), "lost")))
    with pytest.raises(SilentDeviceError):
        upload_image(SmpLink(port, SmpFraming.CONSOLE), IMAGE, Buffers(1024, 1), None, nobody)
    assert 60 < port.clock.time - 1000 < 70


def nobody(_done: int) -> None:
    return None


def test_a_port_that_goes_ends_the_upload() -> None:
    port = DevicePort(Device())

    def cut(done: int) -> None:
        port.lost = done > 5000

    with pytest.raises(LinkLostError):
        upload_image(SmpLink(port, SmpFraming.CONSOLE), IMAGE, Buffers(1024, 1), None, cut)


def test_messages_become_shorter_where_long_ones_are_lost() -> None:
    _tally, port, _seen = send(Device(burst=2))
    assert port.device.taken == IMAGE
    assert len(chunks(port)[-2]["data"]) < 200


def test_a_device_that_does_not_state_its_buffers_gets_longer_messages_while_they_pass() -> None:
    _tally, port, _seen = send(Device(states_buffers=False, buffer=540))
    assert port.device.taken == IMAGE
    sizes = [len(one["data"]) for one in chunks(port)]
    assert sizes[0] < SAFE_LIMIT
    assert 450 < max(sizes[-5:]) <= 508


def test_chatter_between_the_lines_harms_nothing() -> None:
    tally, port, _seen = send(Device(chatter=b"<inf> flash: erased\r\n"))
    assert port.device.taken == IMAGE
    assert tally.resumed == 0


def test_several_chunks_are_on_their_way_where_that_is_faster() -> None:
    alone, _port, _seen = send(Device(buffer=384, count=1, latency_s=0.05))
    tally, port, _seen = send(Device(buffer=384, count=4, latency_s=0.05))
    assert port.device.taken == IMAGE
    assert port.most_open == 3
    assert tally.seconds < 0.7 * alone.seconds


def test_one_chunk_at_a_time_where_more_gain_nothing() -> None:
    # a thread that works alone, and no way: the second chunk only waits for the first
    _tally, port, _seen = send(Device(buffer=384, count=4))
    offs = [one["off"] for one in chunks(port)]
    assert port.device.taken == IMAGE
    assert port.most_open == 2
    assert offs == sorted(set(offs))


def test_a_device_with_one_buffer_gets_one_chunk_at_a_time() -> None:
    _tally, port, _seen = send(Device(buffer=384, count=1, latency_s=0.05))
    assert port.most_open == 1


@pytest.mark.parametrize("at", [15, 20, 30, 40])
@pytest.mark.parametrize("mishap", ["lost", "unanswered", "late"])
def test_a_mishap_among_several_chunks_is_made_good(at: int, mishap: str) -> None:
    device = Device(SmpFraming.COBS, buffer=384, count=4, latency_s=0.05, mishaps={at: mishap})
    tally, port, _seen = send(device)
    assert port.device.taken == IMAGE
    assert tally.resumed <= 4


@pytest.mark.parametrize(
    ("buffers", "limit"),
    [
        (None, SAFE_LIMIT),
        (Buffers(1024, 1), 1020),
        (Buffers(384, 4), 380),
        (Buffers(2**32 - 1, 4), 4092),
        (Buffers(0, 0), 1),
    ],
)
def test_the_message_limit_follows_from_the_buffers(buffers: Buffers | None, limit: int) -> None:
    assert message_limit(buffers) == limit


def test_a_device_with_tiny_buffers_gets_tiny_chunks() -> None:
    _tally, port, _seen = send(Device(buffer=60), IMAGE[:500])
    assert port.device.taken == IMAGE[:500]
