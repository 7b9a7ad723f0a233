"""`cds-service knowledge …` and `cds-service explain`: what reviewers and sites need around the knowledge.

    check    is everything in order, and what wants review     diff     what the site changes, and who says so
    test     run clinical scenarios                            export   the rules as FHIR PlanDefinitions
    cover    is every rule and limit tested from both sides    rxnorm   the products of an RxNorm release
    docs     the rule reference page                           explain  why this card, why no card
    texts    every text of the rules, to be reworded

All of them look at the knowledge of the site: guideline and overlay of the settings, unless options name others.
Exit code 1: something is wrong with the knowledge; 2: with the command, a file or the settings.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from datetime import date
from functools import wraps
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cds_service.chart import Chart, Past
from cds_service.cli_days import day_of
from cds_service.explain import ExplainError, explain_request
from cds_service.explain_text import print_explanation
from cds_service.hooks.request import HookRequest
from cds_service.hooks.wording import wording_of
from cds_service.knowledge import export as artefacts
from cds_service.knowledge.difference import differences as differences_of
from cds_service.knowledge.difference import reworded as differences_of_words
from cds_service.knowledge.loader import load as load_knowledge
from cds_service.knowledge.model import Knowledge
from cds_service.knowledge.reference import page
from cds_service.knowledge.review import warnings
from cds_service.knowledge.rxnorm import ReleaseError, products_of, read_release
from cds_service.knowledge.silent import silent_rules
from cds_service.knowledge.texts import as_yaml, read_texts, texts_of
from cds_service.knowledge.yaml_file import KnowledgeError, Problem
from cds_service.scenarios.bundles import examples_folder, readable
from cds_service.scenarios.cover import WELL, uncovered
from cds_service.scenarios.cover import cover as cover_by
from cds_service.scenarios.facts import Case
from cds_service.scenarios.judge import differences
from cds_service.scenarios.reading import read
from cds_service.scenarios.run import Runner
from cds_service.settings import Settings
from cds_service.settings import load as load_settings

FILE = click.Path(dir_okay=False, exists=True, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)
WRONG = 1
NARROWEST = 200
"""Characters of a line that goes into a file or a pipe."""
WHOLE = frozenset({"id", "what", "until", "review by"})
"""Columns that are never broken into lines."""


class Site(msgspec.Struct, frozen=True):
    """What the options and the settings say about the site."""

    settings: Settings
    today: date
    overlay: Path | None
    guideline: str

    def knowledge(self) -> Knowledge:
        """The knowledge of the site, in its words. Raises KnowledgeError."""
        words = self.settings.words_path
        return load_knowledge(overlay=self.overlay, guideline=self.guideline, today=self.today, words=words)


def _of_site(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options that name the site and the day; the command gets a `Site` in their place."""

    @click.option("--overlay", type=FILE, help="The site's overlay instead of that of the settings.")
    @click.option("--guideline", help="The guideline instead of that of the settings.")
    @click.option("--as-of", default="today", show_default=True, help="The day, YYYY-MM-DD.")
    @wraps(command)
    def with_site(*, overlay: Path | None, guideline: str | None, as_of: str, **options: Any) -> Any:
        settings = load_settings(os.environ)
        site = Site(
            settings,
            day_of(as_of, settings.zone),
            overlay or settings.overlay_path,
            settings.guideline if guideline is None else guideline,
        )
        return command(site=site, **options)

    return with_site


def _console() -> Console:
    console = Console()
    return console if console.is_terminal else Console(width=max(console.width, NARROWEST))


def _table(*columns: str) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column in WHOLE)
    return table


@click.group(short_help="Check, test and document the rules.")
def knowledge() -> None:
    """Check, test, document and export the rules of this site."""


# -- check, diff ---------------------------------------------------------------------------------------


