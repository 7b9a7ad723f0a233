"""Limits of rules as FHIRPath over a Bundle with the resources of one patient (FHIRPath 2.0, FHIR R4).

    Bundle.entry.resource.ofType(Observation).where(...)  ->  latest comparable result  ->  a limit

It says what codes can say. It does not say what the reader works out from several records: the start of a course,
a product on the day of a sample, drugs and units in free text. For those `NotSayableError` tells why, and the
export falls back on words. An expression that comes out empty means that the data do not tell.

Rounding is turned round: half up to the display precision and then above 54.0 is at or above 54.05.
The conditions of rules are in `fhirpath_who.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from cds_service.knowledge.limits import display_step
from cds_service.knowledge.model import THRESHOLDS, Knowledge
from cds_service.knowledge.statuses import USABLE
from cds_service.knowledge.systems import LOINC
from cds_service.knowledge.vocabulary import Marker

DAY = "effective.toString().substring(0, 10)"
NEWEST = (
    ".aggregate(iif($total.empty() or $this.effective.toString() > $total.effective.toString(), $this, $total))"
)

MOST_TERMS = 20
"""Longest collection that is written out."""

FROM_START = "days are counted from the start of the course"
BEYOND = {
    "samples": FROM_START,
    "from_day": FROM_START,
    "to_day": FROM_START,
    "after_start": FROM_START,
    "product": "the product on the day of the sample decides",
    "not_product": "the product on the day of the sample decides",
    "adjust": "the result is adjusted for another drug",
    "trait": "which results count depends on what their codes say",
}
"""Fields of a threshold that ask for more than the latest result, and what they ask for."""


class NotSayableError(Exception):
    """The condition cannot be said in FHIRPath; the message says why."""


def threshold(spec: Mapping[str, Any], knowledge: Knowledge) -> str:
    """The limit of a threshold rule (any of its `any_of`) as an expression. Raises NotSayableError."""
    if "any_of" in spec:
        return " or ".join(f"({threshold(part, knowledge)})" for part in spec["any_of"])
    return passed(spec, spec.get("max_age_days"), knowledge)


def passed(spec: Mapping[str, Any], days: Any, knowledge: Knowledge) -> str:
    """The latest result, not older than `days`, passes the limit that the mapping holds. Raises NotSayableError."""
    for field, reason in BEYOND.items():
        if spec.get(field) not in (None, "any"):
            raise NotSayableError(reason)
    marker = spec["marker"]
    sides = _sides(spec, knowledge)
    found = latest(marker, count({"switch": "max_age_days"} if days is None else days, knowledge), knowledge)
    tests = [passes(knowledge.markers[marker], sign, limit) for sign, limit in sides]
    return f"{found}.where({' or '.join(tests)}).exists()"


def _sides(spec: Mapping[str, Any], knowledge: Knowledge) -> list[tuple[str, Decimal]]:
    if "outside" in spec:
        low, high = spec["outside"]
        return [("<", number(low, knowledge)), (">", number(high, knowledge))]
    word = next((word for word in THRESHOLDS if word in spec), None)
    if word is None:
        raise NotSayableError("it asks for more than a limit")
    inclusive = "inclusive" in spec and knowledge.switches[spec["inclusive"]]
    return [(THRESHOLDS[word] + ("=" if inclusive else ""), number(spec[word], knowledge))]


# -- results -------------------------------------------------------------------------------------------


def observations(codes: Iterable[tuple[str, str]]) -> str:
    """Usable Observations with one of these (system, code) pairs."""
    return (
        f"Bundle.entry.resource.ofType(Observation).where(status in {choice(USABLE)})"
        f".where(code.coding.where({coded(codes)}).exists())"
    )


def of_marker(marker: str, knowledge: Knowledge) -> str:
    """Usable Observations of a marker."""
    return observations(key for key, code in knowledge.codes.items() if code.marker == marker)


def latest(marker: str, days: int, knowledge: Knowledge) -> str:
    """The latest comparable, plausible result of a marker, not older than `days`, as an Observation."""
    known = knowledge.markers[marker]
    if not known.factors:
        raise NotSayableError("its results are no numbers")
    value = f"{canonical(known)}{plausible(known)}"
    return f"{of_marker(marker, knowledge)}.where({within(days)}).where({value}.exists()){NEWEST}"


def canonical(marker: Marker) -> str:
    """The value of an Observation in the canonical unit; empty for a unit that does not convert."""
    cases = []
    for unit, (factor, offset) in marker.factors.items():
        of_unit = f"value.where(code = {text(unit)} or unit = {text(unit)})"
        shift = f" + {offset:f}" if offset > 0 else f" - {-offset:f}" if offset else ""
        scaled = ".value" if factor == 1 and not offset else f".select(value * {factor:f}{shift})"
        cases.append(of_unit + scaled)
    for guess in marker.infer:
        factor, _ = marker.factors[guess.unit]
        bare = f"value.where(code.empty() and unit.empty() and value >= {guess.low} and value <= {guess.high})"
        cases.append(bare + (".value" if factor == 1 else f".select(value * {factor:f})"))
    return f"({' | '.join(cases)})"


def plausible(marker: Marker, *, outside: bool = False) -> str:
    """Filter of canonical values: those in the plausible range, or those outside."""
    inside = [f"$this >= {marker.low}"] if marker.low is not None else []
    inside += [f"$this <= {marker.high}"] if marker.high is not None else []
    tests = " and ".join(inside) or "true"
    return f".where(({tests}).not())" if outside else f".where({tests})"


def within(days: int) -> str:
    """The day of an Observation, as written, is at most `days` ago and not after tomorrow."""
    return f"{DAY} >= (today() - {days} days).toString() and {DAY} <= (today() + 1 day).toString()"


def passes(marker: Marker, sign: str, limit: Decimal) -> str:
    """An Observation's value, rounded half up to display precision, passes a limit; comparators included."""
    value = canonical(marker)
    over, reached = (f"{bound(marker, side, limit):f}" for side in (">", ">="))
    test, touching = {
        ">": (f"{value} >= {over}", f"value.comparator = '>' and {value} >= {reached}"),
        ">=": (f"{value} >= {reached}", ""),
        "<": (f"{value} < {reached}", f"value.comparator = '<' and {value} < {over}"),
        "<=": (f"{value} < {over}", ""),
    }[sign]
    same_way = choice((">", ">=") if sign in (">", ">=") else ("<", "<="))
    cases = [f"((value.comparator.empty() or value.comparator in {same_way}) and {test})"]
    return " or ".join([*cases, *([f"({touching})"] if touching else [])])


