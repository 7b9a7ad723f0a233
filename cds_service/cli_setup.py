"""`cds-service prefetch` and `cds-service setup`: what has to be typed on the EHR's side, ready for pasting.

EHRs that do not read the discovery document need the addresses, the prefetch templates, the override reasons
and the hosts of links by hand. They come from the site's settings and knowledge: the same that the service uses.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import click

from cds_service.app import knowledge_of, now_utc
from cds_service.hooks.discovery import SERVICES
from cds_service.hooks.prefetch import build_expected
from cds_service.knowledge.model import Knowledge
from cds_service.settings import Settings, load

FOLDER = click.Path(file_okay=False, exists=True, path_type=Path)
EXAMPLE = "https://cds.example.org"
"""Where the service of the sheets is."""
_BLOCK = re.compile(r"(<!-- setup: ([a-z]+) -->\n).*?(<!-- end of setup -->)", re.DOTALL)


def _site() -> tuple[Settings, Knowledge]:
    settings = load(os.environ)
    return settings, knowledge_of(settings, now_utc().astimezone(settings.zone).date())


@click.command()
@click.option("--service", type=click.Choice([service.id for service in SERVICES]), help="One service's only.")
def prefetch(service: str | None) -> None:
    """Print the prefetch templates, each after its key."""
    _, knowledge = _site()
    for each in SERVICES:
        if service in (None, each.id):
            click.echo(f"# {each.id} ({each.hook})\n")
            for expected in build_expected(knowledge, each.hook):
                click.echo(f"{expected.key}\n{expected.template}\n")


@click.command()
@click.option("--write", type=FOLDER, help="Fill these values into the set-up sheets (*.md) of a folder instead.")
def setup(write: Path | None) -> None:
    """Print what the EHR's side has to be told: addresses, templates, reasons, hosts."""
    settings, knowledge = _site()
    parts = blocks(settings, knowledge)
    if write is None:
        for title, text in parts.items():
            click.echo(f"## {title.capitalize()}\n\n{text}")
        return
    sheets = sorted(write.glob("*.md"))
    if not sheets:
        raise click.UsageError(f"--write: no sheets (*.md) in {write}; copy those of docs/setup there first")
    for sheet in sheets:
        text = sheet.read_text(encoding="utf-8").replace(EXAMPLE, settings.base_url)
        sheet.write_text(filled(text, parts), encoding="utf-8")
    click.echo(f"{len(sheets)} sheets in {write} have the values of {settings.base_url}")


def filled(sheet: str, parts: Mapping[str, str]) -> str:
    """The text of a sheet with what stands between its `<!-- setup: … -->` marks replaced. Raises KeyError."""
    return _BLOCK.sub(lambda found: f"{found[1]}\n{parts[found[2]]}\n{found[3]}", sheet)


def blocks(settings: Settings, knowledge: Knowledge) -> dict[str, str]:
    """What has to be told, as Markdown, by the name that marks its place in a sheet."""
    base = f"{settings.base_url}/cds-services"
    addresses = [(service.hook, f"{base}/{service.id}") for service in SERVICES]
    return {
        "services": _table(("hook", "address"), addresses),
        "feedback": _table(("hook", "address"), [(hook, f"{address}/feedback") for hook, address in addresses]),
        "audiences": _lines(
            [base, *(address for _, address in addresses), *(f"{address}/feedback" for _, address in addresses)]
        ),
        "prefetch": "\n".join(
            f"`{expected.key}`\n\n{_lines([expected.template])}"
            for expected in build_expected(knowledge, SERVICES[0].hook)
        ),
        "reasons": _table(
            ("display", "code", "system"),
            [(reason.display, reason.code, reason.system) for reason in knowledge.reasons.values()],
        ),
        "hosts": _lines(link_hosts(settings, knowledge)),
    }


def link_hosts(settings: Settings, knowledge: Knowledge) -> list[str]:
    """Hosts that cards link to: those of the guidelines that rules rest on, and our own."""
    cited = {evidence.source for rule in knowledge.rules for evidence in rule.evidence}
    cited |= {
        evidence.source
        for protocol in knowledge.protocols
        for schedule in protocol.schedules.values()
        for evidence in schedule.evidence
    }
    urls = [knowledge.sources[source].url for source in cited]
    return sorted({host for url in (settings.base_url, *urls) if (host := urlsplit(url).hostname)})


def _lines(lines: Iterable[str]) -> str:
    return "".join(("```text\n", *(f"{line}\n" for line in lines), "```\n"))


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    cells = (head, ("---",) * len(head), *(tuple(f"`{cell}`" for cell in row) for row in rows))
    return "".join(f"| {' | '.join(row)} |\n" for row in cells)
