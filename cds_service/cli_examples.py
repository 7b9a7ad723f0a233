"""The commands `cds-service demo` and `cds-service examples`: the example patients, shown or written as files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import click
import msgspec

from cds_service.cli_days import day_of
from cds_service.knowledge.loader import load as load_knowledge
from cds_service.knowledge.model import HookName
from cds_service.scenarios import terminal
from cds_service.scenarios.bundles import example_cases, files, readable
from cds_service.scenarios.facts import Case
from cds_service.scenarios.run import Runner
from cds_service.settings import load as load_settings


@click.command(short_help="Show the cards of the example patients.")
@click.argument("patient", required=False)
@click.option("--list", "listed", is_flag=True, help="List the example patients.")
@click.option("--hook", type=click.Choice(get_args(HookName)), help="Fire this hook instead of the example's own.")
@click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON.")
def demo(patient: str | None, listed: bool, hook: HookName | None, as_json: bool) -> None:
    """Show the cards of an example PATIENT; without one, those of all of them in short.

    By the rules and words as they are shipped, without what the site has changed: `explain` tells that.
    """
    cases = example_cases()
    if listed:
        terminal.list_examples(cases)
        return
    runner = Runner(load_knowledge())
    if patient is None:
        terminal.overview([(case, runner.directly(case)) for case in cases])
        return
    case = _named(cases, patient)
    if hook is not None:
        case = msgspec.structs.replace(case, hook=hook)
    answer = runner.directly(case)
    if as_json:
        click.echo(readable(msgspec.json.encode({"cards": answer.cards})), nl=False)
    else:
        terminal.show(case, answer)


def _named(cases: Sequence[Case], name: str) -> Case:
    for case in cases:
        if case.id == name:
            return case
    raise click.UsageError(f"no example is called {name!r}; 'cds-service demo --list' shows them")


@click.command()
@click.option("--as-of", default="today", show_default=True, help="Roll all dates to this day.")
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), help="Folder to write patients/ and requests/ to."
)
@click.option("--request", metavar="PATIENT", help="Print the hook request of one example instead.")
def examples(as_of: str, out: Path | None, request: str | None) -> None:
    """Write the example patients as FHIR Bundles and hook requests."""
    day = day_of(as_of, load_settings(os.environ).zone)
    cases = example_cases(day)
    runner = Runner(load_knowledge())
    if request is not None:
        click.echo(readable(runner.body(_named(cases, request))), nl=False)
        return
    if out is None:
        raise click.UsageError("say where to write them, --out DIR, or which request to print, --request PATIENT")
    written = list(files(cases, runner))
    for name, content in written:
        target = out / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    click.echo(f"{len(written)} files of {day} are in {out}/patients and {out}/requests")
