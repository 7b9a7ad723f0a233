"""Scenario files: what an author may leave out, what a preset fills in, and what is said of a mistake."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from textwrap import dedent

import pytest

from cds_service.scenarios.dates import birthday, days, resolve, resolve_day
from cds_service.scenarios.errors import ScenarioError
from cds_service.scenarios.facts import Case, ResultFacts
from cds_service.scenarios.reading import read

AS_OF = date(2026, 11, 22)


def cases_of(tmp_path: Path, text: str) -> tuple[Case, ...]:
    file = tmp_path / "cases.yaml"
    file.write_text(dedent(text), encoding="utf-8")
    return read(file)


def problem_of(tmp_path: Path, text: str) -> str:
    with pytest.raises(ScenarioError) as raised:
        cases_of(tmp_path, text)
    return str(raised.value)


# -- dates ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "day"),
    [("-12d", "2026-11-10"), ("0d", "2026-11-22"), ("+1d", "2026-11-23"), ("2026-05", "2026-05"), ("", "")],
)
def test_dates_are_relative_to_the_day_of_the_case(words: str, day: str) -> None:
    assert resolve(words, AS_OF) == day


@pytest.mark.parametrize("words", ["yesterday", "12", "-12 d", "2026-5-1", "22.11.2026"])
def test_what_is_no_date_is_refused(words: str) -> None:
    with pytest.raises(ValueError, match="no date"):
        resolve(words, AS_OF)


@pytest.mark.parametrize(
    ("words", "day"), [("2026", date(2026, 1, 1)), ("2026-05", date(2026, 5, 1)), ("-1d", date(2026, 11, 21))]
)
def test_a_partial_date_is_its_first_day(words: str, day: date) -> None:
    assert resolve_day(words, AS_OF) == day


def test_length_of_time() -> None:
    assert days("90d") == 90
    with pytest.raises(ValueError, match="no length of time"):
        days("3 months")


def test_birthday_on_the_29th_of_february() -> None:
    assert birthday(18, date(2024, 2, 29)) == "2006-03-01"
    assert birthday(20, date(2024, 2, 29)) == "2004-02-29"


# -- what a file says ----------------------------------------------------------------------------------


def test_results_of_one_line_share_what_is_said_of_them(tmp_path: Path) -> None:
    (case,) = cases_of(
        tmp_path,
        """
        about: two markers in one line
        as_of: 2026-11-22
        cases:
          - case: one
            given: {results: [{HCT: 45.0 %, PSA: 0.90 ng/mL, on: -12d, time: "11:01"}]}
            expect: {cards: []}
        """,
    )
    assert case.as_of == AS_OF
    assert case.place == "cases.yaml:5"
    assert case.given.results == (
        ResultFacts("HCT", "45.0 %", on="-12d", time="11:01"),
        ResultFacts("PSA", "0.90 ng/mL", on="-12d", time="11:01"),
    )


PRESETS = """
about: presets
as_of: 2026-11-22
drugs: {cypionate: 835840}
presets:
  man:
    patient: {gender: male, born: 1980-05-01}
    given:
      therapies: [{drug: cypionate, start: -200d}]
      results: [{HCT: 45.0 %, PSA: 0.90 ng/mL, on: -10d}]
  older_man: {preset: man, patient: {born: 1950-05-01}}
