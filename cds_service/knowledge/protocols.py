"""Compiles `definitions.yaml` and `protocols/*.yaml`: protocols with their schedules, and rules.

Every name that a rule uses (marker, therapy, concept, test, source, reason, switch, rule) is checked here, so
that a rule cannot fail at a chart for want of a name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any

from cds_service.knowledge.model import (
    Item,
    Milestone,
    Note,
    Protocol,
    Row,
    Rule,
    Schedule,
    Terms,
    Variant,
    Window,
    Wording,
)
from cds_service.knowledge.needs import named
from cds_service.knowledge.vocabulary import Evidence
from cds_service.knowledge.yaml_file import Document, Problem, read

COMMON = frozenset(
    [
        "id",
        "version",
        "title",
        "status",
        "kind",
        "hooks",
        "indicator",
        "applies",
        "evidence",
        "review_by",
        "template",
        "advice",
        "differs",
        "suppresses",
        "line_in",
        "reasons",
        "snooze_days",
        "runs_without",
        "topic",
        "notes",
        "line_only",
        "tests",
        "text_cap",
        "cards",
        "site_may",
        "by",
    ]
)
PLACES = 1000
"""Most rules in one protocol file; the order of a rule is that of its cards times this, plus its place."""

Field = tuple[str | int, ...]


def compile_protocols(
    folder: Path, terms: Terms, problems: list[Problem]
) -> tuple[tuple[Protocol, ...], tuple[Rule, ...]]:
    """Read all protocol files of a knowledge folder; what is wrong is appended to `problems`."""
    definitions, documents = read_protocols(folder, problems)
    if definitions is None or len(documents) < len(list((folder / "protocols").glob("*.yaml"))):
        return (), ()
    shared: dict[str, Any] = definitions.data["definitions"]
    protocols = sorted((_protocol(d, shared) for d in documents), key=lambda protocol: protocol.order)
    rules = sorted((r for d in documents for r in _rules(d, shared)), key=lambda rule: rule.order)
    for document in (definitions, *documents):
        _check(document, shared, terms, {p.key for p in protocols}, {rule.id for rule in rules}, problems)
    _check_ids(documents, problems)
    return tuple(protocols), tuple(rules)


def read_protocols(folder: Path, problems: list[Problem]) -> tuple[Document | None, list[Document]]:
    """The definitions (None if they do not fit their schema) and the protocol files that fit theirs."""
    definitions = read(folder / "definitions.yaml", "definitions", problems)
    paths = sorted((folder / "protocols").glob("*.yaml"))
    documents = [document for path in paths if (document := read(path, "protocol", problems)) is not None]
    return definitions, documents


def expand(tree: Any, shared: Mapping[str, Any]) -> Any:
    """Put shared trees in the place of `is: NAME`, and several fields of one mapping under `all`."""
    if isinstance(tree, list):
        return [expand(part, shared) for part in tree]
    if not isinstance(tree, Mapping):
        return tree
    if set(tree) == {"is"}:
        return expand(shared.get(tree["is"], {"any": []}), shared)
    return {name: expand(part, shared) for name, part in tree.items()}


def _protocol(document: Document, shared: Mapping[str, Any]) -> Protocol:
    head = document.data["protocol"]
    plans = document.data.get("schedules", {"profiles": {}})
    return Protocol(
        key=head["key"],
        name=head["name"],
        order=head["order"],
        applies=expand(head.get("applies"), shared),
        schedules={name: _schedule(name, plan, shared) for name, plan in plans["profiles"].items()},
        profile_switch=plans.get("switch", ""),
        variants=tuple(Variant(expand(v["when"], shared), v["profile"]) for v in plans.get("variants", ())),
        about_therapy=head.get("about_therapy", True),
    )


def _schedule(profile: str, plan: Mapping[str, Any], shared: Mapping[str, Any]) -> Schedule:
    return Schedule(
        profile=profile,
        anchor=tuple(plan["anchor"]),
        milestones=tuple(_milestone(milestone, shared) for milestone in plan["milestones"]),
        yearly=tuple(_item(item, shared) for item in plan["yearly"]["items"]),
        yearly_due_days=plan["yearly"]["due_days"],
        yearly_overdue_days=plan["yearly"]["overdue_days"],
        evidence=_evidence(plan),
        clock=plan.get("clock", "start"),
        clock_when=expand(plan.get("clock_when"), shared),
        differs=plan.get("differs", ""),
        beside={name: _row(row, shared) for name, row in plan.get("beside", {}).items()},
    )


def _row(data: Mapping[str, Any], shared: Mapping[str, Any]) -> Row:
    return Row(tuple(_milestone(milestone, shared) for milestone in data["milestones"]), data.get("clock", "start"))


def _milestone(data: Mapping[str, Any], shared: Mapping[str, Any]) -> Milestone:
    return Milestone(
        key=data["key"],
        name=data["name"],
        opens=data["opens"],
        target=data["target"],
        overdue_after=data["overdue_after"],
        closes=data.get("closes"),
        items=tuple(_item(item, shared) for item in data["items"]),
        every=data.get("every"),
        look_back=data.get("look_back", ""),
        after_last="again" in data,
        again=data.get("again", 0),
        counts_from=data.get("counts_from"),
    )


def _item(data: Any, shared: Mapping[str, Any]) -> Item:
    if isinstance(data, str):
        return Item(data)
    window = Window(**data["window"]) if "window" in data else None
    return Item(data["test"], expand(data.get("when"), shared), data.get("look_back", ""), window)


def _evidence(data: Mapping[str, Any]) -> tuple[Evidence, ...]:
    return tuple(Evidence(e["source"], e["section"], e["strength"], e["mark"]) for e in data["evidence"])


def _rules(document: Document, shared: Mapping[str, Any]) -> Iterator[Rule]:
    head = document.data["protocol"]
    for place, data in enumerate(document.data.get("rules", ())):
        spec = expand({name: value for name, value in data.items() if name not in COMMON}, shared)
        applies = expand(data.get("applies"), shared)
        yield Rule(
            id=data["id"],
            version=data["version"],
            title=data["title"],
            status=data.get("status", "active"),
            kind=data["kind"],
            hooks=frozenset(data["hooks"]),
            protocol=head["key"],
            indicator=data["indicator"],
            applies=applies,
            spec=spec,
            evidence=_evidence(data),
            review_by=date.fromisoformat(data["review_by"]),
            template=data.get("template", data["kind"]),
            advice=data.get("advice", ""),
            differs=data.get("differs", ""),
            suppresses=frozenset(data.get("suppresses", ())),
            line_in=tuple(data.get("line_in", ())),
            reasons=tuple(data["reasons"]),
            snooze_days=data.get("snooze_days"),
            runs_without=frozenset(data.get("runs_without", ())),
            order=data.get("cards", head.get("cards", head["order"])) * PLACES + place,
            topic=data.get("topic", data["id"]),
            notes=tuple(Note(n["text"], expand(n.get("when"), shared)) for n in data.get("notes", ())),
            line_only=data.get("line_only", False),
            tests=tuple(data.get("tests", ())),
            markers=frozenset((*named(applies), *named(spec))),
            text_cap=data.get("text_cap", False),
            site_may=_site_may(data),
            by=_by(data),
        )


def _by(data: Mapping[str, Any]) -> dict[str, dict[str, Wording]]:
    return {
        switch: {
            profile: Wording(**{**words, **({"evidence": _evidence(words)} if "evidence" in words else {})})
            for profile, words in profiles.items()
        }
        for switch, profiles in data.get("by", {}).items()
    }


def _site_may(data: Mapping[str, Any]) -> frozenset[str]:
    """What a site may change: what the rule declares, else its limits and, if it is no safety net, its status.

    A rule that can be critical, and one that tells of data that could not be judged, is not to be switched off
    by a line in a site's file; one that is meant to be says so itself.
    """
    if "site_may" in data:
        return frozenset(data["site_may"])
    urgencies = {data["indicator"], *(change["indicator"] for change in data.get("indicator_when", ()))}
    keeps = "critical" in urgencies or data["kind"] == "quality"
    return frozenset(["limits"] if keeps else ["limits", "status"])


# -- checks ------------------------------------------------------------------------------------------


def _check(
    document: Document,
    shared: Mapping[str, Any],
    terms: Terms,
    protocols: set[str],
    rules: set[str],
    problems: list[Problem],
) -> None:
    """Report every name in the document that nothing bears."""
    known: dict[str, tuple[str, set[str]]] = {
        "is": ("a condition of definitions.yaml", set(shared)),
        "protocol": ("a protocol", protocols | {"any"}),
        "marker": ("a marker", set(terms.markers)),
        "with": ("a marker", set(terms.markers)),
        "inputs": ("a marker", set(terms.markers)),
        "output": ("a marker", set(terms.markers)),
        "key": ("a therapy key", set(terms.therapies)),
        "therapy": ("a therapy key", set(terms.therapies)),
        "anchor": ("a therapy key", set(terms.therapies)),
        "after_start": ("a therapy key", set(terms.therapies)),
        "concept": ("a concept of conditions.yaml", set(terms.concepts)),
        "site_codes": ("a concept of conditions.yaml", set(terms.concepts)),
        "tests": ("a test", set(terms.tests)),
        "test": ("a test", set(terms.tests)),
        "awaited": ("a test", set(terms.tests)),
        "warning_if": ("a test", set(terms.tests)),
        "source": ("a source", set(terms.sources)),
        "reasons": ("an override reason", set(terms.reasons)),
        "suppresses": ("a rule", rules),
        "line_in": ("a rule", rules),
        "switch": ("a switch", set(terms.switches)),
        "inclusive": ("a switch", set(terms.switches)),
        "look_back": ("a switch", set(terms.switches)),
    }
    for field, name, value in _names(document.data, ()):
        described, allowed = known.get(name, ("", set()))
        if described and value not in allowed and not _is_own_key(field):
            problems.append(document.problem(field, f"{described}, not {value!r}"))
    for field, items in _item_lists(document.data):
        for place, item in enumerate(items):
            if isinstance(item, str) and item not in terms.tests:
                problems.append(document.problem((*field, place), f"a test, not {item!r}"))


def _is_own_key(field: Field) -> bool:
    """True for the keys by which a protocol and a milestone name themselves."""
    return field == ("protocol", "key") or ("milestones" in field and field[-1] == "key")


def _names(tree: Any, field: Field) -> Iterator[tuple[Field, str, str]]:
    """(path, field name, text) of every text in the tree, those in lists and mappings under their field's name."""
    if isinstance(tree, Mapping):
        for name, value in tree.items():
            path = (*field, name)
            if isinstance(value, str):
                yield path, name, value
            elif isinstance(value, list) and all(isinstance(part, str) for part in value):
                yield from (((*path, place), name, part) for place, part in enumerate(value))
            elif name in ("switch", "inputs") and isinstance(value, Mapping):
                texts = value if name == "switch" else value.values()
                yield from ((path, name, text) for text in texts)
            else:
                yield from _names(value, path)
    elif isinstance(tree, list):
        for place, part in enumerate(tree):
            yield from _names(part, (*field, place))


def _item_lists(data: Mapping[str, Any]) -> Iterator[tuple[Field, list[Any]]]:
    for profile, plan in data.get("schedules", {}).get("profiles", {}).items():
        base: Field = ("schedules", "profiles", profile)
        rows = [(base, plan), *(((*base, "beside", name), row) for name, row in plan.get("beside", {}).items())]
        for field, row in rows:
            for place, milestone in enumerate(row["milestones"]):
                yield (*field, "milestones", place, "items"), milestone["items"]
        yield (*base, "yearly", "items"), plan["yearly"]["items"]


def _check_ids(documents: list[Document], problems: list[Problem]) -> None:
    seen: set[str] = set()
    for document in documents:
        for place, rule in enumerate(document.data.get("rules", ())):
            if rule["id"] in seen:
                problems.append(document.problem(("rules", place, "id"), f"an id used once, not {rule['id']!r}"))
            seen.add(rule["id"])
