from __future__ import annotations

import dataclasses
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from authority_kit import (
    DAY,
    ISSUER,
    NEXT_ROOT,
    NOW,
    ROOT,
    T0,
    TECHNICIAN,
    Maker,
    files_below,
    seed_key,
    statement,
)

from protocol.sealed import Realm
from protocol.values import Role
from svcport.authorisation.credentials import Credential
from svcport.authorisation.keys.keyfile import write_key_file
from svcport.authorisation.setup import SetupReport, import_bundle
from svcport.authorisation.tickets import TicketBox
from svcport.authorisation.trust import Trust
from svcport.errors import Reason, RecordsError, RefusedError
from svcport.home import Home

TICKETS = tuple(Maker().ticket(n) for n in (1, 2, 3))


@pytest.fixture
def bundle(tmp_path: Path) -> Home:
    bundle = Home(tmp_path / "bundle")
    Maker(statement=statement(5)).write(bundle, tickets=TICKETS)
    return bundle


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def refused(bundle: Home, home: Home) -> RefusedError:
    before = files_below(home.root)
    with pytest.raises(RefusedError) as caught:
        import_bundle(bundle.root, home, NOW)
    assert files_below(home.root) == before, "a refused setup wrote something"
    return caught.value


def test_setup_imports_trust_credential_and_tickets(bundle: Home, home: Home) -> None:
    report = import_bundle(bundle.root, home, NOW)
    assert report == SetupReport(
        "Ada Field", Role.TECHNICIAN, NOW + timedelta(days=1), training=False, tickets=3
    )
    assert home.is_set_up
    trust = Trust.load(home)
    assert trust == Trust.load(bundle)
    assert Credential.load(home, trust).holder == "Ada Field"
    box = TicketBox.load(home, trust)
    assert {held.id for held in box.tickets} == {held.id for held in TICKETS}
    assert box.skipped == ()


def test_setup_again_changes_nothing(bundle: Home, home: Home) -> None:
    import_bundle(bundle.root, home, NOW)
    before = files_below(home.root)
    import_bundle(bundle.root, home, NOW)
    assert files_below(home.root) == before


@pytest.mark.skipif(os.name != "posix", reason="only POSIX has modes")
def test_a_key_from_a_stick_without_modes_becomes_private(bundle: Home, home: Home) -> None:
    (bundle.credential / "technician.key").chmod(0o777)
    import_bundle(bundle.root, home, NOW)
    (home.credential / "technician.key").chmod(0o644)
    import_bundle(bundle.root, home, NOW)
    assert (home.credential / "technician.key").stat().st_mode & 0o777 == 0o600


def test_a_locked_key_is_imported_without_its_passphrase(bundle: Home, home: Home) -> None:
    Maker().write(bundle, b"secret")
    import_bundle(bundle.root, home, NOW)
    key = (home.credential / "technician.key").read_bytes()
    assert key == (bundle.credential / "technician.key").read_bytes()


def test_a_renewed_credential_replaces_the_old_and_keeps_its_tickets(
    bundle: Home, home: Home
) -> None:
    import_bundle(bundle.root, home, NOW)
    later = Home(bundle.root.parent / "later")
    Maker(not_after=T0 + 9 * DAY).write(later)
    assert import_bundle(later.root, home, NOW).valid_until == NOW + timedelta(days=9)
    assert len(TicketBox.load(home, Trust.load(home)).tickets) == 3


@pytest.mark.parametrize("first", Realm)
def test_a_home_takes_one_kind_only(tmp_path: Path, home: Home, first: Realm) -> None:
    other = Realm.TRAINING if first is Realm.PRODUCTION else Realm.PRODUCTION
    bundles = {realm: Home(tmp_path / realm.name) for realm in Realm}
    for realm, folder in bundles.items():
        Maker(realm=realm).write(folder)
    assert import_bundle(bundles[first].root, home, NOW).training is (first is Realm.TRAINING)
    assert refused(bundles[other], home).reason is Reason.LOCK_IDENTITY
    (home.trust / "root.key").write_bytes(b"damaged")
    assert refused(bundles[other], home).reason is Reason.LOCK_IDENTITY


def signed_by_next_root(bundle: Home, **trust: Any) -> None:
    maker = Maker()
    maker.write(bundle)
    dataclasses.replace(maker.trust, roots=(NEXT_ROOT.subject,), **trust).write(bundle)
    certificate = maker.issuer_certificate(signer=NEXT_ROOT).build()
    (bundle.credential / "issuer.svc").write_bytes(certificate)


def test_a_home_takes_one_vendor_only(bundle: Home, home: Home) -> None:
    import_bundle(bundle.root, home, NOW)
    signed_by_next_root(Home(bundle.root.parent / "other"), epoch=None)
    error = refused(Home(bundle.root.parent / "other"), home)
    assert error.reason is Reason.LOCK_IDENTITY
    assert "--home" in error.hint


