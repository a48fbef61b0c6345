from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fieldkit import NOW, AtStep, Field, lab, make_cable
from keykit import KINDS, bundle_without_key, secret, soft_hsm, ssh_agent

from protocol.sealed import SubjectKey
from svcport.audit.verify import verify_ledger
from svcport.audit.view import LedgerView
from svcport.authorisation.keys.references import parse_reference
from svcport.authorisation.keys.signers import open_signer
from svcport.authorisation.setup import import_bundle
from svcport.authorisation.trust import Trust
from svcport.catalogue.client import Catalogue
from svcport.errors import (
    FailedError,
    Outcome,
    Reason,
    RefusedError,
    SvcportError,
    UnknownOutcomeError,
)
from svcport.home import Home

KEEPERS = ("token", "agent")


class Kept:
    """A key in a keeper, and how to take the keeper away and bring it back."""

    def __init__(self, reference: str, subject: SubjectKey, take: Callable[[], None]) -> None:
        self.reference = reference
        self.subject = subject
        self.take = take


@contextmanager
def keeper(name: str, kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kept]:
    if name == "token":
        with soft_hsm(folder) as hsm:
            hsm.token("technician", kind)
            reference = hsm.reference("technician", object=kind)
            yield Kept(reference, open_signer(reference, secret).subject, hsm.pull)
    else:
        with ssh_agent(monkeypatch) as agent:
            subject = agent.add(kind, "technician")
            yield Kept("ssh-agent:technician", subject, agent.stop)


def field_with(kept: Kept, root: Path) -> Field:
    """A technician's world whose home was set up with a key that is kept elsewhere."""
    folder = lab("bad-update")
    bundle = bundle_without_key(folder, "tests", NOW, root / "bundle", kept.subject)
    home = Home(root / "home")
    import_bundle(bundle, home, NOW, key=parse_reference(kept.reference), secret=secret)
    Catalogue.refresh(
        home.root, bundle / "catalogue", now=NOW, root=Trust.load(home).catalogue_root
    )
    cables = {"P0": make_cable(folder, folder.serials[0], "P0")}
    return Field(folder, home, cables, secret=secret)


def verdict_of(field: Field) -> tuple[object, object]:
    with LedgerView.open_for_audit(field.home.ledger) as view:
        verdict = verify_ledger(view)
    return verdict.problems, verdict.open_intents


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", KEEPERS)
def test_a_whole_visit_with_the_key_kept_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, kind: str
) -> None:
    with keeper(name, kind, tmp_path / "keeper", monkeypatch) as kept:
        field = field_with(kept, tmp_path)
        assert not (field.home.credential / "technician.key").exists()
        report = field.rollback()
        assert report.members()["after"]["version"] == "2.3.1+0"
        assert field.restore().members()["after"]["version"] == "2.4.1+0"
        assert field.verify().outcome is Outcome.OK
        assert field.reconcile().outcome in (Outcome.OK, Outcome.NOTHING_TO_DO)
    assert verdict_of(field) == ((), ())


def test_a_wrong_pin_starts_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with keeper("token", "p256", tmp_path / "keeper", monkeypatch) as kept:
        field = field_with(kept, tmp_path)
        # each command is a process of its own; here the process must forget its login
        import pkcs11

        pkcs11.lib(kept.reference.partition("module-path=")[2]).reinitialize()
        field.secret = lambda _name: b"0000"
        carried = field.cable.carried
        with pytest.raises(RefusedError, match="wrong") as caught:
            field.restore()
        assert caught.value.reason is Reason.SIGNER_LOCKED
        assert field.cable.carried == carried, "the lock was asked something"


@pytest.mark.parametrize(
    ("name", "number", "kind"),
    [
        ("token", 0, FailedError),  # before the lock is looked for
        ("token", 3, FailedError),  # before the INTENT
        ("token", 4, UnknownOutcomeError),  # while the image is sent
        ("agent", 3, FailedError),
        ("agent", 8, UnknownOutcomeError),  # while it is on trial
    ],
)
def test_a_keeper_taken_away_is_named_and_leaves_a_lock_that_can_be_finished(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    number: int,
    kind: type[SvcportError],
) -> None:
    with keeper(name, "p256", tmp_path / "keeper", monkeypatch) as kept:
        field = field_with(kept, tmp_path)
        field.progress = AtStep(number + 1, kept.take)
        with pytest.raises(kind, match="does not sign") as caught:
            field.restore()
    assert caught.value.reason is Reason.SIGNER_LOCKED
    finish(field, tmp_path)


def finish(field: Field, root: Path) -> None:
    """Another technician's key, of the same vendor, brings the lock and the ledger to their end."""
    home = Home(root / "second")
    import_bundle(field.lab.technician, home, NOW)
    Catalogue.refresh(
        home.root,
        field.lab.technician / "catalogue",
        now=NOW,
        root=Trust.load(home).catalogue_root,
    )
    second = Field(field.lab, home, field.cables, field.now)
    assert second.restore().outcome in (Outcome.OK, Outcome.NOTHING_TO_DO)
    assert second.verify().outcome is Outcome.OK
    assert verdict_of(field)[0] == ()
