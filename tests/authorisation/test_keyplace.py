from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from authority_kit import ISSUER, NOW, TECHNICIAN, TECHNICIAN_KEY, Maker, files_below, seed_key
from hypothesis import given
from hypothesis import strategies as st
from keykit import Agent, SoftHsm, secret, soft_hsm, ssh_agent

from protocol.errors import ProtocolError
from protocol.sealed import SubjectKey
from svcport.authorisation.credentials import Credential, store_credential
from svcport.authorisation.keys import keyplace
from svcport.authorisation.keys.keyfile import KeyFileSigner, write_key_file
from svcport.authorisation.keys.keyplace import StoredReference
from svcport.authorisation.keys.references import AgentKey, KeyFile, TokenKey, parse_reference
from svcport.authorisation.setup import import_bundle
from svcport.authorisation.trust import Trust
from svcport.errors import FailedError, Reason, RefusedError
from svcport.home import Home

STORED = "technician.keyref"
HANDSHAKE = bytes(32)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture
def hsm(tmp_path: Path) -> Iterator[SoftHsm]:
    with soft_hsm(tmp_path / "hsm") as ready:
        ready.token("Ada Field", "p256", "ed25519")
        yield ready


@pytest.fixture
def agent(monkeypatch: pytest.MonkeyPatch) -> Iterator[Agent]:
    with ssh_agent(monkeypatch) as ready:
        yield ready


def bundle_for(root: Path, subject: SubjectKey) -> Home:
    """A bundle of certificates without any key."""
    bundle, maker = Home(root), Maker()
    maker.trust.write(bundle)
    certificate = maker.technician_certificate(subject=subject)
    store_credential(bundle, maker.issuer_certificate(), certificate, None)
    return bundle


def refused(bundle: Home, home: Home, key: str | None, answer: object = secret) -> RefusedError:
    before = files_below(home.root)
    with pytest.raises(RefusedError) as caught:
        import_bundle(
            bundle.root,
            home,
            NOW,
            key=None if key is None else parse_reference(key),
            secret=answer,  # type: ignore[arg-type]
        )
    assert files_below(home.root) == before, "a refused setup wrote something"
    return caught.value


@pytest.mark.parametrize("kind", ["p256", "ed25519"])
def test_a_home_keeps_where_on_the_token_the_key_is(
    tmp_path: Path, home: Home, hsm: SoftHsm, kind: str
) -> None:
    reference = parse_reference(hsm.reference("Ada%20Field", object=kind))
    subject = keyplace.open_signer(reference, secret).subject
    bundle = bundle_for(tmp_path / "bundle", subject)
    import_bundle(bundle.root, home, NOW, key=reference, secret=secret)
    assert sorted(path.name for path in home.credential.iterdir()) == [
        "issuer.svc", STORED, "technician.svc",
    ]  # fmt: skip
    assert str(reference) in (home.credential / STORED).read_text()
    trust = Trust.load(home)
    credential = Credential.load(home, trust, secret)
    signature = credential.auth_signature(trust.realm, HANDSHAKE)
    assert len(signature) == 64
    with pytest.raises(RefusedError, match="none was given"):
        Credential.load(home, trust)
    hsm.pull()
    with pytest.raises(FailedError) as caught:
        credential.auth_signature(trust.realm, HANDSHAKE)
    assert caught.value.reason is Reason.SIGNER_LOCKED


def test_a_home_keeps_which_key_of_the_agent_it_is(
    tmp_path: Path, home: Home, agent: Agent
) -> None:
    bundle = bundle_for(tmp_path / "bundle", agent.add("p256", "ada"))
    import_bundle(bundle.root, home, NOW, key=AgentKey("ada"))
    trust = Trust.load(home)
    assert len(Credential.load(home, trust).auth_signature(trust.realm, HANDSHAKE)) == 64
    agent.run("ssh-add", "-q", "-D")
    with pytest.raises(RefusedError, match="locked or holds no key"):
        Credential.load(home, trust)