@knowledge.command()
@_of_site
def check(site: Site) -> int:
    """Check the shipped knowledge and the overlay; list the rules and what wants review."""
    try:
        found = site.knowledge()
    except KnowledgeError as error:
        for problem in error.problems:
            click.echo(f"error: {problem}", err=True)
        return WRONG
    table = _table("id", "v", "status", "title", "protocol", "indicator", "hooks", "evidence", "mark", "review by")
    for rule in found.rules:
        evidence = ", ".join(dict.fromkeys(one.source for one in rule.evidence))
        marks = ", ".join(dict.fromkeys(one.mark for one in rule.evidence))
        hooks = ", ".join(sorted(rule.hooks))
        cells = (rule.id, str(rule.version), rule.status, rule.title, rule.protocol, rule.indicator, hooks)
        table.add_row(*map(Text, (*cells, evidence, marks, str(rule.review_by))))
    console = _console()
    console.print(table)
    told = warnings(found, site.today)
    for warning in told:
        console.print(Text(f"warning: {warning}"), soft_wrap=True)
    counts = f"{len(found.rules)} rules in {len(found.protocols)} protocols; warnings: {len(told)}"
    console.print(Text(f"knowledge {found.version}: {counts}"), soft_wrap=True)
    return 0


@knowledge.command()
@_of_site
def diff(site: Site) -> None:
    """Show what differs from the shipped knowledge, with who decided it, why, and until when."""
    shipped, words = load_knowledge(today=site.today), site.settings.words_path
    unworded = msgspec.structs.replace(site.settings, words_folder="")
    here = msgspec.structs.replace(site, settings=unworded).knowledge()
    found = [*differences_of(shipped, here), *differences_of_words(shipped, words)]
    console = _console()
    if not found:
        console.print("Nothing differs from what is shipped.")
        return
    table = _table("what", "shipped", "here", "who", "why", "until", "where")
    for one in found:
        cells = (one.what, one.shipped or "(new)", one.here, one.who, one.why, one.until, one.place)
        table.add_row(*map(Text, cells))
    console.print(table)


@knowledge.command()
@click.option("--missing", is_flag=True, help="Only what the site's own words do not hold yet.")
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), help="File to write; standard output if absent."
)
def texts(missing: bool, out: Path | None) -> None:
    """Write every text of the rules as a knowledge.yaml for the folder of [words]."""
    shipped, problems = load_knowledge(), list[Problem]()
    found = texts_of(shipped)
    if missing:
        told = read_texts(shipped, load_settings(os.environ).words_path, problems)
        if problems:
            raise KnowledgeError(problems)
        found = {place: text for place, text in found.items() if place not in told}
    if out is None:
        click.echo(as_yaml(found), nl=False)
        return
    out.write_text(as_yaml(found), encoding="utf-8")
    click.echo(f"{out}: {len(found)} texts")


# -- test, cover, docs ---------------------------------------------------------------------------------


SCENARIOS = Path(__file__).parents[1] / "tests" / "scenarios"


def scenario_files() -> list[Path]:
    """The scenarios of this project, in a source checkout, and the example patients."""
    return [*sorted(SCENARIOS.glob("*.yaml")), examples_folder() / "patients.yaml"]


def _all_scenarios() -> list[Path]:
    """The same for what needs all of them. Raises UsageError where they are not."""
    files = scenario_files()
    if not SCENARIOS.is_dir():
        raise click.UsageError(
            "the scenarios of the rules are not part of the installed package; name some, as FILES"
        )
    return files


@knowledge.command()
@click.argument("files", nargs=-1, type=FILE)
@_of_site
def test(site: Site, files: Sequence[Path]) -> int:
    """Run the scenarios in FILES (default: those of the project) and tell which cases fail, and why."""
    runner = Runner(site.knowledge(), site.settings)
    table = _table("file", "cases", "passed", "failed", "rate")
    failures: list[tuple[str, list[str]]] = []
    for path in files or scenario_files():
        cases = read(path)
        found = [(f"{case.place}: {case.title}", _differences(case, runner)) for case in cases]
        failed = [(title, problems) for title, problems in found if problems]
        failures += failed
        if cases:
            passed = len(cases) - len(failed)
            rate = f"{passed * 100 // len(cases)} %"
            table.add_row(path.name, str(len(cases)), str(passed), str(len(failed)), rate)
    console = _console()
    console.print(table)
    for title, problems in failures:
        console.print(Text(f"\n{title}", style="bold"), soft_wrap=True)
        for problem in problems:
            console.print(Text(f"  {problem}"), soft_wrap=True)
    return WRONG if failures else 0


def _differences(case: Case, runner: Runner) -> list[str]:
    """What is not as the case expects; a failure of the service itself is told in the same way."""
    try:
        # A refusal is an answer of the web only.
        answer = runner.directly(case) if case.expect.status == WELL else runner.over_http(case)
        return differences(case, answer, runner.knowledge(case))
    except ValueError as error:
        return [str(error)]


