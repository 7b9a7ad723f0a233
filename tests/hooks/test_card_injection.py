"""Hostile text in every field of a chart that a card may show: it is read, and does nothing.

The same tour is made with plain words and with each attack; the cards must have the same structure, line by line.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cds_service.chart import Order, Procedure
from cds_service.hooks.words import plain
from cds_service.knowledge.loader import load
from cds_service.knowledge.model import Knowledge
from cds_service.rules.outcome import Evaluation, Finding
from tests.hooks import gfm
from tests.hooks.attacks import ATTACKS
from tests.hooks.tour import SIGN, Stop, numbered, renderer, stops
from tests.rules.conftest import TODAY, chart, draft, judge

PLAIN = "plain words"
SHOWN = [attack for attack in ATTACKS if plain(attack)]


@cache
def shipped() -> Knowledge:
    return load()


@cache
def cards(text: str) -> list[tuple[str, list[dict[str, Any]]]]:
    knowledge = shipped()
    return [(stop.name, stop.cards(knowledge)) for stop in (*stops(text), *_facts(text))]


def _facts(text: str) -> list[Stop]:
    """Facts that few rules rest on: drafted tests and procedures."""

    class Facts(Stop, frozen=True):
        def evaluation(self, knowledge: Knowledge) -> Evaluation:
            base = judge(chart(drafts=[draft()]), knowledge, SIGN).findings[0]
            empty: frozenset[str] = frozenset()
            test, done = Order(empty, text, text, drafted=True), Procedure(empty, text, text)
            finding: Finding = msgspec.structs.replace(base, facts=(test, done))
            return Evaluation(SIGN, TODAY, (), (finding,))

    return [Facts("facts", chart(), SIGN)]


@pytest.mark.parametrize("attack", SHOWN, ids=lambda attack: repr(attack)[:40])
def test_attack_is_inert(attack: str) -> None:
    for (name, got), (_, expected) in zip(cards(attack), cards(PLAIN), strict=True):
        for card, harmless in zip(got, expected, strict=True):
            assert card["source"]["topic"] == harmless["source"]["topic"], name
            assert len(card["summary"]) < 140
            assert len(card["summary"].splitlines()) == 1
            gfm.assert_inert(card["detail"])
            assert gfm.blocks(card["detail"]) == gfm.blocks(harmless["detail"]), name
            assert len(card["detail"].splitlines()) == len(harmless["detail"].splitlines()), name
            assert [len(row) for row in gfm.rows(card["detail"])] == [
                len(row) for row in gfm.rows(harmless["detail"])
            ]
            assert json_of(card) == json_of(harmless), "nothing but the words of the card may change"


def json_of(card: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in card.items() if name not in ("summary", "detail")}


def test_the_tour_shows_the_text_in_many_places() -> None:
    """The test above would be idle if the text stood nowhere."""
    places = [
        line.replace(PLAIN, "TEXT")
        for _, got in cards(PLAIN)
        for card in got
        for line in (card["summary"], *card["detail"].split("\n"))
        if PLAIN in line
    ]
    assert len(set(places)) > 50
    text = "\n".join(places)
    for part in (
        "on TEXT",  # an agent in a summary
        "reported as TEXT TEXT",
        "| 55.0 % (TEXT TEXT) |",
        "In the chart: TEXT (code TEXT)",
        "In the chart: TEXT.",
        "Drafted: TEXT.",
        "recognised from TEXT",
        "prefetch key `TEXT`",
        "could be used (TEXT)",
        "A later result (TEXT TEXT, ",
        "TEXT has no date",
        "TEXT is not confirmed in the chart",
    ):
        assert part in text, part


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.one_of(st.text(max_size=200), st.lists(st.sampled_from(ATTACKS[:40]), max_size=3).map(" ".join)))
def test_any_text_is_inert(text: str) -> None:
    knowledge = shipped()
    for stop in stops(text):
        evaluation = stop.evaluation(knowledge)
        for card in renderer(knowledge)(evaluation, stop.chart, numbered()):
            gfm.assert_inert(card["detail"])
            assert len(card["summary"]) <= 139
            assert card["summary"].splitlines() == [card["summary"]]
            msgspec.json.encode(card)
