"""Every card of the tour is sound CDS Hooks, and many findings become few cards (0.4.4, 0.4.5, 0.4.20, 0.4.21)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest

from cds_service.chart import Chart, Gap, Refused
from cds_service.knowledge.model import Knowledge
from cds_service.rules.outcome import Doubt, Evaluation, Finding
from cds_service.scenarios.reading import read
from cds_service.scenarios.run import Runner
from tests.hooks import gfm
from tests.hooks.tour import SIGN, VIEW, Stop, numbered, renderer, result, stops
from tests.rules.conftest import TODAY, chart, course, draft, judge, measurement, on_testosterone, order

MEMBERS = {
    "uuid",
    "summary",
    "detail",
    "indicator",
    "source",
    "overrideReasons",
    "suggestions",
    "selectionBehavior",
}
SCENARIOS = Path(__file__).parents[1] / "scenarios"
LONG = "x" * 6000
LONG_WORDS = "long " * 1200

every_stop = pytest.mark.parametrize("stop", stops(), ids=lambda stop: stop.name)


def render(findings: Sequence[Finding], knowledge: Knowledge, doubts: Sequence[Doubt] = ()) -> list[dict[str, Any]]:
    """Cards of findings that no single chart brings together."""
    evaluation = Evaluation(VIEW, TODAY, (), tuple(findings), tuple(doubts))
    return renderer(knowledge)(evaluation, chart(), numbered())


def topics(cards: Sequence[dict[str, Any]]) -> list[str]:
    return [card["source"]["topic"]["code"] for card in cards]


def leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from (leaf for item in value.values() for leaf in leaves(item))
    elif isinstance(value, list):
        yield from (leaf for item in value for leaf in leaves(item))
    yield value


# -- one card ----------------------------------------------------------------------------------------


@every_stop
@pytest.mark.parametrize("profile", ["generic", "epic"])
def test_card_is_sound(stop: Stop, profile: str, knowledge: Knowledge) -> None:
    cards = stop.cards(knowledge, profile)
    assert 0 < len(cards) <= 5
    for card in cards:
        assert_sound(card)


@pytest.mark.parametrize("file", sorted(SCENARIOS.glob("*.yaml")), ids=lambda file: file.stem)
def test_cards_of_the_scenarios_are_sound(file: Path, knowledge: Knowledge) -> None:
    runner = Runner(knowledge)
    for case in read(file):
        for card in runner.directly(case).cards:
            assert_sound(card)


def assert_sound(card: Mapping[str, Any]) -> None:
    assert card.keys() <= MEMBERS
    assert card["uuid"]
    assert card["indicator"] in ("info", "warning", "critical")
    assert {"label", "topic"} <= card["source"].keys() <= {"label", "url", "topic"}
    assert card["source"]["topic"].keys() == {"system", "code", "display"}
    assert urlsplit(card["source"].get("url", "https:")).scheme == "https"
    assert_summary(card["summary"])
    assert_detail(card["detail"])
    assert ("suggestions" in card) == ("selectionBehavior" in card)
    for reason in card.get("overrideReasons", ()):
        assert reason.keys() == {"code", "system", "display"}
        assert urlsplit(reason["system"]).scheme


def assert_summary(summary: str) -> None:
    assert 0 < len(summary) < 140
    assert summary.splitlines() == [summary]
    assert summary == summary.strip()
    assert "  " not in summary


def assert_detail(detail: str) -> None:
    """Markdown that reads well: paragraphs parted by one empty line, no stray blanks, narrow tables."""
    gfm.assert_inert(detail)
    assert detail == detail.strip()
    assert "\n\n\n" not in detail
    assert all(line == line.strip() and "  " not in line for line in detail.split("\n"))
    assert "None" not in detail
    assert not re.search(r"[ (]([,;.)]|\*\*[,.])|\(\)|\.\.|;\.", detail)
    for paragraph in detail.split("\n\n"):
        marks = {line[0] for line in paragraph.split("\n")}
        assert len(paragraph.split("\n")) == 1 or marks in ({"-"}, {"|"}), paragraph
    lists = [paragraph.startswith("- ") for paragraph in detail.split("\n\n")]
    assert not any(one and other for one, other in pairwise(lists)), "two lists would be one loose list"
    table = gfm.rows(detail)
    assert all(len(row) <= 3 for row in table)
    assert all(cell for row in table for cell in row)


@every_stop
def test_nothing_is_null_or_empty(stop: Stop, knowledge: Knowledge) -> None:
    cards = stop.cards(knowledge)
    for leaf in leaves(cards):
        assert leaf not in (None, "", [], {})
        assert type(leaf) in (str, dict, list), "the JSON encoder knows no kinds of str"
    msgspec.json.encode(cards)


@every_stop
def test_uuids_are_unique(stop: Stop, knowledge: Knowledge) -> None:
    cards = stop.cards(knowledge)
    uuids = [one["uuid"] for card in cards for one in (card, *card.get("suggestions", ()))]
    assert len(uuids) == len(set(uuids))


@every_stop
def test_most_urgent_first(stop: Stop, knowledge: Knowledge) -> None:
    ranks = [("critical", "warning", "info").index(card["indicator"]) for card in stop.cards(knowledge)]
    assert ranks == sorted(ranks)


@every_stop
def test_basis_is_told(stop: Stop, knowledge: Knowledge) -> None:
    for card in stop.cards(knowledge):
        assert card["detail"].endswith("Supports, does not replace, clinical judgement.")
        assert card["detail"].count("Supports, does not replace") == 1
        assert re.search(r"^Rule [\w-]+, version \d+", card["detail"], re.MULTILINE)
        label = card["source"]["label"]
        assert label in card["detail"] or label == knowledge.sources["service"].label


def test_order_is_that_of_the_tables(knowledge: Knowledge) -> None:
    """4.3 has HCT before PSA before TT before E2 before LDL; inside an urgency the tables decide."""
    results = [
        result(marker, value) for marker, value in [("LDL", "200"), ("E2", "60"), ("TT", "1100"), ("PSA", "5")]
    ]
    cards = Stop("", on_testosterone(*results, measurement("HCT", "55"), start=25)).cards(knowledge)
    assert topics(cards) == ["HCT-1", "PSA-1", "TT-1", "E2M-1", "MISS"]
    assert "#### LDL cholesterol 200 mg/dL" in cards[4]["detail"]


@pytest.mark.parametrize("text", [LONG, LONG_WORDS, f"{LONG}\n{LONG}"])
def test_the_longest_values_stay_short(text: str, knowledge: Knowledge) -> None:
    for stop in stops(text):
        for card in stop.cards(knowledge):
            assert_summary(card["summary"])
            assert_detail(card["detail"])
            assert max(len(line) for line in card["detail"].split("\n")) < 1000


def test_many_tests_are_counted_in_the_summary(knowledge: Knowledge) -> None:
    (card,) = Stop("", on_testosterone(start=20)).cards(knowledge)
    assert card["summary"] == (
        "Baseline tests overdue on testosterone cypionate: "
        "total testosterone, free testosterone, estradiol, SHBG, LH, FSH and 4 more"
    )
    assert len(gfm.rows(card["detail"])) == 1 + 10


def test_sex_is_told_where_the_rule_rests_on_it(knowledge: Knowledge) -> None:
    patient = on_testosterone(result("HCT", "55"), start=500)
    cards = {topic: card["detail"] for card in Stop("", patient).cards(knowledge) for topic in topics([card])}
    assert "sex: recorded gender" in cards["MISS"]
    assert "sex:" not in cards["HCT-1"]


def test_schedule_cites_the_profile_that_it_tells(knowledge: Knowledge) -> None:
    """A site may follow another guideline than the rule's own evidence says."""
    (male,) = [protocol for protocol in knowledge.protocols if protocol.key == "male_trt"]
    evidence = msgspec.structs.replace(male.schedules["seed"].evidence[0], source="aua2018", section="Follow-up")
    plan = msgspec.structs.replace(
        male.schedules["seed"], profile="other", evidence=(evidence,), differs="EAU: yearly."
    )
    other = msgspec.structs.replace(male, schedules={**male.schedules, "other": plan})
    protocols = tuple(other if protocol is male else protocol for protocol in knowledge.protocols)
    site = msgspec.structs.replace(
        knowledge, protocols=protocols, switches={**knowledge.switches, "guideline": "other"}
    )
    (card,) = Stop("", on_testosterone(start=130)).cards(site)
    assert card["source"]["label"] == "AUA 2018"
    assert "Basis: AUA 2018, Follow-up" in card["detail"]
    assert "EAU: yearly." in card["detail"]


