"""What a rule looks at and when a test is due, as sentences: for the rule reference, `explain` and the export."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from cds_service.knowledge.in_words import SIGNS, count_in_words, display_unit, in_words, limit_in_words
from cds_service.knowledge.model import THRESHOLDS, Item, Knowledge, Milestone, Rule


def rule_in_words(rule: Rule, knowledge: Knowledge) -> str:
    """When the rule speaks, as one clause."""
    return KINDS[rule.kind](rule.spec, knowledge)


def needed_in_words(rule: Rule, knowledge: Knowledge) -> list[str]:
    """What has to be known of the patient before the rule runs: clauses, none if nothing."""
    say = knowledge.voice.say
    if "minor" in rule.runs_without:
        return [say("birth date known")]
    either = "age at least {age}, or not known" if "birth date" in rule.runs_without else "age at least {age}"
    age = say(either, age=knowledge.switches["min_age"])
    return [age] if "sex" in rule.runs_without else [age, say("sex known")]


def milestone_in_words(milestone: Milestone) -> str:
    """The days of a milestone: `day 60 to 120, meant for day 90, overdue from day 121`."""
    if milestone.after_last:
        return (
            f"from day {milestone.opens}; again {milestone.again} days after the last result, "
            f"overdue after {milestone.overdue_after}"
        )
    closes = "" if milestone.closes is None else f", closed on day {milestone.closes}"
    again = "" if milestone.every is None else f", every {milestone.every} days"
    return (
        f"opens on day {milestone.opens}, meant for day {milestone.target}, "
        f"overdue after day {milestone.overdue_after}{closes}{again}"
    )


def item_in_words(item: Item, knowledge: Knowledge) -> str:
    """A test of a milestone, with the condition under which it is asked for."""
    name = knowledge.tests[item.test].name
    window = ""
    if item.window is not None:
        every = "" if item.window.every is None else f", every {item.window.every} days"
        window = f" (day {item.window.opens} to {item.window.overdue_after}{every})"
    return f"{name}{window}" + ("" if item.when is None else f", if {in_words(item.when, knowledge)}")


def _threshold(spec: Mapping[str, Any], knowledge: Knowledge) -> str:
    say = knowledge.voice.say
    if "any_of" in spec:
        return say("; or ").join(_threshold(part, knowledge) for part in spec["any_of"])
    marker = spec["marker"]
    trait = f"{say(spec['trait'])} " if "trait" in spec else ""
    latest = say(
        "the latest {marker} of the last {days} days is {compared}",
        marker=trait + knowledge.markers[marker].name,
        days=count_in_words(spec.get("max_age_days", {"switch": "max_age_days"}), knowledge),
        compared=_sides(spec, knowledge, display_unit(marker, knowledge)),
    )
    return " ".join([latest, *_samples(spec, knowledge)])


def _sides(spec: Mapping[str, Any], knowledge: Knowledge, unit: str) -> str:
    say = knowledge.voice.say
    if "outside" in spec:
        low, high = (limit_in_words(limit, knowledge, unit) for limit in spec["outside"])
        return say("below {low} or above {high}", low=low, high=high)
    word = next(word for word in THRESHOLDS if word in spec)
    sign = THRESHOLDS[word]
    if spec.get("inclusive") and knowledge.switches[spec["inclusive"]]:
        sign += "="
    return say(SIGNS[sign], limit=limit_in_words(spec[word], knowledge, unit))


def _samples(spec: Mapping[str, Any], knowledge: Knowledge) -> list[str]:
    """Which samples count."""
    say, parts = knowledge.voice.say, []
    if spec.get("samples") == "after_start":
        parts.append(say("(sample after the start of the therapy)"))
    if "from_day" in spec:
        parts.append(say("(sample of day {day} of the therapy or later)", day=spec["from_day"]))
    if "to_day" in spec:
        parts.append(say("(sample up to day {day} of the therapy)", day=spec["to_day"]))
    if "product" in spec:
        parts.append(say("(while on {product})", product=_product(spec["product"], knowledge)))
    if "not_product" in spec:
        parts.append(say("(while not on {product})", product=_product(spec["not_product"], knowledge)))
    if "adjust" in spec:
        adjust = spec["adjust"]
        told = {"factor": adjust["factor"], "day": adjust["from_day"], "drug": _drugs(adjust["therapy"], knowledge)}
        parts.append(say("(multiplied by {factor} from day {day} of {drug})", **told))
    return parts


def _product(spec: Mapping[str, Any], knowledge: Knowledge) -> str:
    say, words = knowledge.voice.say, []
    for name, word in (("agent", str), ("form", say)):
        if name in spec:
            listed = [spec[name]] if isinstance(spec[name], str) else spec[name]
            words.append(say(" or ").join(word(one) for one in listed))
    return say(" by ").join(words)


def _drugs(keys: Any, knowledge: Knowledge) -> str:
    names = (knowledge.therapies[key].name for key in ([keys] if isinstance(keys, str) else keys))
    return knowledge.voice.say(" or ").join(names)


CHANGES = {
    "rise_above": "{marker} has risen by more than {limit} over the baseline, up to day {to_day} of the therapy",
    "projected_above": (
        "a straight line through at least {least_results} {marker} results since the start meets {limit} "
        "within {within_days} days"
    ),
    "slope_above": "a straight line through the {marker} results rises by more than {limit} a year",
    "rise_from_lowest": "the latest {marker} is {limit} or more above the lowest since the therapy began",
    "fall_less_than_percent": (
        "{marker} has fallen by less than {limit} from baseline to day {from_day} to {to_day}"
    ),
}


def _change(spec: Mapping[str, Any], knowledge: Knowledge) -> str:
    marker = spec["marker"]
    word = next(word for word in CHANGES if word in spec)
    unit = "%" if word == "fall_less_than_percent" else display_unit(marker, knowledge)
    limit = limit_in_words(spec[word], knowledge, unit)
    return knowledge.voice.say(CHANGES[word], **{**spec, "marker": knowledge.markers[marker].name, "limit": limit})


def _calculated(spec: Mapping[str, Any], knowledge: Knowledge) -> str:
    inputs = ", ".join(knowledge.markers[marker].name for marker in spec["inputs"].values())
    return knowledge.voice.say("calculated from {inputs} of one day, and shown", inputs=inputs)


def _schedule(spec: Mapping[str, Any], knowledge: Knowledge) -> str:
    say = knowledge.voice.say
    if spec.get("milestone") == "baseline":
        return say("a test of the baseline is missing")
    if "row" in spec:
        return say("a test of the milestone that is open of the row `{row}` is missing", row=spec["row"])
    return say("a test of the milestone that is open is missing")


def _quality(spec: Mapping[str, Any], knowledge: Knowledge) -> str:
    say = knowledge.voice.say
    problems = ", ".join(say(problem.replace("_", " ")) for problem in spec["problems"]) or say("logged only")
    return say("the newest result of a test that is needed could not be judged: {problems}", problems=problems)


def _when(spec: Mapping[str, Any], knowledge: Knowledge) -> str:
    return in_words(spec["when"], knowledge)


KINDS: Mapping[str, Callable[[Mapping[str, Any], Knowledge], str]] = {
    "threshold": _threshold,
    "change": _change,
    "calculated": _calculated,
    "schedule": _schedule,
    "quality": _quality,
    "precondition": _when,
    "interaction": _when,
}
