"""Compiles the terminology files into `Terms`: everything of `Knowledge` except protocols and rules.

Each file is checked by its schema first; what no schema can see (a code in two markers, an unknown unit, a wrong
check digit) is checked in `checks.py`. All problems are collected; a check whose own files are broken is left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from cds_service.chart import Form
from cds_service.knowledge import drugs
from cds_service.knowledge.model import (
    Code,
    Concept,
    InferUnit,
    Marker,
    Panel,
    Pattern,
    Product,
    Reason,
    Source,
    Switch,
    Test,
    TherapyClass,
)
from cds_service.knowledge.units import normalise_unit
from cds_service.knowledge.yaml_file import Document, Problem, read

LOINC = "http://loinc.org"
SNOMED = "http://snomed.info/sct"

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
    "project",
)

_LOINC_FORM = re.compile(r"[0-9]{1,7}-[0-9]")


class Terms(msgspec.Struct, frozen=True):
    """The terminology half of `Knowledge`; fields as there."""

    markers: Mapping[str, Marker]
    codes: Mapping[tuple[str, str], Code]
    panels: Mapping[tuple[str, str], Panel]
    denied: Mapping[str, str]
    spellings: Mapping[str, str]
    tests: Mapping[str, Test]
    therapies: Mapping[str, TherapyClass]
    products: Mapping[str, Product]
    atc: tuple[tuple[str, Product], ...]
    patterns: tuple[Pattern, ...]
    routes: Mapping[tuple[str, str], Form]
    route_words: tuple[tuple[re.Pattern[str], Form], ...]
    concepts: Mapping[str, Concept]
    sources: Mapping[str, Source]
    reasons: Mapping[str, Reason]
    switches: Mapping[str, Any]
    switch_specs: Mapping[str, Switch]
    code_system: str
    reason_system: str


def check_digit_holds(code: str) -> bool:
    """True if `code` has the form of a LOINC code and its check digit (Luhn) is right."""
    if not _LOINC_FORM.fullmatch(code):
        return False
    number, _, digit = code.partition("-")
    total = 0
    for place, char in enumerate(reversed(number)):
        value = int(char) * (2 if place % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return (10 - total % 10) % 10 == int(digit)


def compile_terms(folder: Path, problems: list[Problem]) -> Terms | None:
    """The terminology in `folder`, or None; what is wrong is appended to `problems`."""
    before = len(problems)
    documents = {name: read(folder / f"{name}.yaml", name, problems) for name in FILES}
    docs = {name: document for name, document in documents.items() if document is not None}
    products = drugs.read_products(folder / "products.tsv", problems)
    spellings = _spellings(docs["units"], problems) if "units" in docs else None
    if "markers" in docs:
        _check_markers(docs["markers"], spellings, problems)
    if {"markers", "denied"} <= docs.keys():
        _check_denied(docs["markers"], docs["denied"], problems)
    if {"markers", "panels"} <= docs.keys():
        _check_panels(docs["panels"], docs["markers"], problems)
    if {"markers", "panels", "tests"} <= docs.keys():
        _check_tests(docs["tests"], docs["markers"], docs["panels"], problems)
    if "therapies" in docs:
        drugs.check_therapies(docs["therapies"], products, problems)
    for name, field in (("therapies", "therapies"), ("routes", "words")):
        if name in docs:
            drugs.check_patterns(docs[name], field, problems)
    if "conditions" in docs:
        _check_concepts(docs["conditions"], problems)
    if "switches" in docs:
        _check_switches(docs["switches"], problems)
    if len(problems) > before or spellings is None:
        return None
    return _terms({name: document.data for name, document in docs.items()}, spellings, products)


def _terms(
    data: Mapping[str, Any], spellings: Mapping[str, str], products: Mapping[str, Product]
) -> Terms:
    codes = _codes(data["markers"])
    specs = {key: _switch(key, raw) for key, raw in data["switches"]["switches"].items()}
    project = data["project"]
    return Terms(
        markers={key: _marker(key, raw) for key, raw in data["markers"]["markers"].items()},
        codes=codes,
        panels=_panels(data["panels"]),
        denied={code: raw["is"] for code, raw in data["denied"]["denied"].items()},
        spellings=spellings,
        tests={key: _test(key, raw) for key, raw in data["tests"]["tests"].items()},
        therapies=drugs.therapies(data["therapies"]),
        products={**products, **drugs.ingredients(data["therapies"])},
        atc=drugs.atc(data["therapies"]),
        patterns=drugs.patterns(data["therapies"]),
        routes={(raw["system"], raw["code"]): raw["form"] for raw in data["routes"]["codes"]},
        route_words=drugs.route_words(data["routes"]),
        concepts={key: _concept(key, raw) for key, raw in data["conditions"]["concepts"].items()},
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
        code_system=project["code_system"],
        reason_system=project["reason_system"],
    )


def _spellings(document: Document, problems: list[Problem]) -> dict[str, str]:
    spellings: dict[str, str] = {}
    for unit, others in document.data["units"].items():
        for place, spelling in enumerate([unit, *others]):
            owner = spellings.setdefault(normalise_unit(spelling), unit)
            if owner != unit:
                field = ["units", unit, place - 1] if place else ["units", unit]
                problems.append(document.problem(field, f"a spelling of one unit; {spelling!r} is {owner}"))
    return spellings


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
    )


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


def _check_markers(
    document: Document, spellings: Mapping[str, str] | None, problems: list[Problem]
) -> None:
    markers = document.data["markers"]
    owners: dict[tuple[str, str], str] = {}
    units = None if spellings is None else set(spellings.values())
    for key, raw in markers.items():
        field = ["markers", key]
        if raw.get("counts_as", key) not in markers or raw.get("counts_as") == key:
            problems.append(document.problem([*field, "counts_as"], "another marker of this file"))
        span = raw.get("plausible")
        if span and Decimal(span["low"]) >= Decimal(span["high"]):
            problems.append(document.problem([*field, "plausible"], "a low end below the high end"))
        if units is not None:
            problems += _unit_problems(document, key, raw, units)
        for code, content in raw["codes"].items():
            system = content.get("system", LOINC)
            place = [*field, "codes", code]
            if system == LOINC and not check_digit_holds(code):
                problems.append(document.problem(place, f"a LOINC code with the right check digit, not {code}"))
            owner = owners.setdefault((system, code), key)
            if owner != key:
                problems.append(document.problem(place, f"a code of one marker; {code} is in {owner}, too"))


def _unit_problems(
    document: Document, key: str, raw: Mapping[str, Any], known: set[str]
) -> list[Problem]:
    own = {raw["unit"], *raw.get("factors", {})} - {""}
    found = []
    for name in ("factors", "not_converted"):
        for unit in raw.get(name, ()):
            if unit not in known:
                found.append((name, f"a unit of units.yaml, not {unit!r}"))
    if raw["unit"] and raw["unit"] not in known:
        found.append(("unit", f"a unit of units.yaml, not {raw['unit']!r}"))
    if not set(raw.get("unstandardised", ())) <= own:
        found.append(("unstandardised", "units among the factors"))
    if own & set(raw.get("not_converted", ())):
        found.append(("not_converted", "units without a factor"))
    guesses = sorted((Decimal(g["low"]), Decimal(g["high"]), g["unit"]) for g in raw.get("infer", ()))
    if any(unit not in own for _, _, unit in guesses):
        found.append(("infer", "units among the factors"))
    if any(first[1] >= second[0] for first, second in zip(guesses, guesses[1:], strict=False)):
        found.append(("infer", "ranges that do not meet"))
    return [document.problem(["markers", key, name], expected) for name, expected in found]


def _check_denied(markers: Document, denied: Document, problems: list[Problem]) -> None:
    for key, raw in markers.data["markers"].items():
        for code in raw["codes"]:
            place = ["markers", key, "codes", code]
            if code in denied.data["denied"]:
                content = denied.data["denied"][code]
                problems.append(markers.problem(place, f"no denied code: {code} is {content['is']}"))
            content = denied.data["not_as"].get(code)
            if content and key in content["markers"]:
                problems.append(markers.problem(place, f"another marker: {code} is {content['is']}"))


def _check_panels(panels: Document, markers: Document, problems: list[Problem]) -> None:
    results = {code for raw in markers.data["markers"].values() for code in raw["codes"]}
    for code, raw in panels.data["panels"].items():
        place = ["panels", code]
        if raw.get("system", LOINC) == LOINC and not check_digit_holds(code):
            problems.append(panels.problem(place, f"a LOINC code with the right check digit, not {code}"))
        if code in results:
            problems.append(panels.problem(place, "a code that is not a result code, too"))
        for unknown in sorted(set(raw["markers"]) - markers.data["markers"].keys()):
            problems.append(panels.problem([*place, "markers"], f"markers of markers.yaml, not {unknown}"))


def _check_tests(tests: Document, markers: Document, panels: Document, problems: list[Problem]) -> None:
    for key, raw in tests.data["tests"].items():
        place = ["tests", key]
        brings = set(raw["brings"])
        asked = set().union(*raw["done_by"])
        for unknown in sorted((brings | asked) - markers.data["markers"].keys()):
            problems.append(tests.problem(place, f"markers of markers.yaml, not {unknown}"))
        if not any(set(alternative) <= brings for alternative in raw["done_by"]):
            problems.append(tests.problem([*place, "brings"], "at least what one alternative of done_by needs"))
        code = raw["order"]["code"]
        if code in panels.data["panels"]:
            ordered = set(panels.data["panels"][code]["markers"])
        else:
            ordered = {name for name, content in markers.data["markers"].items() if code in content["codes"]}
        if raw["order"].get("system", LOINC) == LOINC and ordered != brings:
            expected = f"a code that brings just these markers; {code} brings {sorted(ordered) or 'nothing'}"
            problems.append(tests.problem([*place, "order"], expected))


def _check_concepts(document: Document, problems: list[Problem]) -> None:
    for key, raw in document.data["concepts"].items():
        coded = any(raw.get(name) for name in ("icd10", "history_icd10", "snomed", "observations"))
        if coded == raw.get("site_only", False):
            expected = "no code beside `site_only: true`" if coded else "a code, or `site_only: true`"
            problems.append(document.problem(["concepts", key], expected))


def _check_switches(document: Document, problems: list[Problem]) -> None:
    for key, raw in document.data["switches"].items():
        if raw["type"] == "choice" and raw["default"] not in raw["allowed"]:
            problems.append(document.problem(["switches", key, "default"], "one of the allowed words"))
        if raw["default"] is None and not raw.get("nullable"):
            problems.append(document.problem(["switches", key, "default"], "a value, or `nullable: true`"))
