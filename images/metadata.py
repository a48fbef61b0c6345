"""For which locks an image is meant: model, hardware revisions and batches.

They stand in three vendor TLVs of the protected area, so the image's signature covers them:
0x00A0 the model, 0x00A1 the hardware revisions, 0x00A2 the batches, the last two separated by
commas. `imgtool sign --custom-tlv 0x00A1 A,B` writes the same bytes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

from images.errors import MalformedImageError
from images.tlv import Tlv, TlvType

MAX_ITEMS: Final = 64
MAX_ITEM_SIZE: Final = 32

# Printable ASCII without the space and without the comma that separates items.
_ITEM: Final = re.compile(rf"[!-+\--~]{{1,{MAX_ITEM_SIZE}}}")
_TYPES: Final = (TlvType.LOCK_MODEL, TlvType.LOCK_HARDWARE, TlvType.LOCK_BATCHES)


@dataclass(frozen=True, slots=True)
class LockMetadata:
    """The locks that an image may be put on. `a` and `A` are different batches.

    Attributes:
        model: one item.
        hardware: 1 to 64 hardware revisions, no two alike.
        batches: up to 64 batches, no two alike; empty means every batch.

    An item is 1 to 32 characters of printable ASCII without space and comma.

    Raises:
        MalformedImageError: an item or list that breaks these rules.
    """

    model: str
    hardware: tuple[str, ...]
    batches: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check_items("model", (self.model,))
        if not self.hardware:
            raise MalformedImageError("no hardware revision is named, at least 1 must be")
        _check_items("hardware revision", self.hardware)
        _check_items("batch", self.batches)

    def covers(self, model: str, hardware: str, batch: str) -> bool:
        """Whether the image is meant for a lock of this model, hardware revision and batch."""
        return (
            model == self.model
            and hardware in self.hardware
            and (not self.batches or batch in self.batches)
        )

    @classmethod
    def from_tlvs(cls, protected: Sequence[Tlv]) -> Self | None:
        """Read the metadata out of a protected area; None if none of its three TLVs is there.

        Raises:
            MalformedImageError: one of the three appears twice, is badly formed, or misses its
                companion.
        """
        found: dict[int, str] = {}
        for tlv in protected:
            if tlv.kind not in _TYPES:
                continue
            if tlv.kind in found:
                raise MalformedImageError(f"tlv {tlv.name} appears twice, at most 1 may")
            found[tlv.kind] = _text(tlv)
        if not found:
            return None
        for needed in (TlvType.LOCK_MODEL, TlvType.LOCK_HARDWARE):
            if needed not in found:
                raise MalformedImageError(f"lock metadata lacks tlv {needed.name}")
        batches = found.get(TlvType.LOCK_BATCHES)
        return cls(
            model=found[TlvType.LOCK_MODEL],
            hardware=tuple(found[TlvType.LOCK_HARDWARE].split(",")),
            batches=() if batches is None else tuple(batches.split(",")),
        )

    def to_tlvs(self) -> tuple[Tlv, ...]:
        """Give the two or three TLVs for a protected area, in ascending order of type."""
        values = [self.model, ",".join(self.hardware)]
        if self.batches:
            values.append(",".join(self.batches))
        return tuple(
            Tlv(kind, value.encode("ascii")) for kind, value in zip(_TYPES, values, strict=False)
        )


def _text(tlv: Tlv) -> str:
    try:
        return tlv.value.decode("ascii")
    except UnicodeDecodeError as error:
        raise MalformedImageError(f"tlv {tlv.name} is {tlv.value!r}, must be ascii") from error


def _check_items(what: str, items: Sequence[str]) -> None:
    if len(items) > MAX_ITEMS:
        raise MalformedImageError(f"{len(items)} {what} items, at most {MAX_ITEMS} may be named")
    if len(set(items)) != len(items):
        raise MalformedImageError(f"{what} list {','.join(items)!r} names an item twice")
    for item in items:
        if _ITEM.fullmatch(item) is None:
            raise MalformedImageError(
                f"{what} is {item!r}, must be 1 to {MAX_ITEM_SIZE} ascii characters"
                " without space and comma"
            )
