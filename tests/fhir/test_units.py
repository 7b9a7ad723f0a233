"""Values and units: clinical reference 1.1, unit handling rules 1 to 8."""

from __future__ import annotations

from decimal import Decimal

import pytest

UCUM = "http://unitsofmeasure.org"


def of(ehr, code, value, /, **quantity):
    """One result whose Quantity has just these elements."""
    return ehr.observation(code=code, valueQuantity={"value": value, **quantity})


HCT, PSA, TT, TSH, E2, A1C, K, LH, SHBG, TPO = (
    "4544-3", "2857-1", "2986-8", "3016-3", "2243-4", "4548-4", "2823-3", "10501-5", "13967-5", "8099-4",
)  # fmt: skip


@pytest.mark.parametrize(
    ("code", "value", "unit", "expected"),
    [
        (HCT, 47.2, "%", "47.2"),
        (HCT, 0.54, "L/L", "54.0"),
        (HCT, 0.5404, "1", "54.04"),
        (HCT, 0.5405, "{fraction}", "54.05"),
        (TT, 20, "nmol/L", "576.84"),  # 20 x 28.842
        (TT, 5.5, "ng/mL", "550"),
        (PSA, 4100, "ng/L", "4.1"),
        (E2, 100, "pmol/L", "27.238"),
        (TSH, 2.5, "u[IU]/mL", "2.5"),
        (TSH, 0.0025, "m[IU]/mL", "2.5"),
        (A1C, 53, "mmol/mol", "7.00044"),  # 0.09148 x 53 + 2.152
        (K, 5.1, "meq/L", "5.1"),
        (LH, 5, "[IU]/L", "5"),
        (TPO, 35, "U/mL", "35"),
    ],
)
def test_ucum_units_are_converted_exactly(measure, ehr, code, value, unit, expected):
    found = measure(of(ehr, code, value, system=UCUM, code=unit, unit="shown"))
    assert found.value == Decimal(expected)
    assert (found.reported, found.reported_unit, found.problem) == (str(value), "shown", "")


@pytest.mark.parametrize(
    ("code", "value", "unit", "expected"),
    [
        (HCT, 0.54, "l/l", "54"),
        (HCT, 54, "vol%", "54"),
        (TT, 550, "NG/DL", "550"),
        (TT, 550, " ng / dL ", "550"),
        (PSA, 4.1, "mcg/L", "4.1"),
        (PSA, 4.1, "µg/L", "4.1"),
        (PSA, 4.1, "μg/l", "4.1"),
        (TSH, 2.5, "uIU/mL", "2.5"),
        (TSH, 2.5, "mIU/L", "2.5"),
        (TSH, 2.5, "µIU/mL", "2.5"),
        (K, 5.1, "mEq/L", "5.1"),
        (LH, 5, "IU/L", "5"),
    ],
)
def test_spellings_of_other_systems_are_understood(measure, ehr, code, value, unit, expected):
    for system in ({}, {"system": "http://example.org/units"}):
        found = measure(of(ehr, code, value, unit=unit, **system))
        assert (found.value, found.problem) == (Decimal(expected), "")


def test_the_ucum_code_goes_before_the_text(measure, ehr):
    assert measure(of(ehr, HCT, 0.5, system=UCUM, code="L/L", unit="%")).value == 50


def test_the_code_of_another_system_does_not(measure, ehr):
    assert measure(of(ehr, HCT, 0.5, system="urn:local", code="%", unit="L/L")).value == 50


def test_a_code_alone_is_read_as_a_spelling(measure, ehr):
    assert measure(of(ehr, HCT, 0.5, code="l/l")).value == 50


def test_a_sloppy_ucum_code_is_read_as_a_spelling(measure, ehr):
    assert measure(of(ehr, TT, 550, system=UCUM, code="ng/dl")).value == 550


def test_the_text_stands_in_for_a_ucum_code_that_is_no_unit(measure, ehr):
    assert measure(of(ehr, TT, 550, system=UCUM, code="nanograms", unit="ng/dL")).value == 550


def test_the_text_does_not_stand_in_for_a_unit_of_another_dimension(measure, ehr):
    found = measure(of(ehr, TSH, 2.5, system=UCUM, code="mg/dL", unit="mIU/L"))
    assert (found.value, found.problem) == (None, "unknown_unit")


