from __future__ import annotations

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svcport.audit.checkpoint import Checkpoint
from svcport.audit.note import Note, NoteError, NoteSignature, StationKey, VerifierKey

NAME = "svcport.example/station/bench-07"
VKEY = f"{NAME}+3aa7f723+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4"
KEY = StationKey.from_seed(bytes(range(32)))
ROOT = base64.b64decode("lPvQ3YNvUDAWkubQ6t5yjuGexSv/8WBu2AfIV11aqhk=")
SIGNATURE = (
    "Oqf3IzUxYJocjgUMxbMGVG0v5ocztAHSHf24+HKFeSFDVz645xgK+cMX8UxpoUP/GAKnVh8sfTBIrpgwnjT8ddFruAk="
)
CHECKPOINT = Checkpoint(NAME, 3, ROOT)
SIGNED = CHECKPOINT.sign(KEY)


def test_the_worked_vector_is_written_byte_for_byte() -> None:
    assert str(KEY.verifier(NAME)) == VKEY
    text = f"{NAME}\n3\nlPvQ3YNvUDAWkubQ6t5yjuGexSv/8WBu2AfIV11aqhk=\n"
    assert SIGNED.decode() == f"{text}\n\N{EM DASH} {NAME} {SIGNATURE}\n"
    assert Checkpoint.open(SIGNED, VerifierKey.parse(VKEY)) == CHECKPOINT


def test_a_cosignature_of_an_unknown_key_is_ignored() -> None:
    field = (
        "kBn6YwAAAABq/YbAR/5Mfv7FxpH6zql2deyv3XGK6ih8P6J+"
        "uiNDYbfms2dfzaQeH4/a0o4QUegfj/2OR88UUrjDvTN+z5O1MLQ+Aw=="
    )
    cosigned = SIGNED + f"\N{EM DASH} svcport.example/depot/north {field}\n".encode()
    assert Checkpoint.open(cosigned, VerifierKey.parse(VKEY)) == CHECKPOINT
    assert len(Note.parse(cosigned).signatures) == 2
    assert Note.parse(cosigned).build() == cosigned


def test_a_changed_byte_of_a_checkpoint_is_never_accepted() -> None:
    for position in range(len(SIGNED)):
        changed = bytearray(SIGNED)
        changed[position] ^= 1
        with pytest.raises(NoteError):
            Checkpoint.open(bytes(changed), KEY.verifier(NAME))


def test_a_cut_checkpoint_is_never_accepted() -> None:
    for length in range(len(SIGNED)):
        with pytest.raises(NoteError):
            Checkpoint.open(SIGNED[:length], KEY.verifier(NAME))


def test_a_known_key_with_a_wrong_signature_rejects_the_whole_note() -> None:
    other = StationKey.from_seed(bytes(32))
    forged = NoteSignature(NAME, KEY.verifier(NAME).key_hash, bytes(64))
    good = other.sign_note("other", str(CHECKPOINT)).signatures[0]
    note = Note(str(CHECKPOINT), (good, forged))
    assert note.verify([other.verifier("other")]) == (other.verifier("other"),)
    with pytest.raises(NoteError, match="does not verify"):
        note.verify([other.verifier("other"), KEY.verifier(NAME)])


def test_a_note_without_a_known_signature_is_rejected() -> None:
    with pytest.raises(NoteError, match="no known key signed"):
        Note.parse(SIGNED).verify([StationKey.from_seed(bytes(32)).verifier(NAME)])


def test_the_text_ends_at_the_last_blank_line() -> None:
    note = KEY.sign_note(NAME, "one\n\ntwo\n")
    assert Note.parse(note.build()) == note
    assert Note.parse(note.build()).text == "one\n\ntwo\n"


