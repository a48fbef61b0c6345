"""Reports as text for a technician who is tired: the answer first, plain words, then the facts.

Knows nothing of streams. Gives blocks of text and tables; `output` shows them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from svcport.cli import render_lock, render_replay
from svcport.cli.render_lock import MARKS, Document
from svcport.cli.tables import Block, Table
from svcport.errors import Outcome

_WELL: Final = (Outcome.OK, Outcome.NOTHING_TO_DO)
_RESULT_WORDS: Final = {
    Outcome.OK: "[ok] done",
    Outcome.NOTHING_TO_DO: "[ok] nothing to do",
    Outcome.DIFFERS: "[FAIL] no",
    Outcome.REFUSED: "[no] refused",
    Outcome.FAILED: "[FAIL] failed",
    Outcome.UNKNOWN: "[?] unknown",
}


def blocks(command: str, document: Document) -> Iterator[Block]:
    """Everything that a report has to say on stdout.

    Args:
        command: the command's name as in the schema, such as `image-verify`.
        document: the report as its JSON.
    """
    if document["outcome"] in _WELL and document["message"]:
        yield _labelled(document)
    body = _BODIES.get(command)
    if body is not None:
        yield from body(document)
    yield from _warnings(document)
    yield from _bundle(document)


def bench(documents: Sequence[Document]) -> Iterator[Block]:
    """One row a port, for several locks at once; then what to know about some of them."""
    rows = (
        (
            str(document.get("port", "-")),
            str((document.get("lock") or {}).get("serial") or "-"),
            _RESULT_WORDS[Outcome(document["outcome"])],
            document["message"],
        )
        for document in documents
    )
    yield Table.of(("port", "lock", "result", "what happened"), rows)
    for document in documents:
        yield from _warnings(document, f"{document.get('port', '-')}: ")
    for document in documents:
        yield from _bundle(document, f"{document.get('port', '-')}: ")


def _warnings(document: Document, prefix: str = "") -> Iterator[Block]:
    """What stopped nothing, but should be known, unless the report's own message says it."""
    for warning in document.get("warnings", ()):
        if warning["message"] in document["message"]:
            continue
        yield f"[!] {prefix}{warning['message']}"
        if warning.get("hint"):
            yield f"    hint: {warning['hint']}"


def _bundle(document: Document, prefix: str = "") -> Iterator[Block]:
    """Where a failure's bundle is."""
    path = document.get("bundle")
    # what a vendor gives a technician is a bundle too, and tells of itself
    if path is not None and document["outcome"] not in _WELL:
        yield f"bundle     {prefix}{path} (for a bug report; svcport replay shows what is in it)"


def _labelled(document: Document) -> str:
    label = document.get("file")
    return document["message"] if label is None else f"{label}: {document['message']}"


def _image(document: Document) -> Iterator[Block]:
    if document["outcome"] == Outcome.DIFFERS:
        yield f"{document['file']}: does not hold"
    for name, key in _IMAGE_LINES.items():
        value = document.get(key)
        if value not in (None, [], ""):
            text = ", ".join(value) if isinstance(value, list) else str(value)
            yield f"  {name:<12} {text}"
    problem = document.get("problem")
    if problem:
        yield f"  {'problem':<12} {problem['reason']}: {problem['message']}"


_IMAGE_LINES: Final = {
    "version": "version",
    "model": "model",
    "hardware": "hardware",
    "batches": "batches",
    "counter": "security_counter",
    "size": "size",
    "hash": "hash",
    "digest": "digest",
    "signer": "signer",
    "key": "key",
    "features": "features",
}


def _image_sign(document: Document) -> Iterator[Block]:
    if "digest" in document:
        yield f"  digest       {document['digest']}"


def _ports(document: Document) -> Iterator[Block]:
    ports = document.get("ports") or ()
    if ports:
        columns = ("port", "adapter", "usb_path", "verdict")
        yield Table.of(
            ("port", "adapter", "usb path", "verdict"),
            ([str(port.get(key) or "-") for key in columns] for port in ports),
        )


def _doctor(document: Document) -> Iterator[Block]:
    for check in document.get("checks", ()):
        yield f"{MARKS.get(check['result'], '[?]'):<7}{check['name']}: {check['detail']}"
        if check.get("cure"):
            yield f"       cure: {check['cure']}"


