"""The small language in which rules say to whom they apply.

A predicate tree is data (`knowledge/schema/protocol.json` describes it). Each leaf is a function below,
found by its name. The answer has three values: True with the facts that make it so, False, or None with
the doubts that keep it open; `all`, `any` and `not` combine them as Kleene logic does (`questions.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from cds_service.chart import Condition, Draft, Form, Measurement, Supply, Therapy
from cds_service.knowledge.kept import Kept
from cds_service.knowledge.model import Indicator, Rule
from cds_service.rules import samples
from cds_service.rules.compare import passes
from cds_service.rules.context import Context, months_before, names
from cds_service.rules.outcome import ROUTE_UNKNOWN, Doubt, Fact
from cds_service.rules.questions import NO, YES, Questions, Truth


def holds(tree: Any, ctx: Context) -> Truth:
    """Evaluate a predicate tree; None holds always."""
    if tree is None:
        return YES
    return QUESTIONS.of(ctx.knowledge).of(tree)(ctx)


def urgency(rule: Rule, ctx: Context) -> Indicator:
    """The rule's indicator, changed where one of its `indicator_when` conditions holds."""
    for change in rule.spec.get("indicator_when", ()):
        if holds(change["when"], ctx).holds:
            changed: Indicator = change["indicator"]
            return changed
    return rule.indicator


STATES = {"current": True, "past": False, "any": None}
"""What a rule asks of a course, as `Context.courses` wants it."""


def _therapy(spec: Any, ctx: Context) -> Truth:
    keys: frozenset[str] = spec["key"]
    if keys.isdisjoint(ctx.possible):
        return NO
    state = STATES[spec.get("state", "current")]
    courses = [course for course in ctx.courses(keys, state) if _course_fits(course, spec, ctx)]
    found = tuple([course for course in courses if _form_fits(course.form, spec)])
    if found:
        return Truth(True, found)
    doubts = _routes_unknown(courses, spec)
    if state:
        perhaps = [c for c in ctx.courses(keys, current=False) if c.unsure and _course_fits(c, spec, ctx)]
        doubts += tuple(_unsure(course) for course in perhaps if _form_fits(course.form, spec) is not False)
    doubts += ctx.doubts("medications")
    return Truth(None, (), doubts) if doubts else NO


def _form_fits(form: Form, spec: Any) -> bool | None:
    """None: the rule asks for a form, and which one it is stands nowhere in the chart."""
    if "form" in spec and form not in spec["form"]:
        return None if form == "unknown" else False
    return "not_form" not in spec or form not in spec["not_form"]


def _routes_unknown(given: Sequence[Therapy | Supply | Draft], spec: Any) -> tuple[Doubt, ...]:
    """A doubt for each of those that have the form in question for all that is known."""
    return tuple(
        Doubt(ROUTE_UNKNOWN, "medications", {"name": one.agent})
        for one in given
        if _form_fits(one.form, spec) is None
    )


def _unsure(course: Therapy) -> Doubt:
    return Doubt("therapy_unsure", "medications", {"name": course.agent, "day": course.given[0].day})


def _course_fits(course: Therapy, spec: Any, ctx: Context) -> bool:
    """All but the form."""
    if "agent" in spec and course.agent not in spec["agent"]:
        return False
    if spec.get("systemic") and ctx.acts_locally(course):
        return False
    if "ended_within_days" in spec and course.end and (ctx.as_of - course.end).days > spec["ended_within_days"]:
        return False
    if "from_day" not in spec and "to_day" not in spec:
        return True
    return _within(None if course.start is None else (ctx.as_of - course.start).days, spec)


def _within(days: int | None, spec: Any) -> bool:
    """Unknown start: rules with a least day run, rules with a last day do not (0.4.7)."""
    if days is None:
        return "to_day" not in spec
    return bool(days >= spec.get("from_day", days) and days <= spec.get("to_day", days))


