"""A plain result is read the short way once its like has been seen: it must say what the long way says."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cds_service.fhir.terms import terms_of
from cds_service.knowledge.units import resolve_unit

UCUM = "http://unitsofmeasure.org"
LOINC = "http://loinc.org"
SOME_CODES = 40

as_number = msgspec.json.Encoder(decimal_format="number")
days = (
    "2026-11-02",
    "2026-05-04T08:15:00Z",
    "2026-05-04T23:59:00-05:00",
    "2026-05",
    "2026",
    "2027-01-01",
    "?",
    None,
)
calm = settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])


@st.composite
def plain_results(draw, knowledge):
    """An Observation of one number, and another of the same code and reference range in another unit."""
    codes = sorted(code for system, code in knowledge.codes if system == LOINC)[:SOME_CODES]
    code = draw(st.sampled_from(codes))
    marker = knowledge.markers[knowledge.codes[LOINC, code].marker]
    units = st.sampled_from([*sorted(marker.factors), *sorted(marker.not_converted), "mg", "?", ""])
    ends = [end for end in (marker.low, marker.high) if end is not None]
    near = [end + step for end in ends for step in (Decimal("-0.001"), Decimal(0), Decimal("0.001"))]
    numbers = st.decimals(-5, 2000, allow_nan=False, places=2) | st.sampled_from(near or [Decimal(1)])
    end = {"value": draw(numbers)} | ({"unit": draw(units)} if draw(st.booleans()) else {})
    shared = {
        "resourceType": "Observation",
        "code": {"coding": [{"system": LOINC, "code": code}]},
        "subject": {"reference": "Patient/p"},
        "referenceRange": [{draw(st.sampled_from(["low", "high"])): end}],
    }
    two = []
    for _ in range(2):
        unit = draw(units)
        two.append(
            {
                **shared,
                "status": draw(st.sampled_from(["final", "amended", "preliminary", "registered"])),
                "valueQuantity": {
                    "value": draw(numbers),
                    "unit": draw(st.sampled_from([unit, "", "percent"])),
                    "system": UCUM,
                    "code": unit,
                },
                "interpretation": [{"coding": [{"code": draw(st.sampled_from(["H", "LL", "?"]))}]}],
            }
        )
    return two


def others_in(knowledge, plain):
    """Codes of other markers, of those that know its unit if there are any."""
    known = {
        code: knowledge.markers[each.marker] for (system, code), each in knowledge.codes.items() if system == LOINC
    }
    marker = known[plain["code"]["coding"][0]["code"]]
    others = {code: other for code, other in known.items() if other.key != marker.key}
    alike = [code for code, other in others.items() if plain["valueQuantity"]["code"] in other.factors]
    return [{"coding": [{"system": LOINC, "code": code}]} for code in sorted(alike or others)]


def became_of(source, chart):
    found = [result for series in chart.measurements.values() for result in series if result.source == source]
    return found, [refused for refused in chart.refused if refused.source == source]


@calm
@given(data=st.data())
def test_the_short_way_says_what_the_long_way_says(read, ehr, knowledge, data):
    plain, like = data.draw(plain_results(knowledge))
    on, issued = data.draw(st.sampled_from(days)), data.draw(st.sampled_from(["2026-11-03T08:00:00Z", "?"]))
    plain |= {"id": "o", "effectiveDateTime": on, "issued": issued, "specimen": {"reference": "Specimen/1"}}
    like |= {"id": "like", "effectiveDateTime": "1999-01-01"}
    other = data.draw(st.sampled_from(others_in(knowledge, plain)))
    same_day = plain | {"id": "day", "issued": "2026-10-01T08:00:00Z", "code": other}
    # An empty list and an empty comparator say nothing, but it takes the long way to see that.
    longer = plain | {"component": [], "valueQuantity": plain["valueQuantity"] | {"comparator": ""}}
    terms = terms_of(knowledge)
    terms.limits.clear()
    terms.flags.clear()
    long = read(labs=as_number.encode(ehr.bundle(longer)))
    terms.limits.clear()
    short = read(labs=as_number.encode(ehr.bundle(like, same_day, plain)))
    assert became_of("Observation/o", short) == became_of("Observation/o", long)


def test_every_unit_is_a_spelling_of_itself(knowledge):
    for known in terms_of(knowledge).results.values():
        for unit in filter(None, known.scales):
            assert resolve_unit("?", UCUM, unit, knowledge.spellings) == unit


@pytest.mark.parametrize("number", [10, 10.0, 75, 75.0])
def test_the_ends_of_what_is_plausible_are_plain_results(measure, ehr, number):
    """Hematocrit 10 to 75 %, ends included (1.2)."""
    assert measure(ehr.observation(value=number)).problem == ""


@pytest.mark.parametrize("number", [9.99, 75.01, 0, -40, 1e9])
def test_what_lies_beyond_them_is_told(measure, ehr, number):
    result = measure(ehr.observation(value=number))
    assert (result.value, result.problem) == (None, "implausible")


@pytest.mark.parametrize(("text", "shown"), [("percent", "percent"), ("", "%"), (None, "%")])
def test_the_unit_is_shown_as_people_write_it_else_its_code(measure, ehr, text, shown):
    quantity = {"value": 47.2, "unit": text, "system": UCUM, "code": "%"}
    assert measure(ehr.observation(valueQuantity=quantity)).reported_unit == shown