@knowledge.command()
@click.argument("files", nargs=-1, type=FILE)
@_of_site
def cover(site: Site, files: Sequence[Path]) -> int:
    """Tell which rules and limits no scenario looks at from both sides.

    A rule needs a case in which it speaks and one in which it is judged and silent. A limit needs a value that
    passes it and one that does not, each at most a tenth of the limit, or two shown steps, away from it.
    """
    found = site.knowledge()
    coverage = cover_by(files or _all_scenarios(), Runner(found, site.settings), found)
    missing = uncovered(coverage, found)
    for line in missing:
        click.echo(line)
    counts = f"{len(coverage.rules)} rules, {len(coverage.limits)} limits and {len(coverage.milestones)} milestones"
    click.echo(f"{counts}: {f'{len(missing)} gaps' if missing else 'all covered'}")
    return WRONG if missing else 0


@knowledge.command()
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), help="File to write; standard output if absent."
)
@_of_site
def docs(site: Site, out: Path | None) -> None:
    """Write the rule reference page (in a source checkout: docs/rules.md)."""
    found = site.knowledge()
    coverage = cover_by(_all_scenarios(), Runner(found, site.settings), found)
    text = page(found, {rule: coverage.files_of(rule) for rule in coverage.rules})
    if out is None:
        click.echo(text, nl=False)
        return
    out.write_text(text, encoding="utf-8")
    click.echo(f"{out}: {len(found.rules)} rules")


# -- export, rxnorm ------------------------------------------------------------------------------------


@knowledge.command()
@click.option("--out", type=FOLDER, required=True, help="Folder to write the files to.")
@click.option("--base", default=artefacts.BASE, show_default=True, help="Beginning of the canonical addresses.")
@_of_site
def export(site: Site, out: Path, base: str) -> None:
    """Write the rules as FHIR R4 PlanDefinition, Library and ActivityDefinition."""
    out.mkdir(parents=True, exist_ok=True)
    count = 0
    for resource in artefacts.resources(site.knowledge(), base.rstrip("/")):
        name = f"{resource['resourceType']}-{resource['id']}.json"
        (out / name).write_bytes(readable(msgspec.json.encode(resource)))
        count += 1
    click.echo(f"{count} files are in {out}")


@knowledge.command()
@click.argument("rrf_dir", type=click.Path(file_okay=False, exists=True, path_type=Path))
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), required=True, help="File to write.")
def rxnorm(rrf_dir: Path, out: Path) -> None:
    """Make products.tsv anew from the RRF files of an RxNorm release (RXNCONSO.RRF, RXNREL.RRF)."""
    try:
        release = read_release(rrf_dir)
    except ReleaseError as error:
        raise click.ClickException(str(error)) from error
    made = products_of(release, load_knowledge())
    out.write_text(made.text(), encoding="utf-8")
    click.echo(f"{out}: {len(made.rows)} products")
    for name in made.left_out:
        click.echo(f"left out, an ingredient is not in therapies.yaml: {name}", err=True)


# -- explain -------------------------------------------------------------------------------------------


@click.command(short_help="Say why there is a card, and why there is none.")
@click.argument("request", type=FILE)
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
@click.option("--remember", is_flag=True, help="Look up in the site's database what users set aside.")
@click.option("--client", default="", help="With --remember: name of the client that calls.")
@_of_site
def explain(site: Site, request: Path, as_json: bool, remember: bool, client: str) -> None:
    """Explain the answer to the hook request in the file REQUEST: every rule with its facts and its arithmetic."""
    settings, known = site.settings, site.knowledge()
    wording = wording_of(settings)

    def recall(call: HookRequest, chart: Chart) -> Past:
        if not remember:
            return Past()
        from cds_service.feedback.store import open_store

        store = open_store(settings)
        patient = store.patient(client, call.fhir_server, call.patient_id)
        return store.past(patient, chart, known, settings.zone, site.today)

    try:
        explanation = explain_request(
            request.read_bytes(),
            known,
            as_of=site.today,
            zone=settings.zone,
            profile=settings.ehr_profile,
            recall=recall,
            silent=silent_rules(settings, known),
            wording=wording,
        )
    except ExplainError as error:
        raise click.ClickException(str(error)) from error
    explanation["answer"]["silent"] = settings.silent_all
    if as_json:
        click.echo(readable(msgspec.json.encode(explanation)), nl=False)
    else:
        print_explanation(explanation, _console(), wording.voice)
