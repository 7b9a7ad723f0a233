"""Who is evaluated, and what the service says where it cannot (2.3, 0.4.19, 0.4.23, 0.4.34)."""

from __future__ import annotations

from datetime import date

import msgspec
import pytest

from cds_service.chart import When
from cds_service.rules.outcome import Evaluation
from tests.rules.conftest import (
    cards,
    chart,
    condition,
    course,
    draft,
    gap,
    judge,
    measurement,
    on_testosterone,
    supply,
    switched,
)

HOOKS = ["patient-view", "order-select", "order-sign"]
ORDERS = HOOKS[1:]


def ids(evaluation: Evaluation) -> set[str]:
    """Rules that have a card, other than due tests."""
    return {finding.rule.id for finding in evaluation.findings if finding.rule.topic != "MISS"}


# -- who is evaluated (2.3) --------------------------------------------------------------------------


@pytest.mark.parametrize("hook", HOOKS)
def test_nothing_is_said_of_the_deceased(knowledge, hook):
    patient = on_testosterone(
        measurement("HCT", "60", 5), drafts=[draft()], gaps=[gap("medications")], patient={"deceased": True}
    )
    evaluation = judge(patient, knowledge, hook)
    assert (evaluation.outcomes, evaluation.findings, evaluation.doubts) == ((), (), ())


@pytest.mark.parametrize(("birth", "adult"), [(date(2008, 11, 23), False), (date(2008, 11, 22), True)])
def test_adults_from_the_18th_birthday_on(knowledge, birth, adult):
    patient = on_testosterone(measurement("HCT", "60", 5), birth=birth, gaps=[gap("PSA")])
    evaluation = judge(patient, knowledge)
    assert ("HCT-1" in ids(evaluation)) is adult
    assert bool(evaluation.doubts) is adult


@pytest.mark.parametrize("hook", ORDERS)
@pytest.mark.parametrize("key", ["TESTOSTERONE", "ESTRADIOL"])
def test_a_hormone_order_for_a_minor_gets_one_card(knowledge, hook, key):
    minor = chart(
        measurement("HCT", "60", 5),
        drafts=[draft(key, form="injection")],
        conditions=[condition("prostate_cancer")],
        birth=date(2008, 11, 23),
        gaps=[gap("medications")],
    )
    evaluation = judge(minor, knowledge, hook)
    assert (cards(evaluation), evaluation.doubts) == ([("SCOPE-3", "info")], ())
    other = msgspec.structs.replace(minor, drafts=(draft("FIVE_ARI"),))
    assert cards(judge(other, knowledge, hook)) == []
    assert cards(judge(minor, knowledge, "patient-view")) == []


def test_the_site_may_move_the_age(knowledge):
    patient = on_testosterone(measurement("HCT", "60", 5), birth=date(2006, 1, 1))
    assert "HCT-1" in ids(judge(patient, knowledge))
    assert judge(patient, switched(knowledge, min_age=21)).findings == ()


# -- SCOPE-1: no usable sex --------------------------------------------------------------------------


def test_without_a_sex_only_the_neutral_safety_rules_run(knowledge):
    patient = on_testosterone(
        measurement("HCT", "55", 5), measurement("PSA", "9", 5), measurement("TT", "1200", 5), sex=None
    )
    assert ids(judge(patient, knowledge)) == {"HCT-1", "SCOPE-1"}
    lower = on_testosterone(measurement("HCT", "53", 5), sex=None)
    assert ids(judge(lower, knowledge)) == {"SCOPE-1"}


def test_scope_1_speaks_only_of_a_therapy_in_scope(knowledge):
    assert cards(judge(chart(sex=None), knowledge)) == []
    assert "SCOPE-1" in ids(judge(chart(sex=None, drafts=[draft()]), knowledge, "order-sign"))
    assert cards(judge(chart(sex=None, drafts=[draft("FIVE_ARI")]), knowledge, "order-sign")) == []
    assert "SCOPE-1" not in ids(judge(on_testosterone(), knowledge))


@pytest.mark.parametrize("hook", ORDERS)
@pytest.mark.parametrize("missing", ["sex", "birth"])
def test_at_ordering_the_scope_cards_are_about_the_draft(knowledge, hook, missing):
    """0.4.8: a course that is current does not make an order of something else speak."""
    course_only = on_testosterone(drafts=[draft("BIOTIN")], **{missing: None})
    assert cards(judge(course_only, knowledge, hook)) == []
    unknown = chart(drafts=[draft("BIOTIN")], gaps=[gap("medications"), gap("conditions")])
    evaluation = judge(unknown, knowledge, hook)
    assert (cards(evaluation), evaluation.doubts) == ([], ())


