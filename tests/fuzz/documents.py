"""Harnesses of documents: the catalogue's, the vendor's, a lab's, and what people type."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import fields
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import click
from fuzz.harness import Harness, NotTakenError, nothing_more, split
from simulator import trainer
from tuf.api.metadata import Metadata, MetaFile

from images import ImageError, Version
from protocol.errors import ProtocolError
from svcport.authorisation import trust
from svcport.authorisation.trust import Vendor
from svcport.catalogue.advisory import Action, Advisory, Affected
from svcport.catalogue.document import load
from svcport.catalogue.faults import TUF_ERRORS, CatalogueError
from svcport.catalogue.keys import VendorKeys
from svcport.catalogue.publisher import Publisher
from svcport.catalogue.release import ReleaseFacts, full_version
from svcport.catalogue.trusted import Bundle, Trusted, judge, read_targets, root_version
from svcport.cli.issuer_options import Ops, scope_of
from svcport.cli.logs import Since
from svcport.cli.options import CaseNumber, Seconds
from svcport.errors import RefusedError
from svcport.home import Home
from svcport.lab.run import parse_address
from svcport.simulator.factory import Factory
from svcport.simulator.faults import Faults, FaultSpecError

MODEL = "demo-lock"
START = datetime(2026, 11, 1, tzinfo=UTC)


def _check_advisory(data: bytes, advisory: Advisory) -> None:
    assert advisory.build() == data
    advisory.concerns(MODEL, None, "2.4.0+0")
    assert advisory.path.startswith("advisories/")


def _release(data: bytes) -> ReleaseFacts:
    return ReleaseFacts.parse(load(data, "a release"))


def _check_release(_data: bytes, facts: ReleaseFacts) -> None:
    assert ReleaseFacts.parse(facts.build()) == facts
    assert full_version(facts.version) == facts.version


def _bundle(data: bytes) -> Bundle:
    return Bundle.parse(data)


def _check_bundle(data: bytes, bundle: Bundle) -> None:
    assert bundle.build() == data
    try:
        trusted = judge(bundle)
    except (*TUF_ERRORS, CatalogueError):
        return
    assert trusted == judge(_stock())


def _metadata(data: bytes) -> None:
    """A metadata file alone: as a root, and as top-level targets."""
    assert root_version(data) >= 1
    read_targets(data)


def _signed_release(data: bytes) -> Trusted:
    """The firmware role signs whatever it likes about its targets."""
    role = load(data, "a role")
    if not isinstance(role, dict):
        raise NotTakenError
    names = [name for name, _ in _stock().roles]
    firmware = next(name for name in names if name.startswith("fw-"))
    old = Metadata.from_bytes(dict(_stock().roles)[firmware]).to_dict()
    try:
        signed = Metadata.from_dict(
            {"signed": {**old["signed"], "targets": role}, "signatures": []}
        )
    except (*TUF_ERRORS, AttributeError) as error:  # from_bytes turns all of them into one
        raise NotTakenError from error
    return judge(_with_role(firmware, _sign(signed, _keys().firmware[MODEL])))


def _with_role(name: str, data: bytes) -> Bundle:
    stock = _stock()
    snapshot = Metadata.from_bytes(stock.snapshot)
    meta: Any = snapshot.signed
    meta.meta[f"{name}.json"] = MetaFile.from_data(1, data, ["sha256"])
    meta.meta[f"{name}.json"].version = Metadata.from_bytes(data).signed.version
    newest = _sign(snapshot, _keys().snapshot)
    timestamp = Metadata.from_bytes(stock.timestamp)
    stamp: Any = timestamp.signed
    stamp.snapshot_meta = MetaFile.from_data(meta.version, newest, ["sha256"])
    roles = tuple((role, data if role == name else old) for role, old in stock.roles)
    return Bundle(stock.roots, _sign(timestamp, _keys().timestamp), newest, stock.targets, roles)


def _sign(metadata: Any, signers: tuple[Any, ...]) -> bytes:
    metadata.signatures.clear()
    for signer in signers:
        metadata.sign(signer, append=True)
    found: bytes = metadata.to_bytes()
    return found


def _check_trusted(_data: bytes, trusted: Trusted) -> None:
    for release in trusted.releases:
        assert release.path.startswith(f"{release.model}/fw/")
        assert ReleaseFacts.parse(ReleaseFacts.build(release)).version == release.version


@cache
def _keys() -> VendorKeys:
    return VendorKeys.from_seed(b"fuzz", (MODEL,))


@cache
def _stock() -> Bundle:
    """A catalogue with one release, as a home stores it."""
    with tempfile.TemporaryDirectory() as folder:
        publisher = Publisher.create(Path(folder), _keys(), now=START)
        publisher.add_release(b"image", _facts())
        publisher.publish_advisory(_advisory())
        publisher.set_epoch(b"epoch")
        publisher.publish(START)
        metadata = Path(folder) / "metadata"

        def newest(role: str) -> bytes:
            found = metadata.glob(f"*.{role}.json")
            return max(found, key=lambda path: int(path.name.partition(".")[0])).read_bytes()

        targets = newest("targets")
        roles = Metadata.from_bytes(targets).to_dict()["signed"]["delegations"]["roles"]
        return Bundle(
            (newest("root"),),
            (metadata / "timestamp.json").read_bytes(),
            newest("snapshot"),
            targets,
            tuple((role["name"], newest(role["name"])) for role in roles),
        )


def _facts() -> ReleaseFacts:
    return ReleaseFacts(MODEL, "2.4.1+0", 3, bytes(32), "ab" * 32, ("A",), approved=True)


def _advisory() -> Advisory:
    affected = (Affected(MODEL, ("2026-07",), ("2.4.0+0",)),)
    return Advisory("SVA-2026-003", "title", "summary", START, Action.WITHDRAW, affected, 3)


def _vendor(data: bytes) -> Vendor:
    with mock.patch.object(trust, "read_small", return_value=data):
        return Vendor.load(Home(Path()))


def _check_vendor(_data: bytes, vendor: Vendor) -> None:
    assert _vendor(vendor.build()) == vendor


def _factory(data: bytes) -> Factory:
    try:
        return Factory.from_json(data.decode())
    except UnicodeDecodeError as error:
        raise NotTakenError from error


def _check_factory(_data: bytes, factory: Factory) -> None:
    assert Factory.from_json(factory.to_json()) == factory


def _typed(data: bytes) -> object:
    """What people type behind options, by a number in front."""
    which, rest = split(data, 1)
    try:
        text = rest.decode()
    except UnicodeDecodeError as error:
        raise NotTakenError from error
    readers = (
        Faults.parse,
        lambda t: Seconds().convert(t, None, None),
        lambda t: CaseNumber().convert(t, None, None),
        lambda t: Since().convert(t, None, None),
        lambda t: Ops().convert(t, None, None),
        Version.parse,
        parse_address,
        _scope,
        full_version,
    )
    return readers[which[0] % len(readers)](text)


def _scope(text: str) -> object:
    models, batches, ranges, locks, cases, sites = ([*text.split("\n"), *[""] * 6])[:6]
    return scope_of(
        {
            "models": (models,),
            "batches": (batches,),
            "ranges": (ranges,),
            "locks": (locks,),
            "cases": (cases,),
            "sites": (sites,),
        }
    )


def _check_typed(_data: bytes, value: object) -> None:
    if isinstance(value, Faults):
        for one in fields(value):
            assert getattr(value, one.name) is None or getattr(value, one.name) >= 0
    if isinstance(value, datetime):
        assert value.tzinfo is UTC


def _advisories() -> Iterator[bytes]:
    yield _advisory().build()


def _releases() -> Iterator[bytes]:
    yield json.dumps(_facts().build()).encode()


def _bundles() -> Iterator[bytes]:
    yield _stock().build()


def _metadatas() -> Iterator[bytes]:
    stock = _stock()
    yield from (stock.roots[0], stock.targets, stock.snapshot, stock.timestamp)
    yield from (data for _, data in stock.roles)


def _roles() -> Iterator[bytes]:
    for name, data in _stock().roles:
        if name.startswith("fw-"):
            yield json.dumps(json.loads(data)["signed"]["targets"]).encode()


def _vendors() -> Iterator[bytes]:
    yield b'{"name": "Example", "realm": "training"}\n'


def _factories() -> Iterator[bytes]:
    factory = trainer.factory()
    yield factory.to_json().encode()
    yield factory.to_json().replace("3000000", "Infinity").encode()
    yield b"[" * 4000


def _words() -> Iterator[bytes]:
    yield b"\x00ber=1e-5,drop=0.001,dup=0.001,cut-after=9,power-cut=3"
    yield b"\x011.5"
    yield b"\x02C-17"
    yield from (b"\x0390m", b"\x032026-11-22T23:30:00+02:00", b"\x032026-11-22")
    yield b"\x030001-01-01T00:00:00+14:00"
    yield b"\x04info,rollback"
    yield b"\x051.2.3+4"
    yield b"\x06[::1]:7000"
    yield b"\x07AL-1\n2026-31\nA:B\nTR-1\nC-17\nhere"
    yield b"\x082.4.1"


_CATALOGUE = (CatalogueError,)
_FACTORY = (ValueError, ProtocolError)
_TYPED = (click.UsageError, RefusedError, FaultSpecError, ImageError, ProtocolError, CatalogueError)
HARNESSES = (
    Harness("advisory", "an advisory", Advisory.parse, _CATALOGUE, _check_advisory, _advisories),
    Harness("release", "what a vendor signs", _release, _CATALOGUE, _check_release, _releases),
    Harness(
        "catalogue", "a stored catalogue", _bundle, _CATALOGUE, _check_bundle, _bundles, 16_384
    ),
    Harness(
        "metadata",
        "a metadata file",
        _metadata,
        (*TUF_ERRORS, CatalogueError),
        nothing_more,
        _metadatas,
    ),
    Harness(
        "release-signed",
        "any targets that are signed",
        _signed_release,
        (*TUF_ERRORS, CatalogueError),
        _check_trusted,
        _roles,
        2048,
    ),
    Harness("vendor", "vendor.json", _vendor, (RefusedError,), _check_vendor, _vendors, 400),
    Harness("factory", "a lab's lock", _factory, _FACTORY, _check_factory, _factories),
    Harness("typed", "what people type", _typed, _TYPED, _check_typed, _words, 200),
)