LINE = f"\N{EM DASH} {NAME} {SIGNATURE}\n"


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "blank line"),
        (b"text\n", "blank line"),
        (b"text\n\n", "blank line"),
        (f"text\n\n{LINE}"[:-1].encode(), "blank line"),
        (b"te\xffxt\n\n" + LINE.encode(), "UTF-8"),
        (f"te\txt\n\n{LINE}".encode(), "control character"),
        (f"te\rxt\n\n{LINE}".encode(), "control character"),
        (f"text\n\n{LINE}".replace("\N{EM DASH}", "-").encode(), "em dash"),
        (f"text\n\n\N{EM DASH} na+me {SIGNATURE}\n".encode(), "no key name"),
        (f"text\n\n\N{EM DASH}  {SIGNATURE}\n".encode(), "no key name"),
        ("text\n\n\N{EM DASH} name\n".encode(), "name and base64"),
        ("text\n\n\N{EM DASH} name AAAA\n".encode(), "name and base64"),
        ("text\n\n\N{EM DASH} name AAAAAB==\n".encode(), "canonical base64"),
        ("text\n\n\N{EM DASH} name AAA*AAA=\n".encode(), "not base64"),
        (f"text\n\n\N{EM DASH} name {SIGNATURE} \n".encode(), "not base64"),
        (("text\n\n" + LINE * 101).encode(), "at most 100"),
    ],
)
def test_what_is_no_note_is_refused_by_name(data: bytes, why: str) -> None:
    with pytest.raises(NoteError, match=why):
        Note.parse(data)


@pytest.mark.parametrize(
    "text",
    [
        "o\n03\n" + base64.b64encode(ROOT).decode() + "\n",
        "o\n+3\n" + base64.b64encode(ROOT).decode() + "\n",
        "o\n-3\n" + base64.b64encode(ROOT).decode() + "\n",
        "o\n\N{ARABIC-INDIC DIGIT THREE}\n" + base64.b64encode(ROOT).decode() + "\n",
        "o\n" + "9" * 5000 + "\n" + base64.b64encode(ROOT).decode() + "\n",
        "o\n3\n" + base64.b64encode(ROOT[:31]).decode() + "\n",
        "o\n3\n" + base64.b64encode(ROOT).decode() + "\nextension\n",
        "o\n3\n" + base64.b64encode(ROOT).decode(),
        "o o\n3\n" + base64.b64encode(ROOT).decode() + "\n",
        "\n3\n" + base64.b64encode(ROOT).decode() + "\n",
    ],
)
def test_a_checkpoint_written_otherwise_is_refused(text: str) -> None:
    with pytest.raises(NoteError):
        Checkpoint.parse(text)


def test_a_checkpoint_of_another_log_is_refused_though_the_key_signed_it() -> None:
    note = KEY.sign_note(NAME, str(Checkpoint("elsewhere", 3, ROOT))).build()
    with pytest.raises(NoteError, match="elsewhere, wanted"):
        Checkpoint.open(note, KEY.verifier(NAME))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name",
        "name+00000000",
        VKEY.replace("3aa7f723", "3aa7f724"),
        VKEY.replace("3aa7f723", "3AA7F723"),
        VKEY.replace("+AQOh", "+AgOh"),
        VKEY[:-4],
        "n m" + VKEY[len(NAME) :],
        VKEY + "\n",
        "\ud800" + VKEY,
    ],
)
def test_a_wrong_verifier_key_is_refused(text: str) -> None:
    with pytest.raises(NoteError):
        VerifierKey.parse(text)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_note_that_rebuilds_or_an_error(data: bytes) -> None:
    try:
        note = Note.parse(data)
    except NoteError:
        return
    assert note.build() == data


@given(st.integers(0, len(SIGNED) - 1), st.binary(max_size=4))
def test_a_mangled_note_rebuilds_or_is_an_error(position: int, patch: bytes) -> None:
    data = SIGNED[:position] + patch + SIGNED[position + len(patch) :]
    try:
        note = Note.parse(data)
    except NoteError:
        return
    assert note.build() == data


@given(st.text(max_size=80))
def test_any_text_is_a_checkpoint_that_rebuilds_or_an_error(text: str) -> None:
    try:
        checkpoint = Checkpoint.parse(text)
    except NoteError:
        return
    assert str(checkpoint) == text


@given(
    st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1).filter(
        lambda name: "+" not in name
    ),
    st.integers(0, 2**63 - 1),
    st.binary(),
)
def test_every_checkpoint_survives_signing_and_opening(origin: str, size: int, seed: bytes) -> None:
    key = StationKey.from_seed(hashlib.sha256(seed).digest())
    checkpoint = Checkpoint(origin, size, hashlib.sha256(seed).digest())
    assert Checkpoint.open(checkpoint.sign(key), key.verifier(origin)) == checkpoint
    assert VerifierKey.parse(str(key.verifier(origin))) == key.verifier(origin)
