"""What the laboratory says of a result decides nothing: flags never, ranges only where a rule asks for them.

The same chart is sent with other flags and with other reference ranges for each sex. The cards stay, except those
of rules whose data name the laboratory's range (4.1.7, 4.1.8).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from cds_service.knowledge.loader import load
from cds_service.knowledge.model import Knowledge
from cds_service.scenarios.bundles import example_cases
from cds_service.scenarios.facts import Case
from cds_service.scenarios.reading import read
from cds_service.scenarios.run import Runner

SCENARIOS = Path(__file__).parents[1] / "scenarios"
FLAGS = "http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation"
GENDERS = "http://hl7.org/fhir/administrative-gender"

# 4.3 and 4.6: "lab ULN", "lab age/sex ULN", "no reference range", "E2 above the male limit".
ASKING = {"E2M-1", "CR-1", "PRL-1", "TW-1", "IGFR-1", "IGFR-3", "ALT-1", "C-E-5-ALT", "AI-1"}


@cache
def shipped() -> Knowledge:
    return load()


@cache
def runner() -> Runner:
    return Runner(shipped())


CASES = (*example_cases(), *read(SCENARIOS / "several_protocols.yaml"))


def names_a_range(tree: Any) -> bool:
    if isinstance(tree, dict):
        return any(key in ("reference", "reference_range") or names_a_range(part) for key, part in tree.items())
    return isinstance(tree, list | tuple) and any(map(names_a_range, tree))


def test_which_rules_ask_for_the_laboratorys_own_range() -> None:
    asking = {rule.id for rule in shipped().rules if names_a_range([rule.applies, dict(rule.spec)])}
    assert asking == ASKING


def observations(body: Any) -> Iterator[dict[str, Any]]:
    for bundle in body["prefetch"].values():
        for entry in (bundle or {}).get("entry", ()):
            if entry["resource"]["resourceType"] == "Observation":
                yield entry["resource"]


def answered(case: Case, body: Any) -> Any:
    """The cards of an answer, as they came over the wire."""
    response = runner().client(case).post(f"/cds-services/hormone-therapy-{case.hook}", json=body)
    return json.loads(response.data)["cards"]


def cards(case: Case, body: Any) -> list[tuple[str, str, str]]:
    """(topic, urgency, first line) of the cards of rules that ask for no range."""
    answer = answered(case, body)
    silent = {rule.topic for rule in shipped().rules if rule.id in ASKING}
    told = [(card["source"]["topic"]["code"], card["indicator"], card["summary"]) for card in answer]
    return sorted(card for card in told if card[0] not in silent)


@pytest.mark.parametrize(
    ("flag", "limits"), [("HH", (0.001, 0.002)), ("N", (88888, 99999)), ("LL", (0.001, 99999))]
)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id or case.title)
def test_flags_and_ranges_for_a_sex_decide_nothing(case: Case, flag: str, limits: tuple[float, float]) -> None:
    body = json.loads(runner().body(case))
    before = cards(case, body)
    for observation in observations(body):
        quantity = observation.get("valueQuantity", {})
        unit = {key: quantity[key] for key in ("unit", "code", "system") if key in quantity}
        observation["referenceRange"] = [
            {end: {"value": limit, **unit}, "appliesTo": [{"coding": [{"system": GENDERS, "code": sex}]}]}
            for sex in ("male", "female")
            for end, limit in zip(("low", "high"), limits, strict=True)
        ]
        observation["interpretation"] = [{"coding": [{"system": FLAGS, "code": flag}]}]
    assert cards(case, body) == before


@pytest.mark.parametrize("flag", ["HH", "LL", "AA"])
def test_an_alarm_of_the_laboratory_is_a_line_and_no_card(flag: str) -> None:
    (high,) = [case for case in example_cases() if case.id == "hematocrit-high"]
    (fine,) = [case for case in example_cases() if case.id == "all-fine"]
    for case, told in ((high, True), (fine, False)):
        body = json.loads(runner().body(case))
        for observation in observations(body):
            observation["interpretation"] = [{"coding": [{"system": FLAGS, "code": flag}]}]
        answer = answered(case, body)
        assert [f"The laboratory flagged this result {flag}." in card["detail"] for card in answer] == [told] * told
