"""With every text of the service in pseudo-translation, nothing that people see is left as it was."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from html import unescape
from pathlib import Path
from typing import Any

import msgspec
import pytest
from flask import Flask
from rich.console import Console

from cds_service.app import create_app, examined, knowledge_of
from cds_service.explain import make_explainer
from cds_service.explain_text import print_explanation
from cds_service.hooks.cards import Renderer, make_renderer
from cds_service.hooks.prefetch import build_expected
from cds_service.hooks.wording import Wording, wording_of
from cds_service.knowledge.model import Knowledge
from cds_service.scenarios.bundles import example_cases
from cds_service.scenarios.workbench import TOOLS
from cds_service.settings import Settings
from tests.hooks.tour import numbered, stops
from tests.pseudo import GREEK, exempt, left_over, pseudo, write_site

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
EXAMPLES = [case.id for case in example_cases(NOON.date())]
CHARTED = "ωωω"
"""Stands for the words of others in the tour."""


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory, knowledge: Knowledge) -> Settings:
    folder = write_site(tmp_path_factory.mktemp("words"), knowledge)
    return Settings(words_folder=str(folder), governance=True)


@pytest.fixture(scope="module")
def here(settings: Settings) -> Knowledge:
    return knowledge_of(settings, NOON.date())


@pytest.fixture(scope="module")
def wording(settings: Settings) -> Wording:
    return wording_of(settings)


@pytest.fixture(scope="module")
def render(here: Knowledge, wording: Wording) -> Renderer:
    return make_renderer(here, "generic", wording)


@pytest.fixture(scope="module")
def app(settings: Settings, here: Knowledge) -> Flask:
    return create_app(settings, knowledge=here, tools=TOOLS, clock=lambda: NOON, log=io.StringIO())


@pytest.fixture(scope="module")
def kept(knowledge: Knowledge) -> frozenset[str]:
    return exempt(knowledge)


def strings(value: Any) -> Iterator[str]:
    """All texts of a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from strings(part)
    elif isinstance(value, list):
        for part in value:
            yield from strings(part)


def charted(request: bytes) -> set[str]:
    """What a chart says: names, results as reported, codes, ids."""
    texts = set(strings(msgspec.json.decode(request)))
    return texts | {text.partition("/")[2] for text in texts if "/" in text} | {"Observation", "MedicationRequest"}


def shown(html: str) -> str:
    """What a reader sees or hears: text, and the attributes that are read out."""
    html = re.sub(r"<(script|style|option)\b.*?</\1>", " ", html, flags=re.DOTALL)
    heard = re.findall(r'\b(?:aria-label|title|placeholder|alt)="([^"]*)"', html)
    return unescape(" ".join([re.sub(r"<[^>]*>", " ", html), *heard]))


def read(card: dict[str, Any]) -> str:
    """What an EHR shows of a card."""
    suggestions = [one["label"] for one in card.get("suggestions", ())]
    suggestions += [each["description"] for one in card.get("suggestions", ()) for each in one["actions"]]
    reasons = [one["display"] for one in card.get("overrideReasons", ())]
    links = [one["label"] for one in card.get("links", ())]
    title = card["source"]["topic"]["display"]
    detail = re.sub(r"`[^`]*`", "·", card["detail"])  # ids
    return "\n".join([card["summary"], detail, title, *suggestions, *reasons, *links])


def test_the_translation_is_one(settings: Settings) -> None:
    """It passes every check of the start, summaries of the longest values among them."""
    assert examined(settings, NOON.date())[2] == []


def test_what_stays_and_what_is_found(knowledge: Knowledge) -> None:
    """A test that sees nothing would pass, too."""
    name, due, of = "{{ f.x|name }}", "due".translate(GREEK), "of".translate(GREEK)
    assert (
        pseudo(f"{name} of {{% if x %}}due{{% endif %}} {{n}}")
        == f"{name} {of} {{% if x %}}{due}{{% endif %}} {{n}}"
    )
    assert (
        pseudo('{{ "due" if x else "of" }} {{ f["n"] }}') == f'{{{{ "{due}" if x else "{of}" }}}} {{{{ f["n"] }}}}'
    )
    assert left_over(f"54 mg/dL HCT {due}", exempt(knowledge)) == []
    assert left_over(f"{due} due", exempt(knowledge)) == [f"…{due} due…"]


def test_cards_of_the_tour(here: Knowledge, render: Renderer, kept: frozenset[str]) -> None:
    found = {}
    for stop in stops(CHARTED):
        for card in render(stop.evaluation(here), stop.chart, numbered()):
            for sequence in left_over(read(card), kept | {f"code {CHARTED}", "HH"}):
                found[sequence] = stop.name
    assert found == {}


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_explanation_of_an_example(
    name: str, here: Knowledge, wording: Wording, kept: frozenset[str], settings: Settings
) -> None:
    """As the command prints it, with the summaries of the cards."""
    (example,) = [each for each in TOOLS.examples(here, NOON.date()) if each.id == name]
    told = make_explainer(here, zone=settings.zone, wording=wording)(example.request, NOON.date())
    console = Console(file=(printed := io.StringIO()), width=400)
    print_explanation(told, console, wording.voice)
    text = re.sub(r"`[^`]*`", "·", printed.getvalue())  # names of rows
    keys = {expected.key for expected in build_expected(here, example.hook)}
    assert left_over(text, kept | charted(example.request) | keys | {here.version, "Patient"}) == []


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_chart_page_of_an_example(name: str, app: Flask, here: Knowledge, kept: frozenset[str]) -> None:
    (example,) = [each for each in TOOLS.examples(here, NOON.date()) if each.id == name]
    page = shown(app.test_client().get(f"/chart?patient={name}").text)
    keys = {expected.key for expected in build_expected(here, example.hook)}
    assert left_over(page, kept | charted(example.request) | keys | {here.version}) == []


def test_the_governance_page(app: Flask, here: Knowledge, kept: frozenset[str]) -> None:
    assert left_over(shown(app.test_client().get("/governance").text), kept | {here.version}) == []


def test_changes_of_the_site_on_the_governance_page(
    settings: Settings, tmp_path: Path, kept: frozenset[str]
) -> None:
    """What the overlay changes, and what is to be looked at because of it; who and why are the site's own words."""
    overlay = tmp_path / "overlay.yaml"
    entries = (
        ("2026-12-01", "rules: {HCT-2: {limits: {above: '51.0'}}, LDL-1: {status: retired}}"),
        ("2026-12-01", "switches: {psa_min_age: 45, psa_velocity: true}"),
        ("2026-11-01", "units: {'%': ['Vol.-%']}"),
    )
    changes = "".join(f"  - {{who: ωωω, why: ωωω, until: {day}, {what}}}\n" for day, what in entries)
    overlay.write_text(f"site: Example\nchanges:\n{changes}", encoding="utf-8")
    site = msgspec.structs.replace(settings, overlay=str(overlay))
    here = knowledge_of(site, NOON.date())
    app = create_app(site, knowledge=here, tools=TOOLS, clock=lambda: NOON, log=io.StringIO())
    page = shown(app.test_client().get("/governance").text)
    assert "rule".translate(GREEK) in page
    assert left_over(page, kept | {here.version, "overlay.yaml", "above", "status"}) == []
