"""Whether the scenarios look at every rule and every limit from both sides.

A *rule* is covered if in one case it has something to say (a finding, also one that another rule suppresses; for
the data-quality rules a doubt that they tell or log), and in another one it is judged and silent: it ends in
*fine*. Where a rule is decided by its population alone, so that *fine* cannot come, a case counts in which it does
not apply and which names it under `silent`; for a calculation, one in which an input is missing.

A *limit* is covered if one case passes it and another one does not, both with a value near it: at most a tenth of
the limit away, or two steps of the shown value where that is more. Each value that a switch, the sex or the
laboratory's own range can pick is a limit of its own. A limit inside a condition that several rules state in the
same words (a shared one of definitions.yaml) is covered for all of them by the cases of one.

A *milestone* that a rule of the patient view tells is covered if in one case it is open and one of its tests is
due, and in another one all of them are done or ordered. So is the annual rule of a course without a start.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from cds_service.chart import Chart
from cds_service.knowledge.limits import SEX, RuleLimit, display_step, limits_of, node_at
from cds_service.knowledge.model import Knowledge, Rule
from cds_service.rules.outcome import Compared, Outcome, Timetable
from cds_service.scenarios.facts import Case
from cds_service.scenarios.reading import read
from cds_service.scenarios.run import Runner

TENTH = Decimal("0.1")
STEPS = 2
WELL = 200
"""HTTP status of a case that the rules get to see."""


Milestone = tuple[str, str, str]
"""Rule, profile ('' where the rule tells the same row in all of them), name of the milestone."""
NO_START = "start not known"


class Sides(msgspec.Struct):
    """Files whose cases show a rule or a limit from each side."""

    over: set[str]
    """It speaks; the limit is passed."""
    under: set[str]
    """It is silent; the limit is not passed."""

    @property
    def missing(self) -> str:
        """What no case shows, '' if nothing."""
        absent = [word for word, files in (("over", self.over), ("under", self.under)) if not files]
        return " and ".join(absent)


class Coverage(msgspec.Struct, frozen=True):
    """What the cases show."""

    rules: Mapping[str, Sides]
    limits: Mapping[tuple[str, ...], Sides]
    """By `key_of`."""
    milestones: Mapping[Milestone, Sides] = {}
    """`over`: one of its tests is due."""

    def files_of(self, rule: str) -> tuple[str, ...]:
        """Names of the files with cases that look at a rule."""
        sides = self.rules[rule]
        return tuple(sorted(sides.over | sides.under))


def cover(files: Iterable[Path], runner: Runner, knowledge: Knowledge) -> Coverage:
    """Run all cases that the rules get to see. Raises ScenarioError for a file that is wrong."""
    active = [rule for rule in knowledge.rules if rule.status == "active"]
    rules = {rule.id: Sides(set(), set()) for rule in active}
    limits = {key_of(rule, limit): Sides(set(), set()) for rule in active for limit in limits_of(rule)}
    found = Coverage(rules, limits, {milestone: Sides(set(), set()) for milestone in milestones_of(knowledge)})
    for path in files:
        for case in read(path):
            if case.expect.status == WELL:
                _look(path.name, case, runner, found)
    return found


def milestones_of(knowledge: Knowledge) -> Iterator[Milestone]:
    """The milestones that rules of the patient view tell, in the order of the rules."""
    protocols = {protocol.key: protocol for protocol in knowledge.protocols}
    for rule in knowledge.rules:
        if rule.kind != "schedule" or rule.status != "active" or "patient-view" not in rule.hooks:
            continue
        row = rule.spec.get("row")
        told: dict[Milestone, None] = {}
        for profile, plan in protocols[rule.protocol].schedules.items():
            milestones = (
                plan.milestones if row is None else plan.beside[row].milestones if row in plan.beside else ()
            )
            shown = "" if rule.spec.get("rests_on") == "rule" else profile
            told.update(dict.fromkeys((rule.id, shown, milestone.name) for milestone in milestones))
            if row is None and not plan.milestones[0].after_last:
                told[rule.id, shown, NO_START] = None
        yield from told


def uncovered(coverage: Coverage, knowledge: Knowledge) -> list[str]:
    """What is missing, a sentence each, in the order of the rules."""
    found = []
    told: set[tuple[str, ...]] = set()
    for rule in knowledge.rules:
        if rule.id not in coverage.rules:
            continue
        sides = coverage.rules[rule.id]
        if not sides.over:
            found.append(f"{rule.id}: no case in which it speaks")
        if not sides.under:
            found.append(f"{rule.id}: no case in which it is judged and silent")
        for limit in limits_of(rule):
            key = key_of(rule, limit)
            missing = coverage.limits[key].missing
            if missing and key not in told:
                told.add(key)
                found.append(f"{rule.id}: {limit.path} ({describe(limit)}): no case near it, {missing}")
    for (rule_id, profile, name), sides in coverage.milestones.items():
        where = f"{rule_id}: {' '.join(filter(None, (profile, name)))}"
        if not sides.over:
            found.append(f"{where}: no case in which a test is due")
        if not sides.under:
            found.append(f"{where}: no case in which all tests are done")
    return found


def describe(limit: RuleLimit) -> str:
    """A limit in a few words: `HCT > hct_stop`, `E2 > the laboratory's own`."""
    value = limit.value or limit.switch or "the laboratory's own"
    chosen = "".join(f", {chooser} {at}" for chooser, at in limit.choices)
    return f"{limit.subject} {limit.operator} {value}{chosen}"


def key_of(rule: Rule, limit: RuleLimit) -> tuple[str, ...]:
    """What makes a limit one: its rule and path; inside a condition its words, whichever rule states them."""
    if not limit.holder or limit.holder[0] == "any_of":
        return (rule.id, limit.path)
    words = msgspec.json.encode(node_at(rule, limit.holder), order="sorted").decode()
    return (limit.subject, words, limit.word, *(f"{chooser}={at}" for chooser, at in limit.choices))


def _look(name: str, case: Case, runner: Runner, found: Coverage) -> None:
    rules, limits = found.rules, found.limits
    chart, evaluation = runner.judged(case, traced=True)
    knowledge = runner.knowledge(case)
    by_id = {rule.id: rule for rule in knowledge.rules}
    for outcome in evaluation.outcomes:
        rule = by_id[outcome.rule]
        if rule.id not in rules:
            continue
        if _speaks(outcome, rule):
            rules[rule.id].over.add(name)
        elif _is_silent(outcome, rule, case):
            rules[rule.id].under.add(name)
        for key, passed in _near(outcome, rule, chart, knowledge):
            (limits[key].over if passed else limits[key].under).add(name)
        for milestone, due in _open(outcome):
            if milestone in found.milestones:
                (found.milestones[milestone].over if due else found.milestones[milestone].under).add(name)


def _open(outcome: Outcome) -> Iterator[tuple[Milestone, bool]]:
    """The milestone that the rule found open, and whether a test of it is due."""
    for step in outcome.trace:
        if isinstance(step, Timetable) and (step.milestone or step.start is None):
            states = {test.state for test in step.tests}
            if states and "unknown" not in states:
                yield (
                    (outcome.rule, step.profile, step.milestone or NO_START),
                    not states.isdisjoint(("due", "overdue")),
                )


def _speaks(outcome: Outcome, rule: Rule) -> bool:
    return outcome.finding is not None or (rule.kind == "quality" and bool(outcome.reason))


def _is_silent(outcome: Outcome, rule: Rule, case: Case) -> bool:
    if outcome.result == "fine":
        return True
    named = rule.id in case.expect.silent or (rule.kind == "calculated" and outcome.applies)
    return outcome.result == "not applicable" and named


def _near(
    outcome: Outcome, rule: Rule, chart: Chart, knowledge: Knowledge
) -> Iterator[tuple[tuple[str, ...], bool]]:
    """Limits of the rule that were met by a value near them, and whether it passed."""
    places: dict[tuple[int, str], list[RuleLimit]] = {}
    for limit in limits_of(rule):
        places.setdefault((id(node_at(rule, limit.holder)), limit.word), []).append(limit)
    for step in outcome.trace:
        if not isinstance(step, Compared) or step.passed is None or not _is_near(step, knowledge):
            continue
        for limit in places.get((id(step.holder), step.word), ()):
            if _is_picked(limit, step, chart, knowledge):
                yield key_of(rule, limit), step.passed


def _is_near(step: Compared, knowledge: Knowledge) -> bool:
    distance = abs(step.value - step.limit)
    steps = STEPS * display_step(step.subject, step.limit, knowledge.markers)
    return distance <= max(TENTH * abs(step.limit), steps)


def _is_picked(limit: RuleLimit, step: Compared, chart: Chart, knowledge: Knowledge) -> bool:
    """True if this limit, and not another one at the same place, was the one that was met."""
    return step.own_range == bool(limit.reference) and all(
        _chooses(chooser, chart, knowledge) == at for chooser, at in limit.choices
    )


def _chooses(chooser: str, chart: Chart, knowledge: Knowledge) -> str:
    value: Any = chart.patient.sex if chooser == SEX else knowledge.switches[chooser]
    return str(value).lower()
