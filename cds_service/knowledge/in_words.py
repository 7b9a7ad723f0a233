"""Conditions of rules as sentences, for people who do not read YAML: the rule reference, `explain`, the export.

`in_words` turns a predicate tree (`schema/predicate.json`) into one clause: "testosterone is current and sex is
male". Values of switches are those of the knowledge that is given, and so are the words (`Knowledge.voice`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from cds_service.knowledge.model import THRESHOLDS, Knowledge

SIGNS = {">": "above {limit}", ">=": "at or above {limit}", "<": "below {limit}", "<=": "at or below {limit}"}


def in_words(tree: Any, knowledge: Knowledge) -> str:
    """The condition as one clause; `everybody` for None."""
    if tree is None:
        return knowledge.voice.say("everybody")
    if len(tree) > 1:
        return _all([{name: spec} for name, spec in tree.items()], knowledge)
    ((name, spec),) = tree.items()
    return CLAUSES[name](spec, knowledge)


def limit_in_words(spec: Any, knowledge: Knowledge, unit: str = "") -> str:
    """A limit as a rule writes it, with the value that it has here: `54.0 % (hct_stop)`."""
    if not isinstance(spec, Mapping):
        return f"{knowledge.voice.shown(spec)} {unit}".strip()
    if "reference" in spec:
        return _reference(spec, knowledge, unit)
    if "by_sex" in spec:
        sides = spec["by_sex"].items()
        return ", ".join(
            f"{limit_in_words(part, knowledge, unit)} ({knowledge.voice.say(sex)})" for sex, part in sides
        )
    here = knowledge.switches[spec["switch"]]
    if "values" in spec:
        chosen = spec["values"][_switched(here)]
        return f"{limit_in_words(chosen, knowledge, unit)} ({spec['switch']}: {_text(here, knowledge)})"
    return f"{_text(here, knowledge)} {unit}".strip() + f" ({spec['switch']})"


def display_unit(marker: str, knowledge: Knowledge) -> str:
    """Unit of a marker as people write it."""
    return knowledge.markers[marker].unit_display


def _reference(spec: Mapping[str, Any], knowledge: Knowledge, unit: str) -> str:
    say = knowledge.voice.say
    times = say("{factor} times ", factor=spec["times"]) if "times" in spec else ""
    ends = {"high": "the laboratory's own upper limit", "low": "the laboratory's own lower limit"}
    limit = times + say(ends[spec["reference"]])
    without = limit_in_words(spec["default"], knowledge, unit) if "default" in spec else ""
    return say("{limit}, or {default} without one", limit=limit, default=times + without) if without else limit


def _switched(value: Any) -> str:
    """The value of a switch as files write it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _text(value: Any, knowledge: Knowledge) -> str:
    if isinstance(value, bool):
        return knowledge.voice.say("true" if value else "false")
    return knowledge.voice.say("no limit") if value is None else knowledge.voice.shown(str(value))


def _listed(spec: Any, name: Callable[[str], str], knowledge: Knowledge) -> str:
    return knowledge.voice.say(" or ").join(name(one) for one in ([spec] if isinstance(spec, str) else spec))


def _inner(tree: Any, knowledge: Knowledge) -> str:
    """The clause, in brackets if it joins several."""
    text = in_words(tree, knowledge)
    joins = set(tree) & {"all", "any"} or len(tree) > 1
    single = len(tree) == 1 and all(isinstance(part, list) and len(part) == 1 for part in tree.values())
    return f"({text})" if joins and not single else text


def _all(specs: Any, knowledge: Knowledge) -> str:
    return knowledge.voice.say(" and ").join(_inner(spec, knowledge) for spec in specs)


def _any(specs: Any, knowledge: Knowledge) -> str:
    return knowledge.voice.say(" or ").join(_inner(spec, knowledge) for spec in specs)


def _not(spec: Any, knowledge: Knowledge) -> str:
    return knowledge.voice.say("not: {clause}", clause=_inner(spec, knowledge))


def _certain(spec: Any, knowledge: Knowledge) -> str:
    return knowledge.voice.say("for certain {clause}", clause=_inner(spec, knowledge))


def _protocol(spec: Any, knowledge: Knowledge) -> str:
    names = {protocol.key: protocol.name for protocol in knowledge.protocols}
    if spec == "any":
        return knowledge.voice.say("any protocol applies")
    listed = _listed(spec, lambda key: names[key], knowledge)
    return knowledge.voice.say("the protocol applies: {protocols}", protocols=listed)


def _therapies(spec: Any, knowledge: Knowledge) -> str:
    return _listed(spec, lambda key: knowledge.therapies[key].name, knowledge)


STATES = {
    "current": "{drug} is current",
    "past": "{drug} was given before",
    "any": "{drug} is current or was given before",
}


