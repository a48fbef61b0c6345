"""`svcport image sign`: a signed image that MCUboot and imgtool accept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from images import FileSigner, ImageError, LockMetadata, Version, firmware_bytes, sign
from images.errors import InvalidKeyError
from images.sign import DEFAULT_HEADER_SIZE, ImageSigner
from svcport.authorisation.keys.imagekeys import open_image_key
from svcport.authorisation.keys.references import (
    AGENT_SCHEME,
    TOKEN_SCHEME,
    TokenKey,
    parse_reference,
)
from svcport.cli.answer import Answer
from svcport.cli.command import Command
from svcport.cli.files import write_output
from svcport.cli.imagefiles import parsed, read_bytes
from svcport.cli.options import (
    contradiction,
    passphrase_source,
    secret_options,
    secret_source,
)
from svcport.errors import Reason, RefusedError

_ROOM: Final = bytes(DEFAULT_HEADER_SIZE)
"""What linkers put where the header goes, if they were told to leave room for it."""


@dataclass(frozen=True, slots=True)
class _Wish:
    version: str
    security_counter: int | None
    model: str | None
    hardware: tuple[str, ...]
    batches: tuple[str, ...]

    def metadata(self) -> LockMetadata | None:
        """The locks it is for; RefusedError for half a statement, ImageError for a bad one."""
        if self.model is None and not self.hardware and not self.batches:
            return None
        if self.model is None or not self.hardware:
            raise contradiction("--model and --hardware go together, and --batch goes with them")
        return LockMetadata(self.model, self.hardware, self.batches)


@click.command("sign", cls=Command, spreads=True)
@click.argument("source", metavar="IN", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="OUT",
    help="The image to write.",
)
@click.option(
    "--key",
    required=True,
    metavar="KEY",
    help="Private key: a pem file, as imgtool keygen or openssl write it, or pkcs11:... for a key "
    "on a token.",
)
@click.option("--version", required=True, metavar="V", help="major.minor.revision or ...+build.")
@click.option("--security-counter", type=click.IntRange(0, 0xFFFFFFFF), metavar="N")
@click.option("--model", metavar="M", help="Model of lock it is for.")
@click.option("--hardware", metavar="H", multiple=True, help="Hardware revision; repeatable.")
@click.option("--batch", "batches", metavar="B", multiple=True, help="Batch; repeatable.")
@secret_options
def command(
    source: Path,
    output: Path,
    key: str,
    passphrase_fd: int | None,
    pin_fd: int | None,
    version: str,
    security_counter: int | None,
    model: str | None,
    hardware: tuple[str, ...],
    batches: tuple[str, ...],
) -> Answer:
    r"""Sign IN, a raw binary or Intel HEX, and write the image to OUT.

    If IN starts with 512 zero bytes, they are the room that the linker left for the header.

    \b
      svcport image sign zephyr.bin -o signed.bin --key vendor.pem --version 2.4.1 \
          --security-counter 3 --model SL-2 --hardware A --hardware B
      svcport image sign zephyr.bin -o signed.bin --key 'pkcs11:token=release;object=SL-2' \
          --version 2.4.1
    """
    wish = _Wish(version, security_counter, model, hardware, batches)
    signer = _signer(key, passphrase_fd, pin_fd)
    image = _signed(read_bytes(source), signer, wish)
    write_output(output, image)
    made = parsed(image)
    digest = "" if made.digest is None else made.digest.hex()
    return Answer.ok(
        f"wrote {output}, version {made.version}, {len(image)} bytes",
        file=str(output),
        digest=digest,
    )


def _signed(data: bytes, signer: ImageSigner, wish: _Wish) -> bytes:
    try:
        return sign(
            firmware_bytes(data).removeprefix(_ROOM),
            signer,
            version=Version.parse(wish.version),
            security_counter=wish.security_counter,
            metadata=wish.metadata(),
        )
    except ImageError as error:
        hint = "; ".join(getattr(error, "__notes__", ()))
        raise RefusedError(Reason(error.reason), str(error), hint=hint) from error


def _signer(key: str, passphrase_fd: int | None, pin_fd: int | None) -> ImageSigner:
    if not key.startswith((TOKEN_SCHEME, AGENT_SCHEME)):
        return _file_signer(Path(key), passphrase_source(passphrase_fd))
    reference = parse_reference(key)
    if isinstance(reference, TokenKey):
        return open_image_key(reference, secret_source(passphrase_fd, pin_fd))
    raise RefusedError(
        Reason.USAGE,
        "an ssh-agent hashes what it signs once more, so its key cannot sign an image",
        hint="give a pem file or pkcs11:... with --key",
    )


def _file_signer(path: Path, passphrase: Callable[[], bytes] | None) -> FileSigner:
    pem = read_bytes(path)
    locked = b"ENCRYPTED" in pem
    try:
        return FileSigner.from_pem(pem, passphrase() if locked and passphrase else None)
    except InvalidKeyError as error:
        raise RefusedError(
            Reason.SIGNER_LOCKED if locked else Reason.IMAGE_SIGNER,
            f"{path}: {error}",
            hint="give its passphrase with --passphrase-fd" if locked else "",
        ) from error
