from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from clirunner import svcport
from issuerkit import SERIAL, Vendor, refused

from protocol.objects import EpochStatement, TechnicianCertificate
from protocol.scope import EVERYTHING, ScopeItem, ScopeKind, serial_range
from protocol.sealed import Sealed
from protocol.values import Op, Role
from svcport.authorisation.keys.keyfile import inspect_key
from svcport.home import Home

DIGEST = "0a" * 32


def certificate(bundle: Path) -> TechnicianCertificate:
    sealed = Sealed.parse((Home(bundle).credential / "technician.svc").read_bytes())
    return TechnicianCertificate.read(sealed)


def test_init_reports_every_key_and_writes_them_for_the_owner_only(tmp_path: Path) -> None:
    vendor = Vendor(tmp_path)
    report = vendor.init("--days", "30").report
    assert report["schema"] == "svcport/issuer-init/1"
    assert (report["training"], report["epoch"]) == (True, 1)
    keys = {path.stem: path for path in (vendor.folder / "keys").iterdir()}
    assert {name.replace("-", "_"): report[name.replace("-", "_")] for name in keys} == {
        name.replace("-", "_"): inspect_key(path.read_bytes(), name).subject.key_id.hex()
        for name, path in keys.items()
    }
    if os.name == "posix":
        assert {stat.S_IMODE(path.stat().st_mode) for path in keys.values()} == {0o600}
        assert stat.S_IMODE(vendor.folder.stat().st_mode) == 0o700
    authority = vendor.authority()
    assert authority.issuer.not_after - authority.issuer.not_before == 30 * 86_400
    assert authority.trust.epoch_statement is not None
    assert authority.trust.epoch_statement.number == 1


def test_init_leaves_alone_what_is_there(vendor: Vendor) -> None:
    before = {path: path.read_bytes() for path in vendor.folder.rglob("*") if path.is_file()}
    assert refused(vendor.init())[:2] == (2, "usage")
    assert before == {p: p.read_bytes() for p in vendor.folder.rglob("*") if p.is_file()}


@pytest.fixture
def passphrase() -> Iterator[int]:
    """A file descriptor that gives a passphrase as often as it is read from its start."""
    reading, writing = os.pipe()
    os.write(writing, b"correct horse\n" * 8)
    os.close(writing)
    yield reading
    os.close(reading)


def test_a_real_vendors_keys_do_not_lie_open(tmp_path: Path, passphrase: int) -> None:
    vendor = Vendor(tmp_path)
    code, reason, message = refused(vendor.init("--name", "Example Locks", training=False))
    assert (code, reason) == (3, "signer-locked")
    assert "without a passphrase" in message
    assert not vendor.folder.exists()
    assert refused(vendor.init(training=False))[:2] == (2, "usage")
    fd = ("--passphrase-fd", str(passphrase))
    assert vendor.init("--name", "Example Locks", *fd, training=False).code == 0
    for path in (vendor.folder / "keys").iterdir():
        assert inspect_key(path.read_bytes(), path.name).encrypted
    public = vendor.person()
    words = ("--op", "override", "--holder", public)
    assert refused(vendor.ticket(*words))[1] == "signer-locked"
    ran = vendor.ticket(*words, *fd)
    assert (ran.code, ran.report["tickets"][0]["counter"]) == (0, 1)
    code, reason, _message = refused(vendor.credential("--new-key", "--role", "technician", *fd))
    assert (code, reason) == (3, "signer-locked")


def test_two_keys_of_a_vendor_are_never_the_same(vendor: Vendor, tmp_path: Path) -> None:
    root = vendor.folder / "keys" / "root.key"
    other = Vendor(tmp_path / "all", "W")
    ran = other.init("--root-key", root, "--issuer-key", root)
    assert refused(ran)[:2] == (2, "usage")
    assert not other.folder.exists()
    assert other.init("--root-key", root).code == 0
    assert not (other.folder / "keys" / "root.key").exists()
    assert other.authority().trust.roots[0] == vendor.authority().trust.roots[0]
    assert other.issuer("epoch", "--min-epoch", "2").code == 0


