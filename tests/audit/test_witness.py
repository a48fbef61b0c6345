from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from audit.publishing import append_notes
from audit.world import NOW, key, make_ledger
from hypothesis import given
from hypothesis import strategies as st

from protocol.sealed import Realm
from svcport.audit.ledger import Ledger
from svcport.audit.note import Note, NoteError, NoteSignature, StationKey
from svcport.audit.witness.addcheckpoint import AddCheckpoint, request_witness
from svcport.audit.witness.cosignature import WitnessKey, cosign
from svcport.audit.witness.witness import Witness
from svcport.errors import Reason, RecordsError, RefusedError

LOG_NAME = "svcport.example/station/bench-07"
WITNESS_NAME = "svcport.example/depot/north"
LOG = StationKey.from_seed(bytes(range(32)))
DEPOT = StationKey.from_seed(bytes(range(1, 33)))
TEXT = f"{LOG_NAME}\n3\nlPvQ3YNvUDAWkubQ6t5yjuGexSv/8WBu2AfIV11aqhk=\n"
VKEY = f"{WITNESS_NAME}+9019fa63+BHm1Vi6P5lT5QHixEuipi6eQH4U65pW+1+DjkQutBJZk"
FIELD = (
    "kBn6YwAAAABq/YbAR/5Mfv7FxpH6zql2deyv3XGK6ih8P6J+"
    "uiNDYbfms2dfzaQeH4/a0o4QUegfj/2OR88UUrjDvTN+z5O1MLQ+Aw=="
)


def test_the_worked_cosignature_is_made_and_verified_byte_for_byte() -> None:
    line = cosign(DEPOT, WITNESS_NAME, TEXT, 1_795_000_000)
    assert str(line) == f"\N{EM DASH} {WITNESS_NAME} {FIELD}\n"
    known = WitnessKey.parse(VKEY)
    assert WitnessKey.of(DEPOT, WITNESS_NAME) == known
    assert str(known) == VKEY
    signed = LOG.sign_note(LOG_NAME, TEXT)
    assert known.verify(Note(TEXT, (*signed.signatures, line))) == 1_795_000_000
    with pytest.raises(NoteError, match="did not sign"):
        known.verify(signed)


def test_a_changed_byte_of_a_cosignature_or_of_its_text_is_refused() -> None:
    known = WitnessKey.parse(VKEY)
    line = cosign(DEPOT, WITNESS_NAME, TEXT, 1_795_000_000)
    for position in range(len(line.signature)):
        field = bytearray(line.signature)
        field[position] ^= 1
        with pytest.raises(NoteError, match="does not verify"):
            known.verify(Note(TEXT, (replace(line, signature=bytes(field)),)))
    with pytest.raises(NoteError):
        known.verify(Note(TEXT.replace("3", "4"), (line,)))
    with pytest.raises(NoteError):
        known.verify(Note(TEXT, (replace(line, signature=b""),)))


@pytest.mark.parametrize(
    "text",
    [
        VKEY.replace("9019fa63", "9019fa64"),
        VKEY.replace("+BHm1", "+AXm1"),
        VKEY + "A",
        VKEY.rpartition("+")[0],
        "",
    ],
)
def test_a_malformed_witness_key_is_refused(text: str) -> None:
    with pytest.raises(NoteError):
        WitnessKey.parse(text)


@given(
    st.one_of(
        st.binary(max_size=200),
        st.builds(
            lambda old, lines, tail: f"old {old}\n{lines}\n\n".encode() + tail,
            st.integers(-1, 2**70),
            st.sampled_from(["", "A" * 43 + "=", "A" * 44, "x", "\n"]),
            st.binary(max_size=20),
        ),
    )
)
def test_any_bytes_are_a_request_that_rebuilds_to_them_or_a_note_error(data: bytes) -> None:
    try:
        request = AddCheckpoint.parse(data)
    except NoteError:
        return
    assert request.build() == data


@contextmanager
def witness(tmp_path: Path) -> Iterator[Witness]:
    with Witness.open(tmp_path / "witness", Realm.TRAINING) as opened:
        yield opened


def grow(tmp_path: Path, count: int, name: str = "ledger") -> Ledger:
    with make_ledger(tmp_path / name) as ledger:
        append_notes(ledger, count)
    return make_ledger(tmp_path / name)


def refusal(one: Witness, request: AddCheckpoint) -> tuple[object, object, Reason]:
    with pytest.raises(RefusedError) as caught:
        one.add_checkpoint(request, NOW)
    facts = caught.value.members()
    return facts["status"], facts["size"], caught.value.reason


def test_a_witness_follows_a_log_and_never_goes_back(tmp_path: Path) -> None:
    with grow(tmp_path, 5) as ledger, witness(tmp_path) as depot:
        first = request_witness(ledger, 0)
        assert refusal(depot, first) == (404, None, Reason.CHECKPOINT_REFUSED)
        depot.introduce(ledger.verifier)
        line = depot.add_checkpoint(AddCheckpoint.parse(first.build()), NOW)
        note = Note.parse(first.note)
        assert depot.vkey.verify(replace(note, signatures=(line,))) == int(NOW.timestamp())
        for size in (6, 8, 9, 23):
            append_notes(ledger, size - ledger.size)
            seen = depot.seen(ledger.origin)
            assert seen is not None
            depot.add_checkpoint(request_witness(ledger, seen.size), NOW)
        again = request_witness(ledger, 23)
        assert again.proof == ()
        depot.add_checkpoint(again, NOW)  # the same once more: the answer may have been lost
        assert refusal(depot, first) == (409, 23, Reason.CHECKPOINT_REFUSED)
        back = replace(first, old=23)
        assert refusal(depot, back) == (422, 23, Reason.LEDGER_FORK)
    with witness(tmp_path) as depot:
        assert refusal(depot, first) == (409, 23, Reason.CHECKPOINT_REFUSED)
        assert depot.all_seen()[ledger.origin].size == 23


