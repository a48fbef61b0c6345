from __future__ import annotations

import shutil
import subprocess
import sys

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from issuerkit import SERIAL, Vendor, refused

from protocol.sealed import SubjectKey

DIGEST = "0a" * 32


TICKET = ("--op", "rollback", "--image", DIGEST, "--holder", "{}/ada.pub")
OVERRIDE = ("--op", "override", "--holder", "{}/ada.pub")
NONCE = ("--nonce", "9f" * 16)
NO_TICKET = [
    (("--op", "rollback", "--holder", "{}/ada.pub"), "V", "usage", "names an image"),
    ((*TICKET, "--nonce", "9f"), "V", "usage", "32 hex digits"),
    ((*TICKET, "--mode", "nonce"), "V", "usage", "--nonce"),
    ((*TICKET, "--mode", "counter", *NONCE), "V", "usage", "--nonce"),
    ((*TICKET, *NONCE, "--count", "2"), "V", "usage", "one nonce"),
    ((*TICKET, "--lock", "S" * 17), "V", "usage", "16"),
    ((*TICKET, "--case", "C" * 41), "V", "usage", "40"),
    ((*OVERRIDE, "--holder", "{}/nobody"), "V", "usage", "is missing"),
    ((*OVERRIDE, "--holder", "abcd"), "V", "usage", "no public key"),
    ((*OVERRIDE, "--holder", "{}/V/keys"), "V", "usage", "no public key"),
    ((*TICKET, "--image", "{}/V/issuer.svc"), "V", "image-malformed", "issuer.svc"),
    ((*TICKET, "--days", "400"), "V", "credential-expired", "would end at"),
    ((*TICKET, *NONCE, "--days", "6"), "narrow", "credential-expired", "would end at"),
    (TICKET, "narrow", "no-permit", "may not issue counter tickets"),
    ((*TICKET, *NONCE), "plain", "no-permit", "may not issue nonce tickets"),
    ((*OVERRIDE, *NONCE), "narrow", "no-permit", "may not allow override"),
    ((*TICKET, *NONCE, "--lock", "SL2-000200"), "narrow", "no-permit", "this is serial SL2-000200"),
    ((*TICKET, "--issuer-key", "{}/plain/keys/issuer.key"), "V", "no-permit", "not the issuer's"),
]


@pytest.mark.parametrize(("words", "folder", "reason", "part"), NO_TICKET)
def test_a_ticket_that_no_lock_would_take_is_refused_and_costs_no_counter(
    vendor: Vendor, words: tuple[str, ...], folder: str, reason: str, part: str
) -> None:
    asked = [word.format(vendor.root) for word in words]
    log = vendor.issuer("log", folder=folder).report["entries"]
    out = vendor.root / "t.svc"
    ran = vendor.issuer("ticket", "--lock", SERIAL, *asked, "-o", out, folder=folder)
    code, found, message = refused(ran)
    assert (code, found) == (2 if reason == "usage" else 3, reason)
    assert part in message
    assert not out.exists()
    assert vendor.issuer("log", folder=folder).report["entries"] == log


def test_a_ticket_is_judged_against_its_holders_certificate(vendor: Vendor) -> None:
    public = vendor.root / "ada.pub"
    vendor.credential("--for", public, "--role", "owner", "--lock", SERIAL, output="owner")
    ticket = ("--op", "rollback", "--image", DIGEST, "--holder", vendor.root / "owner")
    assert "role owner does not allow rollback" in refused(vendor.ticket(*ticket))[2]
    ticket = ("--op", "update", "--image", DIGEST, "--holder", vendor.root / "owner")
    assert "serial SL2-000124" in refused(vendor.ticket(*ticket, lock="SL2-000124"))[2]
    assert vendor.ticket(*ticket).code == 0
    vendor.credential("--for", public, "--role", "depot", output="depot")
    ticket = ("--op", "restore", "--image", DIGEST, "--holder", vendor.root / "depot")
    assert "nonce tickets" in refused(vendor.ticket(*ticket, output="d.svc"))[2]
    assert vendor.ticket(*ticket, *NONCE, output="d.svc").code == 0


