"""A site's own words, tried out before the service starts: every template and sentence with made-up findings.

What the checks of `wording.py` cannot see shows here: a value that only some kinds of finding have, a number where
a date is expected, a summary that is too long. A sample that the shipped words cannot tell either is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import date, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

import msgspec
from jinja2 import Template

from cds_service.chart import Condition, Draft, Measurement, Order, Procedure, Supply, Therapy, When
from cds_service.hooks import cards
from cds_service.hooks.wording import MESSAGES, Wording, shipped
from cds_service.hooks.words import LONGEST_SUMMARY, Own, Words
from cds_service.knowledge.loader import load
from cds_service.knowledge.model import Knowledge, Rule
from cds_service.knowledge.needs import named
from cds_service.rules.outcome import Doubt, Due, Evaluation, Finding
from cds_service.rules.schedule import Open

TODAY = date(2026, 11, 30)
REWRITTEN = "__jinja_exception__"
"""In the frames of a traceback that Jinja's own `render` has rewritten: their lines are those of the template."""
BEFORE = TODAY - timedelta(days=200)

Told = dict[str, str]
"""Name of a sample -> what came out, or what went wrong."""


class _Uncut(Words):
    """Words whose summaries keep their whole length."""

    def summary(self, template: str, own: str, values: dict[str, Any]) -> str:
        """As it comes out of the template."""
        return " ".join(self.uncut(template, own, values).split())


def try_out(knowledge: Knowledge, wording: Wording) -> list[str]:
    """What goes wrong with a site's words, each fault once, with the file and where it is known the line."""
    try:
        words = _Uncut(knowledge, wording)
    except Exception as error:  # the basis of all rules is written when the words are compiled
        return [_told(error, "basis.md", wording)]
    here = faults(words)
    before = faults(_Uncut(load(), msgspec.structs.replace(shipped(), locale=wording.locale))) if here else {}
    return list(dict.fromkeys(fault for sample, fault in here.items() if sample not in before))


def faults(words: _Uncut) -> Told:
    """By sample: where a template or sentence went wrong, or that its summary is too long."""
    found: Told = {}
    made = []
    for number, finding in enumerate(_findings(words.knowledge)):
        evaluation = Evaluation("patient-view", TODAY, (), (finding,))
        sample, file = f"{finding.rule.id} {number}", f"{finding.rule.template}.md"
        card = _tried(sample, file, words, partial(cards.card_of, finding, evaluation, words, "birth sex"), found)
        if card is not None:
            made.append(card)
            if len(card.summary) > LONGEST_SUMMARY:
                found[sample] = (
                    f"{file}: {finding.rule.id}: a summary of {len(card.summary)} characters, at most "
                    f"{LONGEST_SUMMARY}: {card.summary}"
                )
    doubts = (Doubt("sex_unknown", "patient"), Doubt("birth_date_unknown", "patient"))
    _tried("unknown", "unknown.md", words, partial(cards.quiet_card, doubts, words), found)
    _tried("merged", "merged.md", words, partial(cards.merged_card, made[:2], words), found)
    for number, values in enumerate(_message_values(words.knowledge)):
        for name in words.wording.messages:
            _tried(f"{name} {number}", f"{MESSAGES}: {name}", words, partial(words.say, name, **values), found)
    return found


def _tried(sample: str, file: str, words: Words, make: Callable[[], Any], found: Told) -> Any:
    """What `make` makes; None, with the fault in `found`, if it raises."""
    try:
        return make()
    except Exception as error:  # a template may do anything
        found[sample] = _told(error, file, words.wording)
        return None


def _told(error: Exception, file: str, wording: Wording) -> str:
    """The innermost line of a template in which the error arose, and the error: `notes.md: line 2: …`."""
    origins = wording.origins(file) if file in wording.templates else []
    place, step = file, error.__traceback__
    while step is not None:
        template = step.tb_frame.f_globals.get("__jinja_template__")
        line = template.get_corresponding_lineno(step.tb_lineno) if isinstance(template, Template) else 0
        line = step.tb_lineno if REWRITTEN in step.tb_frame.f_globals else line
        if line:
            name, line = origins[line - 1] if line <= len(origins) else (file, line)
            place = f"{name}: line {line}"
        step = step.tb_next
    return f"{place}: {type(error).__name__}: {error}"


# -- samples -------------------------------------------------------------------------------------------


def _findings(knowledge: Knowledge) -> Iterator[Finding]:
    """Findings of every rule that has a card, with all that a card may show and with little."""
    for rule in knowledge.rules:
        if not rule.line_only and rule.kind not in ("calculated", "quality"):
            variants = {"schedule": _milestones, "change": _changes}.get(rule.kind, _conditions)
            for values in variants(rule, knowledge):
                for rich in (True, False):
                    yield _finding(rule, values, knowledge, rich)


