"""The workbench in another language: with every text in pseudo-translation nothing is left as it was, and dates and
numbers that scripts write follow the locale."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from cds_service.app import create_app, knowledge_of
from cds_service.knowledge.model import Knowledge
from cds_service.scenarios.workbench import TOOLS
from cds_service.settings import Settings
from tests.browser.conftest import serve, settled
from tests.pseudo import exempt, left_over, write_site
from tests.test_translation import charted

pytestmark = pytest.mark.browser

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
EXAMPLE = "hematocrit-high"
DATA = {"HTTP", "KiB", "ms", "JSON", "Observation", "MedicationRequest", "http://127.0.0.1:8081/fhir"}
"""Names of formats, units of the page itself, types of resources, the example of an address."""
BY_THE_BROWSER = "So., 22. November 2026"
"""The day in words, in the language of the page."""
VISIBLE = """() => {
  document.querySelectorAll('details').forEach((each) => { each.open = true; });
  document.querySelectorAll('#wire pre, #banner .name, select option, optgroup').forEach((each) => each.remove());
  const heard = [...document.querySelectorAll('[aria-label], [title], [placeholder]')].flatMap((each) =>
    ['aria-label', 'title', 'placeholder'].map((name) => each.getAttribute(name) ?? ''));
  return [document.body.innerText, document.title, ...heard].join('\\n');
}"""


@pytest.fixture(scope="module")
def translated(knowledge: Knowledge, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The service of a site that has translated everything and writes dates and numbers as in Germany."""
    folder = write_site(tmp_path_factory.mktemp("words"), knowledge)
    settings = Settings(words_folder=str(folder), words_locale="de", governance=True)
    here = knowledge_of(settings, NOON.date())
    yield from serve(create_app(settings, knowledge=here, clock=lambda: NOON, log=io.StringIO(), tools=TOOLS))


@pytest.fixture
def page(browser: Browser, translated: str) -> Iterator[Page]:
    """The workbench on an example with a critical card. Fails in the end if the console complained."""
    faults: list[str] = []
    opened = browser.new_page(viewport={"width": 1280, "height": 900})
    opened.on("pageerror", lambda error: faults.append(str(error)))
    opened.on("console", lambda said: faults.append(said.text) if said.type in ("error", "warning") else None)
    opened.goto(translated)
    settled(opened)
    opened.locator("#example").select_option(EXAMPLE)
    settled(opened)
    yield opened
    opened.close()
    assert faults == []


def test_nothing_is_left_untranslated(page: Page, knowledge: Knowledge) -> None:
    """A draft beside the cards and the form for a reason are open, too."""
    page.locator("#drug").select_option(index=1)
    page.locator("#drug-add").click()
    settled(page)
    page.locator("#acts [data-hook=patient-view]").click()
    settled(page)
    page.locator(".card footer button[aria-expanded]").first.click()
    (example,) = [each for each in TOOLS.examples(knowledge, NOON.date()) if each.id == EXAMPLE]
    kept = exempt(knowledge) | charted(example.request) | DATA
    text = re.sub(r"`[^`]*`", "·", page.evaluate(VISIBLE))  # names of rows
    assert left_over(text, kept | {BY_THE_BROWSER}) == []


@pytest.mark.parametrize(
    "spoilt",
    [
        {"hook": "order-review"},
        {"hook": "order-sign", "context": {"patientId": "p", "draftOrders": {"entry": [{}]}}},
    ],
    ids=["hook", "drafts"],
)
def test_what_cannot_be_opened_is_told_in_the_language(page: Page, spoilt: dict[str, Any]) -> None:
    page.locator("#sources [data-source=bundle]").click()
    page.locator("#bundle").fill(json.dumps({"context": {"patientId": "p"}, "prefetch": {}} | spoilt))
    page.locator("[data-form=bundle] button.first").click()
    told = page.locator("#who-problem")
    expect(told).to_be_visible()
    assert left_over(told.text_content() or "", frozenset({"order-review"})) == []


def test_a_dismissed_card_leaves_words_of_the_language(page: Page, knowledge: Knowledge) -> None:
    page.route("**/feedback", lambda route: route.fulfill(status=200))  # the other tests share the records
    page.locator(".card .foot > button:not([aria-expanded])").click()
    expect(page.locator("#cards .none")).to_be_visible()
    assert left_over(page.locator("#cards").text_content() or "", exempt(knowledge)) == []


def test_dates_and_numbers_follow_the_locale(page: Page) -> None:
    """55.2 % on 2026-11-12 is the example's critical result; 0.552 L/L is what the laboratory wrote."""
    expect(page.locator("#cards h3").first).to_contain_text("55,2 %")
    expect(page.locator("#cards h3").first).to_contain_text("12.11.2026")
    text = page.evaluate(VISIBLE)
    assert not re.search(r"\b\d{4}-\d\d(-\d\d)?\b", text)
    assert "[0.552 L/L x 100 = 55,2 %]" in text
    assert "52,0 %" in text  # the limit of a rule, in the sentence that tells when it speaks
    row = page.locator("#chart table tr", has_text="55,2 %").first
    expect(row.locator("td").last).to_have_text("12.11.2026")
    assert page.locator("#as-of").input_value() == "2026-11-22"


def test_the_walk_through_time_speaks_the_language_too(page: Page) -> None:
    page.locator("#look-ahead").click()
    listed = page.locator("#ahead-told li time").first
    expect(listed).to_have_text(re.compile(r"^\d\d\.\d\d\.\d{4}$"), timeout=120_000)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", listed.get_attribute("datetime") or "")
