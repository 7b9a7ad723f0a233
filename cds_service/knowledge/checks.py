"""What no schema can see: whether the terminology files agree with themselves and with each other."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from itertools import pairwise
from typing import Any

from cds_service.knowledge.drugs import expressions, whole_words
from cds_service.knowledge.systems import LOINC
from cds_service.knowledge.units import normalise_unit
from cds_service.knowledge.vocabulary import Product
from cds_service.knowledge.yaml_file import Document, Problem

_LOINC_FORM = re.compile(r"[0-9]{1,7}-[0-9]")
_TEN = 10


def check_digit_holds(code: str) -> bool:
    """True if `code` has the form of a LOINC code and its check digit (Luhn) is right."""
    if not _LOINC_FORM.fullmatch(code):
        return False
    number, _, digit = code.partition("-")
    total = 0
    for place, char in enumerate(reversed(number)):
        value = int(char) * (2 if place % 2 == 0 else 1)
        total += value if value < _TEN else value - (_TEN - 1)
    return -total % _TEN == int(digit)


def find_problems(docs: Mapping[str, Document], products: Mapping[str, tuple[int, Product]]) -> Iterator[Problem]:
    """Everything wrong among the files that could be read; a check whose own files are missing is left out."""
    if "units" in docs:
        yield from _units(docs["units"])
    if {"markers", "units"} <= docs.keys():
        yield from _marker_units(docs["markers"], set(docs["units"].data["units"]))
    if "markers" in docs:
        yield from _markers(docs["markers"])
    if {"markers", "denied"} <= docs.keys():
        yield from _denied(docs["markers"], docs["denied"])
    if {"markers", "panels"} <= docs.keys():
        yield from _panels(docs["panels"], docs["markers"])
    if {"markers", "panels", "tests", "switches"} <= docs.keys():
        yield from _tests(docs)
    if "therapies" in docs:
        yield from _therapies(docs["therapies"], products)
        yield from _patterns(docs["therapies"], "therapies")
    if "routes" in docs:
        yield from _patterns(docs["routes"], "words")
        yield from _patterns(docs["routes"], "dosage")
    if "conditions" in docs:
        yield from _patterns(docs["conditions"], "concepts")
        yield from _concepts(docs["conditions"])
    yield from _choices(docs)


def _units(document: Document) -> Iterator[Problem]:
    owners: dict[str, str] = {}
    for unit, others in document.data["units"].items():
        for place, spelling in enumerate([unit, *others], -1):
            owner = owners.setdefault(normalise_unit(spelling), unit)
            if owner != unit:
                field = ["units", unit] if place < 0 else ["units", unit, place]
                yield document.problem(field, f"a spelling of one unit; {spelling!r} is {owner}, too")


def _marker_units(document: Document, known: set[str]) -> Iterator[Problem]:
    for key, raw in document.data["markers"].items():
        own = {raw["unit"], *raw.get("factors", ())} - {""}
        unconverted = set(raw.get("not_converted", ()))
        for unit in sorted((own | unconverted) - known):
            yield document.problem(["markers", key], f"units of units.yaml, not {unit!r}")
        if own & unconverted:
            yield document.problem(["markers", key, "not_converted"], "units without a factor")
        if not set(raw.get("unstandardised", ())) <= own:
            yield document.problem(["markers", key, "unstandardised"], "units among the factors")
        guesses = sorted((Decimal(g["low"]), Decimal(g["high"]), g["unit"]) for g in raw.get("infer", ()))
        if not {unit for _, _, unit in guesses} <= own:
            yield document.problem(["markers", key, "infer"], "units among the factors")
        if any(lower[1] >= upper[0] for lower, upper in pairwise(guesses)):
            yield document.problem(["markers", key, "infer"], "ranges that do not meet")


def _markers(document: Document) -> Iterator[Problem]:
    markers = document.data["markers"]
    owners: dict[tuple[str, str], str] = {}
    for key, raw in markers.items():
        if "counts_as" in raw and raw["counts_as"] not in markers.keys() - {key}:
            yield document.problem(["markers", key, "counts_as"], "another marker of this file")
        span = raw.get("plausible")
        if span and Decimal(span["low"]) >= Decimal(span["high"]):
            yield document.problem(["markers", key, "plausible"], "a low end below the high end")
        for code, content in raw["codes"].items():
            system = content.get("system", LOINC)
            place = ["markers", key, "codes", code]
            if system == LOINC and not check_digit_holds(code):
                yield document.problem(place, f"a LOINC code with the right check digit, not {code}")
            owner = owners.setdefault((system, code), key)
            if owner != key:
                yield document.problem(place, f"a code of one marker; {code} is in {owner}, too")


def _denied(markers: Document, denied: Document) -> Iterator[Problem]:
    for key, raw in markers.data["markers"].items():
        for code in raw["codes"]:
            place = ["markers", key, "codes", code]
            if code in denied.data["denied"]:
                truth = denied.data["denied"][code]["is"]
                yield markers.problem(place, f"no denied code: {code} is {truth}")
            elif key in denied.data["not_as"].get(code, {}).get("markers", ()):
                truth = denied.data["not_as"][code]["is"]
                yield markers.problem(place, f"another marker: {code} is {truth}")


def _panels(panels: Document, markers: Document) -> Iterator[Problem]:
    results = {code for raw in markers.data["markers"].values() for code in raw["codes"]}
    for code, raw in panels.data["panels"].items():
        place = ["panels", code]
        if raw.get("system", LOINC) == LOINC and not check_digit_holds(code):
            yield panels.problem(place, f"a LOINC code with the right check digit, not {code}")
        if code in results:
            yield panels.problem(place, "a code that is not a result code, too")
        for unknown in sorted(set(raw["markers"]) - markers.data["markers"].keys()):
            yield panels.problem([*place, "markers"], f"markers of markers.yaml, not {unknown}")


def _tests(docs: Mapping[str, Document]) -> Iterator[Problem]:
    tests, markers = docs["tests"], docs["markers"].data["markers"]
    for key, raw in tests.data["tests"].items():
        place = ["tests", key]
        brings, together = set(raw["brings"]), raw.get("same_day", {"markers": (), "switch": None})
        named = brings.union(together["markers"], *raw["done_by"])
        for unknown in sorted(named - markers.keys()):
            yield tests.problem(place, f"markers of markers.yaml, not {unknown}")
        if together["switch"] not in {None, *docs["switches"].data["switches"]}:
            yield tests.problem([*place, "same_day", "switch"], "a switch of switches.yaml")
        if not any(set(alternative) <= brings for alternative in raw["done_by"]):
            yield tests.problem([*place, "brings"], "all that one alternative of done_by needs")
        if raw["order"].get("system", LOINC) == LOINC:
            code = raw["order"]["code"]
            ordered = _brought(code, markers, docs["panels"].data["panels"])
            if ordered != brings:
                expected = f"a code that brings just these markers; {code} brings {sorted(ordered)}"
                yield tests.problem([*place, "order"], expected)


def _brought(code: str, markers: Mapping[str, Any], panels: Mapping[str, Any]) -> set[str]:
    if code in panels:
        return set(panels[code]["markers"])
    return {key for key, raw in markers.items() if code in raw["codes"]}


def _therapies(document: Document, products: Mapping[str, tuple[int, Product]]) -> Iterator[Problem]:
    known = document.data["therapies"].keys()
    for field in ("ingredients", "atc"):
        for code, raw in document.data[field].items():
            for unknown in sorted(set(raw["keys"]) - known):
                yield document.problem([field, code, "keys"], f"keys of `therapies`, not {unknown}")
    for code in document.data["ingredients"].keys() & products.keys():
        yield document.problem(["ingredients", code], "an RxCUI that is not in products.tsv, too")
    for line, product in products.values():
        for unknown in sorted(set(product.keys) - known):
            yield Problem("products.tsv", line, product.code, f"keys of therapies.yaml, not {unknown}")


def _patterns(document: Document, field: str) -> Iterator[Problem]:
    for place, expression in expressions(document.data[field], [field]):
        try:
            whole_words([expression])
        except re.error as error:
            yield document.problem(place, f"a regular expression ({error})")


def _concepts(document: Document) -> Iterator[Problem]:
    for key, raw in document.data["concepts"].items():
        coded = any(raw.get(name) for name in ("icd10", "history_icd10", "snomed", "observations"))
        if coded == raw.get("site_only", False):
            expected = "no code beside `site_only: true`" if coded else "a code, or `site_only: true`"
            yield document.problem(["concepts", key], expected)


def _switches(document: Document) -> Iterator[Problem]:
    for key, raw in document.data["switches"].items():
        if raw["type"] == "choice" and raw["default"] not in raw["allowed"]:
            yield document.problem(["switches", key, "default"], "one of the allowed words")
        if raw["default"] is None and not raw.get("nullable"):
            yield document.problem(["switches", key, "default"], "a value, or `nullable: true`")


def _choices(docs: Mapping[str, Document]) -> Iterator[Problem]:
    if "switches" in docs:
        yield from _switches(docs["switches"])
    if {"switches", "profiles", "sources"} <= docs.keys():
        yield from _profiles(docs["profiles"], docs["switches"].data["switches"], docs["sources"].data["sources"])


def _profiles(document: Document, switches: Mapping[str, Any], sources: Mapping[str, Any]) -> Iterator[Problem]:
    for chooser, profiles in document.data["profiles"].items():
        words = switches.get(chooser, {}).get("allowed", ())
        for profile, content in profiles.items():
            place = ["profiles", chooser, profile]
            if profile not in words:
                yield document.problem(place, "a switch of switches.yaml and one of its words")
            for number, evidence in enumerate(content["evidence"]):
                if evidence["source"] not in sources:
                    yield document.problem([*place, "evidence", number, "source"], "a source of sources.yaml")
            for switch, value in content.get("switches", {}).items():
                if switch not in switches or not _is_value(switches[switch], value):
                    expected = "a switch of switches.yaml and a value of it"
                    yield document.problem([*place, "switches", switch], expected)


def _is_value(switch: Mapping[str, Any], value: Any) -> bool:
    if value is None:
        return bool(switch.get("nullable", False))
    kinds = {"choice": str, "decimal": str, "bool": bool, "int": int}
    return type(value) is kinds[switch["type"]] and value in switch.get("allowed", (value,))
