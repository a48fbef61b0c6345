"""A replayed capture as text: a line for each thing that happened, then what it adds up to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from svcport.cli.tables import Block

Document = Mapping[str, Any]

_ARROWS: Final = {"host": ">", "lock": "<"}
_BATCH: Final = 500
"""Lines that are printed at once."""


def replay(document: Document) -> Iterator[Block]:
    """Records, then the summary."""
    capture = document.get("capture")
    if capture is None:
        return
    told = [f"{name} {capture[name]}" for name in ("svcport", "command", "started")
            if capture.get(name)]  # fmt: skip
    yield f"capture of {', '.join(told)}" if told else "capture of an unknown writer"
    ports = document["summary"]["ports"]
    several = len(ports) > 1
    lines = [_line(record, several=several) for record in document["records"]]
    for start in range(0, len(lines), _BATCH):
        yield "\n".join(lines[start : start + _BATCH])
    yield from _summary(document["summary"])


def _line(record: Document, *, several: bool) -> str:
    port = f" {record['port']}" if several else ""
    return (
        f"{record['time']:11.6f}{port} {_ARROWS.get(record.get('from', ''), '-')} {_what(record)}"
    )


def _what(record: Document) -> str:
    again = " again" if record.get("again") else ""
    match record["kind"]:
        case "frame":
            return f"{record['frame']} {record['seq']}{again}: {_frame(record)}"
        case "smp":
            return (
                f"smp {record['op']} {record['name']}, seq {record['seq']}{again}: {_smp(record)}"
            )
        case "text":
            return f"text: {record['text']}"
        case "garbage":
            shown = f" {record['hex']}" if "hex" in record else ""
            return f"{record['size']} bytes of garbage ({record['why']}){shown}"
        case "baud":
            return f"{record['baud']} baud"
        case "opened":
            return f"port opened{again} at {record['baud']} baud"
        case "cut":
            return f"{record['missing_bytes']} bytes are missing here ({record['why']})"
        case kind:
            message = record.get("message")
            return f"port {kind}: {message}" if message else f"port {kind}"


def _frame(record: Document) -> str:
    if "versions" in record:
        return f"versions {record['versions'][0]} to {record['versions'][1]}"
    if "version" in record:
        return f"version {record['version']}, profile {record['profile']}"
    if "handshake" in record:
        return f"handshake, {record['handshake']} bytes"
    if "number" in record:
        return f"number {record['number']}, sealed, {record['sealed']} bytes"
    if "sealed" in record:
        return f"sealed, {record['sealed']} bytes"
    if "intact" in record:
        return "test pattern" if record["intact"] else "damaged test pattern"
    return f"{record['length']} bytes"


def _smp(record: Document) -> str:
    found = record["map"]
    told = f"{record['length']} bytes that are no map" if found is None else _plain(found)
    return f"{told} ({record['framing']}, SMP {record['version']})"


def _plain(value: object) -> str:
    """A value of a map, short."""
    match value:
        case Mapping():
            return "{" + ", ".join(f"{key}: {_plain(one)}" for key, one in value.items()) + "}"
        case list():
            return f"[{', '.join(map(_plain, value))}]"
        case str():
            return " / ".join(value.splitlines())
        case None:
            return "null"
        case _:
            return str(value).lower() if isinstance(value, bool) else str(value)


def _summary(summary: Document) -> Iterator[Block]:
    for port in summary["ports"]:
        yield from _port(port)
    if summary["left_out"]:
        yield f"[!] {summary['left_out']} more records are counted, and not shown"
    if summary["foreign_records"]:
        yield f"[!] {summary['foreign_records']} records of kinds that a newer svcport writes"


def _port(port: Document) -> Iterator[Block]:
    yield f"port       {port['port']}, {port['seconds']:.3f} s"
    yield (
        f"opened     {port['opened']} times, not opened {port['not_opened']}, "
        f"lost {port['lost']}, closed {port['closed']}"
    )
    for side, name in (("host", "to lock"), ("lock", "from lock")):
        counts = ", ".join(f"{n} {kind}" for kind, n in port["frames"][side].items())
        told = [f"{port['bytes'][side]} bytes", counts or "no frames"]
        told += [
            f"{port[key][side]} {words}"
            for key, words in _COUNTS.items()
            if port[key][side]
        ]  # fmt: skip
        yield f"{name:<10} {'; '.join(told)}"
    yield f"bauds      {', '.join(map(str, port['bauds'])) or 'none'}"
    if port["upload_bytes"]:
        yield f"upload     {port['upload_bytes']} bytes of images or transfer blocks"
    if port["missing_bytes"]:
        yield f"missing    {port['missing_bytes']} bytes"
    for gap in port["gaps"]:
        yield f"silence    {gap['seconds']:.3f} s from {gap['time']:.6f} on"


_COUNTS: Final = {
    "smp": "SMP packets",
    "resends": "sent again",
    "crc_errors": "with a wrong CRC",
    "garbage_bytes": "bytes of garbage",
    "text_lines": "lines of text",
}