def _setup(document: Document) -> Iterator[Block]:
    for key in ("holder", "role", "valid_until"):
        if document.get(key) is not None:
            yield f"{key.replace('_', ' '):<12} {document[key]}"
    if document.get("training"):
        yield "training     yes: this home works with simulated locks only"


def _audit_list(document: Document) -> Iterator[Block]:
    listed = document.get("list") or ()
    if listed:
        every = dict.fromkeys(key for entry in listed for key in entry)
        told = any(entry.get("assurance") is not None for entry in listed)
        columns = tuple(key for key in every if told or key != "assurance")
        yield Table.of(
            columns,
            (["-" if entry.get(k) is None else str(entry[k]) for k in columns] for entry in listed),
        )


def _audit_verify(document: Document) -> Iterator[Block]:
    for key in ("origin", "stations", "entries", "receipts", "locks", "root", "vkey"):
        value = document.get(key)
        if value is not None:
            count = len(value) if isinstance(value, list) else value
            yield f"{key:<9} {count}"
    for problem in document.get("problems") or ():
        yield f"[FAIL] {_problem(problem)}"
    for act in document.get("open") or ():
        yield f"[?] open act: {_problem(act)}"


def _audit_cosign(document: Document) -> Iterator[Block]:
    for key in ("origin", "size", "witness", "cosignature"):
        if document.get(key) is not None:
            yield f"{key:<11} {document[key]}"


def _problem(problem: object) -> str:
    if not isinstance(problem, Mapping):
        return str(problem)
    return ", ".join(f"{key} {value}" for key, value in problem.items() if value is not None)


def _lab_init(document: Document) -> Iterator[Block]:
    if "technician" in document:
        yield f"technician  {document['technician']}"
    if "locks" in document:
        yield f"locks       {', '.join(map(_problem, document['locks']))}"


def _issuer(document: Document) -> Iterator[Block]:
    for key, label in _ISSUER_LINES.items():
        value = document.get(key)
        if value not in (None, [], ""):
            text = ", ".join(value) if isinstance(value, list) else str(value)
            yield f"{label:<13}{text}"
    if document.get("training"):
        yield "training     yes: for simulated locks only"
    tickets = document.get("tickets") or ()
    if tickets:
        rows = ([str(ticket[key] or "-") for key in ("counter", "file")] for ticket in tickets)
        yield Table.of(("counter", "ticket"), rows)


_ISSUER_LINES: Final = {
    "root": "root",
    "root_next": "next root",
    "manufacturer": "manufacturer",
    "issuer": "issuer",
    "role": "role",
    "key": "key",
    "x25519": "x25519 key",
    "ops": "may",
    "op": "may",
    "image": "image",
    "revoked": "revoked",
    "valid_until": "valid until",
}


def _issuer_log(document: Document) -> Iterator[Block]:
    columns = ("time", "kind", "lock", "ops", "first", "last", "holder", "operator")
    listed = document.get("list") or ()
    if listed:
        rows = ([str(entry.get(key, "-")) for key in columns] for entry in listed)
        yield Table.of(columns, rows)


def _explain(document: Document) -> Iterator[Block]:
    if "reasons" in document:
        yield Table.of(
            ("reason", "meaning"), ((one["word"], one["meaning"]) for one in document["reasons"])
        )
    for number, step in enumerate(document.get("do", ()), 1):
        yield f"  {number}. {step}"
    if document.get("never"):
        yield f"  Never: {document['never']}"


_BODIES: Final[dict[str, Callable[[Mapping[str, Any]], Iterator[Block]]]] = {
    "identify": render_lock.identify,
    "diagnose": render_lock.diagnose,
    "verify": render_lock.checks,
    "restore": render_lock.restore,
    "rollback": render_lock.restore,
    "logs": render_lock.logs,
    "reconcile": render_lock.reconcile,
    "image-inspect": _image,
    "image-verify": _image,
    "image-sign": _image_sign,
    "ports": _ports,
    "doctor": _doctor,
    "setup": _setup,
    "audit-list": _audit_list,
    "audit-verify": _audit_verify,
    "audit-export": _audit_verify,
    "audit-prove": _audit_verify,
    "audit-cosign": _audit_cosign,
    "audit-cross-check": _audit_verify,
    "lab-init": _lab_init,
    "replay": render_replay.replay,
    "explain": _explain,
    "issuer-init": _issuer,
    "issuer-credential": _issuer,
    "issuer-ticket": _issuer,
    "issuer-epoch": _issuer,
    "issuer-lock": _issuer,
    "issuer-log": _issuer_log,
}
