"""What the rules look at, and so what the prefetch has to bring."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cds_service.knowledge.model import Item, Knowledge, Protocol

NAMED = ("marker", "markers", "inputs", "with")
"""Fields of a rule that name markers."""
BRANCHES = (dict, list, tuple)
"""What the trees are made of; all else is a leaf. Every start walks over thousands of them."""


def markers_needed(knowledge: Knowledge) -> frozenset[str]:
    """Keys of the markers that an active rule or a schedule of a known protocol may read."""
    protocols = {protocol.key: protocol for protocol in knowledge.protocols}
    found: set[str] = set()
    for rule in knowledge.rules:
        if rule.status == "active" and rule.protocol in protocols:
            trees = (rule.applies, rule.spec, *(note.when for note in rule.notes))
            found.update(name for tree in trees for name in named(tree))
    for protocol in protocols.values():
        found.update(named(protocol.applies))
        for item in _items(protocol):
            test = knowledge.tests[item.test]
            found.update(named(item.when), test.brings, test.same_day, *test.done_by)
    found.update(key for key, marker in knowledge.markers.items() if marker.counts_as in found)
    return frozenset(found & knowledge.markers.keys())


def doses_needed(knowledge: Knowledge) -> bool:
    """True if an active rule asks when a dose was given, which only a MedicationAdministration tells."""
    return any(
        field == "after_dose"
        for rule in knowledge.rules
        if rule.status == "active"
        for field in fields_of(rule.spec)
    )


def fields_of(tree: Any) -> Iterator[str]:
    """Names of all fields, anywhere in a tree of mappings and lists."""
    if isinstance(tree, dict):
        yield from tree
        tree = tuple(tree.values())
    for part in tree or ():
        if isinstance(part, BRANCHES):
            yield from fields_of(part)


def _items(protocol: Protocol) -> Iterator[Item]:
    for schedule in protocol.schedules.values():
        for milestones in (schedule.milestones, *(row.milestones for row in schedule.beside.values())):
            for milestone in milestones:
                yield from milestone.items
        yield from schedule.yearly


def named(tree: Any, fields: tuple[str, ...] = NAMED) -> Iterator[str]:
    """Names under these fields (markers, unless said otherwise), anywhere in a tree of mappings and lists."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            if key in fields:
                yield from _strings(value)
            if isinstance(value, BRANCHES):
                yield from named(value, fields)
    elif isinstance(tree, BRANCHES):
        for part in tree:
            if isinstance(part, BRANCHES):
                yield from named(part, fields)


def _strings(value: Any) -> Iterator[str]:
    """Strings of a name or of a list of names (of a mapping: its values)."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from (name for name in value.values() if isinstance(name, str))
    elif isinstance(value, list | tuple):
        yield from (name for name in value if isinstance(name, str))
