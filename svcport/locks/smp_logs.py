"""What a Zephyr application has written down: log files in its file system, facts of its shell."""

from __future__ import annotations

from typing import Final

from protocol.smp_files import FileDownload, ShellExecute
from svcport.locks.device import DeviceLog
from svcport.locks.smp_errors import NonsenseError, SmpRefusedError
from svcport.locks.smp_link import SmpLink

LOG_FILES: Final = tuple(f"/lfs1/log.{number:04}" for number in range(10))
"""Where Zephyr's log backend for file systems writes, by its defaults."""

LOG_LIMIT: Final = 65_536
"""Most bytes of one file: a log is rotated long before."""

SHELL_QUESTIONS: Final = (("kernel", "version"), ("kernel", "uptime"))
"""Commands that only print."""


def read_logs(link: SmpLink) -> tuple[DeviceLog, ...]:
    """Everything that is there; a device without files and shell gives nothing.

    Raises:
        SilentDeviceError, LinkLostError: it does not answer any more.
    """
    files = [DeviceLog(name, body) for name in LOG_FILES if (body := download(link, name))]
    return (*files, *_shell(link))


def download(link: SmpLink, name: str) -> bytes | None:
    """A file's bytes, at most LOG_LIMIT; None if the device has no such file, or no files.

    Raises:
        SilentDeviceError, LinkLostError: it does not answer any more.
    """
    body = b""
    size = 0
    while True:
        try:
            piece = link.call(FileDownload(len(body), name), f"read its file {name}")
        except (SmpRefusedError, NonsenseError):
            return body or None
        size = size if piece.len is None else piece.len
        if piece.off != len(body):
            return body or None
        body += piece.data
        if not piece.data or len(body) >= min(size, LOG_LIMIT):
            return body[:LOG_LIMIT]


def _shell(link: SmpLink) -> tuple[DeviceLog, ...]:
    said = []
    for argv in SHELL_QUESTIONS:
        doing = f"run {' '.join(argv)!r}"
        try:
            reply = link.call(ShellExecute(argv), doing)
        except (SmpRefusedError, NonsenseError):
            break
        if reply.ret == 0:
            said.append(DeviceLog(f"shell: {' '.join(argv)}", reply.o.strip().encode()))
    return tuple(said)
