"""Observation -> Measurement: codes, status, dates, parts (clinical reference 1.2, 1.3, 1.4, 4.1)."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

LOINC = "http://loinc.org"
SNOMED = "http://snomed.info/sct"


def coded(*codings):
    return {"coding": [{"system": system, "code": code} for system, code in codings]}


def quantity(value, unit="%"):
    return {"value": value, "unit": unit, "system": "http://unitsofmeasure.org", "code": unit}


# -- code --------------------------------------------------------------------------------------------


def test_a_result_carries_where_it_came_from(measure, ehr):
    found = measure(ehr.observation(specimen={"reference": "Specimen/7"}, performer=[{"display": "Dr Who"}]))
    assert (found.marker, found.value, found.status) == ("HCT", Decimal("47.2"), "final")
    assert (found.source, found.code, found.specimen) == ("Observation/o", "4544-3", "Specimen/7")
    assert (found.reported, found.reported_unit, found.problem) == ("47.2", "%", "")
    assert "Who" not in repr(found)


def test_the_display_is_never_looked_at(read, ehr):
    code = {"coding": [{"system": LOINC, "code": "99999-9", "display": "Hematocrit"}], "text": "Hematocrit"}
    assert not read(labs=[ehr.observation(code=code)]).measurements


@pytest.mark.parametrize("system", ["http://loinc.org/", "urn:oid:2.16.840.1.113883.6.96"])
def test_a_code_of_another_system_is_another_code(refused, ehr, system):
    found = refused(labs=[ehr.observation(code={"coding": [{"system": system, "code": "4544-3"}]})])
    assert (found.reason, found.tell) == ("unknown_code", False)


def test_the_first_coding_that_is_known_counts(measure, ehr):
    code = coded(("urn:local", "HCT"), (LOINC, "4545-0"), (LOINC, "2857-1"))
    assert measure(ehr.observation(code=code)).code == "4545-0"


@pytest.mark.parametrize("code", ["11153-4", "2013-7", "1854-9"])
def test_denied_codes_are_refused_in_silence(refused, ehr, code):
    found = refused(labs=[ehr.observation(code=code)])
    assert (found.reason, found.tell) == ("denied_code", False)


def test_a_denied_code_beside_a_known_one_wins(refused, ehr):
    # hematocrit of body fluid, mapped to a blood hematocrit by somebody
    code = coded((LOINC, "4544-3"), (LOINC, "11153-4"))
    assert refused(labs=[ehr.observation(code=code)]).reason == "denied_code"


@pytest.mark.parametrize(
    "code",
    [
        *(None, {}, {"coding": []}, {"coding": [{}]}, {"text": "Hct"}, {"coding": None}),
        {"coding": [{"code": "4544-3"}]},
        {"coding": [{"system": "", "code": "4544-3"}]},
        {"coding": [{"system": LOINC}]},
    ],
)
def test_a_result_without_a_code_is_told(refused, ehr, code):
    found = refused(labs=[{**ehr.observation(), "code": code}])
    assert (found.reason, found.tell, found.covers) == ("no_code", True, {"results"})


def test_a_cancelled_result_without_a_code_is_silent(refused, ehr):
    assert not refused(labs=[{**ehr.observation(status="cancelled"), "code": None}]).tell


def test_traits_of_the_code_are_kept(measure, ehr):
    assert "estimated" in measure(ehr.observation(code="48703-3")).traits


def test_calculated_free_testosterone_is_marked(measure, ehr):
    assert "calculated" in measure(ehr.observation(code="96559-0", value=100, unit="pmol/L")).traits


# -- status ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["final", "amended", "corrected", "preliminary", "registered"])
def test_results_keep_their_status(measure, ehr, status):
    assert measure(ehr.observation(status=status)).status == status


@pytest.mark.parametrize("status", ["cancelled", "entered-in-error", "unknown"])
def test_results_that_do_not_hold_are_silent(refused, ehr, status):
    found = refused(labs=[ehr.observation(status=status)])
    assert (found.reason, found.tell, found.covers) == ("status", False, {"HCT"})


@pytest.mark.parametrize("status", [None, "", "Final", "done"])
def test_a_status_that_is_none_is_told(refused, ehr, status):
    found = refused(labs=[{**ehr.observation(), "status": status}])
    assert (found.reason, found.tell, found.covers) == ("no_status", True, {"HCT"})


# -- patient -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "reference",
    [
        "Patient/p", "https://ehr.example/fhir/Patient/p", "Patient/p/_history/3", "urn:uuid:p", "p",
        "https://ehr.example/fhir/Patient/p/_history/3",
    ],
)  # fmt: skip
def test_results_of_the_patient_are_used(read, ehr, reference):
    assert read(labs=[ehr.observation(subject={"reference": reference})]).measurements


@pytest.mark.parametrize(
    "reference",
    [
        "Patient/q", "Patient/P", "https://ehr.example/fhir/Patient/q", "urn:uuid:q", "#p", "Group/p", "Device/p",
        "Patient/p/x", "Patient/", "/p", "q",
    ],
)  # fmt: skip
def test_results_of_others_are_told_and_not_used(read, ehr, reference):
    chart = read(labs=[ehr.observation(), ehr.observation("x", subject={"reference": reference})])
    assert [m.source for m in chart.measurements["HCT"]] == ["Observation/o"]
    (found,) = chart.refused
    assert (found.source, found.reason, found.tell) == ("Observation/x", "other_patient", True)
    assert found.covers == {"HCT"}


@pytest.mark.parametrize("subject", [None, {}, {"display": "the patient"}, {"reference": ""}])
def test_a_subject_that_is_not_stated_is_the_patient(read, ehr, subject):
    assert read(labs=[{**ehr.observation(), "subject": subject}]).measurements


@pytest.mark.parametrize(("id_", "used"), [("p", True), ("q", False)])
def test_a_urn_is_looked_up_in_what_came(read, ehr, id_, used):
    patient = {"fullUrl": "urn:uuid:17", "resource": ehr.patient(id=id_), "search": {"mode": "include"}}
    bundle = {
        "resourceType": "Bundle",
        "entry": [patient, {"resource": ehr.observation(subject={"reference": "urn:uuid:17"})}],
    }
    assert bool(read(labs=bundle).measurements) is used


def test_another_patient_among_the_results_is_told(read, ehr):
    found = read(labs=[ehr.patient(id="q")]).refused
    assert [(r.reason, r.tell) for r in found] == [("other_patient", True)]


# -- date --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("elements", "day", "issued"),
    [
        ({"effectiveDateTime": "2026-11-02"}, date(2026, 11, 2), False),
        ({"effectiveDateTime": "2026-11-02", "effectivePeriod": {"end": "2026-01-01"}}, date(2026, 11, 2), False),
        ({"effectivePeriod": {"start": "2026-11-01", "end": "2026-11-02"}}, date(2026, 11, 2), False),
        ({"effectivePeriod": {"start": "2026-11-01"}}, date(2026, 11, 1), False),
        ({"effectiveInstant": "2026-11-02T10:00:00Z", "issued": "2026-11-05T10:00:00Z"}, date(2026, 11, 2), False),
        ({"issued": "2026-11-05T10:00:00Z"}, date(2026, 11, 5), True),
        ({"effectiveDateTime": "Invalid date", "issued": "2026-11-05T10:00:00Z"}, date(2026, 11, 5), True),
        ({"effectiveDateTime": "2026-11"}, date(2026, 11, 1), False),
    ],
)
def test_the_date_is_that_of_collection_else_of_issue(measure, ehr, elements, day, issued):
    found = measure(ehr.observation(on=None, **elements))
    assert found.day == day
    assert found.when.issued is issued
    assert found.problem == ""


@pytest.mark.parametrize(
    "elements",
    [
        {},
        {"effectiveDateTime": "Invalid date"},
        {"effectiveDateTime": "2026"},
        # the year of collection is known: a later date of issue must not stand in for it
        {"effectiveDateTime": "2024", "issued": "2026-11-05T10:00:00Z"},
    ],
)
def test_results_without_a_usable_date_are_undated(measure, ehr, elements):
    found = measure(ehr.observation(on=None, **elements))
    assert (found.problem, found.when, found.value, found.reported) == ("undated", None, None, "47.2")


@pytest.mark.parametrize(
    ("on", "problem"),
    [
        ("2026-11-22", ""),
        ("2026-11-23", ""),
        ("2026-11-24", "future"),
        ("2026-12", "future"),
        ("9999-12-31", "future"),
    ],
)
def test_more_than_a_day_ahead_is_the_future(measure, ehr, on, problem):
    found = measure(ehr.observation(on=on))
    assert found.problem == problem
    assert (found.value is None) is bool(problem)


# -- absent ------------------------------------------------------------------------------------------


def test_an_absent_result_was_not_performed(refused, ehr):
    found = refused(labs=[ehr.observation(valueQuantity=None, dataAbsentReason={"text": "hemolysed"})])
    assert (found.reason, found.tell) == ("not_performed", False)


def test_a_value_beside_the_reason_for_its_absence_is_told(refused, ehr):
    found = refused(labs=[ehr.observation(dataAbsentReason={"text": "hemolysed"})])
    assert (found.reason, found.tell, found.covers) == ("not_performed", True, {"HCT"})


def test_without_a_value_it_has_none(measure, ehr):
    assert measure(ehr.observation(valueQuantity=None)).problem == "no_value"


# -- parts -------------------------------------------------------------------------------------------


def component(code, value, unit="%", **more):
    return {"code": coded((LOINC, code)), "valueQuantity": quantity(value, unit), **more}


def panel(ehr, *components, code="58410-2", **more):
    return ehr.observation(code=code, valueQuantity=None, component=list(components), **more)


def test_components_are_read_like_observations_of_their_own(read, ehr):
    whole = panel(
        ehr, component("4544-3", 47.2), component("718-7", 15.1, "g/dL"), component("777-3", 250, "10*3/uL")
    )
    chart = read(labs=[whole])
    assert {key: str(series[0].value) for key, series in chart.measurements.items()} == {
        "HCT": "47.2",
        "HGB": "15.1",
    }
    assert all(series[0].source == "Observation/o" for series in chart.measurements.values())
    assert all(series[0].day == date(2026, 11, 2) for series in chart.measurements.values())
    assert chart.resources_used == 2


def test_a_component_shares_the_status_of_its_parent(read, ehr):
    assert read(labs=[panel(ehr, component("4544-3", 60), status="preliminary")]).measurements["HCT"][0].status == (
        "preliminary"
    )
    assert not read(labs=[panel(ehr, component("4544-3", 60), status="entered-in-error")]).measurements


def test_a_bad_component_costs_only_itself(read, ehr):
    whole = panel(ehr, component("4544-3", 47.2), component("718-7", "many"))
    chart = read(labs=[whole])
    assert list(chart.measurements) == ["HCT"]
    assert [(r.reason, r.tell, r.part, set(r.covers)) for r in chart.refused] == [
        ("unreadable", True, True, {"HGB"})
    ]


def test_an_observation_with_a_value_and_components_has_both(read, ehr):
    both = ehr.observation(component=[component("718-7", 15, "g/dL")])
    for before in ([], [ehr.observation("before", on="2026-01-01")]):
        assert set(read(labs=[*before, both]).measurements) == {"HCT", "HGB"}


def test_a_panel_whose_members_stand_apart_is_no_result(refused, ehr):
    whole = ehr.observation(code="58410-2", valueQuantity=None, hasMember=[{"reference": "Observation/1"}])
    assert (refused(labs=[whole]).reason, refused(labs=[whole]).tell) == ("panel", False)


def test_a_marker_with_members_and_no_value_is_no_result(refused, ehr):
    whole = ehr.observation(valueQuantity=None, hasMember=[{"reference": "Observation/1"}])
    assert refused(labs=[whole]).reason == "panel"


def test_a_panel_alone_says_only_that_it_was_done(read, ehr):
    chart = read(labs=[ehr.observation(code="58410-2", valueQuantity=None)])
    found = {key: (m.problem, m.value) for key, (m,) in chart.measurements.items()}
    assert found == {"HCT": ("panel", None), "HGB": ("panel", None)}


def test_a_panel_alone_is_silent_beside_a_result_of_its_day(read, ehr):
    chart = read(labs=[ehr.observation("a", code="58410-2", valueQuantity=None), ehr.observation("b")])
    assert [m.problem for m in chart.measurements["HCT"]] == [""]
    assert [m.problem for m in chart.measurements["HGB"]] == ["panel"]


def test_a_panel_that_is_not_final_says_nothing(refused, ehr):
    assert (
        refused(labs=[ehr.observation(code="58410-2", valueQuantity=None, status="preliminary")]).reason == "panel"
    )


def test_contained_members_are_read(read, ehr):
    child = ehr.observation("c1", value=56)
    del child["subject"], child["effectiveDateTime"]
    chart = read(labs=[panel(ehr, contained=[child, {"resourceType": "Specimen", "id": "s"}])])
    (found,) = chart.measurements["HCT"]
    assert (str(found.value), found.source, found.day) == ("56", "Observation/o#c1", date(2026, 11, 2))


def test_contained_members_of_somebody_else_are_told(read, ehr):
    child = ehr.observation("c1", subject={"reference": "Patient/q"})
    chart = read(labs=[panel(ehr, contained=[child])])
    assert not chart.measurements
    assert [(r.reason, r.tell) for r in chart.refused] == [("other_patient", True)]


@pytest.mark.parametrize("status", ["entered-in-error", "cancelled"])
def test_contained_members_that_do_not_hold_are_not_used(read, ehr, status):
    assert not read(labs=[panel(ehr, contained=[ehr.observation("c1", status=status)])]).measurements


def test_what_it_contains_does_not_cost_the_value(read, ehr):
    chart = read(labs=[ehr.observation(contained=["?", ehr.observation("c1", code="718-7", status=5)])])
    assert list(chart.measurements) == ["HCT"]
    assert [(r.reason, r.part, set(r.covers)) for r in chart.refused] == [("unreadable", True, {"HGB"})]


# -- unreadable --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "elements",
    [
        {"valueQuantity": {"value": "47.2", "unit": "%"}},
        {"valueQuantity": {"value": True, "unit": "%"}},
        {"valueQuantity": {"value": [47.2], "unit": "%"}},
        {"valueQuantity": 47.2},
        {"valueQuantity": {"value": 1e31, "unit": "%"}},
        {"effectiveDateTime": 20261102},
        {"status": ["final", "final"]},
        {"component": 5},
    ],
)
def test_an_unreadable_result_names_its_marker(read, ehr, elements):
    chart = read(labs=[ehr.observation("x", **elements), ehr.observation("y")])
    assert [m.source for m in chart.measurements["HCT"]] == ["Observation/y"]
    (found,) = chart.refused
    assert (found.source, found.reason, found.tell, found.covers) == ("Observation/x", "unreadable", True, {"HCT"})


def test_an_unreadable_result_whose_code_cannot_be_seen_covers_its_key(refused, ehr):
    found = refused(labs=[ehr.observation(code=5, status=7)])
    assert (found.reason, found.tell, found.covers) == ("unreadable", True, {"HCT", "PSA", "TT", "TSH"})


def test_an_unreadable_result_of_no_marker_is_silent(refused, ehr):
    found = refused(labs=[ehr.observation(code="777-3", status=7)])
    assert (found.reason, found.tell, found.covers) == ("unreadable", False, frozenset())


def test_a_code_that_is_none_is_told(refused, ehr):
    found = refused(labs=[{**ehr.observation(), "code": {"coding": [{"system": LOINC, "code": 4544}]}}])
    assert (found.reason, found.tell) == ("unreadable", True)


@pytest.mark.parametrize(
    "elements",
    [
        {"interpretation": 5},
        {"referenceRange": "4-5"},
        {"specimen": "blood"},
        {"meta": []},
        {"issued": 5},
        {"id": 5},
        {"performer": {}},
        {"category": {"coding": {}}},
    ],
)
def test_what_does_not_matter_does_not_cost_the_value(measure, ehr, elements):
    assert str(measure(ehr.observation(**elements)).value) == "47.2"


def test_single_objects_in_place_of_lists_are_read(measure, ehr):
    found = measure(
        ehr.observation(
            interpretation={"coding": [{"code": "H"}]},
            referenceRange={"high": quantity(52)},
            status=["final"],
        )
    )
    assert (found.interpretation, found.reference_high) == ("H", Decimal(52))


# -- pregnancy ---------------------------------------------------------------------------------------


def pregnancy(ehr, id_, on, answer="77386006", **more):
    value = coded((SNOMED, answer))
    return ehr.observation(id_, on=on, code="82810-3", valueQuantity=None, valueCodeableConcept=value, **more)


def test_a_pregnancy_status_is_evidence(read, ehr):
    assert read(labs=[pregnancy(ehr, "a", "2026-10-01")]).pregnancy == ("Observation/a",)


NOT_PREGNANT = "60001007"


@pytest.mark.parametrize(
    ("pregnant_on", "not_on", "expected"),
    [
        ("2026-10-02", "2026-10-01", ("Observation/a",)),
        ("2026-10-01", "2026-10-02", ()),
        ("2026-10-01", "2026-10-01", ("Observation/a",)),
        ("2026-10-01T08:00:00Z", "2026-10-01T09:00:00Z", ()),
        (None, "2026-10-01", ()),
        ("2026-10-01", None, ("Observation/a",)),
    ],
)
def test_the_newest_pregnancy_status_decides(read, ehr, pregnant_on, not_on, expected):
    both = [pregnancy(ehr, "a", pregnant_on), pregnancy(ehr, "b", not_on, NOT_PREGNANT)]
    assert read(labs=both).pregnancy == expected
    assert read(labs=both[::-1]).pregnancy == expected


@pytest.mark.parametrize("status", ["entered-in-error", "preliminary"])
def test_a_pregnancy_status_that_does_not_hold_is_none(read, ehr, status):
    assert read(labs=[pregnancy(ehr, "a", "2026-10-01", status=status)]).pregnancy == ()
