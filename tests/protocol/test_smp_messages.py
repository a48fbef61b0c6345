from __future__ import annotations

from typing import Any

import cbor2
import pytest

from protocol.cbor import DEPTH_LIMIT, ITEM_LIMIT, CborMap, encode_map
from protocol.errors import MalformedMessageError
from protocol.smp_files import (
    FileDownload,
    FileHash,
    FileHashed,
    FilePiece,
    ShellExecute,
    ShellSaid,
)
from protocol.smp_image import (
    ImageInSlot,
    ImagesAre,
    ImageSlots,
    ImageState,
    SetImageState,
    SlotInfo,
    SlotIs,
    SlotsAre,
    UploadChunk,
)
from protocol.smp_messages import (
    Bootloader,
    BootloaderIs,
    Done,
    Echo,
    Params,
    ParamsAre,
    Reset,
    SmpFault,
    SmpRequest,
    StatRead,
    StatValues,
    decode_answer,
)

CHUNK = UploadChunk(0, b"")


def answer(request: SmpRequest[Any], said: Any) -> Any:
    return decode_answer(request, cbor2.dumps(said))


@pytest.mark.parametrize(
    ("request_", "wire"),
    [
        (Params(), "0800000100000706 a0"),
        (Echo("hi"), "0a00000600000700 a1616462 6869"),
        (Reset(boot_mode=1), "0a00000c00000705 a169 626f6f745f6d6f6465 01"),
        (SetImageState(None, confirm=True), "0a00000a00010700 a167 636f6e6669726d f5"),
        (
            UploadChunk(0, b"\xaa\xbb", 2, image=0),
            "0a00001a00010701 a4 636c656e02 636f666600 6464617461 42aabb 65696d61676500",
        ),
        (ShellExecute(("kernel", "uptime")), None),
    ],
)
def test_requests_have_these_bytes(request_: SmpRequest[Any], wire: str | None) -> None:
    packet = request_.packet(7, 2).build()
    if wire is not None:
        assert packet.hex() == wire.replace(" ", "")
    assert cbor2.loads(packet[8:]) == {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in request_.fields().items()
    }


def test_version_1_differs_in_the_header_only() -> None:
    one, two = Params().packet(3, 1).build(), Params().packet(3, 2).build()
    assert one[0] == 0
    assert two[0] == 8
    assert one[1:] == two[1:]


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        ({"rc": 8}, SmpFault(None, 8)),
        ({"rc": -2}, SmpFault(None, -2)),
        ({"rc": 3, "rsn": "why"}, SmpFault(None, 3)),
        ({"err": {"group": 1, "rc": 30}}, SmpFault(1, 30)),
        ({"err": {"group": 64, "rc": 7}, "rc": 0}, SmpFault(64, 7)),
    ],
)
def test_a_no_is_a_value_in_either_form(said: dict[str, Any], fault: SmpFault) -> None:
    assert answer(CHUNK, said) == fault


@pytest.mark.parametrize("said", [{}, {"rc": 0}, {"err": {"group": 1, "rc": 0}}, {"new": [1]}])
def test_a_yes_has_no_rc_or_0(said: dict[str, Any]) -> None:
    assert answer(Reset(), said) == Done()


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        (SmpFault(None, 8), "not supported (rc 8)"),
        (SmpFault(1, 8), "hash not found (group 1 rc 8)"),
        (SmpFault(1, 30), "image too large (group 1 rc 30)"),
        (SmpFault(8, 3), "file not found (group 8 rc 3)"),
        (SmpFault(64, 3), "group 64 rc 3"),
        (SmpFault(None, 99), "rc 99"),
    ],
)
def test_a_fault_has_words(fault: SmpFault, text: str) -> None:
    assert str(fault) == text


def test_only_the_general_code_8_means_that_there_is_no_such_command() -> None:
    assert SmpFault(None, 8).unsupported
    assert not SmpFault(1, 8).unsupported
    assert not SmpFault(None, 3).unsupported


def test_an_image_list_is_read_with_and_without_flags() -> None:
    flags = dict.fromkeys(("bootable", "pending", "confirmed", "active", "permanent"), True)
    said = {
        "images": [
            {"slot": 0, "version": "1.2.3", "hash": bytes(32), "image": 1, **flags},
            {"slot": 1, "version": "0.0.0.9"},
        ],
        "splitStatus": 0,
    }
    assert answer(ImageState(), said) == ImagesAre(
        (
            ImageInSlot(1, 0, "1.2.3", bytes(32), True, True, True, True, True),
            ImageInSlot(0, 1, "0.0.0.9", None, None, None, None, None, None),
        )
    )


