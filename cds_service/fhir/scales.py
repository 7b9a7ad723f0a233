"""What each unit means for each result code: worked out once for a knowledge base (1.1, unit rules 1 to 6)."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from cds_service.knowledge.model import Knowledge
from cds_service.knowledge.vocabulary import Code, Marker

_ENDLESS = Decimal("Infinity")
_NO_NUMBER = (_ENDLESS, -_ENDLESS)


class Scale(msgspec.Struct, frozen=True, gc=False):
    """One unit of one code: how to convert, or why its numbers cannot be compared."""

    ucum: str | None
    """UCUM unit, '' if none was given, None if it is not known."""
    problem: str
    convert: bool
    traits: frozenset[str]
    silent: bool
    """True if a number that cannot be compared is no fault: such results are reported so."""
    low: Decimal
    high: Decimal
    """A number from `low` to `high` is a plausible result as it is: nothing about it needs to be converted or
    judged. None is between them where every number needs that."""
    key: bytes
    """Code and unit: tells it from all other scales."""


class Known(msgspec.Struct, frozen=True):
    """A result code."""

    code: Code
    marker: Marker
    scales: dict[str | None, Scale]
    """By UCUM unit, for those that the marker knows, '' and None."""

    def scale(self, ucum: str | None) -> Scale:
        """The scale of any unit: one of another dimension counts as unknown."""
        return self.scales.get(ucum) or self.scales[None]


def known_codes(knowledge: Knowledge) -> dict[tuple[str | None, str | None], Known]:
    """All result codes, by system and code."""
    found: dict[tuple[str | None, str | None], Known] = {}
    for key, code in knowledge.codes.items():
        marker = knowledge.markers[code.marker]
        units = (None, "", *marker.factors, *marker.not_converted)
        name = f"{key[0]}|{key[1]}"
        found[key] = Known(code, marker, {unit: _scale(code, marker, unit, name) for unit in units})
    return found


def _scale(code: Code, marker: Marker, ucum: str | None, name: str) -> Scale:
    traits, problem = code.traits, ""
    if not marker.unit:
        problem = "text"
    elif ucum is None or (ucum and ucum not in marker.factors):
        problem = "unknown_unit"
    elif not ucum and code.assumed_unit:  # the site has said in which unit these results come
        return _scale(code, marker, code.assumed_unit, name)
    elif not ucum:
        problem = "no_unit"
    elif {_kind(code.unit), _kind(ucum)} == {"mass", "molar"}:
        traits |= {"unit_against_code"}  # DQ-3: logged, the unit decides
    silent = ucum in marker.not_converted or "mass_reported" in traits
    if silent:
        problem, traits = "no_value", traits | {"silent"}
    convert = bool(ucum) and ucum != marker.unit
    low, high = _NO_NUMBER if problem or convert else (marker.low, marker.high)
    low = -_ENDLESS if low is None else low
    high = _ENDLESS if high is None else high
    return Scale(ucum, problem, convert, traits, silent, low, high, f"{name} {ucum!r} ".encode())


def _kind(unit: str) -> str:
    if "mol/" in unit or "eq/" in unit:
        return "molar"
    return "mass" if "g/" in unit else ""
