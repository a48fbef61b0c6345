from __future__ import annotations

import random
import shutil
from dataclasses import replace
from datetime import datetime, timedelta, timezone, tzinfo
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from catalogue.vendor_kit import (
    BATCH,
    LONG,
    MODEL,
    NOW,
    OTHER,
    Vendor,
    advisory,
    facts,
    image,
    refused,
)
from tuf.api.metadata import TargetFile

from svcport.catalogue.client import Catalogue
from svcport.catalogue.keys import VendorKeys
from svcport.errors import Reason, RefusedError, SvcportError


def test_an_old_mirror_after_a_newer_one_is_refused(
    tmp_path: Path, vendor: Vendor, home: Path
) -> None:
    old = vendor.copy(tmp_path / "old")
    vendor.publisher.publish(NOW)
    Catalogue.refresh(home, vendor.folder, now=NOW)
    assert isinstance(refused(home, old, Reason.CATALOGUE_ROLLBACK), RefusedError)


def test_an_old_mirror_is_refused_even_after_what_the_home_holds_expired(
    tmp_path: Path, vendor: Vendor, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vendor.publisher.rotate(vendor.keys, now=NOW + timedelta(days=30))
    old = vendor.copy(tmp_path / "old")
    vendor.publisher.publish(NOW)
    Catalogue.refresh(home, vendor.folder, now=NOW)
    # what the home holds expires first: its snapshot and timestamp were signed for NOW
    now = Catalogue.open(home, now=NOW).expires

    class Clock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Clock:
            return cls.fromtimestamp(now.timestamp(), tz)

    monkeypatch.setattr(
        "tuf.ngclient._internal.trusted_metadata_set.datetime",
        SimpleNamespace(datetime=Clock, timezone=timezone),
    )
    with pytest.raises(RefusedError) as caught:
        Catalogue.refresh(home, old, now=now)
    assert caught.value.reason is Reason.CATALOGUE_ROLLBACK


def test_a_newer_catalogue_that_has_expired_leaves_the_present_one_in_use(
    vendor: Vendor, home: Path
) -> None:
    vendor.publisher.publish(NOW - timedelta(days=4000))
    refused(home, vendor.folder, Reason.CATALOGUE_EXPIRED)


def test_holders_of_snapshot_and_timestamp_keys_cannot_lower_a_firmware_role(
    vendor: Vendor, home: Path
) -> None:
    vendor.publisher.withdraw(MODEL, "2.3.1")
    vendor.publisher.publish(NOW)
    Catalogue.refresh(home, vendor.folder, now=NOW)
    role = f"fw-{MODEL}"
    vendor.forge_snapshot(lambda meta: meta.update({f"{role}.json": vendor.meta_of(role, 2)}))
    refused(home, vendor.folder, Reason.CATALOGUE_ROLLBACK)


def test_holders_of_snapshot_and_timestamp_keys_cannot_drop_the_advisories(
    vendor: Vendor, home: Path
) -> None:
    vendor.forge_snapshot(lambda meta: meta.pop("advisories.json") and None)
    refused(home, vendor.folder, Reason.STORAGE)


def test_an_expired_timestamp_is_refused(tmp_path: Path, home: Path, vendor: Vendor) -> None:
    stale = Vendor(
        tmp_path / "stale",
        validity=replace(LONG, timestamp=timedelta(days=1)),
        now=NOW - timedelta(days=2),
    )
    with pytest.raises(RefusedError) as caught:
        Catalogue.refresh(tmp_path / "new", stale.folder, now=NOW, root=stale.publisher.root)
    assert caught.value.reason is Reason.CATALOGUE_EXPIRED
    with pytest.raises(RefusedError) as caught:
        Catalogue.refresh(home, vendor.folder, now=NOW + timedelta(days=3651))
    assert caught.value.reason is Reason.CATALOGUE_EXPIRED


def test_an_expired_delegated_role_is_refused(tmp_path: Path) -> None:
    stale = Vendor(
        tmp_path / "stale",
        validity=replace(LONG, advisories=timedelta(days=1)),
        now=NOW - timedelta(days=2),
    )
    with pytest.raises(RefusedError) as caught:
        Catalogue.refresh(tmp_path / "new", stale.folder, now=NOW, root=stale.publisher.root)
    assert caught.value.reason is Reason.CATALOGUE_EXPIRED


@pytest.mark.parametrize("damage", ["flip", "cut", "grow"])
def test_a_changed_image_on_the_mirror_is_refused(vendor: Vendor, home: Path, damage: str) -> None:
    vendor.publisher.add_release(image("2.6.0"), facts("2.6.0+0", approved=True))
    vendor.publisher.publish(NOW)
    path = vendor.image_file("2.6.0+0")
    data = bytearray(path.read_bytes())
    data[700] ^= 1
    changed = {"flip": bytes(data), "cut": bytes(data[:-1]), "grow": image("2.6.0") + b"\0"}
    path.write_bytes(changed[damage])
    assert isinstance(refused(home, vendor.folder, Reason.IMAGE_HASH), RefusedError)


def test_a_missing_image_on_the_mirror_is_refused(vendor: Vendor, home: Path) -> None:
    vendor.publisher.add_release(image("2.6.0"), facts("2.6.0+0", approved=True))
    vendor.publisher.publish(NOW)
    vendor.image_file("2.6.0+0").unlink()
    refused(home, vendor.folder, Reason.STORAGE)


def test_one_of_two_firmware_keys_signs_nothing(vendor: Vendor, home: Path) -> None:
    def approve_the_bad(targets: Any) -> None:
        for file in targets.targets.values():
            file.unrecognized_fields["custom"]["approved"] = True

    signers = vendor.keys.firmware[MODEL]
    for few in (signers[:1], (signers[0], vendor.keys.firmware[OTHER][0])):
        vendor.forge(f"fw-{MODEL}", few, approve_the_bad)
        refused(home, vendor.folder, Reason.IMAGE_SIGNER)
    vendor.forge(f"fw-{MODEL}", signers, approve_the_bad)
    Catalogue.refresh(home, vendor.folder, now=NOW)


def test_the_advisory_role_cannot_name_firmware(vendor: Vendor, home: Path) -> None:
    data = image("6.6.6")
    path = f"{MODEL}/fw/evil.bin"

    def name_firmware(targets: Any) -> None:
        file = TargetFile.from_data(path, data, ["sha256"])
        file.unrecognized_fields["custom"] = facts("6.6.6+0", approved=True).build()
        targets.targets[path] = file
        place = vendor.folder / "targets" / file.get_prefixed_paths()[0]
        place.write_bytes(data)

    vendor.forge("advisories", vendor.keys.advisories, name_firmware)
    catalogue = Catalogue.refresh(home, vendor.folder, now=NOW)
    assert catalogue.find(MODEL, version="6.6.6") is None
    approved = catalogue.approved(MODEL, "A", BATCH)
    assert approved is not None
    assert approved.version == "2.4.1+0"


def test_a_firmware_role_cannot_speak_for_another_model(vendor: Vendor, home: Path) -> None:
    def claim(targets: Any) -> None:
        for file in targets.targets.values():
            file.unrecognized_fields["custom"]["model"] = MODEL

    vendor.forge(f"fw-{OTHER}", vendor.keys.firmware[OTHER], claim)
    refused(home, vendor.folder, Reason.STORAGE)


def test_firmware_listed_by_the_top_level_role_does_not_count(vendor: Vendor, home: Path) -> None:
    def name_firmware(targets: Any) -> None:
        file = TargetFile.from_data(f"{MODEL}/fw/x.bin", b"x", ["sha256"])
        file.unrecognized_fields["custom"] = facts("6.6.6+0").build()
        targets.targets[file.path] = file

    vendor.forge("targets", vendor.keys.targets, name_firmware)
    assert Catalogue.refresh(home, vendor.folder, now=NOW).find(MODEL, version="6.6.6") is None


def test_a_malformed_advisory_stops_the_refresh_not_the_home(vendor: Vendor, home: Path) -> None:
    data = advisory().build().replace(b"withdraw", b"detonate")

    def spoil(targets: Any) -> None:
        file = TargetFile.from_data("advisories/SVA-2026-009.json", data, ["sha256"])
        targets.targets[file.path] = file
        (vendor.folder / "targets" / file.get_prefixed_paths()[0]).write_bytes(data)

    vendor.forge("advisories", vendor.keys.advisories, spoil)
    refused(home, vendor.folder, Reason.STORAGE)


def test_an_advisory_under_another_name_is_refused(vendor: Vendor, home: Path) -> None:
    data = advisory().build()

    def rename(targets: Any) -> None:
        file = TargetFile.from_data("advisories/SVA-2026-009.json", data, ["sha256"])
        targets.targets[file.path] = file
        (vendor.folder / "targets" / file.get_prefixed_paths()[0]).write_bytes(data)

    vendor.forge("advisories", vendor.keys.advisories, rename)
    refused(home, vendor.folder, Reason.STORAGE)


def test_root_rotation_is_followed_step_by_step(tmp_path: Path, vendor: Vendor, home: Path) -> None:
    for seed in (b"second", b"third"):
        keys = VendorKeys.from_seed(seed, (MODEL, OTHER))
        vendor.publisher.rotate(keys, now=NOW)
    vendor.publisher.withdraw(MODEL, "2.3.1")
    vendor.publisher.publish(NOW)
    assert Catalogue.refresh(home, vendor.folder, now=NOW).is_withdrawn(MODEL, None, "2.3.1")
    assert Catalogue.open(home, now=NOW).is_withdrawn(MODEL, None, "2.3.1")
    Catalogue.refresh(home, vendor.folder, now=NOW)
    Catalogue.refresh(tmp_path / "new", vendor.folder, now=NOW, root=vendor.publisher.root)


def test_a_new_root_without_the_old_keys_is_refused(
    tmp_path: Path, vendor: Vendor, home: Path
) -> None:
    thief = Vendor(tmp_path / "thief", seed=b"thief").stock()
    keys = VendorKeys.from_seed(b"thief 2", (MODEL, OTHER))
    thief.publisher.rotate(keys, now=NOW)
    shutil.copy(thief.metadata / "2.root.json", vendor.metadata / "2.root.json")
    refused(home, vendor.folder, Reason.IMAGE_SIGNER)


def test_a_mirror_mixed_from_two_moments_is_refused(
    tmp_path: Path, vendor: Vendor, home: Path
) -> None:
    old = vendor.copy(tmp_path / "old")
    vendor.publisher.withdraw(MODEL, "2.3.1")
    vendor.publisher.publish(NOW)
    shutil.copy(vendor.metadata / "timestamp.json", old / "metadata" / "timestamp.json")
    refused(home, old, Reason.STORAGE)
    newest = max(vendor.metadata.glob("*.snapshot.json"))
    stale = newest.with_name(f"{int(newest.name.split('.')[0]) - 1}.snapshot.json")
    shutil.copy(stale, newest)
    refused(home, vendor.folder, Reason.STORAGE)


def test_a_stick_pulled_at_any_file_leaves_the_old_catalogue(
    tmp_path: Path, vendor: Vendor, home: Path
) -> None:
    vendor.publisher.add_release(image("2.6.0"), facts("2.6.0+0", approved=True))
    vendor.publisher.set_epoch(b"epoch 2")
    vendor.publisher.publish(NOW)
    known = set(Catalogue.open(home, now=NOW).releases(MODEL))
    needed = 0
    for number, path in enumerate(sorted(vendor.folder.rglob("*.*"))):
        torn = vendor.copy(tmp_path / f"torn-{number}")
        (torn / path.relative_to(vendor.folder)).unlink()
        other = Path(shutil.copytree(home, tmp_path / f"home-{number}"))
        try:
            Catalogue.refresh(other, torn, now=NOW)
        except SvcportError:
            needed += 1
            assert set(Catalogue.open(other, now=NOW).releases(MODEL)) == known
    assert needed >= 5  # timestamp, snapshot, two roles, image, epoch


def test_damage_to_any_metadata_file_gives_a_named_error_and_changes_nothing(
    tmp_path: Path, vendor: Vendor
) -> None:
    generator = random.Random(7)
    names = [path.name for path in vendor.metadata.iterdir()]
    root = vendor.publisher.root
    pristine = {name: (vendor.metadata / name).read_bytes() for name in names}
    for name, data in pristine.items():
        for turn in range(6):
            broken = bytearray(data)
            place = generator.randrange(len(broken))
            if turn % 3 == 0:
                del broken[place:]
            elif turn % 3 == 1:
                broken[place] ^= 1 << generator.randrange(8)
            else:
                broken[place : place + 9] = generator.randbytes(9)
            (vendor.metadata / name).write_bytes(bytes(broken))
            home = tmp_path / f"{name}-{turn}"
            try:
                Catalogue.refresh(home, vendor.folder, now=NOW, root=root)
            except SvcportError:
                assert not (home / "catalogue" / "trusted.json").exists()
            (vendor.metadata / name).write_bytes(data)
