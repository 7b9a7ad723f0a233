"""Reference ranges and flags of the laboratory: clinical reference 4.1.7, 4.1.8."""

from __future__ import annotations

from decimal import Decimal

import pytest

UCUM = "http://unitsofmeasure.org"
GENDER = "http://hl7.org/fhir/administrative-gender"
MEANING = "http://terminology.hl7.org/CodeSystem/referencerange-meaning"


def q(value, unit="%"):
    return {"value": value, **({"unit": unit, "system": UCUM, "code": unit} if unit else {})}


def kind(code):
    return {"coding": [{"system": MEANING, "code": code}]}


def sex(code, system=GENDER):
    return [{"coding": [{"system": system, "code": code}]}]


def ends(found):
    return (found.reference_low, found.reference_high)


@pytest.mark.parametrize(
    ("ranges", "expected"),
    [
        ([{"low": q(40), "high": q(52)}], ("40", "52")),
        ([{"high": q(52)}], (None, "52")),
        ([{"low": q(40)}], ("40", None)),
        ([{"high": q(0.52, "L/L")}], (None, "52.00")),
        ([{"high": q(52, "")}], (None, "52")),  # in the unit of the result
        ([{"high": q(52, "g/dL")}], (None, None)),
        ([{"high": q(52, "furlong")}], (None, None)),
        ([{"text": "40 - 52 %"}], (None, None)),
        ([{"high": q(52), "type": kind("normal")}], (None, "52")),
        ([{"high": q(52), "type": {"text": "Normal range"}}], (None, "52")),
        ([{"high": q(52), "type": kind("therapeutic")}], (None, None)),
        ([{"high": q(52), "type": kind("treatment")}, {"high": q(50)}], (None, "50")),
        ([{"high": q(52)}, {"high": q(50)}], (None, None)),
        ([{"high": q(52)}, {"high": q(52)}], (None, "52")),
        ([{"high": q(52)}, {"text": "see report"}], (None, "52")),
        ([], (None, None)),
        ([{"high": {"value": "52", "unit": "%"}}], (None, None)),
        ([{"high": {"unit": "%"}}], (None, None)),
    ],
)
def test_the_range_of_the_laboratory_in_the_unit_of_the_marker(measure, ehr, ranges, expected):
    found = measure(ehr.observation(referenceRange=ranges))
    assert ends(found) == tuple(None if each is None else Decimal(each) for each in expected)
    assert str(found.value) == "47.2"


@pytest.mark.parametrize(
    ("applies_to", "expected"),
    [
        (sex("male"), "52"),
        (sex("M", "http://terminology.hl7.org/CodeSystem/v3-AdministrativeGender"), "52"),
        (sex("female"), None),
        (sex("male", "http://example.org"), None),
        ([{"text": "male"}], None),
        ([*sex("male"), {"text": "pregnant"}], None),
    ],
)
def test_a_range_for_a_sex(measure, ehr, applies_to, expected):
    """The patient of these tests is a man."""
    found = measure(ehr.observation(referenceRange=[{"high": q(52), "appliesTo": applies_to}]))
    assert found.reference_high == (None if expected is None else Decimal(expected))


def test_a_range_for_the_patient_goes_before_one_for_everybody(measure, ehr):
    ranges = [
        {"high": q(48)},
        {"high": q(52), "appliesTo": sex("male")},
        {"high": q(47), "appliesTo": sex("female")},
    ]
    assert measure(ehr.observation(referenceRange=ranges)).reference_high == 52


def test_without_a_sex_no_range_for_a_sex_fits(measure, ehr):
    observation = ehr.observation(referenceRange=[{"high": q(52), "appliesTo": sex("male")}])
    assert measure(observation, patient=ehr.patient(gender="unknown")).reference_high is None


@pytest.mark.parametrize(
    ("low", "high", "on", "fits"),
    [
        # born on 1970-05-01: 55 until 2026-04-30, 56 from the next day on
        (18, 55, "2026-04-30", True),
        (18, 55, "2026-05-01", False),
        (56, None, "2026-05-01", True),
        (56, None, "2026-04-30", False),
        (None, 56, "2026-11-02", True),
        (None, 56, None, False),
    ],
)
def test_a_range_for_an_age_is_judged_on_the_day_of_the_sample(measure, ehr, low, high, on, fits):
    age = {name: {"value": years, "unit": "years"} for name, years in (("low", low), ("high", high)) if years}
    found = measure(ehr.observation(on=on, referenceRange=[{"high": q(52), "age": age}]))
    assert found.reference_high == (Decimal(52) if fits else None)


def test_ranges_for_ages_are_judged_anew_for_each_sample(read, ehr):
    ranges = [{"high": q(52), "age": {"high": {"value": 55, "unit": "a"}}}]
    days = ("2026-05-01", "2026-04-30")
    series = read(labs=[ehr.observation(day, on=day, referenceRange=ranges) for day in days]).measurements["HCT"]
    assert [m.reference_high for m in series] == [None, Decimal(52)]


@pytest.mark.parametrize("unit", ["mo", "", "weeks"])
def test_an_age_in_another_unit_does_not_fit(measure, ehr, unit):
    age = {"low": {"value": 18, "unit": unit}}
    assert measure(ehr.observation(referenceRange=[{"high": q(52), "age": age}])).reference_high is None


def test_a_birth_year_must_fit_from_end_to_end(measure, ehr):
    def high(born):
        age = {"high": {"value": 55, "unit": "a"}}
        observation = ehr.observation(on="2026-06-01", referenceRange=[{"high": q(52), "age": age}])
        return measure(observation, patient=ehr.patient(birthDate=born)).reference_high

    assert high("1971") == 52  # 54 or 55
    assert high("1970") is None  # 55 or 56
    assert high(None) is None


def test_the_same_range_in_another_unit_of_result(read, ehr):
    plain = {"referenceRange": [{"high": {"value": 0.5}}]}
    first = ehr.observation("a", value=0.47, unit="L/L", **plain)
    second = ehr.observation("b", value=47, on="2026-10-01", **plain)
    series = read(labs=[first, second]).measurements["HCT"]
    assert [m.reference_high for m in series] == [Decimal("50.0"), Decimal("0.5")]


V3 = "http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation"


@pytest.mark.parametrize(
    ("interpretation", "flag"),
    [
        ([{"coding": [{"system": V3, "code": "HH"}]}], "HH"),
        ([{"coding": [{"system": "http://hl7.org/fhir/v2/0078", "code": "LL"}]}], "LL"),
        ([{"coding": [{"code": "AA"}]}], "AA"),
        ([{"coding": [{"system": "urn:local", "code": "HH"}]}], ""),
        ([{"coding": [{"system": V3, "code": "H"}]}, {"coding": [{"system": V3, "code": "HH"}]}], "HH"),
        ([{"text": "HH"}], "HH"),
        ([{"text": "ll"}], "LL"),
        ([{"text": "critical"}], ""),
        ([{"coding": [{"system": V3, "code": "N"}], "text": "HH"}], "N"),
        ([{"coding": [{"system": V3, "code": "<b>"}]}], ""),
        ([], ""),
    ],
)
def test_flags_of_the_laboratory(measure, ehr, interpretation, flag):
    assert measure(ehr.observation(interpretation=interpretation)).interpretation == flag
