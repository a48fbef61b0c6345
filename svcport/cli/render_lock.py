"""What locks told, as text for a technician: who they are, what is wrong, what was done to them.

Symbols always come with words, and all of it is ASCII: the laptop may be old.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from svcport.cli.tables import Block, Table

Document = Mapping[str, Any]

MARKS: Final = {"pass": "[ok]", "fail": "[FAIL]", "unknown": "[?]", "refused": "[no]"}
_DIGEST_SHOWN: Final = 16
"""Hex digits of a digest that people get to see; JSON has all of them."""

_KIB: Final = 1024


def lock(found: Document) -> Iterator[Block]:
    """Who the lock is, and what it holds."""
    yield f"lock       {_or_unknown(found.get('serial'))}"
    yield f"kind       {found.get('kind')}"
    for name, key in (("model", "model"), ("hardware", "hardware"), ("batch", "batch")):
        yield f"{name:<10} {_or_unknown(found.get(key))}"
    yield f"bootloader {_or_unknown(found.get('bootloader'))}"
    yield f"battery    {_battery(found.get('battery_mv'))}"
    counter = found.get("security_counter")
    if counter is not None:
        yield f"counter    {counter} (images below it do not boot)"
    slots = found.get("slots") or ()
    if slots:
        yield Table.of(
            ("slot", "version", "state", "boots", "counter", "digest"), map(_slot, slots)
        )


def identify(document: Document) -> Iterator[Block]:
    """The lock, and what its words are worth."""
    yield from _lock_of(document)
    yield from _assurance(document)


def _assurance(document: Document) -> Iterator[Block]:
    if document.get("assurance"):
        yield f"assurance  {document['assurance']}: all of this is claimed, nothing is signed"


def diagnose(document: Document) -> Iterator[Block]:
    """Findings first: they are what was asked for."""
    for finding in document.get("findings", ()):
        yield f"* {finding['code']} ({finding['severity']}, {finding['confidence']})"
        yield from (f"    seen: {item}" for item in finding.get("evidence", ()))
        if finding.get("action"):
            yield f"    do:   {finding['action']}"
    for advisory in document.get("advisories", ()):
        yield f"* advisory {_advisory(advisory)}"
    if document.get("lock"):
        yield ""
        yield from lock(document["lock"])


def checks(document: Document) -> Iterator[Block]:
    """One line a check."""
    rows = [
        (MARKS.get(check["result"], "[?]"), check["name"], check.get("detail") or "")
        for check in document.get("checks", ())
    ]
    rows += [("", one["name"], one.get("detail") or "") for one in document.get("reported", ())]
    if rows:
        yield Table.of(("", "check", "what was seen"), rows)


def restore(document: Document) -> Iterator[Block]:
    """A plan, or what was done."""
    if "plan" in document:
        yield from _plan(document)
        return
    found = document.get("lock")
    if found:
        yield f"lock       {_or_unknown(found.get('serial'))}"
    for name in ("before", "after"):
        state = document.get(name)
        if state:
            yield f"{name:<10} {_running(state)}"
    if document.get("transfer"):
        yield f"transfer   {_transfer(document['transfer'])}"
    receipt, entry = document.get("receipt"), document.get("ledger")
    if receipt:
        yield f"receipt    {receipt['seq']}, {receipt['result']}"
    if entry:
        yield f"ledger     entry {entry['index']} of {entry['origin']}"
    yield from _assurance(document)
    yield from _refusals(document)


def logs(document: Document) -> Iterator[Block]:
    """The event log as it was read."""
    if "events" not in document:
        return
    events = document["events"]
    if events:
        columns = tuple(dict.fromkeys(key for event in events for key in event))
        yield Table.of(columns, ([_cell(event.get(key)) for key in columns] for event in events))
    else:
        yield "no events"


def reconcile(document: Document) -> Iterator[Block]:
    """What was found out about acts that were left open."""
    for name, words in (
        ("recovered", "receipts fetched"),
        ("closed", "acts closed"),
        ("open", "acts still open"),
    ):
        if name not in document:
            continue
        found = document[name]
        yield f"{words}: {len(found)}"
        yield from (f"    {_cell(item)}" for item in found)


def _lock_of(document: Document) -> Iterator[Block]:
    if document.get("lock"):
        yield from lock(document["lock"])


def _slot(slot: Document) -> tuple[str, ...]:
    return (
        _cell(slot.get("slot")),
        _cell(slot.get("version")),
        _cell(slot.get("state")),
        _either(slot.get("bootable"), "yes", "no", "?"),
        _cell(slot.get("security_counter")),
        _cell(slot.get("digest"))[:_DIGEST_SHOWN],
    )


def _plan(document: Document) -> Iterator[Block]:
    for number, step in enumerate(document["plan"], 1):
        yield f"{number}. {_step(step)}"
    yield from _refusals(document)


def _step(step: object) -> str:
    if not isinstance(step, Mapping):
        return str(step)
    mark = MARKS.get(str(step.get("result")), "")
    return f"{mark} {step.get('name')}: {step.get('detail')}".lstrip()


def _refusals(document: Document) -> Iterator[Block]:
    refusals = document.get("refusals", ())
    # a single one is the report's own message, which is told anyway
    for refusal in refusals if len(refusals) > 1 or "plan" in document else ():
        yield f"[no] {refusal['reason']}: {refusal['message']}"


def _running(state: Document) -> str:
    confirmed = _either(state.get("confirmed"), ", confirmed", ", not confirmed", "")
    digest = _cell(state.get("digest"))[:_DIGEST_SHOWN]
    return f"{_or_unknown(state.get('version'))} ({digest}){confirmed}"


def _transfer(transfer: Document) -> str:
    units = transfer["units"]
    sent = units["raw"] + units["deflate"]
    size, wire = transfer["image_bytes"] / _KIB, transfer["wire_bytes"] / _KIB
    resumed = ", resumed" if transfer.get("resumed") else ""
    sent_in = f"{size:.0f} KiB image, {wire:.0f} KiB sent in {transfer['seconds']:.1f} s"
    if transfer["baud"] is None:  # a device of another kind: no sectors, no speed of its own
        return f"{sent_in}; {sent} chunks{resumed}"
    return (
        f"{sent_in} at {transfer['baud']} baud; {sent} sectors sent,"
        f" {units['skipped']} already there{resumed}"
    )


def _battery(millivolts: Document | None) -> str:
    known = millivolts or {}
    if all(volts is None for volts in known.values()):
        return "unknown"
    return ", ".join(
        f"{volts / 1000:.2f} V {words}"
        for words, volts in (
            ("at rest", known.get("rest")),
            ("under load", known.get("load")),
        )
        if volts is not None
    )


def _advisory(advisory: object) -> str:
    if not isinstance(advisory, Mapping):
        return str(advisory)
    known = (advisory.get(key) for key in ("id", "title", "summary", "action"))
    return ": ".join(str(part) for part in known if part)


def _either(value: object, yes: str, no: str, unknown: str) -> str:
    if isinstance(value, bool):
        return yes if value else no
    return unknown


def _cell(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_cell(item)}" for key, item in value.items())
    return "-" if value is None else str(value)


def _or_unknown(value: object) -> str:
    return "unknown" if value is None else str(value)
