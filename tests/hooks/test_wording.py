"""What cards say: the wording rules of clinical section 6.3, and that every sentence has its place."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args, get_type_hints

import msgspec
import pytest
import yaml

import cds_service
from cds_service.chart import Gap, Measurement
from cds_service.hooks.wording import templates_folder
from cds_service.hooks.words import Words
from cds_service.knowledge.model import Knowledge, Rule
from cds_service.rules import engine, outcome
from cds_service.rules.calculated import FORMULAS
from tests.hooks.tour import Stop, spoken, stops
from tests.rules.conftest import ctx, measurement, on_testosterone

PACKAGE = Path(cds_service.__file__).parent
FOLDER = templates_folder()
MESSAGES: dict[str, str] = yaml.safe_load((FOLDER / "messages.yaml").read_text(encoding="utf-8"))

ORDERS = re.compile(r"(?i)\b(orders?|ordering|stops?|stopping|must|prescribes?|prescribing)\b")
"""As an instruction to the user. What was ordered, stopped or prescribed is a fact."""

ALLOWED = {
    "draft order": "label of a suggestion that the user accepts or not",
    "order accepted": "what the user did with an earlier card",
    "draft orders": "the same for several tests",
    "draft an order": "what that suggestion does",
    "open orders": "a list of the chart",
    "this order": "the order in hand, which the user wrote",
    "hormone order": "the same, in a title",
    "stop limit": "name of a limit",
    "consider stopping": "something to weigh, not an instruction",
    "after stopping it": "a time",
    "orders found": "what a study counted",
    "against routine prescribing": "what a guideline suggests about a group",
}
GENDERED = re.compile(r"(?i)\b(he|she|his|hers?|him|himself|herself)\b")
ALARMING = re.compile(r"(?i)\bemergenc(y|ies)\b|\bimmediately\b|\burgent(ly)?\b")


def rule_texts(rule: Rule) -> Iterator[tuple[str, str]]:
    yield "title", rule.title
    yield "advice", rule.advice
    yield "differs", rule.differs
    yield "summary", rule.spec.get("summary", "")
    yield from ((f"note {number}", note.text) for number, note in enumerate(rule.notes, 1))


def own_texts(knowledge: Knowledge) -> Iterator[tuple[str, str]]:
    """Every text of ours that may stand in a card, with its place."""
    yield from ((f"messages.yaml: {name}", unmarked(text)) for name, text in MESSAGES.items())
    for path in FOLDER.glob("*.md"):
        yield path.name, unmarked(path.read_text(encoding="utf-8"))
    for rule in knowledge.rules:
        yield from ((f"{rule.id}: {field}", unmarked(text)) for field, text in rule_texts(rule))
    yield from ((f"test {test.key}", f"{test.name} {test.note}") for test in knowledge.tests.values())
    yield from ((f"reason {reason.code}", reason.display) for reason in knowledge.reasons.values())
    for protocol in knowledge.protocols:
        yield f"protocol {protocol.key}", protocol.name
        for plan in protocol.schedules.values():
            yield f"protocol {protocol.key}, {plan.profile}", plan.differs


def unmarked(template: str) -> str:
    """A template without its code; the words inside expressions are seen in the cards of the tour."""
    return re.sub(r"\{%.*?%\}|\{\{.*?\}\}", " ", template, flags=re.DOTALL)


@pytest.fixture(scope="module")
def texts(knowledge: Knowledge) -> list[tuple[str, str]]:
    rendered = [
        (f"card {card['source']['topic']['code']} of {stop.name}", f"{card['summary']}\n{card['detail']}")
        for stop in stops("as in the chart")
        for card in stop.cards(knowledge)
    ]
    return [*own_texts(knowledge), *rendered]


def without_allowed(text: str) -> str:
    for phrase in sorted(ALLOWED, key=len, reverse=True):
        text = re.sub(rf"(?i)\b{phrase}\b", " ", text)
    return text


# -- 6.3 ---------------------------------------------------------------------------------------------


def test_cards_recommend_and_never_order(texts: list[tuple[str, str]]) -> None:
    found = {place: ORDERS.findall(without_allowed(text)) for place, text in texts}
    assert {place: words for place, words in found.items() if words} == {}


def test_no_allowance_is_idle(texts: list[tuple[str, str]]) -> None:
    everything = " ".join(text for _, text in texts).casefold()
    assert [phrase for phrase in ALLOWED if phrase not in everything] == []


@pytest.mark.parametrize("pattern", [GENDERED, ALARMING, re.compile(r"(?i)not done|never done")])
def test_words_that_no_card_has(pattern: re.Pattern[str], texts: list[tuple[str, str]]) -> None:
    """No gender guessed, nothing that claims to watch in real time, and outside results may exist."""
    assert {place: match[0] for place, text in texts if (match := pattern.search(text))} == {}


def test_a_critical_card_says_review_before_continuing(knowledge: Knowledge) -> None:
    critical = [
        rule
        for rule in knowledge.rules
        if rule.indicator == "critical"
        or any(change["indicator"] == "critical" for change in rule.spec.get("indicator_when", ()))
    ]
    assert critical
    assert [rule.id for rule in critical if "Review before continuing" not in rule.advice] == []


def test_texts_are_tidy(knowledge: Knowledge) -> None:
    """Whole sentences, one blank between words, no Markdown that would change the layout of a card."""
    for rule in knowledge.rules:
        for field, text in rule_texts(rule):
            place = f"{rule.id}: {field}: {text!r}"
            assert "  " not in text, place
            assert text == text.strip(), place
            assert "\n" not in text, place
            assert not re.search(r"[<>*_`|\[\]#]", re.sub(r"\{\{.*?\}\}", "", text)), place
            if text and field not in ("title", "summary"):
                assert text.endswith((".", ".)")), place
            if field in ("title", "summary"):
                assert not text.endswith("."), place


def test_every_start_of_testosterone_mentions_blood_pressure(knowledge: Knowledge) -> None:
    """6.3: blood-pressure warning of the US labels (February 2025)."""
    starts = [rule for rule in knowledge.rules if rule.id.startswith("C-T-") and not rule.line_only]
    assert starts
    silent = {rule.id for rule in starts if not any("blood pressure" in note.text for note in rule.notes)}
    assert silent <= {"C-T-PREG"}  # labelled contraindication: nothing is started


# -- every sentence has its place --------------------------------------------------------------------


def called(name: str, folder: str) -> Iterator[str]:
    """First arguments of calls of `name` in a folder: a string, or the fixed beginning of an f-string with `*`."""
    for path in sorted((PACKAGE / folder).glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            function = node.func
            if name != (function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")):
                continue
            match node.args[0]:
                case ast.Constant(value=str(value)) if value:
                    yield value
                case ast.Name(id=constant) if constant.isupper():
                    yield getattr(outcome, constant)
                case ast.JoinedStr(values=[ast.Constant(value=str(value)), *_]):
                    yield f"{value}*"


ELSEWHERE = {"line_interaction", "limit_of_site"}
"""Messages of what no shipped rule does: an interaction inside another card, a limit that a site has changed."""
IDS = {*called("Line", "rules"), *called("Doubt", "rules"), *called("say", "hooks")}


def made_ids(knowledge: Knowledge) -> set[str]:
    """What the f-strings among the ids can become."""
    problems = {word for word in get_args(get_type_hints(Measurement)["problem"]) if word}
    return {
        *(f"gap_{kind}" for kind in get_args(get_type_hints(Gap)["kind"])),
        *(f"dq_{problem}" for problem in (*problems, "conflict")),
        *(f"dq_{problem}" for rule in knowledge.rules for problem in rule.spec.get("problems", ())),
        *(f"result_{trait}" for trait in ("estimated", "calculated")),
        *(f"calculated_{formula}" for formula in FORMULAS),
        *(f"line_{rule.kind}" for rule in knowledge.rules if rule.line_in and rule.kind != "calculated"),
        *(f"area_{area}" for area in engine.AREAS),
    }


def test_ids_are_found() -> None:
    assert {"unit_inferred", "from_text", "rule_failed", "gap_*", "dq_*", "line_*", "closing"} <= IDS
    assert {name for name in IDS if name.endswith("*")} == {"gap_*", "dq_*", "line_*", "result_*", "calculated_*"}


def test_every_id_that_rules_use_is_a_message(knowledge: Knowledge) -> None:
    fixed = {name for name in IDS if not name.endswith("*")}
    assert sorted((fixed | made_ids(knowledge)) - MESSAGES.keys()) == []


def test_every_message_is_used(knowledge: Knowledge) -> None:
    assert sorted(MESSAGES.keys() - IDS - made_ids(knowledge) - ELSEWHERE) == []


def test_every_template_is_used(knowledge: Knowledge) -> None:
    names = {path.name for path in FOLDER.glob("*.md")}
    included = set(
        re.findall(r'include "([\w.]+)"', "".join(p.read_text(encoding="utf-8") for p in FOLDER.glob("*.md")))
    )
    kinds = {f"{kind}.md" for kind in engine.KINDS if kind != "calculated"}
    assert names - included - kinds == {"basis.md", "merged.md", "unknown.md"}
    used = {f"{rule.template}.md" for rule in knowledge.rules if rule.kind not in ("quality", "calculated")}
    assert used <= names


def test_every_message_is_said_by_the_rules(knowledge: Knowledge, monkeypatch: pytest.MonkeyPatch) -> None:
    """StrictUndefined: each message renders with what the rules give it, on a tour of what charts bring."""
    said = spoken(knowledge, monkeypatch)
    bare = {name for name, text in MESSAGES.items() if "{{" not in text}
    elsewhere = {"rule_failed", "and_more", *(f"calculated_{name}" for name in FORMULAS), *ELSEWHERE}
    assert sorted(MESSAGES.keys() - said.keys() - bare - elsewhere) == []


def test_a_rule_that_fails_is_told(knowledge: Knowledge, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> Any:
        raise RuntimeError

    monkeypatch.setitem(engine.KINDS, "threshold", fail)
    cards = Stop("", on_testosterone(measurement("HCT", "55"), start=500)).cards(knowledge)
    (card,) = [card for card in cards if card["source"]["topic"]["code"] == "UNKNOWN"]
    assert "- A check could not be completed: Hematocrit above the stop limit on testosterone." in card["detail"]


RATIOS: list[tuple[str, str, str, Mapping[str, str], str]] = [
    # TT 15.6 nmol/L = 449.9352 ng/dL, SHBG 22 nmol/L: 70.91 (5.2)
    ("free_androgen_index", "TT 449.9352", "SHBG 22", {"factor": "100", "numerator_per_unit": "28.842"}, "70.91"),
    ("testosterone_estradiol_ratio", "TT 600", "E2 30", {"factor": "1", "numerator_per_unit": "1"}, "20.0"),
    ("ft3_rt3_ratio", "FT3 3.2", "RT3 15", {"factor": "100", "numerator_per_unit": "1"}, "21.33"),
]


@pytest.mark.parametrize(
    ("formula", "above", "below", "constants", "expected"), RATIOS, ids=lambda value: str(value)[:30]
)
def test_a_ratio_shows_its_inputs(
    formula: str, above: str, below: str, constants: Mapping[str, str], expected: str, knowledge: Knowledge
) -> None:
    pair = [measurement(marker, value, 5) for marker, value in (above.split(), below.split())]
    (base,) = [rule for rule in knowledge.rules if rule.id == "CALC-FT"]
    inputs = {"numerator": pair[0].marker, "denominator": pair[1].marker}
    rule = msgspec.structs.replace(base, spec={"formula": formula, "inputs": inputs, "constants": constants})
    _, finding = FORMULAS[formula](rule, ctx(on_testosterone(*pair), knowledge))
    assert finding is not None
    words = Words(knowledge)
    text = words.line(finding.lines[0])
    assert f"calculated: {expected}; from {words.value(pair[0])} and {words.value(pair[1])} of 2026-11-17." in text


def test_vermeulen_shows_its_inputs(knowledge: Knowledge) -> None:
    """V10 of 5.1: 300 ng/dL and 30 nmol/L give 62.37 pg/mL and 146.2 ng/dL; the albumin is assumed, and said so."""
    results = [measurement("TT", "300", 20), measurement("SHBG", "30", 20), measurement("FT", "55", 20)]
    (card, *_) = [
        card
        for card in Stop("", on_testosterone(*results, start=100)).cards(knowledge)
        if card["source"]["topic"]["code"] == "TT-4"
    ]
    line = (
        "- Free testosterone, calculated (Vermeulen): 62.4 pg/mL, bioavailable 146 ng/dL; from total testosterone "
        "300 ng/dL and SHBG 30 nmol/L of 2026-11-02, albumin assumed 4.3 g/dL. "
        "Measured free testosterone of that day: 55 pg/mL."
    )
    assert line in card["detail"].split("\n")
