"""SMP's requests and replies about images: state, upload, erase, slots.

Zephyr, "Image management"; MCUboot's boot_serial answers three of them in its own words.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Self

from protocol.cbor import CborMap, head_size
from protocol.smp import HEADER_SIZE, SmpGroup, SmpOp
from protocol.smp_messages import Done, SmpReply, SmpRequest

HASH_LIMIT: Final = 64
"""Bytes of the longest hash that names an image (SHA-512)."""

SLOT_LIMIT: Final = 255


@dataclass(frozen=True, slots=True)
class ImageInSlot(SmpReply):
    """One image of a list; None is what the device leaves out.

    Attributes:
        image: 0 where left out.
        version: as the device spells it.
        hash: the image's hash TLV.
    """

    image: int
    slot: int
    version: str
    hash: bytes | None
    bootable: bool | None
    pending: bool | None
    confirmed: bool | None
    active: bool | None
    permanent: bool | None

    @classmethod
    def read(cls, fields: CborMap) -> Self:
        """See SmpReply."""
        return cls(
            fields.maybe_unsigned("image", SLOT_LIMIT) or 0,
            fields.unsigned("slot", SLOT_LIMIT),
            fields.text("version"),
            fields.maybe_octets("hash", HASH_LIMIT),
            fields.maybe_flag("bootable"),
            fields.maybe_flag("pending"),
            fields.maybe_flag("confirmed"),
            fields.maybe_flag("active"),
            fields.maybe_flag("permanent"),
        )


@dataclass(frozen=True, slots=True)
class ImagesAre(SmpReply):
    """The images that a device lists."""

    images: tuple[ImageInSlot, ...]

    @classmethod
    def read(cls, fields: CborMap) -> Self:
        """See SmpReply."""
        return cls(tuple(ImageInSlot.read(one) for one in fields.maps("images")))


@dataclass(frozen=True, slots=True)
class ImageState(SmpRequest[ImagesAre]):
    """Which images there are."""

    OP = SmpOp.READ
    GROUP = SmpGroup.IMAGE
    COMMAND = 0
    REPLY = ImagesAre


@dataclass(frozen=True, slots=True)
class SetImageState(SmpRequest[ImagesAre]):
    """Mark an image for a test boot, or confirm one.

    Attributes:
        hash: which; None only with `confirm`: the one that runs.
        confirm: it stays; False: it is booted once.
    """

    hash: bytes | None
    confirm: bool

    OP = SmpOp.WRITE
    GROUP = SmpGroup.IMAGE
    COMMAND = 0
    REPLY = ImagesAre


@dataclass(frozen=True, slots=True)
class UploadedTo(SmpReply):
    """Where the device stands.

    Attributes:
        off: the byte that it wants next.
        match: whether the image has the announced SHA-256, where the device checks it at the end.
    """

    off: int
    match: bool | None

    @classmethod
    def read(cls, fields: CborMap) -> Self:
        """See SmpReply."""
        return cls(fields.unsigned("off"), fields.maybe_flag("match"))


@dataclass(frozen=True, slots=True)
class UploadChunk(SmpRequest[UploadedTo]):
    """A piece of an image.

    Attributes:
        off: where it belongs.
        len: bytes of the image; with the first piece only.
        sha: SHA-256 of the whole file; with the first piece only.
        image: its number; with the first piece only.
    """

    off: int
    data: bytes
    len: int | None = None
    sha: bytes | None = None
    image: int | None = None

    OP = SmpOp.WRITE
    GROUP = SmpGroup.IMAGE
    COMMAND = 1
    REPLY = UploadedTo
    REPEATABLE = False

    def with_data(self, data: bytes) -> Self:
        """The same chunk with these bytes."""
        return replace(self, data=data)

    def room(self, limit: int) -> int:
        """How many bytes `data` may have in a message of `limit` bytes; `data` is not looked at.

        At least one byte; how long the length's own head is depends on it.
        """
        frame = HEADER_SIZE + 1 + _member("off", head_size(self.off)) + _member("data", 0)
        if self.len is not None:
            frame += _member("len", head_size(self.len))
        if self.sha is not None:
            frame += _member("sha", head_size(_size(self.sha)) + _size(self.sha))
        if self.image is not None:
            frame += _member("image", head_size(self.image))
        space = limit - frame
        size = space - 1
        while size > 1 and head_size(size) + size > space:
            size -= 1
        return max(size, 1)


def _member(key: str, value: int) -> int:
    """Bytes of a member of a map whose value has `value` bytes."""
    return head_size(len(key)) + len(key) + value


_size = len
"""UploadChunk has a `len` of its own."""


@dataclass(frozen=True, slots=True)
class EraseSlot(SmpRequest[Done]):
    """Empty a slot; None: the secondary one of image 0."""

    slot: int | None = None

    OP = SmpOp.WRITE
    GROUP = SmpGroup.IMAGE
    COMMAND = 5
    REPLY = Done


@dataclass(frozen=True, slots=True)
class SlotIs(SmpReply):
    """One slot.

    Attributes:
        size: bytes; None if the device does not say.
        upload_image_id: the `image` of an upload into it; None: nothing is uploaded into it.
    """

    slot: int
    size: int | None
    upload_image_id: int | None

    @classmethod
    def read(cls, fields: CborMap) -> Self:
        """See SmpReply."""
        return cls(
            fields.unsigned("slot", SLOT_LIMIT),
            fields.maybe_unsigned("size"),
            fields.maybe_unsigned("upload_image_id", SLOT_LIMIT),
        )


@dataclass(frozen=True, slots=True)
class ImageSlots(SmpReply):
    """The slots of one image."""

    image: int
    slots: tuple[SlotIs, ...]
    max_image_size: int | None

    @classmethod
    def read(cls, fields: CborMap) -> Self:
        """See SmpReply."""
        slots = tuple(SlotIs.read(one) for one in fields.maps("slots"))
        image = fields.unsigned("image", SLOT_LIMIT)
        return cls(image, slots, fields.maybe_unsigned("max_image_size"))


@dataclass(frozen=True, slots=True)
class SlotsAre(SmpReply):
    """The slots of every image."""

    images: tuple[ImageSlots, ...]

    @classmethod
    def read(cls, fields: CborMap) -> Self:
        """See SmpReply."""
        return cls(tuple(ImageSlots.read(one) for one in fields.maps("images")))


@dataclass(frozen=True, slots=True)
class SlotInfo(SmpRequest[SlotsAre]):
    """Which slots there are, and how large."""

    OP = SmpOp.READ
    GROUP = SmpGroup.IMAGE
    COMMAND = 6
    REPLY = SlotsAre
