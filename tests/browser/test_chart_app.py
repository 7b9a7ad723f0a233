"""The chart page as a SMART app in a real browser, launched by an EHR before a real FHIR server."""

from __future__ import annotations

import io
import json
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from flask import request
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect
from playwright.sync_api import Request as Asked

from cds_service.app import create_app
from cds_service.knowledge.model import Knowledge
from cds_service.scenarios.bundles import example_cases, files
from cds_service.scenarios.run import Runner
from cds_service.scenarios.workbench import TOOLS
from cds_service.settings import FhirServer, Settings
from tests import real_fhir
from tests.browser.conftest import serve
from tests.browser.ehr import CLIENT, Ehr

pytestmark = pytest.mark.browser

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
AXE = Path(__file__).parent / "vendor" / "axe.min.js"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def ehr(knowledge: Knowledge, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ehr]:
    cases = example_cases()
    patients = [text for name, text in files(cases, Runner(knowledge)) if name.startswith("patients/")]
    with real_fhir.serving(tmp_path_factory.mktemp("fhir"), patients) as url:
        ehr = Ehr(url)
        for address in serve(ehr.app):
            ehr.address = address
            yield ehr


class Service:
    """The service, and the bodies and headers of all that it was asked."""

    def __init__(self, knowledge: Knowledge, settings: Settings) -> None:
        self.settings = settings
        self.log = io.StringIO()
        self.app = create_app(settings, knowledge=knowledge, clock=lambda: NOON, log=self.log, tools=TOOLS)
        self.heard: list[str] = []
        self.app.before_request(self.listen)

    def listen(self) -> None:
        body = request.get_data()
        request.environ["wsgi.input"] = BytesIO(body)  # for the page, which reads it itself
        self.heard.append(f"{request.full_path}\n{request.headers}\n{body.decode()}")

    @property
    def address(self) -> str:
        return self.settings.base_url


@pytest.fixture(scope="module")
def service(knowledge: Knowledge, ehr: Ehr) -> Iterator[Service]:
    settings = Settings(
        port=free_port(),
        smart_client_id=CLIENT,
        governance=True,
        fhir_servers=(FhirServer(ehr.iss, allow_http=True, allow_private=True),),
    )
    service = Service(knowledge, settings)
    for _ in serve(service.app, settings.port):
        yield service


@pytest.fixture(autouse=True)
def fresh(ehr: Ehr, service: Service) -> None:
    ehr.reset()
    service.heard.clear()


