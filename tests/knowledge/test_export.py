"""The exported artefacts: valid R4, whole, and their FHIRPath agrees with the rules on the same patients.

Two implementations of one rule that share nothing but its data: the service, and fhirpathpy on the expressions.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
import time_machine

from cds_service.knowledge import fhirpath
from cds_service.knowledge.export import FHIRPATH, WORDS, conditions, resources
from cds_service.knowledge.fhirpath import bound
from cds_service.knowledge.in_words import CLAUSES
from cds_service.knowledge.loader import load
from cds_service.knowledge.model import HookName, Knowledge, Rule
from cds_service.knowledge.units import for_display
from cds_service.rules.predicates import LEAVES
from cds_service.scenarios.bundles import example_cases
from cds_service.scenarios.facts import Case, Faults
from cds_service.scenarios.reading import read
from cds_service.scenarios.request import encode
from cds_service.scenarios.run import Runner

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from fhir.resources.R4B import get_fhir_model_class
    from fhirpathpy import compile as compile_fhirpath
    from fhirpathpy.models import models

SCENARIOS = Path(__file__).parents[1] / "scenarios"
Expression = Callable[..., list[Any]]


@cache
def knowledge() -> Knowledge:
    return load()


@cache
def artefacts() -> tuple[dict[str, Any], ...]:
    return tuple(resources(knowledge()))


@cache
def runner() -> Runner:
    return Runner(knowledge())


# -- the artefacts -------------------------------------------------------------------------------------


def test_each_is_valid_r4() -> None:
    for resource in artefacts():
        get_fhir_model_class(resource["resourceType"]).model_validate(resource)


def test_there_is_one_for_each_protocol_and_test() -> None:
    kinds: dict[str, set[str]] = {}
    for resource in artefacts():
        kinds.setdefault(resource["resourceType"], set()).add(resource["id"])
    protocols = {protocol.key.replace("_", "-") for protocol in knowledge().protocols}
    assert kinds == {
        "PlanDefinition": protocols,
        "Library": protocols,
        "ActivityDefinition": {key.replace("_", "-") for key in knowledge().tests},
    }


def every(value: Any, name: str) -> Iterator[Any]:
    """All values of a field, at any depth."""
    if isinstance(value, dict):
        yield from ([value[name]] if name in value else [])
        for part in value.values():
            yield from every(part, name)
    elif isinstance(value, list):
        for part in value:
            yield from every(part, name)


def test_what_they_refer_to_is_there() -> None:
    addresses = {resource["url"] for resource in artefacts()}
    assert len(addresses) == len(artefacts())
    assert set(every(list(artefacts()), "definitionCanonical")) <= addresses
    assert {url for urls in every(list(artefacts()), "library") for url in urls} <= addresses


def test_the_base_begins_each_address() -> None:
    for resource in resources(knowledge(), "https://cds.example.org/fhir"):
        assert resource["url"].startswith(f"https://cds.example.org/fhir/{resource['resourceType']}/")


def test_each_rule_is_an_action_with_its_hooks_and_evidence() -> None:
    actions = {
        action["prefix"]: action
        for resource in artefacts()
        if resource["resourceType"] == "PlanDefinition"
        for action in resource.get("action", ())
    }
    assert actions.keys() == {rule.id for rule in knowledge().rules}
    for rule in knowledge().rules:
        action = actions[rule.id]
        assert {(one["type"], one["name"]) for one in action["trigger"]} == {("named-event", h) for h in rule.hooks}
        assert [one["label"] for one in action["documentation"]] == [one.source for one in rule.evidence]
        assert f"version {rule.version}" in action["description"]
        assert {one["expression"]["language"] for one in action["condition"]} <= {FHIRPATH, WORDS}


def test_what_cannot_be_said_is_told_in_words_with_the_reason() -> None:
    rule = next(rule for rule in knowledge().rules if rule.id == "TT-1")
    text, language, expression = conditions(rule, knowledge())[1]
    assert language == WORDS
    assert text == f"When: {expression.partition(' (no FHIRPath')[0]}"
    assert "the latest total testosterone" in expression
    assert "days are counted from the start of the course" in expression


def test_a_plan_holds_the_milestones_with_their_days() -> None:
    plan = next(one for one in artefacts() if one["url"].endswith("PlanDefinition:male-trt"))
    due = next(action for action in plan["action"] if action["prefix"] == "MISS-male_trt")
    three = next(action for action in due["action"] if action["title"] == "3-month (seed)")
    assert three["timingRange"]["low"]["value"] == 60
    assert three["timingRange"]["high"]["value"] == 120
    assert [one["definitionCanonical"].rpartition(":")[2] for one in three["action"]] == ["TT", "E2", "CBC"]


def test_a_predicate_can_be_put_into_words_whatever_it_is() -> None:
    assert CLAUSES.keys() == LEAVES.keys() | {"all", "any", "not", "certain", "protocol"}


# -- limits --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("marker", "sign", "limit", "least"),
    [
        ("HCT", ">", "54.0", "54.05"),
        ("HCT", ">=", "54.0", "53.95"),
        ("PSA", ">", "4.00", "4.005"),
        ("TT", ">", "1000", "1000.5"),
        ("TT", ">=", "1000", "999.5"),
        ("LDL", ">=", "190", "189.5"),
        ("LDL", ">=", "100", "99.95"),  # three digits: 99.9 and 100 are neighbours
        ("LDL", ">", "100", "100.5"),
        ("LDL", ">", "99.9", "99.95"),
        ("HCT", ">", "54.02", "54.05"),  # a limit between two shown values
    ],
)
def test_rounding_turned_round(marker: str, sign: str, limit: str, least: str) -> None:
    known, edge = knowledge().markers[marker], Decimal(least)
    assert bound(known, sign, Decimal(limit)) == edge
    below = edge - Decimal("0.0001")
    above, under = (for_display(known, value) > Decimal(limit) for value in (edge, below))
    if sign == ">":
        assert (above, under) == (True, False)
    else:
        assert for_display(known, edge) >= Decimal(limit) > for_display(known, below)


# -- agreement -----------------------------------------------------------------------------------------


def compiled(text: str) -> Expression:
    """A function of a resource. The compiler's own would take more, and its annotation asks for it."""
    whole: Any = compile_fhirpath(text, models["r4"])
    return lambda resource: list(whole(resource))