def _draft(spec: Any, ctx: Context) -> Truth:
    if not ctx.chart.drafts:
        return NO
    keys: frozenset[str] = spec["key"]
    drafts = (
        ctx.selected(keys) if spec.get("selected", True) else tuple(d for d in ctx.chart.drafts if d.key in keys)
    )
    if "agent" in spec:
        drafts = tuple(d for d in drafts if d.agent in spec["agent"])
    if spec.get("systemic"):
        drafts = tuple(d for d in drafts if not ctx.local(d.key, d.form, d.systemic))
    open_ = [(draft, doubts) for draft in drafts if (doubts := _draft_doubts(draft, spec, ctx)) is not None]
    found = tuple([draft for draft, doubts in open_ if not doubts])
    if found or not open_:
        return Truth(True, found) if found else NO
    return Truth(None, (), tuple([doubt for _, doubts in open_ for doubt in doubts]))


def _draft_doubts(draft: Draft, spec: Any, ctx: Context) -> tuple[Doubt, ...] | None:
    """Why it is not known whether form and newness fit; () if they do, None if they do not."""
    if _form_fits(draft.form, spec) is False:
        return None
    doubts = _routes_unknown([draft], spec)
    if "new" not in spec:
        return doubts
    before = _before(draft, ctx)
    if any(course.current for course in before):
        return None if spec["new"] else doubts
    return (*doubts, *map(_unsure, before)) if spec["new"] or before else None


def _before(draft: Draft, ctx: Context) -> list[Therapy]:
    """Courses of the same key that go on, or may go on; a local course is none of a systemic drug.

    A draft is new without one. Where the list of medications is incomplete, none is assumed: the checks of a new
    start then run, and the gap is told.
    """
    local = ctx.local(draft.key, draft.form, draft.systemic)
    courses = ctx.courses(frozenset([draft.key]), current=None)
    return [one for one in courses if (one.current or one.unsure) and ctx.acts_locally(one) is local]


def _condition(spec: Any, ctx: Context) -> Truth:
    concepts: frozenset[str] = spec["concept"]
    found: list[Fact] = []
    unsure: list[Doubt] = []
    for condition in ctx.chart.conditions:
        if not condition.concepts & concepts:
            continue
        fits, recent = _state_fits(condition, spec, ctx, concepts), _is_recent(condition, spec, ctx)
        if fits and recent:
            found.append(condition)
        elif fits and recent is None:
            unsure.append(Doubt("condition_undated", "conditions", {"name": condition.name}))
        elif fits is None and recent is not False:
            unsure.append(Doubt("condition_end_unknown", "conditions", {"name": condition.name}))
    if found:
        return Truth(True, tuple(found))
    doubts = (*unsure, *(() if spec.get("recorded_only") else _unread("conditions", concepts, ctx)))
    return Truth(None, (), doubts) if doubts else NO


def _state_fits(condition: Condition, spec: Any, ctx: Context, concepts: frozenset[str]) -> bool | None:
    """None: it is asked for only as long as it lasts, or once it is over, and whether it has ended is not known."""
    wanted = spec.get("state", "present")
    remembered = any(ctx.knowledge.concepts[c].history_counts for c in condition.concepts & concepts)
    while_it_lasts = wanted != "history"
    afterwards = wanted in ("any", "history") or (wanted == "present" and remembered)
    if condition.end_unknown and while_it_lasts != afterwards:
        return None
    return bool(while_it_lasts if condition.active else afterwards)


def _is_recent(condition: Condition, spec: Any, ctx: Context) -> bool | None:
    """Onset later than today minus n calendar months; any day of a partial date counts (0.4.12).

    Without an onset the day of record stands for it (4.4, C-T-5), but not where the rubric says that it is past.
    """
    if "within_months" not in spec and "before_months" not in spec:
        return True
    when = condition.onset or condition.recorded
    if "before_months" in spec:
        return None if when is None else when.last_day < months_before(ctx.as_of, ctx.days(spec["before_months"]))
    day = months_before(ctx.as_of, ctx.days(spec["within_months"]))
    if any(latest is not None and latest.last_day <= day for latest in (when, condition.abated)):
        return False
    if when is None or (condition.past and condition.onset is None):
        return None
    return True


