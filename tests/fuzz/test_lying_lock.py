from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from unittest import mock

from fieldkit import make_field
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from protocol.messages import encode_reply
from protocol.record import Record
from svcport.errors import Outcome, SvcportError
from svcport.simulator import link

FULL = bool(os.environ.get("SVCPORT_FULL"))
REPLY_LIMIT = 600
EDIT = st.tuples(st.integers(0, 40), st.integers(0, 1023), st.integers(0, 255))
"""Which reply, which byte of it (counted round), and what it becomes."""


class Liar:
    """Writes replies as a lock does, but for what is said to be another."""

    def __init__(self, edits: list[tuple[int, int, int]]) -> None:
        self._edits = edits
        self.said = 0

    def __call__(self, reply: Record) -> bytes:
        data = bytearray(encode_reply(reply))
        for number, place, value in self._edits:
            if number == self.said:
                data[place % len(data)] = value
        self.said += 1
        assert self.said < REPLY_LIMIT, "the host asks without an end"
        return bytes(data)


@settings(
    max_examples=300 if FULL else 12,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(
    what=st.sampled_from(["restore", "restore", "rollback", "verify", "diagnose", "logs"]),
    edits=st.lists(EDIT, min_size=1, max_size=3),
)
def test_a_lock_that_lies_gets_a_named_error_and_the_next_restore_succeeds(
    what: str, edits: list[tuple[int, int, int]]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        field = make_field(Path(folder))
        lies = mock.patch.object(link, "encode_reply", Liar(edits))
        with lies, contextlib.suppress(SvcportError):
            getattr(field, what)()
        field.cable.clock.sleep(60.0)
        assert field.restore().outcome in (Outcome.OK, Outcome.NOTHING_TO_DO)