# -- at most five ------------------------------------------------------------------------------------


def findings(knowledge: Knowledge, *indicators: str) -> list[Finding]:
    """Findings of these urgencies, each of a rule of its own: `critical-0`, `critical-1`, …"""
    (base,) = judge(on_testosterone(measurement("LDL", "200"), start=25), knowledge).findings[-1:]
    found: list[Finding] = []
    for indicator in indicators:
        name = f"{indicator}-{len([one for one in found if one.indicator == indicator])}"
        rule = msgspec.structs.replace(
            base.rule, id=name, topic=name, title=f"Title of {name}", spec={"summary": f"About {name}"}
        )
        found.append(msgspec.structs.replace(base, rule=rule, indicator=indicator, tests=()))
    return found


@pytest.mark.parametrize(
    ("indicators", "expected"),
    [
        ("c c w i i", ["critical-0", "critical-1", "warning-0", "info-0", "info-1"]),
        ("c c w w i i i", ["critical-0", "critical-1", "warning-0", "warning-1", "info-0"]),
        ("c c c w w w i", ["critical-0", "critical-1", "critical-2", "warning-0", "info-0"]),
        ("c c w w w w", ["critical-0", "critical-1", "warning-0", "warning-1", "warning-2"]),
        ("c w w w w w i i", ["critical-0", "warning-0", "warning-1", "warning-2", "info-0"]),
        ("c c c c c c i", ["critical-0", "critical-1", "critical-2", "critical-3", "info-0"]),
        ("w w w w w", [f"warning-{number}" for number in range(5)]),
        ("w w w w w w", [f"warning-{number}" for number in range(5)]),
        ("i i i i i i i i", [f"info-{number}" for number in range(5)]),
    ],
)
def test_seven_findings_become_five_cards(indicators: str, expected: list[str], knowledge: Knowledge) -> None:
    words = {"c": "critical", "w": "warning", "i": "info"}
    found = findings(knowledge, *(words[letter] for letter in indicators.split()))
    site = msgspec.structs.replace(knowledge, rules=(*knowledge.rules, *(finding.rule for finding in found)))
    cards = render(found, site)
    assert topics(cards) == expected
    text = "\n".join(card["detail"] + card["summary"] for card in cards)
    for finding in found:
        assert f"About {finding.rule.topic}" in text


