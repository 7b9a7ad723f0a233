"""What the builder makes of the cases is FHIR R4, and is what the author wrote."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from cds_service.hooks.prefetch import build_expected
from cds_service.knowledge.loader import load
from cds_service.knowledge.model import Knowledge
from cds_service.scenarios.build import build
from cds_service.scenarios.facts import (
    Case,
    ConditionFacts,
    DraftFacts,
    Expect,
    Faults,
    Given,
    OrderFacts,
    PatientFacts,
    ResultFacts,
    TherapyFacts,
)
from cds_service.scenarios.reading import read
from cds_service.scenarios.request import encode, hook_request

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from fhir.resources.R4B import get_fhir_model_class

FOLDER = Path(__file__).parent
EXAMPLES = FOLDER.parents[1] / "examples" / "patients.yaml"
AS_OF = date(2026, 11, 22)


@pytest.fixture(scope="module")
def knowledge() -> Knowledge:
    return load()


def made(**facts: Any) -> Case:
    given = {name: facts.pop(name) for name in Given.__struct_fields__ if name in facts}
    return Case("a case", AS_OF, given=Given(**given), expect=Expect(), **facts)


def resources_of(case: Case, knowledge: Knowledge) -> list[dict[str, Any]]:
    return list(json.loads(encode(build(case, knowledge).resources)))


def only(case: Case, knowledge: Knowledge) -> dict[str, Any]:
    found = resources_of(case, knowledge)
    assert len(found) == 1
    return found[0]


# -- FHIR ----------------------------------------------------------------------------------------------


def every_resource(knowledge: Knowledge) -> Iterator[bytes]:
    """Each resource of each case once; ids are left out, since most cases differ in nothing else."""
    seen = set()
    for file in (*sorted(FOLDER.glob("*.yaml")), EXAMPLES):
        for case in read(file):
            records = build(case, knowledge)
            for resource in (*records.all, *records.drafts):
                content = encode(resource)
                shape = re.sub(rb'"id":"[^"]*"|\d', b"", content)
                if shape not in seen:
                    seen.add(shape)
                    yield content


def test_every_resource_is_valid_r4(knowledge: Knowledge) -> None:
    count = 0
    for content in every_resource(knowledge):
        kind = json.loads(content)["resourceType"]
        get_fhir_model_class(kind).model_validate_json(content)
        count += 1
    assert count > 100


@pytest.mark.parametrize("hook", ["patient-view", "order-select", "order-sign"])
def test_bundles_of_a_request_are_valid_r4(hook: Any, knowledge: Knowledge) -> None:
    case = made(
        hook=hook,
        prefetch=Faults(truncated=("results",)),
        results=(ResultFacts("HCT", "45 %", on="-3d"), ResultFacts("HCT", "46 %", on="-4d")),
        drafts=(DraftFacts(text="testosterone"), DraftFacts(test="CBC", selected=False)),
    )
    request = hook_request(case, build(case, knowledge), build_expected(knowledge, hook))
    bundles = [value for value in request["prefetch"].values() if value["resourceType"] == "Bundle"]
    bundles += [request["context"]["draftOrders"]] if "draftOrders" in request["context"] else []
    for bundle in bundles:
        get_fhir_model_class("Bundle").model_validate_json(encode(bundle))
    assert ("selections" in request["context"]) == (hook == "order-select")


# -- results -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "quantity"),
    [
        ("55.2 %", {"value": 55.2, "unit": "%", "system": "http://unitsofmeasure.org", "code": "%"}),
        (
            "0.552 L/L",
            {"value": 0.552, "unit": "L/L", "system": "http://unitsofmeasure.org", "code": "L/L"},
        ),
        ("0.552", {"value": 0.552}),
        ("55.2 vol%", {"value": 55.2, "unit": "vol%"}),
        (">50", {"value": 50, "comparator": ">"}),
        (
            "<= 50 %",
            {
                "value": 50,
                "comparator": "<=",
                "unit": "%",
                "system": "http://unitsofmeasure.org",
                "code": "%",
            },
        ),
    ],
)
def test_value_and_unit(written: str, quantity: dict[str, Any], knowledge: Knowledge) -> None:
    case = made(results=(ResultFacts("HCT", written, on="-1d"),))
    assert only(case, knowledge)["valueQuantity"] == quantity


def test_number_keeps_its_digits(knowledge: Knowledge) -> None:
    case = made(results=(ResultFacts("PSA", "4.0100 ng/mL", on="-1d"),))
    assert b'"value":4.0100' in encode(build(case, knowledge).resources)


def test_words_are_sent_as_words(knowledge: Knowledge) -> None:
    case = made(results=(ResultFacts("HCT", "see comment", on="-1d"),))
    assert only(case, knowledge)["valueString"] == "see comment"


def test_number_in_quotes_is_sent_as_words(knowledge: Knowledge) -> None:
    case = made(results=(ResultFacts("PSA", '"<0.1 ng/mL"', on="-1d"),))
    assert only(case, knowledge)["valueString"] == "<0.1 ng/mL"


def test_no_value_says_that_it_is_absent(knowledge: Knowledge) -> None:
    case = made(results=(ResultFacts("HCT", "", on="-1d"),))
    assert "dataAbsentReason" in only(case, knowledge)


@pytest.mark.parametrize(
    ("written", "code"), [("520 ng/dL", "2986-8"), ("18 nmol/L", "14913-8"), ("520", "2986-8")]
)
def test_code_follows_the_unit(written: str, code: str, knowledge: Knowledge) -> None:
    case = made(results=(ResultFacts("TT", written, on="-1d"),))
    assert only(case, knowledge)["code"]["coding"][0]["code"] == code


@pytest.mark.parametrize(
    ("facts", "moment"),
    [
        ({"on": "-12d"}, "2026-11-10"),
        ({"on": "+1d"}, "2026-11-23"),
        ({"on": "2026-10"}, "2026-10"),
        ({"on": "-12d", "time": "08:15"}, "2026-11-10T08:15:00Z"),
        ({"on": "-12d", "time": "08:15-05:00"}, "2026-11-10T08:15:00-05:00"),
        ({}, None),
    ],
)
def test_date_of_the_sample(facts: dict[str, str], moment: str | None, knowledge: Knowledge) -> None:
    case = made(results=(ResultFacts("HCT", "45 %", **facts),))
    assert only(case, knowledge).get("effectiveDateTime") == moment


def test_unknown_marker_is_refused(knowledge: Knowledge) -> None:
    case = made(results=(ResultFacts("HCTT", "45 %", on="-1d"),))
    with pytest.raises(ValueError, match="known marker, not 'HCTT'"):
        build(case, knowledge)


# -- drugs ---------------------------------------------------------------------------------------------


def test_renewals_are_prescriptions_of_which_the_last_is_active(knowledge: Knowledge) -> None:
    therapy = TherapyFacts(drug="835840", start="-100d", renewals=("-40d", "-10d"), supply="30d")
    found = resources_of(made(therapies=(therapy,)), knowledge)
    assert [(one["authoredOn"], one["status"]) for one in found] == [
        ("2026-08-14", "completed"),
        ("2026-10-13", "completed"),
        ("2026-11-12", "active"),
    ]
    assert {one["dispenseRequest"]["expectedSupplyDuration"]["value"] for one in found} == {30}


def test_drug_by_its_full_name(knowledge: Knowledge) -> None:
    therapy = TherapyFacts(drug="Testosterone cypionate 200 MG/ML Injectable Solution", start="-1d")
    concept = only(made(therapies=(therapy,)), knowledge)["medicationCodeableConcept"]
    assert concept["coding"][0]["code"] == "835840"


def test_unknown_drug_is_refused(knowledge: Knowledge) -> None:
    case = made(therapies=(TherapyFacts(drug="testosteron", start="-1d"),))
    with pytest.raises(ValueError, match="known drug, not 'testosteron'"):
        build(case, knowledge)


def test_therapy_that_ended(knowledge: Knowledge) -> None:
    therapy = TherapyFacts(text="testosterone", start="-100d", end="-10d")
    found = only(made(therapies=(therapy,)), knowledge)
    assert found["status"] == "stopped"
    assert found["dispenseRequest"]["validityPeriod"]["end"] == "2026-11-12"


def test_dose_is_written_out(knowledge: Knowledge) -> None:
    therapy = TherapyFacts(drug="835840", start="-1d", dose="100 mg every 7 d")
    dosage = only(made(therapies=(therapy,)), knowledge)["dosageInstruction"][0]
    assert dosage["timing"]["repeat"] == {"frequency": 1, "period": 7, "periodUnit": "d"}
    assert dosage["doseAndRate"][0]["doseQuantity"]["value"] == 100
    assert dosage["text"] == "100 mg every 7 d"


def test_other_words_stay_text(knowledge: Knowledge) -> None:
    therapy = TherapyFacts(drug="835840", start="-1d", dose="weekly", route="sct 78421000")
    dosage = only(made(therapies=(therapy,)), knowledge)["dosageInstruction"][0]
    assert dosage["text"] == "weekly"
    assert "timing" not in dosage
    assert dosage["route"]["coding"][0]["code"] == "78421000"


# -- the rest of the chart -----------------------------------------------------------------------------


def test_age_is_a_birthday_today(knowledge: Knowledge) -> None:
    case = made(patient=PatientFacts(age=18))
    assert build(case, knowledge).patient["birthDate"] == "2008-11-22"


@pytest.mark.parametrize(("code", "system"), [("C61", "icd-10-cm"), ("sct 399068003", "snomed")])
def test_code_system_of_a_condition(code: str, system: str, knowledge: Knowledge) -> None:
    case = made(conditions=(ConditionFacts(code),))
    coding = only(case, knowledge)["code"]["coding"][0]
    assert system in coding["system"]
    assert coding["code"] == code.removeprefix("sct ")


def test_order_of_a_known_test(knowledge: Knowledge) -> None:
    case = made(orders=(OrderFacts(test="CBC", on="-3d"),))
    assert only(case, knowledge)["code"]["coding"][0]["code"] == "58410-2"


def test_unknown_test_is_refused(knowledge: Knowledge) -> None:
    with pytest.raises(ValueError, match="known test, not 'XYZ'"):
        build(made(orders=(OrderFacts(test="XYZ"),)), knowledge)


def test_only_selected_drafts_are_selections(knowledge: Knowledge) -> None:
    drafts = (DraftFacts(drug="835840"), DraftFacts(test="CBC", selected=False))
    records = build(made(drafts=drafts), knowledge)
    assert [draft["resourceType"] for draft in records.drafts] == ["MedicationRequest", "ServiceRequest"]
    assert records.selections == (f"MedicationRequest/{records.drafts[0]['id']}",)


# -- prefetch ------------------------------------------------------------------------------------------


def prefetch_of(knowledge: Knowledge, **facts: Any) -> dict[str, Any]:
    case = made(**facts)
    body = encode(hook_request(case, build(case, knowledge), build_expected(knowledge, case.hook)))
    return dict(json.loads(body)["prefetch"])


def test_each_result_comes_with_the_key_that_asks_for_its_code(knowledge: Knowledge) -> None:
    results = (ResultFacts("HCT", "45 %", on="-3d"), ResultFacts("LDL", "100 mg/dL", on="-3d"))
    found = prefetch_of(knowledge, results=results)
    for key in build_expected(knowledge, "patient-view"):
        for entry in found[key.key].get("entry", ()):
            code = entry["resource"]["code"]["coding"][0]["code"]
            assert f"http://loinc.org|{code}" in key.template
    assert sum(bundle.get("total", 0) for bundle in found.values()) == 2


def test_a_search_without_hits_has_no_entry(knowledge: Knowledge) -> None:
    found = prefetch_of(knowledge)
    assert found["conditions"] == {"resourceType": "Bundle", "type": "searchset", "total": 0}


def test_newest_results_come_first(knowledge: Knowledge) -> None:
    results = tuple(ResultFacts("HCT", "45 %", on=day) for day in ("-30d", "-3d", "-300d"))
    found = prefetch_of(knowledge, results=results)
    bundle = next(one for one in found.values() if one.get("total") == 3)
    dates = [entry["resource"]["effectiveDateTime"] for entry in bundle["entry"]]
    assert dates == sorted(dates, reverse=True)


def test_a_truncated_search_keeps_the_newer_half_and_names_the_next_page(knowledge: Knowledge) -> None:
    results = tuple(ResultFacts("HCT", "45 %", on=day) for day in ("-30d", "-3d", "-300d"))
    found = prefetch_of(knowledge, results=results, prefetch=Faults(truncated=("HCT",)))
    bundle = next(one for one in found.values() if one.get("total") == 3)
    assert len(bundle["entry"]) == 2
    assert [link["relation"] for link in bundle["link"]] == ["next"]


def test_faults(knowledge: Knowledge) -> None:
    faults = Faults(omit=("patient",), null=("conditions",), outcome=("orders",), html=("procedures",))
    found = prefetch_of(knowledge, prefetch=faults)
    assert "patient" not in found
    assert found["conditions"] is None
    assert found["serviceRequests"]["resourceType"] == "OperationOutcome"
    assert found["procedures"].startswith("<html>")


def test_everything_can_fail(knowledge: Knowledge) -> None:
    case = made(prefetch=Faults(omit=("everything",)))
    request = hook_request(case, build(case, knowledge), build_expected(knowledge, case.hook))
    assert "prefetch" not in request


def test_unknown_fault_is_refused(knowledge: Knowledge) -> None:
    with pytest.raises(ValueError, match="not 'drugs'"):
        prefetch_of(knowledge, prefetch=Faults(omit=("drugs",)))
