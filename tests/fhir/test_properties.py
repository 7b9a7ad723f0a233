"""What holds for any JSON: nothing raises, everything adds up, order and strangers do not matter."""

from __future__ import annotations

import copy
import json
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cds_service.fhir.decoding import TYPES

NOTHING = {"resourceType": "Bundle"}
KEYS = ("patient", "labs", "medications", "conditions", "procedures", "orders")

numbers = st.integers(-(10**25), 10**25) | st.floats(allow_nan=False, allow_infinity=False)
scalars = st.none() | st.booleans() | numbers | st.text(max_size=12)
words = st.sampled_from(
    [
        "", "final", "active", "2026-05-04", "2026", "<0.1 ng/mL", "%", "4544-3", "http://loinc.org", "Patient/p",
        "Patient/q", "Bundle", "Observation", "Patient", "Medication", "OperationOutcome", "mg", "wk", "#x",
        "error", "urn:uuid:1",
    ]
)  # fmt: skip
names = st.sampled_from(
    [
        "resourceType", "id", "code", "coding", "system", "value", "unit", "entry", "resource", "reference", "url",
        "extension", "period", "start", "end", "text", "status", "valueQuantity", "component", "contained", "link",
        "total",
    ]
)  # fmt: skip
anything = st.recursive(
    scalars | words,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names | st.text(max_size=5), inner, max_size=6),
    max_leaves=20,
)
calm = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def chart_of_a_man(ehr):
    """One of everything, with as many elements as are read."""
    coded = {"coding": [{"system": "http://loinc.org", "code": "4544-3", "display": "Hct"}], "text": "Hct"}
    ranges = [
        {"low": {"value": 40, "unit": "%"}, "high": {"value": 52}, "age": {"low": {"value": 18, "unit": "a"}}}
    ]
    observation = ehr.observation(
        issued="2026-11-03T08:00:00Z", referenceRange=ranges, interpretation=[{"coding": [{"code": "HH"}]}],
        meta={"lastUpdated": "2026-11-04T08:00:00Z"}, specimen={"reference": "Specimen/1"},
    )  # fmt: skip
    panel = ehr.observation("panel", code="58410-2", valueQuantity=None, component=[{**observation, "code": coded}])
    dosage = {
        "text": "100 mg weekly", "route": {"text": "intramuscular"},
        "timing": {
            "repeat": {"frequency": 1, "period": 1, "periodUnit": "wk", "boundsPeriod": {"start": "2026-05-01"}}
        },
        "doseAndRate": [{"doseQuantity": {"value": 100, "unit": "mg"}}],
    }  # fmt: skip
    supply = {"expectedSupplyDuration": {"value": 30, "code": "d"}, "numberOfRepeatsAllowed": 2}
    medication = {"resourceType": "Medication", "id": "x", "code": {"text": "testosterone"}, "ingredient": [{}]}
    request = ehr.request(dosageInstruction=[dosage], dispenseRequest=supply)
    referred = {"medicationCodeableConcept": None, "medicationReference": {"reference": "Medication/x"}}
    statement = ehr.statement(effectivePeriod={"start": "2026-01-01"}, dosage=[dosage], **referred)
    dispense = ehr.dispense(daysSupply={"value": 30, "code": "d"}, whenHandedOver="2026-11-01")
    condition = ehr.condition(onsetPeriod={"start": "2026-01"}, clinicalStatus={"coding": [{"code": "active"}]})
    procedure = {
        "resourceType": "Procedure", "id": "x", "status": "completed", "performedPeriod": {"start": "2020"},
        "code": {"coding": [{"system": "http://snomed.info/sct", "code": "236886002"}]},
    }  # fmt: skip
    parameter = {"url": "value", "valueCodeableConcept": {"coding": [{"code": "male-typical"}]}}
    url = "http://hl7.org/fhir/StructureDefinition/patient-sexParameterForClinicalUse"
    extension = {"url": url, "extension": [parameter]}
    pregnancy = ehr.observation("preg", code="82810-3", valueQuantity=None, valueCodeableConcept=coded)
    return {
        "patient": ehr.patient(extension=[extension]),
        "labs": ehr.bundle(observation, panel, pregnancy, ehr.observation("o2", on="2026-05-04"), total=4),
        "medications": ehr.bundle(request, statement, dispense, medication),
        "conditions": ehr.bundle(condition, ehr.outcome("warning")),
        "procedures": ehr.bundle(procedure),
        "orders": ehr.bundle(ehr.order()),
    }


def places(value, path=()):
    """All paths into a JSON value."""
    yield path
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, part in inside:
        yield from places(part, (*path, step))


def changed(value, path, new):
    if not path:
        return new
    whole = copy.deepcopy(value)
    place = whole
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = new
    return whole