def test_only_the_last_are_merged(knowledge: Knowledge) -> None:
    """Six cards: two share the fifth place, the others keep theirs."""
    found = findings(knowledge, *["critical"] * 2, *["warning"] * 4)
    site = msgspec.structs.replace(knowledge, rules=(*knowledge.rules, *(finding.rule for finding in found)))
    summaries = [card["summary"] for card in render(found, site)]
    assert summaries[2:] == ["About warning-0", "About warning-1", "About warning-2 (and 1 more)"]


def test_merged_card_says_how_many_more(knowledge: Knowledge) -> None:
    found = findings(knowledge, *["critical"] * 3, *["warning"], *["info"] * 3)
    site = msgspec.structs.replace(knowledge, rules=(*knowledge.rules, *(finding.rule for finding in found)))
    found = [msgspec.structs.replace(one, tests=("TT", "PSA")) if one.indicator == "info" else one for one in found]
    merged = render(found, site)[-1]
    assert merged["summary"] == "About info-0 (and 2 more)"
    assert merged["source"]["topic"] == {
        "system": "urn:cds-service:rule",
        "code": "info-0",
        "display": "Title of info-0",
    }
    headings = [line for line in merged["detail"].split("\n") if line.startswith("#")]
    assert headings == ["#### About info-0", "#### About info-1", "#### About info-2"]
    assert [suggestion["label"] for suggestion in merged["suggestions"]] == [
        "Draft orders for all 2 tests",
        "Draft order: total testosterone",
        "Draft order: PSA",
    ]
    assert_detail(merged["detail"])


