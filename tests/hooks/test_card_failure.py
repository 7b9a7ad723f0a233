"""A card that cannot be worded is told in the quiet card, and the others are shown (law 1)."""

from __future__ import annotations

from typing import Any

import pytest

from cds_service.hooks import cards
from cds_service.hooks.words import Words
from cds_service.knowledge.model import Knowledge
from tests.rules.conftest import chart, course, judge, measurement


def test_a_template_that_raises_takes_no_other_card_down(
    knowledge: Knowledge, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Words.detail

    def broken(self: Words, template: str, values: Any) -> str:
        if template == "threshold":
            raise ValueError("broken template")
        return whole(self, template, values)

    patient = chart(measurement("HCT", "55.2"), therapies=(course(),))
    evaluation = judge(patient, knowledge)
    assert "HCT-1" in {finding.rule.id for finding in evaluation.findings}
    monkeypatch.setattr(Words, "detail", broken)
    numbers = iter(range(1000))
    failed: dict[str, str] = {}
    shown = cards.make_renderer(knowledge)(evaluation, patient, lambda: str(next(numbers)), cards._forget, failed)
    topics = [card["source"]["topic"]["code"] for card in shown]
    assert "HCT-1" not in topics
    assert "UNKNOWN" in topics
    assert "MISS" in topics
    assert failed == {"HCT-1": "ValueError"}
