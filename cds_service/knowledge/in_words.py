"""Conditions of rules as sentences, for people who do not read YAML: the rule reference, `explain`, the export.

`in_words` turns a predicate tree (`schema/predicate.json`) into one clause: "testosterone is current and sex is
male". Values of switches are those of the knowledge that is given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from cds_service.knowledge.limits import THRESHOLDS
from cds_service.knowledge.model import Knowledge

SIGNS = {">": "above", ">=": "at or above", "<": "below", "<=": "at or below"}


def in_words(tree: Any, knowledge: Knowledge) -> str:
    """The condition as one clause; `everybody` for None."""
    if tree is None:
        return "everybody"
    if len(tree) > 1:
        return _all([{name: spec} for name, spec in tree.items()], knowledge)
    ((name, spec),) = tree.items()
    return CLAUSES[name](spec, knowledge)


def limit_in_words(spec: Any, knowledge: Knowledge, unit: str = "") -> str:
    """A limit as a rule writes it, with the value that it has here: `54.0 % (hct_stop)`."""
    if not isinstance(spec, Mapping):
        return f"{spec} {unit}".strip()
    if "reference" in spec:
        return _reference(spec, knowledge, unit)
    if "by_sex" in spec:
        return ", ".join(f"{limit_in_words(part, knowledge, unit)} ({sex})" for sex, part in spec["by_sex"].items())
    here = knowledge.switches[spec["switch"]]
    if "values" in spec:
        chosen = spec["values"][_text(here)]
        return f"{limit_in_words(chosen, knowledge, unit)} ({spec['switch']}: {_text(here)})"
    return f"{_text(here)} {unit}".strip() + f" ({spec['switch']})"


def display_unit(marker: str, knowledge: Knowledge) -> str:
    """Unit of a marker as people write it."""
    return knowledge.markers[marker].unit_display


def _reference(spec: Mapping[str, Any], knowledge: Knowledge, unit: str) -> str:
    times = f"{spec['times']} times " if "times" in spec else ""
    end = "upper" if spec["reference"] == "high" else "lower"
    without = limit_in_words(spec["default"], knowledge, unit) if "default" in spec else ""
    default = f", or {times}{without} without one" if without else ""
    return f"{times}the laboratory's own {end} limit{default}".replace("  ", " ")


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else "no limit" if value is None else str(value)


def _listed(spec: Any, name: Callable[[str], str], between: str = " or ") -> str:
    return between.join(name(one) for one in ([spec] if isinstance(spec, str) else spec))


def _inner(tree: Any, knowledge: Knowledge) -> str:
    """The clause, in brackets if it joins several."""
    text = in_words(tree, knowledge)
    joins = set(tree) & {"all", "any"} or len(tree) > 1
    single = len(tree) == 1 and all(isinstance(part, list) and len(part) == 1 for part in tree.values())
    return f"({text})" if joins and not single else text


def _all(specs: Any, knowledge: Knowledge) -> str:
    return " and ".join(_inner(spec, knowledge) for spec in specs)


def _any(specs: Any, knowledge: Knowledge) -> str:
    return " or ".join(_inner(spec, knowledge) for spec in specs)


def _not(spec: Any, knowledge: Knowledge) -> str:
    return f"not: {_inner(spec, knowledge)}"


def _certain(spec: Any, knowledge: Knowledge) -> str:
    return f"for certain {_inner(spec, knowledge)}"


def _protocol(spec: Any, knowledge: Knowledge) -> str:
    names = {protocol.key: protocol.name for protocol in knowledge.protocols}
    if spec == "any":
        return "any protocol applies"
    return f"the protocol applies: {_listed(spec, lambda key: names[key])}"


def _therapies(spec: Any, knowledge: Knowledge) -> str:
    return _listed(spec, lambda key: knowledge.therapies[key].name)


def _therapy(spec: Any, knowledge: Knowledge) -> str:
    state = {"current": "is current", "past": "was given before", "any": "is current or was given before"}
    parts = [_therapies(spec["key"], knowledge) + _product(spec), state[spec.get("state", "current")]]
    if "from_day" in spec:
        parts.append(f"for at least {spec['from_day']} days")
    if "to_day" in spec:
        parts.append(f"for at most {spec['to_day']} days")
    if "ended_within_days" in spec:
        parts.append(f"and ended at most {count_in_words(spec['ended_within_days'], knowledge)} days ago")
    return " ".join(parts)


def _product(spec: Mapping[str, Any]) -> str:
    about = []
    if "agent" in spec:
        about.append(_listed(spec["agent"], str))
    if "form" in spec:
        about.append(_listed(spec["form"], str))
    if "not_form" in spec:
        about.append(f"not {_listed(spec['not_form'], str)}")
    if spec.get("systemic"):
        about.append("acting in the whole body")
    return f" ({', '.join(about)})" if about else ""


def _draft(spec: Any, knowledge: Knowledge) -> str:
    name = _therapies(spec["key"], knowledge) + _product(spec)
    kind = {None: "", True: " as a new start", False: " as a continuation"}[spec.get("new")]
    whose = "" if spec.get("selected", True) else " (anywhere in the drafts)"
    return f"an order for {name} is being written{kind}{whose}"


def _condition(spec: Any, knowledge: Knowledge) -> str:
    name = _listed(spec["concept"], lambda key: knowledge.concepts[key].name)
    state = {"present": "", "active": " (active)", "history": " (in the past)", "any": " (active or in the past)"}
    when = ""
    if "within_months" in spec:
        when = f" that began in the last {count_in_words(spec['within_months'], knowledge)} months"
    if "before_months" in spec:
        when = f" that began more than {count_in_words(spec['before_months'], knowledge)} months ago"
    return f"{name}{state[spec.get('state', 'present')]} is in the chart{when}"


def _procedure(spec: Any, knowledge: Knowledge) -> str:
    names = _listed(spec["concept"], lambda key: knowledge.concepts[key].name)
    return f"{names} is in the chart as a procedure or device"


def _site_codes(spec: Any, knowledge: Knowledge) -> str:
    return f"the site has given codes for {knowledge.concepts[spec].name}"


def _age(spec: Any, knowledge: Knowledge) -> str:
    words = {"min": "at least", "max": "at most"}
    bounds = [f"{words[side]} {limit_in_words(spec[side], knowledge)}" for side in words if side in spec]
    return f"age is {' and '.join(bounds)}"


def _switch(spec: Any, _: Knowledge) -> str:
    return " and ".join(f"the switch {name} is {_text(wanted)}" for name, wanted in spec.items())


def _compared(spec: Any, knowledge: Knowledge) -> str:
    """`at or above 25 m[IU]/mL`."""
    if "comparable" in spec:
        return "comparable"
    if "near" in spec:
        unit = display_unit(spec["marker"], knowledge)
        return f"within {spec['near']['by']} of {limit_in_words(spec['near']['limit'], knowledge, unit)}"
    word = next(word for word in THRESHOLDS if word in spec)
    unit = display_unit(spec["marker"], knowledge)
    return f"{SIGNS[THRESHOLDS[word]]} {limit_in_words(spec[word], knowledge, unit)}"


def count_in_words(spec: Any, knowledge: Knowledge) -> str:
    """A count of days or months, with the value that its switch has here."""
    return _text(knowledge.switches[spec["switch"]] if isinstance(spec, Mapping) else spec)


def _days(spec: Any, knowledge: Knowledge) -> str:
    within = spec.get("within_days", {"switch": "max_age_days"})
    return f"in the last {count_in_words(within, knowledge)} days"


def _result(spec: Any, knowledge: Knowledge) -> str:
    name = knowledge.markers[spec["marker"]].name
    start = f" after the start of {_therapies(spec['after_start'], knowledge)}" if "after_start" in spec else ""
    return f"the latest {name}{start} {_days(spec, knowledge)} is {_compared(spec, knowledge)}"


def _together(spec: Any, knowledge: Knowledge) -> str:
    name = knowledge.markers[spec["marker"]].name
    return f"the latest {name} came with {_markers(spec['with'], knowledge)}, or that came later"


def _after_dose(spec: Any, knowledge: Knowledge) -> str:
    name, drug = knowledge.markers[spec["marker"]].name, _therapies(spec["key"], knowledge)
    return f"the latest {name} was drawn at most {spec['within_hours']} hours after a recorded dose of {drug}"


def _markers(spec: Any, knowledge: Knowledge) -> str:
    return _listed(spec, lambda key: knowledge.markers[key].name)


def _ordered(spec: Any, knowledge: Knowledge) -> str:
    return f"a test for {_markers(spec['marker'], knowledge)} is being ordered"


def _reference_range(spec: Any, knowledge: Knowledge) -> str:
    return f"the latest {_markers(spec['marker'], knowledge)} came with an upper reference limit"


def _has_result(spec: Any, knowledge: Knowledge) -> str:
    name, count = _markers(spec["marker"], knowledge), spec.get("count", 1)
    what = f"a result of {name}" if count == 1 else f"results of {name} on {count} days"
    return f"the chart holds {what} {_days(spec, knowledge)}"


def _pair(spec: Any, knowledge: Knowledge) -> str:
    name = knowledge.markers[spec["marker"]].name
    pair = f"of the two newest {name} results of different days {_days(spec, knowledge)}"
    if "outside_hours" in spec:
        first, last = spec["outside_hours"]
        return f"{pair}, one was taken outside {first} to {last}"
    if "hour_unknown" in spec:
        return f"{pair}, one came without an hour of collection"
    return f"{pair}, both are {_compared(spec, knowledge)}"


def _weekly_dose(spec: Any, knowledge: Knowledge) -> str:
    name = _therapies(spec["key"], knowledge) + _product(spec)
    least = f"at least {spec['mg_per_week']} mg a week" if "mg_per_week" in spec else "any dose"
    return f"{name} is given or ordered, {least}"


CLAUSES: dict[str, Callable[[Any, Knowledge], str]] = {
    "all": _all,
    "any": _any,
    "not": _not,
    "certain": _certain,
    "protocol": _protocol,
    "therapy": _therapy,
    "draft": _draft,
    "condition": _condition,
    "procedure": _procedure,
    "site_codes": _site_codes,
    "sex": lambda spec, _: f"sex is {spec}",
    "birth_sex": lambda spec, _: f"recorded birth sex is {spec}",
    "gender_differs": lambda spec, _: f"recorded gender points to {spec} and the origin to the other",
    "known": lambda spec, _: f"{spec} is known",
    "age": _age,
    "switch": _switch,
    "hook": lambda spec, _: f"the call is of {_listed(spec, str)}",
    "observed_pregnancy": lambda spec, _: f"an observation says {'pregnant' if spec else 'not pregnant'}",
    "result": _result,
    "together": _together,
    "after_dose": _after_dose,
    "awaited": lambda spec, knowledge: f"{knowledge.tests[spec].name} is drafted or ordered already",
    "ordered": _ordered,
    "reference_range": _reference_range,
    "has_result": _has_result,
    "pair": _pair,
    "weekly_dose": _weekly_dose,
}
