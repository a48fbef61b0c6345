"""The failure bundle: one zip file with what support needs to see, and nothing secret in it.

What it holds and what not is docs/capture.md, and stands in each bundle as README.txt.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import platform
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from protocol.errors import ProtocolError
from protocol.objects import Receipt
from protocol.sealed import Sealed
from svcport import __version__
from svcport.audit.entries import LedgerEntry, read_entry
from svcport.audit.view import LedgerView
from svcport.errors import SvcportError
from svcport.home import Home, write_whole
from svcport.transport.adapters import found_ports
from svcport.transport.capturefile import FILE_LIMIT, CaptureError

KEPT: Final = 20
"""Bundles of a home; the oldest go."""

ENTRIES_READ: Final = 512
"""Newest entries of a ledger that are looked at for those of the lock."""

ENTRIES_KEPT: Final = 20

CAPTURE: Final = "traffic.capture"
_NAME: Final = re.compile(r"\d{8}T\d{6}\.\d{3}Z-[A-Za-z0-9._-]{1,80}-[0-9a-f]{4}\.zip")
_UNUSUAL: Final = re.compile(r"[^A-Za-z0-9._]+")
_USER: Final = re.compile(r"((?:/home/|/Users/|\\Users\\)+)[^/\\\s:;,'\"]+")

_README: Final = """\
A svcport command failed and left this, to be sent with a bug report.

report.json      what the command reported
versions.json    svcport, Python, the packages that svcport needs
host.json        operating system, serial ports
journal.json     kind, time and result of the ledger's newest entries about this lock
traffic.capture  the beginning and the end of what went over the port: svcport replay THIS.zip
traceback.txt    where svcport itself failed, if it did

In it: the lock's serial number, model and versions; names of ports. On a port without a session
(serial recovery, Zephyr's SMP) the traffic is as it went over the wire, firmware and console text
included. Not in it: keys, passphrases, PINs, certificates, tickets, case numbers, the user's name.
A service-port lock's sessions are in it as they are on the wire, encrypted under keys that existed
in the lock's and svcport's memory only.
"""


@dataclass(frozen=True, slots=True)
class Failure:
    """What there is to tell.

    Attributes:
        command: its name, such as `restore`.
        report: the JSON object that it reports.
        traffic: a capture of the port.
        trace: where svcport itself failed; empty if it did not.
    """

    command: str
    report: Mapping[str, Any]
    traffic: bytes
    trace: str = ""

    @property
    def serial(self) -> str | None:
        """The lock's, if it had said by then."""
        lock = self.report.get("lock")
        serial = lock.get("serial") if isinstance(lock, Mapping) else None
        return serial if isinstance(serial, str) and serial else None

    @property
    def subject(self) -> str:
        """The lock's serial or the port, as a part of a file's name."""
        about = self.serial or str(self.report.get("port") or "port")
        return _UNUSUAL.sub("-", about).strip("-.")[-40:] or "port"


def write_bundle(home: Home, failure: Failure, now: datetime) -> Path:
    """Write a bundle into the home and let the oldest go.

    Raises:
        RecordsError: it cannot be written (`storage`); nothing of it is left then.
    """
    utc = now.astimezone(UTC)
    moment = f"{utc:%Y%m%dT%H%M%S}.{utc.microsecond // 1000:03}Z"
    name = f"{moment}-{failure.command}-{failure.subject}-{os.urandom(2).hex()}.zip"
    path = home.bundles / name
    write_whole(path, _packed(home, failure, now), private=True)
    _prune(home.bundles)
    return path


def _packed(home: Home, failure: Failure, now: datetime) -> bytes:
    clean = _Cleaner(home)
    members: dict[str, str | bytes] = {
        "README.txt": _README,
        "report.json": _json(clean(dict(failure.report))),
        "versions.json": _json(_versions()),
        "host.json": _json(clean(_host())),
        "journal.json": _json(clean(_journal(home, failure.serial))),
        CAPTURE: failure.traffic,
    }
    if failure.trace:
        members["traceback.txt"] = str(clean(failure.trace))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name, now.astimezone(UTC).timetuple()[:6])
            info.external_attr = 0o600 << 16
            archive.writestr(info, content, zipfile.ZIP_DEFLATED)
    return packed.getvalue()


def _json(value: object) -> str:
    return json.dumps(value, indent=1, ensure_ascii=True, default=str) + "\n"


def _prune(folder: Path) -> None:
    with contextlib.suppress(OSError):  # another process may be at it too
        bundles = sorted(path for path in folder.iterdir() if _NAME.fullmatch(path.name))
        for path in bundles[:-KEPT]:
            path.unlink(missing_ok=True)