class Seen:
    """What the browser did."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.faults: list[str] = []
        self.requests: list[Asked] = []
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on(
            "console", lambda said: self.faults.append(said.text) if said.type in ("error", "warning") else None
        )
        page.on("request", self.note)

    def note(self, request: Asked) -> None:
        self.requests.append(request)


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    yield context
    context.close()


@pytest.fixture
def seen(context: BrowserContext) -> Seen:
    return Seen(context.new_page())


def launch(seen: Seen, service: Service, ehr: Ehr, **query: str) -> Page:
    asked = {"iss": ehr.iss, "launch": "launch-1"} | query
    seen.page.goto(f"{service.address}/smart/launch?{urlencode(asked)}")
    return seen.page


def drawn(page: Page) -> None:
    expect(page.get_by_role("heading", name="What the rules say")).to_be_visible(timeout=20_000)


def refused(page: Page, words: str) -> None:
    expect(page.get_by_role("status")).to_contain_text(words, timeout=20_000)
    assert page.locator("#chart > *").count() == 0


# -- the whole trip ----------------------------------------------------------------------------------


def test_from_launch_to_chart(seen: Seen, service: Service, ehr: Ehr) -> None:
    page = launch(seen, service, ehr)
    drawn(page)
    assert page.url == f"{service.address}/smart/chart"  # neither code nor state is left in the address
    expect(page.locator("#patient")).to_have_text("Example Zulu, born 1968-09-09")
    expect(page.get_by_text("Hematocrit 50.6 % on 2026-11-02")).to_be_visible()
    assert page.locator("#HCT a.mark").count() == 9
    assert page.locator("#HCT a.mark.above").count() == 5
    expect(page.locator("#TT .foot")).to_contain_text("1 not drawn")
    assert seen.faults == []
    assert {request.url.split("/")[2] for request in seen.requests} == {
        service.address.split("/")[2],
        ehr.address.split("/")[2],
    }
    asked = next(one for one in ehr.asked if one.path == "/authorize").fields
    assert asked["redirect_uri"] == f"{service.address}/smart/chart"
    assert set(asked["scope"].split()) == {
        "launch",
        *(
            f"patient/{kind}.rs"
            for kind in (
                *("Patient", "Observation", "MedicationRequest", "MedicationStatement", "Medication"),
                *("MedicationAdministration", "Condition", "Procedure", "ServiceRequest"),
            )
        ),
    }


def test_the_token_goes_to_the_fhir_server_and_nowhere_else(seen: Seen, service: Service, ehr: Ehr) -> None:
    page = launch(seen, service, ehr)
    drawn(page)
    (token,) = ehr.tokens
    assert not [heard for heard in service.heard if token in heard or "Bearer" in heard]
    assert token not in service.log.getvalue()
    bearing = [one for one in ehr.asked if "Authorization" in one.headers]
    assert bearing
    assert all(one.path.startswith("/fhir/") for one in bearing)
    assert token not in page.content()
    assert page.evaluate("document.cookie") == ""
    assert page.evaluate("localStorage.length") == 0
    # What the service was given is what the EHR holds of the patient, and it logs nothing of it.
    (view,) = (heard for heard in service.heard if heard.startswith("/smart/view"))
    assert "three-years" in view
    assert "three-years" not in service.log.getvalue()
    assert "Zulu" not in service.log.getvalue()


def test_reload_and_another_span_of_time_need_no_new_sign_in(seen: Seen, service: Service, ehr: Ehr) -> None:
    page = launch(seen, service, ehr)
    drawn(page)
    page.reload()
    drawn(page)
    page.get_by_label("Time shown").select_option("1")
    expect(page.locator("#HCT .foot")).to_contain_text("7 earlier results are in the table")
    assert page.locator("#HCT a.mark").count() == 2
    assert len([one for one in ehr.asked if one.path == "/authorize"]) == 1
    assert seen.faults == []


def choose_two_spans(page: Page) -> Route:
    """Choose a year, then all: all is drawn, while the call for the year, which is given back, waits."""
    held: list[Route] = []
    page.route("**/smart/view", lambda route: route.fallback() if held else held.append(route))
    years = page.get_by_label("Time shown")
    years.select_option("1")
    with page.expect_response("**/smart/view"):
        years.select_option("all")
    expect(page.locator("#HCT a.mark")).to_have_count(9)
    return held[0]


def test_of_two_spans_of_time_the_last_chosen_is_drawn(seen: Seen, service: Service, ehr: Ehr) -> None:
    page = launch(seen, service, ehr)
    drawn(page)
    first = choose_two_spans(page)
    with page.expect_event("requestfinished", lambda request: request == first.request):
        first.continue_()
    page.evaluate("fetch(location.href).then((answer) => answer.text())")
    expect(page.locator("#HCT a.mark")).to_have_count(9)
    assert seen.faults == []


def test_a_span_of_time_that_was_given_up_and_one_that_comes_after_a_fault(
    seen: Seen, service: Service, ehr: Ehr
) -> None:
    """Without the check of the console: the browser itself complains of answers that fail."""
    page = launch(seen, service, ehr)
    drawn(page)
    first = choose_two_spans(page)
    with page.expect_event("requestfailed", lambda request: request == first.request):
        first.abort()
    page.evaluate("fetch(location.href).then((answer) => answer.text())")
    expect(page.locator("#status")).to_be_hidden()
    page.unroute("**/smart/view")
    page.route("**/smart/view", lambda route: route.fulfill(status=500))
    page.get_by_label("Time shown").select_option("1")
    expect(page.get_by_role("status")).to_contain_text("could not be drawn")
    page.unroute("**/smart/view")
    page.get_by_label("Time shown").select_option("all")
    expect(page.locator("#status")).to_be_hidden()


def test_the_marker_of_the_card_is_shown_first(seen: Seen, service: Service, ehr: Ehr) -> None:
    ehr.given = {"appContext": json.dumps({"marker": "PSA", "rule": "PSA-1"}), "need_patient_banner": False}
    page = launch(seen, service, ehr)
    drawn(page)
    expect(page.locator("#PSA.asked")).to_be_in_viewport()
    expect(page.locator("#patient")).to_be_hidden()


def test_an_app_context_of_somebody_else_is_no_harm(seen: Seen, service: Service, ehr: Ehr) -> None:
    ehr.given = {"appContext": '{"marker": "x\\"] , body"}'}
    drawn(launch(seen, service, ehr))
    assert seen.faults == []


# -- attacks -----------------------------------------------------------------------------------------


def test_an_unlisted_fhir_server_is_not_spoken_to(seen: Seen, service: Service, ehr: Ehr) -> None:
    for other in ("https://ehr.example.org/fhir", ehr.address, f"{ehr.iss}/../other", "javascript:alert(1)", ""):
        page = launch(seen, service, ehr, iss=other)
        refused(page, "not listed here")
    assert ehr.asked == []


@pytest.mark.parametrize("state", ["", "another", "null"])
def test_an_answer_that_was_not_asked_for_is_refused(seen: Seen, service: Service, ehr: Ehr, state: str) -> None:
    """Somebody else's code (login CSRF) comes without a state of this browser."""
    ehr.back = {"state": state}
    refused(launch(seen, service, ehr), "does not belong to a sign-in")
    assert not [one for one in ehr.asked if one.path == "/token"]


