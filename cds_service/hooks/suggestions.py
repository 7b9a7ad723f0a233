"""One-click orders: a `create` action with a draft R4 ServiceRequest for each suggested test."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from typing import Any

from cds_service.knowledge.vocabulary import Test

JSON = dict[str, Any]


def service_request(test: Test, patient_id: str, as_of: date) -> JSON:
    """A draft order of one test for the patient in context (FHIR R4 ServiceRequest, no id: it is a create)."""
    return {
        "resourceType": "ServiceRequest",
        "status": "draft",
        "intent": "order",
        "code": {
            "coding": [
                {"system": test.order_system, "code": test.order_code, "display": test.order_display},
                *(
                    {"system": local.system, "code": local.code, "display": local.display}
                    for local in test.local_orders
                ),
            ],
            "text": test.name,
        },
        "subject": {"reference": f"Patient/{patient_id}"},
        "authoredOn": as_of.isoformat(),
    }


def suggest(
    tests: Sequence[Test],
    *,
    patient_id: str,
    as_of: date,
    profile: str,
    say: Callable[..., str],
    new_uuid: Callable[[], str],
) -> list[JSON]:
    """Suggestions for tests: one each, and first one for all of them if there is more than one.

    `say` gives the words of a message id (a kind of `str` that the encoder refuses, hence `str()`). The Epic
    profile takes one action a suggestion, so that the one for all is left out there.
    """
    actions = [
        {
            "type": "create",
            "description": str(say("action", test=test.name)),
            "resource": service_request(test, patient_id, as_of),
        }
        for test in tests
    ]
    suggestions = [
        {"label": str(say("suggestion", test=test.name)), "uuid": new_uuid(), "actions": [action]}
        for test, action in zip(tests, actions, strict=True)
    ]
    if len(tests) > 1 and profile != "epic":
        everything = str(say("suggestion_all", count=len(tests)))
        suggestions.insert(0, {"label": everything, "uuid": new_uuid(), "actions": actions})
    return suggestions


def tests_of(suggestions: Sequence[JSON], tests: Sequence[Test]) -> list[tuple[str, tuple[str, ...]]]:
    """Which tests each suggestion that `suggest` made of `tests` orders: its uuid and their keys."""
    keys: list[tuple[str, ...]] = [(test.key,) for test in tests]
    if len(suggestions) > len(tests):
        keys.insert(0, tuple(test.key for test in tests))
    return [(suggestion["uuid"], those) for suggestion, those in zip(suggestions, keys, strict=True)]
