from __future__ import annotations

import json
import os
import stat
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from lab.kit import FIRST, NOW, SECOND, look, running
from realfirmware import smpclient_sdist

from images import Image, PublicKey, TrustStore, verify
from protocol.sealed import Realm, Sealed
from protocol.values import Op, SlotState
from svcport.authorisation.credentials import Credential
from svcport.authorisation.setup import import_bundle
from svcport.authorisation.tickets import TicketBox
from svcport.authorisation.times import at
from svcport.authorisation.trust import Trust
from svcport.catalogue.client import Catalogue
from svcport.errors import Reason, RecordsError, RefusedError
from svcport.home import Home
from svcport.lab.init import LOCKS_LIMIT, init_lab
from svcport.simulator.factory import Factory
from svcport.simulator.provision import Condition

TEN_YEARS = timedelta(days=3652)


def files(directory: Path) -> dict[str, bytes]:
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def home(made_lab: Path, tmp_path: Path) -> Home:
    """A home that was set up from the lab's bundle."""
    home = Home(tmp_path / "home")
    import_bundle(made_lab / "technician", home, NOW)
    return home


def catalogue_of(lab: Path, home: Home) -> Catalogue:
    root = (lab / "technician" / "trust" / "catalogue" / "1.root.json").read_bytes()
    return Catalogue.refresh(home.root, lab / "technician" / "catalogue", now=NOW, root=root)


def test_the_bundle_is_what_setup_takes(made_lab: Path, tmp_path: Path) -> None:
    report = import_bundle(made_lab / "technician", Home(tmp_path / "home"), NOW)
    assert report.training
    assert report.valid_until >= NOW.replace(microsecond=0) + TEN_YEARS
    assert report.tickets == 2 * 48


def test_the_catalogue_has_the_releases_of_the_contract(made_lab: Path, home: Home) -> None:
    catalogue = catalogue_of(made_lab, home)
    releases = {
        release.version: (release.security_counter, release.approved, release.withdrawn)
        for release in catalogue.releases("LX-200")
    }
    assert releases == {
        "2.3.1+0": (3, False, False),
        "2.4.0+0": (3, False, True),
        "2.4.1+0": (3, True, False),
    }
    approved = catalogue.approved("LX-200", "B", "2026-31")
    assert approved is not None
    assert approved.version == "2.4.1+0"
    assert catalogue.is_withdrawn("LX-200", "2026-31", "2.4.0")
    assert not catalogue.is_withdrawn("LX-200", "2026-31", "2.3.1")
    assert [each.id for each in catalogue.advisories("LX-200", "2026-31", "2.4.0")]
    assert catalogue.models == ("LX-200",)
    assert catalogue.expires >= NOW.replace(microsecond=0) + TEN_YEARS
    for release in catalogue.releases("LX-200"):
        short = release.version.removesuffix("+0")
        file = made_lab / "images" / f"LX-200-{short}.bin"
        assert catalogue.image(release) == file.read_bytes()


def test_the_images_are_signed_by_the_vendor_and_say_for_which_locks(
    made_lab: Path, home: Home
) -> None:
    keys = TrustStore(PublicKey.from_pem(pem) for pem in Trust.load(home).image_keys)
    found = {path.name: verify(path.read_bytes(), keys) for path in made_lab.glob("images/*.bin")}
    lock = Factory.from_json((made_lab / "locks" / FIRST / "factory.json").read_text())
    ours = {name for name, image in found.items() if covers(image.metadata, lock)}
    assert ours == {f"LX-200-{version}.bin" for version in ("2.3.1", "2.4.0", "2.4.1", "2.5.0")}
    assert found["LX-200-2.5.0.bin"].security_counter == 4
    (other,) = set(found) - ours
    assert not other.startswith("LX-200-")


def covers(metadata: object, lock: Factory) -> bool:
    assert hasattr(metadata, "covers")
    return bool(metadata.covers(lock.model, lock.hardware, lock.batch))


