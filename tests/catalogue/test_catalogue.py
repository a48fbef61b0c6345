from __future__ import annotations

import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from catalogue.vendor_kit import (
    BATCH,
    MODEL,
    NOW,
    OTHER,
    Vendor,
    advisory,
    facts,
    image,
)

from svcport.catalogue.advisory import Action, Affected
from svcport.catalogue.client import Catalogue
from svcport.catalogue.faults import CatalogueError
from svcport.catalogue.keys import Validity, VendorKeys
from svcport.catalogue.publisher import Publisher
from svcport.errors import Reason, RecordsError, RefusedError


def test_releases_are_listed_by_model_with_the_highest_version_first(home: Path) -> None:
    catalogue = Catalogue.open(home, now=NOW)
    assert [each.version for each in catalogue.releases(MODEL)] == ["2.4.1+0", "2.4.0+0", "2.3.1+0"]
    assert [each.version for each in catalogue.releases(OTHER)] == ["1.0.0+0"]
    assert catalogue.releases("unheard-of") == ()
    assert catalogue.models == (MODEL, OTHER)


def test_the_approved_release_is_the_highest_that_covers_the_lock(home: Path) -> None:
    catalogue = Catalogue.open(home, now=NOW)
    approved = catalogue.approved(MODEL, "A", BATCH)
    assert approved is not None
    assert approved.version == "2.4.1+0"
    assert catalogue.image(approved) == image("2.4.1")
    assert catalogue.approved(MODEL, "C", BATCH) is None
    assert catalogue.approved(MODEL, None, BATCH) is None
    assert catalogue.approved("unheard-of", "A", BATCH) is None


def test_an_approved_release_that_an_advisory_withdraws_is_passed_over(
    vendor: Vendor, home: Path
) -> None:
    vendor.publisher.publish_advisory(
        advisory(id="SVA-2026-004", affects=(Affected(MODEL, (BATCH,), ("2.4.1+0",)),))
    )
    vendor.publisher.publish(NOW)
    catalogue = Catalogue.refresh(home, vendor.folder, now=NOW)
    assert catalogue.approved(MODEL, "A", BATCH) is None
    elsewhere = catalogue.approved(MODEL, "A", "2026-08")
    assert elsewhere is not None
    assert elsewhere.version == "2.4.1+0"


def test_a_release_for_some_batches_is_not_for_the_others(vendor: Vendor, home: Path) -> None:
    vendor.publisher.add_release(
        image("2.6.0"), facts("2.6.0+0", approved=True, batches=("2026-08",))
    )
    vendor.publisher.publish(NOW)
    catalogue = Catalogue.refresh(home, vendor.folder, now=NOW)
    chosen = [catalogue.approved(MODEL, "A", batch) for batch in ("2026-08", BATCH, None)]
    assert [each and each.version for each in chosen] == ["2.6.0+0", "2.4.1+0", "2.4.1+0"]


def test_a_release_is_found_by_digest_version_and_hardware(home: Path) -> None:
    catalogue = Catalogue.open(home, now=NOW)
    by_version = catalogue.find(MODEL, version="2.3.1")
    assert by_version is not None
    assert by_version.rollback_ok
    assert catalogue.find(MODEL, digest=facts("2.3.1+0").digest) == by_version
    assert catalogue.find(MODEL, digest=by_version.digest, version="2.4.1") is None
    assert catalogue.find(MODEL, version="2.3.1", hardware="C") is None
    assert catalogue.find(MODEL, version="2.3.1+7") is None


def test_an_advisory_concerns_its_batches_and_locks_that_cannot_tell_theirs(home: Path) -> None:
    catalogue = Catalogue.open(home, now=NOW)
    assert [each.id for each in catalogue.advisories(MODEL, BATCH, "2.4.0")] == ["SVA-2026-003"]
    assert catalogue.advisories(MODEL, None, "2.4.0") == (advisory(),)
    assert catalogue.advisories(MODEL, "2026-08", "2.4.0") == ()
    assert catalogue.advisories(MODEL, BATCH, "2.3.1") == ()
    assert catalogue.advisories(OTHER, BATCH, "2.4.0") == ()


def test_a_version_is_withdrawn_by_advisory_or_by_its_flag(vendor: Vendor, home: Path) -> None:
    before = Catalogue.open(home, now=NOW)
    assert before.is_withdrawn(MODEL, BATCH, "2.4.0")
    assert not before.is_withdrawn(MODEL, "2026-08", "2.4.0")
    assert not before.is_withdrawn(MODEL, BATCH, "2.3.1")
    vendor.publisher.withdraw(MODEL, "2.3.1")
    vendor.publisher.publish(NOW)
    after = Catalogue.refresh(home, vendor.folder, now=NOW)
    assert after.is_withdrawn(MODEL, "2026-08", "2.3.1")
    assert after.is_withdrawn(MODEL, None, "9.9.9", facts("2.3.1+0").digest)
    assert not before.is_withdrawn(MODEL, BATCH, "2.3.1")


