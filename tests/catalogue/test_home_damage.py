from __future__ import annotations

import errno
import random
from dataclasses import replace
from pathlib import Path

import pytest
from catalogue.vendor_kit import (
    MODEL,
    NOW,
    OTHER,
    Vendor,
    facts,
    image,
    refused,
)

from svcport.catalogue.client import Catalogue
from svcport.catalogue.faults import CatalogueError
from svcport.catalogue.keys import VendorKeys
from svcport.catalogue.trusted import Bundle
from svcport.errors import Reason, RecordsError


def test_any_byte_flipped_in_the_homes_metadata_is_a_records_error_or_harmless(home: Path) -> None:
    path = home / "catalogue" / "trusted.json"
    data = path.read_bytes()
    intact = Catalogue.open(home, now=NOW)
    generator = random.Random(8)
    found = 0
    for _ in range(120):
        broken = bytearray(data)
        broken[generator.randrange(len(broken))] ^= 1 << generator.randrange(8)
        path.write_bytes(bytes(broken))
        try:
            seen = Catalogue.open(home, now=NOW)
        except RecordsError:
            found += 1
        else:
            assert seen == intact
    assert found > 100


def test_the_store_is_judged_as_strictly_as_a_mirror(
    tmp_path: Path, vendor: Vendor, home: Path
) -> None:
    path = home / "catalogue" / "trusted.json"
    old = Bundle.parse(path.read_bytes())
    vendor.publisher.rotate(VendorKeys.from_seed(b"second", (MODEL, OTHER)), now=NOW)
    vendor.publisher.rotate(VendorKeys.from_seed(b"third", (MODEL, OTHER)), now=NOW)
    Catalogue.refresh(home, vendor.folder, now=NOW)
    new = Bundle.parse(path.read_bytes())
    assert len(new.roots) == 3
    thief = Vendor(tmp_path / "thief", seed=b"thief")
    thief.publisher.rotate(VendorKeys.from_seed(b"thief 2", (MODEL, OTHER)), now=NOW)
    root = thief.publisher.root
    Catalogue.refresh(tmp_path / "lair", thief.folder, now=NOW, root=root)
    stolen = Bundle.parse((tmp_path / "lair" / "catalogue" / "trusted.json").read_bytes())
    (first, a), (second, b), *rest = new.roles
    mixtures = (
        replace(new, roots=new.roots[:2]),
        replace(new, roots=(new.roots[0], new.roots[2])),
        replace(new, roots=(new.roots[0], new.roots[0], *new.roots[1:])),
        replace(new, roots=(new.timestamp, *new.roots)),
        replace(new, timestamp=old.timestamp),
        replace(new, snapshot=old.snapshot),
        replace(new, timestamp=old.timestamp, snapshot=old.snapshot),
        replace(new, targets=old.targets),
        replace(new, targets=a),
        replace(new, timestamp=new.snapshot),
        replace(new, snapshot=new.snapshot + b"\n"),
        replace(new, targets=new.targets + b"\n"),
        replace(new, roles=((first, a + b"\n"), *new.roles[1:])),
        replace(stolen, roots=(new.roots[0], *stolen.roots[1:])),
        replace(stolen, roots=(*new.roots, stolen.roots[-1])),
        replace(new, roles=()),
        replace(new, roles=new.roles[:-1]),
        replace(new, roles=new.roles[::-1]),
        replace(new, roles=((first, b), (second, a), *rest)),
        replace(new, roles=(old.roles[0], *new.roles[1:])),
        replace(new, roles=(*new.roles, ("unheard-of", a))),
    )
    for mixture in mixtures:
        path.write_bytes(mixture.build())
        with pytest.raises(RecordsError):
            Catalogue.open(home, now=NOW)
    path.write_bytes(new.build())
    Catalogue.open(home, now=NOW)


