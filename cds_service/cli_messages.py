"""Everything that an operator meets by its id, as a page of the documentation: `cds-service messages`.

The ids come from the code that uses them; what each one means and what to do stands in `messages.yaml`, and for
refused callers in `security.refusals`. `tests/test_messages.py` keeps page, ids and words together.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import click

from cds_service.knowledge.yaml_file import plain_yaml
from cds_service.security.refusals import REASONS

HEAD = """# Messages by their id

Made by `cds-service messages`; do not edit by hand. Ids stand in the log, in the metrics, in an OperationOutcome or
on standard error, as each part says."""


@cache
def told() -> Mapping[str, Any]:
    """The words of the page: by part `title`, `where`, `columns` and `ids` (id -> the other columns)."""
    loaded: dict[str, Any] = plain_yaml(Path(__file__).with_name("messages.yaml").read_text(encoding="utf-8"))
    return loaded


def page() -> str:
    """The page, in Markdown."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield HEAD
    for name, part in told().items():
        ids = part.get("ids")
        rows = ids.items() if ids else ((reason.id, (reason.wrong, reason.hint)) for reason in REASONS.values())
        yield from ("", f"## {part['title']}", "", part["where"], "")
        yield from _table(part["columns"], rows, coded=name != "startup")


def _table(columns: Iterable[str], rows: Iterable[tuple[Any, Iterable[str]]], *, coded: bool) -> Iterator[str]:
    names = list(columns)
    yield f"| {' | '.join(names)} |"
    yield f"|{' --- |' * len(names)}"
    for key, cells in rows:
        first = f"`{key}`" if coded else str(key)
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in (first, *cells))} |"


@click.command()
def messages() -> None:
    """Print what each id in the log, the metrics and the answers means, and what to do (Markdown)."""
    click.echo(page(), nl=False)
