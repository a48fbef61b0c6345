from __future__ import annotations

import base64
from pathlib import Path

import pytest
from audit.publishing import append_notes
from audit.world import ENTRIES, key, make_ledger, sql
from hypothesis import given
from hypothesis import strategies as st

from svcport.audit.note import NoteError, StationKey
from svcport.audit.proofs.proof import EntryProof, prove_entry
from svcport.audit.view import LedgerView
from svcport.errors import Reason, RecordsError, RefusedError

NAME = "svcport.example/station/bench-07"
KEY = StationKey.from_seed(bytes(range(32))).verifier(NAME)
WORKED = (
    "c2sp.org/tlog-proof@v1\n"
    "extra ZW50cnkgMQ==\n"
    "index 1\n"
    "dziFphNIniTOLPdhmdakI/BC5LvxLX7s7pEu8nbGVwE=\n"
    "V8efTzGuApxdS9MLBzwnyU35NDiytGl+Hh7vW8A5SkE=\n"
    "\n"
    f"{NAME}\n3\nlPvQ3YNvUDAWkubQ6t5yjuGexSv/8WBu2AfIV11aqhk=\n"
    "\n"
    f"\N{EM DASH} {NAME} Oqf3IzUxYJocjgUMxbMGVG0v5ocztAHSHf24+HKFeSFDVz645xgK+cMX8UxpoUP/"
    "GAKnVh8sfTBIrpgwnjT8ddFruAk=\n"
).encode()


def test_the_worked_vector_is_a_proof_that_verifies() -> None:
    proof = EntryProof.parse(WORKED)
    assert (proof.index, proof.extra, len(proof.path)) == (1, b"entry 1", 2)
    assert proof.build() == WORKED
    assert proof.verify(KEY).size == 3
    assert proof.verify(KEY, b"entry 1").size == 3
    bare = WORKED.replace(b"extra ZW50cnkgMQ==\n", b"")
    assert EntryProof.parse(bare).verify(KEY, b"entry 1").size == 3
    with pytest.raises(NoteError, match="does not carry its entry"):
        EntryProof.parse(bare).verify(KEY)
    with pytest.raises(NoteError, match="another entry"):
        proof.verify(KEY, b"entry 2")


def test_a_changed_byte_anywhere_in_a_proof_is_refused() -> None:
    for position in range(len(WORKED)):
        changed = bytearray(WORKED)
        changed[position] ^= 1
        with pytest.raises(NoteError):
            EntryProof.parse(bytes(changed)).verify(KEY)


def test_a_cut_proof_is_refused() -> None:
    for length in range(len(WORKED)):
        with pytest.raises(NoteError):
            EntryProof.parse(WORKED[:length]).verify(KEY)


@given(
    st.one_of(
        st.binary(max_size=300),
        st.builds(
            lambda at, new: WORKED[:at] + new + WORKED[at:], st.integers(0, 200), st.binary()
        ),
    )
)
def test_any_bytes_are_a_proof_that_rebuilds_to_them_or_a_note_error(data: bytes) -> None:
    try:
        proof = EntryProof.parse(data)
    except NoteError:
        return
    assert proof.build() == data


def test_every_entry_that_was_signed_has_a_proof_and_no_other_has(filled: Path) -> None:
    with LedgerView.open_for_audit(filled) as view:
        for index, stored in enumerate([*view.entries()][: ENTRIES - 1]):
            proof = EntryProof.parse(prove_entry(view, index).build())
            assert proof.extra == stored.data
            assert proof.verify(view.verifier, stored.data).size == ENTRIES - 1
            with pytest.raises(NoteError, match="no known key"):
                proof.verify(key("another").verifier(view.origin))
        for index in (ENTRIES - 1, 10**6, -1):
            with pytest.raises(RefusedError, match="is not among the 7 that were signed") as caught:
                prove_entry(view, index)
            assert caught.value.reason is Reason.USAGE


def test_a_proof_for_another_index_or_beyond_the_tree_is_refused() -> None:
    for index in (0, 2, 3, 10**18):
        with pytest.raises(NoteError):
            EntryProof.parse(WORKED.replace(b"index 1", b"index %d" % index)).verify(KEY)


def test_a_damaged_ledger_gives_no_proof(tmp_path: Path) -> None:
    with make_ledger(tmp_path) as ledger:
        append_notes(ledger, 10)
    sql(tmp_path, "UPDATE nodes SET hash = zeroblob(32) WHERE level = 1 AND last = 5")
    with LedgerView.open_for_audit(tmp_path) as view, pytest.raises(RecordsError):
        prove_entry(view, 7)


def test_a_proof_has_one_way_to_be_written() -> None:
    extra = base64.b64encode(b"entry 1").decode()
    for other in (
        WORKED.replace(b"index 1", b"index 01"),
        WORKED.replace(b"index 1", b"index +1"),
        WORKED.replace(b"index 1\n", b""),
        WORKED.replace(extra.encode(), extra.rstrip("=").encode()),
        WORKED.replace(b"\n", b"\r\n"),
        WORKED.replace(b"tlog-proof@v1", b"tlog-proof@v2"),
    ):
        with pytest.raises(NoteError):
            EntryProof.parse(other)
