"""The workbench in a real browser: a chart, its cards, orders, feedback, another day, a Bundle, a FHIR server."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from flask import Flask, Response
from playwright.sync_api import Browser, Page, Route, expect
from sqlalchemy import func, select

from cds_service.feedback.store import Store
from cds_service.feedback.tables import CALLS, FEEDBACK
from cds_service.knowledge.model import Knowledge
from cds_service.scenarios.build import Records, build
from cds_service.scenarios.bundles import example_cases, transaction
from cds_service.scenarios.request import encode
from tests.browser.conftest import NOW, serve, settled

pytestmark = pytest.mark.browser

TODAY = "2026-03-16"
AXE = (Path(__file__).parent / "vendor" / "axe.min.js").read_text("utf-8")
WIDTHS = (320, 768, 1280)


def go_to(page: Page, day: str) -> None:
    """Move time to a day, and see its answer explained."""
    with page.expect_response("**/workbench/explain"):
        page.locator("#as-of").fill(day)
        page.locator("#as-of").blur()
    settled(page)


def records(example: str, knowledge: Knowledge) -> Records:
    """The chart of an example as of `TODAY`."""
    (case,) = (case for case in example_cases(NOW.date().replace(day=16)) if case.id == example)
    return build(case, knowledge)


def sent(page: Page) -> dict[str, Any]:
    """The request that the page shows."""
    request: dict[str, Any] = json.loads(page.locator("#wire pre").first.text_content() or "")
    return request


def violations(page: Page) -> list[str]:
    page.evaluate(AXE)
    found = page.evaluate(
        "axe.run({runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']})"
    )
    return [f"{one['id']}: {node['html']}" for one in found["violations"] for node in one["nodes"]]


# -- cards -----------------------------------------------------------------------------------------------


def test_a_critical_finding(open_bench: Callable[..., Page]):
    page = open_bench("hematocrit-high")
    card = page.get_by_role("article")
    expect(card).to_have_count(1)
    expect(card).to_contain_text("Critical")
    expect(card.get_by_role("heading", level=3)).to_contain_text("Hematocrit 55.2 %")
    expect(card.get_by_role("columnheader").first).to_have_text("Date")
    expect(card.get_by_role("row")).to_have_count(4)
    expect(card.get_by_role("link", name="Endocrine Society 2018")).to_have_attribute("rel", "noopener noreferrer")
    expect(page.locator("#status")).to_contain_text("1 card (1 critical)")
    expect(page.locator("#banner")).to_contain_text("Example Bravo")
    expect(page.locator("#banner")).to_contain_text("52 years")
    spoke = page.locator("#rules details.finding")
    expect(spoke).to_contain_text("HCT-1 Hematocrit above the stop limit")
    spoke.locator("details[data-is=HCT-1] > summary").click()
    expect(spoke).to_contain_text("0.552 L/L x 100 = 55.2 %")


def test_no_card_is_no_all_clear(open_bench: Callable[..., Page]):
    page = open_bench("all-fine")
    expect(page.locator("#cards")).to_contain_text("No card.")
    expect(page.locator("#cards")).to_contain_text(
        "What each rule looked at, and which are silent or set aside, stands below"
    )
    page.locator(".group.not_applicable > summary").click()
    page.get_by_label("Find a rule").fill("embolism")
    expect(page.locator("#rules")).to_contain_text("embolism")
    page.get_by_label("Find a rule").fill("xyzzy")
    expect(page.locator("#rules")).to_have_text("No rule fits.")


def test_an_error_is_shown_as_one(browser: Browser, address: str):
    """Without the check of the console: the browser itself complains of such answers."""
    page = browser.new_page()
    page.goto(address)
    settled(page)
    issue = {"code": "required", "diagnostics": "prefetch.patient: missing"}
    body = json.dumps({"resourceType": "OperationOutcome", "issue": [issue]})
    page.route("**/cds-services/*", lambda route: route.fulfill(status=412, body=body))
    page.get_by_role("button", name="Open the chart").click()
    expect(page.locator("#cards").get_by_role("alert")).to_contain_text("HTTP 412")
    expect(page.locator("#cards")).to_contain_text("prefetch.patient: missing")
    expect(page.locator("#cards")).to_contain_text("looks like an all-clear. It is none.")
    page.unroute("**/cds-services/*")
    page.route("**/cds-services/*", lambda route: route.abort())
    page.get_by_role("button", name="Open the chart").click()
    expect(page.locator("#cards").get_by_role("alert")).to_contain_text("could not be reached")
    page.close()


HOSTILE = """<img src="https://evil.example.org/a.png"><script>document.title = 'hacked'</script>

