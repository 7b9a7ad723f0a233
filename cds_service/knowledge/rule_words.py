"""What a rule looks at and when a test is due, as sentences: for the rule reference, `explain` and the export."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from cds_service.knowledge.in_words import SIGNS, count_in_words, display_unit, in_words, limit_in_words
from cds_service.knowledge.limits import THRESHOLDS
from cds_service.knowledge.model import Item, Knowledge, Milestone, Rule


def rule_in_words(rule: Rule, knowledge: Knowledge) -> str:
    """When the rule speaks, as one clause."""
    return KINDS[rule.kind](rule.spec, knowledge)


def needed_in_words(rule: Rule, knowledge: Knowledge) -> list[str]:
    """What has to be known of the patient before the rule runs: clauses, none if nothing."""
    if "minor" in rule.runs_without:
        return ["birth date known"]
    least = knowledge.switches["min_age"]
    age = f"age at least {least}" + (", or not known" if "birth date" in rule.runs_without else "")
    return [age] if "sex" in rule.runs_without else [age, "sex known"]


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
    if "any_of" in spec:
        return "; or ".join(_threshold(part, knowledge) for part in spec["any_of"])
    marker = spec["marker"]
    name, unit = knowledge.markers[marker].name, display_unit(marker, knowledge)
    days = count_in_words(spec.get("max_age_days", {"switch": "max_age_days"}), knowledge)
    latest = f"the latest {_trait(spec)}{name} of the last {days} days"
    return " ".join([latest, "is", _sides(spec, knowledge, unit), *_samples(spec, knowledge)])


def _trait(spec: Mapping[str, Any]) -> str:
    return f"{spec['trait']} " if "trait" in spec else ""


def _sides(spec: Mapping[str, Any], knowledge: Knowledge, unit: str) -> str:
    if "outside" in spec:
        low, high = (limit_in_words(limit, knowledge, unit) for limit in spec["outside"])
        return f"below {low} or above {high}"
    word = next(word for word in THRESHOLDS if word in spec)
    sign = THRESHOLDS[word]
    if spec.get("inclusive") and knowledge.switches[spec["inclusive"]]:
        sign += "="
    return f"{SIGNS[sign]} {limit_in_words(spec[word], knowledge, unit)}"


def _samples(spec: Mapping[str, Any], knowledge: Knowledge) -> list[str]:
    """Which samples count."""
    parts = []
    if spec.get("samples") == "after_start":
        parts.append("(sample after the start of the therapy)")
    if "from_day" in spec:
        parts.append(f"(sample of day {spec['from_day']} of the therapy or later)")
    if "to_day" in spec:
        parts.append(f"(sample up to day {spec['to_day']} of the therapy)")
    for field, word in (("product", "while on"), ("not_product", "while not on")):
        if field in spec:
            parts.append(f"({word} {_product(spec[field])})")
    if "adjust" in spec:
        adjust = spec["adjust"]
        drugs = _drugs(adjust["therapy"], knowledge)
        parts.append(f"(multiplied by {adjust['factor']} from day {adjust['from_day']} of {drugs})")
    return parts


def _product(spec: Mapping[str, Any]) -> str:
    words = [
        " or ".join([spec[name]] if isinstance(spec[name], str) else spec[name])
        for name in ("agent", "form")
        if name in spec
    ]
    return " by ".join(words)


def _drugs(keys: Any, knowledge: Knowledge) -> str:
    return " or ".join(knowledge.therapies[key].name for key in ([keys] if isinstance(keys, str) else keys))


def _change(spec: Mapping[str, Any], knowledge: Knowledge) -> str:
    marker = spec["marker"]
    name, unit = knowledge.markers[marker].name, display_unit(marker, knowledge)

    def limit(word: str, of: str = unit) -> str:
        return limit_in_words(spec[word], knowledge, of)

    if "rise_above" in spec:
        return (
            f"{name} has risen by more than {limit('rise_above')} over the baseline, "
            f"up to day {spec['to_day']} of the therapy"
        )
    if "projected_above" in spec:
        return (
            f"a straight line through at least {spec['least_results']} {name} results since the start meets "
            f"{limit('projected_above')} within {spec['within_days']} days"
        )
    if "slope_above" in spec:
        return f"a straight line through the {name} results rises by more than {limit('slope_above')} a year"
    if "rise_from_lowest" in spec:
        return f"the latest {name} is {limit('rise_from_lowest')} or more above the lowest since the therapy began"
    fall = limit("fall_less_than_percent", "%")
    return f"{name} has fallen by less than {fall} from baseline to day {spec['from_day']} to {spec['to_day']}"


def _calculated(spec: Mapping[str, Any], knowledge: Knowledge) -> str:
    inputs = ", ".join(knowledge.markers[marker].name for marker in spec["inputs"].values())
    return f"calculated from {inputs} of one day, and shown"


def _schedule(spec: Mapping[str, Any], _: Knowledge) -> str:
    if spec.get("milestone") == "baseline":
        return "a test of the baseline is missing"
    row = f" of the row `{spec['row']}`" if "row" in spec else ""
    return f"a test of the milestone that is open{row} is missing"


def _quality(spec: Mapping[str, Any], _: Knowledge) -> str:
    problems = ", ".join(problem.replace("_", " ") for problem in spec["problems"])
    return f"the newest result of a test that is needed could not be judged: {problems or 'logged only'}"


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