def test_a_key_file_that_is_named_stays_where_it_is(
    tmp_path: Path, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = bundle_for(tmp_path / "bundle", TECHNICIAN.subject)
    write_key_file(tmp_path / "ada.key", TECHNICIAN_KEY, b"open sesame", rounds=1)
    monkeypatch.chdir(tmp_path)
    asked: list[str] = []

    def answer(name: str) -> bytes:
        asked.append(name)
        return b"open sesame"

    import_bundle(bundle.root, home, NOW, key=KeyFile(Path("ada.key")), secret=answer)
    assert asked == [f"passphrase of {tmp_path / 'ada.key'}"]
    monkeypatch.chdir("/")
    assert Credential.load(home, Trust.load(home), answer).signer.subject == TECHNICIAN.subject
    assert not (home.credential / "technician.key").exists()


@pytest.mark.skipif(os.name != "posix", reason="only POSIX has modes")
def test_a_named_key_file_that_others_may_read_is_refused(tmp_path: Path, home: Home) -> None:
    bundle = bundle_for(tmp_path / "bundle", TECHNICIAN.subject)
    path = tmp_path / "ada.key"
    write_key_file(path, TECHNICIAN_KEY)
    path.chmod(0o640)
    assert refused(bundle, home, str(path)).reason is Reason.SIGNER_LOCKED


def test_another_key_than_the_certificates_is_refused(
    tmp_path: Path, home: Home, agent: Agent, hsm: SoftHsm
) -> None:
    bundle = bundle_for(tmp_path / "bundle", TECHNICIAN.subject)
    agent.add("p256", "ada")
    write_key_file(tmp_path / "other.key", seed_key(99))
    for key in (
        "ssh-agent:ada",
        hsm.reference("Ada%20Field", object="p256"),
        str(tmp_path / "other.key"),
    ):
        error = refused(bundle, home, key)
        assert error.reason is Reason.NOT_SET_UP
        assert TECHNICIAN.subject.key_id.hex() in error.message


def test_a_wrong_pin_sets_nothing_up(tmp_path: Path, home: Home, hsm: SoftHsm) -> None:
    bundle = bundle_for(tmp_path / "bundle", TECHNICIAN.subject)
    key = hsm.reference("Ada%20Field", object="p256")
    assert refused(bundle, home, key, lambda _: b"0000").reason is Reason.SIGNER_LOCKED
    assert not home.is_set_up


def test_a_key_that_does_not_sign_sets_nothing_up(
    tmp_path: Path, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Mute(KeyFileSigner):
        def sign(self, message: bytes) -> bytes:
            return bytes(64)

    mute = Mute(TECHNICIAN.subject, TECHNICIAN_KEY)
    monkeypatch.setattr(keyplace, "open_signer", lambda *_: mute)
    bundle = bundle_for(tmp_path / "bundle", TECHNICIAN.subject)
    with pytest.raises(FailedError, match="not of its key"):
        import_bundle(bundle.root, home, NOW, key=AgentKey("ada"))
    assert not home.is_set_up


def test_a_renewed_bundle_without_a_key_keeps_the_homes_key(
    tmp_path: Path, home: Home, agent: Agent
) -> None:
    subject = agent.add("p256", "ada")
    import_bundle(bundle_for(tmp_path / "b1", subject).root, home, NOW, key=AgentKey("ada"))
    agent.stop()  # a renewal needs no secret
    before = (home.credential / STORED).read_bytes()
    import_bundle(bundle_for(tmp_path / "b2", subject).root, home, NOW)
    assert (home.credential / STORED).read_bytes() == before
    assert refused(bundle_for(tmp_path / "b3", TECHNICIAN.subject), home, None).reason is (
        Reason.NOT_SET_UP
    )


def test_a_bundle_without_a_key_keeps_the_homes_key_file(tmp_path: Path, home: Home) -> None:
    Maker().write(Home(tmp_path / "first"))
    import_bundle(tmp_path / "first", home, NOW)
    import_bundle(bundle_for(tmp_path / "second", TECHNICIAN.subject).root, home, NOW)
    assert Credential.load(home, Trust.load(home)).signer.subject == TECHNICIAN.subject


def test_a_bundle_without_a_key_says_how_to_name_one(tmp_path: Path, home: Home) -> None:
    error = refused(bundle_for(tmp_path / "bundle", TECHNICIAN.subject), home, None)
    assert error.reason is Reason.NOT_SET_UP
    assert "--key" in error.hint


def test_a_bundles_key_file_replaces_a_reference_and_a_reference_a_key_file(
    tmp_path: Path, home: Home, agent: Agent
) -> None:
    with_file = Home(tmp_path / "with-file")
    Maker().write(with_file)
    for _ in range(2):
        subject = agent.add("ed25519", f"ada{_}")
        bundle = bundle_for(tmp_path / f"bundle{_}", subject)
        import_bundle(bundle.root, home, NOW, key=AgentKey(f"ada{_}"))
        assert not (home.credential / "technician.key").exists()
        import_bundle(with_file.root, home, NOW)
        assert not (home.credential / STORED).exists()
    assert Credential.load(home, Trust.load(home)).signer.subject == TECHNICIAN.subject


def test_a_reference_in_a_bundle_is_not_followed(tmp_path: Path, home: Home) -> None:
    bundle = bundle_for(tmp_path / "bundle", TECHNICIAN.subject)
    evil = StoredReference(TokenKey("T", module=tmp_path / "evil.so"), TECHNICIAN.subject)
    (bundle.credential / STORED).write_bytes(evil.build())
    assert refused(bundle, home, None).reason is Reason.NOT_SET_UP
    Maker().write(bundle)
    import_bundle(bundle.root, home, NOW)
    assert not (home.credential / STORED).exists()


def test_a_setup_that_broke_off_between_two_keys_leaves_the_old_one_in_use(
    tmp_path: Path, home: Home
) -> None:
    Maker().write(home)
    other = StoredReference(AgentKey("someone"), ISSUER.subject)
    (home.credential / STORED).write_bytes(other.build())
    assert Credential.load(home, Trust.load(home)).signer.subject == TECHNICIAN.subject


def test_a_reference_to_another_key_is_refused_before_it_is_opened(home: Home) -> None:
    Maker().write(home)
    (home.credential / "technician.key").unlink()
    other = StoredReference(AgentKey("someone"), ISSUER.subject)
    (home.credential / STORED).write_bytes(other.build())
    with pytest.raises(RefusedError, match="the certificate names") as caught:
        Credential.load(home, Trust.load(home))
    assert caught.value.reason is Reason.NOT_SET_UP


@pytest.mark.parametrize(
    "data", [b"", b"junk", b"\xff\n\n\n", b"svcport-key-reference/1\nssh-agent:a\nzz\n"]
)
def test_a_damaged_reference_is_not_set_up(home: Home, data: bytes) -> None:
    Maker().write(home)
    (home.credential / STORED).write_bytes(data)
    with pytest.raises(RefusedError, match="is damaged") as caught:
        Credential.load(home, Trust.load(home))
    assert caught.value.reason is Reason.NOT_SET_UP


GOOD = StoredReference(AgentKey("ada"), TECHNICIAN.subject).build()


@given(
    st.one_of(
        st.binary(),
        st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)).map(
            lambda at: GOOD[: at[0]] + bytes([at[1]]) + GOOD[at[0] + 1 :]
        ),
    )
)
def test_any_bytes_are_a_stored_reference_that_rebuilds_to_them_or_none(data: bytes) -> None:
    try:
        stored = StoredReference.parse(data)
    except (ValueError, ProtocolError, RefusedError):
        return
    assert stored.build() == data
