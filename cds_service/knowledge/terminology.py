"""Compiles the terminology files into `Terms`: everything of `Knowledge` except protocols and rules.

Each file is checked by its schema first; what no schema can see (a code in two markers, an unknown unit, a wrong
check digit) is checked in `checks.py`. All problems are collected; a check whose own files are broken is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from cds_service.knowledge import drugs
from cds_service.knowledge.checks import find_problems
from cds_service.knowledge.model import Terms
from cds_service.knowledge.systems import LOINC, SNOMED
from cds_service.knowledge.units import normalise_unit
from cds_service.knowledge.vocabulary import (
    Code,
    Concept,
    InferUnit,
    Marker,
    Panel,
    Product,
    Reason,
    Source,
    Switch,
    Test,
)
from cds_service.knowledge.yaml_file import Problem, read

FILES = (
    "markers",
    "units",
    "panels",
    "tests",
    "denied",
    "therapies",
    "conditions",
    "routes",
    "sources",
    "reasons",
    "switches",
    "profiles",
    "project",
)


def compile_terms(folder: Path, problems: list[Problem]) -> Terms | None:
    """The terminology in `folder`, or None; what is wrong is appended to `problems`."""
    before = len(problems)
    read_files = {name: read(folder / f"{name}.yaml", name, problems) for name in FILES}
    docs = {name: document for name, document in read_files.items() if document is not None}
    products = drugs.read_products(folder / "products.tsv", problems)
    problems += find_problems(docs, products)
    if len(problems) > before:
        return None
    data = {name: document.data for name, document in docs.items()}
    return _terms(data, {code: product for code, (_, product) in products.items()})


def _terms(data: Mapping[str, Any], products: Mapping[str, Product]) -> Terms:
    specs = {key: _switch(key, raw) for key, raw in data["switches"]["switches"].items()}
    project = data["project"]
    return Terms(
        markers={key: _marker(key, raw) for key, raw in data["markers"]["markers"].items()},
        codes=_codes(data["markers"]),
        panels=_panels(data["panels"]),
        denied={code: raw["is"] for code, raw in data["denied"]["denied"].items()},
        spellings={
            normalise_unit(spelling): unit
            for unit, others in data["units"]["units"].items()
            for spelling in (unit, *others)
        },
        time_units={
            name: unit["seconds"] for code, unit in data["units"]["time"].items() for name in (code, *unit["words"])
        },
        flags=(*data["markers"]["flags"]["told"], *data["markers"]["flags"]["kept"]),
        alarms=frozenset(data["markers"]["flags"]["told"]),
        tests={key: _test(key, raw) for key, raw in data["tests"]["tests"].items()},
        therapies=drugs.therapies(data["therapies"]),
        products={**products, **drugs.ingredients(data["therapies"])},
        atc=drugs.atc(data["therapies"]),
        patterns=drugs.patterns(data["therapies"]),
        routes={(raw["system"], raw["code"]): raw["form"] for raw in data["routes"]["codes"]},
        route_words=drugs.route_words(data["routes"]["words"]),
        dosage_words=drugs.route_words(data["routes"]["dosage"]),
        lasts={(raw["agent"], raw["form"]): raw["days"] for raw in data["therapies"]["lasts"]},
        may_last=data["therapies"]["may_last"],
        concepts={key: _concept(key, raw) for key, raw in data["conditions"]["concepts"].items()},
        gender_identities={
            (raw["system"], raw["code"]): raw["sex"] for raw in data["conditions"]["gender_identities"]
        },
        sources={
            key: Source(key=key, label=raw["label"], url=raw.get("url", ""), year=raw.get("year", 0))
            for key, raw in data["sources"]["sources"].items()
        },
        reasons={
            key: Reason(
                code=raw["code"],
                system=raw.get("system", project["reason_system"]),
                display=raw["display"],
                snooze_days=raw["snooze_days"],
            )
            for key, raw in data["reasons"]["reasons"].items()
        },
        switches={key: spec.default for key, spec in specs.items()},
        switch_specs=specs,
        presets=_presets(data["profiles"], specs),
        code_system=project["code_system"],
        reason_system=project["reason_system"],
        days_without_reason=data["reasons"]["without_reason"]["snooze_days"],
    )


def _marker(key: str, raw: Mapping[str, Any]) -> Marker:
    factors = {raw["unit"]: (Decimal(1), Decimal(0))} if raw["unit"] else {}
    for unit, factor in raw.get("factors", {}).items():
        if isinstance(factor, str):
            factors[unit] = (Decimal(factor), Decimal(0))
        else:
            factors[unit] = (Decimal(factor["factor"]), Decimal(factor["offset"]))
    span = raw.get("plausible")
    return Marker(
        key=key,
        name=raw["name"],
        unit=raw["unit"],
        unit_display=raw.get("unit_display", raw["unit"]),
        decimals=raw.get("decimals"),
        low=Decimal(span["low"]) if span else None,
        high=Decimal(span["high"]) if span else None,
        factors=factors,
        infer=tuple(
            InferUnit(low=Decimal(guess["low"]), high=Decimal(guess["high"]), unit=guess["unit"])
            for guess in raw.get("infer", ())
        ),
        counts_as=raw.get("counts_as", ""),
        assay=raw.get("assay", ""),
        safety=raw.get("safety", False),
        unstandardised=frozenset(raw.get("unstandardised", ())),
        not_converted=frozenset(raw.get("not_converted", ())),
    )


def _codes(data: Mapping[str, Any]) -> dict[tuple[str, str], Code]:
    return {
        (raw.get("system", LOINC), code): Code(
            code=code,
            marker=key,
            name=raw["name"],
            traits=frozenset(raw.get("traits", ())),
            unit=raw.get("unit", ""),
            mark=raw["mark"],
            evidence=raw.get("evidence", ""),
        )
        for key, marker in data["markers"].items()
        for code, raw in marker["codes"].items()
    }


def _panels(data: Mapping[str, Any]) -> dict[tuple[str, str], Panel]:
    return {
        (raw.get("system", LOINC), code): Panel(
            code=code, key=raw["key"], name=raw["name"], markers=frozenset(raw["markers"])
        )
        for code, raw in data["panels"].items()
    }


def _test(key: str, raw: Mapping[str, Any]) -> Test:
    order = raw["order"]
    return Test(
        key=key,
        name=raw["name"],
        done_by=tuple(frozenset(markers) for markers in raw["done_by"]),
        order_system=order.get("system", LOINC),
        order_code=order["code"],
        order_display=order["display"],
        brings=frozenset(raw["brings"]),
        safety=raw.get("safety", False),
        note=raw.get("note", ""),
        same_day=frozenset(raw.get("same_day", {}).get("markers", ())),
        same_day_switch=raw.get("same_day", {}).get("switch", ""),
    )


def _concept(key: str, raw: Mapping[str, Any]) -> Concept:
    history = tuple(raw.get("history_icd10", ()))
    words = raw.get("words", {})
    return Concept(
        key=key,
        name=raw["name"],
        icd10=(*raw.get("icd10", ()), *history),
        not_icd10=tuple(raw.get("not_icd10", ())),
        snomed=frozenset(raw.get("snomed", ())),
        history_counts=raw.get("history_counts", False),
        site_only=raw.get("site_only", False),
        history_icd10=history,
        observations={
            (seen.get("system", LOINC), seen["code"]): frozenset(
                (value.get("system", SNOMED), value["code"]) for value in seen["values"]
            )
            for seen in raw.get("observations", ())
        },
        words=drugs.whole_words(words["match"]) if words else None,
        undone=drugs.whole_words(words["undone"]) if "undone" in words else None,
        words_count=words.get("counts", False),
    )


def _presets(data: Mapping[str, Any], specs: Mapping[str, Switch]) -> dict[str, dict[str, dict[str, Any]]]:
    def value(switch: str, raw: Any) -> Any:
        return Decimal(raw) if specs[switch].type == "decimal" and raw is not None else raw

    return {
        chooser: {
            profile: {switch: value(switch, raw) for switch, raw in content.get("switches", {}).items()}
            for profile, content in profiles.items()
        }
        for chooser, profiles in data["profiles"].items()
    }


def _switch(key: str, raw: Mapping[str, Any]) -> Switch:
    default = raw["default"]
    return Switch(
        key=key,
        default=Decimal(default) if raw["type"] == "decimal" and default is not None else default,
        type=raw["type"],
        allowed=tuple(raw.get("allowed", ())),
        description=raw["description"],
        nullable=raw.get("nullable", False),
    )
