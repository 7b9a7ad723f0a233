"""The limits of a rule: where in its data each one stands, what it is compared with, and how it is replaced.

    above: "52.0"                                         path above
    outside: ["450", "700"]                               paths outside[0], outside[1]
    above: {reference: high, default: "40.0"}             paths above, above.default
    above: {switch: S, values: {"true": A, "false": B}}   paths above.values.true, above.values.false
    above: {by_sex: {male: A, female: B}}                 paths above.by_sex.male, above.by_sex.female
    when: {age: {min: "65"}}                              path when.age.min

An overlay changes them, the coverage check counts them, and the rule reference lists them: all by these paths.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

import msgspec

from cds_service.knowledge.model import THRESHOLDS, Rule
from cds_service.knowledge.vocabulary import Marker
from cds_service.knowledge.yaml_file import dotted

Field = tuple[str | int, ...]

CHANGES = {
    "rise_above": ">",
    "slope_above": ">",
    "rise_from_lowest": ">=",
    "fall_less_than_percent": "<",
    "projected_above": ">=",
}
AGES = {"min": ">=", "max": "<="}
AGE = "age"
DOSE = "weekly dose"
SEX = "sex"


class RuleLimit(msgspec.Struct, frozen=True):
    """One limit of one rule."""

    rule: str
    field: Field
    """Where it stands: below the rule's own fields, or below `applies`."""
    holder: Field
    """Where the mapping stands that holds it."""
    word: str
    """Its name in that mapping: `above`, `outside[1]`, `min`."""
    subject: str
    """Marker, `age` or `weekly dose`."""
    operator: str
    value: str
    """The decimal as the rule writes it; '' if a switch or the laboratory gives it."""
    switch: str = ""
    """Switch that gives it."""
    choices: tuple[tuple[str, str], ...] = ()
    """What picks this limit among others: (switch or `sex`, its value as text)."""
    reference: str = ""
    """`high` or `low` if it is the laboratory's own limit of the result."""
    times: str = "1"
    """What the laboratory's limit is multiplied by."""

    @property
    def path(self) -> str:
        """The field as people write it."""
        return dotted(self.field)


def limits_of(rule: Rule) -> tuple[RuleLimit, ...]:
    """All limits of a rule, in the order of its data."""
    roots: list[tuple[Field, Any]] = [((), rule.spec), (("applies",), rule.applies)]
    return tuple(limit for field, tree in roots for limit in _walk(rule.id, field, tree))


def node_at(rule: Rule, field: Field) -> Any:
    """What stands in the rule's data under this path (a limit's `holder`, say)."""
    node: Any = rule.spec
    if field[:1] == ("applies",):
        node, field = rule.applies, field[1:]
    for step in field:
        node = node[step]
    return node


def replaced(rule: Rule, field: Field, value: Any) -> Rule:
    """The rule with another value under this path."""
    if field[:1] == ("applies",):
        return msgspec.structs.replace(rule, applies=_put(rule.applies, field[1:], value))
    return msgspec.structs.replace(rule, spec=_put(rule.spec, field, value))


def display_step(subject: str, limit: Decimal, markers: Mapping[str, Marker]) -> Decimal:
    """The least difference that two shown values near this limit can have."""
    marker = markers.get(subject)
    if marker is None:
        return Decimal(1)
    if marker.decimals is None:  # three significant digits
        return Decimal(1).scaleb(limit.adjusted() - 2) if limit else Decimal("0.01")
    return Decimal(1).scaleb(-marker.decimals)


def _walk(rule: str, field: Field, tree: Any) -> Iterator[RuleLimit]:
    if isinstance(tree, Mapping):
        yield from _held(rule, field, tree)
        for name, part in tree.items():
            yield from _walk(rule, (*field, name), part)
    elif isinstance(tree, list | tuple):
        for place, part in enumerate(tree):
            yield from _walk(rule, (*field, place), part)


def _held(rule: str, field: Field, node: Mapping[str, Any]) -> Iterator[RuleLimit]:
    """Limits that this mapping holds itself."""
    marker = node.get("marker")
    if isinstance(marker, str):
        for word, operator in {**THRESHOLDS, **CHANGES}.items():
            if word in node:
                shape = RuleLimit(rule, (*field, word), field, word, marker, operator, "")
                yield from _leaves(shape, node[word])
        for place, operator in enumerate("<>" if "outside" in node else ""):
            word = f"outside[{place}]"
            shape = RuleLimit(rule, (*field, "outside", place), field, word, marker, operator, "")
            yield from _leaves(shape, node["outside"][place])
    if field[-1:] == ("age",):
        for word, operator in AGES.items():
            if word in node:
                shape = RuleLimit(rule, (*field, word), field, word, AGE, operator, "")
                yield from _leaves(shape, node[word])
    if field[-1:] == ("weekly_dose",) and "mg_per_week" in node:
        shape = RuleLimit(rule, (*field, "mg_per_week"), field, "mg_per_week", DOSE, ">=", "")
        yield from _leaves(shape, node["mg_per_week"])


def _leaves(shape: RuleLimit, spec: Any) -> Iterator[RuleLimit]:
    """The numbers that one limit can be."""
    change = msgspec.structs.replace
    if not isinstance(spec, Mapping):
        yield change(shape, value=str(spec))
    elif "reference" in spec:
        times = spec.get("times", "1")
        yield change(shape, reference=spec["reference"], times=times)
        if "default" in spec:
            yield from _leaves(change(shape, field=(*shape.field, "default"), times=times), spec["default"])
    elif "values" in spec or "by_sex" in spec:
        field, chooser = ("values", spec["switch"]) if "values" in spec else ("by_sex", SEX)
        for name, part in spec[field].items():
            choices = (*shape.choices, (chooser, name))
            yield from _leaves(change(shape, field=(*shape.field, field, name), choices=choices), part)
    else:
        yield change(shape, switch=spec["switch"])


def _put(tree: Any, field: Field, value: Any) -> Any:
    """A copy of the tree with another value under this path."""
    if not field:
        return value
    step, *rest = field
    if isinstance(tree, Mapping):
        return {**tree, step: _put(tree[str(step)], tuple(rest), value)}
    copy = list(tree)
    copy[int(step)] = _put(copy[int(step)], tuple(rest), value)
    return copy