def test_slot_info_is_read() -> None:
    slots = [{"slot": 0, "size": 4096}, {"slot": 1, "upload_image_id": 0}, {"slot": 2, "rc": 5}]
    said = {"images": [{"image": 0, "slots": slots, "max_image_size": 4000}]}
    assert answer(SlotInfo(), said) == SlotsAre(
        (ImageSlots(0, (SlotIs(0, 4096, None), SlotIs(1, None, 0), SlotIs(2, None, None)), 4000),)
    )


def test_other_replies_are_read() -> None:
    assert answer(Params(), {"buf_size": 384, "buf_count": 4}) == ParamsAre(384, 4)
    assert answer(Bootloader("mode"), {"mode": -1, "no-downgrade": True}) == BootloaderIs(
        None, -1, True
    )
    assert answer(StatRead("a"), {"name": "a", "fields": {"x": 2**63}}) == StatValues(
        "a", (("x", 2**63),)
    )
    assert answer(FileDownload(0, "/a"), {"off": 0, "data": b"x", "len": 1}) == FilePiece(
        0, b"x", 1
    )
    for output in (7, b"7"):
        said = {"type": "t", "len": 1, "output": output}
        assert answer(FileHash("/a"), said) == FileHashed("t", None, 1, output)
    assert answer(ShellExecute(("a",)), {"o": "x", "ret": -8}) == ShellSaid("x", -8)


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"off": -1},
        {"off": 2**32},
        {"off": 1.0},
        {"off": "1"},
        {"off": True},
        {"off": None},
        {"off": [1]},
        {"off": 1, "match": 1},
        {"off": 1, "rc": "0"},
        {"off": 1, "rc": False},
        {"off": 1, "err": 3},
        {"off": 1, "err": None},
        {"off": 1, "err": {"group": 1}},
        {"off": 1, "err": {"group": -1, "rc": 1}},
    ],
)
def test_a_value_of_a_wrong_type_or_size_is_malformed(said: dict[str, Any]) -> None:
    with pytest.raises(MalformedMessageError):
        answer(CHUNK, said)


@pytest.mark.parametrize(
    "payload",
    [
        "",
        "00",
        "80",
        "f6",
        "a0a0",
        "a0f6",
        "a1636f6666",
        "a2636f666601636f666602",  # a key twice
        "bf636f666601636f666602ff",
        "a2636f6666017f636f6666ff02",  # a key in pieces
        "a10102",
        "a1426f6601",
        "bf636f666601",
        "a1636f66661c",
        "a1636f66661f",
        "a1636f6666c101",  # tags
        "a1636f6666d81c80",
        "a1636f6666d9010080",
        "a1636f6666ff",
        "a163ffffff01",  # no UTF-8
        "a1636f66665bffffffffffffffff",
        "a1636f66669bffffffffffffffff",
        "bbffffffffffffffff",
        "a1636f6666f818",
    ],
)
def test_bytes_that_are_no_single_map_are_malformed(payload: str) -> None:
    for request in (CHUNK, Reset(), ImageState()):
        with pytest.raises(MalformedMessageError):
            decode_answer(request, bytes.fromhex(payload))


def nested(depth: int) -> Any:
    return {"a": nested(depth - 1)} if depth else 1


def test_nesting_and_number_of_items_are_bounded() -> None:
    assert answer(Reset(), nested(DEPTH_LIMIT - 1)) == Done()
    for said in (nested(DEPTH_LIMIT), nested(300), {"a": [0] * ITEM_LIMIT}):
        with pytest.raises(MalformedMessageError):
            answer(Reset(), said)
    for huge in (b"\xa1\x61a" + b"\x81" * 60_000, b"\xa1\x61a" * 20_000):
        with pytest.raises(MalformedMessageError):
            decode_answer(Reset(), huge)


def test_maps_of_indefinite_length_are_read_as_zephyr_sends_them() -> None:
    assert decode_answer(
        Params(), bytes.fromhex("bf686275665f73697a65190180696275665f636f756e7404ff")
    ) == (ParamsAre(384, 4))


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("limit", [*range(70, 130), 255, 256, 257, 290, 380, 1020, 2044, 4092])
def test_a_chunk_fills_its_message_to_the_last_byte_that_fits(limit: int, first: bool) -> None:
    head = (0, 132_504, None, 0) if first else (70_000, None, None, None)
    off, length, sha, image = head
    chunk = UploadChunk(off, b"", length, sha, image)
    room = chunk.room(limit)
    assert len(chunk.with_data(bytes(room)).packet(1, 2).build()) <= limit
    assert len(chunk.with_data(bytes(room + 1)).packet(1, 2).build()) > limit


def test_a_map_is_written_in_canonical_form() -> None:
    assert encode_map({"off": 1, "data": b"", "len": 2}) == cbor2.dumps(
        {"len": 2, "off": 1, "data": b""}
    )
    assert CborMap.parse(encode_map({"b": 1, "a": 2})).names() == ("a", "b")