def test_a_state_serves_once(seen: Seen, service: Service, ehr: Ehr) -> None:
    page = launch(seen, service, ehr)
    drawn(page)
    state = next(one for one in ehr.asked if one.path == "/authorize").fields["state"]
    page.goto(f"{service.address}/smart/chart?code=stolen&state={state}")
    refused(page, "does not belong to a sign-in")


def test_a_code_is_worth_nothing_in_another_browser(
    browser: Browser, seen: Seen, service: Service, ehr: Ehr
) -> None:
    """The verifier never leaves the browser that began: the code alone gives no token."""
    ehr.back = {"state": "lost"}
    refused(launch(seen, service, ehr), "does not belong")
    (code,) = ehr.codes
    other = Seen(browser.new_context().new_page())
    other.page.goto(f"{service.address}/smart/chart?code={code}&state=lost")
    refused(other.page, "does not belong")
    assert ehr.tokens == {}
    other.page.context.close()


def test_an_answer_of_another_issuer_is_refused(seen: Seen, service: Service, ehr: Ehr) -> None:
    """Mix-up (RFC 9207): the answer names who gave it."""
    ehr.back = {"iss": "https://elsewhere.example.org"}
    refused(launch(seen, service, ehr), "another sign-in")
    assert not [one for one in ehr.asked if one.path == "/token"]


def test_an_issuer_that_always_names_itself_must_do_so(seen: Seen, service: Service, ehr: Ehr) -> None:
    ehr.said = {"authorization_response_iss_parameter_supported": True}
    refused(launch(seen, service, ehr), "another sign-in")
    ehr.back = {"iss": ehr.address}
    drawn(launch(seen, service, ehr))


@pytest.mark.parametrize("methods", [None, [], ["plain"]])
def test_without_pkce_nothing_begins(seen: Seen, service: Service, ehr: Ehr, methods: Any) -> None:
    ehr.said = {"code_challenge_methods_supported": methods}
    refused(launch(seen, service, ehr), "PKCE")
    assert not [one for one in ehr.asked if one.path == "/authorize"]


@pytest.mark.parametrize("endpoint", ["token_endpoint", "authorization_endpoint"])
@pytest.mark.parametrize("address", ["http://127.0.0.1:9/x", "https://evil.example.org/x", "javascript:alert(1)"])
def test_a_sign_in_elsewhere_is_refused(
    seen: Seen, service: Service, ehr: Ehr, endpoint: str, address: str
) -> None:
    ehr.said = {endpoint: address}
    refused(launch(seen, service, ehr), "does not belong to it")
    assert not [one for one in ehr.asked if one.path in ("/authorize", "/token")]


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:9/fhir/Observation?page=2", "{ehr}/elsewhere", "{ehr}/fhirx/"]
)
def test_a_next_page_elsewhere_is_not_followed_and_told(
    seen: Seen, service: Service, ehr: Ehr, address: str
) -> None:
    ehr.next_page = address.format(ehr=ehr.address)
    page = launch(seen, service, ehr)
    drawn(page)
    expect(page.locator("#HCT .foot")).to_contain_text("were not all sent")
    assert not [one for one in ehr.asked if one.path not in ("/authorize", "/token") and "/fhir/" not in one.path]
    assert seen.faults == []


def test_what_the_ehr_does_not_give_is_told(seen: Seen, service: Service, ehr: Ehr) -> None:
    ehr.launches = {"launch-1": "nobody"}
    page = launch(seen, service, ehr)
    drawn(page)
    expect(page.locator(".chart-head")).to_contain_text("No monitoring protocol applies")


def test_a_refused_access_is_told(seen: Seen, service: Service, ehr: Ehr) -> None:
    ehr.back = {"error": "access_denied", "error_description": "<img src=x onerror=alert(1)>"}
    refused(launch(seen, service, ehr), "did not give access")


def test_a_token_that_has_ended_is_told(seen: Seen, service: Service, ehr: Ehr) -> None:
    page = launch(seen, service, ehr)
    drawn(page)
    ehr.tokens.clear()
    page.reload()
    refused(page, "session at the EHR has ended")


