"""The evaluation: every rule of the hook, each on its own, then suppressions, merges and order.

    evaluate(chart, knowledge, as_of=…, hook=…) -> Evaluation

A rule ends in *finding*, *fine*, *unknown* or *not applicable* (its population is not this patient). One that
raises ends in *unknown* and takes nothing else down.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date

import msgspec

from cds_service.chart import Chart, Draft, Measurement, Past, Therapy
from cds_service.knowledge.model import Knowledge, Rule
from cds_service.rules import calculated, change, precondition, quality, schedule, threshold
from cds_service.rules.context import NOTHING, Context
from cds_service.rules.lines import about_rule, with_doubts
from cds_service.rules.outcome import (
    RANK,
    ROUTE_UNKNOWN,
    ROUTE_UNKNOWN_RESULT,
    Doubt,
    Due,
    Evaluation,
    Finding,
    Line,
    Outcome,
    Snoozed,
)
from cds_service.rules.plan import PLANS, Asked, Plan
from cds_service.rules.questions import Question, Truth
from cds_service.rules.snooze import hush

KINDS: dict[str, Callable[[Rule, Truth, Context], Outcome]] = {
    "schedule": schedule.evaluate,
    "threshold": threshold.evaluate,
    "change": change.evaluate,
    "calculated": calculated.evaluate,
    "precondition": precondition.evaluate,
    "interaction": precondition.evaluate,
}
UNCERTAIN = "not known if it applies"
"""Reason of an outcome whose rule may be about this patient or not."""

NOT_KNOWN = {"birth date": "birth date not known", "sex": "sex not known"}


def evaluate(  # noqa: PLR0913 - all that an evaluation depends on
    chart: Chart,
    knowledge: Knowledge,
    *,
    as_of: date,
    hook: str,
    past: Past = NOTHING,
    silent: frozenset[str] = frozenset(),
    traced: bool = False,
) -> Evaluation:
    """Judge a chart on the day `as_of` by the rules of one hook (clinical laws 2.3, 4.2 to 4.4).

    `past`: what users did with earlier cards. `silent`: ids of rules that are judged, but neither told nor let into
    what is told. `traced`: each outcome keeps what its rule computed, for `explain`; the verdicts are the same.
    """
    ctx = Context(chart, knowledge, as_of, hook, past)
    ctx.steps = [] if traced else None
    if chart.patient.deceased:
        return Evaluation(hook, as_of, (), ())
    plans = PLANS.of(knowledge)
    missing = _missing_basics(ctx)
    plan = plans.of(hook, silent, minor=missing == "minor")
    hushed = _each(plan.silent, ctx, missing)
    one_by_one = traced or missing in NOT_KNOWN
    outcomes = _each(plan.judged, ctx, missing) if one_by_one else _grouped(plan, ctx)
    protocols = tuple([key for key, question in plans.protocols if _in_force(question, ctx)])
    needed = _needed(plan, outcomes, ctx)
    outcomes.extend(_quality(plan.quality, ctx, needed))
    told = _settle(outcomes, ctx, protocols, _gaps(outcomes, needed, ctx))
    return _with_silent(told, hushed) if hushed else told


AREAS = ("drafts", "patient", "medications", "conditions", "procedures", "orders", "results")


def _gaps(outcomes: list[Outcome], needed: frozenset[str], ctx: Context) -> tuple[Doubt, ...]:
    """Everything that the EHR did not bring, told once any rule of a therapy is about this patient.

    What is being ordered is told of always: an order that was not understood was not checked.
    """
    if not ctx.gaps:
        return ()
    if not any(outcome.applies and outcome.rule in ctx.index.about_therapy for outcome in outcomes):
        return ctx.doubts("drafts")
    areas = [doubt for area in AREAS for doubt in ctx.doubts(area)]
    return (*areas, *(doubt for marker in sorted(needed) for doubt in ctx.doubts(marker, ctx.as_of)))


def _missing_basics(ctx: Context) -> str:
    """`minor`, `birth date`, `sex` or '': what keeps most rules from running (2.3, 0.4.19)."""
    adult = ctx.adult()
    if adult is None:
        return "birth date"
    if not adult:
        return "minor"
    return "" if ctx.chart.patient.sex else "sex"


def _each(asked: Iterable[Asked], ctx: Context, missing: str) -> list[Outcome]:
    """How these rules end, one after the other."""
    return [ctx.traced(_one(one, ctx, missing)) for one in asked]


def _grouped(plan: Plan, ctx: Context) -> list[Outcome]:
    """The same for all rules of a plan: those that begin with one question end together if the answer is *no*."""
    outcomes = list(plan.outside)
    for group in plan.groups:
        if _is_no(group.first, ctx):
            continue
        for one in group.rules:
            outcomes[one.place] = _one(one, ctx)
    return outcomes


def _is_no(question: Question, ctx: Context) -> bool:
    try:
        return question(ctx).holds is False
    except Exception:  # each of the rules asks the same, and fails alone
        return False


def _one(asked: Asked, ctx: Context, missing: str = "") -> Outcome:
    rule = asked.rule
    try:
        if missing in NOT_KNOWN and missing not in rule.runs_without:
            return Outcome(rule.id, "not applicable", NOT_KNOWN[missing], applies=False)
        truth = asked.question(ctx)
        if truth.holds is False:
            return asked.outside
        outcome = KINDS[rule.kind](rule, truth, ctx) if truth.holds else _open(rule, truth, ctx)
        if outcome.result == "unknown":
            return _about_rule(outcome, rule)
        return _with_notes(outcome, outcome.finding, ctx) if outcome.finding else outcome
    except Exception as error:  # law 1: a rule that fails leaves *unknown* behind and never takes others down
        return _failed(rule, error)


def _open(rule: Rule, truth: Truth, ctx: Context) -> Outcome:
    """A rule that may be about this patient or not; an unknown form of a drug is told where it would matter."""
    routes = tuple(doubt for doubt in truth.doubts if doubt.message == ROUTE_UNKNOWN)
    if not routes:
        return Outcome(rule.id, "unknown", UNCERTAIN, truth.doubts)
    others = tuple(doubt for doubt in truth.doubts if doubt.message != ROUTE_UNKNOWN)
    outcome = KINDS[rule.kind](rule, truth, ctx)
    if outcome.finding:
        told = _about_result(routes, outcome.finding.result)
        return Outcome(rule.id, "unknown", UNCERTAIN, (*told, *others))
    return Outcome(rule.id, "unknown", UNCERTAIN, (*outcome.doubts, *others)) if others else outcome


def _about_result(doubts: tuple[Doubt, ...], result: Measurement | None) -> tuple[Doubt, ...]:
    """Doubts about the form of a drug, told of the result that would matter in the form in question."""
    if result is None:
        return doubts
    return tuple(Doubt(ROUTE_UNKNOWN_RESULT, result.marker, {**doubt.values, "result": result}) for doubt in doubts)


def _about_rule(outcome: Outcome, rule: Rule) -> Outcome:
    """The same with doubts about the form of a drug told of this rule."""
    doubts = tuple(
        Doubt(doubt.message, doubt.area, {**doubt.values, "title": rule.title})
        if doubt.message == ROUTE_UNKNOWN
        else doubt
        for doubt in outcome.doubts
    )
    return outcome if doubts == outcome.doubts else msgspec.structs.replace(outcome, doubts=doubts)


def _with_notes(outcome: Outcome, finding: Finding, ctx: Context) -> Outcome:
    """Add the rule's notes to its finding (a schedule has done so itself)."""
    if finding.due:
        return outcome
    notes = about_rule(finding.rule, ctx)
    if not notes:
        return outcome
    told = msgspec.structs.replace(finding, lines=(*finding.lines, *notes))
    return msgspec.structs.replace(outcome, finding=told)


