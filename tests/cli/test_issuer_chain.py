from __future__ import annotations

from pathlib import Path

import pytest
from fieldkit import Field
from issuerkit import SERIAL, Vendor

from svcport.errors import Outcome, Reason, RefusedError


@pytest.fixture
def vendor(tmp_path: Path) -> Vendor:
    made = Vendor(tmp_path)
    assert made.init().code == 0
    return made


def technician(vendor: Vendor) -> tuple[Field, Path]:
    public = vendor.person()
    ran = vendor.credential("--for", public, "--role", "technician", "--name", "Ada Field")
    assert ran.code == 0, ran.out
    return vendor.field("--key", public.with_suffix("")), public


def test_a_lock_takes_what_this_vendor_issued_and_takes_it_once(vendor: Vendor) -> None:
    field, public = technician(vendor)
    with pytest.raises(RefusedError) as refused:
        field.rollback()
    assert refused.value.reason is Reason.NO_PERMIT
    ran = vendor.ticket("--op", "rollback", "--image", vendor.image("2.3.1"), "--holder", public)
    assert ran.code == 0, ran.out
    (ticket,) = ran.report["tickets"]
    path = Path(ticket["file"])
    report = field.rollback(tickets=(path,))
    assert report.outcome is Outcome.OK
    assert report.members()["after"]["version"] == "2.3.1+0"
    assert field.restore().members()["after"]["version"] == "2.4.1+0"
    with pytest.raises(RefusedError) as refused:
        field.rollback(tickets=(path,))
    assert refused.value.reason is Reason.PERMIT_USED


def test_a_depot_issues_a_ticket_for_the_nonce_that_the_lock_shows(vendor: Vendor) -> None:
    depot = vendor.root / "depot"
    role = ("--role", "issuer", "--new-key", "--ticket-class", "1", "-o", depot)
    assert vendor.issuer("credential", *role).code == 0
    field, public = technician(vendor)
    nonce = field.identify().members()["nonce"]
    ran = vendor.issuer(
        "ticket", "--lock", SERIAL, "--op", "rollback", "--image", vendor.image("2.3.1"),
        "--holder", vendor.root / "bundle", "--nonce", nonce, "-o", vendor.root / "n.svc",
        folder="depot",
    )  # fmt: skip
    assert ran.code == 0, ran.out
    assert ran.report["tickets"][0]["counter"] is None
    assert field.rollback(tickets=(vendor.root / "n.svc",)).outcome is Outcome.OK
    assert public.exists()


def test_tickets_put_into_the_bundle_are_imported_with_it(vendor: Vendor) -> None:
    ran = vendor.credential("--new-key", "--role", "technician")
    assert ran.code == 0, ran.out
    words = ("--op", "rollback", "--image", vendor.image("2.3.1"), "--holder", ran.report["key"])
    assert vendor.ticket(*words, "--count", "3", output="bundle/tickets").code == 0
    field = vendor.field()
    assert len(list(field.home.tickets.glob("*.svc"))) == 3
    assert field.rollback().outcome is Outcome.OK


def test_an_owner_updates_the_own_lock_with_a_self_service_ticket_only(vendor: Vendor) -> None:
    ran = vendor.credential("--new-key", "--role", "owner", "--lock", SERIAL)
    assert ran.code == 0, ran.out
    field = vendor.field()
    with pytest.raises(RefusedError) as refused:
        field.restore()
    assert refused.value.reason is Reason.NO_PERMIT
    words = ("--op", "update", "--image", vendor.image("2.4.1"), "--holder", vendor.root / "bundle")
    assert vendor.ticket(*words).code == 0
    report = field.restore(tickets=(vendor.root / "t.svc",))
    assert report.members()["after"]["version"] == "2.4.1+0"


def test_a_revoked_technician_is_refused_by_a_home_that_knows_it(vendor: Vendor) -> None:
    field, public = technician(vendor)
    assert field.identify().outcome is Outcome.OK
    assert vendor.issuer("epoch", "--revoke", public).code == 0
    # the next bundle of anybody carries the statement; here it reaches the same home
    (field.home.trust / "epoch.svc").write_bytes((vendor.folder / "trust/epoch.svc").read_bytes())
    with pytest.raises(RefusedError) as refused:
        field.restore()
    assert refused.value.reason is Reason.REVOKED


def test_a_raised_epoch_ends_everything_older_until_it_is_renewed(vendor: Vendor) -> None:
    public = vendor.person()
    assert vendor.issuer("epoch", "--min-epoch", "2").code == 0
    ran = vendor.credential("--for", public, "--role", "technician")
    assert (ran.code, ran.report["reason"]) == (3, "revoked")
    assert vendor.issuer("credential", "--role", "issuer").report["epoch"] == 2
    ran = vendor.credential("--for", public, "--role", "technician")
    assert ran.report["epoch"] == 2
    assert vendor.field("--key", public.with_suffix("")).identify().outcome is Outcome.OK


def test_the_next_root_signs_as_well_as_the_first(vendor: Vendor) -> None:
    following = vendor.folder / "keys" / "root-next.key"
    assert vendor.issuer("credential", "--role", "issuer", "--root-key", following).code == 0
    assert vendor.issuer("epoch", "--min-epoch", "1", "--root-key", following).code == 0
    field, _public = technician(vendor)
    assert field.identify().outcome is Outcome.OK
