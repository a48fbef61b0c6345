from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svcport.authorisation.keys.references import AgentKey, KeyFile, TokenKey, parse_reference
from svcport.errors import Reason, RefusedError

DRIVER = Path("/usr/lib/driver.so")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("keys/ada.key", KeyFile(Path("keys/ada.key"))),
        ("ssh-agent:SHA256:abc", AgentKey("SHA256:abc")),
        ("ssh-agent:ada@bench", AgentKey("ada@bench")),
        ("pkcs11:token=Ada%20Field", TokenKey("Ada Field")),
        ("pkcs11:serial=0f;object=a%3Bb;id=%01%ff", TokenKey(None, "0f", "a;b", b"\x01\xff")),
        (f"pkcs11:token=T;type=private?module-path={DRIVER}", TokenKey("T", module=DRIVER)),
        ("pkcs11:", TokenKey()),
    ],
)
def test_a_reference_says_where_a_key_is(text: str, wanted: object) -> None:
    assert parse_reference(text) == wanted


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "empty"),
        ("ssh-agent:", "no key"),
        ("ssh-agent:SHA256:", "no key"),
        ("pkcs11:token=T;pin-value=1234", "pin-value does not belong"),
        ("pkcs11:token=T?pin-value=1234", "pin-value does not belong"),
        ("pkcs11:token=T?pin-source=/pin", "pin-source does not belong"),
        ("pkcs11:token=T;slot-id=1", "slot-id"),
        ("pkcs11:token=T;token=U", "once"),
        ("pkcs11:token=", "not empty"),
        ("pkcs11:token=T;type=public", "public"),
        ("pkcs11:token=T?module-path=driver.so", "absolute"),
        ("a\nb", "control"),
    ],
)
def test_what_is_no_reference_is_a_usage_error(text: str, word: str) -> None:
    with pytest.raises(RefusedError, match=word) as caught:
        parse_reference(text)
    assert caught.value.reason is Reason.USAGE


def test_a_pin_in_a_reference_is_not_repeated() -> None:
    with pytest.raises(RefusedError) as caught:
        parse_reference("pkcs11:token=T;pin-value=987654")
    assert "987654" not in caught.value.message


NAMES = st.one_of(st.none(), st.text(min_size=1).filter(str.isprintable))


@given(NAMES, NAMES, NAMES, st.one_of(st.none(), st.binary(min_size=1)), st.booleans())
def test_any_token_key_is_read_back_as_it_was_written(
    token: str | None, serial: str | None, label: str | None, key_id: bytes | None, driver: bool
) -> None:
    key = TokenKey(token, serial, label, key_id, Path("/opt/a b%;?.so") if driver else None)
    assert parse_reference(str(key)) == key


@given(st.one_of(st.text(), st.text().map("pkcs11:{}".format), st.text().map("ssh-agent:".__add__)))
def test_any_text_is_a_reference_that_is_read_back_or_refused(text: str) -> None:
    try:
        found = parse_reference(text)
    except RefusedError:
        return
    assert parse_reference(str(found)) == found
