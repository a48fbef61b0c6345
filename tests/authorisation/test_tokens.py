from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from keykit import KINDS, PIN, SoftHsm, secret, soft_hsm

from protocol.sealed import P256_ORDER, Algorithm, Signer
from svcport.authorisation.keys.locked import checked_signature
from svcport.authorisation.keys.signers import open_signer, self_check
from svcport.authorisation.keys.tokens import ENVIRONMENT, subject_of_point, tries_left
from svcport.errors import FailedError, Outcome, Reason, RefusedError

MESSAGE = b"svcport-sig-v1\0 what is signed"


@pytest.fixture
def hsm(tmp_path: Path) -> Iterator[SoftHsm]:
    with soft_hsm(tmp_path / "hsm") as ready:
        yield ready


@pytest.fixture
def bench(hsm: SoftHsm) -> SoftHsm:
    hsm.token("bench", *KINDS)
    return hsm


def wrong(name: str) -> bytes:
    return b"0000"


def refused(reference: str, answer: object = secret) -> RefusedError:
    with pytest.raises(RefusedError) as caught:
        open_signer(reference, answer)  # type: ignore[arg-type]
    assert caught.value.reason is Reason.SIGNER_LOCKED
    return caught.value


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_on_a_token_signs_as_sealed_objects_want_it(bench: SoftHsm, kind: str) -> None:
    signer = open_signer(bench.reference("bench", object=kind), secret)
    assert signer.subject.algorithm is (
        Algorithm.ECDSA_P256 if kind == "p256" else Algorithm.ED25519
    )
    for number in range(8):  # half of all ECDSA signatures come with a high s
        message = MESSAGE + bytes([number])
        signer.subject.verify(signer.sign(message), message)
    self_check(signer)


def test_a_key_is_found_by_its_id_and_the_driver_by_the_environment(
    bench: SoftHsm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ENVIRONMENT, str(bench.module))
    by_id = open_signer("pkcs11:token=bench;id=%02", secret)
    assert by_id.subject == open_signer("pkcs11:token=bench;object=ed25519", secret).subject
    monkeypatch.delenv(ENVIRONMENT)
    assert ENVIRONMENT in refused("pkcs11:token=bench;id=%02").message


def test_a_wrong_pin_is_refused_and_says_what_the_token_tells(bench: SoftHsm) -> None:
    for _ in range(2):
        error = refused(bench.reference("bench", object="p256"), wrong)
        assert "PIN of token bench is wrong" in error.message
        assert "a wrong PIN has been given" in error.message
        assert error.members()["pin_tries_left"] is None
    self_check(open_signer(bench.reference("bench", object="p256"), secret))


@pytest.mark.parametrize(
    ("answer", "word"),
    [(None, "none was given"), (lambda _: b"", "empty"), (lambda _: b"\xff", "UTF-8")],
)
def test_without_a_pin_the_key_stays_locked(bench: SoftHsm, answer: object, word: str) -> None:
    assert word in refused(bench.reference("bench", object="p256"), answer).message


def test_the_flags_of_a_token_tell_the_tries_that_are_left() -> None:
    flags = pytest.importorskip("pkcs11").TokenFlag
    assert tries_left(flags.TOKEN_INITIALIZED) is None
    assert tries_left(flags.USER_PIN_COUNT_LOW) is None
    assert tries_left(flags.USER_PIN_COUNT_LOW | flags.USER_PIN_FINAL_TRY) == 1
    assert tries_left(flags.USER_PIN_FINAL_TRY | flags.USER_PIN_LOCKED) == 0


@pytest.mark.parametrize(
    ("token", "parts", "word"),
    [
        ("elsewhere", {"object": "p256"}, "there: bench"),
        ("bench", {}, "2 private keys"),
        ("bench", {"object": "nothing"}, "0 private keys"),
    ],
)
def test_the_one_token_and_key_must_be_there(
    bench: SoftHsm, token: str, parts: dict[str, str], word: str
) -> None:
    assert word in refused(bench.reference(token, **parts)).message


def test_two_tokens_that_fit_are_not_guessed_between(bench: SoftHsm) -> None:
    bench.token("second", "p256")
    assert "2 tokens fit" in refused(f"pkcs11:object=p256?module-path={bench.module}").message


def test_a_driver_that_is_none_is_named(bench: SoftHsm, tmp_path: Path) -> None:
    for driver in (tmp_path / "missing.so", tmp_path / "text.so"):
        (tmp_path / "text.so").write_text("no library")
        assert str(driver) in refused(f"pkcs11:token=bench?module-path={driver}").message


def test_without_python_pkcs11_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pkcs11", None)
    assert "svcport[pkcs11]" in refused("pkcs11:token=bench?module-path=/driver.so").hint