def test_a_credential_says_what_was_asked_for(vendor: Vendor) -> None:
    ran = vendor.credential(
        "--for", vendor.root / "ada.pub", "--role", "technician", "--name", "Ada Field",
        "--days", "3", "--ops", "info,update", "--model", "SL-2", "--model", "SL-3",
        "--serial-range", "A:B", "--case", "C-1",
    )  # fmt: skip
    assert ran.code == 0, ran.out
    made = certificate(vendor.root / "bundle")
    assert (made.name, made.role, made.ops) == ("Ada Field", Role.TECHNICIAN, Op.INFO | Op.UPDATE)
    assert set(made.scope) == {
        ScopeItem(ScopeKind.MODEL, b"SL-2"), ScopeItem(ScopeKind.MODEL, b"SL-3"),
        ScopeItem(ScopeKind.CASE, b"C-1"), serial_range("A", "B"),
    }  # fmt: skip
    assert made.not_after - made.not_before == 3 * 86_400
    assert ran.report["certificate"] == made.serial.hex()
    assert not (vendor.root / "bundle" / "credential" / "technician.key").exists()


def test_without_wishes_a_credential_is_what_the_role_allows(vendor: Vendor) -> None:
    assert vendor.credential("--new-key", "--role", "depot").code == 0
    made = certificate(vendor.root / "bundle")
    assert made.scope == EVERYTHING
    assert Op.ISSUE in made.ops
    assert Op.OVERRIDE not in made.ops
    assert made.not_after - made.not_before == 7 * 86_400
    assert (vendor.root / "bundle" / "credential" / "technician.key").is_file()


def test_a_credential_is_renewed_for_the_key_that_a_bundle_names(vendor: Vendor) -> None:
    vendor.credential("--for", vendor.root / "ada.pub", "--role", "technician", output="old")
    ran = vendor.credential("--for", vendor.root / "old", "--role", "technician", output="new")
    assert ran.code == 0, ran.out
    assert certificate(vendor.root / "old").subject == certificate(vendor.root / "new").subject


TECHNICIAN = ("--role", "technician", "--for", "{}/ada.pub")
NO_CREDENTIAL = [
    ((*TECHNICIAN, "--ops", "info,erase"), "V", "no-permit", "technician does not allow erase"),
    ((*TECHNICIAN, "--ops", "issue"), "V", "no-permit", "role technician does not allow issue"),
    (("--role", "depot", "--for", "{}/ada.pub", "--ops", "override"), "V", "no-permit",
     "role depot does not allow override"),
    (("--role", "owner", "--for", "{}/ada.pub"), "V", "no-permit", "own lock"),
    (("--role", "owner", "--for", "{}/ada.pub", "--serial-range", "A:B"), "V", "no-permit", "own"),
    (("--role", "owner", "--for", "{}/ada.pub", "--lock", "S", "--ops", "rollback"), "V",
     "no-permit", "role owner does not allow rollback"),
    ((*TECHNICIAN, "--days", "8"), "V", "no-permit", "ends after 7 days"),
    ((*TECHNICIAN, "--days", "6"), "narrow", "credential-expired", "issuer's certificate at"),
    ((*TECHNICIAN, "--ops", "restore"), "narrow", "no-permit", "issuer does not allow restore"),
    ((*TECHNICIAN, "--model", "SL-3"), "narrow", "no-permit", "does not cover model SL-3"),
    ((*TECHNICIAN, "--lock", "SL2-000200"), "narrow", "no-permit", "serial range SL2-000200"),
    ((*TECHNICIAN, "--serial-range", "SL2-000100:SL2-000200"), "narrow", "no-permit", "to SL2"),
    ((*TECHNICIAN, "--issuer-key", "{}/V/keys/root.key"), "V", "no-permit", "is not the issuer's"),
    ((*TECHNICIAN, "--name", "A" * 41), "V", "usage", "1..40"),
    ((*TECHNICIAN, "--lock", "S" * 17), "V", "usage", "16"),
    ((*TECHNICIAN, "--model", "für"), "V", "usage", "ASCII"),
    ((*TECHNICIAN, "--serial-range", "B:A"), "V", "usage", "LOW:HIGH"),
    ((*TECHNICIAN, "--ticket-class", "1"), "V", "usage", "--role issuer"),
    ((*TECHNICIAN, "--new-key"), "V", "usage", "either"),
    (("--role", "technician"), "V", "usage", "either"),
    (("--role", "technician", "--for", "{}/nobody.pub"), "V", "usage", "is missing"),
    (("--role", "technician", "--for", "{}/ada"), "V", "usage", "private key"),
    (("--role", "technician", "--for", "{}/V/issuer.svc"), "V", "usage", "no public key"),
    (("--role", "issuer", "--for", "{}/ada.pub", "--days", "91"), "V", "no-permit", "90 days"),
    (("--role", "issuer", "--for", "{}/ada.pub"), "narrow", "not-set-up", "has no root key"),
    (("--role", "issuer", "--for", "{}/ada.pub", "--root-key", "{}/V/keys/issuer.key"), "V",
     "no-permit", "only the root signs"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "folder", "reason", "part"), NO_CREDENTIAL)
