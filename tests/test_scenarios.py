"""Every case of tests/scenarios/, on both roads: without the web, and as an EHR would call."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from cds_service.knowledge.loader import load
from cds_service.scenarios.facts import Case
from cds_service.scenarios.judge import differences
from cds_service.scenarios.reading import read
from cds_service.scenarios.run import Runner

WELL = 200
FOLDER = Path(__file__).parent / "scenarios"
READ = [(file.stem, case) for file in sorted(FOLDER.glob("*.yaml")) for case in read(file)]
CASES = [pytest.param(case, id=f"{name}: {case.title}") for name, case in READ]
# A refusal is an answer of the web only.
ANSWERED = [pytest.param(case, id=f"{name}: {case.title}") for name, case in READ if case.expect.status == WELL]


@pytest.fixture(scope="session")
def runner() -> Runner:
    return Runner(load())


@pytest.mark.parametrize("case", ANSWERED)
def test_directly(case: Case, runner: Runner) -> None:
    problems = differences(case, runner.directly(case), runner.knowledge(case))
    assert not problems, report(case, problems)


@pytest.mark.parametrize("case", CASES)
def test_over_http(case: Case, runner: Runner) -> None:
    answer = runner.over_http(case)
    problems = differences(case, answer, runner.knowledge(case))
    assert not problems, report(case, problems)
    if answer.status == 200:
        assert without_uuids(answer.cards) == without_uuids(runner.directly(case).cards)


def report(case: Case, problems: Iterable[str]) -> str:
    return "\n".join([f"{case.place}: {case.title}", *problems])


def without_uuids(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: without_uuids(item) for key, item in value.items() if key != "uuid"}
    if isinstance(value, list | tuple):
        return [without_uuids(item) for item in value]
    return value
