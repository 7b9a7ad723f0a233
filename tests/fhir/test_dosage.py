"""Dose text, milligrams per week, days of supply."""

from __future__ import annotations

from decimal import Decimal

import pytest

UCUM = "http://unitsofmeasure.org"


@pytest.fixture
def supply(read, ehr):
    def call(*dosages, rxnorm="835840", **elements):  # testosterone cypionate 200 MG/ML
        (found,) = read(
            medications=[ehr.request(rxnorm=rxnorm, dosageInstruction=list(dosages), **elements)]
        ).therapies
        return found.supplies[0]

    return call


def dose(value, unit, frequency=1, period=1, period_unit="wk", **more):
    repeat = {"frequency": frequency, "period": period, "periodUnit": period_unit}
    repeat = {key: each for key, each in repeat.items() if each is not None}
    amount = {"doseQuantity": {"value": value, "unit": unit, "code": unit, "system": UCUM}}
    return {"timing": {"repeat": {**repeat, **more.pop("repeat", {})}}, "doseAndRate": [amount], **more}


@pytest.mark.parametrize(
    ("dosage", "weekly"),
    [
        (dose(100, "mg"), "100"),
        (dose(200, "mg", 1, 14, "d"), "100"),
        (dose(200, "mg", 1, 2, "wk"), "100"),
        (dose(50, "mg", 1, 1, "d"), "350"),
        (dose(50, "mg", 2, 7, "d"), "100"),
        (dose(100, "mg", 1, 168, "h"), "100"),
        (dose(30.4375, "mg", 1, 1, "mo"), "7"),  # UCUM: a month is 30.4375 days
        (dose(0.5, "mL"), "100"),  # x 200 mg/mL
        (dose(0.5, "ml"), "100"),
        (dose(50, "MG"), "50"),
        (dose(50, "Mg"), "50"),
        (dose(0.25, "ML"), "50"),
        (dose(50, "mcg"), None),
        (dose(50, "MG/mL"), None),
        (dose(2, "{pill}", 2, 1, "d"), None),
        (dose(100, "mg", None), None),
        (dose(100, "mg", 1, None), None),
        (dose(100, "mg", 1, 1, None), None),
        (dose(100, "mg", 1, 1, "fortnight"), None),
        (dose(100, "mg", 1, 0, "d"), None),
        (dose(100, "mg", repeat={"periodMax": 2}), None),
        (dose(100, "mg", repeat={"frequencyMax": 2}), None),
        (dose(100, "mg", asNeededBoolean=True), None),
        (dose("100", "mg"), None),
        (dose(1e30, "mg"), "1e30"),
        ({"text": "100 mg weekly"}, None),
        ({}, None),
    ],
)
def test_milligrams_a_week(supply, dosage, weekly):
    assert supply(dosage).weekly_mg == (None if weekly is None else Decimal(weekly))


def test_two_dosages_are_not_added(supply):
    assert supply(dose(100, "mg"), dose(50, "mg")).weekly_mg is None


def test_a_volume_needs_one_clear_concentration(supply, read, ehr):
    assert supply(dose(0.5, "mL"), rxnorm="10379").weekly_mg is None
    clear = {"coding": [{"system": "http://www.nlm.nih.gov/research/umls/rxnorm", "code": "10379"}]}
    named = clear | {"text": "testosterone cypionate 100 MG/ML"}
    unclear = clear | {"text": "testosterone cypionate 100 mg/ml or 200 mg/ml"}
    assert supply(dose(0.5, "mL"), medicationCodeableConcept=named).weekly_mg == 50
    assert supply(dose(0.5, "mL"), medicationCodeableConcept=unclear).weekly_mg is None


@pytest.mark.parametrize(
    ("dosages", "text"),
    [
        ([{"text": "  100 mg weekly "}], "100 mg weekly"),
        ([{"text": "1 in the morning"}, {"text": "2 at night"}], "1 in the morning; 2 at night"),
        ([dose(0.5, "mL")], "0.5 mL, 1 per 1 wk"),
        ([dose(2, "{pill}", 2, 1, "d")], "2 {pill}, 2 per 1 d"),
        ([{}], ""),
    ],
)
def test_the_dose_in_words(supply, dosages, text):
    assert supply(*dosages).dose_text == text


def test_the_dose_of_a_statement(read, ehr):
    statement = ehr.statement(effectivePeriod={"start": "2026-01-01"}, dosage=[{"text": "weekly"}])
    assert read(medications=[statement]).therapies[0].supplies[0].dose_text == "weekly"


def test_a_dosage_that_is_no_list_is_read(supply, read, ehr):
    (found,) = read(medications=[ehr.request(dosageInstruction={"text": "weekly"})]).therapies
    assert found.supplies[0].dose_text == "weekly"


def test_a_bad_dosage_does_not_cost_the_therapy(read, ehr):
    (found,) = read(medications=[ehr.request(dosageInstruction=[{"text": 5}])]).therapies
    assert found.supplies[0].dose_text == ""


def test_a_dosage_in_words_and_one_in_parts_are_both_told(supply):
    assert supply({"text": "100 mg weekly"}, dose(50, "mg")).dose_text == "100 mg weekly; 50 mg, 1 per 1 wk"
