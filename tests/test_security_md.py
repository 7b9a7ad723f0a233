"""SECURITY.md names for each attack tests that hold it, and they exist; the page on callers tells every reason."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from cds_service.security.refusals import REASONS

TOP = Path(__file__).parents[1]
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in (TOP / "SECURITY.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("| A-")
]


def functions_of(file: str) -> set[str]:
    tree = ast.parse((TOP / file).read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_the_attacks_are_numbered_and_each_is_told_whole():
    assert len(ROWS) >= 40
    assert [row[0] for row in ROWS] == [f"A-{number}" for number in range(1, len(ROWS) + 1)]
    assert all(len(row) == 4 and all(row) for row in ROWS)


def test_every_named_test_exists():
    for row in ROWS:
        named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", row[3])
        assert ", ".join(f"`{file}::{name}`" for file, name in named) == row[3], row[0]
        for file, name in named:
            assert name in functions_of(file), f"{row[0]}: {file} has no {name}"


def test_every_reason_of_a_refusal_is_explained_to_operators():
    page = (TOP / "docs" / "callers.md").read_text(encoding="utf-8")
    told = re.findall(r"^\| `(\w+)` \| (.+?) \| (.+?) \|$", page, re.MULTILINE)
    assert told == [(reason.id, reason.wrong, reason.hint) for reason in REASONS.values()]
