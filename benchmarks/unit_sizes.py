"""Bytes that must cross, by encoding: real firmware alone, and against what a lock holds already.

Run: python benchmarks/unit_sizes.py [--markdown]

The images are signed as they ship. `ours` counts the units with their headers; the other rows count
what the encoder gives and nothing around it. A time is the CPU seconds of encoding once, on this
machine. detools is not installed with this package: `pip install detools` adds its rows.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import io
import lzma
import platform
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import firmware
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from images import SECTOR_SIZE, FileSigner, UnitEncoder, Version, sector_count, sign
from protocol.unit import DICTIONARY_SIZE, SPAN_SIZE, UNIT_HEADER_SIZE

Encode = Callable[[bytes, bytes], int]
"""Bytes that must cross for an image, given a base; without one it is empty."""

_MISSING: Final = "-"


@dataclass(frozen=True, slots=True)
class Case:
    """An image, and what the lock holds beside it."""

    name: str
    image: bytes
    base: bytes = b""


@dataclass(frozen=True, slots=True)
class Encoding:
    """One way to bring an image over."""

    name: str
    encode: Encode
    alone: bool
    against: bool


def shipped(payload: bytes, build: int) -> bytes:
    """A payload with header, digest and signature, as it goes onto a lock."""
    signer = FileSigner(Ed25519PrivateKey.from_private_bytes(bytes(32)))
    return sign(payload, signer, version=Version(2, 4, 1, build), security_counter=3)


def cases() -> Iterator[Case]:
    """What is measured."""
    yield Case("no base", shipped(firmware.firmware(), 1))
    for name, pair in (
        ("near version", firmware.near_pair()),
        ("sibling board", firmware.sibling_pair()),
        ("older chip", firmware.older_chip_pair()),
        ("75 kB, other buffers", firmware.small_pair()),
    ):
        yield Case(name, shipped(pair.new, 1), shipped(pair.base, 0))


def units(image: bytes, base: bytes) -> int:
    """What this project sends."""
    encoder = UnitEncoder(image, base)
    made = [encoder.unit(sector) for sector in range(sector_count(len(image)))]
    return sum(UNIT_HEADER_SIZE + len(unit.payload) for unit in made)


def plain_sectors(image: bytes, base: bytes) -> int:
    """Each sector against what is before it and beside it, without what `ours` adds."""
    total = 0
    history = DICTIONARY_SIZE - (SPAN_SIZE if base else 0)
    for start in range(0, len(image), SECTOR_SIZE):
        beside = max(0, start - (SPAN_SIZE - SECTOR_SIZE) // 2)
        dictionary = image[max(0, start - history) : start] + base[beside : beside + SPAN_SIZE]
        content = image[start : start + SECTOR_SIZE]
        total += UNIT_HEADER_SIZE + min(len(content), len(_deflated(content, dictionary)))
    return total


def whole_deflate(image: bytes, _base: bytes) -> int:
    """One DEFLATE stream over all of it."""
    return len(_deflated(image, b""))


def _deflated(content: bytes, dictionary: bytes) -> bytes:
    squeezer = zlib.compressobj(9, zlib.DEFLATED, -15, 9, zdict=dictionary)
    return squeezer.compress(content) + squeezer.flush()


def lzma2(*filters: int, context_bits: int) -> Encode:
    """One LZMA2 stream over all of it, behind the filters given."""
    last = {
        "id": lzma.FILTER_LZMA2,
        "preset": 9 | lzma.PRESET_EXTREME,
        "lc": context_bits,
        "lp": 0 if context_bits else 1,
        "pb": 1,
    }

    def encode(image: bytes, _base: bytes) -> int:
        chain = [*({"id": one} for one in filters), last]
        return len(lzma.compress(image, lzma.FORMAT_RAW, filters=chain))

    return encode


def detools(compression: str) -> Encode:
    """A sequential patch of detools: bsdiff, compressed."""
    # not a dependency: this benchmark alone wants it
    made: Any = importlib.import_module("detools")

    def encode(image: bytes, base: bytes) -> int:
        patch = io.BytesIO()
        made.create_patch(io.BytesIO(base), io.BytesIO(image), patch, compression=compression)
        return len(patch.getvalue())

    return encode


def encodings() -> Iterator[Encoding]:
    """What is compared, the simplest first."""
    yield Encoding("whole image, deflate", whole_deflate, alone=True, against=False)
    thumb = lzma.FILTER_ARMTHUMB
    yield Encoding("whole image, LZMA2", lzma2(context_bits=3), alone=True, against=False)
    yield Encoding(
        "whole image, LZMA2 + ARM-Thumb", lzma2(thumb, context_bits=3), alone=True, against=False
    )
    yield Encoding(
        "the same with the least RAM, lc 0", lzma2(thumb, context_bits=0), alone=True, against=False
    )
    yield Encoding("sectors, deflate + dictionary", plain_sectors, alone=True, against=True)
    yield Encoding("ours: call form, spans, differences, copies", units, alone=True, against=True)
    if importlib.util.find_spec("detools") is not None:
        for compression in ("heatshrink", "lzma"):
            yield Encoding(
                f"detools, bsdiff + {compression}", detools(compression), alone=False, against=True
            )


def row(encoding: Encoding, measured: list[Case]) -> list[str]:
    """Bytes, how many times fewer than the image, and CPU milliseconds, for each case."""
    cells = [encoding.name]
    for case in measured:
        if not (encoding.against if case.base else encoding.alone):
            cells.append(_MISSING)
            continue
        began = time.process_time()
        size = encoding.encode(case.image, case.base)
        spent_ms = 1000 * (time.process_time() - began)
        cells.append(f"{size:,} ({len(case.image) / size:.3g}x, {spent_ms:.0f} ms)")
    return cells


def show(rows: list[list[str]], *, markdown: bool) -> None:
    """Print a table."""
    if markdown:
        rows = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
        print(*("| " + " | ".join(cells) + " |" for cells in rows), sep="\n")
        return
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for cells in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--markdown", action="store_true")
    options = parser.parse_args()
    measured = list(cases())
    print(
        f"{platform.platform()}, Python {platform.python_version()}, "
        f"zlib {zlib.ZLIB_RUNTIME_VERSION}, {datetime.now(UTC):%Y-%m-%d}"
    )
    head = [f"{case.name}, {len(case.image):,}" for case in measured]
    rows = [["bytes", *head], *(row(encoding, measured) for encoding in encodings())]
    show(rows, markdown=options.markdown)


if __name__ == "__main__":
    main()