def test_without_a_launch_and_without_a_session_it_says_so(seen: Seen, service: Service, ehr: Ehr) -> None:
    seen.page.goto(f"{service.address}/smart/launch?{urlencode({'iss': ehr.iss})}")
    refused(seen.page, "opened without the EHR")
    seen.page.goto(f"{service.address}/smart/chart")
    refused(seen.page, "no open session")


# -- in a frame --------------------------------------------------------------------------------------


def test_the_ehr_may_show_it_in_a_frame_and_nobody_else(
    seen: Seen, service: Service, ehr: Ehr, other_origin: str
) -> None:
    app = f"{service.address}/smart/launch?{urlencode({'iss': ehr.iss, 'launch': 'launch-1'})}"
    seen.page.goto(f"{ehr.address}/framed?{urlencode({'app': app})}")
    frame = seen.page.frame_locator("iframe")
    expect(frame.get_by_role("heading", name="What the rules say")).to_be_visible(timeout=20_000)
    policy = seen.page.request.get(f"{service.address}/smart/chart").headers["content-security-policy"]
    assert f"frame-ancestors {ehr.address};" in f"{policy};"
    assert "unsafe" not in policy
    seen.page.goto(other_origin)
    seen.page.evaluate(f"document.body.innerHTML = '<iframe src=\"{app}\"></iframe>'")
    seen.page.wait_for_timeout(1000)
    assert seen.page.frames[1].url.startswith("chrome-error:")


# -- for everybody -----------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 768, 1280])
def test_accessible_and_readable_at_every_width(
    browser: Browser, service: Service, ehr: Ehr, width: int, scheme: Any
) -> None:
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    seen = Seen(context.new_page())
    page = launch(seen, service, ehr)
    drawn(page)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.evaluate(AXE.read_text(encoding="utf-8"))
    violations = page.evaluate("axe.run().then((found) => found.violations.map((v) => [v.id, v.nodes[0].html]))")
    assert violations == []
    assert seen.faults == []
    context.close()


@pytest.mark.parametrize("address", ["/chart?patient=several-findings", "/governance"])
@pytest.mark.parametrize("width", [320, 1280])
def test_the_pages_without_an_ehr(browser: Browser, service: Service, address: str, width: int) -> None:
    context = browser.new_context(viewport={"width": width, "height": 900})
    seen = Seen(context.new_page())
    page = seen.page
    page.goto(f"{service.address}{address}")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.evaluate(AXE.read_text(encoding="utf-8"))
    assert page.evaluate("axe.run().then((found) => found.violations.map((v) => [v.id, v.nodes[0].html]))") == []
    assert seen.faults == []
    if "chart" in address:
        page.get_by_label("Example patient").select_option("year-overdue")
        page.get_by_label("As of").fill("2026-12-24")
        page.get_by_role("button", name="Show").click()
        expect(page.locator(".due")).to_contain_text("Overdue: total testosterone")
        expect(page.get_by_text("As of 2026-12-24")).to_be_visible()
    context.close()


def test_results_can_be_walked_through_by_keyboard(seen: Seen, service: Service, ehr: Ehr) -> None:
    page = launch(seen, service, ehr)
    drawn(page)
    marks = page.locator("#HCT a.mark")
    readout = page.locator("#HCT .readout")
    assert page.locator('#HCT a.mark[tabindex="0"]').count() == 1  # one stop, at the newest result
    marks.last.focus()
    expect(readout).to_contain_text("50.6 %, 2026-11-02 08:10; reported as 50.6 %; above 50 % (HCT-3, Information)")
    page.keyboard.press("Home")
    expect(readout).to_contain_text("43.9 %")
    page.keyboard.press("ArrowRight")
    expect(readout).to_contain_text("46.2 %")
    page.locator("#HCT a.mark").nth(3).hover()
    expect(readout).to_contain_text("47.8 %, 2024-08-14 08:15; reported as 0.478 L/L")
    page.keyboard.press("Enter")
    assert page.evaluate("document.querySelector('tr:target').id") == "HCT-2"


def test_print_has_the_table_and_no_controls(seen: Seen, service: Service, ehr: Ehr) -> None:
    page = launch(seen, service, ehr)
    drawn(page)
    page.emulate_media(media="print")
    expect(page.locator(".chart-form")).to_be_hidden()
    expect(page.locator(".masthead")).to_be_hidden()
    expect(page.locator(".values table")).to_be_visible()
    expect(page.locator(".values")).to_contain_text("0.478 L/L")
    assert page.pdf(format="A4")[:5] == b"%PDF-"
