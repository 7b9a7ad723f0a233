"""Expected values are worked out by hand from the factors in the comments."""

from __future__ import annotations

from decimal import Context, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cds_service.knowledge.model import Terms
from cds_service.knowledge.systems import UCUM
from cds_service.knowledge.units import (
    LONGEST_UNIT,
    display_text,
    for_display,
    infer_unit,
    normalise_unit,
    plausible,
    resolve_unit,
    to_canonical,
)


@pytest.mark.parametrize(
    ("marker", "value", "unit", "canonical", "shown"),
    [
        ("HCT", "0.54", "L/L", "54.00", "54.0"),
        ("HCT", "0.5404", "L/L", "54.0400", "54.0"),
        ("HCT", "0.5405", "L/L", "54.0500", "54.1"),
        ("HCT", "0.552", "{fraction}", "55.2", "55.2"),
        ("HCT", "54", "mL/dL", "54", "54.0"),
        ("TT", "20", "nmol/L", "576.84", "577"),  # 20 x 28.842
        ("TT", "6.5", "ng/mL", "650", "650"),
        ("TT", "576.5", "ng/dL", "576.5", "577"),  # half up
        ("FT", "13.089", "ng/dL", "130.89", "131"),
        ("FT", "300", "pmol/L", "86.526", "86.5"),  # 300 x 0.28842
        ("E2", "100", "pmol/L", "27.238", "27.2"),
        ("PSA", "4.005", "ug/L", "4.005", "4.01"),
        ("HGB", "11.2", "mmol/L", "18.04768", "18.0"),  # 11.2 x 1.6114
        ("HGB", "180", "g/L", "18.0", "18.0"),
        ("TSH", "0.0995", "u[IU]/mL", "0.0995", "0.100"),
        ("TSH", "2.5", "m[IU]/mL", "2500", "2500.000"),
        ("A1C", "53", "mmol/mol", "7.00044", "7.0"),  # 53 x 0.09148 + 2.152 = 4.84844 + 2.152
        ("A1C", "48", "mmol/mol", "6.54304", "6.5"),
        ("CREA", "115", "umol/L", "1.30088", "1.30"),  # 115 x 0.011312
        ("PRL", "530", "m[IU]/L", "25.016", "25.0"),  # 530 x 0.0472
        ("K", "5.05", "meq/L", "5.05", "5.1"),
        ("CHOL", "5.2", "mmol/L", "201.058", "201"),  # 5.2 x 38.665
        ("LDL", "4.9", "mmol/L", "189.4585", "189"),
        ("TRIG", "5.65", "mmol/L", "500.4205", "500"),  # 5.65 x 88.57
        ("GLU", "7.0", "mmol/L", "126.1092", "126"),
        ("DHEAS", "5", "umol/L", "184.245", "184"),
        ("FT4", "15", "pmol/L", "1.165305", "1.17"),
        ("AMH", "10", "pmol/L", "1.40", "1.40"),
        ("IGF1Z", "2.05", "1", "2.05", "2.1"),
        ("IGF1Z", "-2.05", "{Z-score}", "-2.05", "-2.1"),  # half up is away from zero
    ],
)
def test_conversion_and_display(
    terms: Terms, marker: str, value: str, unit: str, canonical: str, shown: str
) -> None:
    known = terms.markers[marker]
    converted = to_canonical(known, Decimal(value), unit)
    assert converted == Decimal(canonical)
    assert display_text(known, converted) == shown


def test_three_significant_digits(terms: Terms) -> None:
    shbg = terms.markers["SHBG"]
    texts = ["0.12345", "1.005", "9.995", "99.95", "1234.5", "999500", "5", "0"]
    assert [display_text(shbg, Decimal(text)) for text in texts] == [
        "0.123",
        "1.01",
        "10.0",
        "100",
        "1230",
        "1000000",
        "5",
        "0",
    ]


def test_one_rounding_only(terms: Terms) -> None:
    # 53.9499 is 53.9; rounding it first to two decimals and then to one would make it 54.0
    assert for_display(terms.markers["HCT"], Decimal("53.9499")) == Decimal("53.9")


def test_absurd_numbers_come_out_implausible(terms: Terms) -> None:
    psa = terms.markers["PSA"]
    huge = to_canonical(psa, Decimal("9E+999999"), "ng/L")
    assert not plausible(psa, huge)
    assert for_display(psa, huge) == huge
    tiny = to_canonical(terms.markers["TT"], Decimal("1E-999999"), "ng/dL")
    assert not plausible(terms.markers["TT"], tiny)


def test_unit_without_factor(terms: Terms) -> None:
    with pytest.raises(KeyError):
        to_canonical(terms.markers["TSH"], Decimal(1), "mg/dL")


@pytest.mark.parametrize(
    ("written", "ucum"),
    [
        ("ng/dl", "ng/dL"),
        ("NG/DL", "ng/dL"),
        (" ng / dL ", "ng/dL"),
        ("nmol/l", "nmol/L"),
        ("nM", "nmol/L"),
        ("µg/l", "ug/L"),  # micro sign
        ("\N{GREEK SMALL LETTER MU}g/L", "ug/L"),
        ("mcg/L", "ug/L"),
        ("MCG/DL", "ug/dL"),
        ("㎍/dl", "ug/dL"),
        ("IU/L", "[IU]/L"),
        ("mIU/mL", "m[IU]/mL"),
        ("uIU/mL", "u[IU]/mL"),
        ("µIU/mL", "u[IU]/mL"),
        ("uU/ML", "uU/mL"),
        ("mU/l", "mU/L"),
        ("mEq/L", "meq/L"),
        ("gm/dL", "g/dL"),
        ("g%", "g/dL"),
        ("l/l", "L/L"),
        ("vol%", "%"),
        ("PCV %", "%"),
        ("% Hb", "%"),
        ("percent", "%"),
        ("ratio", "{ratio}"),
        ("SDS", "{Z-score}"),
        ("U/l", "U/L"),
        ("µkat/L", "ukat/L"),
        ("K/µL", None),  # not in the table: no guess
        ("furlong", None),
        ("", ""),
        ("   ", ""),
    ],
)
def test_spellings(terms: Terms, written: str, ucum: str | None) -> None:
    assert resolve_unit(written, "", "", terms.spellings) == ucum