cases:
"""


def test_preset_is_filled_in(tmp_path: Path) -> None:
    (case,) = cases_of(tmp_path, PRESETS + "  - {case: one, preset: older_man, expect: {cards: []}}\n")
    assert (case.patient.gender, case.patient.born) == ("male", "1950-05-01")
    assert [therapy.drug for therapy in case.given.therapies] == ["835840"]
    assert [result.marker for result in case.given.results] == ["HCT", "PSA"]


def test_what_a_case_says_of_a_marker_replaces_what_the_preset_says(tmp_path: Path) -> None:
    text = "  - {case: one, preset: man, given: {results: [{HCT: 55.2 %, on: -3d}]}, expect: {cards: []}}\n"
    (case,) = cases_of(tmp_path, PRESETS + text)
    assert {(result.marker, result.value) for result in case.given.results} == {
        ("HCT", "55.2 %"),
        ("PSA", "0.90 ng/mL"),
    }


def test_what_a_case_says_of_a_drug_replaces_what_the_preset_says(tmp_path: Path) -> None:
    therapies = "[{drug: cypionate, start: -5d}, {drug: 351172, start: -9d}]"
    text = f"  - {{case: one, preset: man, given: {{therapies: {therapies}}}, expect: {{cards: []}}}}\n"
    (case,) = cases_of(tmp_path, PRESETS + text)
    assert [(therapy.drug, therapy.start) for therapy in case.given.therapies] == [
        ("835840", "-5d"),
        ("351172", "-9d"),
    ]


def test_an_order_does_not_replace_a_result_of_the_same_name(tmp_path: Path) -> None:
    text = "  - {case: one, preset: man, given: {orders: [{test: PSA, on: -1d}]}, expect: {cards: []}}\n"
    (case,) = cases_of(tmp_path, PRESETS + text)
    assert [result.marker for result in case.given.results] == ["HCT", "PSA"]


def test_without_takes_out_of_the_preset(tmp_path: Path) -> None:
    text = "  - {case: one, preset: man, without: [HCT, cypionate], expect: {cards: []}}\n"
    (case,) = cases_of(tmp_path, PRESETS + text)
    assert [result.marker for result in case.given.results] == ["PSA"]
    assert case.given.therapies == ()


def test_presets_of_another_file(tmp_path: Path) -> None:
    (tmp_path / "common.yaml").write_text(PRESETS.replace("cases:\n", ""), encoding="utf-8")
    text = "about: included\ninclude: common.yaml\ncases: [{case: one, preset: man, expect: {cards: []}}]\n"
    (case,) = cases_of(tmp_path, text)
    assert case.as_of == AS_OF
    assert case.given.therapies[0].drug == "835840"


def test_patient_of_an_example_is_called_like_the_example(tmp_path: Path) -> None:
    (case,) = cases_of(tmp_path, PRESETS + "  - {case: one, id: high-value, preset: man, expect: {cards: []}}\n")
    assert case.patient.id == "high-value"


# -- mistakes ------------------------------------------------------------------------------------------


def test_mistake_names_file_line_field_and_case(tmp_path: Path) -> None:
    problem = problem_of(
        tmp_path,
        """\
        about: mistakes
        as_of: 2026-11-22
        cases:
          - case: a fine one
            expect: {cards: []}
          - case: a wrong one
            given:
              results: [{HCT: 45.0 %, on: -12d, states: final}]
            expect: {cards: []}
        """,
    )
    assert problem.startswith("cases.yaml:8: cases[1].given.results[0]")
    assert "states" in problem
    assert "'a wrong one'" in problem


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("{case: one}", "'expect' is a required property"),
        ("{case: one, expect: {}}", "expect"),
        ("{case: one, expect: {card: []}}", "card"),
        ("{case: one, expect: {cards: [{rule: HCT-1, indicator: red}]}}", "red"),
        ("{case: one, hook: patient-open, expect: {cards: []}}", "patient-open"),
        ("{case: one, given: {results: [{on: -1d}]}, expect: {cards: []}}", "a marker in each line"),
        ("{case: one, given: {therapies: [{start: -1d}]}, expect: {cards: []}}", "therapies"),
        ("{case: one, preset: woman, expect: {cards: []}}", "not 'woman': man, older_man"),
        ("{case: one, preset: man, without: [LDL], expect: {cards: []}}", "not LDL"),
        ("{case: one, patient: {name: John Smith}, expect: {cards: []}}", "John Smith"),
        ("{case: one, patient: {born: 1.5.1980}, expect: {cards: []}}", "1.5.1980"),
    ],
)
def test_mistakes(case: str, expected: str, tmp_path: Path) -> None:
    assert expected in problem_of(tmp_path, f"{PRESETS}  - {case}\n")


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    text = PRESETS + "  - {case: one, expect: {}}\n  - {case: two, hook: x, expect: {cards: []}}\n"
    assert len(problem_of(tmp_path, text).splitlines()) == 2


def test_two_cases_of_one_title(tmp_path: Path) -> None:
    text = PRESETS + 2 * "  - {case: one, expect: {cards: []}}\n"
    assert "a title of its own" in problem_of(tmp_path, text)


def test_duplicate_key(tmp_path: Path) -> None:
    problem = problem_of(tmp_path, "about: one\nabout: two\ncases: []\n")
    assert problem.startswith("cases.yaml:2")


def test_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"nowhere\.yaml"):
        read(tmp_path / "nowhere.yaml")


def test_day_is_needed(tmp_path: Path) -> None:
    problem = problem_of(tmp_path, "about: no day\ncases: [{case: one, expect: {cards: []}}]\n")
    assert "an as_of" in problem