def test_a_credential_that_may_not_be_given_is_refused_and_nothing_is_written(
    vendor: Vendor, words: tuple[str, ...], folder: str, reason: str, part: str
) -> None:
    asked = [word.format(vendor.root) for word in words]
    before = vendor.issuer("log").report["entries"]
    ran = vendor.issuer("credential", *asked, "-o", vendor.root / "out", folder=folder)
    code, found, message = refused(ran)
    assert (code, found) == (2 if reason == "usage" else 3, reason)
    assert part in message
    assert ran.report["hint"]
    assert not (vendor.root / "out").exists()
    assert vendor.issuer("log").report["entries"] == before


def test_a_bundle_never_replaces_another(vendor: Vendor) -> None:
    words = ("--for", vendor.root / "ada.pub", "--role", "technician")
    assert vendor.credential(*words).code == 0
    before = certificate(vendor.root / "bundle")
    assert refused(vendor.credential(*words))[:2] == (2, "usage")
    assert certificate(vendor.root / "bundle") == before


def epoch(vendor: Vendor) -> EpochStatement:
    return EpochStatement.read(Sealed.parse((vendor.folder / "trust/epoch.svc").read_bytes()))


def test_statements_rise_and_keep_what_was_revoked(vendor: Vendor) -> None:
    out = vendor.root / "epoch.svc"
    first = vendor.issuer("epoch", "--revoke", "11" * 8, "22" * 8, "-o", out).report
    assert (first["number"], first["min_epoch"]) == (2, 1)
    assert out.read_bytes() == (vendor.folder / "trust/epoch.svc").read_bytes()
    second = vendor.issuer("epoch", "--revoke", "33" * 8, "11" * 8).report
    assert (second["number"], second["revoked"]) == (3, ["11" * 8, "22" * 8, "33" * 8])
    third = vendor.issuer("epoch", "--min-epoch", "5", "--forget").report
    assert (third["number"], third["min_epoch"], third["revoked"]) == (4, 5, [])
    assert (epoch(vendor).number, epoch(vendor).min_epoch) == (4, 5)


def test_a_lost_statement_does_not_make_numbers_fall(vendor: Vendor) -> None:
    old = (vendor.folder / "trust/epoch.svc").read_bytes()
    vendor.issuer("epoch", "--revoke", "11" * 8, "--min-epoch", "3")
    (vendor.folder / "trust/epoch.svc").write_bytes(old)
    assert refused(vendor.issuer("epoch", "--min-epoch", "2"))[1] == "usage"
    report = vendor.issuer("epoch", "--revoke", "22" * 8).report
    assert (report["number"], report["min_epoch"]) == (3, 3)
    assert report["revoked"] == ["11" * 8, "22" * 8]


NO_EPOCH = [
    ((), "usage", "--revoke"),
    (("--min-epoch", "0"), "usage", "would fall to 0"),
    (("--revoke", "11" * 8, "--forget"), "usage", "where the epoch rises"),
    (("--revoke", "11" * 7), "usage", "no public key"),
    (("--revoke", *(f"{n:016x}" for n in range(33))), "usage", "at most 32"),
    (("--revoke", "{}/V/trust/root.key"), "usage", "cannot revoke a root"),
    (("--min-epoch", "2", "--root-key", "{}/V/keys/issuer.key"), "no-permit", "only the root"),
    (("--min-epoch", "2", "--root-key", "{}/none"), "not-set-up", "is missing"),
]