@pytest.mark.parametrize(
    ("written", "normal"),
    [
        ("ng / dL", "ng/dl"),
        ("\N{MICRO SIGN}g/dL", "ug/dl"),
        ("\N{GREEK SMALL LETTER MU}IU / mL", "uiu/ml"),
        ("mcg/dL", "ug/dl"),
        ("MCG / 24 h", "ug/24h"),
        ("mmol/L", "mmol/l"),
    ],
)
def test_spelling_is_normalised_however_long_it_is(written: str, normal: str) -> None:
    """Long ones are not remembered, and read alike."""
    assert normalise_unit(written) == normal
    assert normalise_unit(written + " " * LONGEST_UNIT) == normal


def test_every_unit_of_a_marker_is_understood_as_itself(terms: Terms) -> None:
    for marker in terms.markers.values():
        for unit in [*marker.factors, *marker.not_converted]:
            assert resolve_unit("", UCUM, unit, terms.spellings) == unit


def test_the_ucum_code_decides(terms: Terms) -> None:
    assert resolve_unit("ng/dL", UCUM, "nmol/L", terms.spellings) == "nmol/L"
    assert resolve_unit("%", UCUM, "1", terms.spellings) == "1"


def test_a_wrong_ucum_code_is_not_rescued_by_the_text(terms: Terms) -> None:
    assert resolve_unit("ng/dL", UCUM, "[lb_av]", terms.spellings) is None


def test_a_code_of_another_system_does_not_decide(terms: Terms) -> None:
    assert resolve_unit("ng/dL", "http://example.org/units", "42", terms.spellings) == "ng/dL"
    assert resolve_unit("", "", "ng/dL", terms.spellings) == "ng/dL"


@pytest.mark.parametrize(
    ("value", "unit"),
    [
        ("0.0999", ""),
        ("0.10", "{fraction}"),
        ("0.54", "{fraction}"),
        ("0.75", "{fraction}"),
        ("0.7501", ""),
        ("9.99", ""),
        ("10", "%"),
        ("75", "%"),
        ("75.01", ""),
    ],
)
def test_only_hematocrit_is_inferred(terms: Terms, value: str, unit: str) -> None:
    assert infer_unit(terms.markers["HCT"], Decimal(value)) == unit
    others = [marker for marker in terms.markers.values() if marker.key != "HCT"]
    assert not any(infer_unit(marker, Decimal(value)) for marker in others)


def test_a_percentage_of_half_a_percent_is_implausible(terms: Terms) -> None:
    hct = terms.markers["HCT"]
    assert not plausible(hct, to_canonical(hct, Decimal("0.52"), "%"))
    assert plausible(hct, Decimal("10.0"))
    assert plausible(hct, Decimal("75.0"))
    assert not plausible(hct, Decimal("75.01"))


VALUES = st.decimals(min_value="0.0001", max_value="99999", allow_nan=False, allow_infinity=False, places=4)


@given(VALUES, st.data())
def test_there_and_back(terms: Terms, value: Decimal, data: st.DataObject) -> None:
    marker = data.draw(st.sampled_from([m for m in terms.markers.values() if m.factors]))
    unit = data.draw(st.sampled_from(sorted(marker.factors)))
    factor, offset = marker.factors[unit]
    exact = Context(prec=200)
    back = exact.divide(exact.subtract(to_canonical(marker, value, unit), offset), factor)
    assert abs(back - value) <= Decimal("1e-150")


@given(VALUES, VALUES, st.data())
def test_order_survives_conversion_and_rounding(
    terms: Terms, one: Decimal, other: Decimal, data: st.DataObject
) -> None:
    marker = data.draw(st.sampled_from([m for m in terms.markers.values() if m.factors]))
    unit = data.draw(st.sampled_from(sorted(marker.factors)))
    low, high = (to_canonical(marker, value, unit) for value in sorted([one, other]))
    assert low <= high
    assert for_display(marker, low) <= for_display(marker, high)


@given(VALUES)
def test_rounding_is_off_by_half_a_step_at_most_and_settles(terms: Terms, value: Decimal) -> None:
    hct = terms.markers["HCT"]
    shown = for_display(hct, value)
    assert abs(shown - value) <= Decimal("0.05")
    assert for_display(hct, shown) == shown


@given(st.text(alphabet="µμmcgGuUdDlLkK/[]{}%1. \t"))
def test_normalising_settles(text: str) -> None:
    once = normalise_unit(text)
    assert normalise_unit(once) == once


@given(st.text())
def test_any_text_is_a_known_unit_an_unknown_one_or_none(terms: Terms, text: str) -> None:
    found = resolve_unit(text, "", "", terms.spellings)
    assert found is None or found == "" or found in terms.spellings.values()
