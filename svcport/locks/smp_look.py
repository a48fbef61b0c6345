"""What an SMP device says of itself, read into our types; nothing here changes it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from images import ImageError, Version
from protocol.smp_image import ImageInSlot, ImagesAre, ImageState, SlotInfo
from protocol.smp_messages import Bootloader, Echo, Info, Params
from svcport.locks.device import Buffers, DeviceSlot, SlotSpace
from svcport.locks.smp_errors import NonsenseError, SmpRefusedError, UnsupportedError
from svcport.locks.smp_link import SmpLink

IMAGE_LIST_S: Final = 8.0
"""How long an image list may take: a boot loader may hash every slot for it."""

TEXT_LIMIT: Final = 200
"""Most characters of what a device calls itself."""

_VERSION_TEXT: Final = re.compile(r"(\d{1,3})\.(\d{1,3})\.(\d{1,5})(?:[.+](\d{1,10}))?")

_MODES: Final = {
    0: "single application",
    1: "swap using scratch",
    2: "overwrite only",
    3: "swap",
    4: "direct-xip",
    5: "direct-xip with revert",
    6: "RAM load",
}


@dataclass(frozen=True, slots=True)
class DeviceState:
    """Which kind of server answers.

    Attributes:
        recovery: the boot loader's; otherwise an application's.
        buffers: None if it does not say.
    """

    recovery: bool
    buffers: Buffers | None


def recognise(link: SmpLink) -> DeviceState:
    """Tell MCUboot's recovery from an application.

    A boot loader has one buffer, and mostly no echo. Where neither decides, its image list has none
    of the flags that an application's has.

    Raises:
        SilentDeviceError, NonsenseError, LinkLostError: it does not answer, or no sense.
    """
    buffers = _buffers(link)
    if buffers is not None and buffers.count > 1:
        return DeviceState(recovery=False, buffers=buffers)
    if not _echoes(link):
        return DeviceState(recovery=True, buffers=buffers)
    try:
        images = _images(link)
    except SmpRefusedError:
        return DeviceState(recovery=False, buffers=buffers)
    flagged = any(one.active is not None or one.confirmed is not None for one in images)
    recovery = not flagged and (bool(images) or buffers is not None)
    return DeviceState(recovery=recovery, buffers=buffers)


def _buffers(link: SmpLink) -> Buffers | None:
    try:
        params = link.call(Params(), "state its buffers")
    except SmpRefusedError:
        return None
    return Buffers(params.buf_size, params.buf_count)


def _echoes(link: SmpLink) -> bool:
    try:
        link.call(Echo("svcport"), "echo")
    except SmpRefusedError:
        return False
    return True


def application_text(link: SmpLink) -> str:
    """What an application calls itself; empty if it does not."""
    try:
        return _printable(link.call(Info("a"), "say what it is").output)
    except (SmpRefusedError, NonsenseError):
        return ""


def bootloader_text(link: SmpLink) -> str:
    """What an application says of its boot loader; empty if nothing."""
    try:
        name = link.call(Bootloader(), "name its boot loader").bootloader or ""
        how = link.call(Bootloader("mode"), "say how its boot loader works")
    except (SmpRefusedError, NonsenseError):
        return ""
    mode = "" if how.mode is None else f", {_MODES.get(how.mode, f'mode {how.mode}')}"
    return _printable(name) + mode + (", no downgrade" if how.no_downgrade else "")


def slots_of(link: SmpLink, *, recovery: bool) -> tuple[DeviceSlot, ...]:
    """What the image list says; empty if the device has none.

    An application may leave out flags that are false; recovery has none of them.

    Raises:
        SmpRefusedError: the list is refused, not for being unknown.
    """
    try:
        images = _images(link)
    except UnsupportedError:
        return ()
    slots = [_slot(one, missing=None if recovery else False) for one in images]
    return tuple(sorted(slots, key=lambda slot: (slot.image, slot.slot)))


def _images(link: SmpLink) -> tuple[ImageInSlot, ...]:
    reply: ImagesAre = link.call(ImageState(), "list its images", answer_s=IMAGE_LIST_S)
    return reply.images


def _slot(one: ImageInSlot, *, missing: bool | None) -> DeviceSlot:
    def flag(said: bool | None) -> bool | None:
        return missing if said is None else said

    return DeviceSlot(
        image=one.image,
        slot=one.slot,
        version=_version(one.version),
        digest=one.hash or None,
        bootable=flag(one.bootable),
        pending=flag(one.pending),
        confirmed=flag(one.confirmed),
        active=flag(one.active),
        permanent=flag(one.permanent),
    )


def spaces_of(link: SmpLink) -> tuple[SlotSpace, ...]:
    """What slot info says; empty if the device has none."""
    try:
        images = link.call(SlotInfo(), "describe its slots").images
    except (SmpRefusedError, NonsenseError):
        return ()
    return tuple(
        SlotSpace(image.image, slot.slot, slot.size, slot.upload_image_id)
        for image in images
        for slot in image.slots
    )


def _version(text: str) -> Version | None:
    """`1.2.3`, or with a build number `1.2.3.4`, as MCUmgr spells it."""
    match = _VERSION_TEXT.fullmatch(text)
    if match is None:
        return None
    try:
        return Version(*(int(number or 0) for number in match.groups()))
    except ImageError:
        return None


def _printable(text: str) -> str:
    """A stranger's text without what a terminal would obey."""
    return "".join(char if char.isprintable() else "?" for char in text[:TEXT_LIMIT])