def _therapy(spec: Any, knowledge: Knowledge) -> str:
    say = knowledge.voice.say
    drug = _therapies(spec["key"], knowledge) + _product(spec, knowledge)
    parts = [say(STATES[spec.get("state", "current")], drug=drug)]
    if "from_day" in spec:
        parts.append(say("for at least {days} days", days=spec["from_day"]))
    if "to_day" in spec:
        parts.append(say("for at most {days} days", days=spec["to_day"]))
    if "ended_within_days" in spec:
        days = count_in_words(spec["ended_within_days"], knowledge)
        parts.append(say("and ended at most {days} days ago", days=days))
    return " ".join(parts)


def _product(spec: Mapping[str, Any], knowledge: Knowledge) -> str:
    say = knowledge.voice.say
    about = []
    if "agent" in spec:
        about.append(_listed(spec["agent"], str, knowledge))
    if "form" in spec:
        about.append(_listed(spec["form"], say, knowledge))
    if "not_form" in spec:
        about.append(say("not {forms}", forms=_listed(spec["not_form"], say, knowledge)))
    if spec.get("systemic"):
        about.append(say("acting in the whole body"))
    return f" ({', '.join(about)})" if about else ""


DRAFTED = {
    None: "an order for {drug} is being written",
    True: "an order for {drug} is being written as a new start",
    False: "an order for {drug} is being written as a continuation",
}


def _draft(spec: Any, knowledge: Knowledge) -> str:
    say = knowledge.voice.say
    name = _therapies(spec["key"], knowledge) + _product(spec, knowledge)
    whose = "" if spec.get("selected", True) else say(" (anywhere in the drafts)")
    return say(DRAFTED[spec.get("new")], drug=name) + whose


CONDITIONS = {
    "present": "{condition} is in the chart",
    "active": "{condition} (active) is in the chart",
    "history": "{condition} (in the past) is in the chart",
    "any": "{condition} (active or in the past) is in the chart",
}


def _condition(spec: Any, knowledge: Knowledge) -> str:
    say = knowledge.voice.say
    name = _listed(spec["concept"], lambda key: knowledge.concepts[key].name, knowledge)
    when = ""
    if "within_months" in spec:
        months = count_in_words(spec["within_months"], knowledge)
        when = say(" that began in the last {months} months", months=months)
    if "before_months" in spec:
        months = count_in_words(spec["before_months"], knowledge)
        when = say(" that began more than {months} months ago", months=months)
    return say(CONDITIONS[spec.get("state", "present")], condition=name) + when


def _procedure(spec: Any, knowledge: Knowledge) -> str:
    names = _listed(spec["concept"], lambda key: knowledge.concepts[key].name, knowledge)
    return knowledge.voice.say("{procedure} is in the chart as a procedure or device", procedure=names)


def _site_codes(spec: Any, knowledge: Knowledge) -> str:
    return knowledge.voice.say("the site has given codes for {concept}", concept=knowledge.concepts[spec].name)


def _age(spec: Any, knowledge: Knowledge) -> str:
    say = knowledge.voice.say
    words = {"min": "at least {age}", "max": "at most {age}"}
    bounds = [say(words[side], age=limit_in_words(spec[side], knowledge)) for side in words if side in spec]
    return say("age is {bounds}", bounds=say(" and ").join(bounds))


def _switch(spec: Any, knowledge: Knowledge) -> str:
    say = knowledge.voice.say
    each = (
        say("the switch {switch} is {value}", switch=name, value=_text(value, knowledge))
        for name, value in spec.items()
    )
    return say(" and ").join(each)


def _compared(spec: Any, knowledge: Knowledge) -> str:
    """`at or above 25 m[IU]/mL`."""
    say = knowledge.voice.say
    if "comparable" in spec:
        return say("comparable")
    unit = display_unit(spec["marker"], knowledge)
    if "near" in spec:
        limit = limit_in_words(spec["near"]["limit"], knowledge, unit)
        return say("within {by} of {limit}", by=spec["near"]["by"], limit=limit)
    word = next(word for word in THRESHOLDS if word in spec)
    return say(SIGNS[THRESHOLDS[word]], limit=limit_in_words(spec[word], knowledge, unit))


def count_in_words(spec: Any, knowledge: Knowledge) -> str:
    """A count of days or months, with the value that its switch has here."""
    return _text(knowledge.switches[spec["switch"]] if isinstance(spec, Mapping) else spec, knowledge)


def _days(spec: Any, knowledge: Knowledge) -> str:
    within = spec.get("within_days", {"switch": "max_age_days"})
    return knowledge.voice.say("in the last {days} days", days=count_in_words(within, knowledge))


