"""Our requests and replies against those of the PyPI package smp, over 1,000 generated ones."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import cbor2
import pytest
import smp.file_management
import smp.header
import smp.image_management
import smp.os_management
import smp.packet
import smp.shell_management
import smp.statistics_management

from protocol.smp import SmpFraming, SmpHeader, SmpPacket
from protocol.smp_files import (
    FileDownload,
    FileHash,
    FileStatus,
    FileUpload,
    ShellExecute,
)
from protocol.smp_image import EraseSlot, ImageState, SetImageState, UploadChunk
from protocol.smp_messages import (
    Bootloader,
    Echo,
    Info,
    Params,
    Reset,
    SmpFault,
    SmpRequest,
    StatList,
    StatRead,
    decode_answer,
)
from protocol.smp_stream import decoder_for

COUNT = 1000
image, system, files = smp.image_management, smp.os_management, smp.file_management
stats, shell = smp.statistics_management, smp.shell_management

Pair = tuple[SmpRequest[Any], Any, dict[str, Any]]


def some(random: Random, value: Any) -> Any:
    return value if random.random() < 0.5 else None


def text(random: Random) -> str:
    return "".join(random.choice("abc/_. äß€") for _ in range(random.randrange(40)))


def upload(random: Random) -> Pair:
    size = random.choice([0, 1, 23, 24, 255, 256, 1000])
    fields = {
        "off": random.choice([0, 23, 24, 255, 256, 65_535, 65_536, 2**32 - 1]),
        "data": random.randbytes(size),
        "len": some(random, random.randrange(2**24)),
        "sha": some(random, random.randbytes(32)),
        "image": some(random, random.randrange(4)),
    }
    return UploadChunk(**fields), image.ImageUploadWriteRequest, fields


def state(random: Random) -> Pair:
    fields = {"hash": some(random, random.randbytes(32)), "confirm": random.random() < 0.5}
    return SetImageState(**fields), image.ImageStatesWriteRequest, fields


def reset(random: Random) -> Pair:
    fields = {"force": some(random, 1), "boot_mode": some(random, random.randrange(256))}
    return Reset(**fields), system.ResetWriteRequest, fields


def file_hash(random: Random) -> Pair:
    fields = {
        "name": text(random),
        "type": some(random, random.choice(["crc32", "sha256"])),
        "off": some(random, random.randrange(2**20)),
        "len": some(random, random.randrange(2**20)),
    }
    return FileHash(**fields), files.FileHashChecksumRequest, fields


def file_upload(random: Random) -> Pair:
    fields = {
        "off": random.randrange(2**20),
        "data": random.randbytes(random.randrange(400)),
        "name": text(random),
        "len": some(random, random.randrange(2**20)),
    }
    return FileUpload(**fields), files.FileUploadRequest, fields


def with_one(ours: type[Any], theirs: type[Any], key: str) -> Callable[[Random], Pair]:
    def made(random: Random) -> Pair:
        fields = {key: text(random)}
        return ours(**fields), theirs, fields

    return made


def with_none(ours: type[Any], theirs: type[Any]) -> Callable[[Random], Pair]:
    return lambda _random: (ours(), theirs, {})


def download(random: Random) -> Pair:
    fields = {"off": random.randrange(2**32), "name": text(random)}
    return FileDownload(**fields), files.FileDownloadRequest, fields


def erase(random: Random) -> Pair:
    fields = {"slot": some(random, random.randrange(4))}
    return EraseSlot(**fields), image.ImageEraseRequest, fields


def execute(random: Random) -> Pair:
    argv = [text(random) for _ in range(random.randrange(4))]
    return ShellExecute(tuple(argv)), shell.ExecuteRequest, {"argv": argv}


REQUESTS: tuple[Callable[[Random], Pair], ...] = (
    upload,
    state,
    reset,
    file_hash,
    file_upload,
    download,
    erase,
    execute,
    with_one(Echo, system.EchoWriteRequest, "d"),
    with_one(Info, system.OSApplicationInfoReadRequest, "format"),
    with_one(Bootloader, system.BootloaderInformationReadRequest, "query"),
    with_one(StatRead, stats.GroupDataRequest, "name"),
    with_one(FileStatus, files.FileStatusRequest, "name"),
    with_none(Params, system.MCUMgrParametersReadRequest),
    with_none(ImageState, image.ImageStatesReadRequest),
    with_none(StatList, stats.ListOfGroupsRequest),
)


def test_requests_have_the_bytes_that_smp_gives_them() -> None:
    random = Random(1)
    for number in range(COUNT):
        ours, theirs, fields = REQUESTS[number % len(REQUESTS)](random)
        seq, version = random.randrange(256), random.choice([1, 2])
        given = {key: value for key, value in fields.items() if value is not None}
        their_version = smp.header.Version.V1 if version == 1 else smp.header.Version.V2
        wanted = theirs(sequence=seq, version=their_version, **given).BYTES
        assert ours.packet(seq, version).build() == wanted, fields


def flags(random: Random) -> dict[str, bool]:
    names = ("bootable", "pending", "confirmed", "active", "permanent")
    return {name: random.random() < 0.5 for name in names if random.random() < 0.7}


def listed(random: Random) -> dict[str, Any]:
    one: dict[str, Any] = {"slot": random.randrange(2), "version": text(random), **flags(random)}
    if random.random() < 0.5:
        one["image"] = random.randrange(3)
    if random.random() < 0.8:
        one["hash"] = random.randbytes(32)
    return one


Reply = tuple[SmpRequest[Any], Any, dict[str, Any]]


def uploaded(random: Random) -> dict[str, Any]:
    match = {"match": random.random() < 0.5} if random.random() < 0.3 else {}
    return {"off": random.randrange(2**32), **match}


def statistics(random: Random) -> dict[str, Any]:
    counts = {text(random): random.randrange(2**64) for _ in range(4)}
    return {"name": text(random), "fields": counts}


def piece(random: Random) -> dict[str, Any]:
    data = random.randbytes(random.randrange(300))
    return {"off": random.randrange(2**32), "data": data, "len": random.randrange(99)}


REPLIES: tuple[tuple[SmpRequest[Any], Any, Callable[[Random], dict[str, Any]]], ...] = (
    (
        ImageState(),
        image.ImageStatesReadResponse,
        lambda random: {"images": [listed(random) for _ in range(random.randrange(5))]},
    ),
    (UploadChunk(0, b""), image.ImageUploadWriteResponse, uploaded),
    (
        Params(),
        system.MCUMgrParametersReadResponse,
        lambda random: {"buf_size": random.randrange(2**16), "buf_count": random.randrange(9)},
    ),
    (Echo(""), system.EchoWriteResponse, lambda random: {"r": text(random)}),
    (Info(), system.OSApplicationInfoReadResponse, lambda random: {"output": text(random)}),
    (StatRead(""), stats.GroupDataResponse, statistics),
    (FileDownload(0, ""), files.FileDownloadResponse, piece),
    (FileStatus(""), files.FileStatusResponse, lambda random: {"len": random.randrange(2**32)}),
    (
        ShellExecute(()),
        shell.ExecuteResponse,
        lambda random: {"o": text(random), "ret": random.randrange(-200, 200)},
    ),
)


def reply(random: Random) -> Reply:
    request, theirs, made = random.choice(REPLIES)
    return request, theirs, made(random)


def same(ours: Any, theirs: Any) -> bool:
    """Whether every attribute of ours is what theirs has; None is what is not there."""
    if hasattr(ours, "__dataclass_fields__"):
        return all(
            same(getattr(ours, name), getattr(theirs, name))
            or (name == "image" and getattr(theirs, name) is None and ours.image == 0)
            for name in ours.__dataclass_fields__
        )
    if isinstance(ours, tuple):
        pairs = list(theirs.items()) if isinstance(theirs, dict) else list(theirs)
        return len(ours) == len(pairs) and all(map(same, ours, pairs))
    return bool(ours == theirs)


def test_replies_are_read_as_smp_reads_them() -> None:
    random = Random(2)
    for _number in range(COUNT):
        request, theirs, said = reply(random)
        payload = cbor2.dumps(said)
        asked = request.packet(random.randrange(256), 2).header
        header = SmpHeader(asked.first | 1, 0, len(payload), asked.group, asked.seq, asked.command)
        packet = SmpPacket(header, payload)
        wanted = theirs.loads(packet.build())
        got = decode_answer(request, payload)
        assert not isinstance(got, SmpFault)
        assert same(got, wanted), (got, wanted)


@pytest.mark.parametrize("code", range(1, 34))
def test_image_faults_have_the_codes_of_smp(code: int) -> None:
    payload = cbor2.dumps({"err": {"group": 1, "rc": code}})
    header = SmpHeader(0b01011, 0, len(payload), 1, 5, 1)
    theirs = image.ImageManagementErrorV2.loads(SmpPacket(header, payload).build())
    fault = decode_answer(UploadChunk(0, b""), payload)
    assert fault == SmpFault(1, int(theirs.err.rc))
    assert "(" in str(fault)


def test_console_lines_are_those_of_smp() -> None:
    random = Random(3)
    for _number in range(COUNT):
        payload = cbor2.dumps({"d": random.randbytes(random.randrange(900))})
        packet = SmpPacket(SmpHeader(0b01001, 0, len(payload), 0, 9, 0), payload)
        theirs = b"".join(smp.packet.encode(packet.build(), 128))
        assert packet.framed(SmpFraming.CONSOLE) == theirs
        assert decoder_for(SmpFraming.CONSOLE).feed(theirs) == [packet]
