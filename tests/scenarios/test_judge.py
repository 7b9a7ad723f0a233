"""The judge sees every difference that an author can write an expectation about."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from cds_service.knowledge.loader import load
from cds_service.knowledge.model import Knowledge
from cds_service.rules.outcome import Evaluation, Outcome
from cds_service.scenarios.facts import Case, Expect, ExpectedCard
from cds_service.scenarios.judge import differences
from cds_service.scenarios.run import Answer

AS_OF = date(2026, 11, 22)
WANTED = ExpectedCard("HCT-1", "critical", summary="Hematocrit 55.2 %", says=("55.2 %",), tests=("CBC",))


@pytest.fixture(scope="module")
def knowledge() -> Knowledge:
    return load()


def card(rule: str = "HCT-1", indicator: str = "critical", **more: Any) -> dict[str, Any]:
    coding = {"system": "http://loinc.org", "code": more.pop("code", "58410-2")}
    return {
        "summary": "Hematocrit 55.2 %",
        "detail": "**Hematocrit**\n55.2 % on 2026\\-11\\-10",
        "indicator": indicator,
        "source": {"label": "", "topic": {"code": rule}},
        "suggestions": [{"actions": [{"resource": {"code": {"coding": [coding]}}}]}],
        **more,
    }


def judged(
    expect: Expect, *cards: dict[str, Any], knowledge: Knowledge, outcomes: tuple[Outcome, ...] = ()
) -> list[str]:
    evaluation = Evaluation("patient-view", AS_OF, outcomes, ())
    return differences(Case("a case", AS_OF, expect=expect), Answer(200, cards, evaluation), knowledge)


def test_as_expected(knowledge: Knowledge) -> None:
    assert judged(Expect(cards=(WANTED,)), card(), knowledge=knowledge) == []


@pytest.mark.parametrize(
    ("got", "problem"),
    [
        ([], "cards: none; expected: critical HCT-1"),
        ([card(indicator="warning")], "cards: warning HCT-1; expected: critical HCT-1"),
        ([card(rule="HCT-2")], "cards: critical HCT-2; expected: critical HCT-1"),
        ([card(), card(rule="PSA-1")], "cards: critical HCT-1, critical PSA-1; expected: critical HCT-1"),
        ([card(summary="Hematocrit 55.3 %")], "summary"),
        ([card(detail="Hematocrit is high")], "the detail lacks '55.2 %'"),
        ([card(code="2857-1")], "suggests 2857-1; expected CBC"),
        ([card(suggestions=[])], "suggests none; expected CBC"),
    ],
)
def test_one_difference_is_told(got: list[dict[str, Any]], problem: str, knowledge: Knowledge) -> None:
    found = judged(Expect(cards=(WANTED,)), *got, knowledge=knowledge)
    assert len(found) == 1
    assert problem in found[0]


def test_order_of_cards_matters(knowledge: Knowledge) -> None:
    wanted = (ExpectedCard("PSA-1", "warning"), ExpectedCard("TT-1", "warning"))
    got = (card("TT-1", "warning"), card("PSA-1", "warning"))
    assert judged(Expect(cards=wanted), *got, knowledge=knowledge) != []


def test_other_cards_where_they_are_allowed(knowledge: Knowledge) -> None:
    expect = Expect(cards=(WANTED,), others="allowed")
    assert judged(expect, card("PSA-1", "warning"), card(), knowledge=knowledge) == []
    assert judged(expect, card("PSA-1", "warning"), knowledge=knowledge) != []


def test_what_must_not_be_said(knowledge: Knowledge) -> None:
    expect = Expect(cards=(ExpectedCard("HCT-1", "critical", not_says=("hematocrit",)),))
    assert "says 'hematocrit'" in judged(expect, card(), knowledge=knowledge)[0]


def test_text_is_found_behind_escapes_line_breaks_and_capitals(knowledge: Knowledge) -> None:
    expect = Expect(cards=(ExpectedCard("HCT-1", "critical", says=("hematocrit** 55.2 % on 2026-11-10",)),))
    assert judged(expect, card(), knowledge=knowledge) == []


@pytest.mark.parametrize("result", ["fine", "not applicable", "suppressed"])
def test_silent(result: Any, knowledge: Knowledge) -> None:
    outcomes = (Outcome("HCT-1", result),)
    assert judged(Expect(silent=("HCT-1",)), knowledge=knowledge, outcomes=outcomes) == []


@pytest.mark.parametrize("result", ["finding", "unknown"])
def test_not_silent(result: Any, knowledge: Knowledge) -> None:
    outcomes = (Outcome("HCT-1", result, "because"),)
    (problem,) = judged(Expect(silent=("HCT-1",)), knowledge=knowledge, outcomes=outcomes)
    assert f"ended in {result} (because)" in problem


def test_a_card_of_a_silent_rule(knowledge: Knowledge) -> None:
    expect = Expect(silent=("HCT-1",), others="allowed")
    assert judged(expect, card(), knowledge=knowledge) == ["HCT-1: has a card and should be silent"]


def test_unknown(knowledge: Knowledge) -> None:
    expect = Expect(unknown=("HCT-1",))
    assert judged(expect, knowledge=knowledge, outcomes=(Outcome("HCT-1", "unknown"),)) == []
    assert judged(expect, knowledge=knowledge, outcomes=(Outcome("HCT-1", "fine"),)) != []
    assert judged(expect, knowledge=knowledge) != []


def test_a_rule_by_its_topic(knowledge: Knowledge) -> None:
    outcomes = (Outcome("MISS-male_trt", "finding"),)
    assert judged(Expect(silent=("MISS",)), knowledge=knowledge, outcomes=outcomes) != []


def test_names_that_do_not_exist(knowledge: Knowledge) -> None:
    assert judged(Expect(silent=("HCT-9",)), knowledge=knowledge) == ["HCT-9: there is no such rule"]
    expect = Expect(cards=(ExpectedCard("HCT-1", "critical", tests=("CBCC",)),))
    assert "there is no test CBCC" in judged(expect, card(), knowledge=knowledge)[0]


def test_next_due(knowledge: Knowledge) -> None:
    outcomes = (Outcome("MISS-male_trt", "fine", next_due=date(2026, 12, 1)),)
    for words, right in (("+9d", True), ("2026-12-01", True), ("+8d", False)):
        expect = Expect(next_due={"male_trt": words})
        assert (judged(expect, knowledge=knowledge, outcomes=outcomes) == []) is right
    assert "never" in judged(Expect(next_due={"male_trt": "+9d"}), knowledge=knowledge)[0]


def test_status(knowledge: Knowledge) -> None:
    case = Case("a case", AS_OF, expect=Expect(status=412))
    assert differences(case, Answer(200, ()), knowledge) == ["HTTP status 200, expected 412"]
    assert differences(case, Answer(412, ()), knowledge) == []
