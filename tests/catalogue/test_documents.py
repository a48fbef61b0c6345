from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from catalogue.vendor_kit import advisory, facts
from hypothesis import given, settings
from hypothesis import strategies as st

from svcport.catalogue.advisory import MAX_ADVISORY_SIZE, Action, Advisory, Affected
from svcport.catalogue.faults import CatalogueError
from svcport.catalogue.release import (
    MAX_TARGET_SIZE,
    Release,
    ReleaseFacts,
    Target,
    full_version,
    version_key,
)
from svcport.catalogue.trusted import Bundle

unhurried = settings(deadline=None, max_examples=60)

words = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}", fullmatch=True)
several_words = st.lists(words, unique=True, max_size=3).map(tuple)
versions = st.tuples(
    st.integers(0, 255), st.integers(0, 255), st.integers(0, 65535), st.integers(0, 2**32 - 1)
)
version_texts = versions.map(lambda v: f"{v[0]}.{v[1]}.{v[2]}+{v[3]}")
ids = st.builds("SVA-{:04}-{:03}".format, st.integers(0, 9999), st.integers(0, 99999))
affected = st.builds(
    Affected,
    words,
    several_words,
    st.lists(version_texts, unique=True, min_size=1, max_size=3).map(tuple),
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=8,
)
advisories = st.builds(
    Advisory,
    id=ids.map(lambda text: "X" + text),
    title=st.text(min_size=1),
    summary=st.text(),
    published=st.datetimes().map(lambda t: t.replace(microsecond=0, tzinfo=UTC)),
    action=st.sampled_from(Action),
    affects=st.lists(affected, min_size=1, max_size=3).map(tuple),
    min_security_counter=st.integers(0, 2**32 - 1),
    supersedes=st.lists(ids, unique=True, max_size=2).map(tuple),
)


@unhurried
@given(advisories)
def test_every_advisory_survives_its_file_form(value: Advisory) -> None:
    assert Advisory.parse(value.build()) == value


@unhurried
@given(st.binary(max_size=200) | json_values.map(lambda v: json.dumps(v).encode()))
def test_any_bytes_are_an_advisory_that_rebuilds_or_the_named_error(data: bytes) -> None:
    try:
        value = Advisory.parse(data)
    except CatalogueError:
        return
    assert value.build() == data


@unhurried
@given(st.data())
def test_any_edit_of_an_advisory_is_one_that_rebuilds_or_the_named_error(
    data: st.DataObject,
) -> None:
    good = advisory().build()
    start = data.draw(st.integers(0, len(good)))
    end = data.draw(st.integers(start, min(len(good), start + 12)))
    edited = good[:start] + data.draw(st.binary(max_size=6)) + good[end:]
    try:
        value = Advisory.parse(edited)
    except CatalogueError:
        return
    assert value.build() == edited


@unhurried
@given(st.sampled_from(sorted(json.loads(advisory().build()))), json_values)
def test_any_value_of_any_advisory_member_is_taken_whole_or_refused(name: str, value: Any) -> None:
    document = json.loads(advisory().build()) | {name: value}
    text = json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    data = text.encode("utf-8", "surrogatepass")
    try:
        parsed = Advisory.parse(data)
    except CatalogueError:
        return
    assert parsed.build() == data


@unhurried
@given(st.binary(max_size=200) | json_values.map(lambda v: json.dumps(v).encode()))
def test_any_bytes_are_a_store_that_rebuilds_or_the_named_error(data: bytes) -> None:
    try:
        value = Bundle.parse(data)
    except CatalogueError:
        return
    assert value.build() == data


@unhurried
@given(
    json_values | st.dictionaries(st.sampled_from(sorted(facts("1.0.0+0").build())), json_values)
)
def test_any_json_is_release_facts_that_rebuild_or_the_named_error(value: Any) -> None:
    try:
        parsed = ReleaseFacts.parse(value)
    except CatalogueError:
        return
    assert parsed.build() == value


