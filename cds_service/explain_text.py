"""Prints an explanation for people: the answer first, then what was read, then every rule."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rich.console import Console
from rich.text import Text

from cds_service.explain_facts import Data

ORDER = ("finding", "snoozed", "silent", "unknown", "fine", "not applicable")
TITLES = {
    "finding": "Rules that speak",
    "snoozed": "Rules that a user has set aside for a while",
    "silent": "Rules that the site does not show",
    "unknown": "Rules that could not be judged",
    "fine": "Rules that were judged and found nothing",
    "not applicable": "Rules that do not apply here",
}
STATES = {
    "done": "done on {day}",
    "due": "due",
    "overdue": "overdue",
    "ordered": "ordered ({order})",
    "unknown": "not known: data are missing",
}


def print_explanation(explanation: Data, console: Console) -> None:
    """Print everything that `explain_request` has found."""
    for line in _lines(explanation):
        heading = not line.startswith(" ")
        console.print(Text(line, style="bold" if heading else ""), soft_wrap=True)


def _lines(told: Data) -> Iterator[str]:
    yield from _answer(told)
    yield from _read(told)
    for word in ORDER:
        rules = [rule for rule in told["rules"] if rule["result"] == word]
        if rules:
            yield ""
            yield TITLES[word]
            yield from _not_run(rules)
            for rule in rules:
                if "when" in rule:
                    yield from _rule(rule)


def _not_run(rules: Iterable[Data]) -> Iterator[str]:
    """Rules that were not asked at all, a line for each reason."""
    reasons: dict[str, list[str]] = {}
    for rule in rules:
        if "when" not in rule:
            reasons.setdefault(rule["reason"], []).append(rule["id"])
    for reason, names in reasons.items():
        yield f"  {', '.join(names)}: {reason}"


def _answer(told: Data) -> Iterator[str]:
    patient, answer = told["patient"], told["answer"]
    who = f"{patient['sex']} ({patient['sex_by']})" if "sex_by" in patient else "sex not known"
    age = f", {patient['age']} years" if "age" in patient else ", age not known"
    yield f"{told['hook']} on {told['as_of']}: Patient/{patient['id']}, {who}{age}; knowledge {told['knowledge']}"
    if "problems" in answer:
        yield f"  The service answers {answer['status']}:"
        yield from (f"    {problem}" for problem in answer["problems"])
    elif not answer["cards"]:
        yield "  The service answers without a card."
    for card in answer["cards"]:
        yield f"  {card['indicator'].upper()} {card['topic']}: {card['summary']}"
        yield from (f"    [ {label} ]" for label in card["suggestions"])


def _read(told: Data) -> Iterator[str]:
    resources, chart = told["resources"], told["chart"]
    yield ""
    yield f"Resources: {resources['came_in']} came in, {resources['used']} used"
    for one in resources["refused"]:
        yield f"  {one['source']}: not used, {one['detail']} ({one['reason']})"
    for gap in told["gaps"]:
        detail = f", {gap['detail']}" if "detail" in gap else ""
        since = f"; complete since {gap['complete_since']}" if "complete_since" in gap else ""
        yield f"  gap: {gap['key']} ({gap['kind']}{detail}){since}; covers {', '.join(gap['covers'])}"
    yield f"Protocols: {', '.join(told['protocols']) or 'none applies'}"
    for name in ("therapies", "drafts", "conditions", "procedures", "orders"):
        yield from (f"  {_fact(one)}" for one in chart[name])
    for found in chart["results"].values():
        yield f"  {_fact(found[0])}" + (f"; {len(found) - 1} earlier" if len(found) > 1 else "")


def _rule(rule: Data) -> Iterator[str]:
    yield f"  {rule['id']} v{rule['version']}  {rule['title']}"
    if rule["result"] == "not applicable":
        yield from (f"    {reason}" for reason in rule.get("because", (rule["reason"],)))
        return
    yield f"    when: {rule['when']}"
    yield f"    {rule['result']}: {rule['reason']}" + (f" -> {rule['card']}" if "card" in rule else "")
    yield from (f"    {reason}" for reason in rule.get("because", ()))
    for one in rule.get("compared", ()):
        yield f"    {_comparison(one)}"
    if "schedule" in rule:
        yield from _schedule(rule["schedule"])
    yield from (f"    rests on {_fact(one)}" for one in rule.get("facts", ()))
    yield from (f"    not known: {text}" for text in rule.get("unknown", ()))
    if "next_due" in rule:
        yield f"    next due: {rule['next_due']}"
    if "failed" in rule:
        yield f"    the rule failed: {rule['failed']}"


def _comparison(one: Data) -> str:
    verdict = {True: "yes", False: "no", None: "cannot be told"}[one["passed"]]
    of = f" ({one['limit_of']})" if "limit_of" in one else ""
    factor = f" (x {one['factor']} for another drug)" if "factor" in one else ""
    source = f"; {_fact(one['result'])}" if "result" in one else ""
    return f"{one['subject']} {one['value']}{factor} {one['operator']} {one['limit']}{of}? {verdict}{source}"


def _schedule(told: Data) -> Iterator[str]:
    start = (
        f"day {told['day']} since {told['start']}" if told["start"] else "start not known: the annual rule holds"
    )
    open_one = f"; {told['milestone']} milestone" if told["milestone"] else ""
    yield f"    schedule {told['profile']}: {start}{open_one}"
    if told["target"]:
        meant = f"meant for {told['target']}, overdue from {told['overdue_from']}"
        yield f"    a result counts from {told['opens']}; {meant}"
    if "again" in told:
        days = told["again"]
        yield (
            f"    each test due {days['due_after_days']} days after its last result, "
            f"overdue after {days['overdue_after_days']}"
        )
    for state in told["tests"]:
        text = STATES[state["state"]].format(**state)
        last = f"; last on {state['day']}" if state["state"] in ("due", "overdue") and state["day"] else ""
        yield f"      {state['name']}: {text}{last}"


def _fact(one: Data) -> str:
    kind = one["kind"]
    if kind == "result":
        value = one["value"] or one["reported"] or "no value"
        told = not one["value"] or one["reported"] in one["conversion"]
        notes = [] if told or not one["conversion"] else [f"reported as {one['reported']}"]
        notes += [one[name] for name in ("conversion", "problem", "conflict") if one.get(name)]
        inside = f" [{'; '.join(notes)}]" if notes else ""
        return f"{one['name']} {value} of {one['date'] or 'no date'}{inside} ({one['source']})"
    if kind in ("therapy", "draft"):
        form = "" if one["form"] == "unknown" else f" ({one['form']})"
        return f"{one['agent']}{form}{_span(one)}; {one['recognised']} ({_sources(one)})"
    words = [one[name] for name in ("state", "date") if one.get(name)]
    return f"{kind} {one['name']}, {', '.join(words)} ({one['source']})"


def _span(one: Data) -> str:
    if one["kind"] == "draft":
        return ", drafted" + ("" if one["selected"] else ", not what this call is about")
    end = f" to {one['end']}" if one["end"] else ", current" if one["current"] else ""
    hold = ", on hold" if one["on_hold"] else ""
    changed = f", dose changed {one['dose_changed']}" if one["dose_changed"] else ""
    return f" since {one['start'] or 'an unknown day'}{end}{hold}{changed}"


def _sources(one: Data) -> str:
    listed: Iterable[str] = one["sources"] if "sources" in one else [one["source"]]
    return ", ".join(listed)
