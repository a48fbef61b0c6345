"""Images for the boards: the builds' own application under other versions, made by imgtool.

imgtool is the vendor's tool; none of this project's image code takes part.
"""

from __future__ import annotations

import functools
import tempfile
from enum import Enum
from pathlib import Path
from typing import Final, Literal

from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from devicekit.firmware import MPS2_FILES, firmware

Board = Literal["mps2", "m0"]

HEADER_SIZE: Final = 512

_OPTIONS: Final = {
    "mps2": ("-S", "0x80000", "-L", "0x20240000"),
    "m0": ("-S", "0x1a000"),
}


class Damage(Enum):
    """What can be wrong with an image that was good."""

    FLIP = "one bit of the payload is another"
    HALF = "its second half is missing"
    CUT = "it ends within its TLVs"
    NO_LOAD = "its header does not tell where it runs"


@functools.cache
def payload(board: Board, build: str = "console") -> bytes:
    """A board's application without header and TLVs; `build` as of `mps2`, m0 has but one."""
    name = MPS2_FILES[build] if board == "mps2" else "qemu_cortex_m0_serial"
    image = firmware(f"{name}.signed.bin").read_bytes()
    start = int.from_bytes(image[8:10], "little")
    size = int.from_bytes(image[12:16], "little")
    return image[start : start + size]


@functools.cache
def board_image(
    board: Board,
    version: str,
    *,
    build: str = "console",
    key: Path | None = None,
    options: tuple[str, ...] = (),
) -> bytes:
    """A good image that boots on `board` and says `version` there.

    Args:
        board: "mps2" or "m0".
        version: `1.2.3` or `1.2.3+4`.
        build: whose application, see `payload`.
        key: PEM file of the key that signs; hash only if None, as the boards' MCUboot wants it.
        options: more of `imgtool sign`.
    """
    signed_by = ("--key", str(key)) if key is not None else ()
    with tempfile.TemporaryDirectory(prefix="svcport-image-") as folder:
        source, target = Path(folder, "payload.bin"), Path(folder, "image.bin")
        source.write_bytes(payload(board, build))
        layout = ("-H", str(HEADER_SIZE), "--pad-header", "--align", "4", *_OPTIONS[board])
        _imgtool("sign", *signed_by, *layout, "-v", version, *options, str(source), str(target))
        return target.read_bytes()


def new_key(folder: Path) -> Path:
    """A PEM file of a new P-256 key in `folder`."""
    target = folder / "image-key.pem"
    private = ec.generate_private_key(ec.SECP256R1())
    target.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return target


def damaged(image: bytes, damage: Damage) -> bytes:
    """`image` with something wrong that a board finds only when it boots."""
    match damage:
        case Damage.FLIP:
            at = HEADER_SIZE + (len(image) - HEADER_SIZE) // 2
            return image[:at] + bytes([image[at] ^ 0x10]) + image[at + 1 :]
        case Damage.HALF:
            return image[: len(image) // 2]
        case Damage.CUT:
            return image[:-8]
        case Damage.NO_LOAD:
            return image[:4] + bytes(4) + image[8:16] + bytes(4) + image[20:]


def _imgtool(*arguments: str) -> None:
    from imgtool.main import imgtool

    result = CliRunner().invoke(imgtool, arguments)
    assert result.exit_code == 0, (arguments, result.output, result.exception)
