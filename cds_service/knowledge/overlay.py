"""The site overlay: one YAML file in which a site changes what the shipped knowledge opens, and adds its own codes.

    overlay.yaml --schema/overlay.json--> changes --until past?--> guideline, switches, rules, codes --> Knowledge

Each change names who decided it, why, and until when. One whose day is past is not applied: what was shipped
holds again, and `review.py` warns. What a rule lets a site change stands in the rule (`site_may`); whatever else
a site may want is a change of the shipped files, with their review. Every mistake is told at once, with its line.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from decimal import Decimal
from typing import Any

import msgspec

from cds_service.knowledge.limits import CHANGES, RuleLimit, limits_of, replaced
from cds_service.knowledge.model import Change, Knowledge, Note, Rule
from cds_service.knowledge.overlay_terms import TERMS
from cds_service.knowledge.site import Entry, Site
from cds_service.knowledge.vocabulary import Marker, Switch
from cds_service.knowledge.yaml_file import Document, Problem

GUIDELINE = "guideline"
"""The switch that names the guideline of the site; it has a field of its own."""

OLDEST = 130
"""Greatest limit of an age in years."""


def guideline_of(document: Document, today: date) -> str:
    """The guideline that the overlay chooses today; '' if it leaves the choice alone."""
    chosen = [raw[GUIDELINE] for raw in document.data["changes"] if GUIDELINE in raw and _holds(raw, today)]
    return str(chosen[-1]) if chosen else ""


def profiles_of(knowledge: Knowledge, document: Document, today: date) -> dict[str, str]:
    """Switches other than that of the guideline by which the overlay chooses a profile today, and which one.

    A word that the switch does not know is left to `apply`, which tells it.
    """
    chosen: dict[str, str] = {}
    for raw in document.data["changes"]:
        if _holds(raw, today):
            wanted, presets = raw.get("switches", {}), knowledge.presets
            chosen.update({name: wanted[name] for name in presets if wanted.get(name) in presets[name]})
    return chosen


def apply(knowledge: Knowledge, document: Document, today: date, problems: list[Problem]) -> Knowledge:
    """The knowledge as it is at the site on `today`; what is wrong is appended to `problems`.

    The guideline itself is chosen before, by the loader: a site's switches win over what a guideline presets.
    """
    site = Site(knowledge, document, problems)
    for place, raw in enumerate(document.data["changes"]):
        entry = Entry(place, raw["who"], raw["why"], date.fromisoformat(raw["until"]))
        if not _holds(raw, today):
            site.expire(entry, _contents(raw))
            continue
        for name, take in SECTIONS.items():
            if name in raw:
                take(site, entry, raw[name])
    return site.knowledge()


def _holds(raw: Mapping[str, Any], today: date) -> bool:
    return today <= date.fromisoformat(raw["until"])


def _contents(raw: Mapping[str, Any]) -> str:
    """What a change was about, for the warning that it has ended."""
    parts = []
    for name, content in raw.items():
        if name in SECTIONS:
            details = ", ".join(content) if isinstance(content, Mapping) else content if name == GUIDELINE else ""
            parts.append(f"{name} {details}".strip())
    return "; ".join(parts)


# -- guideline and switches ----------------------------------------------------------------------------


def _guideline(site: Site, entry: Entry, word: str) -> None:
    spec = site.base.switch_specs[GUIDELINE]
    if word not in spec.allowed:
        site.refuse(entry, (GUIDELINE,), f"one of {', '.join(spec.allowed)}, not {word!r}")
        return
    site.note(entry, (GUIDELINE,), GUIDELINE, str(spec.default), word)


def _switches(site: Site, entry: Entry, wanted: Mapping[str, Any]) -> None:
    for name, raw in wanted.items():
        field = ("switches", name)
        spec = site.base.switch_specs.get(name)
        if spec is None:
            site.refuse(entry, field, f"a switch of switches.yaml, not {name!r}")
            continue
        expected = _switch_fault(spec, raw) or _limit_fault(name, raw, site)
        if expected:
            site.refuse(entry, field, expected)
            continue
        value = Decimal(raw) if spec.type == "decimal" and raw is not None else raw
        shipped = spec.default if name in site.base.presets else site.base.switches[name]
        if site.note(entry, field, f"switch {name}", _shown(shipped), _shown(value)):
            site.part("switches")[name] = value
            if value != shipped:
                _tell_in_cards(name, shipped, value, site)


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else "null" if value is None else str(value)


def _switch_fault(spec: Switch, raw: Any) -> str:
    """What the switch takes, if `raw` is not that; '' if it is."""
    if spec.key == GUIDELINE:
        return "`guideline: WORD` beside `switches`, not a switch"
    if raw is None:
        return "" if spec.nullable else "a value, not null"
    if spec.type == "choice":
        return "" if raw in spec.allowed else f"one of {', '.join(spec.allowed)}"
    if spec.type == "bool":
        return "" if isinstance(raw, bool) else "true or false"
    if spec.type == "int":
        return "" if type(raw) is int and raw >= 0 else "a whole number, not below 0"
    return "" if isinstance(raw, str) and _is_decimal(raw) else 'a decimal number in quotes, such as "54.0"'


def _is_decimal(text: str) -> bool:
    return text.isascii() and text.removeprefix("-").replace(".", "", 1).isdecimal() and text[-1:] != "."


def _limit_fault(switch: str, raw: Any, site: Site) -> str:
    """Why the value cannot be the limit of the rules that take it from this switch; '' if it can."""
    using = [limit for rule in site.base.rules for limit in limits_of(rule) if limit.switch == switch]
    if not using or raw is None:
        return ""
    faults = [_out_of_range(limit, Decimal(raw), site.base.markers) for limit in using]
    return next((fault for fault in faults if fault), "")


def _tell_in_cards(switch: str, shipped: Any, value: Any, site: Site) -> None:
    """Where the switch is a rule's limit, its card says that the site has chosen it (law 4)."""
    for rule in site.rules.values():
        for limit in limits_of(rule):
            if limit.switch == switch:
                site.rules[rule.id] = _with_note(site.rules[rule.id], limit, _shown(shipped), _shown(value), site)