@pytest.mark.parametrize(
    ("code", "unit"), [(TSH, "mg/dL"), (HCT, "g/dL"), (PSA, "furlong"), (K, "nmol/L"), (HCT, "{unknown}")]
)
def test_a_unit_that_is_unknown_or_of_another_dimension_is_not_compared(measure, ehr, code, unit):
    found = measure(of(ehr, code, 5, system=UCUM, code=unit))
    assert (found.value, found.problem, found.reported) == (None, "unknown_unit", "5")


# -- missing units -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.10, "10"), (0.75, "75"), (0.54, "54"), (10, "10"), (75, "75"), (47.2, "47.2"),
        (0.0999, None), (0.7501, None), (9.99, None), (75.1, None), (1, None), (0, None), (-5, None),
    ],
)  # fmt: skip
@pytest.mark.parametrize("unit", [{}, {"unit": ""}, {"unit": " "}, {"system": UCUM}])
def test_only_a_hematocrit_without_unit_is_inferred(measure, ehr, value, expected, unit):
    found = measure(of(ehr, HCT, value, **unit))
    assert found.value == (None if expected is None else Decimal(expected))
    assert found.unit_inferred is (expected is not None)
    assert found.problem == ("no_unit" if expected is None else "")


@pytest.mark.parametrize("code", [PSA, TT, TSH, E2, A1C, K])
def test_no_other_marker_is_inferred(measure, ehr, code):
    found = measure(of(ehr, code, 5))
    assert (found.value, found.problem, found.unit_inferred) == (None, "no_unit", False)


# -- plausibility ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "value", "unit", "problem"),
    [
        (HCT, 10, "%", ""), (HCT, 9.9, "%", "implausible"), (HCT, 75, "%", ""), (HCT, 75.1, "%", "implausible"),
        (HCT, 0.52, "%", "implausible"),  # an explicit unit wins
        (HCT, 0.1, "L/L", ""), (HCT, 0.099, "L/L", "implausible"),
        (TSH, 2.5, "m[IU]/mL", "implausible"),  # 2500 m[IU]/L
        (TSH, 1000, "m[IU]/L", ""), (TSH, 1000.1, "m[IU]/L", "implausible"),
        (PSA, 0, "ng/mL", ""), (PSA, -0.1, "ng/mL", "implausible"),
        (TT, 10000, "ng/dL", ""), (TT, 10001, "ng/dL", "implausible"), (TT, 0.4, "ng/dL", "implausible"),
        (K, 1e30, "mmol/L", "implausible"),
    ],
)  # fmt: skip
def test_values_outside_the_plausible_range_are_not_compared(measure, ehr, code, value, unit, problem):
    found = measure(of(ehr, code, value, system=UCUM, code=unit))
    assert found.problem == problem
    assert (found.value is None) is bool(problem)
    assert found.reported


# -- units that are known and never converted ---------------------------------------------------------


@pytest.mark.parametrize(("code", "unit"), [("13967-5", "ug/dL"), ("13967-5", "mg/L"), ("2942-1", "ug/dL")])
def test_shbg_by_mass_was_done_and_is_silent(measure, ehr, code, unit):
    found = measure(of(ehr, code, 300, system=UCUM, code=unit))
    assert (found.value, found.problem, found.reported) == (None, "no_value", "300")
    assert "silent" in found.traits


def test_shbg_by_mass_is_not_used_whatever_its_unit(measure, ehr):
    found = measure(of(ehr, "2942-1", 30, system=UCUM, code="nmol/L"))
    assert (found.value, "silent" in found.traits) == (None, True)


def test_shbg_in_moles_is_compared(measure, ehr):
    found = measure(of(ehr, SHBG, 30, system=UCUM, code="nmol/L"))
    assert (found.value, found.traits) == (Decimal(30), frozenset())


@pytest.mark.parametrize(
    ("code", "unit", "against"),
    [
        ("2986-8", "nmol/L", True), ("2986-8", "ng/dL", False),
        ("14913-8", "ng/dL", True), ("14913-8", "nmol/L", False),
        ("2823-3", "meq/L", False), ("4544-3", "L/L", False), ("4548-4", "mmol/mol", False),
    ],
)  # fmt: skip
def test_a_unit_against_its_code_is_noted_and_decides(measure, ehr, code, unit, against):
    value = {"L/L": 0.5}.get(unit, 5)
    found = measure(of(ehr, code, value, system=UCUM, code=unit))
    assert ("unit_against_code" in found.traits) is against
    assert found.problem in ("", "implausible")