def _procedure(spec: Any, ctx: Context) -> Truth:
    concepts: frozenset[str] = spec["concept"]
    found = tuple(p for p in ctx.chart.procedures if p.concepts & concepts)
    if found:
        return Truth(True, found)
    doubts = _unread("procedures", concepts, ctx)
    return Truth(None, (), doubts) if doubts else NO


def _unread(area: str, concepts: frozenset[str], ctx: Context) -> tuple[Doubt, ...]:
    """Why the chart may hold one of the concepts though it was not found."""
    if not ctx.gaps:
        return ()
    return (*ctx.doubts(area), *[doubt for concept in sorted(concepts) for doubt in ctx.doubts(concept)])


def _site_codes(spec: Any, ctx: Context) -> Truth:
    concept = ctx.knowledge.concepts[spec]
    return YES if concept.icd10 or concept.snomed else NO


def _sex(spec: Any, ctx: Context) -> Truth:
    sex = ctx.chart.patient.sex
    if sex is None:
        return Truth(None, (), ctx.doubts("patient") or (Doubt("sex_unknown", "patient"),))
    return YES if sex == spec else NO


def _age(spec: Any, ctx: Context) -> Truth:
    least, greatest = ctx.age()
    if least is None or greatest is None:
        return Truth(None, (), ctx.doubts("patient") or (Doubt("birth_date_unknown", "patient"),))
    lower, upper = _bound(spec, "min", ctx), _bound(spec, "max", ctx)
    if lower is not None:
        ctx.compared(spec, "min", Decimal(least), ">=", lower, least >= lower, subject="age")
    if upper is not None:
        ctx.compared(spec, "max", Decimal(greatest), "<=", upper, greatest <= upper, subject="age")
    answers = {(lower is None or age >= lower) and (upper is None or age <= upper) for age in (least, greatest)}
    if len(answers) > 1:
        return Truth(None, (), (Doubt("birth_date_partial", "patient"),))
    return YES if answers.pop() else NO


def _bound(spec: Any, side: str, ctx: Context) -> Decimal | None:
    """A bound of an age; a switch may leave it open (None)."""
    wanted = spec.get(side)
    if wanted is None or (isinstance(wanted, dict) and ctx.switch(wanted["switch"]) is None):
        return None
    return ctx.limit(wanted)


def _known(spec: Any, ctx: Context) -> Truth:
    if spec == "sex":
        return YES if ctx.chart.patient.sex else NO
    return YES if ctx.adult() is not None else NO


def _gender_differs(spec: Any, ctx: Context) -> Truth:
    """Gender identity, sex parameter or recorded gender point to `spec`, the origin to the other (0.4.22)."""
    patient = ctx.chart.patient
    other = "female" if spec == "male" else "male"
    origin = patient.birth_sex or patient.recorded_gender
    stated = spec in (patient.gender_identity, patient.sex_parameter) and origin == other
    recorded = patient.recorded_gender == spec and patient.birth_sex == other
    return YES if stated or recorded else NO


def _birth_sex(spec: Any, ctx: Context) -> Truth:
    return YES if ctx.chart.patient.birth_sex == spec else NO


def _observed_pregnancy(spec: Any, ctx: Context) -> Truth:
    return YES if bool(ctx.chart.pregnancy) is spec else NO


def _hook(spec: Any, ctx: Context) -> Truth:
    return YES if ctx.hook == spec else NO


def _switch(spec: Any, ctx: Context) -> Truth:
    return YES if all(ctx.switch(name) == wanted for name, wanted in spec.items()) else NO


def _has_result(spec: Any, ctx: Context) -> Truth:
    """Results of a marker on at least `count` different days within so many days."""
    within = ctx.days(spec["within_days"])
    days: dict[date, Measurement] = {}
    for measurement in ctx.performed(spec["marker"]):
        day = measurement.day
        if day is not None and ctx.recent(day, within):
            days.setdefault(day, measurement)
    if len(days) >= spec.get("count", 1):
        return Truth(True, tuple(days.values()))
    doubts = ctx.lately(spec["marker"], within)
    return Truth(None, tuple(days.values()), doubts) if doubts else Truth(False, tuple(days.values()))