def test_without_a_sex_the_neutral_order_checks_run(knowledge):
    patient = chart(
        measurement("HCT", "49", 5),
        measurement("PSA", "9", 5),
        drafts=[draft()],
        sex=None,
        conditions=[condition("breast_cancer"), condition("vte"), condition("mi", onset=5)],
    )
    assert ids(judge(patient, knowledge, "order-sign")) == {"C-T-1", "C-T-2b", "C-T-5", "C-T-6", "SCOPE-1"}


# -- SCOPE-2: a woman on a dose for men --------------------------------------------------------------


@pytest.mark.parametrize(
    ("product", "speaks"),
    [
        (supply(weekly_mg=50), True),
        (supply(weekly_mg=49), False),
        (supply(weekly_mg=None), False),
        (supply(agent="testosterone enanthate", weekly_mg=75), True),
        (supply(agent="testosterone undecanoate"), True),
        (supply("oral", "testosterone undecanoate"), False),
        (supply("topical", "testosterone", weekly_mg=175), True),  # 25 mg a day
        (supply("topical", "testosterone", weekly_mg=174), False),
    ],
)
def test_a_dose_for_men_in_a_woman(knowledge, product, speaks):
    patient = chart(measurement("HCT", "55", 5), therapies=[course(supplies=[product])], sex="female")
    evaluation = judge(patient, knowledge)
    assert ("SCOPE-2" in ids(evaluation)) is speaks
    assert "HCT-1" in ids(evaluation)
    if speaks:
        assert not [finding for finding in evaluation.findings if finding.rule.topic == "MISS"]


@pytest.mark.parametrize(
    ("product", "asks"),
    [
        (
            supply("unknown", weekly_mg=50),
            True,
        ),  # 50 mg of cypionate a week are the range of men if they are injected
        (supply("unknown", weekly_mg=49), False),
        (supply("unknown", weekly_mg=None), False),  # in no form is the dose known
        (supply("unknown", "testosterone undecanoate"), True),  # any injection is, no capsule is
        (supply("unknown", "testosterone", weekly_mg=175), True),  # if it is a gel
        (supply("unknown", "testosterone", weekly_mg=174), False),
    ],
)
def test_a_dose_of_unknown_form_in_a_woman(knowledge, product, asks):
    """It is asked, and until it is known the range of women holds: a result above it is not lost."""
    patient = chart(measurement("TT", "500", 5), therapies=[course(supplies=[product])], sex="female")
    evaluation = judge(patient, knowledge)
    (scope,) = [outcome for outcome in evaluation.outcomes if outcome.rule == "SCOPE-2"]
    assert scope.result == ("unknown" if asks else "fine")
    assert [doubt.message for doubt in scope.doubts] == ["route_unknown"] * asks
    assert "TW-1" in ids(evaluation)
    drafted = draft(form="unknown", agent=product.agent, weekly_mg=product.weekly_mg)
    ordering = judge(chart(drafts=[drafted], sex="female"), knowledge, "order-sign")
    assert ({o.result for o in ordering.outcomes if o.rule == "SCOPE-2"} == {"unknown"}) is asks


def test_a_drafted_dose_counts_and_evidence_of_gender_affirming_therapy_ends_it(knowledge):
    drafts = [draft(weekly_mg=100)]
    assert "SCOPE-2" in ids(judge(chart(drafts=drafts, sex="female"), knowledge, "order-sign"))
    affirmed = chart(drafts=drafts, sex="female", conditions=[condition("gender_incongruence")])
    assert "SCOPE-2" not in ids(judge(affirmed, knowledge, "order-sign"))
    assert "SCOPE-2" not in ids(judge(chart(drafts=drafts), knowledge, "order-sign"))


# -- SCOPE-4: no usable birth date -------------------------------------------------------------------


@pytest.mark.parametrize(
    "birth", [None, When(date(2008, 1, 1), date(2008, 12, 31), "year")], ids=["none", "17 or 18"]
)
def test_without_a_birth_date_only_the_safety_rules_of_any_age_run(knowledge, birth):
    patient = on_testosterone(measurement("HCT", "55", 5), measurement("PSA", "9", 5), birth=birth)
    evaluation = judge(patient, knowledge)
    assert ids(evaluation) == {"HCT-1", "SCOPE-4"}
    assert "MISS" not in {finding.rule.topic for finding in evaluation.findings}
    assert cards(judge(chart(birth=birth), knowledge)) == []


@pytest.mark.parametrize("hook", ORDERS)
def test_without_a_birth_date_an_order_runs_four_checks(knowledge, hook):
    patient = chart(
        measurement("HCT", "49", 5),
        measurement("PSA", "9", 5),
        drafts=[draft()],
        birth=None,
        conditions=[
            condition("prostate_cancer"),
            condition("vte"),
            condition("mi", onset=5),
            condition("pregnancy"),
        ],
    )
    evaluation = judge(patient, knowledge, hook)
    assert ids(evaluation) == {"C-T-1", "C-T-2b", "C-T-PREG", "SCOPE-4"}