# -- values that are no Quantity ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "text", "expected"),
    [
        (PSA, "<0.1 ng/mL", ("0.1", "<", "")),
        (PSA, "< 0.1 ng/mL", ("0.1", "<", "")),
        (PSA, "> 150 ng/mL", ("150", ">", "")),
        (PSA, ">=150ng/mL", ("150", ">=", "")),
        (PSA, "≤0.1 ng/mL", ("0.1", "<=", "")),
        (PSA, "0.1 ng/mL", ("0.1", "", "")),
        (PSA, " 0.1  µg/L ", ("0.1", "", "")),
        (PSA, "<0.1", (None, "<", "no_unit")),
        (PSA, "0.1", (None, "", "no_unit")),
        (HCT, "47.2", ("47.2", "", "")),
        (HCT, "0.472 L/L", ("47.2", "", "")),
        (HCT, "80 %", (None, "", "implausible")),
        (PSA, "0.1 (L)", (None, "", "text")),
        (PSA, "negative", (None, "", "text")),
        (PSA, "0,1 ng/mL", (None, "", "text")),
        (PSA, "1 - 2 ng/mL", (None, "", "text")),
        (PSA, "", (None, "", "text")),
        (PSA, "1" * 5000 + " ng/mL", (None, "", "text")),
        (PSA, "1e999999999 ng/mL", (None, "", "text")),
    ],
)
def test_numbers_in_text(measure, ehr, code, text, expected):
    found = measure(ehr.observation(code=code, valueQuantity=None, valueString=text))
    value, *others = expected
    assert found.value == (None if value is None else Decimal(value))
    assert [found.comparator, found.problem] == others


@pytest.mark.parametrize(
    ("element", "value", "problem"),
    [
        ("valueInteger", 47, ""),
        ("valueInteger", 5, "no_unit"),
        ("valueRange", {"low": {"value": 40}}, "range"),
        ("valueRatio", {"numerator": {"value": 1}}, "range"),
        ("valueCodeableConcept", {"text": "normal"}, "text"),
        ("valueBoolean", False, "text"),
        ("valueDateTime", "2026-01-01", "text"),
        ("valueSampledData", {}, "text"),
        ("valueQuantity", {}, "no_value"),
        ("valueQuantity", {"unit": "%"}, "no_value"),
        ("valueQuantity", {"value": None, "unit": "%"}, "no_value"),
    ],
)
def test_other_values_were_done_and_are_not_compared(measure, ehr, element, value, problem):
    found = measure(ehr.observation(**{"valueQuantity": None, element: value}))
    assert found.problem == problem
    assert (found.value is None) is bool(problem)


def test_a_coded_value_is_shown_in_words(measure, ehr):
    value = {"coding": [{"code": "260385009", "display": "Negative"}]}
    assert measure(ehr.observation(valueQuantity=None, valueCodeableConcept=value)).reported == "Negative"


def test_a_pregnancy_test_has_no_number(measure, ehr):
    found = measure(ehr.observation(code="2106-3", value=1, unit="1"))
    assert (found.marker, found.value, found.problem) == ("HCGQ", None, "text")


# -- comparators ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "kept"),
    [("<", "<"), ("<=", "<="), (">", ">"), (">=", ">="), ("ad", "ad"), ("~", "ad"), ("sampled", "ad"), (None, "")],
)
def test_comparators(measure, ehr, written, kept):
    found = measure(of(ehr, PSA, 0.1, system=UCUM, code="ng/mL", comparator=written))
    assert (found.comparator, found.value) == (kept, Decimal("0.1"))
    assert found.reported == f"{kept}0.1"


def test_a_number_is_shown_as_it_was_written(read, ehr):
    text = ehr.observation(value=0).__repr__().replace("'", '"').replace('"value": 0', '"value": 47.20')
    chart = read(labs=b'{"resourceType":"Bundle","entry":[{"resource":%s}]}' % text.encode())
    assert chart.measurements["HCT"][0].reported == "47.20"