@unhurried
@given(st.sampled_from(sorted(facts("1.0.0+0").build())), json_values)
def test_any_value_of_any_release_member_is_taken_whole_or_refused(name: str, value: Any) -> None:
    document = facts("1.0.0+0").build() | {name: value}
    try:
        parsed = ReleaseFacts.parse(document)
    except CatalogueError:
        return
    assert parsed.build() == document


@unhurried
@given(versions, versions)
def test_versions_order_by_their_numbers(one: tuple[int, ...], two: tuple[int, ...]) -> None:
    texts = ["{}.{}.{}+{}".format(*each) for each in (one, two)]
    assert (version_key(texts[0]) < version_key(texts[1])) == (one < two)
    assert full_version(texts[0]) == texts[0]


@unhurried
@given(st.text(max_size=20))
def test_any_text_is_a_version_or_the_named_error(text: str) -> None:
    try:
        full = full_version(text)
    except CatalogueError:
        return
    assert full in (text, f"{text}+0")


@pytest.mark.parametrize(
    "text",
    ["2.4", "2.4.1.0", "02.4.1", "2.4.1+", "2.4.1+00", "256.0.0", "0.0.65536", "0.0.0+4294967296",
     "2.4.1\n", " 2.4.1", "v2.4.1", "-1.0.0", "٢.4.1", "1" * 5000 + ".0.0"],
)  # fmt: skip
def test_what_is_no_version_is_refused(text: str) -> None:
    with pytest.raises(CatalogueError):
        version_key(text)


@pytest.mark.parametrize(
    "change",
    [
        {"model": "../x"},
        {"model": ""},
        {"version": "2.4.1"},
        {"security_counter": -1},
        {"security_counter": 2**32},
        {"digest": bytes(31)},
        {"key_hash": "AB" * 32},
        {"hardware": ()},
        {"hardware": ("A", "A")},
        {"batches": ("a/b",)},
    ],
)
def test_release_facts_cannot_be_wrong(change: dict[str, Any]) -> None:
    with pytest.raises(CatalogueError):
        replace(facts("2.4.1+0"), **change)


@pytest.mark.parametrize(
    "change",
    [
        {"id": "sva-1"},
        {"title": ""},
        {"affects": ()},
        {"affects": (Affected("demo-lock"),)},
        {"min_security_counter": -1},
        {"supersedes": ("SVA-2026-003",)},
        {"supersedes": ("x",)},
        {"published": datetime(2026, 3, 1)},  # noqa: DTZ001  # the missing zone is what is refused
        {"published": datetime(2026, 3, 1, 0, 0, 0, 5, tzinfo=UTC)},
    ],
)
def test_advisories_cannot_be_wrong(change: dict[str, Any]) -> None:
    with pytest.raises(CatalogueError):
        replace(advisory(), **change)


def test_an_advisory_in_another_form_is_refused() -> None:
    good = advisory().build()
    twice = good.replace(b'{\n  "action"', b'{\n  "action": "notice",\n  "action"', 1)
    assert twice != good
    for data in (good + b"\n", good.replace(b"  ", b" "), twice, b" " * (MAX_ADVISORY_SIZE + 1)):
        with pytest.raises(CatalogueError):
            Advisory.parse(data)


def test_a_newer_schema_is_named_with_what_to_do() -> None:
    with pytest.raises(CatalogueError, match=r"svcport-advisory/2.*svcport-advisory/1") as caught:
        Advisory.parse(advisory().build().replace(b"advisory/1", b"advisory/2"))
    assert "newer svcport" in caught.value.hint


def test_a_release_lies_under_its_own_model() -> None:
    with pytest.raises(CatalogueError):
        Release.join(facts("2.4.1+0"), Target("other-lock/fw/a.bin", 1, bytes(32)))


def test_a_target_of_absurd_size_is_refused() -> None:
    for size in (-1, MAX_TARGET_SIZE + 1):
        with pytest.raises(CatalogueError):
            Target("a", size, bytes(32))