class _Cleaner:
    """Takes the names of folders and users out of texts, wherever they are in a JSON value."""

    def __init__(self, home: Home) -> None:
        self._words = {str(home.root.absolute()): "<svcport-home>"}
        with contextlib.suppress(RuntimeError):  # a user without a home has no path to hide
            self._words[str(Path.home())] = "~"
        self._words.pop("/", None)

    def __call__(self, value: Any) -> Any:  # noqa: ANN401 - JSON
        match value:
            case str():
                return self._text(value)
            case Mapping():
                return {key: self(one) for key, one in value.items()}
            case list() | tuple():
                return [self(one) for one in value]
            case _:
                return value

    def _text(self, text: str) -> str:
        for path, word in self._words.items():
            text = text.replace(path, word)
        return _USER.sub(r"\1<user>", text)


def _versions() -> dict[str, Any]:
    packages = {name: _version(name) for name in _needed()}
    return {"svcport": __version__, "python": platform.python_version(), "packages": packages}


def _needed() -> list[str]:
    """The packages that svcport says it needs, extras left out."""
    try:
        wanted = metadata.requires("svcport") or []
    except metadata.PackageNotFoundError:  # run out of a checkout
        return []
    plain = (one for one in wanted if "extra" not in one)
    return sorted(re.split(r"[^A-Za-z0-9._-]", one, maxsplit=1)[0] for one in plain)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _host() -> dict[str, Any]:
    try:
        ports = [port.as_json() for port in found_ports()]
    except OSError as error:
        ports = [{"verdict": f"cannot be listed: {error.strerror or error}"}]
    return {
        "system": platform.system(),
        "release": platform.release(),
        "machine": platform.machine(),
        "implementation": platform.python_implementation(),
        "ports": ports,
    }


def _journal(home: Home, serial: str | None) -> dict[str, Any]:
    """The newest entries about the lock, newest last; what cannot be read is said."""
    if serial is None:
        return {"entries": [], "why": "the lock had not said who it is"}
    if not home.ledger.exists():
        return {"entries": [], "why": "this home has no ledger"}
    found: list[dict[str, Any]] = []
    try:
        with LedgerView.open_for_audit(home.ledger) as view:
            size = view.size
            found += _entries(view, max(0, size - ENTRIES_READ), serial)
    except SvcportError as error:
        return {"entries": found[-ENTRIES_KEPT:], "why": error.message}
    return {"entries": found[-ENTRIES_KEPT:], "size": size}


def _entries(view: LedgerView, start: int, serial: str) -> Iterator[dict[str, Any]]:
    for stored in view.entries(start):
        try:
            entry = read_entry(Sealed.parse(stored.data), view.realm, view.origin)
        except ProtocolError as error:
            yield {"index": stored.index, "unreadable": str(error)}
            continue
        if entry.body.lock_serial == serial:
            yield _entry(stored.index, entry)


def _entry(index: int, entry: LedgerEntry) -> dict[str, Any]:
    body = entry.body
    receipt = entry.statement.body if entry.statement is not None else None
    return {
        "index": index,
        "time": f"{datetime.fromtimestamp(body.host_time, UTC):%Y-%m-%dT%H:%M:%SZ}",
        "kind": body.kind.name.lower(),
        "op": body.op.name.lower() if body.op is not None and body.op.name else None,
        "image": None if body.image_digest is None else body.image_digest.hex()[:16],
        "receipt": receipt.seq if isinstance(receipt, Receipt) else None,
        "result": receipt.result.name.lower() if isinstance(receipt, Receipt) else None,
    }


def capture_of(path: Path) -> bytes:
    """The capture in a bundle; CaptureError if the zip file holds none that can be read."""
    try:
        with zipfile.ZipFile(path) as archive:
            info = archive.getinfo(CAPTURE)
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise CaptureError(f"{CAPTURE} in the zip file is packed in an unusual way")
            if info.file_size > FILE_LIMIT:
                raise CaptureError(
                    f"{CAPTURE} in the zip file has {info.file_size} bytes, "
                    f"wanted at most {FILE_LIMIT}"
                )
            with archive.open(info) as member:
                return member.read(FILE_LIMIT)
    except KeyError as error:
        raise CaptureError(f"the zip file holds no {CAPTURE}, so it is no bundle") from error
    # what the library raises over a zip file that somebody has damaged or made
    except (
        zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError, struct.error,
        OverflowError, IndexError, AttributeError, TypeError,
    ) as error:  # fmt: skip
        raise CaptureError(f"the zip file cannot be read: {error}") from error
