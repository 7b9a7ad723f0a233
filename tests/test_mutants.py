"""The short form of `make mutants`: changes picked by hand, each of which must spoil a clinical case.

A change is made in a copy of the function's source; its code takes the function's place for one test.
"""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest

from cds_service.knowledge import units
from cds_service.knowledge.loader import load
from cds_service.rules import change, compare, context, engine, quality, samples, schedule, threshold
from cds_service.scenarios.judge import differences
from cds_service.scenarios.reading import read
from cds_service.scenarios.run import Runner

SCENARIOS = Path(__file__).parent / "scenarios"

# What is changed, from, to, and the cases that should notice.
CHANGES: list[tuple[Callable[..., Any], str, str, str]] = [
    (compare.passes, "certain = value > limit", "certain = value >= limit", "hematocrit"),
    (
        units.for_display,
        "value.quantize(_step(marker.decimals), context=_EXACT)",
        "round(value, marker.decimals)",
        "hematocrit",
    ),
    (context.Context.comparable, ").days <= max_age", ").days < max_age", "hematocrit"),
    (threshold.out_of_scope, 'day > spec["to_day"]', 'day >= spec["to_day"]', "psa"),
    (threshold.adjust, 'days >= spec["from_day"]', 'days > spec["from_day"]', "psa"),
    (change._projected, "slope <= 0", "slope >= 0", "hematocrit"),
    (
        schedule.open_milestone,
        "milestone.overdue_after) + timedelta(days=1)",
        "milestone.overdue_after)",
        "schedule_male_trt",
    ),
    (schedule._newest, "when.last_day >= opens", "when.last_day > opens", "schedule_male_trt"),
    (samples._is_near, "<= Decimal", "< Decimal", "interference"),
    (quality.evaluate, "rules if problem or newest.traits else ()", "()", "data_quality"),
    (engine._doubts, "quiet.append(doubt)", "continue", "prefetch"),
    (engine._each_test_once, "not due.overdue, ", "due.overdue, ", "several_protocols"),
]


@pytest.fixture(scope="module")
def runner() -> Runner:
    return Runner(load())


def noticed(stem: str, runner: Runner) -> bool:
    """True if a case of the file ends otherwise than it says."""
    cases = [case for case in read(SCENARIOS / f"{stem}.yaml") if case.expect.status == 200]
    return any(differences(case, runner.directly(case), runner.knowledge(case)) for case in cases)


@pytest.mark.parametrize(
    ("function", "old", "new", "stem"),
    CHANGES,
    ids=[f"{change[0].__qualname__}: {change[2]}" for change in CHANGES],
)
def test_a_small_change_of_the_rules_spoils_a_case(monkeypatch, runner, function, old, new, stem):
    source = textwrap.dedent(inspect.getsource(function))
    assert source.count(old) == 1, "the change has nothing to change"
    made: dict[str, Any] = {}
    exec(
        compile("from __future__ import annotations\n" + source.replace(old, new), "changed", "exec"),
        function.__globals__,
        made,
    )
    changed = made[function.__name__]
    assert isinstance(changed, FunctionType)
    monkeypatch.setattr(function, "__code__", changed.__code__)
    assert noticed(stem, runner)
