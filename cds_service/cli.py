"""The command `cds-service`: serve the hooks, show the examples in the terminal, write them as files.

Whatever goes wrong is told in one line on standard error (one line for each mistake in a file), with exit code 2.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import get_args

import click
import msgspec
from click.exceptions import Exit

from cds_service import __version__
from cds_service.app import now_utc
from cds_service.cli_audit import audit
from cds_service.cli_config import config
from cds_service.cli_database import database
from cds_service.cli_jwt import check_jwt
from cds_service.cli_knowledge import explain, knowledge
from cds_service.cli_messages import messages
from cds_service.cli_records import purge, report
from cds_service.cli_serve import serve
from cds_service.cli_setup import prefetch, setup
from cds_service.feedback.errors import DatabaseError
from cds_service.knowledge.loader import load as load_knowledge
from cds_service.knowledge.model import HookName
from cds_service.knowledge.yaml_file import KnowledgeError
from cds_service.scenarios import terminal
from cds_service.scenarios.bundles import example_cases, files, readable
from cds_service.scenarios.facts import Case
from cds_service.scenarios.reading import ScenarioError
from cds_service.scenarios.run import Runner
from cds_service.settings import SettingsError
from cds_service.settings import load as load_settings

FOLDER = click.Path(file_okay=False, path_type=Path)
FAILED = 2
INTERRUPTED = 130
MISTAKES = (SettingsError, KnowledgeError, ScenarioError, DatabaseError, OSError)
"""Errors whose message is meant for whoever runs the command."""


def main() -> None:
    """Run the command line of this process and leave with its exit code."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command; return the exit code: 0, or 2 with what is wrong on standard error."""
    try:
        result = cli.main(list(arguments), prog_name="cds-service", standalone_mode=False)
    except Exit as left:
        return left.exit_code
    except click.Abort:
        return INTERRUPTED
    except click.ClickException as error:
        return _fail(error.format_message())
    except MISTAKES as error:
        return _fail(str(error))
    return result if isinstance(result, int) else 0


def _fail(message: str) -> int:
    for line in message.splitlines():
        click.echo(f"cds-service: {line}", err=True)
    return FAILED


@click.group(no_args_is_help=False, invoke_without_command=True)
@click.version_option(__version__, message="cds-service %(version)s")
@click.pass_context
def cli(context: click.Context) -> None:
    """CDS Hooks for hormone therapy: blood tests that are due, and results that need action."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


cli.add_command(knowledge)
cli.add_command(explain)
cli.add_command(database)
cli.add_command(report)
cli.add_command(purge)
cli.add_command(serve)
cli.add_command(audit)
cli.add_command(config)
cli.add_command(prefetch)
cli.add_command(setup)
cli.add_command(check_jwt)
cli.add_command(messages)


# -- demo --------------------------------------------------------------------------------------------


@cli.command(short_help="Show the cards of the example patients.")
@click.argument("patient", required=False)
@click.option("--list", "listed", is_flag=True, help="List the example patients.")
@click.option("--hook", type=click.Choice(get_args(HookName)), help="Fire this hook instead of the example's own.")
@click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON.")
def demo(patient: str | None, listed: bool, hook: HookName | None, as_json: bool) -> None:
    """Show the cards of an example PATIENT; without one, those of all of them in short."""
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


# -- examples ----------------------------------------------------------------------------------------


def _day(words: str) -> date:
    """A day in words; `today` is that of the site's time zone, as it is for a running service."""
    if words == "today":
        return now_utc().astimezone(load_settings(os.environ).zone).date()
    try:
        return date.fromisoformat(words)
    except ValueError:
        raise click.UsageError(f"--as-of: {words!r} is neither 'today' nor a date such as 2026-11-22") from None


@cli.command()
@click.option("--as-of", default="today", show_default=True, help="Roll all dates to this day.")
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), help="Folder to write patients/ and requests/ to."
)
@click.option("--request", metavar="PATIENT", help="Print the hook request of one example instead.")
def examples(as_of: str, out: Path | None, request: str | None) -> None:
    """Write the example patients as FHIR Bundles and hook requests."""
    day = _day(as_of)
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
