"""Which markers the rules read."""

from __future__ import annotations

import msgspec
import pytest

from cds_service.knowledge.model import Note
from cds_service.knowledge.needs import markers_needed, named


@pytest.mark.parametrize(
    ("tree", "expected"),
    [
        (None, []),
        ({"marker": "HCT"}, ["HCT"]),
        ({"all": [{"not": {"has_result": {"marker": "TT", "count": 2}}}, {"marker": "PSA"}]}, ["TT", "PSA"]),
        ({"markers": ["CHOL", "HDL"], "limit": "5"}, ["CHOL", "HDL"]),
        ({"inputs": {"total": "TT", "shbg": "SHBG"}}, ["TT", "SHBG"]),
        ({"therapy": {"key": "TESTOSTERONE"}, "name": "marker"}, []),
    ],
)
def test_markers_named_in_a_tree(tree, expected):
    assert list(named(tree)) == expected


def only(knowledge, **fields):
    """The knowledge with one rule, changed by `fields`, and protocols without schedules."""
    (rule,) = [rule for rule in knowledge.rules if rule.id == "HCT-1"]
    protocols = tuple(msgspec.structs.replace(p, schedules={}, applies=None) for p in knowledge.protocols)
    bare = {"applies": None, "spec": {}, "notes": (), **fields}
    return msgspec.structs.replace(knowledge, protocols=protocols, rules=(msgspec.structs.replace(rule, **bare),))


def test_markers_of_a_rule(knowledge):
    assert markers_needed(only(knowledge)) == set()
    assert markers_needed(only(knowledge, spec={"marker": "HCT"})) == {"HCT"}
    assert "TT" in markers_needed(only(knowledge, applies={"has_result": {"marker": "TT"}}))
    assert "E2" in markers_needed(only(knowledge, notes=(Note("x", {"result": {"marker": "E2"}}),)))


def test_markers_of_a_protocols_own_condition(knowledge):
    bare = only(knowledge)
    first, *others = bare.protocols
    asking = msgspec.structs.replace(first, applies={"not": {"has_result": {"marker": "HCG"}}})
    assert "HCG" in markers_needed(msgspec.structs.replace(bare, protocols=(asking, *others)))


def test_a_rule_that_does_not_run_needs_nothing(knowledge):
    spec = {"marker": "HCT"}
    assert markers_needed(only(knowledge, spec=spec, status="retired")) == set()
    assert markers_needed(only(knowledge, spec=spec, status="draft")) == set()
    assert markers_needed(only(knowledge, spec=spec, protocol="not_there")) == set()


def test_a_marker_that_counts_as_another_is_needed_with_it(knowledge):
    counting = {key for key, marker in knowledge.markers.items() if marker.counts_as == "HCG"}
    assert counting
    assert markers_needed(only(knowledge, spec={"marker": "HCG"})) == {"HCG"} | counting


def test_markers_of_a_test(knowledge):
    """What shows that it was done, alone or with others of one day, and what an order of it brings."""
    protocol = next(p for p in knowledge.protocols if p.schedules)
    test = msgspec.structs.replace(
        knowledge.tests["TT"],
        done_by=(frozenset({"PSA"}), frozenset({"HCT"})),
        same_day=frozenset({"SHBG"}),
        brings=frozenset({"ALB"}),
    )
    bare = msgspec.structs.replace(
        knowledge, rules=(), protocols=(protocol,), tests=dict.fromkeys(knowledge.tests, test)
    )
    assert markers_needed(bare) >= {"PSA", "HCT", "SHBG", "ALB"}


def test_markers_of_a_schedule(knowledge):
    """Seed profile, baseline (clinical table 3.2): every marker of every test."""
    assert markers_needed(knowledge) >= {
        "TT", "FT", "E2", "SHBG", "LH", "FSH", "HCT", "HGB", "PSA",
        "CHOL", "HDL", "LDL", "TRIG", "ALT", "CREA", "GLU", "CA",
    }  # fmt: skip
