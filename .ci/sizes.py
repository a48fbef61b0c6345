"""Holds the size limits of the house: no file over 400 lines, no function over 60."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

FILE_LINES = 400
FUNCTION_LINES = 60


def too_large(path: Path) -> list[str]:
    """What in one file is over a limit."""
    text = path.read_text(encoding="utf-8")
    lines = text.count("\n")
    found = [f"{path}: {lines} lines"] if lines > FILE_LINES else []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            size = (node.end_lineno or node.lineno) - node.lineno + 1
            if size > FUNCTION_LINES:
                found.append(f"{path}:{node.lineno} {node.name}: {size} lines")
    return found


def main() -> int:
    """Print what is too large; 1 if anything is."""
    rooms = ("protocol", "images", "svcport", "tests", "benchmarks")
    files = [path for room in rooms for path in Path(room).rglob("*.py")]
    found = [line for path in files for line in too_large(path)]
    sys.stdout.write("".join(f"{line}\n" for line in found))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
