"""docs/operations.md names what there is: every metric with its labels, and no command that does not exist."""

from __future__ import annotations

import re

import click
import pytest

from cds_service.cli import cli
from cds_service.cli_serve import PATIENCE_SECONDS
from cds_service.metrics import METRICS
from tests.test_packaging import TOP

DOCS = sorted([TOP / "docs" / "operations.md", *(TOP / "docs" / "setup").glob("*.md")])
TEXT = DOCS[0].read_text(encoding="utf-8")


def test_every_metric_is_told_with_its_labels() -> None:
    for name, metric in METRICS.items():
        suffix = "_total" if metric.kind == "count" else ""
        labels = f"{{{','.join(metric.labels)}}}" if metric.labels else ""
        assert f"`{name}{suffix}{labels}`" in TEXT
    told = {name.removesuffix("_total") for name in re.findall(r"\bcds_[a-z_]*[a-z]\b(?!/)", TEXT)}
    assert told - set(METRICS) == {"cds_workers", "cds_service_info", "cds_service"}


@pytest.mark.parametrize("doc", DOCS, ids=lambda doc: f"{doc.parent.name}-{doc.stem}")
def test_every_command_exists(doc) -> None:
    for first, second in re.findall(
        r"(?:`|^|\s)cds-service ([a-z-]+)(?: ([a-z-]+))?", doc.read_text(encoding="utf-8")
    ):
        command = cli.get_command(click.Context(cli), first)
        assert command is not None, first
        if isinstance(command, click.Group):
            assert second in command.commands, f"{first} {second}"


def test_the_patience_with_a_worker_is_the_one_that_is_told() -> None:
    assert f"within {PATIENCE_SECONDS} seconds is killed" in TEXT
