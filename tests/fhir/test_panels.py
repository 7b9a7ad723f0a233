"""Panels and their reports: without their results they say only that something was done (1.3)."""

from __future__ import annotations

from datetime import date

import msgspec
import pytest

from cds_service.knowledge.model import Knowledge
from tests.fhir.conftest import EXPECTED, LOINC, expect

WITH_REPORTS = (*EXPECTED, expect("reports", "DiagnosticReport", "", newest_first=True))


@pytest.fixture(scope="module")
def counting(knowledge: Knowledge) -> Knowledge:
    """The knowledge of a site that counts a panel alone as done."""
    return msgspec.structs.replace(knowledge, switches={**knowledge.switches, "panel_counts_as_done": True})


def report(code="58410-2", **elements):
    """A final report of a blood count."""
    return {
        "resourceType": "DiagnosticReport",
        "id": "r",
        "status": "final",
        "code": {"coding": [{"system": LOINC, "code": code}]} if isinstance(code, str) else code,
        "subject": {"reference": "Patient/p"},
        "effectiveDateTime": "2026-11-02",
        "result": [{"reference": "Observation/not-sent"}],
        **elements,
    }


def found(chart):
    return {key: [(m.problem, m.value, m.day) for m in series] for key, series in chart.measurements.items()}


DONE = {key: [("panel", None, date(2026, 11, 2))] for key in ("HCT", "HGB")}


def test_a_panel_whose_members_did_not_come_says_that_it_was_done_where_the_site_counts_it(read, ehr, counting):
    whole = ehr.observation(code="58410-2", valueQuantity=None, hasMember=[{"reference": "Observation/1"}])
    assert found(read(labs=[whole])) == {}
    assert found(read(labs=[whole], site=counting)) == DONE


@pytest.mark.parametrize("status", ["final", "amended", "corrected"])
def test_a_report_says_that_its_panel_was_done(read, counting, status):
    assert found(read(reports=[report(status=status)], expected=WITH_REPORTS, site=counting)) == DONE


@pytest.mark.parametrize("status", ["preliminary", "registered", "partial", "cancelled", "entered-in-error", None])
def test_a_report_that_is_not_final_says_nothing(read, counting, status):
    chart = read(reports=[report(status=status)], expected=WITH_REPORTS, site=counting)
    assert found(chart) == {}
    assert [refused.reason for refused in chart.refused] == ["panel"]


def test_a_report_beside_its_results_adds_nothing(read, ehr, counting):
    chart = read(labs=[ehr.observation()], reports=[report()], expected=WITH_REPORTS, site=counting)
    assert [m.problem for m in chart.measurements["HCT"]] == [""]
    assert [m.problem for m in chart.measurements["HGB"]] == ["panel"]


def test_a_report_later_on_the_day_of_its_results_adds_nothing(read, ehr, counting):
    labs, reports = [ehr.observation(on="2026-11-02T08:00:00Z")], [report(effectiveDateTime="2026-11-02T09:00:00Z")]
    chart = read(labs=labs, reports=reports, expected=WITH_REPORTS[::-1], site=counting)
    assert [m.problem for m in chart.measurements["HCT"]] == [""]
    assert [m.problem for m in chart.measurements["HGB"]] == ["panel"]


@pytest.mark.parametrize(
    ("elements", "reason", "tell"),
    [
        ({"code": "11502-2"}, "unknown_code", False),
        ({"code": {"coding": "many"}}, "unreadable", False),
        ({"subject": {"reference": "Patient/q"}}, "other_patient", True),
    ],
)
def test_a_report_of_something_or_somebody_else(read, counting, elements, reason, tell):
    chart = read(reports=[report(**elements)], expected=WITH_REPORTS, site=counting)
    assert found(chart) == {}
    assert [(refused.reason, refused.tell) for refused in chart.refused] == [(reason, tell)]


def test_a_report_in_pieces_is_told(read, counting):
    chart = read(reports=[report(code=5, status=7)], expected=WITH_REPORTS, site=counting)
    assert found(chart) == {}
    assert [refused.reason for refused in chart.refused] == ["unreadable"]