def _result(spec: Any, knowledge: Knowledge) -> str:
    say = knowledge.voice.say
    name, start = knowledge.markers[spec["marker"]].name, ""
    if "after_start" in spec:
        start = say(" after the start of {drug}", drug=_therapies(spec["after_start"], knowledge))
    told = {"marker": name + start, "when": _days(spec, knowledge), "compared": _compared(spec, knowledge)}
    return say("the latest {marker} {when} is {compared}", **told)


def _together(spec: Any, knowledge: Knowledge) -> str:
    names = {"marker": _markers(spec["marker"], knowledge), "others": _markers(spec["with"], knowledge)}
    return knowledge.voice.say("the latest {marker} came with {others}, or that came later", **names)


def _after_dose(spec: Any, knowledge: Knowledge) -> str:
    name, drug = knowledge.markers[spec["marker"]].name, _therapies(spec["key"], knowledge)
    return knowledge.voice.say(
        "the latest {marker} was drawn at most {hours} hours after a recorded dose of {drug}",
        marker=name,
        hours=spec["within_hours"],
        drug=drug,
    )


def _markers(spec: Any, knowledge: Knowledge) -> str:
    return _listed(spec, lambda key: knowledge.markers[key].name, knowledge)


def _ordered(spec: Any, knowledge: Knowledge) -> str:
    return knowledge.voice.say("a test for {marker} is being ordered", marker=_markers(spec["marker"], knowledge))


def _reference_range(spec: Any, knowledge: Knowledge) -> str:
    named = _markers(spec["marker"], knowledge)
    return knowledge.voice.say("the latest {marker} came with an upper reference limit", marker=named)


def _has_result(spec: Any, knowledge: Knowledge) -> str:
    say = knowledge.voice.say
    name, count = _markers(spec["marker"], knowledge), spec.get("count", 1)
    when = _days(spec, knowledge)
    if count == 1:
        return say("the chart holds a result of {marker} {when}", marker=name, when=when)
    return say("the chart holds results of {marker} on {count} days {when}", marker=name, count=count, when=when)


def _pair(spec: Any, knowledge: Knowledge) -> str:
    say = knowledge.voice.say
    told = {"marker": knowledge.markers[spec["marker"]].name, "when": _days(spec, knowledge)}
    pair = say("of the two newest {marker} results of different days {when}", **told)
    if "outside_hours" in spec:
        first, last = spec["outside_hours"]
        return say("{pair}, one was taken outside {first} to {last}", pair=pair, first=first, last=last)
    if "hour_unknown" in spec:
        return say("{pair}, one came without an hour of collection", pair=pair)
    return say("{pair}, both are {compared}", pair=pair, compared=_compared(spec, knowledge))


def _weekly_dose(spec: Any, knowledge: Knowledge) -> str:
    say = knowledge.voice.say
    name = _therapies(spec["key"], knowledge) + _product(spec, knowledge)
    if "mg_per_week" in spec:
        return say("{drug} is given or ordered, at least {dose} mg a week", drug=name, dose=spec["mg_per_week"])
    return say("{drug} is given or ordered, any dose", drug=name)


def _sex(spec: Any, knowledge: Knowledge) -> str:
    return knowledge.voice.say("sex is {sex}", sex=knowledge.voice.say(spec))


def _birth_sex(spec: Any, knowledge: Knowledge) -> str:
    return knowledge.voice.say("recorded birth sex is {sex}", sex=knowledge.voice.say(spec))


def _gender_differs(spec: Any, knowledge: Knowledge) -> str:
    sex = knowledge.voice.say(spec)
    return knowledge.voice.say("recorded gender points to {sex} and the origin to the other", sex=sex)


def _known(spec: Any, knowledge: Knowledge) -> str:
    return knowledge.voice.say("{what} is known", what=knowledge.voice.say(spec))


def _hook(spec: Any, knowledge: Knowledge) -> str:
    return knowledge.voice.say("the call is of {hooks}", hooks=_listed(spec, str, knowledge))


def _pregnancy(spec: Any, knowledge: Knowledge) -> str:
    return knowledge.voice.say("an observation says pregnant" if spec else "an observation says not pregnant")


def _awaited(spec: Any, knowledge: Knowledge) -> str:
    return knowledge.voice.say("{test} is drafted or ordered already", test=knowledge.tests[spec].name)


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
    "sex": _sex,
    "birth_sex": _birth_sex,
    "gender_differs": _gender_differs,
    "known": _known,
    "age": _age,
    "switch": _switch,
    "hook": _hook,
    "observed_pregnancy": _pregnancy,
    "result": _result,
    "together": _together,
    "after_dose": _after_dose,
    "awaited": _awaited,
    "ordered": _ordered,
    "reference_range": _reference_range,
    "has_result": _has_result,
    "pair": _pair,
    "weekly_dose": _weekly_dose,
}