def bound(marker: Marker, sign: str, limit: Decimal) -> Decimal:
    """The least exact value that, rounded half up for display, is above (`>`) or not below (`>=`) the limit."""
    if limit < 0:
        raise NotSayableError("half up means another thing below zero")
    step = display_step(marker.key, limit, {marker.key: marker})
    least = (limit // step) * step
    if least < limit or sign == ">":
        least += step
    below = step
    if marker.decimals is None and least == limit and least.scaleb(-least.adjusted()) == 1:
        below = step / 10  # three digits: the numbers below 1000 lie closer together than those above
    return least - below / 2


def number(spec: Any, knowledge: Knowledge) -> Decimal:
    """A limit of a rule, switches resolved. Raises NotSayableError where the result itself decides."""
    if not isinstance(spec, Mapping):
        return Decimal(spec)
    if "switch" not in spec:
        raise NotSayableError("the laboratory's own range, or the sex, decides which limit holds")
    here = knowledge.switches[spec["switch"]]
    if here is None:
        raise NotSayableError("the site sets no limit")
    return number(spec["values"][str(here).lower()], knowledge) if "values" in spec else Decimal(str(here))


def count(spec: Any, knowledge: Knowledge) -> int:
    """A count of days or months."""
    return int(knowledge.switches[spec["switch"]] if isinstance(spec, Mapping) else spec)


# -- small parts ---------------------------------------------------------------------------------------


def text(value: str) -> str:
    """A FHIRPath string."""
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def choice(values: Iterable[str]) -> str:
    """A FHIRPath collection of strings."""
    return f"({' | '.join(map(text, values))})"


def coded(codes: Iterable[tuple[str, str]]) -> str:
    """Test of one coding: its system and code are among these."""
    systems: dict[str, list[str]] = {}
    for system, code in codes:
        systems.setdefault(system, []).append(code)
    ordered = sorted(systems.items(), key=lambda item: (item[0] != LOINC, item[0]))
    return " or ".join(f"(system = {text(system)} and {_among(found)})" for system, found in ordered)


def _among(codes: list[str]) -> str:
    """Test of `code`. Engines descend into a collection term by term, so a long one is written as one string."""
    if len(codes) <= MOST_TERMS:
        return f"code in {choice(codes)}"
    return f"{text('|' + '|'.join(codes) + '|')}.contains('|' + code + '|')"