# -- the quiet card ----------------------------------------------------------------------------------


def quiet(patient: Chart, knowledge: Knowledge, hook: str = VIEW) -> dict[str, Any]:
    (card,) = [
        card
        for card in Stop("", patient, hook).cards(knowledge)
        if card["source"]["topic"]["code"][:2] in ("DQ", "UN")
    ]
    return card


@pytest.mark.parametrize(
    ("problems", "topic"),
    [
        (["no_unit"], "DQ-1"),
        (["no_unit", "unknown_unit"], "DQ-1"),
        (["implausible"], "DQ-2"),
        (["no_unit", "implausible"], "UNKNOWN"),
        (["text"], "UNKNOWN"),
        (["no_unit", "text"], "UNKNOWN"),
    ],
)
def test_topic_of_the_quiet_card(problems: list[str], topic: str, knowledge: Knowledge) -> None:
    """The id if all doubts are of one id, else UNKNOWN (0.4.4)."""
    results = [
        result(marker, None, reported="7", problem=problem)
        for marker, problem in zip(["TT", "E2"], problems, strict=False)
    ]
    card = quiet(on_testosterone(*results, start=80), knowledge)
    assert card["indicator"] == "info"
    assert card["source"]["topic"]["code"] == topic


def test_gaps_of_one_key_are_one_line(knowledge: Knowledge) -> None:
    gaps = [
        Gap("labs1", "absent", "", frozenset(["TT", "HCT", "E2"])),
        Gap("conditions", "null", "", frozenset(["conditions"])),
    ]
    card = quiet(on_testosterone(start=80, gaps=gaps), knowledge)
    first, second = sorted(line for line in card["detail"].split("\n") if line.startswith("- "))
    assert first == "- Conditions: sent empty by the EHR (prefetch key `conditions`)."
    names, cause = second.removeprefix("- ").split(": ")
    assert sorted(names.casefold().split(", ")) == ["estradiol", "hematocrit", "total testosterone"]
    assert cause == "not sent by the EHR (prefetch key `labs1`)."
    lead, areas = card["summary"].split(": ")
    assert lead == "Hormone-therapy monitoring could not judge"
    assert sorted(areas.split(", ")) == ["conditions", *sorted(names.casefold().split(", "))]


def test_an_entry_that_covers_much_is_one_line(knowledge: Knowledge) -> None:
    refused = [
        Refused(f"Observation/{number}", "unreadable", "it could not be read", frozenset(["E2", "TT"]), tell=True)
        for number in (1, 2)
    ]
    card = quiet(on_testosterone(start=80, refused=refused), knowledge)
    (note,) = [line for line in card["detail"].split("\n") if line.startswith("- ")]
    names, cause = note.removeprefix("- ").split(": ")
    assert sorted(names.casefold().split(", ")) == ["estradiol", "total testosterone"]
    assert cause == "not every entry could be used (it could not be read)."


def test_a_doubt_of_the_same_marker_is_a_line_of_its_card(knowledge: Knowledge) -> None:
    """0.4.21: beside a value, not in a card of its own."""
    patient = on_testosterone(result("HCT", "55"), start=80, gaps=[Gap("labs1", "outcome", "", frozenset(["HCT"]))])
    cards = Stop("", patient).cards(knowledge)
    assert topics(cards) == ["HCT-1", "MISS"]
    line = "- Hematocrit: the EHR could not fetch the data (prefetch key `labs1`)."
    assert line in cards[0]["detail"].split("\n")


