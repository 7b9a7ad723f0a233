"""The clinical cases of tests/scenarios/ as judges of changed rules: each is read once, only its rules run again.

    cases = all_cases()
    cases[0].settle()  # with the rules as they are: True, or the case is wrong
    cases[0].holds()  # with changed rules: False where the answer is another one than the case expects

A case whose evaluation is the one that it was needs no cards: they would be the same.
"""

from __future__ import annotations

from pathlib import Path

from cds_service.chart import Chart
from cds_service.knowledge import kept
from cds_service.knowledge.loader import load
from cds_service.rules.engine import evaluate
from cds_service.rules.outcome import Evaluation
from cds_service.scenarios.facts import Case
from cds_service.scenarios.judge import differences
from cds_service.scenarios.reading import read
from cds_service.scenarios.run import Answer, Runner

FOLDER = Path(__file__).parent / "scenarios"
WELL = 200


class Judge:
    """One case with its chart, and what the unchanged rules say of it."""

    def __init__(self, case: Case, stem: str, runner: Runner, chart: Chart) -> None:
        self.name = f"{stem}: {case.title}"
        self._case = case
        self._knowledge = runner.knowledge(case)
        self._render = runner._variant(case).render
        self._chart = chart
        self._unchanged: Evaluation | None = None

    def settle(self) -> bool:
        """Judge it by the rules as they are; True if the answer is the one that the case expects."""
        self._unchanged = self._evaluate()
        return self._is_as_expected(self._unchanged)

    def holds(self) -> bool:
        """True if the rules, changed or not, give the answer that the case expects."""
        try:
            evaluation = self._evaluate()
            return evaluation == self._unchanged or self._is_as_expected(evaluation)
        except Exception:  # a change that makes the service fail is noticed, too
            return False

    def _evaluate(self) -> Evaluation:
        return evaluate(self._chart, self._knowledge, as_of=self._case.as_of, hook=self._case.hook)

    def _is_as_expected(self, evaluation: Evaluation) -> bool:
        cards = self._render(evaluation, self._chart, lambda: "uuid")
        return not differences(self._case, Answer(WELL, tuple(cards), evaluation), self._knowledge)


def all_cases() -> list[Judge]:
    """Every case that has cards or silence for an answer; those of one site's choices beside each other."""
    kept.MOST = 1000  # one knowledge base for each choice of a site
    runner = Runner(load())
    read_in = [(file.stem, case) for file in sorted(FOLDER.glob("*.yaml")) for case in read(file)]
    return [
        Judge(case, stem, runner, runner.judged(case)[0]) for stem, case in read_in if case.expect.status == WELL
    ]