@pytest.mark.parametrize("serial", [FIRST, SECOND])
def test_every_lock_has_eight_tickets_of_each_kind(made_lab: Path, home: Home, serial: str) -> None:
    trust = Trust.load(home)
    box = TicketBox.load(home, trust, lock_serial=serial)
    assert not box.skipped
    holder = Credential.load(home, trust).technician.subject.key_id
    digests = {verify_digest(made_lab, version): version for version in ("2.3.1", "2.4.1", "2.5.0")}
    kinds: dict[tuple[Op, str], int] = {}
    for held in box.tickets:
        ticket = held.ticket
        assert (ticket.lock_serial, ticket.holder) == (serial, holder)
        assert ticket.not_after is not None
        assert at(ticket.not_after) >= NOW.replace(microsecond=0) + TEN_YEARS
        kind = ticket.ops, digests.get(ticket.image_digest or b"", "")
        kinds[kind] = kinds.get(kind, 0) + 1
    assert kinds == {
        (Op.ROLLBACK, "2.3.1"): 8,
        (Op.ROLLBACK, "2.4.1"): 8,
        (Op.RESTORE, "2.3.1"): 8,
        (Op.RESTORE, "2.4.1"): 8,
        (Op.RESTORE, "2.5.0"): 8,
        (Op.OVERRIDE, ""): 8,
    }
    counters = [held.ticket.counter for held in box.tickets]
    assert sorted(number for number in counters if number is not None) == list(range(1, 49))


def verify_digest(lab: Path, version: str) -> bytes:
    digest = Image.parse((lab / "images" / f"LX-200-{version}.bin").read_bytes()).digest
    assert digest is not None
    return digest


def test_nothing_signed_in_a_lab_can_pass_for_real(made_lab: Path) -> None:
    objects = [
        *(path.read_bytes() for path in made_lab.glob("technician/credential/*.svc")),
        (made_lab / "technician" / "trust" / "epoch.svc").read_bytes(),
        Factory.from_json(
            (made_lab / "locks" / FIRST / "factory.json").read_text("utf-8")
        ).certificate,
    ]
    assert len(objects) == 4
    assert {Sealed.parse(data).realm for data in objects} == {Realm.TRAINING}


def test_the_same_seed_makes_the_same_lab(made_lab: Path, tmp_path: Path) -> None:
    init_lab(tmp_path / "again", locks=2, seed="seed", now=NOW)
    before, after = files(made_lab), files(tmp_path / "again")
    assert before.keys() == after.keys()
    differing = {name for name in before if before[name] != after[name]}
    # OpenSSH key files carry a random check number.
    assert {name for name in differing if not name.endswith(".key")} == set()
    first, second = (
        Credential.load(Home(lab / "technician"), Trust.load(Home(lab / "technician")))
        for lab in (made_lab, tmp_path / "again")
    )
    assert first.signer.subject == second.signer.subject


def test_another_seed_and_no_seed_make_other_keys(made_lab: Path, tmp_path: Path) -> None:
    seen = {(made_lab / "technician" / "trust" / "root.key").read_text()}
    for name, seed in (("other", "other"), ("none", None), ("none again", None)):
        report = init_lab(tmp_path / name, seed=seed, now=NOW)
        assert report.locks == (FIRST,)
        seen.add((report.technician / "trust" / "root.key").read_text())
    assert len(seen) == 4


def test_the_seed_that_was_drawn_makes_the_lab_again(tmp_path: Path) -> None:
    drawn = init_lab(tmp_path / "drawn", now=NOW)
    noted = json.loads((tmp_path / "drawn" / "vendor" / "lab.json").read_text())
    assert noted == {"seed": drawn.seed, "condition": "bad-update"}
    init_lab(tmp_path / "again", seed=drawn.seed, now=NOW)
    assert files(tmp_path / "drawn" / "images") == files(tmp_path / "again" / "images")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps no such bits")
