from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from fuzz.harness import Harness
from fuzz.harnesses import HARNESSES

from protocol.messages import encode_request
from protocol.queries import Identify
from protocol.values import ZERO_DIGEST
from svcport.simulator import acts
from svcport.simulator.acts import Acts
from svcport.simulator.credentials import Credential
from svcport.simulator.intents import Intent, SessionFacts, _read
from svcport.simulator.link import Link
from svcport.simulator.requests import Answer
from svcport.simulator.session import Session

Plant = Callable[[pytest.MonkeyPatch], None]


def writing_during_a_trial(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Acts, "_check_confirmed", lambda _self, _now: None)


def a_counter_raised_at_commit(patch: pytest.MonkeyPatch) -> None:
    commit = Acts.commit

    def raising(self: Acts, *args: Any) -> Any:
        reply, core = commit(self, *args), self._core
        image = core.slots.image(core.target)
        assert image is not None
        core.nvm.write(replace(core.state, security_counter=image.security_counter))
        return reply

    patch.setattr(Acts, "commit", raising)


def no_ticket_needed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Credential, "needs_ticket", lambda _self, _op: False)


def an_intent_of_another_session_taken(patch: pytest.MonkeyPatch) -> None:
    def read(factory: Any, session: SessionFacts, data: bytes, _ops: Any) -> Intent:
        entry = _read(factory, session, data)
        assert entry.op is not None
        assert entry.image_digest is not None
        digest = hashlib.sha256(data).digest()
        return Intent(digest, entry.op, entry.image_digest, entry.ticket_id or ZERO_DIGEST)

    patch.setattr(acts, "read_intent", read)


def answers_before_auth(patch: pytest.MonkeyPatch) -> None:
    answer = Link._answer

    def loose(self: Link, plaintext: bytes, session: Session, now: float) -> Answer:
        if session.facts is None and plaintext == encode_request(Identify()):
            return self._requests._identify(Identify(), session, None, now)  # type: ignore[arg-type]
        return answer(self, plaintext, session, now)

    patch.setattr(Link, "_answer", loose)


def _replay(harness: Harness) -> None:
    for data in harness.inputs():
        harness(data)


@pytest.mark.parametrize(
    "plant",
    [
        writing_during_a_trial,
        a_counter_raised_at_commit,
        no_ticket_needed,
        an_intent_of_another_session_taken,
        answers_before_auth,
    ],
)
def test_the_committed_sessions_find_a_planted_fault(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness = HARNESSES["lock-session"]
    plant(monkeypatch)
    with pytest.raises(AssertionError):
        _replay(harness)
