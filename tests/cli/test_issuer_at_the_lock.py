from __future__ import annotations

import dataclasses
import random
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, x25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from fieldkit import Field
from issuerkit import SERIAL, Vendor, refused

from protocol.objects import LockCertificate
from protocol.sealed import Sealed, SubjectKey
from svcport.cli.settings import utc_now
from svcport.errors import Outcome, Reason, RefusedError, SvcportError
from svcport.simulator.board import Board


@pytest.fixture(autouse=True)
def an_hour_later(monkeypatch: pytest.MonkeyPatch) -> None:
    # the lock has seen a certificate of this very second
    monkeypatch.setattr("svcport.cli.issuer_time.utc_now", lambda: utc_now() + timedelta(hours=1))


@pytest.fixture
def field(vendor: Vendor) -> Field:
    """Ada, with a home of her own, at a lock of this vendor."""
    public = vendor.root / "ada.pub"
    ran = vendor.credential("--for", public, "--role", "technician")
    assert ran.code == 0, ran.out
    return vendor.field("--key", public.with_suffix(""))


def nonce_of(field: Field) -> str:
    return str(field.identify().members()["nonce"])


def time_floor(field: Field) -> int:
    return field.board.core.state.time_floor


def stated(vendor: Vendor, nonce: str, name: str = "time.svc", folder: str | None = None) -> Path:
    out = vendor.root / name
    ran = vendor.issuer("time", "--nonce", nonce, "-o", out, folder=folder)
    assert ran.code == 0, ran.out
    assert ran.report["nonce"] == nonce
    return Path(ran.report["file"])


# Time


def test_a_lock_is_told_the_time_once_by_whoever_visits_it(vendor: Vendor, field: Field) -> None:
    nonce, before = nonce_of(field), time_floor(field)
    path = stated(vendor, nonce)
    report = field.identify(tickets=(path,))
    assert report.outcome is Outcome.OK
    assert "warnings" not in report.members()
    assert report.members()["nonce"] != nonce
    assert time_floor(field) > before
    [warning] = field.identify(tickets=(path,)).members()["warnings"]
    assert warning["reason"] == "permit-used"
    assert "issuer time" in warning["hint"]
    [entry] = [e for e in vendor.issuer("log").report["list"] if e["kind"] == "time"]
    assert entry["operator"]
    assert entry["object"]


def test_a_statement_in_the_home_is_brought_and_then_gone(vendor: Vendor, field: Field) -> None:
    tickets = vendor.root / "bundle" / "tickets"
    tickets.mkdir(exist_ok=True)
    stated(vendor, nonce_of(field), "bundle/tickets")
    stated(vendor, "9f" * 16, "bundle/tickets")
    again = vendor("--home", field.home.root, "setup", "--from", vendor.root / "bundle")
    assert (again.code, again.report["tickets"]) == (0, 0)
    assert len(list(field.home.tickets.glob("time-*.svc"))) == 2
    before = time_floor(field)
    assert "warnings" not in field.diagnose().members()
    assert time_floor(field) > before
    # that of another lock waits for it
    assert len(list(field.home.tickets.glob("time-*.svc"))) == 1
    assert "warnings" not in field.identify().members()


def test_a_depot_states_the_time_as_well(vendor: Vendor, field: Field) -> None:
    before = time_floor(field)
    field.identify(tickets=(stated(vendor, nonce_of(field), folder="narrow"),))
    assert time_floor(field) > before


def test_a_nonce_ticket_is_not_made_void_by_the_time(vendor: Vendor, field: Field) -> None:
    nonce = nonce_of(field)
    words = ("--op", "rollback", "--image", vendor.image("2.3.1"), "--nonce", nonce)
    assert vendor.ticket(*words, "--holder", vendor.root / "bundle").code == 0
    both = (vendor.root / "t.svc", stated(vendor, nonce))
    report = field.rollback(tickets=both)
    assert report.outcome is Outcome.OK
    [warning] = report.members()["warnings"]
    assert "a ticket is held for the same nonce" in warning["message"]


def test_a_statement_of_another_vendor_is_refused_or_passed_over(
    vendor: Vendor, field: Field, tmp_path: Path
) -> None:
    other = Vendor(tmp_path / "other")
    other.root.mkdir()
    assert other.init().code == 0
    path = stated(other, nonce_of(field))
    before = time_floor(field)
    with pytest.raises(RefusedError) as caught:
        field.identify(tickets=(path,))
    assert caught.value.reason is Reason.NO_PERMIT
    field.home.tickets.mkdir(exist_ok=True)
    (field.home.tickets / "x.svc").write_bytes(path.read_bytes())
    assert field.identify().outcome is Outcome.OK
    assert time_floor(field) == before


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (("-o", "{}/t.svc"), "needs the lock's --nonce"),
        (("--nonce", "9f", "-o", "{}/t.svc"), "32 hex digits"),
        (("--nonce", "zz" * 16, "-o", "{}/t.svc"), "32 hex digits"),
        (("--nonce", "9f" * 16, "-o", "{}/ada.pub"), "is there already"),
    ],
)
def test_a_statement_that_makes_no_sense_is_not_made(
    vendor: Vendor, words: tuple[str, ...], part: str
) -> None:
    code, reason, message = refused(
        vendor.issuer("time", *(word.format(vendor.root) for word in words))
    )
    assert (code, reason) == (2, "usage")
    assert part in message
    assert vendor.issuer("log").report["list"][-1]["kind"] != "time"


