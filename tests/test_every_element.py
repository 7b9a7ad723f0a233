"""Every element of an example chart removed, nulled, of another type, or doubled: no answer is a false all-clear.

The variants are made by a program, thousands of them. A card that the whole chart got must still be there, or the
answer must say what is unknown, or refuse the request. What may go without a word stands in `HARMLESS`, with why.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import pytest
from flask.testing import FlaskClient

from cds_service.scenarios.bundles import example_cases
from cds_service.scenarios.facts import Case
from cds_service.scenarios.run import Runner

PATIENTS = (
    "hematocrit-high",
    "prostate-cancer",
    "embolism-and-estradiol",
    "feminising-potassium",
    "baseline-missing",
)
QUIET = {"UNKNOWN", "DQ-1", "DQ-2", "DQ-4", "DQ-5", "SCOPE-1", "SCOPE-4"}
"""Topics of the cards that say what is not known."""
RANK = {"critical": 0, "warning": 1, "info": 2}

HARMLESS = (
    # (element, what was done to it, why a card may go)
    (r"prefetch\.\w+", "null", "a search that was made and found nothing (CDS Hooks, Prefetch)"),
    (r"prefetch\.\w+\.entry", "remove|null|list", "a Bundle without entries is a search that found nothing"),
    (r"prefetch\.\w+\.entry\.\d+", "remove", "the EHR does not have the resource"),
    (r"context\.draftOrders\.entry", "remove|null|list", "nothing is drafted"),
    (r"context\.draftOrders\.entry\.\d+", "remove", "it is not drafted"),
    (r".*\.resource\.resourceType", "string", "a resource of a type that no rule reads"),
    (r".*\.code\.coding\.\d+\.(system|code)", "string", "a code that no rule reads"),
    (r".*\.valueQuantity\.value", "number", "another value, inside the limits"),
    (
        r"context\.draftOrders\.entry\.\d+\.resource\.medicationCodeableConcept",
        "remove|null|object",
        "while an order is written it may have no drug yet (order-select)",
    ),
    (r".*\.resource\.status", "string", "another status of FHIR"),
)

Path = tuple[Any, ...]


def paths(value: Any, above: Path = ()) -> Iterator[Path]:
    """Where every element of a JSON value stands."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in pairs:
        yield (*above, name)
        yield from paths(inner, (*above, name))


@contextmanager
def replaced(root: Any, path: Path, change: str) -> Iterator[None]:
    """`root` with one element changed; as it was when the block is left."""
    owner = root
    for name in path[:-1]:
        owner = owner[name]
    last, kept = path[-1], owner.copy()
    if change == "remove":
        del owner[last]
    elif change == "double" and isinstance(owner, list):
        owner.insert(last, deepcopy(owner[last]))
    else:
        others: dict[str, Any] = {
            "null": None,
            "string": "zzz",
            "number": 7,
            "list": [],
            "object": {},
            "double": [owner[last]] * 2,
        }
        owner[last] = others[change]
    try:
        yield
    finally:
        owner.clear()
        owner.extend(kept) if isinstance(owner, list) else owner.update(kept)


CHANGES = ("remove", "null", "string", "number", "list", "object", "double")


def topics(cards: list[dict[str, Any]]) -> dict[str, str]:
    return {card["source"]["topic"]["code"]: card["indicator"] for card in cards}


def says_so(cards: list[dict[str, Any]]) -> bool:
    """True if a card tells of something that could not be judged, or of a drug known from its name only."""
    return (
        bool(topics(cards).keys() & QUIET) or "not known" in json.dumps(cards) or "free text" in json.dumps(cards)
    )


def is_harmless(place: str, change: str) -> bool:
    return any(re.fullmatch(where, place) and re.fullmatch(how, change) for where, how, _ in HARMLESS)


@pytest.fixture(scope="module")
def cases() -> dict[str, Case]:
    return {case.id: case for case in example_cases()}


@pytest.mark.slow
@pytest.mark.parametrize("name", PATIENTS)
def test_no_change_of_one_element_is_a_false_all_clear(name, cases, knowledge):
    case = cases[name]
    runner = Runner(knowledge)
    body = json.loads(runner.body(case))
    client: FlaskClient = runner.client(case)
    address = f"/cds-services/hormone-therapy-{case.hook}"

    def ask() -> tuple[int, list[dict[str, Any]]]:
        response = client.post(address, data=json.dumps(body), content_type="application/json")
        return response.status_code, (response.get_json() or {}).get("cards", [])

    status, cards = ask()
    assert status == 200
    whole = {topic: rank for topic, rank in topics(cards).items() if rank != "info" or topic == "MISS"}
    assert whole
    found, count = [], 0
    for section in (("prefetch",), ("context", "draftOrders")):
        part = body
        for step in section:
            part = part.get(step, {})
        for path in list(paths(part, section)):
            for change in CHANGES:
                with replaced(body, path, change):
                    status, cards = ask()
                count += 1
                place = ".".join(map(str, path))
                assert status in (200, 400, 412), (place, change)
                now = topics(cards)
                lost = [t for t, rank in whole.items() if t not in now or RANK[now[t]] > RANK[rank]]
                if status == 200 and lost and not says_so(cards) and not is_harmless(place, change):
                    found.append((place, change, lost))
    assert found == []
    assert count > 700  # the smallest of these charts has 117 elements
