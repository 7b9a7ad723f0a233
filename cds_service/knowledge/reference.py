"""The rule reference: one Markdown page, made from the knowledge, that a clinician can read from top to bottom."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from cds_service.knowledge.in_words import in_words
from cds_service.knowledge.model import Item, Knowledge, Milestone, Protocol, Rule, Schedule
from cds_service.knowledge.rule_words import item_in_words, milestone_in_words, needed_in_words, rule_in_words
from cds_service.knowledge.vocabulary import Evidence

Covered = Mapping[str, tuple[str, ...]]
"""Rule id -> names of the scenario files that look at it."""

HEAD = """# Rules

Made by `cds-service knowledge docs` from the files under `cds_service/knowledge`; do not edit it by hand.

Each rule says to whom it applies, when it speaks, how urgent its card is, what it rests on, and by when a clinician
reviews it. A name in brackets after a number is the switch that holds it; `cds-service knowledge diff` shows what a
site has changed. Marks of the evidence: *verified*, the wording was found in the source; *from memory*, expert
knowledge that a clinician signs off; *project*, decided by this project.
"""


def page(knowledge: Knowledge, covered: Covered) -> str:
    """The whole page; `covered` names the scenario files of each rule."""
    parts = [HEAD, _contents(knowledge)]
    parts += ["\n".join(_protocol(protocol, knowledge, covered)) for protocol in knowledge.protocols]
    return "\n".join(parts)


def _contents(knowledge: Knowledge) -> str:
    lines = ["| protocol | rules | schedules |", "| --- | --- | --- |"]
    for protocol in knowledge.protocols:
        count = sum(rule.protocol == protocol.key for rule in knowledge.rules)
        name = f"[{_title(protocol)}](#{_anchor(_title(protocol))})"
        lines.append(f"| {name} | {count} | {', '.join(protocol.schedules) or 'none'} |")
    return "\n".join([*lines, ""])


def _title(protocol: Protocol) -> str:
    return f"{protocol.name[:1].upper()}{protocol.name[1:]} ({protocol.key})"


def _anchor(title: str) -> str:
    kept = "".join(char for char in title.lower() if char.isalnum() or char in " -_")
    return kept.replace(" ", "-")


def _protocol(protocol: Protocol, knowledge: Knowledge, covered: Covered) -> Iterator[str]:
    yield f"## {_title(protocol)}\n"
    yield f"Applies to: {in_words(protocol.applies, knowledge)}.\n"
    for schedule in protocol.schedules.values():
        yield from _schedule(schedule, protocol, knowledge)
    for rule in knowledge.rules:
        if rule.protocol == protocol.key:
            yield from _rule(rule, knowledge, covered)


def _schedule(schedule: Schedule, protocol: Protocol, knowledge: Knowledge) -> Iterator[str]:
    chosen = f"`{protocol.profile_switch}: {schedule.profile}`" if protocol.profile_switch else schedule.profile
    yield f"### Schedule {chosen}\n"
    anchor = " or ".join(knowledge.therapies[key].name for key in schedule.anchor)
    clock = ", again after each change of dose or product" if schedule.clock == "change" else ""
    if schedule.clock_when:
        clock += f" if {in_words(schedule.clock_when, knowledge)}"
    yield f"Days count from the start of {anchor}{clock}. {_sources(schedule.evidence, knowledge)}\n"
    if schedule.differs:
        yield f"{schedule.differs}\n"
    yield from _table(schedule.milestones, knowledge)
    for name, row in schedule.beside.items():
        yield f"Beside it, `{name}`:\n"
        yield from _table(row.milestones, knowledge)
    tests = _items(schedule.yearly, knowledge)
    yield (
        f"Start not known: each of these due {schedule.yearly_due_days} days after its last result, overdue after "
        f"{schedule.yearly_overdue_days}: {tests}.\n"
    )


def _table(milestones: Iterable[Milestone], knowledge: Knowledge) -> Iterator[str]:
    yield "| milestone | days | tests |"
    yield "| --- | --- | --- |"
    for milestone in milestones:
        yield f"| {milestone.name} | {milestone_in_words(milestone)} | {_items(milestone.items, knowledge)} |"
    yield ""


def _items(items: Iterable[Item], knowledge: Knowledge) -> str:
    return "; ".join(item_in_words(item, knowledge) for item in items)


def _rule(rule: Rule, knowledge: Knowledge, covered: Covered) -> Iterator[str]:
    yield f"### {rule.id}: {rule.title}\n"
    state = "" if rule.status == "active" else f", {rule.status}"
    yield f"Version {rule.version}{state}; {_urgency(rule, knowledge)}; {', '.join(sorted(rule.hooks))}.\n"
    who = ", ".join([in_words(rule.applies, knowledge), *needed_in_words(rule, knowledge)])
    yield f"- To whom: {who}."
    yield f"- When: {rule_in_words(rule, knowledge)}."
    if rule.advice:
        yield f"- Says: {' '.join(rule.advice.split())}"
    if rule.differs:
        yield f"- Where guidelines differ: {rule.differs}"
    yield from _lines(rule, knowledge)
    if rule.suppresses:
        yield f"- Silences: {', '.join(sorted(rule.suppresses))}."
    yield f"- Evidence: {_sources(rule.evidence, knowledge)}"
    yield f"- A site may change: {', '.join(sorted(rule.site_may)) or 'nothing'}."
    yield f"- Review by: {rule.review_by}."
    yield f"- Scenarios: {', '.join(covered.get(rule.id, ())) or 'none'}.\n"


def _lines(rule: Rule, knowledge: Knowledge) -> Iterator[str]:
    """What the card adds for some patients, and where the rule is a line of another card."""
    for note in rule.notes:
        who = f" (if {in_words(note.when, knowledge)})" if note.when else ""
        yield f"- Adds{who}: {' '.join(note.text.split())}"
    if "warning_if" in rule.spec:
        tests = ", ".join(knowledge.tests[key].name for key in rule.spec["warning_if"])
        yield f"- A warning if one of these is missing: {tests}."
    if rule.line_in:
        how = "A line in the card of" if rule.line_only else "A line in the card, if there is one, of"
        yield f"- {how}: {', '.join(rule.line_in)}."


def _urgency(rule: Rule, knowledge: Knowledge) -> str:
    other = [
        f"{change['indicator']} if {in_words(change['when'], knowledge)}"
        for change in rule.spec.get("indicator_when", ())
    ]
    return "; ".join([rule.indicator, *other])


def _sources(evidence: Iterable[Evidence], knowledge: Knowledge) -> str:
    return (
        "; ".join(
            f"{knowledge.sources[one.source].label}, {one.section} ({one.strength}; *{one.mark}*)"
            for one in evidence
        )
        + "."
    )