def _in_force(question: Question, ctx: Context) -> bool:
    try:
        return bool(question(ctx).holds)
    except Exception:  # as in `_one`: its rules, which ask the same, are unknown
        return False


def _failed(rule: Rule, error: Exception) -> Outcome:
    doubt = Doubt("rule_failed", rule.id, {"title": rule.title})
    return Outcome(rule.id, "unknown", "the rule failed", (doubt,), failed=type(error).__name__)


def _needed(plan: Plan, outcomes: list[Outcome], ctx: Context) -> frozenset[str]:
    """Markers of the rules that apply to this patient."""
    rules: list[Rule] = []
    tests: set[str] = set()
    for asked, outcome in zip(plan.judged, outcomes, strict=True):
        if not outcome.applies:
            continue
        rule = asked.rule
        if rule.kind != "calculated":
            rules.append(rule)
        if rule.kind == "schedule" and not outcome.failed:
            told = schedule.plan_for(rule, ctx)
            if told:
                tests |= ctx.once(told.milestones, schedule.tests_of)
    return quality.needed_by(rules, tests, ctx.knowledge)


def _quality(rules: Sequence[Rule], ctx: Context, needed: frozenset[str]) -> list[Outcome]:
    try:
        return quality.evaluate(rules, ctx, needed)
    except Exception as error:  # as in `_one`
        return [_failed(rule, error) for rule in rules]