def _finding(rule: Rule, values: Mapping[str, Any], knowledge: Knowledge, rich: bool) -> Finding:
    marker = str(rule.spec.get("marker", "") or min(rule.markers, default="HCT"))
    latest = _result(marker, knowledge) if rule.kind in ("threshold", "change") else None
    facts = _facts(knowledge)
    due = tuple(Due(test, rich, BEFORE if rich else None) for test in list(knowledge.tests)[: 12 if rich else 1])
    profiles = [profile for p in knowledge.protocols if p.key == rule.protocol for profile in p.schedules]
    return Finding(
        rule=rule,
        indicator=rule.indicator,
        marker=marker,
        result=latest,
        value=latest.value if latest else None,
        limit=Decimal("1234.5"),
        operator=">" if rich else "<=",
        earlier=(_result(marker, knowledge),) * 3 if rich and latest else (),
        facts=tuple(fact for fact in facts if rich or not isinstance(fact, (Draft, Measurement, Procedure))),
        values=values,
        due=due if rule.kind == "schedule" else (),
        tests=rule.tests,
        profile=profiles[0] if rule.kind == "schedule" else "",
    )


def _result(marker: str, knowledge: Knowledge) -> Measurement:
    unit = knowledge.markers[marker].unit
    return Measurement(
        marker, Decimal("1234.5"), _when(), "final", "Observation/sample", "1-8", ">", "1234.5", unit
    )


def _when() -> When:
    return When(TODAY, TODAY, hour=8, minute=30)


def _therapy(knowledge: Knowledge) -> Therapy:
    agent = max((product.agent for product in knowledge.products.values()), key=len)
    supply = Supply(agent, "injection", BEFORE, None)
    return Therapy(
        "TESTOSTERONE", True, BEFORE, None, (supply,), "RxNorm product 1", sources=("MedicationRequest/x",)
    )


def _condition() -> Condition:
    return Condition(frozenset(), True, False, "a condition", "Condition/x", onset=_when(), code="C61")


def _facts(knowledge: Knowledge) -> tuple[Any, ...]:
    therapy = _therapy(knowledge)
    return (
        therapy,
        _condition(),
        Procedure(frozenset(), "a procedure", "Procedure/x", _when()),
        Draft("TESTOSTERONE", therapy.agent, "topical", "MedicationRequest/y", True, "ATC G03BA03"),
        Order(frozenset(["FSH", "AMH"]), "an order", "ServiceRequest/x", True, _when()),
        _result("PSA", knowledge),
    )


def _conditions(rule: Rule, knowledge: Knowledge) -> Iterator[Mapping[str, Any]]:
    """The condition with the longest name among those that the rule asks for, and none."""
    asked = set(named(rule.spec.get("when"), ("concept",))) & knowledge.concepts.keys()
    yield {"concept": max(asked, key=lambda key: len(knowledge.concepts[key].name), default="")}
    yield {"concept": ""}


def _milestones(_: Rule, knowledge: Knowledge) -> Iterator[Mapping[str, Any]]:
    names = (
        milestone.name for p in knowledge.protocols for s in p.schedules.values() for milestone in s.milestones
    )
    opened = Open("x", max(names, key=len), BEFORE, TODAY, TODAY, ())
    protocol = max((p for p in knowledge.protocols if p.schedules), key=lambda p: len(p.name))
    for milestone in (opened, msgspec.structs.replace(opened, again=(180, 365)), None):
        yield {"protocol": protocol, "milestone": milestone, "overdue": True}


def _changes(rule: Rule, knowledge: Knowledge) -> Iterator[Mapping[str, Any]]:
    number, marker = Decimal("12.5"), str(rule.spec["marker"])
    earlier = {"baseline": _result(marker, knowledge), "base": number}
    yield {"crossing": TODAY, "slope": number, "count": 12}
    yield {"velocity": number, "count": 12}
    yield {"percent": -number, **earlier}
    yield {"rise": number, "lowest": _result(marker, knowledge), **earlier}
    yield {"rise": number, "factor": Decimal(2), **earlier}


def _message_values(knowledge: Knowledge) -> Iterator[Mapping[str, Any]]:
    """Values for every sentence, once for each way in which a rule of a change can speak."""
    rule = next(rule for rule in knowledge.rules if rule.kind == "change")
    result, number = _result("HCT", knowledge), Decimal("12.5")
    told: dict[str, Any] = dict.fromkeys(("from_day", "uncertain_from", "washout_days", "days", "count"), 12)
    told |= dict.fromkeys(("factor", "value", "free_pg", "bioavailable", "albumin_value", "ratio"), number)
    told |= dict.fromkeys(("result", "total", "shbg", "albumin", "measured", "numerator", "denominator"), result)
    told |= {"day": TODAY, "therapy": _therapy(knowledge), "condition": _condition(), "tests": ["a", "b"]}
    told["before"] = told["therapy"].supplies[0]
    told |= {
        "flag": "HH",
        "test": "a test",
        "reason": "a reason",
        "name": "a name",
        "title": "a title",
        "key": "labs",
    }
    told |= {"here": number, "shipped": number, "unit": " %", "area": "HCT", "text": Own("a text")}
    told |= {"detail": "it could not be read", "finding": _finding(rule, {}, knowledge, rich=True)}
    for change in _changes(rule, knowledge):
        yield {**told, **change}