def _pair(spec: Any, ctx: Context) -> Truth:
    """Two results on different days: their hour of collection, one without an hour, or both at or above a limit."""
    found = _has_result({"marker": spec["marker"], "within_days": spec["within_days"], "count": 2}, ctx)
    if not found.holds:
        return found if found.holds is None else NO
    pair = tuple(fact for fact in found.facts if isinstance(fact, Measurement))[:2]
    if "outside_hours" in spec:
        first, last = spec["outside_hours"]
        outside = any(_clock(m) is not None and not first <= str(_clock(m)) <= last for m in pair)
        return Truth(True, pair) if outside else NO
    if "hour_unknown" in spec:
        return Truth(True, pair) if any(_clock(m) is None for m in pair) else NO
    return _both_at_or_above(pair, spec, ctx)


def _both_at_or_above(pair: tuple[Measurement, ...], spec: Any, ctx: Context) -> Truth:
    doubts, limit = [], ctx.limit(spec["at_or_above"])
    for measurement in pair:
        message, answer = f"dq_{measurement.problem or 'no_value'}", None
        if measurement.value is not None:
            value = ctx.shown(measurement)
            message, answer = "comparator", passes(value, measurement.comparator, ">=", limit)
            ctx.compared(spec, "at_or_above", value, ">=", limit, answer, measurement)
        if answer is False:
            return NO
        if answer is None:
            doubts.append(Doubt(message, measurement.marker, {"result": measurement}))
    return Truth(None, pair, tuple(doubts)) if doubts else Truth(True, pair)


def _clock(measurement: Measurement) -> str | None:
    when = measurement.when
    return None if when is None or when.hour is None else f"{when.hour:02d}:{when.minute or 0:02d}"


def _weekly_dose(spec: Any, ctx: Context) -> Truth:
    """A course or draft of one of the agents and forms has at least so many mg a week (or any dose)."""
    keys = names(spec["key"])
    given: list[tuple[Fact, Supply | Draft]] = [(draft, draft) for draft in ctx.selected(keys)]
    given[:0] = [(course, supply) for course in ctx.courses(keys) for supply in course.supplies[:1]]
    answers = [(one, product, _dose_fits(product, spec, ctx)) for one, product in given]
    if found := tuple(one for one, _, fits in answers if fits):
        return Truth(True, found)
    doubts = _routes_unknown(
        [product for _, product, fits in answers if fits is None], {"form": names(spec["form"])}
    )
    return Truth(None, (), doubts) if doubts else NO


def _dose_fits(given: Supply | Draft, spec: Any, ctx: Context) -> bool | None:
    """None: agent and dose are those that are asked for, and the form stands nowhere in the chart."""
    form_fits = _form_fits(given.form, {"form": names(spec["form"])})
    if form_fits is False or ("agent" in spec and given.agent not in names(spec["agent"])):
        return False
    least, dose = spec.get("mg_per_week"), given.weekly_mg
    if least is None:
        return form_fits
    if dose is None:
        return False
    limit = Decimal(least)
    return (
        form_fits
        if ctx.compared(spec, "mg_per_week", dose, ">=", limit, dose >= limit, subject="weekly dose")
        else False
    )


def _about(question: Callable[[Any, Context], samples.Answer]) -> Callable[[Any, Context], Truth]:
    return lambda spec, ctx: Truth(*question(spec, ctx))


LEAVES: dict[str, Callable[[Any, Context], Truth]] = {
    "therapy": _therapy,
    "draft": _draft,
    "condition": _condition,
    "procedure": _procedure,
    "site_codes": _site_codes,
    "sex": _sex,
    "age": _age,
    "known": _known,
    "gender_differs": _gender_differs,
    "birth_sex": _birth_sex,
    "switch": _switch,
    "hook": _hook,
    "observed_pregnancy": _observed_pregnancy,
    "has_result": _has_result,
    "pair": _pair,
    "weekly_dose": _weekly_dose,
    **{name: _about(question) for name, question in samples.QUESTIONS.items()},
}

QUESTIONS = Kept(lambda knowledge: Questions(knowledge, LEAVES))
"""The compiled predicates of each knowledge base."""