def test_an_advisory_that_does_not_withdraw_leaves_the_release_approved(
    vendor: Vendor, home: Path
) -> None:
    vendor.publisher.publish_advisory(
        advisory(id="SVA-2026-005", action=Action.NOTICE, affects=(Affected(MODEL),))
    )
    vendor.publisher.publish(NOW)
    catalogue = Catalogue.refresh(home, vendor.folder, now=NOW)
    assert len(catalogue.advisories(MODEL, BATCH, "2.4.0")) == 2
    assert catalogue.approved(MODEL, "A", BATCH) is not None


def test_a_superseded_advisory_no_longer_applies(vendor: Vendor, home: Path) -> None:
    vendor.publisher.publish_advisory(
        advisory(id="SVA-2026-006", action=Action.UPDATE, supersedes=("SVA-2026-003",))
    )
    vendor.publisher.publish(NOW)
    catalogue = Catalogue.refresh(home, vendor.folder, now=NOW)
    assert [each.id for each in catalogue.advisories(MODEL, BATCH, "2.4.0")] == ["SVA-2026-006"]
    assert not catalogue.is_withdrawn(MODEL, BATCH, "2.4.0")


def test_the_newest_epoch_statement_comes_with_the_catalogue(vendor: Vendor, home: Path) -> None:
    assert Catalogue.open(home, now=NOW).epoch() == b"epoch 1"
    vendor.publisher.set_epoch(b"epoch 2")
    vendor.publisher.publish(NOW)
    assert Catalogue.refresh(home, vendor.folder, now=NOW).epoch() == b"epoch 2"


def test_a_catalogue_without_epoch_has_none(tmp_path: Path) -> None:
    empty = Vendor(tmp_path / "mirror")
    catalogue = Catalogue.refresh(
        tmp_path / "home", empty.folder, now=NOW, root=empty.publisher.root
    )
    assert catalogue.epoch() is None
    assert catalogue.models == ()


def test_everything_works_after_the_stick_is_gone(vendor: Vendor, home: Path) -> None:
    shutil.rmtree(vendor.folder)
    catalogue = Catalogue.open(home, now=NOW)
    assert {catalogue.image(each) for each in catalogue.releases(MODEL)} == {
        image(version) for version in ("2.3.1", "2.4.0", "2.4.1")
    }
    assert catalogue.epoch() == b"epoch 1"
    with pytest.raises(CatalogueError) as caught:
        Catalogue.refresh(home, vendor.folder, now=NOW)
    assert caught.value.reason is Reason.STORAGE
    assert caught.value.hint


def test_opening_writes_nothing(home: Path) -> None:
    def look() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in home.rglob("*")}

    before = look()
    catalogue = Catalogue.open(home, now=NOW)
    catalogue.image(catalogue.releases(MODEL)[0])
    assert look() == before


def test_a_home_without_catalogue_is_not_set_up(tmp_path: Path, vendor: Vendor) -> None:
    for call in (
        lambda: Catalogue.open(tmp_path / "new", now=NOW),
        lambda: Catalogue.refresh(tmp_path / "new", vendor.folder, now=NOW),
    ):
        with pytest.raises(RefusedError) as caught:
            call()
        assert caught.value.reason is Reason.NOT_SET_UP


def test_a_second_vendor_is_refused_and_the_first_stays(
    tmp_path: Path, vendor: Vendor, home: Path
) -> None:
    other = Vendor(tmp_path / "other", seed=b"other").stock()
    with pytest.raises(RefusedError) as caught:
        Catalogue.refresh(home, other.folder, now=NOW, root=other.publisher.root)
    assert caught.value.reason is Reason.LOCK_IDENTITY
    with pytest.raises(RefusedError) as caught:
        Catalogue.refresh(home, other.folder, now=NOW)
    assert caught.value.reason is Reason.IMAGE_SIGNER
    Catalogue.refresh(home, vendor.folder, now=NOW, root=vendor.publisher.root)


def test_a_refused_first_refresh_leaves_the_home_free_for_the_right_vendor(
    tmp_path: Path, vendor: Vendor
) -> None:
    other = Vendor(tmp_path / "other", seed=b"other")
    with pytest.raises(RefusedError):
        Catalogue.refresh(tmp_path / "home", vendor.folder, now=NOW, root=other.publisher.root)
    Catalogue.refresh(tmp_path / "home", vendor.folder, now=NOW, root=vendor.publisher.root)


def test_an_expired_catalogue_is_refused_but_can_be_listed_when_asked(home: Path) -> None:
    later = NOW + timedelta(days=3651)
    with pytest.raises(RefusedError) as caught:
        Catalogue.open(home, now=later)
    assert caught.value.reason is Reason.CATALOGUE_EXPIRED
    catalogue = Catalogue.open(home, now=later, allow_expired=True)
    assert catalogue.expired
    assert catalogue.image(catalogue.releases(MODEL)[0]) == image("2.4.1")
    assert not Catalogue.open(home, now=NOW).expired


def test_the_shortest_lived_role_decides_when_a_catalogue_expires(tmp_path: Path) -> None:
    short = Vendor(tmp_path / "mirror", validity=replace(Validity(), advisories=timedelta(days=3)))
    catalogue = Catalogue.refresh(
        tmp_path / "home", short.folder, now=NOW, root=short.publisher.root
    )
    assert catalogue.expires == NOW + timedelta(days=3)


