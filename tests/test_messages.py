"""The page of messages names every id that the code has, no other, and is what the command prints."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection
from pathlib import Path
from typing import get_args

import pytest

import cds_service
from cds_service.chart import GapKind
from cds_service.cli import run
from cds_service.cli_messages import page, told
from cds_service.hooks.errors import IssueType
from cds_service.log import FIELDS
from cds_service.security.refusals import REASONS
from cds_service.settings_checks import SECTIONS

PACKAGE = Path(cds_service.__file__).parent
PAGE = PACKAGE.parent / "docs/operators/messages.md"


PLACES = {"logger.info": 0, "logger.warning": 0, "logger.error": 0, "logger.write": 1, "report": 0}
"""Functions that write a line, and which of their arguments is the event."""


def events() -> set[str]:
    """Events of what is logged, and of what the recorder reports."""
    found = set()
    for path in PACKAGE.rglob("*.py"):
        source = path.read_text(encoding="utf-8")
        if "logger" not in source and "self.report(" not in source:
            continue
        for node in ast.walk(ast.parse(source)):
            if not isinstance(node, ast.Call):
                continue
            place = PLACES.get(ast.unparse(node.func).removeprefix("self._").removeprefix("self."))
            event = None if place is None else node.args[place]
            if isinstance(event, ast.Constant):
                found.add(str(event.value))
    return found


@pytest.mark.parametrize(
    ("part", "ids"),
    [
        ("gaps", set(get_args(GapKind))),
        ("issues", set(get_args(IssueType))),
        ("fields", FIELDS),
        ("events", events()),
    ],
)
def test_every_id_has_its_words(part: str, ids: Collection[str]) -> None:
    assert set(told()[part]["ids"]) == set(ids)


def test_events_are_found() -> None:
    assert {"call", "start", "keys", "database"} <= events()


def test_every_reason_of_refusal_is_on_the_page() -> None:
    for reason in REASONS.values():
        assert f"| `{reason.id}` | {reason.wrong} | {reason.hint} |".replace("||", "|") in page()


def test_rows_are_whole() -> None:
    for name, part in told().items():
        for key, cells in part.get("ids", {}).items():
            assert len(cells) == len(part["columns"]) - 1, (name, key)
            assert all(cell.strip() for cell in cells), (name, key)


def test_settings_that_are_named_exist() -> None:
    for section, keys in re.findall(r"`\[(\w+)\] ([\w ]+)`", page()):
        assert keys.split()[0] in SECTIONS[section], (section, keys)


def test_the_page_is_what_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["messages"]) == 0
    assert capsys.readouterr().out == PAGE.read_text(encoding="utf-8") == page()
