"""Tests that are on their way, and drafts of an order hook (clinical reference 0.4.8, 0.4.24)."""

from __future__ import annotations

from datetime import date

import pytest

RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"


@pytest.mark.parametrize(
    ("code", "markers", "panel"),
    [
        ("2857-1", {"PSA"}, ""),
        ("58410-2", {"HCT", "HGB"}, "CBC"),
        ("57698-3", {"CHOL", "HDL", "LDL", "TRIG"}, "LIPID"),
        ("3052-8", {"RT3"}, ""),
    ],
)
def test_an_order_brings_markers(read, ehr, code, markers, panel):
    (found,) = read(orders=[ehr.order(code)]).orders
    assert (found.markers, found.panel, found.codes) == (markers, panel, {code})
    assert (found.source, found.drafted, found.authored.day) == ("ServiceRequest/r", False, date(2026, 11, 1))


@pytest.mark.parametrize(
    ("elements", "reason"),
    [
        ({"status": "active"}, ""), ({"status": "on-hold"}, ""), ({"status": "draft"}, ""),
        ({"status": "completed"}, "not_open"), ({"status": "revoked"}, "not_open"), ({"status": None}, "not_open"),
        ({"status": "entered-in-error"}, "not_open"), ({"status": "unknown"}, "not_open"),
        ({"intent": "order"}, ""), ({"intent": "original-order"}, ""), ({"intent": "reflex-order"}, ""),
        ({"intent": "filler-order"}, ""), ({"intent": "instance-order"}, ""),
        ({"intent": "plan"}, "not_an_order"), ({"intent": "proposal"}, "not_an_order"),
        ({"intent": "option"}, "not_an_order"), ({"intent": "directive"}, "not_an_order"),
        ({"intent": None}, "not_an_order"),
        ({"doNotPerform": True}, "not_an_order"), ({"doNotPerform": False}, ""),
        ({"code": {"text": "PSA"}}, "unknown_code"), ({"code": None}, "unknown_code"),
    ],
)  # fmt: skip
def test_which_requests_are_open_orders(read, ehr, elements, reason):
    chart = read(orders=[ehr.order(**elements)])
    assert len(chart.orders) == (0 if reason else 1)
    assert [(r.reason, r.tell) for r in chart.refused] == ([(reason, False)] if reason else [])


def test_all_codings_of_an_order_count(read, ehr):
    codings = [{"system": "http://loinc.org", "code": code} for code in ("2857-1", "4544-3")]
    (found,) = read(orders=[ehr.order(code={"coding": [*codings, {}]})]).orders
    assert (found.markers, found.codes) == ({"PSA", "HCT"}, {"2857-1", "4544-3"})


def test_the_code_of_a_test_brings_what_the_test_does(read, ehr, knowledge):
    test = knowledge.tests["CBC"]
    (found,) = read(orders=[ehr.order(test.order_code, system=test.order_system)]).orders
    assert found.markers >= test.brings


# -- drafts ------------------------------------------------------------------------------------------


def drafts(*resources):
    """As the Sandbox sends it: no type, no fullUrl."""
    return {"resourceType": "Bundle", "entry": [{"resource": resource} for resource in resources]}


SANDBOX = {
    "resourceType": "MedicationRequest", "id": "request-123", "status": "draft", "authoredOn": "2026-11-22",
    "subject": {"reference": "Patient/p"},
    "dosageInstruction": [{
        "timing": {"repeat": {
            "frequency": 2, "period": 1, "periodUnit": "d", "boundsPeriod": {"start": "Invalid date"}}},
        "doseAndRate": [{"doseQuantity": {"value": 2, "system": "http://unitsofmeasure.org", "code": "{pill}"}}],
    }],
    "intent": "order",
    "category": {"coding": [{"system": "http://example.org", "code": "community"}]},
    "medicationCodeableConcept": {"text": "Estradiol 2 MG Oral Tablet", "coding": [{
        "display": "Estradiol 2 MG Oral Tablet", "system": RXNORM, "code": "197659"}]},
    "reasonCode": {"coding": [{"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": "N95.1"}]},
}  # fmt: skip


def test_a_draft_of_the_sandbox_is_read(read):
    (found,) = read(drafts=drafts(SANDBOX), selections=frozenset({"MedicationRequest/request-123"})).drafts
    assert (found.key, found.form, found.source) == ("ESTRADIOL", "oral", "MedicationRequest/request-123")
    assert (found.selected, found.recognised, found.from_text) == (True, "RxNorm product 197659", False)
    assert (found.name, found.weekly_mg) == ("Estradiol 2 MG Oral Tablet", None)


def test_a_draft_is_no_therapy(read):
    assert not read(drafts=drafts(SANDBOX)).therapies


def test_a_draft_without_a_medication_is_silent(read):
    draft = {key: SANDBOX[key] for key in ("resourceType", "id", "status", "subject", "authoredOn")}
    chart = read(drafts=drafts(draft), selections=frozenset({"MedicationRequest/request-123"}))
    assert not chart.drafts
    assert [(r.reason, r.tell) for r in chart.refused] == [("no_drug", False)]


