"""MCUboot images: bytes in, a `VerifiedImage` or a named error out. No I/O, no clock, no logging.

README.md says what is accepted, what is refused, and why.
"""

from images.errors import (
    BadSignatureError,
    HashMismatchError,
    ImageError,
    InvalidKeyError,
    MalformedImageError,
    UnsignedImageError,
    UnsupportedImageError,
    UntrustedSignerError,
)
from images.header import Flag, Header, Version
from images.hexfile import HexFile, firmware_bytes, is_hex, parse_hex
from images.image import Image
from images.keys import KeyKind, PublicKey, TrustStore
from images.metadata import LockMetadata
from images.sign import FileSigner, ImageSigner, sign
from images.tlv import Tlv, TlvType
from images.units import (
    SECTOR_SIZE,
    Unit,
    UnitEncoder,
    UnitKind,
    encode_units,
    sector_count,
    sector_digests,
)
from images.verify import VerifiedImage, verify

__all__ = [
    "SECTOR_SIZE",
    "BadSignatureError",
    "FileSigner",
    "Flag",
    "HashMismatchError",
    "Header",
    "HexFile",
    "Image",
    "ImageError",
    "ImageSigner",
    "InvalidKeyError",
    "KeyKind",
    "LockMetadata",
    "MalformedImageError",
    "PublicKey",
    "Tlv",
    "TlvType",
    "TrustStore",
    "Unit",
    "UnitEncoder",
    "UnitKind",
    "UnsignedImageError",
    "UnsupportedImageError",
    "UntrustedSignerError",
    "VerifiedImage",
    "Version",
    "encode_units",
    "firmware_bytes",
    "is_hex",
    "parse_hex",
    "sector_count",
    "sector_digests",
    "sign",
    "verify",
]
