"""Why this card, and why no card: one call, told whole.

    explain_request(bytes of a hook request, knowledge, as_of=…) -> plain data, ready for JSON

For each rule: *finding*, *fine*, *unknown* or *not applicable* with the reason, the facts that were used (value,
unit, date, source, conversion) and the arithmetic; for each resource, whether it was used, and if not, why. The
evaluation is the service's own, traced; nothing is judged here a second time. `explain_text.py` prints it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import date, tzinfo
from functools import partial
from typing import Any, Protocol, get_args

import msgspec

from cds_service.chart import Chart, Gap, Past
from cds_service.explain_facts import (
    Data,
    comparison,
    day_of,
    fact,
    facts,
    procedure,
    result,
    therapy,
    timetable,
    whole,
)
from cds_service.fhir.expected import Expected
from cds_service.hooks.cards import make_renderer
from cds_service.hooks.errors import HookError
from cds_service.hooks.prefetch import build_expected, require_enough
from cds_service.hooks.reading import Reading, read
from cds_service.hooks.request import HookRequest, read_request
from cds_service.hooks.wording import Wording, shipped
from cds_service.hooks.words import Words
from cds_service.knowledge.in_words import in_words
from cds_service.knowledge.model import HookName, Knowledge, Rule
from cds_service.knowledge.rule_words import rule_in_words
from cds_service.knowledge.voice import Voice
from cds_service.metrics import Watch
from cds_service.rules.context import Context
from cds_service.rules.engine import evaluate
from cds_service.rules.lines import doubt_lines
from cds_service.rules.outcome import Compared, Doubt, Evaluation, Outcome, Snoozed, Timetable
from cds_service.rules.predicates import holds

UUID = "00000000-0000-4000-8000-000000000000"
"""Stands in the cards of an explanation, so that two of them can be compared."""


class ExplainError(ValueError):
    """The file is no hook request that the service would answer; one line for each fault."""


Recall = Callable[[HookRequest, Chart], Past]
"""Tells what users did with earlier cards about the patient of a call."""
Read = Callable[[HookRequest, tuple[Expected, ...], date], Reading]
"""Makes the chart of a call on a day."""


class Explain(Protocol):
    """What `make_explainer` makes."""

    def __call__(self, body: bytes, as_of: date, *, recall: Recall = ..., read: Read | None = None) -> Data:
        """Everything about the answer to a hook request on a day. Raises ExplainError.

        `recall` tells what users did with earlier cards; `read` makes the chart, None: of prefetch alone.
        """
        ...


def nothing(_request: HookRequest, _chart: Chart) -> Past:
    """Recalls nothing."""
    return Past()


def explain_request(  # noqa: PLR0913 - all that an answer depends on
    body: bytes,
    knowledge: Knowledge,
    *,
    as_of: date,
    zone: tzinfo,
    profile: str = "generic",
    recall: Recall = nothing,
    silent: frozenset[str] = frozenset(),
    wording: Wording | None = None,
) -> Data:
    """Everything about the answer to one hook request. Raises ExplainError.

    `recall` tells what users did with earlier cards; `silent`: ids of the site's silent rules; `wording` None: the
    words as they are shipped.
    """
    explain = make_explainer(knowledge, zone=zone, profile=profile, silent=silent, wording=wording)
    return explain(body, as_of, recall=recall)


def make_explainer(
    knowledge: Knowledge,
    *,
    zone: tzinfo,
    profile: str = "generic",
    silent: frozenset[str] = frozenset(),
    wording: Wording | None = None,
) -> Explain:
    """Compile the words once; the function that comes back explains the answer to a hook request on a day."""
    knowledge = msgspec.structs.replace(knowledge, voice=(wording or shipped()).voice)
    words = Words(knowledge, wording)
    render = make_renderer(knowledge, profile, words=words)
    of_prefetch = partial(read, knowledge=knowledge, zone=zone, client=None, watch=Watch())

    def explain(body: bytes, as_of: date, *, recall: Recall = nothing, read: Read | None = None) -> Data:
        request = _read(body)
        expected = build_expected(knowledge, request.hook)
        reading = (read or of_prefetch)(request, expected, as_of)
        chart = reading.chart
        past = recall(request, chart)
        evaluation = evaluate(
            chart, knowledge, as_of=as_of, hook=request.hook, past=past, silent=silent, traced=True
        )
        cards = render(evaluation, chart, lambda: UUID)
        return {
            "hook": request.hook,
            "as_of": as_of.isoformat(),
            "knowledge": knowledge.version,
            "answer": _answer(chart, expected, request.hook, cards),
            "patient": _patient(chart, knowledge, as_of, request.hook),
            "resources": _resources(chart, words.voice),
            "fetched": {key: words.voice.say(found.replace("_", " ")) for key, found in reading.fetched.items()},
            "gaps": [_gap(gap, words.voice) for gap in chart.gaps],
            "chart": _chart(chart, knowledge),
            "protocols": [p.name for p in knowledge.protocols if p.key in evaluation.protocols],
            "rules": _Teller(chart, words, evaluation).rules(),
        }

    return explain


def _read(body: bytes) -> HookRequest:
    try:
        hook = msgspec.json.decode(body, type=dict[str, Any]).get("hook")
        if hook not in get_args(HookName):
            raise ExplainError(f"hook: expected one of {', '.join(get_args(HookName))}, not {hook!r}")
        return read_request(body, str(hook))
    except RecursionError as error:
        raise ExplainError("expected a hook request as JSON: nested too deeply") from error
    except msgspec.DecodeError as error:
        raise ExplainError(f"expected a hook request as JSON: {error}") from error
    except HookError as error:
        raise ExplainError("\n".join(problem.diagnostics for problem in error.problems)) from error


def _answer(chart: Chart, expected: Iterable[Expected], hook: str, cards: list[Any]) -> Data:
    try:
        require_enough(chart, expected, hook)
    except HookError as error:
        return {
            "status": error.status,
            "problems": [problem.diagnostics for problem in error.problems],
            "cards": [],
        }
    short = [
        {
            "topic": card["source"].get("topic", {}).get("code", ""),
            "indicator": card["indicator"],
            "summary": card["summary"],
            "suggestions": [suggestion["label"] for suggestion in card.get("suggestions", ())],
        }
        for card in cards
    ]
    return {"status": 200, "cards": short}


def _patient(chart: Chart, knowledge: Knowledge, as_of: date, hook: str) -> Data:
    patient = chart.patient
    least, greatest = Context(chart, knowledge, as_of, hook).age()
    voice = knowledge.voice
    between = voice.say("{least} to {greatest}", least=least, greatest=greatest)
    age = "" if least is None else f"{least}" if least == greatest else between
    return whole(
        {
            "id": patient.id,
            "age": age,
            "born": day_of(patient.birth, voice),
            "sex": voice.say(patient.sex or "not known"),
            "sex_by": voice.say(patient.sex_source),
            "deceased": patient.deceased or "",
            "gender_identity": patient.gender_identity,
        }
    )


def _resources(chart: Chart, voice: Voice) -> Data:
    refused = [
        whole(
            {
                "source": one.source,
                "reason": one.reason,
                "detail": voice.put(one.detail),
                "covers": sorted(one.covers),
                "part": one.part or "",
                "told_to_the_user": one.tell,
            }
        )
        for one in chart.refused
    ]
    return {"came_in": chart.resources_in, "used": chart.resources_used, "refused": refused}


def _gap(gap: Gap, voice: Voice) -> Data:
    since = gap.complete_since.isoformat() if gap.complete_since else ""
    told = {"key": gap.key, "kind": gap.kind, "problem": voice.say(gap.kind.replace("_", " "))}
    more = {"detail": voice.put(gap.detail), "covers": sorted(gap.covers), "complete_since": since}
    return whole({**told, **more})


def _chart(chart: Chart, knowledge: Knowledge) -> Data:
    return {
        "therapies": [therapy(course, knowledge.voice) for course in chart.therapies],
        "results": {
            marker: [result(one, knowledge) for one in found]
            for marker, found in sorted(chart.measurements.items())
        },
        "conditions": [fact(one, knowledge) for one in chart.conditions],
        "procedures": [procedure(one, knowledge.voice) for one in chart.procedures],
        "orders": [fact(one, knowledge) for one in chart.orders],
        "drafts": [fact(one, knowledge) for one in chart.drafts],
    }


# -- rules ---------------------------------------------------------------------------------------------


class _Teller:
    """Tells how each rule ended in one evaluation."""

    def __init__(self, chart: Chart, words: Words, evaluation: Evaluation) -> None:
        knowledge = words.knowledge
        self._words = words
        self._say = words.voice.say
        self._knowledge = knowledge
        self._evaluation = evaluation
        self._chart = chart
        self._ctx = Context(chart, knowledge, evaluation.as_of, evaluation.hook)
        self._outcomes = {outcome.rule: outcome for outcome in evaluation.outcomes}

    def rules(self) -> list[Data]:
        """Every rule of the knowledge, in its order."""
        return [self._rule(rule) for rule in self._knowledge.rules]

    def _rule(self, rule: Rule) -> Data:
        outcome = self._outcomes.get(rule.id)
        head = {
            "id": rule.id,
            "version": rule.version,
            "title": rule.title,
            "protocol": rule.protocol,
        }
        if outcome is None:
            return {**head, "result": "not applicable", "reason": self._not_run(rule)}
        result_word = "finding" if outcome.result == "suppressed" else outcome.result
        told = {
            **head,
            "when": rule_in_words(rule, self._knowledge),
            "result": result_word,
            "reason": self._reason(rule, outcome),
            "because": self._because(rule, outcome),
            "card": self._card(rule, outcome),
            "compared": [
                comparison(step, rule, self._knowledge) for step in outcome.trace if isinstance(step, Compared)
            ],
            "schedule": next(
                (timetable(step, self._knowledge) for step in outcome.trace if isinstance(step, Timetable)), {}
            ),
            "facts": self._facts(outcome),
            "unknown": [self._doubt(doubt) for doubt in outcome.doubts],
            "next_due": outcome.next_due.isoformat() if outcome.next_due else "",
            "failed": outcome.failed,
        }
        return whole(told)

    def _not_run(self, rule: Rule) -> str:
        """Why a rule was not asked at all."""
        if rule.status != "active":
            by = [change for change in self._knowledge.changes if change.what == f"rule {rule.id}: status"]
            status = self._say(rule.status)
            if not by:
                return self._say("the rule is {status}", status=status)
            told = {"who": by[0].who, "until": by[0].until, "why": by[0].why}
            return self._say("the rule is {status} by {who} until {until}: {why}", status=status, **told)
        if self._evaluation.hook not in rule.hooks:
            hooks = {"hooks": ", ".join(sorted(rule.hooks)), "hook": self._evaluation.hook}
            return self._say("runs in {hooks}, not in {hook}", **hooks)
        if self._chart.patient.deceased:
            return self._say("the patient is deceased: nothing is judged")
        return self._say("under {age} years: no rules for minors", age=self._knowledge.switches["min_age"])

    def _reason(self, rule: Rule, outcome: Outcome) -> str:
        why = self._say(outcome.why, **outcome.values)
        if outcome.result == "suppressed":
            silencers = [
                finding.rule.id
                for other in self._evaluation.outcomes
                if (finding := other.finding) is not None and rule.id in finding.rule.suppresses
            ]
            return f"{why}; {self._say('silenced by {rules}', rules=', '.join(silencers))}"
        if outcome.result == "silent":
            return f"{why}; {self._say('the site judges and records this rule and does not show it')}"
        for snoozed in self._evaluation.snoozed:
            if snoozed.finding.rule.id == rule.id:
                return f"{why}; {self._set_aside(snoozed)}"
        return why or self._say("nothing to tell")

    def _set_aside(self, snoozed: Snoozed) -> str:
        reason = self._knowledge.reasons.get(snoozed.by.reason)
        why = f" ({reason.display})" if reason else ""
        return self._say(
            "set aside on {day}{why}, speaks again from {until} on, or earlier if it worsens",
            day=snoozed.by.on,
            why=why,
            until=snoozed.until,
        )

    def _because(self, rule: Rule, outcome: Outcome) -> list[str]:
        """The parts of a condition that decided against the rule."""
        if not outcome.applies and outcome.why.startswith("does not apply"):
            return against(rule.applies, self._ctx)
        if outcome.result == "fine" and "when" in rule.spec:
            return against(rule.spec["when"], self._ctx)
        return []

    def _card(self, rule: Rule, outcome: Outcome) -> str:
        """Where the user sees a finding."""
        if outcome.finding is None or outcome.result in ("suppressed", "snoozed", "silent"):
            return ""
        shown = {finding.rule.id for finding in self._evaluation.findings}
        if rule.id in shown:
            return self._say("card {topic}", topic=rule.topic)
        hosts = [host for host in rule.line_in if host in shown]
        if hosts:
            cards = ", ".join(hosts if rule.line_only else hosts[:1])
            return self._say("a line in the card of {cards}", cards=cards)
        if outcome.finding.due:
            return self._say("its tests stand in the card of another protocol")
        return self._say("a line in other cards" if rule.spec.get("line_in_assay") else "no card to be a line in")

    def _facts(self, outcome: Outcome) -> list[Data]:
        finding = outcome.finding
        if finding is None:
            return []
        results = [finding.result] if finding.result else []
        return facts([*finding.facts, *results, *finding.earlier], self._knowledge)

    def _doubt(self, doubt: Doubt) -> str:
        (line,) = doubt_lines((doubt,))
        return str(self._words.line(line))


def against(tree: Any, ctx: Context) -> list[str]:
    """The parts of a condition that make it false, as sentences; [] if it is not false."""
    if tree is None or holds(tree, ctx).holds is not False:
        return []
    parts = [{name: spec} for name, spec in tree.items()] if len(tree) > 1 else None
    if parts is None:
        ((name, spec),) = tree.items()
        parts = spec if name in ("all", "any") else [spec] if name == "certain" else None
        if name == "not":
            return [ctx.knowledge.voice.say("it is so: {clause}", clause=in_words(spec, ctx.knowledge))]
        if name == "protocol" and isinstance(spec, str) and spec != "any":
            protocol = next(one for one in ctx.knowledge.protocols if one.key == spec)
            return [f"{protocol.name}: {reason}" for reason in against(protocol.applies, ctx)]
    if parts is None:
        return [ctx.knowledge.voice.say("it is not so: {clause}", clause=in_words(tree, ctx.knowledge))]
    return list(dict.fromkeys(reason for part in parts for reason in against(part, ctx)))
