"""The prose of the knowledge, text by text, and a site's own words for it: `knowledge.yaml` of `[words] folder`.

    rules.HCT-1.title          protocols.male_trt.name            markers, tests, therapies, concepts, reasons
    rules.HCT-1.notes.1        protocols.male_trt.differs.seed    milestones.3-month, strengths.not stated
    rules.HCT-1.by.thresholds.aua2018.advice

Only words change. The numbers of a text and what the service fills into it are those of the shipped one, so that no
limit can become another one in translation; names of guidelines, their sections, codes and units are no texts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from cds_service.knowledge.model import Knowledge, Milestone, Note, Protocol, Row, Rule, Schedule, Wording
from cds_service.knowledge.vocabulary import Evidence
from cds_service.knowledge.yaml_file import Document, Problem, read

NAME = "knowledge.yaml"
Place = tuple[str, ...]
Texts = Mapping[Place, str]
S = TypeVar("S", bound=msgspec.Struct)

TERMS: Mapping[str, tuple[str, ...]] = {
    "markers": ("name",),
    "tests": ("name", "note"),
    "therapies": ("name",),
    "concepts": ("name",),
    "reasons": ("display",),
}
SAID = ("title", "advice", "differs")
LONGEST = {"title": 139, "summary": 139, "name": 60, "display": 60, "milestones": 60, "strengths": 100}
"""Characters, by the field or the section; a title may be a card's summary (CDS Hooks: fewer than 140)."""
LONGEST_OTHER = 1000
_TAG = re.compile(r"\{\{.*?\}\}|\{%.*?%\}")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_MARKUP = re.compile(r"[<>*_`|\[\]#\\{}]")


def texts_of(knowledge: Knowledge) -> dict[Place, str]:
    """Every text of a knowledge base that nobody has reworded yet, in the order of its files."""
    return dict(pair for pair in _texts(knowledge) if pair[1])


def _texts(knowledge: Knowledge) -> Iterator[tuple[Place, str]]:
    for section, fields in TERMS.items():
        for key, term in getattr(knowledge, section).items():
            yield from (((section, key, field), getattr(term, field)) for field in fields)
    for protocol in knowledge.protocols:
        yield ("protocols", protocol.key, "name"), protocol.name
        for profile, schedule in protocol.schedules.items():
            yield ("protocols", protocol.key, "differs", profile), schedule.differs
            every = (*schedule.milestones, *(one for row in schedule.beside.values() for one in row.milestones))
            yield from ((("milestones", milestone.name), milestone.name) for milestone in every)
            yield from _strengths(schedule.evidence)
    for rule in knowledge.rules:
        yield from _of_rule(rule)


def _of_rule(rule: Rule) -> Iterator[tuple[Place, str]]:
    place = ("rules", rule.id)
    yield from (((*place, field), getattr(rule, field)) for field in SAID)
    yield (*place, "summary"), rule.spec.get("summary", "")
    yield from (((*place, "notes", str(number)), note.text) for number, note in enumerate(rule.notes, 1))
    yield from _strengths(rule.evidence)
    for switch, profiles in rule.by.items():
        for profile, wording in profiles.items():
            yield from (((*place, "by", switch, profile, field), getattr(wording, field)) for field in SAID)
            yield from _strengths(wording.evidence)


def _strengths(evidence: tuple[Evidence, ...]) -> Iterator[tuple[Place, str]]:
    yield from ((("strengths", one.strength), one.strength) for one in evidence)


def as_yaml(texts: Texts) -> str:
    """The texts as a site's file holds them."""
    import yaml

    text: str = yaml.safe_dump(tree(texts), allow_unicode=True, sort_keys=False, width=120)
    return text


def tree(texts: Texts) -> dict[str, Any]:
    """The texts below their names."""
    found: dict[str, Any] = {}
    for place, text in texts.items():
        node = found
        for step in place[:-1]:
            node = node.setdefault(step, {})
        node[place[-1]] = text
    return found


# -- a site's file -------------------------------------------------------------------------------------


def reworded(knowledge: Knowledge, folder: Path | None, problems: list[Problem]) -> Knowledge:
    """The knowledge in the words of a site's folder; `knowledge` itself where it has no `knowledge.yaml`.

    Every mistake in the file is added to `problems`.
    """
    texts = read_texts(knowledge, folder, problems)
    return told_as(knowledge, texts) if texts else knowledge


def read_texts(knowledge: Knowledge, folder: Path | None, problems: list[Problem]) -> Texts:
    """The texts of a site's folder, none where it has no `knowledge.yaml`; mistakes are added to `problems`."""
    path = folder / NAME if folder else None
    if path is None or not path.exists():
        return {}
    document = read(path, "texts", problems)
    if document is None:
        return {}
    found: dict[Place, str] = {}
    _take(document, document.data, tree(texts_of(knowledge)), (), found, problems)
    return found


