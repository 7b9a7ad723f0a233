"""One-click orders: a `create` action with a draft R4 ServiceRequest for each suggested test."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any, Protocol

import msgspec

from cds_service.knowledge.vocabulary import Test

JSON = dict[str, Any]


class Suggest(Protocol):
    """What `make_suggest` makes."""

    def __call__(
        self, tests: Sequence[Test], patient_id: str, as_of: date, new_uuid: Callable[[], str], /
    ) -> list[JSON]:
        """Suggestions for tests: one each, and first one for all of them if there is more than one."""
        ...


class _Offer(msgspec.Struct, frozen=True):
    """What the suggestion of a test holds, whoever the patient is."""

    label: str
    description: str
    order: JSON


def draft_order(test: Test) -> JSON:
    """A draft order of one test (FHIR R4 ServiceRequest, no id: it is a create), but for patient and day."""
    ours = {"system": test.order_system, "code": test.order_code, "display": test.order_display}
    local = [{"system": each.system, "code": each.code, "display": each.display} for each in test.local_orders]
    return {
        "resourceType": "ServiceRequest",
        "status": "draft",
        "intent": "order",
        "code": {"coding": [ours, *local], "text": test.name},
    }


def make_suggest(tests: Mapping[str, Test], say: Callable[..., str], profile: str) -> Suggest:
    """Word the suggestions of all tests once; the function that comes back makes those of one card.

    `say` gives the words of a message id (a kind of `str` that the encoder refuses, hence `str()`). The Epic
    profile takes one action a suggestion, so that the one for all is left out there.
    """
    offers = {
        key: _Offer(str(say("suggestion", test=test.name)), str(say("action", test=test.name)), draft_order(test))
        for key, test in tests.items()
    }
    of_all = {count: str(say("suggestion_all", count=count)) for count in range(2, len(tests) + 1)}

    def suggest(tests: Sequence[Test], patient_id: str, as_of: date, new_uuid: Callable[[], str]) -> list[JSON]:
        if not tests:
            return []
        about = {"subject": {"reference": f"Patient/{patient_id}"}, "authoredOn": as_of.isoformat()}
        actions, suggestions = [], []
        for test in tests:
            offer = offers[test.key]
            action = {"type": "create", "description": offer.description, "resource": offer.order | about}
            actions.append(action)
            suggestions.append({"label": offer.label, "uuid": new_uuid(), "actions": [action]})
        if len(tests) > 1 and profile != "epic":
            suggestions.insert(0, {"label": of_all[len(tests)], "uuid": new_uuid(), "actions": actions})
        return suggestions

    return suggest


def tests_of(suggestions: Sequence[JSON], tests: Sequence[Test]) -> list[tuple[str, tuple[str, ...]]]:
    """Which tests each suggestion that was made of `tests` orders: its uuid and their keys."""
    keys: list[tuple[str, ...]] = [(test.key,) for test in tests]
    if len(suggestions) > len(tests):
        keys.insert(0, tuple(test.key for test in tests))
    return [(suggestion["uuid"], those) for suggestion, those in zip(suggestions, keys, strict=True)]
