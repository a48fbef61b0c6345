"""`svcport replay`: what went over a port, out of a capture or a failure bundle."""

from __future__ import annotations

import io
import stat
from pathlib import Path
from typing import Any, BinaryIO, Final

import click

from svcport.cli.answer import Answer
from svcport.cli.command import Command
from svcport.cli.exits import Exit
from svcport.cli.options import contradiction
from svcport.cli.words import counted
from svcport.diagnosis.traffic.replay import Replay
from svcport.errors import FailedError, Outcome, Reason
from svcport.transport.capturefile import FILE_LIMIT, CaptureError, CaptureReader

_ZIP: Final = b"PK"


@click.command("replay", cls=Command)
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE")
@click.option("--port", metavar="P", help="Only what went over this port.")
@click.option("--raw", is_flag=True, help="The first bytes of what was nothing, in hex.")
def command(file: Path, port: str | None, raw: bool) -> Answer:
    r"""Show a capture, or the one in a bundle, decoded for a bug report.

    FILE is what --capture wrote, or a bundle that a failure left. It has every byte that went over
    the ports, both ways: a service-port lock's sessions as they are on the wire, which nobody can
    open any more, but firmware and console text in plain from ports that have no session.

    What is shown has no secrets: sealed frames, handshakes, firmware and other byte strings only by
    their size, no text that was typed, and blanks for what may be a password or a key in texts of
    the device. With --raw, bytes that could not be decoded are shown as they are: look at them
    before you give them away.

    \b
      svcport restore --capture visit.capture
      svcport replay visit.capture
      svcport replay 20261122T233000.118Z-restore-SL-000042-1f0c.zip --json
    """
    replay = Replay(port=port, raw=raw)
    stream = _opened(file)
    with stream:
        reader = CaptureReader(stream)
        damage = _read(reader, replay)
    if port is not None and port not in replay.names.values():
        there = ", ".join(sorted(set(replay.names.values()))) or "none"
        raise contradiction(f"--port {port} is not in {file}, which has {there}")
    return _answer(replay, reader.torn, damage)


def _read(reader: CaptureReader, replay: Replay) -> CaptureError | None:
    """Take every record up to the end, or to where the file is damaged."""
    damage = None
    try:
        for record in reader:
            replay.add(record)
    except CaptureError as error:
        damage = error
    replay.finish()
    return damage


def _opened(path: Path) -> BinaryIO:
    """The capture in a file; RefusedError (`usage`) for what is none, FailedError (`storage`)."""
    try:
        if stat.S_ISDIR(path.stat().st_mode) or not stat.S_ISREG(path.stat().st_mode):
            raise CaptureError(f"{path} is no file")
        stream = path.open("rb")
    except (OSError, ValueError) as error:
        text = getattr(error, "strerror", None) or error
        raise FailedError(
            Reason.STORAGE, f"{path}: {text}", hint="check the name and who may read it"
        ) from error
    start = stream.read(len(_ZIP))
    size = stream.seek(0, io.SEEK_END)
    stream.seek(0)
    if start == _ZIP:
        # the zip library is loaded for bundles only
        from svcport.operations.bundle import capture_of

        stream.close()
        return io.BytesIO(capture_of(path))
    if size > FILE_LIMIT:
        stream.close()
        raise CaptureError(f"{path} has {size} bytes, a capture has at most {FILE_LIMIT}")
    return stream


def _answer(replay: Replay, torn: int, damage: CaptureError | None) -> Answer:
    records, ports = replay.records(), replay.ports()
    about = replay.about
    members: dict[str, Any] = {
        "capture": {
            "svcport": about.svcport or None,
            "command": about.command or None,
            "started": about.started or None,
        },
        "records": records,
        "summary": {
            "ports": ports,
            "left_out": replay.left_out,
            "foreign_records": replay.foreign,
            "torn_bytes": torn,
            "damaged_at": None if damage is None else damage.at,
        },
    }
    went = sum(one["bytes"]["host"] + one["bytes"]["lock"] for one in ports)
    message = (
        f"{counted(len(records), 'record')}, {counted(went, 'byte')} "
        f"over {counted(len(ports), 'port')}"
    )
    if damage is not None:
        hint = "what is shown came before the damage"
        return Answer(Outcome.FAILED, damage.message, Reason.STORAGE, hint, members, Exit.FAILED)
    if torn:
        members["warnings"] = [
            {
                "reason": str(Reason.STORAGE),
                "message": f"the capture ends within a record of which {torn} bytes are there",
                "hint": "whoever wrote it was killed, or still writes",
            }
        ]
    return Answer.ok(message, **members)
