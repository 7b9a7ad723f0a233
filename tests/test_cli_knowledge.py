"""`cds-service knowledge …` and `cds-service explain` as a reviewer runs them, and what they must find in order."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from cds_service import cli, cli_knowledge
from cds_service.cli_knowledge import scenario_files
from cds_service.knowledge.limits import limits_of
from cds_service.knowledge.loader import load
from cds_service.knowledge.model import Knowledge
from cds_service.knowledge.reference import page
from cds_service.scenarios.cover import Coverage, Sides, cover, describe, key_of, uncovered
from cds_service.scenarios.reading import read
from cds_service.scenarios.run import Runner

TOP = Path(__file__).parent.parent
OVERLAY = """
changes:
  - who: Drug committee
    why: earlier warning
    until: 2027-06-30
    rules: {HCT-2: {limits: {above: "51.0"}}, LDL-1: {status: retired}}
  - {who: Nobody, why: forgotten, until: 2026-01-31, rules: {HCT-3: {status: retired}}}
"""
SCENARIOS = """
about: Two cases of the tests of the command line.
as_of: 2026-11-22
drugs: {testosterone cypionate: 835840}
presets:
  man:
    patient: {gender: male, born: 1980-05-01}
    given: {therapies: [{drug: testosterone cypionate, start: -200d, dose: 100 mg every 7 d}]}
cases:
  - case: well above the stop limit
    preset: man
    given: {results: [{HCT: 56.0 %, on: -10d}]}
    expect: {cards: [{rule: HCT-1, indicator: critical}], others: allowed}
  - case: at the early warning limit
    preset: man
    given: {results: [{HCT: 52.0 %, on: -10d}]}
    expect: {cards: [{rule: HCT-2, indicator: warning}], others: allowed}
"""


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CDS_CONFIG", "HOST", "PORT"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Standard output of a command that ends well, or with `code`; errors go with it then."""

    def run(*arguments: str | Path, code: int = 0) -> str:
        ended = cli.run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        assert ended == code, captured.err
        return captured.out + (captured.err if code else "")

    return run


@pytest.fixture
def overlay(tmp_path: Path) -> Path:
    path = tmp_path / "overlay.yaml"
    path.write_text(OVERLAY, encoding="utf-8")
    return path


@pytest.fixture
def scenarios(tmp_path: Path) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(SCENARIOS, encoding="utf-8")
    return path


# -- check ---------------------------------------------------------------------------------------------


def test_check_lists_every_rule(said: Callable[..., str]) -> None:
    text = said("knowledge", "check", "--as-of", "2026-11-22")
    for rule in load().rules:
        assert re.search(rf"^{re.escape(rule.id)}\s", text, re.MULTILINE), rule.id
    assert re.search(r"^HCT-1 +1 +active +Hematocrit.*critical +patient-view +es2018", text, re.MULTILINE)
    assert re.search(r"^knowledge \w+: \d+ rules in \d+ protocols; warnings: \d+$", text, re.MULTILINE)


def test_check_warns_of_reviews_that_have_lapsed_on_the_day(said: Callable[..., str]) -> None:
    due = min(rule.review_by for rule in load().rules)
    assert "review was due" not in said("knowledge", "check", "--as-of", due.isoformat())
    late = said("knowledge", "check", "--as-of", date(due.year + 1, due.month, due.day).isoformat())
    assert f"warning: HCT-1: review was due by {due}" in late


def test_check_warns_of_changes_that_have_ended(said: Callable[..., str], overlay: Path) -> None:
    text = said("knowledge", "check", "--overlay", overlay, "--as-of", "2026-11-22")
    assert "overlay.yaml:7: rules HCT-3: ended on 2026-01-31 (Nobody)" in text
    assert re.search(r"^LDL-1 +1 +retired ", text, re.MULTILINE)


def test_check_tells_every_error_with_its_place(said: Callable[..., str], tmp_path: Path) -> None:
    path = tmp_path / "overlay.yaml"
    path.write_text(OVERLAY.replace("HCT-2", "HCT-9").replace("LDL-1", "HCT-1"), encoding="utf-8")
    text = said("knowledge", "check", "--overlay", path, "--as-of", "2026-11-22", code=1)
    assert "error: overlay.yaml:6: changes[0].rules.HCT-9: the id of a rule, not 'HCT-9'" in text
    assert "error: overlay.yaml:6: changes[0].rules.HCT-1.status: no change" in text


