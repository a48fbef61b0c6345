"""A compromised image server: everything between the vendor's signers and the stick or mirror."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from catalogue.vendor_kit import Vendor
from fieldkit import NOW, Field, make_field
from tuf.api.metadata import Metadata, TargetFile

from images import LockMetadata, Version, sign
from svcport.catalogue.client import Catalogue
from svcport.catalogue.publisher import Publisher
from svcport.cli.setup import set_up
from svcport.errors import Outcome, Reason, SvcportError
from svcport.home import Home
from svcport.lab.releases import MODEL
from svcport.lab.vendor import BATCH, HARDWARE, TrainingVendor

ROLE = f"fw-{MODEL}"
KEYS = TrainingVendor("tests", NOW - timedelta(days=1)).catalogue


class Mirror(Vendor):
    """The lab's catalogue in the hands of somebody who may hold some of its keys."""

    def __post_init__(self) -> None:
        self.keys = KEYS

    def forge_timestamp(self, change: Callable[[Any], None]) -> None:
        path = self.metadata / "timestamp.json"
        metadata = Metadata.from_bytes(path.read_bytes())
        metadata.signed.version += 1
        change(metadata.signed)
        metadata.sign(KEYS.timestamp[0])
        path.write_bytes(metadata.to_bytes())


@pytest.fixture
def field(tmp_path: Path) -> Field:
    return make_field(tmp_path)


@pytest.fixture
def stick(field: Field, tmp_path: Path) -> Path:
    """The technician's bundle, as he carries it from the mirror to his laptop."""
    return Path(shutil.copytree(field.lab.technician, tmp_path / "stick"))


@pytest.fixture
def mirror(stick: Path) -> Mirror:
    return Mirror(stick / "catalogue")


def tries(field: Field, stick: Path) -> Reason:
    """`setup` from the stick fails, and what the home had goes on to restore the lock."""
    before = (field.home.catalogue / "trusted.json").read_bytes()
    with pytest.raises(SvcportError) as caught:
        set_up(field.home, stick, NOW)
    assert (field.home.catalogue / "trusted.json").read_bytes() == before
    assert field.restore().outcome in {Outcome.OK, Outcome.NOTHING_TO_DO}
    assert field.verify().outcome is Outcome.OK
    assert field.board.core.running is not None
    return caught.value.reason


def nothing(_signed: Any) -> None:
    """A change that is only a newer version."""


def test_the_stick_itself_is_good(field: Field, stick: Path) -> None:
    set_up(field.home, stick, NOW)


def test_an_old_catalogue_is_refused(field: Field, stick: Path, mirror: Mirror) -> None:
    old = Path(shutil.copytree(stick, stick.with_name("old")))
    mirror.forge(ROLE, KEYS.firmware[MODEL], nothing)  # the vendor's own, newer one
    set_up(field.home, stick, NOW)
    assert tries(field, old) is Reason.CATALOGUE_ROLLBACK


def test_a_frozen_catalogue_is_refused(field: Field, stick: Path, mirror: Mirror) -> None:
    """Nothing newer than a signature that has run out."""

    def age(timestamp: Any) -> None:
        timestamp.expires = datetime.now(UTC).replace(microsecond=0) - timedelta(days=1)

    mirror.forge_timestamp(age)
    assert tries(field, stick) is Reason.CATALOGUE_EXPIRED


def test_a_mixed_catalogue_is_refused(field: Field, stick: Path, mirror: Mirror) -> None:
    """Old metadata under the names of the new: no mixture of two moments passes."""
    old = Path(shutil.copytree(stick / "catalogue", stick.with_name("old")))
    mirror.forge(ROLE, KEYS.firmware[MODEL], nothing)
    names = [path.name for path in mirror.metadata.iterdir()]
    newest = max(name for name in names if name.endswith(f"{ROLE}.json"))
    shutil.copy(old / "metadata" / f"1.{ROLE}.json", mirror.metadata / newest)
    assert tries(field, stick) in {Reason.STORAGE, Reason.CATALOGUE_ROLLBACK}


def test_a_catalogue_of_another_vendor_is_refused(field: Field, stick: Path) -> None:
    thief = TrainingVendor("thief", NOW)
    shutil.rmtree(stick / "catalogue")
    publisher = Publisher.create(stick / "catalogue", thief.catalogue, now=NOW)
    publisher.publish(NOW)
    assert tries(field, stick) in {Reason.STORAGE, Reason.IMAGE_SIGNER, Reason.CATALOGUE_ROLLBACK}