def test_versions_rise_with_every_publication(vendor: Vendor, home: Path) -> None:
    before = Catalogue.open(home, now=NOW)
    vendor.publisher.publish(NOW)
    after = Catalogue.refresh(home, vendor.folder, now=NOW)
    assert after.version == before.version + 1
    assert after.timestamp_version == before.timestamp_version + 1


def test_a_refresh_with_nothing_new_changes_nothing(vendor: Vendor, home: Path) -> None:
    store = home / "catalogue" / "trusted.json"
    before = (store.stat().st_mtime_ns, store.read_bytes())
    Catalogue.refresh(home, vendor.folder, now=NOW)
    assert (store.stat().st_mtime_ns, store.read_bytes()) == before


def test_replaced_files_are_kept_for_one_more_catalogue(vendor: Vendor, home: Path) -> None:
    reader = Catalogue.open(home, now=NOW)
    vendor.publisher.set_epoch(b"epoch 2")
    vendor.publisher.publish(NOW)
    Catalogue.refresh(home, vendor.folder, now=NOW)
    assert reader.epoch() == b"epoch 1"
    Catalogue.refresh(home, vendor.folder, now=NOW)
    with pytest.raises(RecordsError):
        reader.epoch()


def test_a_release_of_another_catalogue_has_no_image_here(home: Path) -> None:
    catalogue = Catalogue.open(home, now=NOW)
    foreign = replace(catalogue.releases(MODEL)[0], security_counter=9)
    with pytest.raises(CatalogueError):
        catalogue.image(foreign)


def test_threads_that_refresh_and_read_at_once_all_succeed(vendor: Vendor, home: Path) -> None:
    vendor.publisher.add_release(image("2.6.0"), facts("2.6.0+0", approved=True))
    vendor.publisher.publish(NOW)

    def work(refresh: bool) -> None:
        for _ in range(4):
            if refresh:
                catalogue = Catalogue.refresh(home, vendor.folder, now=NOW)
            else:
                catalogue = Catalogue.open(home, now=NOW)
            catalogue.image(catalogue.releases(MODEL)[0])

    with ThreadPoolExecutor(6) as pool:
        for done in [pool.submit(work, number % 2 == 0) for number in range(6)]:
            done.result()
    assert Catalogue.open(home, now=NOW).releases(MODEL)[0].version == "2.6.0+0"


def test_two_processes_that_set_up_one_home_both_succeed(tmp_path: Path, vendor: Vendor) -> None:
    code = (
        "import sys, datetime, pathlib\n"
        "from svcport.catalogue.client import Catalogue\n"
        "home, source = map(pathlib.Path, sys.argv[1:])\n"
        "root = (source / 'metadata' / '1.root.json').read_bytes()\n"
        "now = datetime.datetime.now(datetime.UTC)\n"
        "print(Catalogue.refresh(home, source, now=now, root=root).version)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "home"), str(vendor.folder)]
    root = Path(__file__).parents[2]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, cwd=root) for _ in range(2)]
    printed = [process.communicate()[0].strip() for process in both]
    version = Catalogue.open(tmp_path / "home", now=NOW).version
    assert printed == [str(version).encode()] * 2


def test_the_same_seed_publishes_the_same_bytes(tmp_path: Path) -> None:
    folders = [Vendor(tmp_path / name).stock().folder for name in ("one", "two")]
    trees = [
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.*")}
        for folder in folders
    ]
    assert trees[0] == trees[1]
    assert Path("metadata/timestamp.json") in trees[0]


def test_the_publisher_refuses_what_a_client_would_refuse(tmp_path: Path, vendor: Vendor) -> None:
    publisher = vendor.publisher
    few = replace(vendor.keys, targets=vendor.keys.targets[:1])
    twice = replace(vendor.keys, targets=vendor.keys.targets[:1] * 2)
    calls = (
        lambda: publisher.add_release(b"", facts("3.0.0+0", model="unheard-of")),
        lambda: publisher.add_release(b"", facts("2.4.1+0")),
        lambda: publisher.add_release(b"", facts("3.0.0+0"), name="../x.bin"),
        lambda: publisher.withdraw(MODEL, "9.9.9"),
        lambda: publisher.withdraw("unheard-of", "2.4.1"),
        lambda: Publisher.create(vendor.folder, vendor.keys, now=NOW),
        lambda: Publisher.create(tmp_path / "few", few, now=NOW),
        lambda: Publisher.create(tmp_path / "twice", twice, now=NOW),
        lambda: VendorKeys.from_seed(b"", ("lock", "Lock")),
        lambda: VendorKeys.from_seed(b"", ()),
    )
    for call in calls:
        with pytest.raises(CatalogueError):
            call()


def test_approval_can_be_taken_back(vendor: Vendor, home: Path) -> None:
    vendor.publisher.approve(MODEL, "2.4.1", approved=False)
    vendor.publisher.publish(NOW)
    catalogue = Catalogue.refresh(home, vendor.folder, now=NOW)
    assert catalogue.approved(MODEL, "A", BATCH) is None
