"""Kind `calculated`: a value computed from others (clinical section 5), shown as calculated with its inputs.

The formulas are here, their constants and conditions are data. All arithmetic is decimal with 40 digits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from decimal import Decimal, localcontext
from typing import Any

import msgspec

from cds_service.chart import Measurement
from cds_service.knowledge.model import Rule
from cds_service.rules.context import Context
from cds_service.rules.outcome import Finding, Line, Outcome
from cds_service.rules.questions import Truth


class FreeTestosterone(msgspec.Struct, frozen=True):
    """Result of the Vermeulen formula: concentrations in mol/L."""

    free: Decimal
    bioavailable: Decimal


def vermeulen(
    total: Decimal,
    shbg: Decimal,
    albumin: Decimal,
    *,
    k_albumin: Decimal,
    k_shbg: Decimal,
    albumin_mass: Decimal,
) -> FreeTestosterone:
    """Free and albumin-bound testosterone (Vermeulen 1999).

    `total` and `shbg` in nmol/L, `albumin` in g/L, the association constants in L/mol, `albumin_mass` in g/mol.
    """
    with localcontext() as context:
        context.prec = 40
        nano = Decimal("1e-9")
        t, s = total * nano, shbg * nano
        n = 1 + k_albumin * albumin / albumin_mass
        b = n + k_shbg * (s - t)
        free = (-b + (b * b + 4 * n * k_shbg * t).sqrt()) / (2 * n * k_shbg)
        return FreeTestosterone(free, n * free)


def _free_testosterone(rule: Rule, ctx: Context) -> tuple[str, Finding | None]:
    spec = rule.spec
    constants = {name: Decimal(value) for name, value in spec["constants"].items()}
    pair = _same_day(spec["inputs"]["total"], spec["inputs"]["shbg"], ctx, ctx.days(spec.get("max_age_days")))
    if pair is None:
        return "no total testosterone and SHBG of one day", None
    total, shbg = pair
    if total.day is None or total.value is None or shbg.value is None:
        return "undated", None
    albumin = _nearest(ctx.comparable(spec["inputs"]["albumin"]), total.day, spec["albumin_within_days"])
    grams = albumin.value if albumin is not None and albumin.value is not None else Decimal(spec["assumed_albumin"])
    result = vermeulen(
        total.value / constants["total_per_nmol"],
        shbg.value,
        grams * constants["albumin_to_g_per_l"],
        k_albumin=constants["k_albumin"],
        k_shbg=constants["k_shbg"],
        albumin_mass=constants["albumin_mass"],
    )
    pico = result.free * Decimal("1e12")
    values = {
        "total": total,
        "shbg": shbg,
        "albumin": albumin,
        "albumin_value": grams,
        "free_pmol": pico,
        "free_pg": pico * constants["pg_per_pmol"],
        "free_ng_dl": pico * constants["pg_per_pmol"] / 10,
        "percent": result.free * Decimal("1e9") / (total.value / constants["total_per_nmol"]) * 100,
        "bioavailable": result.bioavailable * Decimal("1e9") * constants["total_per_nmol"],
    }
    measured = [m for m in ctx.comparable(spec["output"]) if m.day == total.day]
    if measured:
        values["measured"] = measured[0]
    line = Line("calculated_free_testosterone", values)
    return "calculated", Finding(
        rule=rule, indicator=rule.indicator, marker=total.marker, result=total, lines=(line,), values=values
    )


def _same_day(first: str, second: str, ctx: Context, max_age: int) -> tuple[Measurement, Measurement] | None:
    """Newest pair of exact results of two markers that share the specimen or the day."""
    others = [m for m in ctx.comparable(second, max_age) if not m.comparator]
    for one in ctx.comparable(first, max_age):
        if one.comparator:
            continue
        for other in others:
            same_specimen = one.specimen and one.specimen == other.specimen
            if same_specimen or (one.day == other.day and _is_a_day(one) and _is_a_day(other)):
                return one, other
    return None


def _is_a_day(measurement: Measurement) -> bool:
    """True if the day of the sample is known, not the month alone."""
    return measurement.when is not None and measurement.when.precision != "month"


def _nearest(series: tuple[Measurement, ...], day: date, within: int) -> Measurement | None:
    """The exact result nearest to `day`, at most `within` days away."""
    near = [m for m in series if not m.comparator and m.day and abs((m.day - day).days) <= within]
    return min(near, key=lambda m: abs(((m.day or day) - day).days), default=None)


def _ratio(rule: Rule, ctx: Context) -> tuple[str, Finding | None]:
    """A plain ratio of two results of one day, times a constant: `factor` x numerator / denominator.

    `numerator_factor` converts the numerator from its canonical unit to that of the definition (5.2 to 5.4).
    """
    spec = rule.spec
    pair = _same_day(spec["inputs"]["numerator"], spec["inputs"]["denominator"], ctx, ctx.days(None))
    if pair is None or not pair[0].value or not pair[1].value:
        return "no pair of results of one day", None
    constants = {name: Decimal(value) for name, value in spec["constants"].items()}
    numerator = pair[0].value / constants["numerator_per_unit"]
    ratio = constants["factor"] * numerator / pair[1].value
    values = {"numerator": pair[0], "denominator": pair[1], "ratio": ratio}
    line = Line(f"calculated_{spec['formula']}", values)
    return "calculated", Finding(
        rule=rule, indicator=rule.indicator, marker=pair[0].marker, result=pair[0], lines=(line,), values=values
    )


FORMULAS: Mapping[str, Callable[[Rule, Context], tuple[str, Finding | None]]] = {
    "free_testosterone": _free_testosterone,
    "free_androgen_index": _ratio,
    "testosterone_estradiol_ratio": _ratio,
    "ft3_rt3_ratio": _ratio,
}


def evaluate(rule: Rule, truth: Truth, ctx: Context) -> Outcome:
    """Compute the rule's formula where its inputs are in the chart."""
    del truth
    reason, finding = FORMULAS[rule.spec["formula"]](rule, ctx)
    if finding is None:
        doubts = tuple(d for marker in _inputs(rule.spec) for d in ctx.doubts(marker))
        return Outcome(rule.id, "not applicable", reason, doubts)
    return Outcome(rule.id, "finding", reason, finding=finding)


def _inputs(spec: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(spec["inputs"].values())
