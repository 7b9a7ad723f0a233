"""The chart page for the example patients: which day, which patient, who may look; what silent rules leave out."""

from __future__ import annotations

import io
import json
import re
from datetime import UTC, datetime
from html import unescape
from typing import Any

import pytest
from flask.testing import FlaskClient

from cds_service.app import create_app
from cds_service.knowledge.model import Knowledge
from cds_service.scenarios.bundles import example_cases
from cds_service.scenarios.run import Runner
from cds_service.scenarios.workbench import TOOLS
from cds_service.settings import Settings

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def page(knowledge: Knowledge) -> FlaskClient:
    app = create_app(Settings(), knowledge=knowledge, clock=lambda: NOON, log=io.StringIO(), tools=TOOLS)
    return app.test_client()


def test_the_first_example_today(page: FlaskClient) -> None:
    answer = page.get("/chart")
    assert answer.status_code == 200
    assert "As of 2026-11-22" in answer.text
    assert 'value="all-fine" selected' in answer.text


def test_an_example_with_its_critical_finding(page: FlaskClient) -> None:
    text = page.get("/chart?patient=hematocrit-high").text
    assert "Hematocrit 55.2 % on 2026-11-12" in text
    plot = text.split('id="HCT"')[1].split("</figure>")[0]
    assert "mark above critical" in plot
    assert "reported as 0.552 L/L; above 54 % (HCT-1, Critical)" in plot
    assert '<tr id="HCT-3" class="critical">' in text


def test_the_table_of_values_tells_only_what_was_read(page: FlaskClient) -> None:
    """Who performed a test is not read; a column for it could only be untrue."""
    table = page.get("/chart?patient=hematocrit-high").text.split("<table>")[1].split("</table>")[0]
    columns = re.findall(r'<th scope="col">(.*?)</th>', table)
    assert columns == ["Date", "Result", "As reported", "Against the limits", "Remarks"]
    rows = [row for row in table.split("<tr ")[1:] if 'scope="row"' in row]
    assert len(rows) > 3
    assert {row.count("<td>") + 1 for row in rows} == {len(columns)}
    assert "not stated" not in table


def test_time_moves_and_tests_become_due(page: FlaskClient) -> None:
    # Day 0 is 2026-05-06, all tests of month 6 are done. The yearly ones: 2027-05-06, overdue from 2027-06-06.
    for day, state in (
        ("2026-11-22", "Due later"),
        ("2027-05-06", "Due"),
        ("2027-06-05", "Due"),
        ("2027-06-06", "Overdue"),
    ):
        text = page.get(f"/chart?patient=all-fine&as_of={day}").text
        due = text.split('<ul class="due">')[1]
        assert f">{state}:</span>" in due.split("</li>")[0], day


def test_results_after_the_day_are_of_the_future_and_not_drawn(page: FlaskClient) -> None:
    text = page.get("/chart?patient=all-fine&as_of=2026-11-01").text
    assert "not drawn and not compared: dated in the future" in text


def test_the_chart_that_is_open_in_the_workbench(page: FlaskClient, knowledge: Knowledge) -> None:
    case = next(case for case in example_cases() if case.id == "hematocrit-high")
    body = Runner(knowledge).body(case).decode()
    assert len(body) > 1000
    large = body.replace('"prefetch":{', f'"prefetch":{{"filler":"{"x" * 1_000_000}",')
    for text in (body, large):
        answer = page.post("/chart", data={"request": text, "as_of": "2026-11-22", "years": "1"})
        assert answer.status_code == 200
        assert "reported as 0.552 L/L" in answer.text.split('id="HCT"')[1].split("</figure>")[0]
        assert 'name="patient"' not in answer.text
        assert '<option value="1" selected' in answer.text
        assert unescape(answer.text.split('name="request" value="')[1].split('"')[0]) == text
    assert page.post("/chart", data={"request": "{"}).status_code == 400
    for headers in ({"Origin": "https://evil.example.org"}, {"Sec-Fetch-Site": "cross-site"}):
        assert page.post("/chart", data={"request": body}, headers=headers).status_code == 403


