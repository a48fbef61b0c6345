"""An advisory: what the vendor says about firmware in the field, and which versions it withdraws.

The file form is canonical JSON (`document.canonical`); nothing here reads a file or checks a
signature.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final, Self

from svcport.catalogue.document import Fields, canonical, load, time_text, tokens
from svcport.catalogue.faults import CatalogueError
from svcport.catalogue.release import full_version

SCHEMA: Final = "svcport-advisory/1"
MAX_ADVISORY_SIZE: Final = 64 * 1024
"""Bytes; checked before the text is parsed."""

_ID: Final = re.compile(r"[A-Z]{2,8}-\d{4}-\d{3,6}", re.ASCII)
_U32: Final = 0xFFFFFFFF


class Action(StrEnum):
    """What the vendor asks for."""

    WITHDRAW = (
        "withdraw"  # the versions named must not be put on a lock; locks that run them are restored
    )
    UPDATE = "update"  # they work, but something newer should run
    NOTICE = "notice"  # to know; nothing to do


@dataclass(frozen=True, slots=True)
class Affected:
    """Which locks: one model, these batches and these versions; an empty list means every one."""

    model: str
    batches: tuple[str, ...] = ()
    versions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        tokens((self.model,), "affected model")
        tokens(self.batches, "affected batches")
        if len(set(self.versions)) != len(self.versions):
            raise CatalogueError("affected versions name one twice")
        for version in self.versions:
            if full_version(version) != version:
                raise CatalogueError(f"affected version {version}, wanted {full_version(version)}")

    def matches(self, model: str, batch: str | None, version: str) -> bool:
        """True if it concerns such a lock; a lock that cannot tell its batch (None) is concerned.

        Raises:
            CatalogueError: `version` is no version.
        """
        return (
            model == self.model
            and (not self.batches or batch is None or batch in self.batches)
            and (not self.versions or full_version(version) in self.versions)
        )


@dataclass(frozen=True, slots=True)
class Advisory:
    """One advisory.

    Attributes:
        id: such as `SVA-2026-003`; also the name of its file.
        published: UTC, whole seconds.
        min_security_counter: counter that cures it; 0 where the counter says nothing.
        supersedes: ids of advisories that this one replaces; they no longer apply.
    """

    id: str
    title: str
    summary: str
    published: datetime
    action: Action
    affects: tuple[Affected, ...]
    min_security_counter: int = 0
    supersedes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in (self.id, *self.supersedes):
            if _ID.fullmatch(name) is None:
                raise CatalogueError(f"advisory id {name!r:.40}, wanted one such as SVA-2026-003")
        if self.id in self.supersedes or len(set(self.supersedes)) != len(self.supersedes):
            raise CatalogueError(f"{self.id} supersedes itself, or one advisory twice")
        if not self.title or not self.affects:
            raise CatalogueError(f"{self.id} has no title or affects nothing")
        if not 0 <= self.min_security_counter <= _U32:
            raise CatalogueError(
                f"{self.id}: counter {self.min_security_counter}, wanted 0 to {_U32}"
            )
        if self.published.utcoffset() is None or self.published.microsecond:
            raise CatalogueError(f"{self.id}: time {self.published}, wanted UTC in whole seconds")
        if self.action is Action.WITHDRAW and not all(each.versions for each in self.affects):
            raise CatalogueError(f"{self.id} withdraws without naming versions")

    @property
    def path(self) -> str:
        """Target path in the catalogue."""
        return f"advisories/{self.id}.json"

    def concerns(self, model: str, batch: str | None, version: str) -> bool:
        """True if any of its entries matches such a lock."""
        return any(each.matches(model, batch, version) for each in self.affects)

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read the file form; `parse(data).build() == data` or CatalogueError."""
        if len(data) > MAX_ADVISORY_SIZE:
            raise CatalogueError(
                f"advisory of {len(data)} bytes, wanted at most {MAX_ADVISORY_SIZE}"
            )
        fields = Fields(load(data, "advisory"), "advisory")
        fields.schema(SCHEMA)
        advisory = cls(
            id=fields.text("id"),
            title=fields.text("title"),
            summary=fields.text("summary"),
            published=fields.time("published"),
            action=_action(fields.text("action")),
            affects=tuple(_affected(item) for item in fields.items("affects")),
            min_security_counter=fields.number("min_security_counter"),
            supersedes=fields.texts("supersedes"),
        )
        fields.done()
        if (
            advisory.build() != data
        ):  # also catches members written twice, of which JSON keeps the last
            raise CatalogueError(f"{advisory.id} is not in canonical form")
        return advisory

    def build(self) -> bytes:
        """The file form; raises CatalogueError for text that UTF-8 cannot carry."""
        return canonical(
            {
                "schema": SCHEMA,
                "id": self.id,
                "title": self.title,
                "summary": self.summary,
                "published": time_text(self.published.astimezone(UTC)),
                "action": self.action.value,
                "affects": [
                    {"model": a.model, "batches": list(a.batches), "versions": list(a.versions)}
                    for a in self.affects
                ],
                "min_security_counter": self.min_security_counter,
                "supersedes": list(self.supersedes),
            }
        )


def _action(text: str) -> Action:
    try:
        return Action(text)
    except ValueError as e:
        raise CatalogueError(
            f"advisory action {text!r:.40}, wanted one of {', '.join(Action)}"
        ) from e


def _affected(value: object) -> Affected:
    fields = Fields(value, "affects")
    affected = Affected(fields.text("model"), fields.texts("batches"), fields.texts("versions"))
    fields.done()
    return affected
