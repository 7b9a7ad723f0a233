"""Kind `calculated`: free testosterone by Vermeulen (5.1), against the worked examples."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cds_service.rules.calculated import vermeulen
from cds_service.rules.outcome import Finding
from tests.rules.conftest import (
    TODAY,
    card,
    cards,
    condition,
    course,
    found,
    gap,
    judge,
    measurement,
    messages,
    month,
    on_testosterone,
    outcome,
    result_of,
    switched,
)

PER_NMOL = Decimal("28.842")

# Total nmol/L, SHBG nmol/L, albumin g/L, then free pmol/L, pg/mL, ng/dL, %, bioavailable nmol/L, ng/dL.
TABLE = {
    "V1": ("10", "40", "43", "173.88", "50.15", "5.015", "1.739", "4.075", "117.5"),
    "V2": ("20", "30", "43", "453.82", "130.89", "13.089", "2.269", "10.635", "306.7"),
    "V3": ("15.6", "22", "45", "386.68", "111.53", "11.153", "2.479", "9.465", "273.0"),
    "V4": ("8", "60", "43", "102.77", "29.64", "2.964", "1.285", "2.408", "69.5"),
    "V5": ("12", "12", "40", "393.70", "113.55", "11.355", "3.281", "8.610", "248.3"),
    "V6": ("25", "55", "43", "398.29", "114.87", "11.487", "1.593", "9.334", "269.2"),
    "V7": ("1.2", "45", "43", "17.74", "5.12", "0.512", "1.478", "0.416", "12.0"),
    "V8": ("35", "18", "47", "1015.95", "293.02", "29.302", "2.903", "25.929", "747.8"),
    "V9": ("6.5", "15", "38", "194.72", "56.16", "5.616", "2.996", "4.055", "117.0"),
    "V10": ("10.4015", "30", "43", "216.24", "62.37", "6.237", "2.079", "5.068", "146.2"),
    "V11": ("22.5366", "45", "45", "397.64", "114.69", "11.469", "1.764", "9.734", "280.7"),
}
CONSTANTS = {"k_albumin": Decimal("3.6e4"), "k_shbg": Decimal("1e9"), "albumin_mass": Decimal(69000)}


def near(value: object, printed: str) -> bool:
    """Within 0.1 %, or within half a unit of the last printed digit where that is coarser."""
    wanted = Decimal(printed)
    exponent = wanted.as_tuple().exponent
    assert isinstance(value, Decimal)
    assert isinstance(exponent, int)
    return abs(value - wanted) <= max(wanted / 1000, Decimal(5).scaleb(exponent - 1))


def draw(total: str = "500", shbg: str = "30", ago: int = 10, *more, **parts):
    return on_testosterone(measurement("TT", total, ago), measurement("SHBG", shbg, ago), *more, **parts)


def calculated(*args, **parts):
    knowledge = args[0]
    return found(draw(*args[1:], **parts), knowledge, "CALC-FT").values


# -- the formula -------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", TABLE)
def test_the_worked_examples_by_the_formula(row):
    total, shbg, albumin, free, *_, bioavailable, _ = TABLE[row]
    result = vermeulen(Decimal(total), Decimal(shbg), Decimal(albumin), **CONSTANTS)
    assert near(result.free * Decimal("1e12"), free)
    assert near(result.bioavailable * Decimal("1e9"), bioavailable)


@pytest.mark.parametrize("row", TABLE)
def test_the_worked_examples_by_the_rule(knowledge, row):
    total, shbg, albumin, pmol, pg, ng_dl, percent, _, bioavailable = TABLE[row]
    patient = on_testosterone(
        measurement("TT", Decimal(total) * PER_NMOL, 10),
        measurement("SHBG", shbg, 10),
        measurement("ALB", Decimal(albumin) / 10, 10),
    )
    values = found(patient, knowledge, "CALC-FT").values
    assert near(values["free_pmol"], pmol)
    assert near(values["free_pg"], pg)
    assert near(values["free_ng_dl"], ng_dl)
    assert near(values["percent"], percent)
    assert near(values["bioavailable"], bioavailable)


CONCENTRATION = st.integers(1, 2000).map(lambda tenths: Decimal(tenths) / 10)


@given(total=CONCENTRATION, shbg=CONCENTRATION, albumin=st.integers(10, 80).map(Decimal))
def test_what_is_free_and_what_is_bound_add_up(total, shbg, albumin):
    """T = N FT + Kt FT S / (1 + Kt FT): the mass balance from which the formula comes."""
    free = vermeulen(total, shbg, albumin, **CONSTANTS).free
    nano, k = Decimal("1e-9"), CONSTANTS["k_shbg"]
    n = 1 + CONSTANTS["k_albumin"] * albumin / CONSTANTS["albumin_mass"]
    bound = k * free * shbg * nano / (1 + k * free)
    assert abs(n * free + bound - total * nano) < total * nano * Decimal("1e-20")
    assert 0 < free < total * nano


# -- the inputs --------------------------------------------------------------------------------------


def test_without_albumin_it_is_taken_as_4_3(knowledge):
    """V1, in which albumin is 43 g/L."""
    values = calculated(knowledge, str(10 * PER_NMOL), "40")
    assert near(values["free_pmol"], "173.88")
    assert (values["albumin"], values["albumin_value"]) == (None, Decimal("4.3"))


@pytest.mark.parametrize(("ago", "used"), [(101, None), (100, "4.0"), (10, "4.0")])
def test_albumin_counts_within_90_days(knowledge, ago, used):
    """The draw is of 10 days ago, so albumin of 100 days ago is 90 days off."""
    values = calculated(knowledge, "500", "30", 10, measurement("ALB", "4.0", ago))
    assert (values["albumin"] is not None) is bool(used)
    assert values["albumin_value"] == Decimal(used or "4.3")


def test_albumin_of_the_same_draw_comes_before_a_newer_one(knowledge):
    values = calculated(
        knowledge, "500", "30", 10, measurement("ALB", "5.0", 2), measurement("ALB", "4.0", 10),
        measurement("ALB", "3.0", 15),
    )  # fmt: skip
    assert values["albumin_value"] == Decimal("4.0")


def test_albumin_with_a_comparator_is_not_used(knowledge):
    values = calculated(knowledge, "500", "30", 10, measurement("ALB", "<2.0", 10))
    assert values["albumin_value"] == Decimal("4.3")


FIRST = TODAY.replace(day=1)


@pytest.mark.parametrize(
    ("total", "shbg"),
    [
        (measurement("TT", "500", 10), measurement("SHBG", "30", 11)),  # another day
        (measurement("TT", ">1500", 10), measurement("SHBG", "30", 10)),
        (measurement("TT", "500", 10), measurement("SHBG", "<5", 10)),
        (measurement("TT", "500", 10), measurement("SHBG", None, 10, reported="3.1")),  # mass
        (measurement("TT", "500", 10), measurement("SHBG", "5000", 10, problem="implausible")),
        (measurement("TT", None, 10, problem="no_unit"), measurement("SHBG", "30", 10)),
        (measurement("TT", "500", 10, status="preliminary"), measurement("SHBG", "30", 10)),
        (measurement("TT", "500", 396), measurement("SHBG", "30", 396)),
        (
            measurement("TT", "500", when=month(FIRST)),
            measurement("SHBG", "30", when=month(FIRST)),
        ),
        (measurement("TT", "500", FIRST), measurement("SHBG", "30", when=month(FIRST))),
        (measurement("TT", "500", when=month(FIRST)), measurement("SHBG", "30", FIRST)),
    ],
    ids=[
        *("other day", "TT bound", "SHBG bound", "mass", "implausible", "no unit", "preliminary", "old", "months"),
        *("SHBG of the month", "TT of the month"),
    ],
)
def test_what_is_not_calculated(knowledge, total, shbg):
    assert outcome(on_testosterone(total, shbg), knowledge, "CALC-FT").finding is None


def test_one_specimen_is_one_draw_though_the_days_differ(knowledge):
    patient = on_testosterone(
        measurement("TT", "500", 10, specimen="Specimen/1"), measurement("SHBG", "30", 9, specimen="Specimen/1")
    )
    assert result_of(patient, knowledge, "CALC-FT") == "finding"


def test_the_newest_pair_is_used(knowledge):
    patient = on_testosterone(
        measurement("TT", "400", 2), measurement("TT", "500", 20), measurement("SHBG", "30", 20),
        measurement("TT", "600", 40), measurement("SHBG", "30", 40),
    )  # fmt: skip
    total = found(patient, knowledge, "CALC-FT").values["total"]
    assert total == patient.measurements["TT"][1]


def test_a_measured_value_stands_beside_it(knowledge):
    measured = measurement("FT", "90", 10)
    assert calculated(knowledge, "500", "30", 10, measured)["measured"] == measured
    assert "measured" not in calculated(knowledge, "500", "30", 10, measurement("FT", "90", 11))


def test_never_in_pregnancy(knowledge):
    assert result_of(draw(conditions=[condition("pregnancy")]), knowledge, "CALC-FT") == "not applicable"


# -- where it is told --------------------------------------------------------------------------------


def line_of(finding: Finding) -> bool:
    return "calculated_free_testosterone" in messages(finding)


def test_it_is_a_line_of_the_testosterone_card_and_never_a_card(knowledge):
    evaluation = judge(draw("700"), knowledge)
    assert line_of(card(evaluation, "TT-2"))
    assert "CALC-FT" not in dict(cards(evaluation))


def test_it_is_a_line_of_the_due_tests(knowledge):
    evaluation = judge(draw("500"), knowledge)
    assert line_of(card(evaluation, "MISS-male_trt"))


def test_it_shows_though_it_does_not_count_as_done(knowledge):
    evaluation = judge(draw("500", ago=1), switched(knowledge, calculated_ft_counts=False))
    assert line_of(card(evaluation, "MISS-male_trt"))


def test_a_missing_list_is_not_a_finding(knowledge):
    patient = on_testosterone(measurement("TT", "500", 10), gaps=[gap("SHBG")])
    assert outcome(patient, knowledge, "CALC-FT").finding is None


def test_only_men_on_testosterone(knowledge):
    patient = on_testosterone(measurement("TT", "50", 10), measurement("SHBG", "30", 10), sex="female")
    assert result_of(patient, knowledge, "CALC-FT") == "not applicable"
    assert course().current