@pytest.mark.parametrize(("words", "reason", "part"), NO_EPOCH)
def test_a_statement_that_may_not_be_made_is_not(
    vendor: Vendor, words: tuple[str, ...], reason: str, part: str
) -> None:
    before = epoch(vendor)
    ran = vendor.issuer("epoch", *(word.format(vendor.root) for word in words))
    code, found, message = refused(ran)
    assert (code, found) == (2 if reason == "usage" else 3, reason)
    assert part in message
    assert epoch(vendor) == before
    assert vendor.issuer("epoch", "--min-epoch", "1").report["number"] == before.number + 1


def test_a_folder_that_is_none_is_refused_by_every_command(tmp_path: Path) -> None:
    vendor = Vendor(tmp_path, "nothing")
    holder = ("--role", "technician", "--new-key", "-o", tmp_path / "out")
    override = ("--op", "override", "--holder", "11" * 8)
    for ran in (
        vendor.issuer("credential", *holder),
        vendor.ticket(*override),
        vendor.issuer("epoch", "--min-epoch", "2"),
        vendor.issuer("log"),
    ):
        assert refused(ran)[:2] == (3, "not-set-up")
        assert "svcport issuer init" in ran.report["hint"]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["issuer.svc", "authority.json", "trust/root.key"])
def test_a_damaged_folder_is_named_and_signs_nothing(vendor: Vendor, name: str) -> None:
    (vendor.folder / name).write_bytes(b"{}")
    ran = vendor.ticket("--op", "override", "--holder", "11" * 8)
    code, reason, message = refused(ran)
    assert (code, reason) == (3, "not-set-up")
    assert name.rpartition("/")[2] in message


@pytest.mark.parametrize("command", ["init", "credential", "ticket", "epoch", "log"])
def test_every_command_has_a_help_with_examples(command: str) -> None:
    ran = svcport("issuer", command, "--help")
    assert ran.code == 0
    assert f"    svcport issuer {command} V" in ran.out
    assert "\\b" not in ran.out


def test_for_people_the_answer_comes_first(vendor: Vendor) -> None:
    words = ("--op", "override", "--holder", vendor.root / "ada.pub", "-o", vendor.root / "p.svc")
    home = ("--home", vendor.root / "office")
    ran = svcport(*home, "issuer", "ticket", vendor.folder, "--lock", SERIAL, *words)
    assert ran.out.startswith(f"1 ticket: override of lock {SERIAL} by key ")
    ran = svcport(*home, "issuer", "log", vendor.folder)
    assert "ticket" in ran.out


def test_a_depot_takes_the_vendors_newest_statement_and_no_other(vendor: Vendor) -> None:
    out, old = vendor.root / "new.svc", vendor.root / "old.svc"
    shutil.copy(vendor.folder / "trust" / "epoch.svc", old)
    vendor.issuer("epoch", "--revoke", "11" * 8, "--min-epoch", "1", "-o", out)
    for _ in range(2):
        report = vendor.issuer("epoch", "--take", out, folder="narrow").report
        assert (report["number"], report["revoked"]) == (2, ["11" * 8])
    assert vendor.authority("narrow").trust.epoch == vendor.authority().trust.epoch
    for source, part in ((old, "held is 2"), (vendor.folder / "issuer.svc", "no statement")):
        code, reason, message = refused(vendor.issuer("epoch", "--take", source, folder="narrow"))
        assert (code, reason) == (3, "no-permit")
        assert part in message
    assert refused(vendor.issuer("epoch", "--take", out, "--forget"))[1] == "usage"


def test_a_place_that_cannot_be_written_is_no_fault_of_the_records(vendor: Vendor) -> None:
    taken = vendor.root / "taken"
    taken.write_bytes(b"a file")
    ran = vendor.issuer("credential", "--role", "depot", "--new-key", "-o", taken / "below")
    assert (ran.code, ran.report["reason"]) == (4, "storage")
    ran = vendor.issuer("epoch", "--take", vendor.root / "none")
    assert (ran.code, ran.report["reason"]) == (4, "storage")