def test_a_witness_signs_nothing_that_does_not_begin_with_what_it_saw(tmp_path: Path) -> None:
    with grow(tmp_path, 5) as ledger, witness(tmp_path) as depot:
        depot.introduce(ledger.verifier)
        depot.add_checkpoint(request_witness(ledger, 0), NOW)
        shutil.copytree(tmp_path / "ledger", tmp_path / "old")
        append_notes(ledger, 4)
        good = request_witness(ledger, 5)
        for proof in ((), good.proof[:-1], (*good.proof, bytes(32)), good.proof[::-1]):
            assert refusal(depot, replace(good, proof=proof)) == (422, 5, Reason.LEDGER_FORK)
        depot.add_checkpoint(good, NOW)
    with make_ledger(tmp_path / "old") as restored, witness(tmp_path) as depot:
        restored.record_note(text="another history", now=NOW)
        append_notes(restored, 3)
        same_size = request_witness(restored, 9)
        assert refusal(depot, same_size) == (422, 9, Reason.LEDGER_FORK)
        append_notes(restored, 3)
        assert refusal(depot, request_witness(restored, 9)) == (422, 9, Reason.LEDGER_FORK)
        assert refusal(depot, request_witness(restored, 5)) == (409, 9, Reason.CHECKPOINT_REFUSED)


def test_a_witness_signs_nothing_that_the_log_did_not(tmp_path: Path) -> None:
    with grow(tmp_path, 5) as ledger, witness(tmp_path) as depot:
        depot.introduce(ledger.verifier)
        good = request_witness(ledger, 0)
        text = Note.parse(good.note).text
        other = key("somebody else").sign_note(ledger.origin, text).build()
        assert refusal(depot, replace(good, note=other))[0] == 403
        signature = Note.parse(good.note).signatures[0]
        forged = NoteSignature(signature.name, signature.key_hash, bytes(64))
        assert refusal(depot, replace(good, note=Note(text, (forged,)).build()))[0] == 403
        assert refusal(depot, replace(good, note=b"no note"))[0] == 400
        seen = depot.seen(ledger.origin)
        assert seen is not None
        assert seen.size == 0


def test_what_was_seen_is_on_the_disk_before_the_cosignature_exists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look(*_: object) -> NoteSignature:
        with witness(tmp_path) as another:
            seen = another.seen(ledger.origin)
            assert seen is not None
            assert seen.size == 5
        raise KeyboardInterrupt

    with grow(tmp_path, 5) as ledger, witness(tmp_path) as depot:
        depot.introduce(ledger.verifier)
        monkeypatch.setattr("svcport.audit.witness.witness.cosign", look)
        with pytest.raises(KeyboardInterrupt):
            depot.add_checkpoint(request_witness(ledger, 0), NOW)
        monkeypatch.undo()
        depot.add_checkpoint(request_witness(ledger, 5), NOW)


def test_two_forks_shown_to_one_witness_at_once_get_one_cosignature(tmp_path: Path) -> None:
    with grow(tmp_path, 5) as ledger, witness(tmp_path) as depot:
        depot.introduce(ledger.verifier)
        depot.add_checkpoint(request_witness(ledger, 0), NOW)
    requests = []
    for name in ("one", "two"):
        shutil.copytree(tmp_path / "ledger", tmp_path / name)
        with make_ledger(tmp_path / name) as fork:
            fork.record_note(text=name, now=NOW)
            append_notes(fork, 2)
            requests.append(request_witness(fork, 5))
    given: list[NoteSignature] = []
    refused: list[RefusedError] = []

    def ask(request: AddCheckpoint) -> None:
        with witness(tmp_path) as opened:
            try:
                given.append(opened.add_checkpoint(request, NOW))
            except RefusedError as error:
                refused.append(error)

    threads = [threading.Thread(target=ask, args=(one,)) for one in requests]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(given), len(refused)) == (1, 1)


def test_a_witness_keeps_its_key_and_its_realm(tmp_path: Path) -> None:
    with witness(tmp_path) as depot:
        first = depot.vkey
        assert first.name.startswith("training.svcport.witness/")
    with witness(tmp_path) as depot:
        assert depot.vkey == first
    with (
        pytest.raises(RefusedError, match="is not of production"),
        Witness.open(tmp_path / "witness", Realm.PRODUCTION),
    ):
        pass
    with (
        make_ledger(tmp_path / "real", Realm.PRODUCTION) as real,
        witness(tmp_path) as depot,
        pytest.raises(RefusedError, match="is not a log of training"),
    ):
        depot.introduce(real.verifier)
    with witness(tmp_path) as depot, pytest.raises(NoteError, match="not named after its key"):
        depot.introduce(LOG.verifier("training.svcport.station/0011223344556677"))


def test_a_witness_whose_key_is_gone_signs_nothing(tmp_path: Path) -> None:
    with witness(tmp_path):
        pass
    (tmp_path / "witness" / "station.pem").unlink()
    with pytest.raises(RecordsError, match="is missing"), witness(tmp_path):
        pass


def test_a_request_from_beyond_the_ledger_is_refused(tmp_path: Path) -> None:
    with grow(tmp_path, 5) as ledger, pytest.raises(RefusedError, match="from 6 entries on"):
        request_witness(ledger, 6)