def test_a_study_that_is_not_chosen_yet_is_silent(read):
    study = {
        "resourceType": "ServiceRequest", "id": "example-request-id", "status": "draft", "intent": "plan",
        "code": {"coding": [{}]}, "subject": {"reference": "Patient/p"}, "reasonCode": [],
    }  # fmt: skip
    chart = read(drafts=drafts(study))
    assert not chart.orders
    assert [(r.reason, r.tell) for r in chart.refused] == [("unknown_code", False)]


@pytest.mark.parametrize(
    ("selections", "selected"),
    [
        (None, True),
        (frozenset({"MedicationRequest/request-123"}), True),
        (frozenset({"request-123"}), True),
        (frozenset({"MedicationRequest/other", "x"}), False),
        (frozenset(), False),
    ],
)
def test_selections_name_drafts(read, selections, selected):
    assert [draft.selected for draft in read(drafts=drafts(SANDBOX), selections=selections).drafts] == [selected]


def test_a_draft_without_an_id_can_be_selected_by_its_url(read):
    bundle = drafts({**SANDBOX, "id": None})
    bundle["entry"][0]["fullUrl"] = "urn:uuid:5"
    assert read(drafts=bundle, selections=frozenset({"urn:uuid:5"})).drafts[0].selected
    assert not read(drafts=bundle, selections=frozenset({"urn:uuid:6"})).drafts[0].selected


@pytest.mark.parametrize("intent", ["plan", "proposal", None, "order"])
def test_a_drafted_test_counts_whatever_its_intent_is(read, ehr, intent):
    (found,) = read(drafts=drafts(ehr.order(status="draft", intent=intent))).orders
    assert (found.drafted, found.markers) == (True, {"PSA"})


@pytest.mark.parametrize("name", ["NutritionOrder", "DeviceRequest", "VisionPrescription", "MedicationOrder"])
def test_drafts_of_other_types_are_silent(read, name):
    chart = read(drafts=drafts({"resourceType": name, "id": "1"}, SANDBOX))
    assert len(chart.drafts) == 1
    assert [(r.reason, r.tell) for r in chart.refused] == [("not_asked_for", False)]
    assert not chart.gaps


def test_drafts_for_somebody_else_are_told(read):
    chart = read(drafts=drafts({**SANDBOX, "subject": {"reference": "Patient/q"}}))
    assert not chart.drafts
    assert [(r.reason, r.tell) for r in chart.refused] == [("other_patient", True)]


def test_a_drafted_medication_may_be_a_reference_into_the_drafts(read):
    medication = {"resourceType": "Medication", "id": "e", "code": SANDBOX["medicationCodeableConcept"]}
    draft = {**SANDBOX, "medicationReference": {"reference": "Medication/e"}}
    del draft["medicationCodeableConcept"]
    chart = read(drafts=drafts(draft, medication))
    assert [found.key for found in chart.drafts] == ["ESTRADIOL"]
    assert chart.resources_used == 3


def test_a_drafted_dose_is_read(read, ehr):
    timing = {"repeat": {"frequency": 1, "period": 1, "periodUnit": "wk"}}
    amount = [{"doseQuantity": {"value": 0.5, "code": "mL"}}]
    # 200 mg/mL
    draft = ehr.request(rxnorm="835840", dosageInstruction=[{"timing": timing, "doseAndRate": amount}])
    assert read(drafts=drafts(draft)).drafts[0].weekly_mg == 100


@pytest.mark.parametrize("value", [b'"x"', b"[]", b"{}", b"5"])
def test_drafts_that_are_none_are_a_gap(read, value):
    assert [(g.key, g.kind, set(g.covers)) for g in read(drafts=value).gaps] == [
        ("draftOrders", "not_fhir", {"drafts"})
    ]


def test_an_unreadable_draft_is_told(read):
    (found,) = read(drafts=drafts({**SANDBOX, "medicationCodeableConcept": 5})).refused
    assert (found.reason, found.tell, found.covers) == ("unreadable", True, {"drafts"})


def test_a_selection_that_is_not_among_the_drafts_is_told(read):
    plain = {"resourceType": "NutritionOrder", "id": "n"}
    bundle = drafts(SANDBOX, plain)
    known = {f"MedicationRequest/{SANDBOX['id']}", "NutritionOrder/n", "n"}
    assert not read(drafts=bundle, selections=frozenset(known)).gaps
    (gap,) = read(drafts=bundle, selections=frozenset(known | {"MedicationRequest/other"})).gaps
    assert (gap.key, gap.kind, set(gap.covers)) == ("draftOrders", "not_found", {"drafts"})
    assert "other" not in gap.detail


def test_a_draft_without_a_drug_is_told_when_it_is_signed(read):
    """While it is being written (order-select has selections) it may have none yet."""
    bare = {name: value for name, value in SANDBOX.items() if name != "medicationCodeableConcept"}
    (writing,) = read(drafts=drafts(bare), selections=frozenset({f"MedicationRequest/{SANDBOX['id']}"})).refused
    (signing,) = read(drafts=drafts(bare)).refused
    assert (writing.reason, writing.tell) == ("no_drug", False)
    assert (signing.reason, signing.tell, signing.covers) == ("no_drug", True, {"drafts"})