def test_the_settings_name_guideline_and_overlay(
    said: Callable[..., str], overlay: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = overlay.parent / "cds.toml"
    config.write_text('[knowledge]\nguideline = "es2018"\noverlay = "overlay.yaml"\n', encoding="utf-8")
    monkeypatch.setitem(os.environ, "CDS_CONFIG", str(config))
    text = said("knowledge", "diff", "--as-of", "2026-11-22")
    assert re.search(r"^rule HCT-2: above +52.0 +51.0 +Drug committee", text, re.MULTILINE)
    assert re.search(r"^guideline +seed +es2018 +settings", text, re.MULTILINE)


# -- diff ----------------------------------------------------------------------------------------------


def test_diff_tells_who_why_and_until_when(said: Callable[..., str], overlay: Path) -> None:
    lines = said("knowledge", "diff", "--overlay", overlay, "--as-of", "2026-11-22").splitlines()
    assert re.split(r" {2,}", lines[0].strip()) == ["what", "shipped", "here", "who", "why", "until", "where"]
    assert [re.split(r" {2,}", line.strip()) for line in lines[1:]] == [
        ["rule HCT-2: above", "52.0", "51.0", "Drug committee", "earlier warning", "2027-06-30", "overlay.yaml:6"],
        [
            "rule LDL-1: status",
            "active",
            "retired",
            "Drug committee",
            "earlier warning",
            "2027-06-30",
            "overlay.yaml:6",
        ],
    ]


def test_diff_of_a_site_that_changes_nothing(said: Callable[..., str]) -> None:
    assert said("knowledge", "diff") == "Nothing differs from what is shipped.\n"


# -- test ----------------------------------------------------------------------------------------------


def test_test_tells_what_passes_and_why_the_rest_does_not(said: Callable[..., str], scenarios: Path) -> None:
    text = said("knowledge", "test", scenarios, code=1)
    assert re.search(r"^mine\.yaml +2 +1 +1 +50 %$", text, re.MULTILINE)
    assert "mine.yaml:14: at the early warning limit" in text
    assert "cards: none; expected: warning HCT-2" in text
    assert "well above" not in text


def test_test_at_a_site(said: Callable[..., str], scenarios: Path, overlay: Path) -> None:
    text = said("knowledge", "test", scenarios, "--overlay", overlay, "--as-of", "2026-11-22")
    assert re.search(r"^mine\.yaml +2 +2 +0 +100 %$", text, re.MULTILINE)


def test_test_names_a_mistake_in_a_file(said: Callable[..., str], scenarios: Path) -> None:
    scenarios.write_text(SCENARIOS.replace("HCT: 52.0 %", "HTC: 52.0 %"), encoding="utf-8")
    assert "a known marker, not 'HTC'" in said("knowledge", "test", scenarios, code=1)
    scenarios.write_text(SCENARIOS.replace("others:", "other:"), encoding="utf-8")
    assert "a known field" in said("knowledge", "test", scenarios, code=2)


# -- cover ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def knowledge() -> Knowledge:
    return load()


@pytest.fixture(scope="module")
def coverage(knowledge: Knowledge) -> Coverage:
    return cover(scenario_files(), Runner(knowledge), knowledge)


@pytest.mark.slow
def test_every_rule_and_limit_is_covered_from_both_sides(knowledge: Knowledge, coverage: Coverage) -> None:
    missing = uncovered(coverage, knowledge)
    assert missing == [], "cds-service knowledge cover\n" + "\n".join(missing)


def test_cover_tells_what_is_missing(said: Callable[..., str], scenarios: Path) -> None:
    lines = said("knowledge", "cover", scenarios, code=1).splitlines()
    # 56.0 % speaks and lies within a tenth of 54.0; 52.0 % does, too, from the other side.
    assert not [line for line in lines if line.startswith("HCT-1:")]
    # 52.0 % is not above 52.0; 56.0 % is, and near: both sides of HCT-2, which 56.0 % silences all the same.
    assert not [line for line in lines if line.startswith("HCT-2:")]
    assert "HCT-3: no case in which it is judged and silent" in lines
    assert "HCT-3: above (HCT > 50.0): no case near it, under" in lines
    assert "C-T-1: no case in which it speaks" in lines
    assert re.fullmatch(r"\d+ rules, \d+ limits and \d+ milestones: \d+ gaps", lines[-1])


def test_cover_where_the_scenarios_are_not_installed(
    said: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli_knowledge, "SCENARIOS", tmp_path / "nowhere")
    assert "not part of the installed package" in said("knowledge", "cover", code=2)


def covered_by(text: str, tmp_path: Path, knowledge: Knowledge, rule: str) -> tuple[Sides, dict[str, str]]:
    """Sides of a rule, and what is missing of its limits, after one file of cases."""
    path = tmp_path / "cases.yaml"
    head, _, _ = SCENARIOS.partition("  - case: well above")
    path.write_text(head + text, encoding="utf-8")
    found = cover([path], Runner(knowledge), knowledge)
    (known,) = [one for one in knowledge.rules if one.id == rule]
    return found.rules[rule], {one.path: found.limits[key_of(known, one)].missing for one in limits_of(known)}


def case(results: str, more: str = "") -> str:
    expect = "{cards: [], others: allowed}"
    return (
        f"  - {{case: '{results}{more}', preset: man, given: {{results: [{results}]}}, expect: {expect}{more}}}\n"
    )


@pytest.mark.parametrize(
    ("value", "missing"),
    [
        ("59.4 %", "under"),  # a tenth of 54.0 away
        ("59.5 %", "over and under"),
        ("54.1 %", "under"),
        ("54.0 %", "over"),
        ("48.6 %", "over"),
        ("48.5 %", "over and under"),
    ],
)
def test_near_is_a_tenth_of_the_limit(tmp_path: Path, knowledge: Knowledge, value: str, missing: str) -> None:
    _, limits = covered_by(case(f"{{HCT: {value}, on: -10d}}"), tmp_path, knowledge, "HCT-1")
    assert limits == {"above": missing}


def milestone_sides(tmp_path: Path, knowledge: Knowledge, start: str, results: str) -> tuple[str, str]:
    """Milestone of MISS-male_trt of the shipped guideline that a case opens, and which side of it that shows."""
    path = tmp_path / "cases.yaml"
    head, _, _ = SCENARIOS.partition("presets:")
    path.write_text(
        f"{head}cases:\n  - case: one\n    patient: {{gender: male, born: 1980-05-01}}\n    given:\n"
        f"      therapies: [{{drug: 835840, {start}}}]\n      results: [{results}]\n"
        "    expect: {cards: [], others: allowed}\n",
        encoding="utf-8",
    )
    found = cover([path], Runner(knowledge), knowledge).milestones
    ((name, sides),) = [
        (name, sides)
        for (rule, profile, name), sides in found.items()
        if (rule, profile) == ("MISS-male_trt", "seed") and (sides.over or sides.under)
    ]
    return name, "due" if sides.over else "done"


def test_a_milestone_is_covered_by_cases_in_which_it_is_open(tmp_path: Path, knowledge: Knowledge) -> None:
    done = "{TT: 520 ng/dL, E2: 28 pg/mL, HCT: 45 %, on: -10d}"
    assert milestone_sides(tmp_path, knowledge, "start: -100d", "") == ("3-month", "due")
    assert milestone_sides(tmp_path, knowledge, "start: -100d", done) == ("3-month", "done")
    assert milestone_sides(tmp_path, knowledge, "start: -30d, prior: true", done) == ("start not known", "due")


def test_cover_tells_which_milestones_are_missing(said: Callable[..., str], scenarios: Path) -> None:
    lines = said("knowledge", "cover", scenarios, code=1).splitlines()
    assert "MISS-gh_axis: aace2019 4- to 8-week: no case in which a test is due" in lines
    assert "MISS-gh_axis: aace2019 4- to 8-week: no case in which all tests are done" in lines


def test_each_side_of_a_range_and_each_choice_is_a_limit(tmp_path: Path, knowledge: Knowledge) -> None:
    text = case("{TT: 440 ng/dL, on: -10d}", ", switches: {tt_target: seed}")
    _, limits = covered_by(text, tmp_path, knowledge, "TT-SEED")
    assert limits == {"outside[0]": "under", "outside[1]": "over and under"}


def test_the_laboratorys_range_and_the_default_are_two_limits(tmp_path: Path, knowledge: Knowledge) -> None:
    text = case("{E2: 41.0 pg/mL, on: -10d}") + case("{E2: 44.0 pg/mL, on: -10d, high: 45.0}")
    _, limits = covered_by(text, tmp_path, knowledge, "E2M-1")
    assert limits == {"above": "over", "above.default": "under"}


def test_a_rule_that_is_silenced_has_spoken(tmp_path: Path, knowledge: Knowledge) -> None:
    sides, _ = covered_by(case("{HCT: 56.0 %, on: -10d}"), tmp_path, knowledge, "HCT-3")
    assert (sides.over, sides.under) == ({"cases.yaml"}, set())


def test_what_does_not_apply_counts_only_where_a_case_names_it(tmp_path: Path, knowledge: Knowledge) -> None:
    sides, _ = covered_by(case("{HCT: 45.0 %, on: -10d}"), tmp_path, knowledge, "HGB-1")
    assert not sides.under
    named = case("{HCT: 45.0 %, on: -10d}").replace("others: allowed", "others: allowed, silent: [HGB-1]")
    sides, _ = covered_by(named, tmp_path, knowledge, "HGB-1")
    assert sides.under == {"cases.yaml"}


def test_a_shared_condition_is_one_limit_for_all_rules(knowledge: Knowledge) -> None:
    keys = [key_of(rule, limit) for rule in knowledge.rules for limit in limits_of(rule) if limit.subject == "HCG"]
    assert len(keys) > 1
    assert len(set(keys)) == 1


def test_a_limit_is_described_in_a_few_words(knowledge: Knowledge) -> None:
    words = {f"{rule.id} {limit.path}": describe(limit) for rule in knowledge.rules for limit in limits_of(rule)}
    assert words["HCT-1 above"] == "HCT > hct_stop"
    assert words["HCT-2 above"] == "HCT > 52.0"
    assert words["E2M-1 above"] == "E2 > the laboratory's own"
    assert words["C-T-2b above.values.true"] == "HCT > hct_start_high_altitude, high_altitude true"


# -- docs ----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_page_of_rules_is_what_the_knowledge_says(knowledge: Knowledge, coverage: Coverage) -> None:
    made = page(knowledge, {rule: coverage.files_of(rule) for rule in coverage.rules})
    shipped = (TOP / "docs" / "rules.md").read_text(encoding="utf-8")
    assert shipped == made, "stale: cds-service knowledge docs --out docs/rules.md"


def test_docs_writes_the_page(
    said: Callable[..., str], scenarios: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli_knowledge, "scenario_files", lambda: [scenarios])
    text = said("knowledge", "docs")
    said("knowledge", "docs", "--out", tmp_path / "rules.md")
    assert (tmp_path / "rules.md").read_text(encoding="utf-8") == text
    for rule in load().rules:
        assert f"\n### {rule.id}: {rule.title}\n" in text
    hct = text.partition("### HCT-1:")[2].partition("###")[0]
    for part in (
        "- To whom: testosterone is current, age at least 18, or not known.",
        "- When: the latest hematocrit of the last 395 days is above 54.0 % (hct_stop).",
        "Endocrine Society 2018, Monitoring table",
        "- Review by: 2027-11-01.",
        "- Scenarios: mine.yaml.",
    ):
        assert part in hct
    assert "| 3-month | opens on day 60, meant for day 90, overdue after day 120" in text
    assert "total testosterone; estradiol; CBC (with hematocrit) |" in text


def test_links_of_the_contents_lead_to_the_headings(knowledge: Knowledge) -> None:
    text = page(knowledge, {})
    headings = [line.removeprefix("## ") for line in text.splitlines() if line.startswith("## ")]
    anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    links = re.findall(r"\]\(#([^)]+)\)", text)
    assert len(links) == len(knowledge.protocols)
    assert set(links) == anchors


# -- export, rxnorm ------------------------------------------------------------------------------------


def test_export_writes_a_file_for_each_artefact(said: Callable[..., str], tmp_path: Path) -> None:
    text = said("knowledge", "export", "--out", tmp_path / "fhir", "--base", "https://cds.example.org/fhir/")
    written = list((tmp_path / "fhir").glob("*.json"))
    assert text == f"{len(written)} files are in {tmp_path / 'fhir'}\n"
    plan = json.loads((tmp_path / "fhir" / "PlanDefinition-testosterone.json").read_bytes())
    assert plan["url"] == "https://cds.example.org/fhir/PlanDefinition/testosterone"
    assert [action["prefix"] for action in plan["action"]][:1] == ["HCT-1"]


def test_export_at_a_site_holds_the_sites_limits(said: Callable[..., str], tmp_path: Path, overlay: Path) -> None:
    said("knowledge", "export", "--out", tmp_path, "--overlay", overlay, "--as-of", "2026-11-22")
    plan = json.loads((tmp_path / "PlanDefinition-testosterone.json").read_bytes())
    (action,) = [one for one in plan["action"] if one["prefix"] == "HCT-2"]
    assert "above 51.0 %" in action["condition"][1]["expression"]["description"]
    assert ">= 51.05" in action["condition"][1]["expression"]["expression"]


def test_rxnorm_writes_the_table(said: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "RXNCONSO.RRF").write_text("", encoding="utf-8")
    (tmp_path / "RXNREL.RRF").write_text("", encoding="utf-8")
    out = tmp_path / "products.tsv"
    assert said("knowledge", "rxnorm", tmp_path, "--out", out) == f"{out}: 0 products\n"
    assert out.read_text(encoding="utf-8").endswith("\nrxcui\ttty\tkeys\tagent\tform\tscope\tname\n")


def test_rxnorm_without_a_release(said: Callable[..., str], tmp_path: Path) -> None:
    assert "RXNCONSO.RRF" in said("knowledge", "rxnorm", tmp_path, "--out", tmp_path / "x", code=2)
    (tmp_path / "RXNCONSO.RRF").write_text("1|ENG\n", encoding="utf-8")
    text = said("knowledge", "rxnorm", tmp_path, "--out", tmp_path / "x", code=2)
    assert "RXNCONSO.RRF:1: expected at least 17 columns" in text


# -- explain -------------------------------------------------------------------------------------------


def test_explain_reads_a_request_from_a_file(said: Callable[..., str], scenarios: Path, tmp_path: Path) -> None:
    request = tmp_path / "request.json"
    request.write_bytes(Runner(load()).body(read(scenarios)[0]))
    text = said("explain", request, "--as-of", "2026-11-22")
    assert "CRITICAL HCT-1:" in text
    told = json.loads(said("explain", request, "--as-of", "2026-11-22", "--json"))
    assert told["answer"]["cards"][0]["topic"] == "HCT-1"


def test_explain_at_a_silent_site_says_that_its_cards_are_not_shown(
    said: Callable[..., str], scenarios: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = tmp_path / "request.json"
    request.write_bytes(Runner(load()).body(read(scenarios)[0]))
    ask = ("explain", request, "--as-of", "2026-11-22")
    assert "silent: it answers without" not in said(*ask)
    monkeypatch.setenv("CDS_SILENT_ALL", "true")
    assert "The service is silent: it answers without these cards." in said(*ask)
    assert json.loads(said(*ask, "--json"))["answer"]["silent"] is True


def test_explain_at_a_site(said: Callable[..., str], scenarios: Path, overlay: Path, tmp_path: Path) -> None:
    request = tmp_path / "request.json"
    request.write_bytes(Runner(load()).body(read(scenarios)[1]))
    shipped = json.loads(said("explain", request, "--as-of", "2026-11-22", "--json"))
    site = json.loads(said("explain", request, "--as-of", "2026-11-22", "--overlay", overlay, "--json"))

    def result(told: dict, rule: str) -> str:
        found: str = next(one["result"] for one in told["rules"] if one["id"] == rule)
        return found

    assert (result(shipped, "HCT-2"), result(site, "HCT-2")) == ("fine", "finding")
    assert result(site, "LDL-1") == "not applicable"


@pytest.mark.parametrize(
    ("content", "expected"),
    [("{", "as JSON"), ('{"hook": "patient-view"}', "hookInstance"), ('{"hook": "x"}', "expected one of")],
)
def test_explain_of_what_is_no_request(
    said: Callable[..., str], tmp_path: Path, content: str, expected: str
) -> None:
    request = tmp_path / "request.json"
    request.write_text(content, encoding="utf-8")
    assert expected in said("explain", request, "--as-of", "2026-11-22", code=2)


def test_a_day_that_is_none(said: Callable[..., str]) -> None:
    assert "neither 'today' nor a date" in said("knowledge", "check", "--as-of", "tomorrow", code=2)


def test_help_names_the_commands(said: Callable[..., str]) -> None:
    text = said("knowledge", "--help")
    assert {"check", "cover", "diff", "docs", "export", "rxnorm", "test"} <= set(
        re.findall(r"^  (\w+)", text, re.MULTILINE)
    )
