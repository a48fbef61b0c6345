"""The threat table says which test tries what: each of them must exist, and none be left out."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text("utf-8")
NAMED = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", PAGE)


@functools.cache
def names_in(path: Path) -> set[str]:
    tree = ast.parse(path.read_text("utf-8"))
    found = (node for node in tree.body if isinstance(node, ast.FunctionDef))
    return {node.name for node in found if node.name.startswith("test_")}


def test_every_test_that_the_page_names_exists() -> None:
    assert len(NAMED) > 50
    missing = [f"{file}::{name}" for file, name in NAMED if name not in names_in(ROOT / file)]
    assert missing == []


def test_every_row_names_a_test() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| ")]
    heads = [row for row in rows if row.startswith(("| tries", "| ---"))]
    assert len(heads) == 2 * 5
    assert [row for row in rows if row not in heads and "::test_" not in row] == []


def test_every_attack_stands_in_the_table() -> None:
    named = {name for _file, name in NAMED}
    helpers = {
        "test_the_stick_itself_is_good",
        "test_the_next_root_can_revoke_too",
        "test_a_statement_of_the_other_realm_means_nothing",
        "test_no_object_of_any_type_survives_a_change_of_field_type_or_realm",
        "test_a_lock_that_holds_another_signing_key_proves_nothing",
        "test_a_foreign_intent_is_not_executed_though_the_ledger_holds_it",
    }
    tried = set().union(
        *(names_in(path) for path in Path(__file__).parent.glob("test_threats_*.py"))
    )
    assert tried - named - helpers == set()
