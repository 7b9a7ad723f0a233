"""Kind `quality`: results without a place in time, and what is recorded (0.4.4, DQ-1 to DQ-5)."""

from __future__ import annotations

import msgspec

from cds_service.chart import Chart, Measurement
from cds_service.rules.outcome import Doubt, Outcome
from tests.rules.conftest import judge, measurement, on_testosterone, outcome

NOWHERE = measurement("TT", None, when=None, problem="text")


def listed(*results: Measurement) -> Chart:
    """A man on testosterone whose results stand in this order."""
    return msgspec.structs.replace(on_testosterone(), measurements={"TT": results})


def quiet(patient: Chart, knowledge) -> list[str]:
    return [doubt.message for doubt in judge(patient, knowledge).doubts]


def test_a_result_without_a_date_is_told_for_what_it_is_beside_the_newest_one(knowledge):
    newest = measurement("TT", None, 5, problem="no_unit")
    for results in ((NOWHERE, newest), (newest, NOWHERE)):
        assert sorted(quiet(listed(*results), knowledge)) == ["dq_no_unit", "dq_text"]
    assert quiet(listed(NOWHERE, measurement("TT", "500", 5)), knowledge) == ["dq_text"]


def test_a_date_that_cannot_be_right_is_no_place_in_the_order(knowledge):
    """However old it seems: it may be the newest. It hides no problem of the newest one that has a date."""
    for seems in (2, 900):
        odd = measurement("TT", "500", seems, problem="undated")
        assert quiet(listed(odd, measurement("TT", "500", 5)), knowledge) == ["dq_undated"]
        both = quiet(listed(odd, measurement("TT", None, 5, problem="no_unit")), knowledge)
        assert sorted(both) == ["dq_no_unit", "dq_undated"]


def test_of_several_without_a_date_the_first_is_told(knowledge):
    second = measurement("TT", "510", when=None, problem="undated")
    assert quiet(listed(NOWHERE, second), knowledge) == ["dq_text"]


def test_the_record_names_every_marker_with_the_problem(knowledge):
    odd = [measurement(marker, None, 5, problem="no_unit") for marker in ("TT", "HCT")]
    patient = on_testosterone(*odd)
    ended = outcome(patient, knowledge, "DQ-1")
    assert (ended.rule, ended.result, ended.reason) == ("DQ-1", "unknown", "HCT, TT")
    assert ended.doubts == tuple(
        Doubt("dq_no_unit", result.marker, {"result": result}, "DQ-1") for result in reversed(odd)
    )
    assert outcome(patient, knowledge, "DQ-2") == Outcome("DQ-2", "fine", values={"areas": ""})
    trait = on_testosterone(measurement("TT", "500", 10, traits=frozenset(["unit_against_code"])))
    logged = outcome(trait, knowledge, "DQ-3")
    assert (logged.result, logged.reason, logged.doubts) == ("fine", "TT", ())