@pytest.mark.parametrize("damage", ["flip", "cut", "grow", "another release"])
def test_a_changed_image_is_refused(field: Field, stick: Path, mirror: Mirror, damage: str) -> None:
    folder = mirror.folder / "targets" / MODEL / "fw"
    [fixed] = folder.glob("*2.4.1*")
    [bad] = folder.glob("*2.4.0*")
    data = fixed.read_bytes()
    changed: dict[str, bytes] = {
        "flip": data[:900] + bytes([data[900] ^ 1]) + data[901:],
        "cut": data[:-1],
        "grow": data + b"\0",
        "another release": bad.read_bytes(),
    }
    fixed.write_bytes(changed[damage])
    fresh = Home(stick.with_name("fresh"))
    with pytest.raises(SvcportError) as caught:
        set_up(fresh, stick, NOW)
    assert caught.value.reason is Reason.IMAGE_HASH


def test_who_stole_timestamp_and_snapshot_keys_cannot_bring_back_an_old_release(
    field: Field, stick: Path, mirror: Mirror
) -> None:
    mirror.forge(ROLE, KEYS.firmware[MODEL], nothing)
    set_up(field.home, stick, NOW)
    mirror.forge_snapshot(
        lambda meta: meta.update({f"{ROLE}.json": mirror.meta_of(ROLE, 1)}),
    )
    assert tries(field, stick) is Reason.CATALOGUE_ROLLBACK


def approve_the_bad(targets: Any) -> None:
    for file in targets.targets.values():
        custom = file.unrecognized_fields["custom"]
        custom.update(approved="2.4.0" in custom["version"], withdrawn=False)


def test_who_stole_one_of_two_firmware_keys_signs_nothing(
    field: Field, stick: Path, mirror: Mirror
) -> None:
    for few in (KEYS.firmware[MODEL][:1], (KEYS.firmware[MODEL][0],) * 2):
        mirror.forge(ROLE, few, approve_the_bad)
        assert tries(field, stick) is Reason.IMAGE_SIGNER
        shutil.rmtree(stick)
        shutil.copytree(field.lab.technician, stick)


def test_who_holds_both_firmware_keys_still_has_no_image_that_a_lock_takes(
    field: Field, stick: Path, mirror: Mirror
) -> None:
    """The catalogue says what is approved; what runs is what the image key signed."""
    thief = TrainingVendor("thief", NOW).image_key
    evil = sign(
        b"\x5a" * 30_000,
        thief,
        version=Version.parse("9.9.9"),
        security_counter=9,
        metadata=LockMetadata(MODEL, (HARDWARE,), (BATCH,)),
    )
    add_release(mirror, evil, "9.9.9+0")
    set_up(field.home, stick, NOW)
    catalogue = Catalogue.open(field.home.root, now=NOW)
    approved = catalogue.approved(MODEL, HARDWARE, BATCH)
    assert approved is not None
    assert approved.version == "9.9.9+0"
    before = field.board.core.state
    with pytest.raises(SvcportError) as caught:
        field.restore()
    assert caught.value.reason in {Reason.IMAGE_SIGNER, Reason.IMAGE_SIGNATURE}
    after = field.board.core.state
    assert (after.boot, after.act, after.tickets) == (before.boot, before.act, before.tickets)


def add_release(mirror: Mirror, data: bytes, version: str) -> None:
    path = f"{MODEL}/fw/{MODEL}-{version}.bin"

    def add(targets: Any) -> None:
        model = next(iter(targets.targets.values())).unrecognized_fields["custom"]
        for file in targets.targets.values():
            file.unrecognized_fields["custom"]["approved"] = False
        file = TargetFile.from_data(path, data, ["sha256"])
        file.unrecognized_fields["custom"] = {
            **model,
            "version": version,
            "approved": True,
            "withdrawn": False,
        }
        targets.targets[path] = file
        (mirror.folder / "targets" / file.get_prefixed_paths()[0]).write_bytes(data)

    mirror.forge(ROLE, KEYS.firmware[MODEL], add)


def test_an_image_of_another_model_is_refused_though_the_vendor_signed_it(field: Field) -> None:
    [other] = (path for path in field.lab.images.iterdir() if not path.name.startswith(MODEL))
    with pytest.raises(SvcportError) as caught:
        field.restore(image=other)
    assert caught.value.reason is Reason.IMAGE_MODEL
