"""Everything an SMP device says of itself at one moment, frozen. None of it is proved.

SMP has no authentication: a device names its images, their versions and hashes, but not itself.
"""

from __future__ import annotations

from dataclasses import dataclass

from images import Version
from protocol.smp import SmpFraming
from svcport.locks.snapshot import LockKind


@dataclass(frozen=True, slots=True)
class DeviceSlot:
    """What a device says of one slot; None is what it does not say.

    Attributes:
        image: number of the image, 0 on a device that has one.
        slot: 0 is the primary slot of the image, 1 the secondary.
        version: None also if the device's text is no version.
        digest: the hash that stands in the image's TLV, which nobody need have checked.
        pending: it is tried at the next boot.
        confirmed: it stays over the next boot.
        active: it runs.
        permanent: it is pending and stays.
    """

    image: int
    slot: int
    version: Version | None
    digest: bytes | None
    bootable: bool | None = None
    pending: bool | None = None
    confirmed: bool | None = None
    active: bool | None = None
    permanent: bool | None = None


@dataclass(frozen=True, slots=True)
class SlotSpace:
    """One slot as slot info gives it.

    Attributes:
        size: bytes; None if the device does not say.
        upload_image_id: the `image` that an upload into this slot must name; None if none does.
    """

    image: int
    slot: int
    size: int | None
    upload_image_id: int | None


@dataclass(frozen=True, slots=True)
class Buffers:
    """What the device takes at once, by os params: `size` bytes of a message, `count` of them."""

    size: int
    count: int


@dataclass(frozen=True, slots=True)
class DeviceView:
    """One SMP device at one moment.

    Attributes:
        bootloader: what the boot loader calls itself; empty if the device does not say.
        application: what the running application calls itself; empty likewise.
        slots: by image and slot; empty also if the device has no image list. In recovery the list
            is no evidence of what boots, nor of what was written (RAM-load builds).
        spaces: slot info; empty where the device has none.
        buffers: None if the device does not say.
    """

    kind: LockKind
    framing: SmpFraming
    bootloader: str
    application: str
    slots: tuple[DeviceSlot, ...]
    spaces: tuple[SlotSpace, ...] = ()
    buffers: Buffers | None = None

    @property
    def running(self) -> DeviceSlot | None:
        """The slot of image 0 that runs, as a running application says; None in recovery."""
        return next((slot for slot in self._of_image_0 if slot.active), None)

    @property
    def other(self) -> DeviceSlot | None:
        """The slot of image 0 that does not run, if it holds an image; None in recovery."""
        if self.running is None:
            return None
        return next((slot for slot in self._of_image_0 if not slot.active), None)

    @property
    def starts_next(self) -> DeviceSlot | None:
        """The slot of image 0 that a restart would start; None in recovery, or if none is sure.

        One that is pending goes first; an image on trial gives way to the confirmed one beside it.
        """
        pending = next((slot for slot in self._of_image_0 if slot.pending), None)
        if pending is not None:
            return pending
        running, other = self.running, self.other
        if running is None or running.confirmed is not False:
            return running
        return other if other is not None and other.confirmed else None

    @property
    def _of_image_0(self) -> tuple[DeviceSlot, ...]:
        return tuple(slot for slot in self.slots if slot.image == 0)

    @property
    def slot_size(self) -> int | None:
        """Bytes of the smallest slot of image 0; None if the device does not say."""
        sizes = [space.size for space in self.spaces if space.image == 0 and space.size is not None]
        return min(sizes, default=None)


@dataclass(frozen=True, slots=True)
class UploadTally:
    """An upload that ended: the device has taken every byte, which proves nothing of the image.

    Attributes:
        wire_bytes: bytes written for it, framing and resends included.
        seconds: first chunk written to last answer.
        chunks: chunks that the device answered.
        resumed: how often the device's `off` was not where the chunk ended.
    """

    wire_bytes: int
    seconds: float
    chunks: int
    resumed: int


@dataclass(frozen=True, slots=True)
class DeviceLog:
    """Something that a device has written down, or says of itself when asked.

    Attributes:
        name: the file's path, or the command.
        body: unread; a stranger's text.
    """

    name: str
    body: bytes