def _with_silent(told: Evaluation, hushed: list[Outcome]) -> Evaluation:
    """Silent rules in the record: they suppress nothing, merge with nothing and leave no doubt to be told."""
    ended = tuple(msgspec.structs.replace(o, result="silent") if o.finding else o for o in hushed)
    silent = tuple(outcome.finding for outcome in hushed if outcome.finding)
    return msgspec.structs.replace(told, outcomes=(*told.outcomes, *ended), silent=silent)


# -- suppressions, merges, order ---------------------------------------------------------------------


def _settle(
    outcomes: list[Outcome], ctx: Context, protocols: tuple[str, ...], gaps: tuple[Doubt, ...]
) -> Evaluation:
    found = {o.rule: o.finding for o in outcomes if o.finding}
    silenced = {victim for finding in found.values() for victim in finding.rule.suppresses}
    # What a rule suppresses is the lesser word on the same matter: a snooze of the rule does not bring it back.
    standing = {name: finding for name, finding in found.items() if name not in silenced}
    snoozed: dict[str, Snoozed] = {}
    if ctx.past.set_aside:
        heard = {name: hush(finding, ctx) for name, finding in standing.items()}
        snoozed = {name: told for name, told in heard.items() if isinstance(told, Snoozed)}
        standing = {name: told for name, told in heard.items() if isinstance(told, Finding)}
    # What has no tests left has no card, and is no card for others to be a line of.
    standing = {finding.rule.id: finding for finding in _each_test_once([*standing.values()], ctx)}
    guests, merged = _merge(standing, ctx)
    findings = [_finish(finding, guests.get(name, ())) for name, finding in standing.items() if name not in merged]
    findings.sort(key=lambda f: (RANK[f.indicator], f.rule.order))
    findings = _suggested(findings, ctx)
    findings, doubts = _doubts(findings, outcomes, gaps)
    unheard = silenced | snoozed.keys()
    told = tuple([_ended(o, silenced) if o.finding and o.rule in unheard else o for o in outcomes])
    return Evaluation(ctx.hook, ctx.as_of, told, tuple(findings), doubts, protocols, tuple(snoozed.values()))


def _ended(outcome: Outcome, silenced: set[str]) -> Outcome:
    return msgspec.structs.replace(outcome, result="suppressed" if outcome.rule in silenced else "snoozed")


def _merge(standing: dict[str, Finding], ctx: Context) -> tuple[dict[str, list[Finding]], set[str]]:
    """Findings that become a line in another rule's card: by that rule, and their names."""
    hosts = {name: _hosts(finding, standing, ctx) for name, finding in standing.items()}
    merged = {name for name, finding in standing.items() if hosts[name] or finding.rule.line_only}
    guests: dict[str, list[Finding]] = {}
    for name, finding in standing.items():
        cards = [*dict.fromkeys(card for host in hosts[name] for card in _cards(host, hosts))]
        for card in cards if finding.rule.line_only and not finding.rule.spec.get("line_once") else cards[:1]:
            guests.setdefault(card, []).append(finding)
    return guests, merged


def _hosts(finding: Finding, standing: dict[str, Finding], ctx: Context) -> list[str]:
    """Rules that spoke, have a card or may have one, and take this finding in."""
    named = [host for host in finding.rule.line_in if host in standing and host != finding.rule.id]
    hosts = [*named, *_hosts_by_assay(finding, standing, ctx)]
    return [host for host in hosts if not standing[host].rule.line_only]


