from __future__ import annotations

from decimal import Decimal

import pytest

from cds_service.knowledge.model import Terms

LOINC = "http://loinc.org"

# Every result code of the reference, by marker family.
CODES = {
    "TT": "2986-8 14913-8 49041-7 70239-9 83116-4 83115-6",
    "FT": "2991-8 14914-6 49042-5 70240-7 25987-9 96559-0 103227-5",
    "FTPCT": "15432-8",
    "BIOT": "2990-0 41018-3",
    "BIOTPCT": "6891-6",
    "E2": "2243-4 14715-7 83096-8 83097-6 35384-7",
    "SHBG": "13967-5 2942-1",
    "ALB": "1751-7 61151-7 61152-5 2862-1 54347-0",
    "LH": "10501-5 83103-2",
    "FSH": "15067-2 83098-4",
    "HCT": "4544-3 20570-8 4545-0 48703-3 31100-1 32354-3",
    "HGB": "718-7 20509-6 30350-3 30313-1 59260-0 75928-2",
    "PSA": "2857-1 35741-8 83112-3",
    "FPSA": "10886-0 83113-1",
    "FPSAPCT": "12841-3",
    "TSH": "3016-3 11579-0 11580-8",
    "FT4": "3024-7 14920-3 6892-4 83121-4 83122-2",
    "FT3": "3051-0 14928-6 83126-3 83127-1",
    "RT3": "3052-8 14929-4",
    "TT3": "3053-6 14930-2",
    "TT4": "3026-2 14921-1",
    "TPO": "8099-4 8098-6",
    "PROG": "2839-9 14890-8 83109-9 83110-7",
    "PRL": "2842-3 20568-2 15081-3 83111-5",
    "DHEAS": "2191-5 14688-6",
    "AMH": "38476-8 48377-6 83104-0 83105-7",
    "INHB": "34319-4 56940-0",
    "IGF1": "2484-4 29775-4",
    "IGF1Z": "73561-3",
    "CTX": "41171-0",
    "OC": "2697-1 15084-7",
    "P1NP": "77370-5 47255-5",
    "CHOL": "2093-3 14647-2",
    "HDL": "2085-9 14646-4",
    "LDL": "13457-7 18262-6 2089-1 22748-8 39469-2",
    "TRIG": "2571-8 14927-8",
    "NHDL": "43396-1 70204-3",
    "ALT": "1742-6 1743-4 1744-2 76625-3",
    "AST": "1920-8",
    "CREA": "2160-0 14682-9",
    "K": "2823-3 6298-4 77142-8",
    "NA": "2951-2",
    "GLU": "2345-7 14749-6 1558-6 14771-0",
    "A1C": "4548-4 17856-6 4549-2 59261-8",
    "CA": "17861-6 2000-8",
    "HCG": "19080-1 21198-7",
    "HCGQ": "2118-8 2110-5 2106-3 80384-1",
}


def test_all_codes_and_no_other(terms: Terms) -> None:
    expected = {(LOINC, code): marker for marker, codes in CODES.items() for code in codes.split()}
    assert {key: code.marker for key, code in terms.codes.items()} == expected
    assert set(terms.markers) == set(CODES)


DENIED = """2013-7 14913-5 14635-7 1854-9 14933-6 2193-1 47738-0 59221-2 34611-4 11153-4 17809-5 30398-2
    70168-0 70169-8 24414-5 47616-8"""


@pytest.mark.parametrize("code", DENIED.split())
def test_denied_codes(terms: Terms, code: str) -> None:
    assert (LOINC, code) not in terms.codes
    assert terms.denied[code]


@pytest.mark.parametrize(
    ("code", "marker"),
    [("49041-7", "TT"), ("3053-6", "TT3"), ("2942-1", "SHBG")],
)
def test_codes_that_others_misread(terms: Terms, code: str, marker: str) -> None:
    assert terms.codes[LOINC, code].marker == marker


def test_a_panel_code_is_no_result(terms: Terms) -> None:
    assert (LOINC, "58952-3") not in terms.codes
    assert terms.panels[LOINC, "58952-3"].markers == {"TT", "FT"}


@pytest.mark.parametrize(
    ("code", "traits"),
    [
        ("32354-3", {"estimated"}),
        ("31100-1", {"estimated"}),
        ("48703-3", {"estimated"}),
        ("4544-3", set()),
        ("96559-0", {"calculated"}),
        ("103227-5", {"calculated"}),
        ("2991-8", set()),
        ("1558-6", {"fasting"}),
        ("14771-0", {"fasting"}),
        ("2345-7", set()),
        ("2942-1", {"mass_reported"}),
        ("13967-5", set()),
    ],
)
def test_traits(terms: Terms, code: str, traits: set[str]) -> None:
    assert terms.codes[LOINC, code].traits == traits


@pytest.mark.parametrize(
    ("marker", "unit", "low", "high", "decimals"),
    [
        ("TT", "ng/dL", "0.5", "10000", 0),
        ("FT", "pg/mL", "0.01", "2000", None),
        ("E2", "pg/mL", "0.1", "30000", 1),
        ("SHBG", "nmol/L", "0.5", "1000", None),
        ("HCT", "%", "10.0", "75.0", 1),
        ("HGB", "g/dL", "3.0", "25.0", 1),
        ("PSA", "ng/mL", "0", "20000", 2),
        ("TSH", "m[IU]/L", "0", "1000", 3),
        ("K", "mmol/L", "1.5", "10.0", 1),
        ("NA", "mmol/L", "90", "200", None),
        ("CREA", "mg/dL", "0.05", "30", 2),
        ("PRL", "ng/mL", "0.1", "20000", 1),
        ("A1C", "%", "2.5", "25", 1),
        ("CHOL", "mg/dL", "20", "1500", None),
        ("HDL", "mg/dL", "1", "200", None),
        ("LDL", "mg/dL", "0", "1000", None),
        ("NHDL", "mg/dL", "5", "1400", None),
        ("TRIG", "mg/dL", "5", "15000", None),
        ("IGF1Z", "{Z-score}", "-10", "20", 1),
        ("HCG", "m[IU]/mL", "0", "5000000", None),
        ("HCGQ", "", None, None, None),
    ],
)
def test_unit_range_precision(
    terms: Terms, marker: str, unit: str, low: str | None, high: str | None, decimals: int | None
) -> None:
    known = terms.markers[marker]
    assert known.unit == unit
    assert (known.low, known.high) == (low and Decimal(low), high and Decimal(high))
    assert known.decimals == decimals