def test_several_keys_of_a_token_are_open_at_once_after_one_pin(bench: SoftHsm) -> None:
    first, second = (open_signer(bench.reference("bench", object=k), secret) for k in KINDS)
    self_check(first)
    self_check(second)


def test_threads_share_a_signer(bench: SoftHsm) -> None:
    signers = [open_signer(bench.reference("bench", object=kind), secret) for kind in KINDS]

    def work(number: int) -> None:
        signer, message = signers[number % 2], b"message %d" % number
        signer.subject.verify(signer.sign(message), message)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(200)))


@pytest.mark.parametrize("kind", KINDS)
def test_a_token_that_is_pulled_fails_by_name(bench: SoftHsm, kind: str) -> None:
    signer = open_signer(bench.reference("bench", object=kind), secret)
    bench.pull()
    with pytest.raises(FailedError, match="of token bench does not sign") as caught:
        signer.sign(MESSAGE)
    assert (caught.value.reason, caught.value.outcome) == (Reason.SIGNER_LOCKED, Outcome.FAILED)


def test_a_key_that_wants_its_pin_each_time_gets_it(hsm: SoftHsm) -> None:
    hsm.token("piv")
    import pkcs11
    from pkcs11.util.ec import encode_named_curve_parameters

    with hsm.login("piv") as session:
        parameters = session.create_domain_parameters(
            pkcs11.KeyType.EC,
            {pkcs11.Attribute.EC_PARAMS: encode_named_curve_parameters("secp256r1")},
            local=True,
        )
        parameters.generate_keypair(
            store=True,
            label="9c",
            id=b"\2",
            private_template={pkcs11.Attribute.ALWAYS_AUTHENTICATE: True},
        )
    signer = open_signer(hsm.reference("piv", object="9c"), secret)
    for _ in range(3):
        self_check(signer)
    assert PIN not in repr(signer)


def test_neither_repr_nor_error_shows_the_pin(bench: SoftHsm) -> None:
    signer = open_signer(bench.reference("bench", object="p256"), secret)
    assert PIN not in repr(signer)
    assert "0000" not in refused_after_new_login(bench)


def refused_after_new_login(bench: SoftHsm) -> str:
    bench.token("other", "p256")
    return refused(bench.reference("other", object="p256"), wrong).message


P256_PARAMETERS = bytes.fromhex("06082a8648ce3d030107")
GENERATOR = bytes.fromhex(
    "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"
    "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"
)


@pytest.mark.parametrize("wrap", [b"", b"\x04\x41"])
def test_a_p256_point_may_come_bare_or_wrapped(wrap: bytes) -> None:
    kinds = pytest.importorskip("pkcs11").KeyType
    subject = subject_of_point(kinds.EC, P256_PARAMETERS, wrap + GENERATOR)
    assert subject.raw == b"\x02" + GENERATOR


@pytest.mark.parametrize("key", [bytes(range(32)), b"\x04\x20" + bytes(30)])
@pytest.mark.parametrize("wrap", [b"", b"\x04\x20"])
def test_an_ed25519_point_may_come_bare_or_wrapped(wrap: bytes, key: bytes) -> None:
    kinds = pytest.importorskip("pkcs11").KeyType
    assert subject_of_point(kinds.EC_EDWARDS, b"", wrap + key).raw == b"\x01" + key


@pytest.mark.parametrize("point", [b"", GENERATOR[:-1], b"\x02" + GENERATOR[1:], GENERATOR + b"\0"])
def test_a_point_of_another_kind_is_no_key(point: bytes) -> None:
    kinds = pytest.importorskip("pkcs11").KeyType
    with pytest.raises(ValueError, match="wanted"):
        subject_of_point(kinds.EC, P256_PARAMETERS, point)


def test_a_signature_with_a_high_s_comes_out_with_a_low_one(bench: SoftHsm) -> None:
    signer: Signer = open_signer(bench.reference("bench", object="p256"), secret)
    low = signer.sign(MESSAGE)
    high = low[:32] + (P256_ORDER - int.from_bytes(low[32:], "big")).to_bytes(32, "big")
    assert checked_signature(signer.subject, "it", high, MESSAGE) == low


@pytest.mark.parametrize(
    "raw", [b"", bytes(64), b"\xff" * 64, bytes(63)], ids=["none", "zeros", "ones", "short"]
)
def test_what_is_no_signature_of_the_key_is_never_passed_on(bench: SoftHsm, raw: bytes) -> None:
    for kind in KINDS:
        subject = open_signer(bench.reference("bench", object=kind), secret).subject
        with pytest.raises(FailedError, match="not of its key"):
            checked_signature(subject, "it", raw, MESSAGE)