def test_a_failed_rule_is_told_by_what_it_looks_at(knowledge: Knowledge) -> None:
    doubt = Doubt("rule_failed", "HCT-1", {"title": "Hematocrit above the stop limit"})
    (card,) = render([], knowledge, [doubt])
    assert card["summary"] == "Hormone-therapy monitoring could not judge: hematocrit"
    assert "- A check could not be completed: Hematocrit above the stop limit." in card["detail"]


# -- tests that are due ------------------------------------------------------------------------------


def test_an_ordered_test_is_named_and_not_suggested(knowledge: Knowledge) -> None:
    patient = on_testosterone(start=80, orders=[order("E2", authored=3), order("HCT", drafted=True)])
    (card,) = Stop("", patient).cards(knowledge)
    assert [suggestion["label"] for suggestion in card["suggestions"]] == ["Draft order: total testosterone"]
    assert gfm.rows(card["detail"]) == [["Test", "Last done"], ["Total testosterone", "never recorded here"]]
    lines = card["detail"].split("\n")
    assert "- Estradiol: already ordered on 2026-11-19." in lines
    assert "- CBC (with hematocrit): already drafted." in lines


def test_everything_ordered_leaves_no_card(knowledge: Knowledge) -> None:
    patient = on_testosterone(start=80, orders=[order("E2"), order("HCT"), order("TT")])
    assert Stop("", patient).cards(knowledge) == []


def test_a_preliminary_result_is_told(knowledge: Knowledge) -> None:
    waiting = result("HCT", "45", 3, status="preliminary")
    (card,) = Stop("", on_testosterone(waiting, start=80)).cards(knowledge)
    cells = ["CBC (with hematocrit)", "never recorded here; preliminary result of 2026-11-19 awaiting final"]
    assert cells in gfm.rows(card["detail"])


def test_late_baseline_is_called_late(knowledge: Knowledge) -> None:
    (card,) = Stop("", on_testosterone(result("PSA", "1.1", 2), start=20)).cards(knowledge)
    line = "- PSA: the baseline sample of 2026-11-20 was taken late, after the start."
    assert line in card["detail"].split("\n")
    assert "PSA" not in [row[0] for row in gfm.rows(card["detail"])]


def test_status_has_a_column_only_where_it_differs(knowledge: Knowledge) -> None:
    """Without a start the annual rule runs: 380 days ago is due, never is overdue."""
    cards = Stop("", on_testosterone(result("TT", "480", 380), start=None)).cards(knowledge)
    (card,) = [card for card in cards if card["source"]["topic"]["code"] == "MISS"]
    table = gfm.rows(card["detail"])
    assert table[:3] == [
        ["Test", "Last done", "Status"],
        ["Total testosterone", "2025-11-07", "due"],
        ["Free testosterone", "never recorded here", "overdue"],
    ]
    assert card["summary"].startswith("Yearly tests due (6 overdue) on testosterone cypionate: ")


def test_at_an_order_nothing_is_overdue(knowledge: Knowledge) -> None:
    cards = Stop("", chart(drafts=[draft()]), SIGN).cards(knowledge)
    card = cards[-1]
    assert card["source"]["topic"]["code"] == "C-T-8"
    assert "overdue" not in card["summary"] + card["detail"]
    assert card["summary"].startswith("No recent result before starting testosterone cypionate: ")


def test_an_order_check_names_the_drafted_drug(knowledge: Knowledge) -> None:
    patient = chart(
        result("HCT", "55"), drafts=[draft(agent="testosterone enanthate")], therapies=[course("ESTRADIOL")]
    )
    card = Stop("", patient, SIGN).cards(knowledge)[0]
    assert card["summary"] == "Hematocrit 55.0 % on 2026-11-12 (limit 54 %), testosterone enanthate drafted"