def test_a_vendor_may_go_on_to_its_announced_root(bundle: Home, home: Home) -> None:
    announced = dataclasses.replace(Maker().trust, roots=(ROOT.subject, NEXT_ROOT.subject))
    Maker().write(bundle)
    announced.write(bundle)
    (bundle.trust / "epoch.svc").unlink()
    import_bundle(bundle.root, home, NOW)
    rotated = Home(bundle.root.parent / "rotated")
    signed_by_next_root(rotated, epoch=None)
    import_bundle(rotated.root, home, NOW)
    assert Trust.load(home).roots == (NEXT_ROOT.subject,)


def test_a_new_root_must_bring_an_epoch_not_older_than_the_known(bundle: Home, home: Home) -> None:
    both = (ROOT.subject, NEXT_ROOT.subject)
    dataclasses.replace(Maker(statement=statement(5)).trust, roots=both).write(bundle)
    import_bundle(bundle.root, home, NOW)
    rotated = Home(bundle.root.parent / "rotated")
    signed_by_next_root(rotated, epoch=statement(4, signer=NEXT_ROOT))
    assert "newer EPOCH" in refused(rotated, home).message
    signed_by_next_root(rotated, epoch=statement(6, signer=NEXT_ROOT))
    import_bundle(rotated.root, home, NOW)


@pytest.mark.parametrize(
    ("offered", "number"), [(None, 5), (statement(4), 5), (statement(6, 3), 5), (statement(6), 6)]
)
def test_an_older_epoch_does_not_replace_a_newer(
    bundle: Home, home: Home, offered: Any, number: int
) -> None:
    import_bundle(bundle.root, home, NOW)
    older = Home(bundle.root.parent / "older")
    Maker(statement=offered).write(older)
    import_bundle(older.root, home, NOW)
    held = Trust.load(home).epoch_statement
    assert held is not None
    assert held.number == number


def test_what_the_home_knows_to_be_revoked_is_not_imported(bundle: Home, home: Home) -> None:
    import_bundle(bundle.root, home, NOW)
    trust = Trust.load(home).with_epoch(statement(6, revoked=(TECHNICIAN.subject.key_id,)))
    trust.write(home)
    assert refused(bundle, home).reason is Reason.REVOKED


def test_a_credential_that_has_ended_is_not_imported(bundle: Home, home: Home) -> None:
    Maker(not_after=T0 - 1).write(bundle)
    assert refused(bundle, home).reason is Reason.CREDENTIAL_EXPIRED


def test_a_folder_that_is_not_there_is_usage(tmp_path: Path, home: Home) -> None:
    assert refused(Home(tmp_path / "nothing"), home).reason is Reason.USAGE


def test_an_empty_folder_is_not_set_up(tmp_path: Path, home: Home) -> None:
    assert refused(Home(tmp_path), home).reason is Reason.NOT_SET_UP


BAD = {
    "trust/vendor.json": b"{}",
    "trust/root.key": b"",
    "trust/epoch.svc": statement(9, signer=ISSUER).build(),
    "credential/issuer.svc": Maker().issuer_certificate(signer=ISSUER).build(),
    "credential/technician.svc": Maker().technician_certificate(signer=ROOT).build(),
    "credential/technician.key": b"junk",
    "tickets/1.svc": b"junk",
    "tickets/2.svc": Maker(realm=Realm.TRAINING).ticket().build(),
    "tickets/3.svc": Maker().ticket(holder=bytes(8)).build(),
}


@pytest.mark.parametrize("name", BAD)
def test_one_bad_file_stops_all_of_it(bundle: Home, home: Home, name: str) -> None:
    (bundle.root / name).write_bytes(BAD[name])
    error = refused(bundle, home)
    assert error.reason is Reason.NOT_SET_UP
    assert not home.root.exists()


def test_the_key_of_somebody_else_is_refused(bundle: Home, home: Home) -> None:
    write_key_file(bundle.credential / "technician.key", seed_key(77))
    assert "names" in refused(bundle, home).message


def test_a_bundle_that_cannot_be_read_is_not_a_fault_of_the_home(bundle: Home, home: Home) -> None:
    (bundle.trust / "root.key").unlink()
    (bundle.trust / "root.key").mkdir()
    assert refused(bundle, home).reason is Reason.NOT_SET_UP


def test_every_interrupted_setup_is_healed_by_the_next(bundle: Home, home: Home) -> None:
    writes = 0
    real = Path.replace

    class Cut(Exception):  # noqa: N818
        pass

    def replace(self: Path, target: Path) -> Path:
        nonlocal writes
        writes += 1
        if writes == stop:
            raise Cut
        return real(self, target)

    done = False
    for stop in range(1, 40):
        writes = 0
        target = Home(home.root / str(stop))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Path, "replace", replace)
            try:
                import_bundle(bundle.root, target, NOW)
                done = True
            except Cut:
                assert not target.is_set_up
        import_bundle(bundle.root, target, NOW)
        assert Credential.load(target, Trust.load(target)).holder == "Ada Field"
        if done:
            break
    assert done


def test_a_home_that_cannot_be_written_is_a_storage_error(bundle: Home, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(RecordsError) as caught:
        import_bundle(bundle.root, Home(tmp_path / "file"), NOW)
    assert caught.value.reason is Reason.STORAGE