def test_a_full_disk_is_a_named_error_and_the_home_stays_as_it_was(
    vendor: Vendor, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vendor.publisher.add_release(image("2.6.0"), facts("2.6.0+0", approved=True))
    vendor.publisher.publish(NOW)

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    failure = refused(home, vendor.folder, Reason.STORAGE)
    assert "No space left" in failure.message
    monkeypatch.undo()
    assert Catalogue.refresh(home, vendor.folder, now=NOW).find(MODEL, version="2.6.0")
    assert list((home / "catalogue").rglob(".new-*")) == []


def test_what_a_killed_refresh_left_behind_is_swept_away(vendor: Vendor, home: Path) -> None:
    scraps = [home / "catalogue" / ".new-1", home / "catalogue" / "targets" / ".new-2"]
    for path in scraps:
        path.write_bytes(b"half")
    Catalogue.refresh(home, vendor.folder, now=NOW)
    assert not any(path.exists() for path in scraps)


def test_a_truncated_store_is_never_taken_for_an_empty_one(vendor: Vendor, home: Path) -> None:
    path = home / "catalogue" / "trusted.json"
    data = path.read_bytes()
    for size in (0, 1, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:size])
        with pytest.raises(RecordsError):
            Catalogue.open(home, now=NOW)
        with pytest.raises(RecordsError):
            Catalogue.refresh(home, vendor.folder, now=NOW, root=vendor.publisher.root)


def test_a_changed_image_in_the_home_is_named_and_healed_by_a_refresh(
    vendor: Vendor, home: Path
) -> None:
    catalogue = Catalogue.open(home, now=NOW)
    release = catalogue.releases(MODEL)[0]
    path = home / "catalogue" / "targets" / release.sha256.hex()
    path.write_bytes(image("2.4.0"))
    with pytest.raises(RecordsError) as caught:
        catalogue.image(release)
    assert caught.value.reason is Reason.IMAGE_HASH
    path.unlink()
    with pytest.raises(RecordsError) as caught:
        catalogue.image(release)
    assert caught.value.reason is Reason.STORAGE
    assert Catalogue.refresh(home, vendor.folder, now=NOW).image(release) == image("2.4.1")


def test_a_changed_advisory_in_the_home_stops_it_from_opening(home: Path) -> None:
    for path in (home / "catalogue" / "targets").iterdir():
        if b"SVA-2026-003" in path.read_bytes():
            path.write_bytes(path.read_bytes().replace(b"withdraw", b"notice  "))
    with pytest.raises(RecordsError):
        Catalogue.open(home, now=NOW)


def test_an_unwritable_home_is_a_named_error(tmp_path: Path, vendor: Vendor) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(CatalogueError) as caught:
        Catalogue.refresh(tmp_path / "file", vendor.folder, now=NOW, root=vendor.publisher.root)
    assert caught.value.reason is Reason.STORAGE


def test_a_first_root_that_is_no_root_is_a_named_error(tmp_path: Path, vendor: Vendor) -> None:
    for root in (b"", b"{}", vendor.publisher.root[:-9], b"\xff", b"[" * 100_000):
        with pytest.raises(CatalogueError):
            Catalogue.refresh(tmp_path / "home", vendor.folder, now=NOW, root=root)


def test_a_file_that_has_become_endless_is_named_and_not_read_to_the_end(home: Path) -> None:
    path = home / "catalogue" / "trusted.json"
    data = path.read_bytes()
    with path.open("r+b") as file:
        file.truncate(1 << 34)
    with pytest.raises(RecordsError, match="damaged"):
        Catalogue.open(home, now=NOW)
    path.write_bytes(data)
    opened = Catalogue.open(home, now=NOW)
    release = opened.releases(MODEL)[0]
    for target in (home / "catalogue" / "targets").iterdir():
        with target.open("r+b") as file:
            file.truncate(1 << 34)
    with pytest.raises(RecordsError) as caught:
        opened.image(release)
    assert caught.value.reason is Reason.IMAGE_HASH


def test_a_damaged_lock_file_is_named_with_its_cure(home: Path, vendor: Vendor) -> None:
    lock = home / "catalogue" / "lock"
    lock.write_bytes(b"no SQLite file" * 100)
    with pytest.raises(CatalogueError, match="damaged") as caught:
        Catalogue.refresh(home, vendor.folder, now=NOW)
    assert f"delete {lock}" in caught.value.hint
    lock.unlink()
    Catalogue.refresh(home, vendor.folder, now=NOW)