def test_private_keys_are_for_their_owner_only(made_lab: Path) -> None:
    secrets = [
        *made_lab.glob("vendor/*.key"),
        *made_lab.glob("vendor/*.pem"),
        *made_lab.glob("technician/credential/*.key"),
        *made_lab.glob("locks/*/factory.json"),
    ]
    assert len(secrets) == 4 + 1 + 1 + 2
    assert {stat.S_IMODE(path.stat().st_mode) for path in secrets} == {0o600}


STATES = {
    Condition.HEALTHY: {("2.4.1+0", SlotState.RUNNING), ("2.3.1+0", SlotState.FALLBACK)},
    Condition.BAD_UPDATE: {("2.4.0+0", SlotState.RUNNING), ("2.3.1+0", SlotState.FALLBACK)},
    Condition.DEAD: {(None, SlotState.INVALID)},
    Condition.WEAK_BATTERY: {("2.3.1+0", SlotState.RUNNING), (None, SlotState.EMPTY)},
    Condition.INTERRUPTED: {("2.4.0+0", SlotState.RUNNING), (None, SlotState.PARTIAL)},
}


@pytest.mark.parametrize("condition", list(Condition), ids=str)
def test_a_lock_is_in_the_condition_asked_for(tmp_path: Path, condition: Condition) -> None:
    init_lab(tmp_path / "lab", seed="seed", condition=condition, now=NOW)
    with running(tmp_path / "lab") as ports:
        seen = look(tmp_path / "lab", ports[FIRST])
    states = {(str(s.version) if s.version else None, s.state) for s in seen.slots}
    assert states == STATES[condition]
    assert (seen.serial, seen.model, seen.hardware) == (FIRST, "LX-200", "B")
    assert seen.security_counter == 3


def test_real_firmware_as_payload_makes_a_lab_that_runs(tmp_path: Path) -> None:
    duts = smpclient_sdist() / "examples" / "duts" / "nrf52840dk_nrf52840"
    payload = duts / "ble" / "a_smp_dut.bin"
    init_lab(tmp_path / "lab", seed="seed", payloads=[payload], now=NOW)
    with running(tmp_path / "lab") as ports:
        seen = look(tmp_path / "lab", ports[FIRST])
    assert {str(each.version) for each in seen.slots} == {"2.4.0+0", "2.3.1+0"}


def test_a_folder_with_something_in_it_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab" / "mine").write_text("precious")
    with pytest.raises(RefusedError) as caught:
        init_lab(tmp_path / "lab", now=NOW)
    assert caught.value.reason is Reason.USAGE
    assert files(tmp_path / "lab") == {"mine": b"precious"}


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    (tmp_path / "lab").mkdir()
    assert init_lab(tmp_path / "lab", now=NOW).locks == (FIRST,)


@pytest.mark.parametrize("locks", [0, -1, LOCKS_LIMIT + 1])
def test_a_number_of_locks_that_cannot_be_is_refused(tmp_path: Path, locks: int) -> None:
    with pytest.raises(RefusedError) as caught:
        init_lab(tmp_path / "lab", locks=locks, now=NOW)
    assert caught.value.reason is Reason.USAGE
    assert not (tmp_path / "lab").exists()


def test_a_place_that_is_a_file_or_below_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RefusedError, match="file"):
        init_lab(tmp_path / "file", now=NOW)
    with pytest.raises(RecordsError, match="file"):
        init_lab(tmp_path / "file" / "lab", now=NOW)


def test_eight_locks_are_made_with_one_wait_for_the_disk_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    syncs: list[int] = []
    original = os.fsync

    def counting(descriptor: int) -> None:
        syncs.append(descriptor)
        original(descriptor)

    monkeypatch.setattr(os, "fsync", counting)
    init_lab(tmp_path / "one", locks=1, seed="seed", now=NOW)
    with_one = len(syncs)
    report = init_lab(tmp_path / "lab", locks=8, seed="seed", now=NOW)
    assert report.locks == tuple(f"TR-10000{number}" for number in range(1, 9))
    # its secrets, and none of its tickets: they are hundreds
    assert len(syncs) - with_one == with_one + 7