def _cards(host: str, hosts: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """The cards in which a line of `host` is read: its own, or those that it is a line of itself."""
    if not hosts[host]:
        yield host
    for other in hosts[host][:1]:
        yield from _cards(other, hosts)


def _hosts_by_assay(finding: Finding, standing: dict[str, Finding], ctx: Context) -> list[str]:
    """Findings whose marker is measured by the kind of assay that this one is about (biotin, 4.9)."""
    assay = finding.rule.spec.get("line_in_assay")
    if not assay:
        return []
    markers = ctx.knowledge.markers
    return [name for name, other in standing.items() if other.marker and markers[other.marker].assay == assay]


def _as_lines(finding: Finding) -> tuple[Line, ...]:
    if finding.rule.kind == "calculated":
        return finding.lines
    return (Line(f"line_{finding.rule.kind}", {"finding": finding, **finding.values}, finding.rule.advice),)


def _finish(finding: Finding, guests: Sequence[Finding]) -> Finding:
    """Add the lines and tests of merged findings; cap the indicator where the drug was recognised from text."""
    if finding.rule.text_cap and finding.indicator == "critical":
        drafts = [fact for fact in finding.facts if isinstance(fact, (Draft, Therapy))]
        if drafts and all(fact.from_text for fact in drafts):
            finding = msgspec.structs.replace(finding, indicator="warning")
    if not guests:
        return finding
    lines = [line for guest in guests for line in _as_lines(guest)]
    tests = tuple(test for guest in guests for test in guest.rule.tests)
    return msgspec.structs.replace(finding, lines=(*lines, *finding.lines), tests=tests)


def _each_test_once(findings: list[Finding], ctx: Context) -> list[Finding]:
    """A test that two protocols miss stands once: where it is overdue, else in the first protocol (0.4.5).

    So does one that a larger test of another card brings, unless it alone is overdue.
    """
    if sum(bool(finding.due) for finding in findings) < 2:  # noqa: PLR2004 - alone with its tests
        return findings
    claims: dict[str, tuple[bool, int, int]] = {}
    for index, finding in enumerate(findings):
        for due in finding.due:
            claim = (not due.overdue, ctx.index.protocols[finding.rule.protocol].order, index)
            claims[due.test] = min(claims.get(due.test, claim), claim)
    kept = []
    for index, finding in enumerate(findings):
        others = [item for other in findings if other is not finding for item in other.due]
        mine = tuple(
            item
            for item in finding.due
            if claims[item.test][2] == index and not any(_brings(other, item, ctx) for other in others)
        )
        if mine == finding.due:
            kept.append(finding)
        elif mine:
            kept.append(schedule.with_due(finding, mine, ctx))
    return kept


def _brings(larger: Due, item: Due, ctx: Context) -> bool:
    """True if doing one test does another, smaller one too (a metabolic panel: glucose)."""
    brought = ctx.knowledge.tests[larger.test].brings
    wanted = ctx.knowledge.tests[item.test]
    if len(brought) <= len(wanted.brings) or (item.overdue and not larger.overdue):
        return False
    return any(markers <= brought for markers in wanted.done_by)


def _suggested(findings: list[Finding], ctx: Context) -> list[Finding]:
    """Tests that a rule itself suggests, unless they stand in a due card or are already ordered."""
    claimed = {item.test for finding in findings for item in finding.due}
    told = []
    for finding in findings:
        tests = tuple(item.test for item in finding.due)
        for key in (*finding.rule.tests, *finding.tests):
            if key not in claimed and ctx.already_ordered(ctx.knowledge.tests[key]) is None:
                tests = (*tests, key)
                claimed.add(key)
        told.append(finding if tests == finding.tests else msgspec.structs.replace(finding, tests=tests))
    return told


def _doubts(
    findings: list[Finding], outcomes: list[Outcome], gaps: tuple[Doubt, ...]
) -> tuple[list[Finding], tuple[Doubt, ...]]:
    """Share the doubts out: a line in the card of the same marker, else the quiet card (0.4.4, 0.4.21)."""
    hosts = {finding.marker: index for index, finding in reversed(list(enumerate(findings))) if finding.marker}
    told = [doubt for o in outcomes if o.doubts and o.result in ("unknown", "finding") for doubt in o.doubts]
    known = {doubt.key(): doubt for doubt in (*told, *gaps)}
    quiet: list[Doubt] = []
    lines: dict[int, list[Doubt]] = {}
    for doubt in known.values():
        if doubt.area in hosts:
            lines.setdefault(hosts[doubt.area], []).append(doubt)
        else:
            quiet.append(doubt)
    for index, doubts in lines.items():
        told_once = with_doubts(findings[index].lines, tuple(doubts))
        findings[index] = msgspec.structs.replace(findings[index], lines=told_once)
    return findings, tuple(quiet)