def _take(
    document: Document, here: Any, shipped: Any, place: Place, found: dict[Place, str], problems: list[Problem]
) -> None:
    """Take the texts below `place`, and tell those that cannot be taken."""
    if isinstance(shipped, str):
        wrong = _wrong(here, shipped, place) if isinstance(here, str) else "a text"
        if wrong:
            problems.append(document.problem(place, wrong))
        else:
            found[place] = here.strip()
        return
    if not isinstance(here, Mapping):
        problems.append(document.problem(place, "names with their texts"))
        return
    for name, inner in here.items():
        if name in shipped:
            _take(document, inner, shipped[name], (*place, name), found, problems)
        else:
            known = ", ".join(shipped) if len(shipped) <= len(TERMS) * 2 else "the names that it has as shipped"
            problems.append(document.problem((*place, name), f"one of {known}"))


def _wrong(text: str, shipped: str, place: Place) -> str:
    """What is expected of a site's text in the place of the shipped one; '' if it is that."""
    longest = LONGEST.get(place[-1], LONGEST.get(place[0], LONGEST_OTHER))
    plain = _TAG.sub("", text)
    if not plain.strip():
        return "a text"
    if len(plain) > longest:
        return f"at most {longest} characters, not {len(plain)}"
    if "\n" in text.strip() or _MARKUP.search(plain):
        return "one line of plain text, without Markdown"
    if sorted(_TAG.findall(text)) != sorted(_TAG.findall(shipped)):
        return f"what is filled in as in the shipped text: {' '.join(_TAG.findall(shipped)) or 'nothing'}"
    numbers = _numbers(_TAG.sub("", shipped))
    if _numbers(plain) != numbers:
        return f"the numbers of the shipped text: {', '.join(sorted(numbers)) or 'none'}"
    return ""


def _numbers(text: str) -> set[str]:
    return {number.replace(",", ".") for number in _NUMBER.findall(text)}


# -- the knowledge in other words ----------------------------------------------------------------------


def told_as(knowledge: Knowledge, texts: Texts) -> Knowledge:
    """The knowledge with these texts in the place of its own."""
    terms = {
        section: {
            key: _with(term, {field: (section, key, field) for field in fields}, texts)
            for key, term in getattr(knowledge, section).items()
        }
        for section, fields in TERMS.items()
    }
    return msgspec.structs.replace(
        knowledge,
        protocols=tuple(_protocol(protocol, texts) for protocol in knowledge.protocols),
        rules=tuple(_rule(rule, texts) for rule in knowledge.rules),
        **terms,
    )


def _with(struct: S, places: Mapping[str, Place], texts: Texts) -> S:
    """A struct with the texts of these fields, the same one if there are none."""
    given = {field: texts[place] for field, place in places.items() if place in texts}
    return msgspec.structs.replace(struct, **given) if given else struct


def _protocol(protocol: Protocol, texts: Texts) -> Protocol:
    place = ("protocols", protocol.key)
    schedules = {
        profile: _schedule(_with(schedule, {"differs": (*place, "differs", profile)}, texts), texts)
        for profile, schedule in protocol.schedules.items()
    }
    return msgspec.structs.replace(_with(protocol, {"name": (*place, "name")}, texts), schedules=schedules)


def _schedule(schedule: Schedule, texts: Texts) -> Schedule:
    beside: dict[str, Row] = {
        name: msgspec.structs.replace(row, milestones=_milestones(row.milestones, texts))
        for name, row in schedule.beside.items()
    }
    return msgspec.structs.replace(
        schedule,
        milestones=_milestones(schedule.milestones, texts),
        beside=beside,
        evidence=_evidence(schedule.evidence, texts),
    )


def _milestones(milestones: tuple[Milestone, ...], texts: Texts) -> tuple[Milestone, ...]:
    return tuple(_with(one, {"name": ("milestones", one.name)}, texts) for one in milestones)


def _evidence(evidence: tuple[Evidence, ...], texts: Texts) -> tuple[Evidence, ...]:
    return tuple(_with(one, {"strength": ("strengths", one.strength)}, texts) for one in evidence)


def _rule(rule: Rule, texts: Texts) -> Rule:
    place = ("rules", rule.id)
    by = {
        switch: {
            profile: _wording(wording, (*place, "by", switch, profile), texts)
            for profile, wording in profiles.items()
        }
        for switch, profiles in rule.by.items()
    }
    notes: tuple[Note, ...] = tuple(
        _with(note, {"text": (*place, "notes", str(number))}, texts) for number, note in enumerate(rule.notes, 1)
    )
    summary = texts.get((*place, "summary"))
    spec = rule.spec if summary is None else {**rule.spec, "summary": summary}
    said = _with(rule, {field: (*place, field) for field in SAID}, texts)
    return msgspec.structs.replace(said, spec=spec, notes=notes, by=by, evidence=_evidence(rule.evidence, texts))


def _wording(wording: Wording, place: Place, texts: Texts) -> Wording:
    said = _with(wording, {field: (*place, field) for field in SAID}, texts)
    return msgspec.structs.replace(said, evidence=_evidence(wording.evidence, texts))