def test_the_chart_of_a_man_is_used_whole(read, ehr):
    chart = read(**chart_of_a_man(ehr))
    assert [(r.source, r.reason) for r in chart.refused if not r.part] == [
        ("OperationOutcome (without id)", "outcome")
    ]
    assert not chart.gaps


@calm
@given(data=st.data())
def test_any_json_in_any_place_is_survived(read, ehr, data):
    """`read` itself asserts that nothing raises and that all resources add up."""
    whole = chart_of_a_man(ehr)
    key = data.draw(st.sampled_from(KEYS))
    path = data.draw(st.sampled_from(list(places(whole[key]))))
    read(**whole | {key: changed(whole[key], path, data.draw(anything))})


@calm
@given(values=st.fixed_dictionaries(dict.fromkeys(KEYS, anything)), drafts=anything)
def test_any_json_under_the_keys_is_survived(read, values, drafts):
    read(drafts=drafts, **values)


@calm
@given(resource=st.dictionaries(names, anything, max_size=8), name=st.sampled_from(sorted(TYPES)))
def test_any_resource_is_survived_under_every_key(read, resource, name):
    whole = {**resource, "resourceType": name}
    chart = read(drafts=[whole], **{key: [whole] for key in KEYS})
    assert chart.resources_in == len(KEYS) + 1


@calm
@given(data=st.data())
def test_what_one_resource_is_like_does_not_touch_the_others(read, ehr, data):
    """A resource replaced by anything that is no result of another marker's leaves the PSA as it was."""
    psa = ehr.observation("psa", 1.2, "ng/mL", code="2857-1")
    other = {**data.draw(st.dictionaries(names, anything, max_size=6)), "resourceType": "Observation"}
    path = data.draw(st.sampled_from(list(places(ehr.observation()))[1:]))
    spoilt = changed(ehr.observation(), path, data.draw(anything))
    chart = read(labs=[other, psa, spoilt])
    assert [str(m.value) for m in chart.measurements.get("PSA", ()) if m.source == "Observation/psa"] == ["1.2"]


@calm
@given(data=st.data())
def test_the_order_of_entries_does_not_matter(read, ehr, data):
    whole = chart_of_a_man(ehr)
    days = ("2026-11-02", "2026-11-02", "2026-10")
    gel = ehr.request("gel", rxnorm="1599949")
    extra = {
        "labs": [ehr.observation(f"n{n}", 40 + n, on=day) for n, day in enumerate(days)],
        "medications": [ehr.request("old", on="2026-03-01", status="completed"), gel],
        "conditions": [ehr.condition("I21.4", "mi"), ehr.condition("X99", "none")],
    }
    for key, more in extra.items():
        whole[key]["entry"].extend({"resource": resource} for resource in more)
        whole[key].pop("total", None)
    shuffled = copy.deepcopy(whole)
    for bundle in shuffled.values():
        if "entry" in bundle:
            bundle["entry"] = data.draw(st.permutations(bundle["entry"]))
    assert read(**shuffled) == read(**whole)


STRANGERS: dict[str, list[dict[str, Any]]] = {
    "labs": [{"resourceType": "Observation", "status": "final", "code": {"text": "Hematocrit"}}],
    "medications": [
        {"resourceType": "MedicationRequest", "status": "active", "medicationCodeableConcept": {"text": "x"}}
    ],
    "conditions": [
        {"resourceType": "Condition", "code": {"text": "Prostate cancer"}},
        {"resourceType": "Practitioner"},
    ],
    "orders": [{"resourceType": "ServiceRequest", "status": "active", "intent": "order", "code": {"text": "PSA"}}],
}


@pytest.mark.parametrize("key", STRANGERS)
def test_resources_that_do_not_belong_change_nothing_but_the_counts(read, ehr, key):
    whole = chart_of_a_man(ehr)
    plain = read(**whole)
    whole[key] = copy.deepcopy(whole[key])
    whole[key]["entry"][:0] = [{"resource": stranger} for stranger in STRANGERS[key]]
    whole[key].pop("total", None)
    crowded = read(**whole)
    assert crowded.resources_in == plain.resources_in + len(STRANGERS[key])
    assert crowded.resources_used == plain.resources_used
    for name in plain.__struct_fields__:
        if name not in ("refused", "resources_in"):
            assert getattr(crowded, name) == getattr(plain, name)


@calm
@given(value=st.text() | st.binary().map(lambda raw: raw.decode("latin-1")))
def test_any_text_under_a_key_is_no_fhir(read, value):
    assert [gap.kind for gap in read(labs=json.dumps(value).encode()).gaps] == ["not_fhir"]


def test_a_chart_can_be_written_down(read, ehr):
    """For `explain` and for the population mode."""
    assert msgspec.json.decode(msgspec.json.encode(read(**chart_of_a_man(ehr))))["resources_in"] > 10