![pixel](https://evil.example.org/b.png) [run](javascript:alert(1)) [go](https://guide.example.org/x)

<b>bold</b> **strong** &lt;i&gt;

| a | b |
|---|---|
| 1 | <iframe src="https://evil.example.org"></iframe> |
"""


def test_the_detail_of_a_card_cannot_do_harm(open_bench: Callable[..., Page]):
    page = open_bench()
    card: dict[str, Any] = {"uuid": "1", "summary": "<b>not bold</b>", "indicator": "warning", "detail": HOSTILE}
    card |= {"source": {"label": "S", "url": "javascript:alert(1)"}}
    card |= {"links": [{"label": "bad", "url": "javascript:alert(1)", "type": "absolute"}]}

    def answer(route: Route) -> None:
        route.fulfill(status=200, content_type="application/json", body=json.dumps({"cards": [card]}))

    page.route("**/cds-services/*", answer)
    page.get_by_role("button", name="Next example").click()
    article = page.get_by_role("article")
    expect(article.get_by_role("heading")).to_have_text("<b>not bold</b>")
    expect(article.locator("strong")).to_have_text("strong")
    assert article.locator("img, script, iframe, b").count() == 0
    assert [link.get_attribute("href") for link in article.locator("a").all()] == ["https://guide.example.org/x"]
    expect(article).to_contain_text("go (guide.example.org)")
    expect(article.get_by_role("cell").nth(1)).to_contain_text("<iframe")
    expect(page).to_have_title("Workbench – Hormone therapy monitoring")


# -- orders and feedback ---------------------------------------------------------------------------------


def test_an_accepted_suggestion_becomes_a_draft_and_is_not_suggested_again(open_bench: Callable[..., Page]):
    """Day 95 on a gel: testosterone and estradiol are due, the blood count is ordered."""
    page = open_bench("three-months-due")
    suggestions = page.get_by_role("group", name="Suggested orders").get_by_role("button")
    expect(suggestions).to_have_text(
        ["Draft orders for all 2 tests", "Draft order: total testosterone", "Draft order: estradiol"]
    )
    suggestions.nth(1).click()
    settled(page)
    expect(page.locator(".drafts li")).to_have_count(1)
    expect(page.locator(".drafts")).to_contain_text("total testosterone")
    expect(suggestions).to_have_text(["Draft order: estradiol"])
    expect(page.locator("#cards-title")).to_be_focused()
    expect(page.locator("#status")).to_contain_text("1 draft order added.")
    orders = [entry["resource"] for entry in sent(page)["prefetch"]["serviceRequests"]["entry"]]
    assert [order["status"] for order in orders] == ["draft", "active"]
    suggestions.first.click()
    settled(page)
    expect(page.get_by_role("article")).to_have_count(0)

    page.get_by_role("button", name="Sign and place all").click()
    settled(page)
    expect(page.locator(".drafts")).to_have_count(0)
    orders = [entry["resource"] for entry in sent(page)["prefetch"]["serviceRequests"]["entry"]]
    assert [order["status"] for order in orders] == ["active", "active", "active"]
    expect(page.get_by_role("article")).to_have_count(0)


def test_a_drafted_drug_is_checked(open_bench: Callable[..., Page]):
    page = open_bench("prostate-cancer")
    expect(page.get_by_role("button", name="Sign orders")).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_role("article").first).to_contain_text("Critical")
    page.locator(".drafts").get_by_role("button", name="Remove").click()
    settled(page)
    expect(page.get_by_role("button", name="Open the chart")).to_have_attribute("aria-pressed", "true")

    page.get_by_role("button", name="Sign orders").click()
    expect(page.locator("#status")).to_have_text("Draft an order first.")

    page.get_by_label("Medication").select_option(label="1 ML testosterone cypionate 200 MG/ML Injection")
    page.get_by_role("button", name="Draft it").click()
    settled(page)
    expect(page.get_by_role("article").first).to_contain_text("Critical")
    expect(page.get_by_role("article").first).to_contain_text("prostate", ignore_case=True)
    request = sent(page)
    assert request["hook"] == "order-select"
    (draft,) = (entry["resource"] for entry in request["context"]["draftOrders"]["entry"])
    assert request["context"]["selections"] == [f"MedicationRequest/{draft['id']}"]
    assert draft["subject"] == {"reference": "Patient/prostate-cancer"}

    page.locator(".drafts").get_by_role("checkbox").uncheck()
    page.get_by_role("button", name="Select orders").click()
    expect(page.locator("#status")).to_have_text("Tick at least one draft first.")


def test_feedback_is_really_sent(open_bench: Callable[..., Page], address: str):
    page = open_bench("hematocrit-high")
    bodies: list[Any] = []

    def take(route: Route) -> None:
        bodies.append(route.request.post_data_json)
        route.fulfill(status=200, body="")

    page.route("**/feedback", take)
    uuid = json.loads(page.locator("#wire pre").nth(1).text_content() or "")["cards"][0]["uuid"]
    page.get_by_role("button", name="Override Hematocrit").focus()
    page.keyboard.press("Enter")
    page.get_by_label("Reason").select_option(index=0)
    reason = page.get_by_label("Reason").locator("option").first.text_content()
    page.get_by_label("Comment (optional)").fill("seen by haematology")
    page.keyboard.press("Enter")
    expect(page.locator("#feedback li")).to_contain_text(f"overridden: {reason} – HTTP 200: received")
    (event,) = bodies[0]["feedback"]
    assert event["card"] == uuid
    assert event["outcome"] == "overridden"
    assert event["overrideReason"]["userComment"] == "seen by haematology"
    assert event["overrideReason"]["reason"]["code"]
    settled(page)

    page.get_by_role("button", name="Dismiss").click()
    expect(page.get_by_role("article")).to_have_count(0)
    expect(page.locator("#feedback li")).to_have_count(2)
    (event,) = bodies[1]["feedback"]
    assert "overrideReason" not in event


def test_an_override_buys_silence_for_a_while(open_bench: Callable[..., Page]):
    """A pending result buys 14 days: silent until 29 March, on the 30th the card is back and says so."""
    page = open_bench("year-overdue")
    page.clock.set_fixed_time(NOW)
    expect(page.get_by_role("article")).to_contain_text("Yearly tests overdue")
    page.get_by_role("button", name="Override Yearly tests overdue").click()
    page.get_by_label("Reason").select_option(label="Result pending")
    page.get_by_role("button", name="Override", exact=True).click()
    expect(page.locator("#feedback li")).to_contain_text("overridden: Result pending – HTTP 200: received")
    expect(page.get_by_role("article")).to_have_count(0)
    settled(page)
    aside = page.locator("#rules .group.snoozed")
    expect(aside).to_contain_text("Set aside by a user for a while")
    expect(aside).to_contain_text("speaks again from 2026-03-30")

    go_to(page, "2026-03-29")
    expect(page.get_by_role("article")).to_have_count(0)
    go_to(page, "2026-03-30")
    expect(page.get_by_role("article")).to_contain_text("Yearly tests overdue")
    expect(page.get_by_role("article")).to_contain_text("Result pending")


def override(page: Page, card: str, reason: str) -> None:
    page.get_by_role("button", name=f"Override {card}").click()
    page.get_by_label("Reason").select_option(label=reason)
    # The word is sent, the chart opened anew and explained.
    with page.expect_response("**/workbench/explain"):
        page.get_by_role("button", name="Override", exact=True).click()
    settled(page)


def test_an_override_of_another_day_counts_from_that_day_on(open_bench: Callable[..., Page], bench_store: Store):
    """A pending result buys 14 days from 16 April: silent until the 29th, back on the 30th. Nothing is recorded."""
    page = open_bench("year-overdue")
    page.clock.set_fixed_time(NOW)
    bodies: list[Any] = []
    page.on("request", lambda request: bodies.append(request.post_data_json) if "feedback" in request.url else None)
    before = rows(bench_store)
    go_to(page, "2026-04-16")
    override(page, "Yearly tests overdue", "Result pending")
    told = page.locator("#feedback li")
    expect(told).to_contain_text("overridden: Result pending – HTTP 200: received")
    expect(told).to_contain_text("on 2026-04-16; counts in this sitting, and is not in the service’s records")
    (body,) = bodies
    assert body["as_of"] == "2026-04-16"
    assert body["request"]["feedback"][0]["outcomeTimestamp"] == "2026-04-16T12:00:00Z"
    expect(page.get_by_role("article")).to_have_count(0)
    expect(page.locator("#rules .group.snoozed")).to_contain_text("speaks again from 2026-04-30")
    for day, cards in (("2026-04-29", 0), ("2026-04-30", 1), ("2026-04-15", 1), ("2026-04-16", 0)):
        go_to(page, day)
        expect(page.get_by_role("article")).to_have_count(cards)
    go_to(page, "2026-04-30")
    expect(page.get_by_role("article")).to_contain_text("Result pending")
    assert rows(bench_store) == before


def test_an_override_of_an_earlier_day_is_seen_today(open_bench: Callable[..., Page], bench_store: Store):
    page = open_bench("year-overdue")
    go_to(page, "2026-03-10")
    before = rows(bench_store)
    override(page, "Yearly tests overdue", "Result pending")
    with page.expect_response("**/workbench/explain"):
        page.get_by_role("button", name="Today").click()
    settled(page)
    expect(page.locator("#moved")).to_contain_text("with what you said on earlier days: the workbench answers")
    expect(page.get_by_role("article")).to_have_count(0)
    go_to(page, "2026-03-24")  # 14 days after the 10th
    page.get_by_role("button", name="Dismiss").click()
    expect(page.locator("#feedback li").first).to_contain_text("HTTP 200: received")
    assert rows(bench_store) == before


def rows(store: Store) -> list[int]:
    """How many calls and words of feedback there are in the records of the service."""
    assert store.recorder.drain()
    with store.engine.connect() as connection:
        return [
            connection.execute(select(func.count()).select_from(table)).scalar_one() for table in (CALLS, FEEDBACK)
        ]


def test_the_override_form_closes_with_escape(open_bench: Callable[..., Page]):
    page = open_bench("hematocrit-high")
    toggle = page.get_by_role("button", name="Override Hematocrit")
    toggle.focus()
    page.keyboard.press("Enter")
    expect(toggle).to_have_attribute("aria-expanded", "true")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    expect(page.get_by_label("Reason")).to_be_focused()
    page.keyboard.press("Escape")
    expect(toggle).to_have_attribute("aria-expanded", "false")
    expect(page.get_by_label("Reason")).to_be_hidden()
    expect(toggle).to_be_focused()


# -- time ------------------------------------------------------------------------------------------------


def test_time_moves(open_bench: Callable[..., Page]):
    page = open_bench("all-fine")
    asked: list[str] = []
    page.on(
        "request", lambda request: asked.append(urlsplit(request.url).path) if request.method == "POST" else None
    )
    expect(page.locator("#as-of")).to_have_value(TODAY)
    page.get_by_role("button", name="Forward one month").click()
    settled(page)
    expect(page.locator("#as-of")).to_have_value("2026-04-16")
    expect(page.locator("#moved")).to_contain_text("31 days from now")
    assert asked == ["/workbench/call", "/workbench/explain"]
    go_to(page, "2027-03-16")
    expect(page.get_by_role("article")).to_contain_text("Yearly tests overdue")
    page.get_by_role("button", name="Today").click()
    settled(page)
    expect(page.get_by_role("article")).to_have_count(0)
    assert asked[-2:] == ["/cds-services/hormone-therapy-patient-view", "/workbench/explain"]

    page.get_by_label("Days from today").focus()
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#as-of")).to_have_value("2026-03-15")
    settled(page)


def test_the_past_knows_nothing_of_later_results(open_bench: Callable[..., Page]):
    """Hematocrit was 0.498 L/L 110 days ago and 0.552 L/L 10 days ago."""
    page = open_bench("hematocrit-high")
    go_to(page, "2026-03-05")
    expect(page.locator("#moved")).to_contain_text("later entries are left out of the chart")
    results = [
        entry["resource"]["effectiveDateTime"]
        for key, page_of in sent(page)["prefetch"].items()
        if key.startswith("labs")
        for entry in page_of.get("entry", ())
    ]
    assert results
    assert max(results) < "2026-03-06"
    expect(page.get_by_text("Critical", exact=True)).to_have_count(0)


def test_the_year_ahead(open_bench: Callable[..., Page]):
    """Testosterone for 200 days: the yearly tests are meant for day 365 and overdue 31 days later, on day 396."""
    page = open_bench("all-fine")
    page.get_by_role("button", name="What changes in the year after this day").click()
    days = page.locator(".ahead time")
    expect(days.last).to_be_visible(timeout=60_000)
    told = page.locator(".ahead").text_content() or ""
    assert "Yearly" in told
    overdue = page.locator(".ahead li", has_text="Yearly tests overdue").first
    expect(overdue.locator("time")).to_have_text("2026-09-28")  # 16 March + 196 days
    overdue.get_by_role("button").click()
    settled(page)
    expect(page.get_by_role("article")).to_contain_text("Yearly tests overdue")


# -- another chart ---------------------------------------------------------------------------------------


def paste(page: Page, text: str) -> None:
    page.get_by_role("button", name="FHIR Bundle").click()
    page.get_by_label("FHIR R4 Bundle").fill(text)
    page.get_by_role("button", name="Open this chart").click()


def test_a_pasted_bundle(open_bench: Callable[..., Page], knowledge: Knowledge):
    bundle = transaction(records("hematocrit-high", knowledge))
    for entry in bundle["entry"]:  # as exports write it: urn:uuid everywhere
        entry["fullUrl"] = f"urn:uuid:{entry['resource']['id']}"
        if "subject" in entry["resource"]:
            entry["resource"]["subject"] = {"reference": "urn:uuid:hematocrit-high"}
    bundle["entry"].append({"resource": {"resourceType": "Observation", "id": "pulse", "status": "final"}})
    bundle["entry"].append({"fullUrl": "urn:uuid:no-resource"})
    page = open_bench("all-fine")
    paste(page, encode(bundle).decode())
    expect(page.get_by_role("article")).to_contain_text("Hematocrit 55.2 %")
    settled(page)
    expect(page.locator("#chart")).to_contain_text("2 in the Bundle that no prefetch search asks for")
    assert {key for key, answer in sent(page)["prefetch"].items() if "entry" not in answer} >= {"procedures"}


def test_a_pasted_request(open_bench: Callable[..., Page]):
    request = (Path(__file__).parents[2] / "examples" / "requests" / "order-sign.json").read_text("utf-8")
    page = open_bench("all-fine")
    paste(page, request)
    expect(page.get_by_role("button", name="Sign orders")).to_have_attribute("aria-pressed", "true")
    expect(page.locator(".drafts li")).to_have_count(1)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "This is not JSON"),
        ("[]", "no FHIR Bundle"),
        ('{"resourceType": "Patient"}', "no FHIR Bundle"),
        ('{"resourceType": "Bundle"}', "holds no Patient"),
        (
            '{"resourceType": "Bundle", "entry": [{"resource": {"resourceType": "Patient"}}, '
            '{"resource": {"resourceType": "Patient"}}]}',
            "holds 2 Patients",
        ),
    ],
)
def test_a_bundle_that_is_none_is_told(open_bench: Callable[..., Page], text: str, told: str):
    page = open_bench("hematocrit-high")
    paste(page, text)
    expect(page.get_by_role("alert")).to_contain_text(told)
    expect(page.get_by_role("article")).to_contain_text("Hematocrit 55.2 %")


@pytest.fixture(scope="module")
def fhir_server(knowledge: Knowledge) -> Iterator[str]:
    """A FHIR server that knows one patient, lets browsers in, and cannot search procedures."""
    app = Flask("fhir", static_folder=None)
    chart = records("hematocrit-high", knowledge)

    @app.get("/fhir/Patient/<name>")
    def patient(name: str) -> Response:
        return json_of(chart.patient, 200 if name == chart.patient["id"] else 404)

    @app.get("/fhir/<kind>")
    def search(kind: str) -> Response:
        if kind == "Procedure":
            return json_of({"resourceType": "OperationOutcome"}, 500)
        found = [{"resource": resource} for resource in chart.resources if resource["resourceType"] == kind]
        return json_of({"resourceType": "Bundle", "type": "searchset", "entry": found}, 200)

    def json_of(value: object, status: int) -> Response:
        response = Response(encode(value), status, mimetype="application/fhir+json")
        response.headers["Access-Control-Allow-Origin"] = "*"
        return response

    for address in serve(app):
        yield f"{address}/fhir"


def test_a_fhir_server(browser: Browser, address: str, fhir_server: str):
    """Without the check of the console: the browser itself complains of the search that failed."""
    page = browser.new_page()
    page.goto(address)
    settled(page)
    page.get_by_role("button", name="FHIR server").click()
    page.get_by_role("button", name="Read this chart").click()
    expect(page.get_by_role("alert")).to_contain_text("beginning with http")
    page.get_by_label("Base address").fill(fhir_server)
    page.get_by_role("button", name="Read this chart").click()
    expect(page.get_by_role("alert")).to_contain_text("id of the patient")
    page.get_by_label("Patient id").fill("hematocrit-high")
    page.get_by_role("button", name="Read this chart").click()
    expect(page.get_by_role("article").first).to_contain_text("Hematocrit 55.2 %")
    settled(page)
    expect(page.get_by_role("article").last).to_contain_text("could not judge")
    request = sent(page)
    assert request["fhirServer"] == fhir_server
    assert "procedures" not in request["prefetch"]
    page.locator("#chart").get_by_text("1 gap in the data").click()
    expect(page.locator("#chart")).to_contain_text("procedures: HTTP 500")
    page.close()


def test_a_patient_whom_the_server_does_not_know(browser: Browser, address: str, fhir_server: str):
    """No empty chart without cards, which would look like an all-clear."""
    page = browser.new_page()
    page.goto(address)
    settled(page)
    page.get_by_label("Example patient").select_option("hematocrit-high")
    settled(page)
    status = page.locator("#status").text_content()
    open_on_server(page, fhir_server, "nobody")
    expect(page.get_by_role("alert")).to_contain_text("The server knows no patient of this id (HTTP 404).")
    expect(page.get_by_role("alert")).to_contain_text("The chart that was open before is still the one below.")
    expect(page.locator("#status")).to_have_text(status or "")
    expect(page.get_by_role("article")).to_contain_text("Hematocrit 55.2 %")
    page.close()


def test_a_server_that_lets_no_page_read_it_is_read_by_the_service(
    browser: Browser, address: str, fhir_server: str
):
    page = browser.new_page()
    page.route("**/fhir/**", lambda route: route.abort())
    page.goto(address)
    settled(page)
    open_on_server(page, fhir_server, "hematocrit-high")
    expect(page.get_by_role("alert")).to_contain_text("This browser could not read the server")
    expect(page.get_by_role("article").first).to_contain_text("Hematocrit 55.2 %")
    settled(page)
    assert "prefetch" not in sent(page)
    expect(page.locator("#chart .results")).to_contain_text("Hematocrit")
    open_on_server(page, "http://127.0.0.1:1/fhir", "hematocrit-high")
    expect(page.locator("#cards").get_by_role("alert")).to_contain_text("HTTP 412")
    expect(page.locator("#cards")).not_to_contain_text("No card")
    page.close()


def test_what_the_service_fetched_itself_is_explained(browser: Browser, address: str, fhir_server: str):
    """The browser is refused the results; the service gets them, judges them, and the explanation shows them."""
    page = browser.new_page()
    page.route("**/fhir/Observation*", lambda route: route.abort())
    page.goto(address)
    settled(page)
    open_on_server(page, fhir_server, "hematocrit-high")
    expect(page.get_by_role("article").first).to_contain_text("Hematocrit 55.2 %")
    settled(page)
    assert not [key for key in sent(page)["prefetch"] if key.startswith("labs")]
    expect(page.locator("#chart .results")).to_contain_text("Hematocrit")
    expect(page.locator("#rules details.finding")).to_contain_text("HCT-1 Hematocrit above the stop limit")
    page.locator("#chart").get_by_text("that the service sent to the FHIR server itself").click()
    expect(page.locator("#chart")).to_contain_text("labs1: ok")
    expect(page.locator("#chart")).not_to_contain_text("were read again")

    with page.expect_popup() as opened:
        page.locator("#banner").get_by_role("button", name="Course over time").click()
    expect(opened.value.locator("#HCT")).to_contain_text("55.2")
    opened.value.close()
    page.close()


def open_on_server(page: Page, server: str, patient: str) -> None:
    page.get_by_role("button", name="FHIR server").click()
    page.get_by_label("Base address").fill(server)
    page.get_by_label("Patient id").fill(patient)
    page.get_by_role("button", name="Read this chart").click()


# -- the chart page --------------------------------------------------------------------------------------


def test_the_chart_page_of_the_same_patient_on_the_same_day(open_bench: Callable[..., Page]):
    page = open_bench("hematocrit-high")
    go_to(page, "2026-06-01")
    with page.expect_popup() as opened:
        page.locator("#banner").get_by_role("link", name="Course over time").click()
    there = opened.value
    expect(there.get_by_label("As of")).to_have_value("2026-06-01")
    expect(there.get_by_label("Example patient")).to_have_value("hematocrit-high")
    expect(there.locator("#HCT")).to_contain_text("55.2")
    there.close()
    with page.expect_popup() as opened:  # as an EHR launches it from a card
        page.get_by_role("article").first.get_by_role("link", name="Course over time").click()
    assert opened.value.url.endswith("#HCT")
    opened.value.close()


def test_the_chart_page_of_a_chart_that_is_no_example(open_bench: Callable[..., Page], knowledge: Knowledge):
    page = open_bench("all-fine")
    bundle = transaction(records("hematocrit-high", knowledge))
    paste(page, encode(bundle).decode())
    expect(page.get_by_role("article")).to_contain_text("Hematocrit 55.2 %")
    go_to(page, "2026-04-01")
    with page.expect_popup() as opened:
        page.locator("#banner").get_by_role("button", name="Course over time").click()
    there = opened.value
    expect(there.get_by_label("As of")).to_have_value("2026-04-01")
    expect(there.get_by_text("The chart that is open in the workbench.")).to_be_visible()
    expect(there.locator("#HCT")).to_contain_text("reported as 0.552 L/L")
    there.get_by_label("Time shown").select_option("1")
    there.get_by_role("button", name="Show").click()
    expect(there.locator("#HCT")).to_contain_text("reported as 0.552 L/L")
    assert violations(there) == []
    there.close()


# -- for everybody ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_accessible_and_readable(open_bench: Callable[..., Page], width: int, scheme: str):
    page = open_bench("several-findings", width, scheme)
    for summary in page.locator("#rules summary, #chart summary").all():
        if summary.is_visible():
            summary.click()
    page.get_by_role("button", name="Override ").first.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert violations(page) == []
    for source in ("FHIR Bundle", "FHIR server"):
        page.get_by_role("button", name=source).click()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert violations(page) == []


def test_the_keyboard_reaches_everything_in_reading_order(open_bench: Callable[..., Page]):
    page = open_bench("three-months-due")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    seen: list[str] = []
    for _ in range(40):
        page.keyboard.press("Tab")
        told = page.evaluate(
            """() => {
              const at = document.activeElement, section = at.closest('section');
              const ring = getComputedStyle(at).outlineStyle;
              return [section ? section.getAttribute('aria-labelledby') : '', ring, at.tagName];
            }"""
        )
        if not told[0]:
            continue
        assert told[1] != "none", told
        if not seen or seen[-1] != told[0]:
            seen.append(told[0])
    assert seen[:4] == ["who-title", "when-title", "cards-title", "orders-title"]
