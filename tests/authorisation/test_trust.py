from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from authority_kit import ISSUER, NEXT_ROOT, ROOT, Maker, files_below, statement

from protocol.errors import MalformedObjectError, SignatureError
from protocol.sealed import Realm
from svcport.authorisation.trust import Trust, Vendor, find_trust, find_vendor
from svcport.errors import Reason, RecordsError, RefusedError
from svcport.home import Home

FULL = Maker().but(statement=statement()).trust


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.mark.parametrize("roots", [(ROOT.subject,), (ROOT.subject, NEXT_ROOT.subject)])
@pytest.mark.parametrize("realm", Realm)
def test_trust_reads_back_as_written(home: Home, realm: Realm, roots: tuple[object, ...]) -> None:
    trust = dataclasses.replace(Maker(realm=realm).trust, roots=roots)
    trust.write(home)
    read = Trust.load(home)
    assert set(read.image_keys) == set(trust.image_keys)
    assert dataclasses.replace(read, image_keys=trust.image_keys) == trust


def test_the_files_say_what_they_are(home: Home) -> None:
    FULL.write(home)
    files = files_below(home.trust)
    assert files["vendor.json"] == b'{"name": "Demo Locks", "realm": "production"}\n'
    assert files["root.key"] == ROOT.subject.raw.hex().encode() + b"\n"
    assert files["epoch.svc"] == statement().build()
    assert files["catalogue/1.root.json"] == b"{}"
    assert sorted(v for k, v in files.items() if k.endswith(".pem")) == [b"pem one\n", b"pem two\n"]


def test_writing_again_drops_what_is_no_longer_trusted(home: Home) -> None:
    dataclasses.replace(FULL, roots=(ROOT.subject, NEXT_ROOT.subject)).write(home)
    fewer = dataclasses.replace(FULL, image_keys=(b"pem two\n",))
    fewer.write(home)
    assert Trust.load(home) == fewer


@pytest.mark.parametrize(
    "name", ["vendor.json", "root.key", "manufacturer.key", "catalogue/1.root.json"]
)
def test_a_missing_piece_is_not_set_up(home: Home, name: str) -> None:
    FULL.write(home)
    (home.trust / name).unlink()
    with pytest.raises(RefusedError, match="is missing") as caught:
        Trust.load(home)
    assert caught.value.reason is Reason.NOT_SET_UP
    assert "svcport setup" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("vendor.json", b"{"),
        ("vendor.json", b"[]"),
        ("vendor.json", b'{"name": "x"}'),
        ("vendor.json", b'{"name": "x", "realm": "other"}'),
        ("vendor.json", b'{"name": "", "realm": "training"}'),
        ("vendor.json", b'{"name": "a\\nb", "realm": "training"}'),
        ("vendor.json", b"[" * 100_000),
        ("vendor.json", b"\xff"),
        ("root.key", b"zz"),
        ("root.key", b"\xff"),
        ("root.key", b"01" * 32),
        ("root-next.key", b""),
        ("manufacturer.key", b"01" * 2000),
        ("epoch.svc", b""),
        ("epoch.svc", statement().build()[:-1]),
        ("epoch.svc", statement(signer=ISSUER).build()),
        ("epoch.svc", statement(realm=Realm.TRAINING).build()),
        ("epoch.svc", Maker().issuer_certificate().build()),
    ],
)
def test_a_damaged_piece_is_not_set_up(home: Home, name: str, content: bytes) -> None:
    FULL.write(home)
    (home.trust / name).write_bytes(content)
    with pytest.raises(RefusedError) as caught:
        Trust.load(home)
    assert caught.value.reason is Reason.NOT_SET_UP
    assert name in caught.value.message
    assert find_trust(home) is None


def test_an_empty_home_has_no_vendor(home: Home) -> None:
    assert find_vendor(home) is None
    assert find_trust(home) is None
    FULL.write(home)
    assert find_vendor(home) == Vendor("Demo Locks", Realm.PRODUCTION)


def test_a_file_that_cannot_be_read_is_a_storage_error(home: Home) -> None:
    FULL.write(home)
    (home.trust / "root.key").unlink()
    (home.trust / "root.key").mkdir()
    with pytest.raises(RecordsError) as caught:
        Trust.load(home)
    assert caught.value.reason is Reason.STORAGE


def test_a_home_that_is_a_file_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("x")
    with pytest.raises(RecordsError):
        FULL.write(Home(tmp_path / "home"))


def test_only_a_root_empowers_an_issuer() -> None:
    trust = Maker().trust
    assert trust.read_issuer(Maker().issuer_certificate()).subject == ISSUER.subject
    with pytest.raises(SignatureError):
        trust.read_issuer(Maker().issuer_certificate(signer=ISSUER))
    with pytest.raises(SignatureError, match="training object"):
        trust.read_issuer(Maker(realm=Realm.TRAINING).issuer_certificate())
    with pytest.raises(MalformedObjectError):
        trust.read_issuer(statement())


def test_the_next_root_counts_once_it_is_announced() -> None:
    certificate = Maker().issuer_certificate(signer=NEXT_ROOT)
    with pytest.raises(SignatureError):
        Maker().trust.read_issuer(certificate)
    both = dataclasses.replace(Maker().trust, roots=(ROOT.subject, NEXT_ROOT.subject))
    assert both.read_issuer(certificate).subject == ISSUER.subject


@pytest.mark.parametrize(
    ("number", "min_epoch", "taken"),
    [(2, 4, True), (2, 5, True), (1, 5, False), (0, 5, False), (2, 3, False)],
)
def test_an_epoch_is_taken_only_if_its_number_rises_and_its_epoch_does_not_fall(
    number: int, min_epoch: int, taken: bool
) -> None:
    offered = statement(number, min_epoch)
    assert FULL.with_epoch(offered).epoch == (offered if taken else FULL.epoch)
    assert Maker().trust.with_epoch(offered).epoch == offered


def test_an_epoch_that_no_root_signed_is_not_taken() -> None:
    with pytest.raises(SignatureError):
        FULL.with_epoch(statement(9, signer=ISSUER))