def test_another_quantity_is_a_marker_of_its_own_that_counts(terms: Terms) -> None:
    counted = {key: marker.counts_as for key, marker in terms.markers.items() if marker.counts_as}
    assert counted == {"BIOTPCT": "BIOT", "FPSAPCT": "FPSA", "IGF1Z": "IGF1", "HCGQ": "HCG"}


def test_safety_markers(terms: Terms) -> None:
    safety = {key for key, marker in terms.markers.items() if marker.safety}
    assert safety == {"HCT", "PSA", "K", "CREA", "TSH", "IGF1"}


def test_shbg_by_mass_is_known_and_never_converted(terms: Terms) -> None:
    shbg = terms.markers["SHBG"]
    assert shbg.not_converted == {"ug/dL", "mg/L", "ug/mL"}
    assert set(shbg.factors) == {"nmol/L"}


def test_antibody_units_of_the_assay(terms: Terms) -> None:
    tpo = terms.markers["TPO"]
    assert tpo.unstandardised == {"U/mL"}
    assert tpo.factors["U/mL"] == (Decimal(1), Decimal(0))


def test_assays_that_biotin_disturbs(terms: Terms) -> None:
    def of(kind: str) -> set[str]:
        return {key for key, marker in terms.markers.items() if marker.assay == kind}

    assert of("sandwich") == {"TSH", "LH", "FSH", "PSA", "PRL", "AMH", "HCG", "IGF1", "IGF1Z", "OC", "CTX"}
    assert of("competitive") == {"FT4", "FT3", "TT", "E2", "PROG", "DHEAS"}


def test_panels(terms: Terms) -> None:
    assert {code: panel.key for (_, code), panel in terms.panels.items()} == {
        "58410-2": "CBC",
        "57021-8": "CBC",
        "69742-5": "CBC",
        "24317-0": "CBC",
        "24331-1": "LIPID",
        "57698-3": "LIPID",
        "24323-8": "CMP",
        "24321-2": "BMP",
        "51990-0": "BMP",
        "24325-3": "HEPATIC",
        "24348-5": "TSHFT4",
        "58952-3": "TTFT",
        "58716-2": "TTBIO",
        "34549-6": "FSHLH",
        "87556-7": "TPOTG",
    }
    assert terms.panels[LOINC, "24323-8"].markers == {"ALB", "ALT", "AST", "CA", "CREA", "GLU", "K", "NA"}


@pytest.mark.parametrize(
    ("test", "code", "done_by", "safety"),
    [
        ("CBC", "58410-2", [{"HCT"}], True),
        ("HCT_OR_HGB", "58410-2", [{"HCT"}, {"HGB"}], True),
        ("LIPID", "57698-3", [{"CHOL", "HDL", "TRIG"}], False),
        ("CMP", "24323-8", [{"ALT", "CREA", "GLU", "CA"}], False),
        ("FT", "2991-8", [{"FT"}, {"BIOT"}], False),
        ("TT", "2986-8", [{"TT"}], False),
        ("PSA", "2857-1", [{"PSA"}], True),
        ("K", "2823-3", [{"K"}], True),
        ("CREA", "2160-0", [{"CREA"}], True),
        ("TSH", "3016-3", [{"TSH"}], True),
        ("IGF1", "2484-4", [{"IGF1"}], True),
        ("BMP", "24321-2", [{"CA", "CREA", "GLU", "K", "NA"}], False),
        ("A1C_OR_GLU", "4548-4", [{"A1C"}, {"GLU"}], False),
    ],
)
def test_orders(terms: Terms, test: str, code: str, done_by: list[set[str]], safety: bool) -> None:
    known = terms.tests[test]
    assert (known.order_system, known.order_code) == (LOINC, code)
    assert list(known.done_by) == done_by
    assert known.safety is safety


def test_order_codes_of_the_reference(terms: Terms) -> None:
    orders = {test.key: test.order_code for test in terms.tests.values()}
    expected = {
        "E2": "2243-4",
        "SHBG": "13967-5",
        "LH": "10501-5",
        "FSH": "15067-2",
        "FT4": "3024-7",
        "FT3": "3051-0",
        "RT3": "3052-8",
        "PROG": "2839-9",
        "PRL": "2842-3",
        "DHEAS": "2191-5",
        "AMH": "38476-8",
        "CTX": "41171-0",
        "OC": "2697-1",
        "A1C": "4548-4",
    }
    assert {key: orders[key] for key in expected} == expected


def test_free_testosterone_may_be_calculated(terms: Terms) -> None:
    assert terms.tests["FT"].same_day == {"TT", "SHBG"}
    assert terms.tests["FT"].same_day_switch == "calculated_ft_counts"


def test_a_shared_order_code_is_shown_by_its_plainer_name(terms: Terms) -> None:
    names = {test.order_code: test.name for test in terms.tests.values()}
    assert names["58410-2"] == "CBC (with hematocrit)"
    assert names["4548-4"] == "HbA1c"