@pytest.mark.parametrize("element", ["authoredOn", "effectiveDateTime"])
def test_dates_that_stand_for_none_are_no_days_of_the_picture(
    page: FlaskClient, knowledge: Knowledge, element: str
) -> None:
    """What .NET writes where it knows no date."""
    case = next(case for case in example_cases() if case.id == "hematocrit-high")
    body = re.sub(
        rf'"{element}":"[^"]*"', f'"{element}":"0001-01-01T00:00:00"', Runner(knowledge).body(case).decode()
    )
    answer = page.post("/chart", data={"request": body, "as_of": "2026-11-22"})
    assert answer.status_code == 200
    assert "testosterone cypionate" in answer.text


def test_a_span_of_time(page: FlaskClient) -> None:
    everything = page.get("/chart?patient=three-years&years=all").text
    last_year = page.get("/chart?patient=three-years&years=1").text
    assert everything.count('class="mark ') > last_year.count('class="mark ')
    assert "7 earlier results are in the table" in last_year
    assert page.get("/chart?patient=three-years&years=nonsense").status_code == 200


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("patient=nobody", "no example patient"),
        ("patient=<script>alert(1)</script>", "no example patient"),
        ("as_of=yesterday", "date could not be read"),
        ("as_of=1900-01-01", "date could not be read"),
    ],
)
def test_mistakes_are_told(page: FlaskClient, query: str, words: str) -> None:
    answer = page.get(f"/chart?{query}")
    assert answer.status_code == 400
    assert words in answer.text
    assert "<script>alert" not in answer.text


def test_only_beside_the_workbench(knowledge: Knowledge) -> None:
    for settings in (
        Settings(workbench=False),
        Settings(host="0.0.0.0", allow_unauthenticated=True),
        Settings(public_url="https://cds.example.org"),
    ):
        app = create_app(settings, knowledge=knowledge, clock=lambda: NOON, log=io.StringIO(), tools=TOOLS)
        assert app.test_client().get("/chart").status_code == 404


@pytest.mark.parametrize("headers", [{"Host": "evil.example.org"}, {"X-Forwarded-For": "192.0.2.1"}])
def test_only_for_the_machine_itself(page: FlaskClient, headers: dict[str, str]) -> None:
    assert page.get("/chart", headers=headers).status_code == 403


# -- silent rules ------------------------------------------------------------------------------------


def seen(knowledge: Knowledge, example: str, **settings: Any) -> dict[str, Any]:
    case = next(case for case in example_cases() if case.id == example)
    prefetch = json.loads(Runner(knowledge).body(case))["prefetch"]
    app = create_app(
        Settings(smart_client_id="a", **settings), knowledge=knowledge, clock=lambda: NOON, log=io.StringIO()
    )
    body = {"patient": case.id, "pages": {key: [value] for key, value in prefetch.items()}}
    found: dict[str, Any] = app.test_client().post("/smart/view", json=body).get_json()
    return found


def limits(data: dict[str, Any], marker: str) -> set[str]:
    series = next(one for one in data["series"] if one["marker"] == marker)
    return {rule for limit in series["limits"] for rule in limit["rules"]} | {
        one["rule"] for point in series["points"] for one in point["passed"]
    }


def test_a_silent_rule_is_not_seen_in_the_picture_either(knowledge: Knowledge) -> None:
    data = seen(knowledge, "hematocrit-high", silent_rules=("HCT-1",))
    assert limits(data, "HCT") == {"HCT-2", "HCT-3"}
    assert [one["topic"] for one in data["said"]] == ["HCT-2"]
    assert limits(seen(knowledge, "hematocrit-high"), "HCT") == {"HCT-1", "HCT-2", "HCT-3"}


def test_a_silent_service_draws_results_and_judges_nothing(knowledge: Knowledge) -> None:
    data = seen(knowledge, "year-overdue", silent_all=True)
    assert (data["said"], data["due"], data["unknown"]) == ([], [], [])
    assert limits(data, "HCT") == set()
    assert data["series"]
    assert data["silent"] is True