# -- rules ---------------------------------------------------------------------------------------------


def _rules(site: Site, entry: Entry, wanted: Mapping[str, Any]) -> None:
    for name, raw in wanted.items():
        if name not in site.rules:
            site.refuse(entry, ("rules", name), f"the id of a rule, not {name!r}")
            continue
        for part, take in (("limits", _limit), ("fields", _field)):
            for path, value in raw.get(part, {}).items():
                take(site, entry, name, path, value)
        if "status" in raw:
            _retire(site, entry, name)


def _limit(site: Site, entry: Entry, name: str, path: str, value: str) -> None:
    field = ("rules", name, "limits", path)
    rule = site.rules[name]
    limits = {limit.path: limit for limit in limits_of(rule)}
    limit = limits.get(path)
    if "limits" not in rule.site_may:
        expected = "no change: this rule keeps its limits"
    elif limit is None:
        open_ones = [one.path for one in limits.values() if one.value]
        expected = f"a limit of this rule ({', '.join(open_ones) or 'it has none of its own'}), not {path!r}"
    elif limit.switch:
        expected = f"a limit of the rule's own; this one is the switch {limit.switch}: change that"
    elif limit.reference and not limit.value:
        expected = "a limit of the rule's own; this one is the laboratory's"
    else:
        expected = _out_of_range(limit, Decimal(value), site.base.markers)
    if expected or limit is None:
        site.refuse(entry, field, expected)
    elif site.note(entry, field, f"rule {name}: {path}", limit.value, value, rule=name):
        changed = replaced(rule, limit.field, value)
        site.rules[name] = _with_note(changed, limit, limit.value, value, site)


def _out_of_range(limit: RuleLimit, value: Decimal, markers: Mapping[str, Marker]) -> str:
    """Why a number cannot be this limit; '' if it can. One that nothing plausible passes switches its rule off."""
    marker = markers.get(limit.subject)
    low: Decimal | None = Decimal(0)
    high: Decimal | None = Decimal(OLDEST) if limit.subject == "age" else None
    if marker is not None:
        low = marker.low if limit.word not in CHANGES or limit.word == "projected_above" else Decimal(0)
        high = marker.high
    if (low is not None and value < low) or (high is not None and value > high):
        span = f"{'any' if low is None else low} to {'any' if high is None else high}"
        return f"a plausible limit of {marker.name if marker else limit.subject}, {span}, not {value}"
    return ""


def _with_note(rule: Rule, limit: RuleLimit, shipped: str, here: str, site: Site) -> Rule:
    """The rule with a sentence on its cards that this limit is the site's own."""
    marker = site.base.markers.get(limit.subject)
    unit = f" {marker.unit_display}" if marker and marker.unit_display else ""
    text = f"The limit of {here}{unit} is this site's own; the shipped one is {shipped}{unit}."
    values = {"here": _number(here), "shipped": _number(shipped), "unit": unit}
    if any(note.text == text for note in rule.notes):
        return rule
    return msgspec.structs.replace(rule, notes=(*rule.notes, Note(text, None, "limit_of_site", values)))


def _number(text: str) -> Decimal | str:
    """A limit as a number, so that cards write it as the site does; `no limit` and the like stay."""
    return Decimal(text) if _is_decimal(text) else text


def _field(site: Site, entry: Entry, name: str, path: str, value: int) -> None:
    field = ("rules", name, "fields", path)
    rule = site.rules[name]
    opened = sorted(rule.site_may & rule.spec.keys())
    if path not in opened or not isinstance(rule.spec[path], int):
        site.refuse(entry, field, f"a field that this rule opens ({', '.join(opened) or 'none'}), not {path!r}")
    elif site.note(entry, field, f"rule {name}: {path}", str(rule.spec[path]), str(value), rule=name):
        site.rules[name] = replaced(rule, (path,), value)


def _retire(site: Site, entry: Entry, name: str) -> None:
    field = ("rules", name, "status")
    rule = site.rules[name]
    if "status" not in rule.site_may:
        site.refuse(entry, field, "no change: this rule cannot be switched off by a site")
    elif site.note(entry, field, f"rule {name}: status", rule.status, "retired", rule=name):
        site.rules[name] = msgspec.structs.replace(rule, status="retired")


SECTIONS: Mapping[str, Callable[[Site, Entry, Any], None]] = {
    GUIDELINE: _guideline,
    "switches": _switches,
    "rules": _rules,
    **TERMS,
}
"""Fields of a change, and what takes each."""


def in_force(changes: tuple[Change, ...]) -> tuple[Change, ...]:
    """The changes that hold."""
    return tuple(change for change in changes if not change.expired)


def meaning(document: Document, today: date) -> list[dict[str, Any]]:
    """What the changes in force say, without who, why and until when: each other word may judge otherwise."""
    return [
        {name: content for name, content in raw.items() if name in SECTIONS}
        for raw in document.data["changes"]
        if _holds(raw, today)
    ]
