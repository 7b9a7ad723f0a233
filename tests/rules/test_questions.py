"""Compiled predicates: equal parts are asked once a chart, and only there."""

from __future__ import annotations

from cds_service.rules import predicates
from cds_service.rules.predicates import holds
from tests.rules.conftest import chart, ctx


def counted(monkeypatch, name):
    """How often a leaf is asked from now on."""
    asked: list[str] = []
    leaf = predicates.LEAVES[name]

    def counting(spec, at):
        asked.append(spec)
        return leaf(spec, at)

    monkeypatch.setitem(predicates.LEAVES, name, counting)
    return asked


def test_what_two_trees_ask_alike_is_asked_once_a_chart(knowledge, monkeypatch):
    asked = counted(monkeypatch, "sex")
    first, second = {"all": [{"sex": "male"}]}, {"any": [{"sex": "male"}, {"sex": "female"}]}
    at = ctx(chart(), knowledge)
    assert (holds(first, at).holds, holds(second, at).holds) == (True, True)
    assert asked == ["male", "female"]
    holds(first, ctx(chart(), knowledge))
    assert asked == ["male", "female", "male"]


def test_a_traced_evaluation_asks_again(knowledge, monkeypatch):
    asked = counted(monkeypatch, "sex")
    at = ctx(chart(), knowledge)
    at.steps = []
    holds({"sex": "male"}, at)
    holds({"all": [{"sex": "male"}]}, at)
    assert asked == ["male", "male"]
