"""Suggested orders: valid drafts for the patient in context, one each, and one for all where the EHR takes it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

import pytest
from fhir.resources.R4B.servicerequest import ServiceRequest

from cds_service.hooks.suggestions import make_suggest
from cds_service.hooks.words import Words
from cds_service.knowledge import vocabulary
from cds_service.knowledge.model import Knowledge
from tests.hooks.tour import Stop, numbered, stops
from tests.rules.conftest import on_testosterone

DAY = date(2026, 11, 22)
LOINC = "http://loinc.org"


@pytest.fixture(scope="module")
def words(knowledge: Knowledge) -> Words:
    return Words(knowledge)


def suggested(tests: Sequence[vocabulary.Test], words: Words, profile: str = "generic") -> list[dict[str, Any]]:
    return make_suggest(words.knowledge.tests, words.say, profile)(tests, "p-1", DAY, numbered())


def some_tests(knowledge: Knowledge, *keys: str) -> list[vocabulary.Test]:
    return [knowledge.tests[key] for key in keys]


def test_every_test_makes_a_valid_order(knowledge: Knowledge, words: Words) -> None:
    tests = list(knowledge.tests.values())
    everything, *_ = suggested(tests, words)
    for test, action in zip(tests, everything["actions"], strict=True):
        resource = action["resource"]
        order = ServiceRequest.model_validate(resource)
        assert order.status == "draft"
        assert order.intent == "order"
        assert order.subject.reference == "Patient/p-1"
        assert "id" not in resource, "a create gets its id from the server"
        assert resource["code"]["coding"][0] == {
            "system": test.order_system,
            "code": test.order_code,
            "display": test.order_display,
        }
        assert resource["code"]["text"] == test.name
        assert resource["authoredOn"] == "2026-11-22"


def test_shipped_orders_are_loinc_with_a_right_check_digit(knowledge: Knowledge) -> None:
    for test in knowledge.tests.values():
        assert test.order_system == LOINC
        digits, check = test.order_code.split("-")
        assert luhn(digits) == int(check), test.order_code


def luhn(digits: str) -> int:
    """LOINC's check digit: from the right, every second digit doubled, their digits summed."""
    doubled = [int(digit) * (2 - place % 2) for place, digit in enumerate(reversed(digits))]
    return -sum(sum(divmod(number, 10)) for number in doubled) % 10


def test_one_test_is_one_suggestion(knowledge: Knowledge, words: Words) -> None:
    (only,) = suggested(some_tests(knowledge, "CBC"), words)
    assert only == {
        "label": "Draft order: CBC (with hematocrit)",
        "uuid": "00000000-0000-4000-8000-000000000000",
        "actions": [
            {
                "type": "create",
                "description": "Draft an order for CBC (with hematocrit)",
                "resource": {
                    "resourceType": "ServiceRequest",
                    "status": "draft",
                    "intent": "order",
                    "code": {
                        "coding": [
                            {
                                "system": LOINC,
                                "code": "58410-2",
                                "display": knowledge.tests["CBC"].order_display,
                            }
                        ],
                        "text": "CBC (with hematocrit)",
                    },
                    "subject": {"reference": "Patient/p-1"},
                    "authoredOn": "2026-11-22",
                },
            }
        ],
    }


def test_several_tests_begin_with_one_for_all(knowledge: Knowledge, words: Words) -> None:
    everything, *single = suggested(some_tests(knowledge, "TT", "E2", "PSA"), words)
    assert everything["label"] == "Draft orders for all 3 tests"
    assert len(everything["actions"]) == 3
    assert [one["label"] for one in single] == [
        "Draft order: total testosterone",
        "Draft order: estradiol",
        "Draft order: PSA",
    ]
    assert [one["actions"] for one in single] == [[action] for action in everything["actions"]]
    uuids = [one["uuid"] for one in (everything, *single)]
    assert len(set(uuids)) == 4


def test_one_patient_is_not_seen_by_the_next(knowledge: Knowledge, words: Words) -> None:
    suggest = make_suggest(knowledge.tests, words.say, "generic")
    tests = some_tests(knowledge, "TT", "E2")
    first = suggest(tests, "p-1", DAY, numbered())
    before = repr(first)
    second = suggest(tests, "p-2", date(2026, 12, 1), numbered())
    assert repr(first) == before
    assert "p-1" not in repr(second)
    assert "2026-11-22" not in repr(second)


def test_epic_takes_one_action_a_suggestion(knowledge: Knowledge, words: Words) -> None:
    found = suggested(some_tests(knowledge, "TT", "E2", "PSA"), words, "epic")
    assert [one["label"] for one in found] == [
        "Draft order: total testosterone",
        "Draft order: estradiol",
        "Draft order: PSA",
    ]
    assert all(len(one["actions"]) == 1 for one in found)


def test_no_test_no_suggestion(words: Words) -> None:
    assert suggested([], words) == []


@pytest.mark.parametrize("profile", ["generic", "epic"])
def test_suggestions_of_the_tour(profile: str, knowledge: Knowledge) -> None:
    seen = 0
    for stop in stops():
        for card in stop.cards(knowledge, profile):
            for suggestion in card.get("suggestions", ()):
                seen += 1
                assert suggestion.keys() == {"label", "uuid", "actions"}
                assert suggestion["label"]
                assert profile == "generic" or len(suggestion["actions"]) == 1
                for action in suggestion["actions"]:
                    assert action.keys() == {"type", "description", "resource"}
                    assert action["type"] == "create"
                    assert action["resource"]["subject"] == {"reference": f"Patient/{stop.chart.patient.id}"}
    assert seen > 100


def test_a_card_suggests_what_it_lists(knowledge: Knowledge) -> None:
    (card,) = Stop("", on_testosterone(start=80)).cards(knowledge)
    first, *single = card["suggestions"]
    codes = [action["resource"]["code"]["coding"][0]["code"] for action in first["actions"]]
    assert codes == ["2986-8", "2243-4", "58410-2"]
    assert len(single) == 3
    assert card["selectionBehavior"] == "any"