def test_an_image_of_another_vendor_gets_no_ticket(vendor: Vendor) -> None:
    ec_key = ec.generate_private_key(ec.SECP256R1()).public_key()
    for path in (vendor.folder / "trust" / "images").glob("*.pem"):
        path.write_bytes(ec_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    words = ("--op", "rollback", "--holder", vendor.root / "ada.pub")
    code, reason, _message = refused(vendor.ticket(*words, "--image", vendor.image("2.3.1")))
    assert (code, reason) == (3, "image-signer")


def test_an_image_below_the_tickets_counter_gets_no_ticket(vendor: Vendor) -> None:
    words = ("--op", "rollback", "--holder", vendor.root / "ada.pub", "--min-counter", "4")
    assert refused(vendor.ticket(*words, "--image", vendor.image("2.3.1")))[:2] == (2, "usage")
    assert vendor.ticket(*words, "--image", vendor.image("2.5.0")).code == 0


def test_a_ticket_file_is_never_replaced(vendor: Vendor) -> None:
    words = ("--op", "override", "--holder", vendor.root / "ada.pub")
    assert vendor.ticket(*words).code == 0
    before = (vendor.root / "t.svc").read_bytes()
    assert refused(vendor.ticket(*words))[:2] == (2, "usage")
    assert refused(vendor.ticket(*words, "--count", "2"))[:2] == (2, "usage")
    assert (vendor.root / "t.svc").read_bytes() == before


def test_a_holder_may_be_named_in_every_usual_form(vendor: Vendor) -> None:
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    subject = SubjectKey.of(key)
    forms = {
        "ssh.pub": key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH),
        "pem.pem": key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        "hex.key": subject.raw.hex().encode() + b"\n",
    }
    for name, data in forms.items():
        (vendor.root / name).write_bytes(data)
    names = [vendor.root / name for name in forms]
    for number, name in enumerate([*names, subject.raw.hex(), subject.key_id.hex()]):
        words = ("--op", "override", "--holder", name)
        ran = vendor.ticket(*words, output=f"{number}.svc")
        assert ran.report["holder"] == subject.key_id.hex(), ran.out


def test_a_key_of_a_fido_token_is_refused_by_name(vendor: Vendor) -> None:
    path = vendor.root / "sk.pub"
    path.write_text("sk-ssh-ed25519@openssh.com AAAA ada\n")
    ran = vendor.credential("--for", path, "--role", "technician")
    assert "FIDO" in refused(ran)[2]


def test_counters_go_on_where_they_were_for_each_lock(vendor: Vendor) -> None:
    words = ("--op", "override", "--holder", vendor.root / "ada.pub")
    first = vendor.ticket(*words, "--count", "3", output="many").report["tickets"]
    second = vendor.ticket(*words, output="one.svc").report["tickets"]
    other = vendor.ticket(*words, output="two.svc", lock="SL2-000124").report["tickets"]
    assert [one["counter"] for one in (*first, *second, *other)] == [1, 2, 3, 4, 1]
    assert len({one["id"] for one in (*first, *second)}) == 4


def test_an_old_log_put_back_stops_tickets_until_its_counters_are_passed(vendor: Vendor) -> None:
    words = ("--op", "override", "--holder", vendor.root / "ada.pub")
    vendor.ticket(*words, output="1.svc")
    shutil.copy(vendor.folder / "issued.db", vendor.root / "backup")
    vendor.ticket(*words, output="2.svc")
    shutil.copy(vendor.root / "backup", vendor.folder / "issued.db")
    ran = vendor.ticket(*words, output="3.svc")
    assert (ran.code, ran.report["reason"]) == (7, "ledger-damaged")
    assert not (vendor.root / "3.svc").exists()
    again = vendor.ticket(*words, "--first-counter", "10", output="3.svc")
    assert again.report["tickets"][0]["counter"] == 10
    assert refused(vendor.ticket(*words, "--first-counter", "10", output="4.svc"))[1] == "usage"


def test_processes_issuing_at_once_never_give_the_same_counter(vendor: Vendor) -> None:
    words = [
        sys.executable, "-m", "svcport", "--json", "--home", str(vendor.root / "office"),
        "issuer", "ticket", str(vendor.folder), "--lock", SERIAL, "--op", "override",
        "--holder", str(vendor.root / "ada.pub"), "--count", "5",
    ]  # fmt: skip
    running = [
        subprocess.Popen([*words, "-o", str(vendor.root / name)], stdout=subprocess.PIPE)
        for name in ("a", "b")
    ]
    assert [process.communicate(timeout=50)[1] for process in running] == [None, None]
    assert [process.returncode for process in running] == [0, 0]
    entries = vendor.issuer("log", "--lock", SERIAL).report["list"]
    counters = [entry["first"] for entry in entries if entry["kind"] == "ticket"]
    assert sorted(counters) == list(range(1, 11))


def test_the_log_says_who_got_what(vendor: Vendor) -> None:
    vendor.credential("--for", vendor.root / "ada.pub", "--role", "technician", "--name", "Ada")
    vendor.ticket(*(w.format(vendor.root) for w in TICKET), "--case", "C-1")
    report = vendor.issuer("log").report
    reserved, ticket = report["list"][-2:]
    assert (reserved["kind"], reserved["first"], reserved["last"]) == ("reserved", 1, 1)
    assert (ticket["kind"], ticket["lock"], ticket["image"]) == ("ticket", SERIAL, DIGEST)
    assert (ticket["case"], ticket["ops"], ticket["mode"]) == ("C-1", "rollback", "counter")
    given = next(entry for entry in report["list"] if entry["kind"] == "credential")
    assert (given["name"], given["holder"]) == ("Ada", ticket["holder"])
    listed = vendor.issuer("log", "--lock", SERIAL).report["list"]
    assert [entry["kind"] for entry in listed] == ["reserved", "ticket"]
