"""A page of another origin calls the service as the CDS Hooks Sandbox does: with a token, so with a preflight."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

REQUESTS = Path(__file__).parents[2] / "examples" / "requests"
CALL = """async ([url, method, body, token]) => {
  const headers = {Authorization: 'Bearer ' + token, Accept: 'application/json'};
  if (body !== null) headers['Content-Type'] = 'application/json';
  const answer = await fetch(url, {method, headers, body});
  return [answer.status, await answer.json()];
}"""


@pytest.fixture
def page(browser: Browser, other_origin: str) -> Iterator[Page]:
    """A page on the other origin; the test fails if anything went wrong in its console."""
    page = browser.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(other_origin)
    yield page
    page.close()
    assert not faults


def fetch(page: Page, url: str, body: str | None = None) -> tuple[int, Any]:
    status, content = page.evaluate(CALL, [url, "GET" if body is None else "POST", body, "not-a-real-token"])
    return status, content


def test_discovery_is_readable_from_another_origin(page: Page, service: str) -> None:
    status, content = fetch(page, f"{service}/cds-services")
    assert status == 200
    assert [entry["hook"] for entry in content["services"]] == ["patient-view", "order-select", "order-sign"]


@pytest.mark.parametrize("slashes", ["/", "//"])
def test_a_call_is_answered_with_cards_also_behind_a_doubled_slash(page: Page, service: str, slashes: str) -> None:
    body = (REQUESTS / "patient-view.json").read_text(encoding="utf-8")
    status, content = fetch(page, f"{service}/cds-services{slashes}hormone-therapy-patient-view", body)
    assert status == 200
    assert all(card["uuid"] and len(card["summary"]) < 140 for card in content["cards"])
    assert content["cards"]


@pytest.mark.parametrize(
    ("body", "expected"),
    [("{", 400), (json.dumps({"hook": "patient-view"}), 400)],
    ids=["malformed", "without context"],
)
def test_an_error_is_readable_from_another_origin(page: Page, service: str, body: str, expected: int) -> None:
    status, content = fetch(page, f"{service}/cds-services/hormone-therapy-patient-view", body)
    assert status == expected
    assert content["resourceType"] == "OperationOutcome"