# A lock's own certificate


@dataclasses.dataclass(frozen=True)
class Made:
    """A lock on the line where it is made: it has made its keys."""

    identity: ed25519.Ed25519PrivateKey
    static: x25519.X25519PrivateKey

    @classmethod
    def new(cls) -> Made:
        return cls(ed25519.Ed25519PrivateKey.generate(), x25519.X25519PrivateKey.generate())

    def write(self, folder: Path) -> tuple[Path, Path]:
        form = (Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        paths = folder / "lock.pem", folder / "lock-x25519.pem"
        paths[0].write_bytes(self.identity.public_key().public_bytes(*form))
        paths[1].write_bytes(self.static.public_key().public_bytes(*form))
        return paths


def test_a_home_believes_a_lock_that_the_manufacturer_certified(
    vendor: Vendor, field: Field
) -> None:
    made = Made.new()
    key, exchange = made.write(vendor.root)
    out = vendor.root / "lock.svc"
    words = ("--serial", "SL2-000777", "--for", key, "--x25519", exchange, "-o", out)
    ran = vendor.issuer("lock", *words)
    assert ran.code == 0, ran.out
    sealed = Sealed.parse(out.read_bytes())
    certificate = LockCertificate.read(sealed)
    assert certificate.subject == SubjectKey.of(made.identity.public_key())
    assert ran.report["x25519"] == certificate.x25519.hex()
    assert ran.report["certificate"] == certificate.certificate_serial.hex()
    [entry] = vendor.issuer("log", "--lock", "SL2-000777").report["list"]
    assert (entry["kind"], entry["object"]) == ("lock", sealed.digest.hex())
    factory = dataclasses.replace(
        vendor.factory(),
        serial="SL2-000777",
        certificate=sealed.build(),
        identity_seed=made.identity.private_bytes_raw(),
        x25519_private=made.static.private_bytes_raw(),
    )
    cable = field.cable
    cable.board = Board(factory, cable.board._flash, entropy=random.Random(7).randbytes, now=0.0)
    report = field.identify()
    assert report.members()["lock"]["serial"] == "SL2-000777"


def test_a_lock_that_anybody_else_certified_is_a_fake(vendor: Vendor, field: Field) -> None:
    made = Made.new()
    key, exchange = made.write(vendor.root)
    out = vendor.root / "lock.svc"
    words = ("--serial", SERIAL, "--for", key, "--x25519", exchange, "-o", out)
    wrong = vendor.folder / "keys" / "issuer.key"
    code, reason, message = refused(vendor.issuer("lock", *words, "--manufacturer-key", wrong))
    assert (code, reason) == (3, "no-permit")
    assert "not the manufacturer's" in message
    code, reason, _message = refused(vendor.issuer("lock", *words, folder="narrow"))
    assert (code, reason) == (3, "not-set-up")
    assert not out.exists()
    factory = dataclasses.replace(
        vendor.factory(),
        identity_seed=made.identity.private_bytes_raw(),
        x25519_private=made.static.private_bytes_raw(),
    )
    entropy = random.Random(7).randbytes
    field.cable.board = Board(factory, field.board._flash, entropy=entropy, now=0.0)
    with pytest.raises(SvcportError) as caught:
        field.identify()
    assert caught.value.reason is Reason.LOCK_IDENTITY


@pytest.mark.parametrize(
    ("changed", "part"),
    [
        (("--serial", "S" * 17), "16"),
        (("--serial", ""), "1..16 printable"),
        (("--for", "{}/lock-x25519.pem"), "no public key"),
        (("--x25519", "{}/lock.pem"), "no public X25519 key: it is a"),
        (("--x25519", "00"), "no public X25519 key"),
        (("-o", "{}/ada.pub"), "is there already"),
        (("-o", "{}"), "is a folder"),
    ],
)
def test_a_certificate_that_makes_no_sense_is_not_made(
    vendor: Vendor, changed: tuple[str, ...], part: str
) -> None:
    key, exchange = Made.new().write(vendor.root)
    words = ("--serial", SERIAL, "--for", key, "--x25519", exchange, "-o", vendor.root / "l.svc")
    again = (word.format(vendor.root) for word in changed)
    code, reason, message = refused(vendor.issuer("lock", *words, *again))
    assert (code, reason) == (2, "usage")
    assert part in message
    assert vendor.issuer("log").report["list"][-1]["kind"] != "lock"
