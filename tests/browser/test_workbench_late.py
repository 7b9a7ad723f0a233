"""The workbench when answers come late, in another order, or not at all: never the cards of one patient beside the
name of another, and never "No card" in place of an answer that was none."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.browser.conftest import settled
from tests.browser.test_workbench import go_to, override, paste, sent

pytestmark = pytest.mark.browser

HIGH = "Example Bravo"
"""The patient of `hematocrit-high`."""
CALL = "**/cds-services/*"
REQUEST: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "examples" / "requests" / "order-sign.json").read_text("utf-8")
)


@pytest.fixture
def bench(browser: Browser, address: str) -> Iterator[Page]:
    """The workbench on a critical card, for answers that fail: of these the browser itself complains."""
    faults: list[str] = []
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(address)
    settled(page)
    choose(page, "hematocrit-high")
    expect(page.locator("#banner")).to_contain_text(HIGH)
    settled(page)
    yield page
    page.close()
    assert faults == []


def choose(page: Page, example: str) -> None:
    page.get_by_label("Example patient").select_option(example)


def hold(page: Page, pattern: str, times: int = 1) -> list[Route]:
    """The next requests of this pattern, each held until `release`."""
    held: list[Route] = []
    page.route(pattern, lambda route: held.append(route) if len(held) < times else route.fallback())
    return held


def release(page: Page, route: Route) -> None:
    """Let a held request go on, and wait until the page has its answer and had time for more."""
    with page.expect_event("requestfinished", lambda request: request == route.request):
        route.continue_()
    page.evaluate("fetch(location.href).then((answer) => answer.text())")


def fail(page: Page, pattern: str) -> None:
    page.route(pattern, lambda route: route.fulfill(status=500, body="{}"))


# -- the service itself ----------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [{"status": 503, "body": "{}"}, {"status": 200, "body": "{}"}, None])
def test_a_service_that_does_not_tell_what_it_offers_is_asked_again(
    browser: Browser, address: str, answer: dict[str, Any] | None
):
    faults: list[str] = []
    page = browser.new_page()
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.route("**/cds-services", lambda route: route.fulfill(**answer) if answer else route.abort())
    page.goto(address)
    status = 0 if answer is None else answer["status"]
    expect(page.get_by_role("alert")).to_have_text(
        f"The service did not tell what it offers (HTTP {status}). Open a chart to ask it again."
    )
    expect(page.locator("#answer")).to_have_attribute("aria-busy", "false")
    page.unroute("**/cds-services")
    choose(page, "hematocrit-high")
    expect(page.get_by_role("article")).to_contain_text("Hematocrit 55.2 %")
    expect(page.get_by_role("alert")).to_be_hidden()
    settled(page)
    page.close()
    assert faults == []


# -- feedback --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("again", ["button", "day"])
def test_a_word_about_a_card_goes_where_the_card_came_from(bench: Page, again: str):
    """The next call, of another hook or day, is not answered yet: the cards are those of the one before."""
    choose(bench, "prostate-cancer")
    card = bench.get_by_role("article").first
    expect(card).to_contain_text("Critical")
    settled(bench)
    held = hold(bench, CALL if again == "button" else "**/workbench/call")
    if again == "button":
        bench.get_by_role("button", name="Open the chart").click()
    else:
        bench.locator("#as-of").fill("2026-10-01")
        bench.locator("#as-of").blur()
    expect(bench.locator("#answer")).to_have_attribute("aria-busy", "true")
    with bench.expect_request("**/feedback") as told:
        card.get_by_role("button", name="Override").first.click()
        bench.get_by_role("button", name="Override", exact=True).click()
    assert told.value.url.endswith("/cds-services/hormone-therapy-order-sign/feedback")
    assert held


# -- another chart ---------------------------------------------------------------------------------------


def test_a_hook_that_the_service_does_not_have_is_told(open_bench: Callable[..., Page]):
    page = open_bench("hematocrit-high")
    paste(page, json.dumps(REQUEST | {"hook": "order-review"}))
    problem = page.get_by_role("alert")
    expect(problem).to_contain_text("The service has no hook order-review.")
    expect(problem).to_contain_text("The chart that was open before is still the one below.")
    expect(page.locator("#banner")).to_contain_text(HIGH)
    expect(page.get_by_role("article")).to_contain_text("Hematocrit 55.2 %")
    page.get_by_role("button", name="Sign orders").click()
    expect(page.locator("#status")).to_have_text("Draft an order first.")
    settled(page)


@pytest.mark.parametrize("entry", [[{}], [None], ["x"], {}], ids=json.dumps)
def test_draft_orders_without_a_resource_are_told(open_bench: Callable[..., Page], entry: Any):
    page = open_bench("hematocrit-high")
    context = REQUEST["context"] | {"draftOrders": {"resourceType": "Bundle", "entry": entry}}
    paste(page, json.dumps(REQUEST | {"context": context}))
    expect(page.get_by_role("alert")).to_contain_text("an entry of draftOrders holds no resource")
    expect(page.locator("#banner")).to_contain_text(HIGH)
    settled(page)


@pytest.mark.parametrize(
    "spoilt",
    [
        {"context": REQUEST["context"] | {"selections": 5}},
        {"prefetch": {"patient": {"resourceType": "Patient", "name": [{"given": 5}]}}},
    ],
    ids=["selections", "name"],
)
def test_what_cannot_be_opened_for_another_reason_is_told_too(open_bench: Callable[..., Page], spoilt: Any):
    page = open_bench("hematocrit-high")
    paste(page, json.dumps(REQUEST | spoilt))
    problem = page.get_by_role("alert")
    expect(problem).to_contain_text("This chart could not be opened:")
    expect(problem).to_contain_text("still the one below")
    expect(page.locator("#banner")).to_contain_text(HIGH)
    expect(page.get_by_role("article")).to_contain_text("Hematocrit 55.2 %")
    assert "draftOrders" not in sent(page)["context"]
    settled(page)


def test_until_the_answer_nothing_of_the_patient_before_is_shown(open_bench: Callable[..., Page]):
    page = open_bench("hematocrit-high")
    page.locator("#rules").get_by_text("HCT-1", exact=True).wait_for(state="attached")
    held = hold(page, CALL)
    choose(page, "all-fine")
    expect(page.locator("#banner")).not_to_contain_text(HIGH)
    expect(page.locator("#status")).to_have_text("Reading the chart…")
    for place in ("#cards", "#chart", "#wire", "#ahead-told"):
        expect(page.locator(place)).to_be_empty()
    expect(page.locator("#rules")).to_have_text("The rules were not asked.")
    expect(page.locator("#answer")).to_have_attribute("aria-busy", "true")
    release(page, held[0])
    settled(page)
    expect(page.locator("#cards")).to_contain_text("No card.")


def test_of_two_charts_the_last_chosen_is_shown(open_bench: Callable[..., Page]):
    page = open_bench()
    held = hold(page, "**/workbench/examples/all-fine")
    choose(page, "all-fine")
    choose(page, "hematocrit-high")
    expect(page.locator("#banner")).to_contain_text(HIGH)
    settled(page)
    release(page, held[0])
    settled(page)
    expect(page.get_by_label("Example patient")).to_have_value("hematocrit-high")
    expect(page.locator("#banner")).to_contain_text(HIGH)
    expect(page.get_by_role("article")).to_contain_text("Hematocrit 55.2 %")


def test_a_chart_that_was_given_up_and_cannot_be_read_is_not_told(bench: Page):
    held = hold(bench, "**/workbench/examples/all-fine")
    choose(bench, "all-fine")
    choose(bench, "several-findings")
    expect(bench.locator("#banner")).not_to_contain_text(HIGH)
    settled(bench)
    with bench.expect_event("requestfailed", lambda request: request == held[0].request):
        held[0].abort()
    bench.evaluate("fetch(location.href).then((answer) => answer.text())")
    expect(bench.locator("#who-problem")).to_be_hidden()
    settled(bench)


def test_a_chart_given_up_for_one_that_is_none_leaves_the_status_of_the_one_below(open_bench: Callable[..., Page]):
    page = open_bench("hematocrit-high")
    status = page.locator("#status").text_content() or ""
    hold(page, "http://127.0.0.1:1/**", times=100)
    page.get_by_role("button", name="FHIR server").click()
    page.get_by_label("Base address").fill("http://127.0.0.1:1/fhir")
    page.get_by_label("Patient id").fill("x")
    page.get_by_role("button", name="Read this chart").click()
    expect(page.locator("#status")).to_have_text("Reading the chart…")
    paste(page, "{")
    expect(page.get_by_role("alert")).to_contain_text("This is not JSON")
    expect(page.locator("#status")).to_have_text(status)
    settled(page)


def test_it_stays_busy_while_a_chart_is_read(open_bench: Callable[..., Page]):
    """The explanation of the chart before arrives meanwhile, and is shown."""
    page = open_bench("hematocrit-high")
    explained, read = hold(page, "**/workbench/explain"), hold(page, "**/workbench/examples/all-fine")
    with page.expect_request("**/workbench/explain"):
        page.get_by_role("button", name="Open the chart").click()
    page.evaluate("document.getElementById('chart').replaceChildren()")
    choose(page, "all-fine")
    release(page, explained[0])
    expect(page.locator("#chart")).to_contain_text("Hematocrit")
    expect(page.locator("#answer")).to_have_attribute("aria-busy", "true")
    release(page, read[0])
    settled(page)
    expect(page.locator("#banner")).not_to_contain_text(HIGH)


# -- feedback --------------------------------------------------------------------------------------------


def test_a_late_dismissal_takes_no_refusal_away(bench: Page):
    held = hold(bench, "**/feedback")
    bench.get_by_role("button", name="Dismiss").click()
    fail(bench, CALL)
    bench.get_by_role("button", name="Open the chart").click()
    refusal = bench.locator("#cards").get_by_role("alert")
    expect(refusal).to_contain_text("HTTP 500")
    release(bench, held[0])
    expect(bench.locator("#feedback li")).to_contain_text("HTTP 200: received")
    expect(refusal).to_contain_text("HTTP 500")
    expect(bench.locator("#cards")).not_to_contain_text("No card")
    expect(bench.locator("#status")).to_contain_text("HTTP 500")


def test_a_dismissal_whose_call_was_under_way_takes_no_refusal_away(bench: Page):
    """Dismissed after the call was sent, and before its answer."""
    call, word = hold(bench, CALL), hold(bench, "**/feedback")
    with bench.expect_request(CALL):
        bench.get_by_role("button", name="Open the chart").click()
    bench.get_by_role("button", name="Dismiss").click()
    call[0].fulfill(status=500, body="{}")
    expect(bench.locator("#cards").get_by_role("alert")).to_contain_text("HTTP 500")
    release(bench, word[0])
    expect(bench.locator("#feedback li")).to_contain_text("HTTP 200: received")
    expect(bench.locator("#cards").get_by_role("alert")).to_contain_text("HTTP 500")
    expect(bench.locator("#cards")).not_to_contain_text("No card")


@pytest.mark.parametrize("body", ["", "{}", '{"cards": null}', "<html>sign in</html>"])
def test_an_answer_without_a_list_of_cards_is_no_all_clear(bench: Page, body: str):
    bench.route(CALL, lambda route: route.fulfill(status=200, body=body))
    bench.get_by_role("button", name="Open the chart").click()
    expect(bench.locator("#cards").get_by_role("alert")).to_contain_text("HTTP 200")
    expect(bench.locator("#cards")).not_to_contain_text("No card")


def test_a_dismissed_card_leaves_no_all_clear(open_bench: Callable[..., Page]):
    page = open_bench("hematocrit-high")
    page.get_by_role("button", name="Dismiss").click()
    expect(page.get_by_role("article")).to_have_count(0)
    expect(page.locator("#cards")).to_contain_text("What they told still stands")
    expect(page.locator("#cards")).not_to_contain_text("No rule has anything to show")
    expect(page.locator("#status")).to_contain_text("1 dismissed")


def test_a_late_word_about_a_card_asks_nothing_about_another_chart(open_bench: Callable[..., Page]):
    page = open_bench("three-months-due")
    held = hold(page, "**/feedback")
    page.get_by_role("button", name="Draft order: total testosterone").click()
    choose(page, "all-fine")
    expect(page.locator("#cards")).to_contain_text("No card.")
    settled(page)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "patient-view" in request.url else None)
    release(page, held[0])
    expect(page.locator("#feedback li")).to_contain_text("accepted – HTTP 200: received")
    expect(page.locator(".drafts li")).to_have_count(0)
    expect(page.locator("#status")).not_to_contain_text("draft order added")
    assert asked == []


def test_a_late_word_about_a_card_is_heeded_in_its_chart(open_bench: Callable[..., Page]):
    """Two overrides at once: the call after the first does not know of the second, which is received later."""
    page = open_bench("several-findings")
    held = hold(page, "**/feedback", times=2)
    toggles = page.locator(".card footer button[aria-expanded]")
    cards = [page.get_by_role("article").nth(place).get_by_role("heading").text_content() or "" for place in (1, 2)]
    for place in (1, 2):
        toggles.nth(place).click()
        page.get_by_role("article").nth(place).get_by_role("button", name="Override", exact=True).click()
    with page.expect_response("**/workbench/explain"):
        release(page, held[0])
    settled(page)
    expect(page.get_by_role("article").filter(has_text=cards[0])).to_have_count(0)
    release(page, held[1])
    expect(page.get_by_role("article").filter(has_text=cards[1])).to_have_count(0)
    settled(page)


# -- the year ahead --------------------------------------------------------------------------------------


def look_ahead(page: Page) -> None:
    page.get_by_role("button", name="What changes in the year after this day").click()
    expect(page.locator("#ahead-told .ahead")).to_be_visible(timeout=60_000)


def test_the_year_ahead_is_forgotten_after_an_order_and_after_a_word(open_bench: Callable[..., Page]):
    """It told what comes with nothing done. Another day leaves it: it names the day that it starts from."""
    page = open_bench("three-months-due")
    look_ahead(page)
    go_to(page, "2026-03-17")
    expect(page.locator("#ahead-told")).to_contain_text("From 2026-03-16 on, with nothing done")
    page.get_by_role("button", name="Draft order: estradiol").click()
    expect(page.locator("#ahead-told")).to_be_empty()
    settled(page)
    look_ahead(page)
    page.locator(".drafts").get_by_role("button", name="Remove").click()
    expect(page.locator("#ahead-told")).to_be_empty()
    settled(page)
    look_ahead(page)
    page.get_by_label("Medication").select_option(index=1)
    page.get_by_role("button", name="Draft it").click()
    expect(page.locator("#ahead-told")).to_be_empty()
    settled(page)
    page.get_by_role("button", name="Open the chart").click()
    settled(page)
    look_ahead(page)
    page.get_by_role("button", name="Dismiss").first.click()
    expect(page.locator("#ahead-told")).to_be_empty()


def test_the_year_ahead_is_forgotten_after_an_override(open_bench: Callable[..., Page]):
    page = open_bench("year-overdue")
    look_ahead(page)
    override(page, "Yearly tests overdue", "Result pending")
    expect(page.locator("#ahead-told")).to_be_empty()