@cache
def expressions() -> dict[str, tuple[Rule, list[Expression]]]:
    """The rules that FHIRPath can say whole, compiled."""
    said: dict[str, tuple[Rule, list[Expression]]] = {}
    for rule in knowledge().rules:
        parts = conditions(rule, knowledge())
        if rule.status == "active" and all(language == FHIRPATH for _, language, _ in parts):
            said[rule.id] = rule, [compiled(text) for _, _, text in parts]
    return said


def bundle(case: Case) -> dict[str, Any]:
    records = runner().records(case)
    entries = [{"resource": resource} for resource in (*records.all, *records.drafts)]
    found: dict[str, Any] = json.loads(encode({"resourceType": "Bundle", "type": "collection", "entry": entries}))
    return found


def disagreements(case: Case, wanted: set[str] | None = None) -> tuple[list[str], set[str]]:
    """Rules on which the two differ, and those that spoke. What is unknown to the rules is not compared."""
    evaluation = runner().directly(case).evaluation
    assert evaluation is not None
    chart, differ, spoke = bundle(case), [], set()
    noon = datetime(case.as_of.year, case.as_of.month, case.as_of.day, 12, tzinfo=UTC)
    with time_machine.travel(noon, tick=False):
        for outcome in evaluation.outcomes:
            if outcome.rule not in (wanted or expressions()) or outcome.rule not in expressions():
                continue
            holds = all(expression(chart) == [True] for expression in expressions()[outcome.rule][1])
            if outcome.result != "unknown" and holds != (outcome.finding is not None):
                differ.append(f"{case.title}: {outcome.rule} {outcome.result} ({outcome.reason}), FHIRPath {holds}")
            spoke |= {outcome.rule} if outcome.finding else set()
    return differ, spoke


def test_the_thresholds_and_contraindications_that_codes_can_say_are_said() -> None:
    assert {"HCT-1", "HCT-2", "HCT-3", "C-T-1", "C-T-2a", "C-T-2b", "C-T-6"} <= expressions().keys()


@pytest.mark.slow
@pytest.mark.parametrize("case", [pytest.param(case, id=case.id) for case in example_cases()])
def test_they_agree_on_the_example_patients(case: Case) -> None:
    for hook in get_args(HookName):
        assert disagreements(msgspec.structs.replace(case, hook=hook))[0] == []


def in_codes(case: Case) -> bool:
    """False for what codes alone cannot tell: drugs as text, spellings of units, a broken prefetch, a choice."""
    drugs = any(drug.text for drug in case.given.therapies)
    units = {unit for marker in knowledge().markers.values() for unit in marker.factors}
    plain = all(
        result.value.partition(" ")[2] in (*units, "") or not result.value[:1].isdigit()
        for result in case.given.results
    )
    return not drugs and plain and case.prefetch == Faults() and not case.switches and not case.site


@pytest.mark.slow
def test_they_agree_on_every_band_of_the_hematocrit() -> None:
    cases = [case for case in read(SCENARIOS / "hematocrit.yaml") if in_codes(case)]
    found = [disagreements(case, {"HCT-1", "HCT-2", "HCT-3"}) for case in cases]
    assert [text for differ, _ in found for text in differ] == []
    assert set().union(*(spoke for _, spoke in found)) >= {"HCT-1", "HCT-2", "HCT-3"}
    assert len(cases) > 30


def test_a_wrong_limit_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    right = expressions()["HCT-1"][1]  # made before the limit is wrong: they are kept for the other tests
    monkeypatch.setattr(fhirpath, "bound", lambda *_: Decimal("30"))
    rule = next(rule for rule in knowledge().rules if rule.id == "HCT-1")
    wrong = [compiled(text) for _, _, text in conditions(rule, knowledge())]
    case = next(case for case in example_cases() if case.id == "all-fine")
    with time_machine.travel(datetime(2026, 11, 22, 12, tzinfo=UTC), tick=False):
        chart = bundle(case)
        assert all(expression(chart) == [True] for expression in wrong)
        assert not all(expression(chart) == [True] for expression in right)
